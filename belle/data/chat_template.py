"""The one function that turns a conversation into token ids and a loss mask; training, evaluation and inference all use it.

A rendered conversation is cut into segments: `header`, `answer`, `end token + header`, `answer`, ... Each is tokenised by
itself and the ids are put together, so the ids of a prompt are a prefix of the training ids of the same conversation, and
an answer's tokens never share a token with what stands around it. The mask is True on each answer and its end token.

A control token that stands in a *content* (`<|im_end|>`, `</s>`; any special token of the tokenizer, and any added token of
the form `<|...|>`) is encoded as ordinary text. Only the template can write control tokens.

How this compares with `tokenizer.apply_chat_template`, which renders the same text and tokenises it in one go:

- A prompt without earlier answers has the same ids, always (contents that hold control tokens excepted).
- Behind an earlier answer a control token begins the next segment, and tokenizers cut there too: the ids are the same.
- Before an earlier answer they can differ, where the template's last characters and the answer's first would form one
  token or shape each other's: an answer that begins with white space, a header that ends in several white-space characters
  (`belle`, and `llama3` on a GPT-2-like tokenizer), or an answer right behind a control token with a SentencePiece
  tokenizer that puts a space there. In these cases ours are the ids that the model itself saw and wrote.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import PreTrainedTokenizerBase

from belle.data.rendering import BREAK, CLOSE, OPEN, Renderer, split_marks, unmarked
from belle.data.segments import Segments
from belle.errors import BelleError, nearest
from belle.records import Conversation, Message

if TYPE_CHECKING:
    from rich.text import Text

FOLDER = Path(__file__).parent / "chat_templates"
SHIPPED = tuple(sorted(path.stem for path in FOLDER.glob("*.jinja")))
"""Names of the templates that come with belle: one file each, no list to keep."""

_CONTROL_LIKE = re.compile(r"<[|｜][^|｜<>\s]+[|｜]>")
_PROBE = (Message("user", "x"), Message("assistant", "y"))


@dataclass(frozen=True, slots=True)
class Encoded:
    """Token ids of one conversation, and for each whether it carries loss."""

    ids: list[int]
    mask: list[bool]


class ChatTemplate:
    """A chat template bound to a tokenizer. Use `ChatTemplate.load`.

    Args:
        tokenizer: a fast tokenizer; a private copy of its backend is made, the tokenizer itself is left alone.
        name: what messages call the template: a shipped name, a path, or "checkpoint".
        jinja: the source, which is also what is saved with a model.

    Attributes:
        end_token_ids: the tokens that end an assistant turn: the template's own, and the tokenizer's eos.

    Raises:
        BelleError: the template is not valid, writes control tokens that the tokenizer lacks, or ends no turn with a token.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, name: str, jinja: str) -> None:
        self.name, self.jinja = name, jinja
        self._tokenizer = tokenizer
        self._segments = Segments(tokenizer)
        self._renderer = Renderer(name, jinja, _special_texts(tokenizer), control_tokens(tokenizer))
        # The shipped templates are known to write every header alike; others are checked on each conversation.
        self._known = any(jinja == _source(shipped) for shipped in SHIPPED)
        probe = self._renderer.render(_PROBE, (), prompt=False)
        if missing := _missing(tokenizer, unmarked(probe)):
            raise BelleError(f"template {name!r} writes {', '.join(missing)}, which this tokenizer does not have",
                             f"use {_usable(tokenizer)}, or add the tokens to the tokenizer and train their rows")  # fmt: skip
        self._marked = OPEN in probe
        inside = self._parts(_PROBE, (), prompt=False)[1]
        written = self._renderer.control.findall(inside)
        if not written:
            raise self._inexact(
                None, f"no control token ends the answer {_short(inside)}", "give the tokenizer an eos token, or "
            )
        ends = dict.fromkeys((written[-1], *([tokenizer.eos_token] if tokenizer.eos_token else ())))
        self._ends = {end: int(tokenizer.convert_tokens_to_ids(end)) for end in ends}
        self.end_token_ids: tuple[int, ...] = tuple(self._ends.values())

    @classmethod
    def load(cls, tokenizer: PreTrainedTokenizerBase, name: str | None = None) -> ChatTemplate:
        """A shipped template by name, one from a .jinja file, or with None the checkpoint's own.

        Raises:
            BelleError: there is none of that name, or it does not fit the tokenizer.
        """
        if name is None:
            own = tokenizer.chat_template
            own = own.get("default") if isinstance(own, dict) else own
            if not own:
                raise BelleError("this checkpoint has no chat template of its own", f"set model.template: {_usable(tokenizer)}")
            return cls(tokenizer, "checkpoint", own)
        if name in SHIPPED:
            return cls(tokenizer, name, _source(name))
        path = Path(name)
        if path.is_file():
            try:
                return cls(tokenizer, name, path.read_text(encoding="utf-8-sig"))
            except UnicodeDecodeError as error:
                raise BelleError(f"{name}: not UTF-8 text: {error}", "save the template as UTF-8") from error
        raise BelleError(f"no chat template {name!r}.{nearest(name, SHIPPED)}",
                         f"give the path of a .jinja file or one of: {', '.join(SHIPPED)}")  # fmt: skip

    def encode(self, conversation: Conversation, train: str = "all_turns") -> Encoded:
        """Ids and mask of a whole conversation.

        Args:
            train: `all_turns` or `last_turn`: the assistant turns that carry loss where `Message.train` does not say.

        Raises:
            BelleError: with the record's file:line, when the template cannot write it exactly.
        """
        if train not in ("all_turns", "last_turn"):
            raise ValueError(f"train is 'all_turns' or 'last_turn', not {train!r}")
        answers = [message for message in conversation.messages if message.role == "assistant"]
        default = [train == "all_turns"] * (len(answers) - 1) + [True]
        flags = [on if answer.train is None else answer.train for answer, on in zip(answers, default, strict=False)]
        try:
            return self._tokenise(self._parts(conversation.messages, conversation.tools, prompt=False), flags)
        except BelleError as error:
            raise BelleError(f"{conversation.source}: {error.message}", error.fix) from error

    def prompt(self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] = ()) -> list[int]:
        """Ids of what stands before the next assistant turn, its header included: what a model is given to go on from."""
        parts = self._parts(messages, tools, prompt=True)
        return self._tokenise(parts, [False] * (len(parts) // 2)).ids

    def text(self, messages: Sequence[Message], prompt: bool = False) -> str:
        """What the template writes for a conversation; with `prompt`, up to the next assistant turn, its header included."""
        return unmarked(self._renderer.render(messages, (), prompt))

    def attach(self, tokenizer: PreTrainedTokenizerBase) -> None:
        """Make this the tokenizer's chat template, so that `save_pretrained` carries it."""
        tokenizer.chat_template = self.jinja

    def __reduce__(self) -> tuple[Any, ...]:
        return ChatTemplate, (self._tokenizer, self.name, self.jinja)  # compiled jinja does not pickle

    def _tokenise(self, parts: list[str], flags: list[bool]) -> Encoded:
        ids = self._segments.encode(parts[0], middle=False) if parts[0] else []
        mask = [False] * len(ids)
        for inside, after, flag in zip(parts[1::2], parts[2::2], flags, strict=True):
            answer, end, blank = self._split_end(inside)
            answer_ids = self._segments.encode(answer, middle=bool(ids)) if answer else []
            after_ids = self._segments.encode(end + blank + after, middle=False)
            if after_ids[0] != self._ends[end]:
                raise BelleError(f"this tokenizer does not read {end!r} as one token")
            ids += answer_ids + after_ids
            mask += [flag] * (len(answer_ids) + 1) + [False] * (len(after_ids) - 1)
        return Encoded(ids, mask)

    def _parts(self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]], prompt: bool) -> list[str]:
        """The rendered text as [outside, inside, outside, ...], one inside for each assistant turn."""
        text = self._renderer.render(messages, tools, prompt)
        turns = [i for i, message in enumerate(messages) if message.role == "assistant"]
        if not self._marked:
            text = self._mark(text, messages, tools, turns)
        elif not self._known:
            self._check_marks(text, messages, tools, turns)
        parts = split_marks(text)
        if parts is None:
            raise self._inexact(None, "one generation block stands inside another")
        if len(parts) != 2 * len(turns) + 1:
            raise self._inexact(None, f"it has {len(parts) // 2} generation blocks for {len(turns)} assistant turns")
        return parts

    def _check_marks(self, text: str, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]], turns: list[int]) -> None:
        """See that a foreign template's marks begin where the prompt ends and hold the answer."""
        for i in turns:
            header = self._renderer.render(messages[:i], tools, prompt=True)
            if not text.startswith(header):
                raise self._inexact(i, _difference(unmarked(header), unmarked(text)))
            between, _, rest = text[len(header) :].partition(OPEN)
            if between:
                raise self._inexact(i, f"it writes {_short(unmarked(between))} between the prompt and the answer")
            answer, written = self._renderer.protect(messages[i].content).strip(), rest.partition(CLOSE)[0]
            if answer not in written:
                raise self._inexact(i, f"in place of the answer {_short(answer)} it writes {_short(unmarked(written))}")

    def _mark(self, text: str, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]], turns: list[int]) -> str:
        """Put marks into the text of a template that has none, by comparing it with the prompt before each answer."""
        out, done = "", 0
        for i in turns:
            header = self._renderer.render(messages[:i], tools, prompt=True)
            if not text.startswith(header):
                raise self._inexact(i, _difference(unmarked(header), unmarked(text)))
            end = self._end_of_answer(text, len(header), i, messages[i])
            out += text[done : len(header)] + OPEN + text[len(header) : end] + CLOSE
            done = end
        return out + text[done:]

    def _end_of_answer(self, text: str, start: int, turn: int, message: Message) -> int:
        """Where the answer that begins at `start`, with its end token, is over."""
        content = self._renderer.protect(message.content)
        control = self._renderer.control
        for form in dict.fromkeys((content, content.rstrip(), content.lstrip(), content.strip())):
            if not text.startswith(form, start):
                continue
            if not message.tool_calls:
                found = control.match(text, start + len(form))
            else:
                found = next((m for m in control.finditer(text, start + len(form)) if m[0] in self._ends), None)
                calls = text[start + len(form) : found.start()] if found else ""
                if not all(self._renderer.protect(call.name) in calls for call in message.tool_calls):
                    raise self._inexact(turn, "it leaves out a tool call")
            if found:
                return found.end()
        written = unmarked(text[start:])
        at = written.find(message.content.strip() or "\0")
        if at > 0:
            raise self._inexact(turn, f"it writes {_short(written[:at])} between the prompt and the answer")
        if at == 0:
            raise self._inexact(turn, f"no end token follows the answer, but {_short(written[len(message.content.strip()) :])}")
        raise self._inexact(turn, f"in place of the answer {_short(message.content)} it writes {_short(written)}")

    def _split_end(self, inside: str) -> tuple[str, str, str]:
        """The answer, its end token, and the white space that a template may write after that inside its block."""
        for end in self._ends:
            head, found, tail = inside.rpartition(end)
            if found and not tail.strip():
                return head, end, tail
        raise self._inexact(None, f"an answer ends with {_short(unmarked(inside)[-40:])} and not with {' or '.join(self._ends)}")

    def _inexact(self, turn: int | None, what: str, fix: str = "") -> BelleError:
        where = "" if turn is None else f" at message {turn + 1}"
        return BelleError(f"template {self.name!r} gives no exact loss mask{where}: {what}",
                          f"{fix}set model.template: {_usable(self._tokenizer)}")  # fmt: skip


