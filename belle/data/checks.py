"""What can be said about data before it is used: whether it loads, how long it is, and whether its mask is exact."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from belle.data.chat_template import ChatTemplate, Encoded
from belle.data.formats import Loaded
from belle.errors import BelleError, Finding
from belle.records import Conversation
from belle.sections import TokensSection

PROBED = 20
"""Conversations on which the template is proven."""
MEASURED = 2000
"""Conversations whose length is measured: enough for the quantiles, and done in seconds."""


def check_loaded(loaded: Loaded[Conversation]) -> list[Finding]:
    """How many records there are, and what was left out or mended."""
    files = ", ".join(f"{path} ({count})" for path, count in loaded.files[:3]) + (" ..." if len(loaded.files) > 3 else "")
    findings = [Finding("ok", "data", f"{len(loaded.records)} records from {files}")]
    if loaded.dropped:
        first = loaded.dropped[0]
        found = f"{len(loaded.dropped)} rows are left out; the first: {first['source']}: {first['reason']}"
        findings.append(Finding("warning", "data", found, "mend them, or accept it"))
    for reason, count in loaded.counts.items():
        level: Any = "warning" if "not read" in reason or reason == "duplicate id" else "ok"
        fix = "check that this is meant" if level == "warning" else ""
        findings.append(Finding(level, "data", f"{count} x {reason}", fix))
    return findings


def check_lengths(samples: Sequence[Encoded], section: TokensSection, records: int) -> Finding:
    """Tokens a sample, and what the cutoff does to them; `samples` are the first of so many `records`."""
    lengths = np.array([len(sample.ids) for sample in samples])
    supervised = sum(sum(sample.mask) for sample in samples)
    low, median, high, most = (int(q) for q in np.quantile(lengths, [0, 0.5, 0.95, 1]))
    found = (
        f"{low} to {most} a sample, median {median}, 95 % below {high}; {lengths.sum()} in all, "
        f"{100 * supervised / lengths.sum():.0f} % of them trained"
    )
    if len(samples) < records:
        found = f"of the first {len(samples)} conversations: {found}"
    over = int((lengths > section.cutoff).sum())
    if over and section.overlong == "error":
        fix = f"set tokens.cutoff to {most}, or tokens.overlong to drop, cut_left_turns or cut_right"
        return Finding("error", "tokens", f"{found}; {over} are longer than tokens.cutoff {section.cutoff}", fix)
    if over:
        found = f"{found}; {over} are longer than tokens.cutoff {section.cutoff}: {section.overlong}"
        return Finding("warning", "tokens", found, f"tokens.cutoff={most} keeps all")
    return Finding("ok", "tokens", found)


def check_template(records: Sequence[Conversation], template: ChatTemplate, tokenizer: Any) -> Finding:
    """Prove on some conversations that a prompt is a prefix of what is trained, and that the mask is the answers exactly."""
    probed = records[:PROBED]
    for record in probed:
        encoded = template.encode(record)
        for i in [i for i, message in enumerate(record.messages) if message.role == "assistant"]:
            prompt = template.prompt(record.messages[:i], record.tools)
            if prompt != encoded.ids[: len(prompt)]:
                found = f"{record.source}: the prompt before message {i + 1} is no prefix of the trained ids"
                return Finding("error", "template", found, "set model.template to a shipped one")
        spoken = [m for m in record.messages if m.role == "assistant" and m.train is not False]
        trained = [token for token, on in zip(encoded.ids, encoded.mask, strict=True) if on]
        text = tokenizer.decode(trained, clean_up_tokenization_spaces=False)
        lost = next((m for m in spoken if m.content.strip() not in text), None)
        if lost is not None:
            found = f"{record.source}: the loss mask does not cover the answer {lost.content[:40]!r}"
            return Finding("error", "template", found, "set model.template to a shipped one")
    ends = " ".join(repr(tokenizer.decode([token])) for token in template.end_token_ids)
    return Finding("ok", "template", f"{template.name}, ends a turn with {ends}; exact on {len(probed)} conversations")


def check_overlap(records: Sequence[Conversation], others: Sequence[Conversation], name: str) -> Finding:
    """How many prompts of `others` are trained on."""
    known = {_prompt(record) for record in records}
    found = [record for record in others if _prompt(record) in known]
    if found:
        text = f"{len(found)} of {len(others)} prompts of {name} stand in the training data too, first {found[0].source}"
        return Finding("warning", "held out", text, "take them out of one of the two, or the measure flatters")
    return Finding("ok", "held out", f"none of the {len(others)} prompts of {name} is trained on")


def check_twins(records: Sequence[Conversation]) -> Finding:
    """Prompts that stand more than once: a share that is held out would see them in training."""
    twins = {prompt: count for prompt, count in Counter(map(_prompt, records)).items() if count > 1}
    if twins:
        text = f"{len(twins)} prompts stand more than once, so a held-out share is partly trained on: {next(iter(twins))[:40]!r}"
        return Finding("warning", "held out", text, "give held_out.path, or take the twins out")
    return Finding("ok", "held out", "a share of the training data, no prompt of which stands twice")


def _prompt(record: Conversation) -> str:
    """The first user turn without its spacing: enough to know a question again."""
    return "".join(next((m.content for m in record.messages if m.role == "user"), "").split())


def largest_pass(samples: Sequence[Encoded], groups: Sequence[Sequence[int]]) -> tuple[int, int]:
    """(tokens with padding, supervised tokens) of the largest forward pass among `groups` of positions in `samples`."""
    if not groups:
        raise BelleError("there is no forward pass")
    tokens = max(len(group) * max(len(samples[i].ids) for i in group) for group in groups)
    return tokens, max(sum(sum(samples[i].mask) for i in group) for group in groups)
