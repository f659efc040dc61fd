"""What travels through the steps of cleaning: a record with its place and its scores, or the reason why it went."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from belle.records import Conversation, Document

Score = float | str


@dataclass(frozen=True, slots=True)
class Item:
    """A record on its way. `index` is its place in the input, counted from 0; it orders everything and never changes."""

    index: int
    record: Conversation | Document
    scores: Mapping[str, Score] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Drop:
    """Why a record went: `reason` is one of a step's few fixed words, to be counted; `detail` is about this record."""

    reason: str
    detail: str = ""