def control_tokens(tokenizer: PreTrainedTokenizerBase) -> set[str]:
    """The texts that only a template may write: special tokens, and added tokens of the form `<|...|>`."""
    added = tokenizer.added_tokens_decoder.values()
    named = {token.content for token in added if token.special or _CONTROL_LIKE.fullmatch(token.content)}
    return {text for text in named | set(tokenizer.all_special_tokens) if text}


def preview(tokenizer: PreTrainedTokenizerBase, encoded: Encoded) -> Text:
    """An encoded conversation for the terminal: supervised tokens green, the others dim, line ends as ⏎.

    Each token is a span of its own; tokens that only together make a character share one.
    """
    from rich.text import Text

    out = Text()
    before = start = 0  # the last whole piece begins at `before`, the one being gathered at `start`
    ids, mask = encoded.ids, encoded.mask
    for stop in range(1, len(ids) + 1):
        # Decoded behind its neighbour: SentencePiece decoders take the space off the front of a text.
        piece = _decode(tokenizer, ids[before:stop])[len(_decode(tokenizer, ids[before:start])) :]
        if piece.endswith("\ufffd") and stop < len(ids) and mask[stop] == mask[start]:
            continue  # a part of a character: the next token has the rest
        out.append(piece.replace("\r", "␍").replace("\n", "⏎\n"), "green" if mask[start] else "dim")
        before, start = start, stop
    return out


