"""The text that a model is calibrated on, as token ids in windows of one length."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import torch

from belle.data.chat_template import ChatTemplate
from belle.data.letters import HAN
from belle.errors import BelleError
from belle.records import Conversation, Document, Record

CHINESE = 1.0
"""Han characters a token from which a tokenizer was made for Chinese: Qwen's has 1.9, an English one 0.6."""


def windows(
    records: Sequence[Record], tokenizer: Any, template: ChatTemplate | None, count: int, length: int, seed: int
) -> torch.Tensor:
    """int64 [at most count, length]: the records in a random order, each window filled up with one behind the other.

    A window begins where a record does, as every prompt will: what a model computes for its first token is often a hundred
    times larger than anything else, and rounding must have seen it. What is cut off from a conversation at the end of a
    window is left away; a document goes on in the next window.

    Raises:
        BelleError: there is not one whole window, or conversations and no template.
    """
    order = torch.randperm(len(records), generator=torch.Generator().manual_seed(seed)).tolist()
    full: list[list[int]] = []
    ids: list[int] = []
    for index in order:
        ids += encode(records[index], tokenizer, template)
        while len(ids) >= length and len(full) < count:
            full.append(ids[:length])
            ids = ids[length:] if isinstance(records[index], Document) else []
        if len(full) == count:
            break
    if not full:
        what = f"the calibration text has {len(ids)} tokens, not one window of {length}"
        raise BelleError(what, "give more text, or lower length")
    return torch.tensor(full)


def encode(record: Record, tokenizer: Any, template: ChatTemplate | None) -> list[int]:
    """Token ids of a record as the model would see it."""
    if isinstance(record, Document):
        end = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
        return [*tokenizer(record.text, add_special_tokens=False)["input_ids"], *end]
    if not isinstance(record, Conversation):
        raise BelleError("calibration takes conversations or documents", "give another file")
    if template is None:
        raise BelleError("the calibration file has conversations, and the model has no chat template", "set model.template")
    return list(template.encode(record).ids)


def made_for_chinese(tokenizer: Any, texts: Sequence[str]) -> bool:
    """Whether a tokenizer knows Chinese words: by how many Han characters of Chinese texts stand in a token."""
    text = "".join(re.findall(f"[{HAN}]", "".join(texts)))
    return len(text) >= CHINESE * len(tokenizer(text, add_special_tokens=False)["input_ids"])
