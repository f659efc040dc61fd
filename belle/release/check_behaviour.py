"""What shows only when the model speaks: whether it knows language, ends its answers, and stops by itself."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache

from belle.data.formats import load_records
from belle.errors import Finding
from belle.inference.backend import Request
from belle.inference.transformers_backend import TransformersBackend
from belle.records import Conversation
from belle.release.subject import Subject
from belle.sections import DataSection, GenerationSection

KNOWS_LANGUAGE = 0.75
"""Of the loss of pure chance, ln(rows): a model whose rows were shifted or lost is above it, SmolLM2-135M at 0.3."""
PROMPTS = 6
LONGEST = 200
"""Tokens of an answer; one that has not ended by then counts as not ended."""


def language(subject: Subject) -> Iterator[Finding]:
    """The loss of ordinary answers is far from chance."""
    losses = [_loss(subject, conversation) for conversation in conversations()]
    loss = sum(total for total, _ in losses) / sum(count for _, count in losses)
    chance = math.log(_rows(subject))
    told = f"{loss:.2f} nats a token on {len(losses)} answers, chance is {chance:.2f}"
    if loss < KNOWS_LANGUAGE * chance:
        yield Finding("ok", "language", told)
    else:
        yield Finding("error", "language", f"the model knows next to no language: {told}",
                      "look for rows of the vocabulary that were shifted, or for weights of another model")  # fmt: skip


def end_token(subject: Subject) -> Iterator[Finding]:
    """Behind a finished answer, the model gives the end token more than chance."""
    if not subject.talks:
        return
    import torch

    template, tokenizer = subject.template, subject.tokenizer
    end, losses = template.end_token_ids[0], []
    device = next(subject.model.parameters()).device
    for conversation in conversations():
        ids = template.encode(conversation).ids
        last = max(n for n, token in enumerate(ids) if token == end)
        with torch.no_grad():
            logits = subject.model(input_ids=torch.tensor([ids[:last]], device=device)).logits[0, -1].float()
        losses.append(float(torch.logsumexp(logits, -1) - logits[end]))
    middle = sorted(losses)[len(losses) // 2]
    text = tokenizer.convert_ids_to_tokens(end)
    told = f"{text!r} behind an answer: {math.exp(-middle):.2g} (median of {len(losses)})"
    if middle < KNOWS_LANGUAGE * math.log(_rows(subject)):
        yield Finding("ok", "end token", told)
    else:
        fix = "train with this template, and with the end in the loss mask"
        yield Finding("error", "end token", f"{told}: its row was not trained", fix)


def stops(subject: Subject) -> Iterator[Finding]:
    """Short questions get answers that end by themselves: at least one does, and most should."""
    if not subject.talks:
        return
    backend = TransformersBackend(subject.model, subject.tokenizer, subject.template, batch_size=PROMPTS)
    requests = [Request(conversation.messages[:1], id=str(n)) for n, conversation in enumerate(conversations()[:PROMPTS])]
    answers = backend.generate(requests, GenerationSection(max_new_tokens=LONGEST))
    if failed := [answer.error for answer in answers if answer.finish == "error"]:
        what = f"{len(failed)} of {len(answers)} questions cannot be put to it: {failed[0]}"
        yield Finding("error", "stops", what, "mend that")
        return
    ended = sum(answer.finish == "stop" for answer in answers)
    told = f"{ended} of {len(answers)} answers ended within {LONGEST} tokens"
    if 2 * ended >= len(answers):
        yield Finding("ok", "stops", told)
    else:
        yield Finding("warning" if ended else "error", "stops", told, "train longer, or with more answers that are short and end")


def _loss(subject: Subject, conversation: Conversation) -> tuple[float, int]:
    """(nats, tokens): of an answer; of a model that does not talk, of question and answer as plain text."""
    import torch

    if subject.talks:
        encoded = subject.template.encode(conversation)
        ids, mask = encoded.ids, encoded.mask
    else:
        text = "\n".join(message.content for message in conversation.messages)
        ids = list(subject.tokenizer(text)["input_ids"])
        mask = [True] * len(ids)
    device = next(subject.model.parameters()).device
    with torch.no_grad():
        logits = subject.model(input_ids=torch.tensor([ids], device=device)).logits[0, :-1].float()
    chosen = torch.tensor(ids[1:], device=device)
    losses = torch.nn.functional.cross_entropy(logits, chosen, reduction="none").cpu()
    kept = torch.tensor(mask[1:])
    return float(losses[kept].sum()), int(kept.sum())


def _rows(subject: Subject) -> int:
    return int(subject.skeleton.config.get_text_config().vocab_size)


@lru_cache(maxsize=1)
def conversations() -> tuple[Conversation, ...]:
    """Short questions with short answers, of the set that belle ships for evaluation, in both languages."""
    records = load_records(DataSection(path="shipped:evaluation.jsonl")).records
    short = [record for record in records if len(record.messages) == 2 and len(record.messages[1].content) <= 60]
    return tuple(short[:: max(1, len(short) // 12)][:12])