def _decode(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> str:
    return str(tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)) if ids else ""


def _source(name: str) -> str:
    return (FOLDER / f"{name}.jinja").read_text(encoding="utf-8")


def _special_texts(tokenizer: PreTrainedTokenizerBase) -> dict[str, str]:
    return {name: str(text) for name, text in tokenizer.special_tokens_map.items() if isinstance(text, str)}


def _missing(tokenizer: PreTrainedTokenizerBase, text: str) -> list[str]:
    """The control tokens in a text or template source that are not tokens of this tokenizer."""
    known = tokenizer.get_added_vocab()
    return sorted({token for token in _CONTROL_LIKE.findall(text) if token not in known})


def _usable(tokenizer: PreTrainedTokenizerBase) -> str:
    """The shipped templates whose control tokens this tokenizer has, as words."""
    names = [
        name for name in SHIPPED
        if not _missing(tokenizer, _source(name)) and (tokenizer.eos_token or "eos_token" not in _source(name))
    ]  # fmt: skip
    return " or ".join(names) or f"a template for this tokenizer; the shipped ones ({', '.join(SHIPPED)}) need tokens it lacks"


def _difference(expected: str, written: str) -> str:
    """Where the text of a conversation leaves the prompt that came before its answer."""
    at = next((i for i, pair in enumerate(zip(expected, written, strict=False)) if pair[0] != pair[1]), len(written))
    return (f"the prompt before the answer has {_short(expected[at:])} behind {_short(expected[max(0, at - 20) : at])}, "
            f"the whole conversation has {_short(written[at:])} there")  # fmt: skip


def _short(text: str) -> str:
    text = text.replace(BREAK, "")
    return repr(text if len(text) <= 60 else text[:57] + "...")
