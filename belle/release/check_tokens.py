"""What can be wrong between a model, its tokenizer and its chat template."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from belle.data.chat_template import ChatTemplate, Encoded
from belle.data.rendering import Renderer, portable
from belle.errors import BelleError, Finding
from belle.records import Conversation, Message
from belle.release.ollama import find_pieces
from belle.release.subject import Subject, training_template

PROBES: tuple[tuple[Message, ...], ...] = (
    (Message("user", "你好，请介绍一下你自己。"),),
    (Message("user", "把下面的句子翻译成英文：\n\n\t“学而时习之”\u3000 ①"),),
    (Message("system", "只用一句话回答。"), Message("user", "What is 2 + 2?\n\n")),
    (Message("system", "Be brief."), Message("user", "2 + 2?"), Message("assistant", "4。"), Message("user", "再加一呢？😀")),
    (Message("user", "Hello "), Message("assistant", "To learn and practise.\n"), Message("user", " 谢谢 ")),
)
"""Conversations to be answered: with and without a system text and earlier answers, with white space wherever it can stand."""


def vocabulary(subject: Subject) -> Iterator[Finding]:
    """Every token has a row of the embedding and of the head."""
    rows = subject.model_weights.entry(subject.embedding).shape[0]
    heads = subject.model_weights.entry(subject.head).shape[0]
    size = max(subject.tokenizer.get_vocab().values()) + 1
    said = subject.skeleton.config.get_text_config().vocab_size
    if size > rows:
        yield Finding("error", "vocabulary", f"the tokenizer has ids up to {size - 1}, the embedding {rows} rows",
                      "resize the model to its tokenizer")  # fmt: skip
    elif not rows == heads == said:
        what = f"config.json says vocab_size {said}, the embedding has {rows} rows, the head {heads}"
        yield Finding("error", "vocabulary", what, "write the right vocab_size into config.json")
    else:
        padding = f", {rows - size} rows are padding" if rows > size else ""
        yield Finding("ok", "vocabulary", f"{size} tokens, {rows} rows{padding}")


def special_ids(subject: Subject) -> Iterator[Finding]:
    """What the configs name as begin, end and padding is a token, and an end is the same one everywhere."""
    tokenizer, faults = subject.tokenizer, []
    texts = {number: text for text, number in tokenizer.get_vocab().items()}
    for where, config in (("config.json", subject.config), ("generation_config.json", subject.generation)):
        for role in ("bos", "eos", "pad"):
            said = config.get(f"{role}_token_id")
            for number in said if isinstance(said, list) else [] if said is None else [said]:
                if number not in texts and not (role == "pad" and number == -1):  # some mark "no padding" by -1
                    what = f"{where}: {role}_token_id {number} is no token"
                    faults.append(Finding("error", "special ids", what, f"mend {where}"))
    eos = tokenizer.eos_token_id
    if eos is not None and subject.ends and eos not in subject.ends:
        names = ", ".join(repr(texts.get(end, end)) for end in subject.ends)
        what = f"the tokenizer's end is {tokenizer.eos_token!r}, the configs end at {names}"
        fix = "name the same tokens in tokenizer_config.json and generation_config.json"
        faults.append(Finding("error", "special ids", what, fix))
    roles = {role: getattr(tokenizer, f"{role}_token") for role in ("bos", "eos", "pad")}
    told = ", ".join(f"{role} {text!r}" for role, text in roles.items() if text)
    yield from faults or [Finding("ok", "special ids", told or "the tokenizer has none")]


def special_tokens(subject: Subject) -> Iterator[Finding]:
    """No special token stands twice: which of the two was trained is chance."""
    path = subject.folder / "tokenizer.json"
    parts = json.loads(path.read_text(encoding="utf-8") if path.is_file() else subject.tokenizer.backend_tokenizer.to_str())
    words = parts["model"].get("vocab", {})
    words = words if isinstance(words, dict) else {entry[0]: number for number, entry in enumerate(words)}
    added = [(token["content"], token["id"]) for token in parts.get("added_tokens", ())]
    texts, ids = Counter(text for text, _ in added), Counter(number for _, number in added)
    owners = {number: text for text, number in words.items()}
    faults = [f"{text!r} stands {count} times among the added tokens" for text, count in texts.items() if count > 1]
    faults += [f"id {number} belongs to {count} added tokens" for number, count in ids.items() if count > 1]
    faults += [f"{text!r} is token {words[text]} in the vocabulary and {number} among the added tokens"
               for text, number in added if words.get(text, number) != number]  # fmt: skip
    faults += [f"id {number} is {owners[number]!r} in the vocabulary and {text!r} among the added tokens"
               for text, number in added if owners.get(number, text) != text]  # fmt: skip
    yield from [Finding("error", "special tokens", fault, "mend tokenizer.json") for fault in faults] or [
        Finding("ok", "special tokens", f"{len(added)} added tokens, each once")
    ]


def ends(subject: Subject) -> Iterator[Finding]:
    """Generation stops where the template ends an answer, and the end token has a row that is its own."""
    if not subject.talks:
        found = subject.ends or [] if subject.tokenizer.eos_token_id is None else [subject.tokenizer.eos_token_id]
        if not found:
            yield Finding("warning", "ends", "the model has no end token: what it writes never ends", "name one")
        return
    tokenizer, wanted = subject.tokenizer, subject.template.end_token_ids[0]
    names = ", ".join(repr(tokenizer.convert_ids_to_tokens(end)) for end in subject.ends) or "nothing"
    text = tokenizer.convert_ids_to_tokens(wanted)
    if subject.whole and wanted not in subject.ends:
        yield Finding("error", "ends", f"the template ends answers with {text!r}, generation ends at {names}: it would not stop",
                      f"add {wanted} to eos_token_id in generation_config.json")  # fmt: skip
        return
    head = subject.model_weights.values(subject.head)
    if wanted < len(head) and (fault := _row_fault(head, wanted)):
        yield Finding("error", "ends", f"the row of {text!r} in {subject.head} {fault}", "train the row: it was never learned")
        return
    yield Finding("ok", "ends", f"answers end with {text!r}" + (f", generation at {names}" if subject.whole else ""))


def _row_fault(head: NDArray[Any], number: int) -> str:
    row = head[number]
    if not row.any():
        return "is zero: it always scores 0"
    for start in range(0, len(head), 8192):
        same = [start + int(n) for n in np.flatnonzero((head[start : start + 8192] == row).all(1)) if start + int(n) != number]
        if same:
            return f"is that of token {same[0]} as well: the model cannot tell them apart"
    return ""


def template(subject: Subject) -> Iterator[Finding]:
    """The same ids in training, in transformers, in a GGUF file and in Ollama."""
    training = subject.trained_by()
    if not subject.talks:
        if training is not None and training.info["notes"].get("template"):
            what = f"the model has no chat template; {training.verb} trained it with {training.info['notes']['template']!r}"
            yield Finding("error", "template", what, f"give the model the template of {str(training.path)!r}")
        else:
            yield Finding("warning", "template", "no chat template: good for going on with texts, not for talking")
        return
    own, faults = subject.template, []
    if training is None:
        yield Finding("warning", "template", "no training run is known: whether the template is that of training cannot be seen",
                      "verify the run folder that made the model")  # fmt: skip
    else:
        theirs = training_template(training)
        different = [probe for probe in PROBES if _written(own, probe) != _written(theirs, probe)]
        if different:
            a, b = (each.text(_talk(different[0]).messages) for each in (own, theirs))
            what = f"the model writes {from_difference(a, b)}, training wrote {from_difference(b, a)}"
            if a == b:
                what = f"the model's tokenizer cuts {a[:60]!r} otherwise than that of training"
            faults.append(Finding("error", "template", what, f"give the model template and tokenizer of {str(training.path)!r}"))
    faults += _other_engines(subject)
    if not any(finding.level == "error" for finding in faults):
        where = "training, transformers and GGUF" if training is not None else "belle, transformers and GGUF"
        yield Finding("ok", "template", f"the same ids in {where} on {len(PROBES)} conversations")
    yield from faults


def _other_engines(subject: Subject) -> Iterator[Finding]:
    own, tokenizer = subject.template, subject.tokenizer
    variables = {name: value for name, value in tokenizer.special_tokens_map.items() if isinstance(value, str)}
    plain = Renderer("portable", portable(own.jinja), variables, ())
    behind_answers, probes = "", writable(own)
    if len(probes) < len(PROBES):
        first = next(probe for probe in PROBES if probe not in probes)
        level: Literal["error", "warning"] = "warning" if probes else "error"
        what = f"{len(PROBES) - len(probes)} of {len(PROBES)} conversations cannot be written, the first: {_written(own, first)}"
        yield Finding(level, "template", what, "mend the template, if the model is to take system texts and several turns")
    for probe in probes:
        messages = [{"role": message.role, "content": message.content} for message in probe]
        theirs = list(
            tokenizer.apply_chat_template(messages, add_generation_prompt=True, chat_template=own.jinja, return_dict=False)
        )
        if plain.render(probe, (), prompt=True) != own.text(probe, prompt=True):
            yield Finding("error", "template", "without its training marks, as in a GGUF file, the template writes another text",
                          "mend the template's white space around {% generation %}")  # fmt: skip
            break
        if theirs == own.prompt(probe):
            continue
        if tokenizer.decode(theirs) != tokenizer.decode(own.prompt(probe)) or len(probe) < 3:
            what = f"transformers' apply_chat_template gives other ids than training had, on {probe[-1].content!r}"
            yield Finding("error", "template", what, "use a template without spaces or tokens that the tokenizer changes")
            break
        behind_answers = repr(own.text(probe, prompt=True)[:60])
    if behind_answers:
        what = f"where an earlier answer stands, other programs cut the same text into other tokens: {behind_answers}"
        yield Finding("warning", "template", what, "choose a template whose headers end with one line end, such as chatml")
    try:
        find_pieces(own.text)
    except BelleError as error:
        yield Finding("warning", "template", error.message, error.fix)


def writable(template: ChatTemplate) -> list[tuple[Message, ...]]:
    """The probes that a template can write; some refuse system texts, others change earlier answers."""
    return [probe for probe in PROBES if not isinstance(_written(template, probe), str)]


def _written(template: ChatTemplate, probe: Sequence[Message]) -> tuple[list[int], Encoded] | str:
    """Ids of the prompt and of the whole conversation, or why the template cannot write them."""
    try:
        return template.prompt(probe), template.encode(_talk(probe))
    except BelleError as error:
        return error.message


def _talk(messages: Sequence[Message]) -> Conversation:
    return Conversation((*messages, Message("assistant", "好的。")))


def from_difference(text: str, other: str) -> str:
    """The part of a text where another leaves it, quoted."""
    at = next((n for n, (a, b) in enumerate(zip(text, other, strict=False)) if a != b), min(len(text), len(other)))
    return repr(text[max(0, at - 10) : at + 30])
