"""New tokens for a byte-level BPE tokenizer: its own training, gone on with (Sennrich et al. 2016, arXiv:1508.07909).

The old merges stay first and in their order; new ones are learnt on what the old tokenizer makes of a corpus, and stand behind
them. So old ids never move, a text without a new pair is cut as before, and every new token can be reached: it is made of two
that can. More are learnt than are wanted: characters whose bytes are several tokens, then words, by ordinary BPE training in
which each token of a whole character counts as one letter. Those stay whose merge is made most often in the corpus, since that is
how many tokens it saves.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from belle.errors import BelleError

Texts = Callable[[], Iterable[str]]
"""Gives the corpus anew at each call: it is gone through twice, and need not fit into memory."""
_PRIVATE = 0xF0000
"""Letters that stand for tokens while words are learnt; no text has them after what is not a whole character was left out."""
_BATCH = 1000
_SPARE = 1.2
"""So many times as many words are learnt as tokens are wanted: some exist already, some save too little."""


def _byte_letters() -> dict[int, str]:
    """Byte -> the letter that byte-level tokenizers write for it: itself where it can be seen, else one from U+0100 on."""
    seen = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in seen]
    return {byte: chr(byte) for byte in seen} | {byte: chr(0x100 + n) for n, byte in enumerate(hidden)}


LETTERS = _byte_letters()
_BYTES = {letter: byte for byte, letter in LETTERS.items()}


def written(text: str) -> str:
    """A text as the vocabulary of a byte-level tokenizer writes it: 中 is ä¸Ń."""
    return "".join(LETTERS[byte] for byte in text.encode("utf-8", "surrogatepass"))


def read(token: str) -> str | None:
    """The text of a token of the vocabulary; None where it is no whole number of characters."""
    try:
        return bytes(_BYTES[letter] for letter in token).decode()
    except (KeyError, UnicodeDecodeError):
        return None


@dataclass(frozen=True)
class New:
    """A new token: its id, what the vocabulary writes for it, and the old ids that stood there."""

    id: int
    token: str
    old_ids: tuple[int, ...]


@dataclass(frozen=True)
class Extended:
    """An extended tokenizer as its tokenizer.json, and what is new in it, in the order of ids."""

    json: str
    new: tuple[New, ...]
    characters: int
    """How many of the new tokens are characters or beginnings of one; the others are words."""


def extend(
    tokenizer_json: str,
    texts: Texts,
    count: int,
    wanted: Callable[[str], bool],
    longest: int = 8,
    least: int = 5,
) -> Extended:
    """Learn new tokens from a corpus.

    Args:
        tokenizer_json: the text of a tokenizer.json.
        texts: the corpus.
        count: new tokens, at most.
        wanted: whether a character is of the kind to be learnt, such as a Han character.
        longest: characters of a word, at most.
        least: how often a character or a word must occur.

    Raises:
        BelleError: the tokenizer is no byte-level BPE, or the corpus has nothing to learn.
    """
    ample = _State(tokenizer_json)
    seen = Counter(char for text in texts() for char in text if wanted(char))
    if not seen:
        raise BelleError("the corpus has no character of the kind that is to be learnt", "see data.path and script")
    ample.learn_characters(seen, least)
    ample.learn_words(texts, int(_SPARE * count) + 100, wanted, longest, least)
    if not ample.added:
        raise BelleError("nothing was learnt: the tokenizer has a token for all of it", "give more text, or a smaller `least`")
    return _chosen(tokenizer_json, ample, ample.applied(texts), count)


def _chosen(tokenizer_json: str, ample: _State, applied: Counter[str], count: int) -> Extended:
    """The tokens whose merges save most, each with what it is made of: no token is made more often than its parts."""
    rank = {token: place for place, token in enumerate(ample.added)}
    best = set(sorted(ample.added, key=lambda token: (-applied[token], rank[token]))[:count])
    state = _State(tokenizer_json)
    for left, right in ample.joined:
        token = left + right
        if left in state.vocabulary and right in state.vocabulary and (token in best or token in state.vocabulary):
            state.join(left, right)
    words = [token for token in state.added if len(read(token) or "") > 1]
    return Extended(state.json(), state.new(), len(state.added) - len(words))


class _State:
    """A tokenizer.json that grows."""

    def __init__(self, tokenizer_json: str) -> None:
        self.old = _tokenizer(tokenizer_json)
        self.data: dict[str, Any] = json.loads(tokenizer_json)
        model = self.data["model"]
        self.vocabulary: dict[str, int] = model["vocab"]
        for token in self.data.get("added_tokens") or []:
            # A token that stands outside of the vocabulary gets the next free number when the file is read: not any more.
            self.vocabulary.setdefault(token["content"], token["id"])
        self.merges: list[Any] = model["merges"]
        self.as_text = bool(self.merges) and isinstance(self.merges[0], str)
        self.pairs = {tuple(merge.split(" ")) if self.as_text else tuple(merge) for merge in self.merges}
        self.next_id = max(self.vocabulary.values()) + 1
        self.added: list[str] = []
        self.joined: list[tuple[str, str]] = []

    def join(self, left: str, right: str) -> str:
        """Let two tokens become one, which is new unless the vocabulary has it."""
        token = left + right
        if (left, right) not in self.pairs:
            self.pairs.add((left, right))
            self.joined.append((left, right))
            self.merges.append(f"{left} {right}" if self.as_text else [left, right])
        if token not in self.vocabulary:
            self.vocabulary[token] = self.next_id
            self.next_id += 1
            self.added.append(token)
        return token

    def learn_characters(self, seen: Counter[str], least: int) -> None:
        """Make a token of each character that is several, the commonest first."""
        for char, times in sorted(seen.items(), key=lambda item: (-item[1], item[0])):
            if times < least:
                break
            token, *more = (piece.value for piece in self.old.model.tokenize(written(char)))
            for piece in more:
                token = self.join(token, piece)

    def learn_words(self, texts: Texts, count: int, wanted: Callable[[str], bool], longest: int, least: int) -> None:
        """Go on with BPE training on tokens that are whole wanted characters; pieces between them part words."""
        tokenizer = _tokenizer(self.json())
        by_id = {number: token for token, number in self.vocabulary.items()}
        whole = {
            number: token
            for number, token in by_id.items()
            if (text := read(token)) and all(map(wanted, text)) and len(text) < longest
        }
        letters = {number: chr(_PRIVATE + n) for n, number in enumerate(whole)}
        tokens = {letter: whole[number] for number, letter in letters.items()}
        trainer = trainers.BpeTrainer(
            vocab_size=len(letters) + count, min_frequency=least, show_progress=False,
            max_token_length=longest, special_tokens=[],
        )  # fmt: skip
        words = Tokenizer(models.BPE())
        words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        words.train_from_iterator(_sequences(tokenizer, texts(), letters), trainer)
        learnt = json.loads(words.to_str())["model"]["merges"]
        for merge in learnt:
            left, right = (
                "".join(tokens[letter] for letter in part) for part in (merge.split(" ") if isinstance(merge, str) else merge)
            )
            if left in self.vocabulary and right in self.vocabulary and len(read(left + right) or "") <= longest:
                self.join(left, right)

    def applied(self, texts: Texts) -> Counter[str]:
        """How often each new token is made in the corpus: how often it stands there, and went into others."""
        tokenizer, found = _tokenizer(self.json()), Counter[int]()
        for encoding in _encoded(tokenizer, texts()):
            found.update(encoding.ids)
        made = Counter({token: found[number] for token, number in self.vocabulary.items()})
        for left, right in reversed(self.joined):
            made[left] += made[left + right]
            made[right] += made[left + right]
        return made

    def new(self) -> tuple[New, ...]:
        """The tokens that were added, with the old ids of their bytes."""
        found = []
        for token in self.added:
            pieces = self.old.model.tokenize(token)
            found.append(New(self.vocabulary[token], token, tuple(piece.id for piece in pieces)))
        return tuple(found)

    def json(self) -> str:
        return json.dumps(self.data, ensure_ascii=False)


def _sequences(tokenizer: Tokenizer, texts: Iterable[str], letters: dict[int, str]) -> Iterator[str]:
    """Each text as words of private letters, parted by spaces where a token is none of them or a piece of the text ends."""
    for encoding in _encoded(tokenizer, texts):
        out: list[str] = []
        before: int | None = None
        for number, word in zip(encoding.ids, encoding.word_ids, strict=True):
            letter = letters.get(number)
            if letter is None or word != before:
                out.append(" ")
            if letter is not None:
                out.append(letter)
            before = word
        yield "".join(out)


def _encoded(tokenizer: Tokenizer, texts: Iterable[str]) -> Iterator[Any]:
    rest = iter(texts)
    while batch := list(islice(rest, _BATCH)):
        yield from tokenizer.encode_batch(batch, add_special_tokens=False)


def _tokenizer(tokenizer_json: str) -> Tokenizer:
    data = json.loads(tokenizer_json)
    model = data.get("model") or {}
    parts = _parts(data.get("pre_tokenizer"))
    if model.get("type") != "BPE" or model.get("byte_fallback") or "ByteLevel" not in parts:
        kind = "SentencePiece" if model.get("byte_fallback") or "Metaspace" in parts else model.get("type") or "unknown"
        raise BelleError(
            f"the tokenizer is no byte-level BPE but {kind}", "take a model with a byte-level BPE, such as Qwen's or SmolLM2"
        )
    return Tokenizer.from_str(tokenizer_json)


def _parts(part: Any) -> Sequence[str]:
    if not isinstance(part, dict):
        return []
    return [str(part.get("type")), *(name for each in part.get("pretokenizers", []) for name in _parts(each))]
