"""Small steps of each kind, as a user would write them, for the tests of the pipeline."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
from pydantic import Field

from belle.curation.items import Drop
from belle.curation.steps import Context, Duplicate, Items
from belle.curation.texts import Curated, fold, instruction_text, whole_text
from belle.errors import BelleError
from belle.records import Document


def too_short(record: Curated, *, least: int = 5) -> str | None:
    """Removes texts with fewer characters than `least`."""
    return "too short" if len(whole_text(record)) < least else None


@dataclass(frozen=True)
class Forbidden:
    """Removes texts that hold one of the words."""

    words: tuple[str, ...]

    def __post_init__(self) -> None:
        if "" in self.words:
            raise BelleError("the empty word is in every text", "take it out of words")

    def __call__(self, record: Curated) -> Drop | None:
        found = [word for word in self.words if word in whole_text(record)]
        return Drop("forbidden word", found[0]) if found else None


def single_spaces(record: Curated) -> Curated | Drop:
    """Joins runs of spaces; what is spaces alone goes."""
    if isinstance(record, Document):
        text = " ".join(record.text.split(" ")).replace("  ", " ")
        return record if text == record.text else replace(record, text=text) if text.strip() else Drop("only spaces")
    messages = tuple(replace(m, content=m.content.replace("  ", " ")) for m in record.messages)
    return record if messages == record.messages else replace(record, messages=messages)


class Length:
    """The characters of a record."""

    is_score = True

    def __init__(self, scale: Annotated[float, Field(gt=0)] = 1.0) -> None:
        self.scale = scale

    def __call__(self, records: Sequence[Curated]) -> list[float | str]:
        return [len(whole_text(record)) * self.scale for record in records]


class Script:
    """zh or en, by the first letter; nothing where there is none. Runs alone, as a model would."""

    is_score = True
    alone = True

    def __call__(self, records: Sequence[Curated]) -> list[float | str]:
        firsts = (next((char for char in whole_text(record) if char.isalpha()), "") for record in records)
        return ["" if not char else "en" if char.isascii() else "zh" for char in firsts]


class SameText:
    """Removes records whose folded instruction came before."""

    def __init__(self, seed: int = 7, context: Context | None = None) -> None:
        self.seed, self.context = seed, context

    def prepare(self, records: Sequence[Curated]) -> np.ndarray:
        return np.array([hash_of(fold(instruction_text(record))) for record in records], np.int64)

    def decide(self, prepared: Iterable[np.ndarray], items: Items) -> Iterator[tuple[int, Drop]]:
        seen: dict[int, int] = {}
        position = 0
        for array in prepared:
            for value in array.tolist():
                if value in seen:
                    yield position, Duplicate("same text", f"{self.seed}", of=seen[value])
                seen.setdefault(value, position)
                position += 1
        assert position == len(items)


class Longest:
    """Keeps the `most` records with the highest score."""

    def __init__(self, most: int, score: str = "own_steps:Length") -> None:
        self.most, self.columns = most, (score,)

    def prepare(self, records: Sequence[Curated]) -> np.ndarray:
        return np.zeros((len(records), 0), np.int8)

    def decide(self, prepared: Iterable[np.ndarray], items: Items) -> list[tuple[int, Drop]]:
        scores = items.column(self.columns[0])
        order = sorted(range(len(items)), key=lambda position: (-float(scores[position]), position))
        return [(position, Drop("not among the longest")) for position in order[self.most :]]


def breaks(record: Curated) -> str | None:
    """A step with a fault."""
    return str(1 // 0) if "二" in whole_text(record) else None


def says_true(record: Curated) -> bool:
    """A step that returns what no step returns."""
    return True


def refuses(record: Curated) -> str | None:
    """A step that says what is wrong in a BelleError."""
    raise BelleError("the endpoint is gone", "start it")


def slow(record: Curated, *, seconds: float = 0.01) -> str | None:
    """Removes nothing, slowly; and every third record."""
    time.sleep(seconds)
    return "a third" if hash_of(whole_text(record)) % 3 == 0 else None


def hash_of(text: str) -> int:
    """A hash that is the same in every process."""
    import hashlib

    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=7).digest(), "big")


class TooFewScores(Length):
    """A score with a fault."""

    def __call__(self, records: Sequence[Curated]) -> list[float | str]:
        return []


class TooFewRows(SameText):
    """A set step that forgets a record."""

    def prepare(self, records: Sequence[Curated]) -> np.ndarray:
        return np.zeros(0)


class Twice(SameText):
    """A set step that decides twice."""

    def decide(self, prepared: Iterable[np.ndarray], items: Items) -> Iterator[tuple[int, Drop]]:
        yield from [(0, Drop("once")), (0, Drop("twice"))]


class Outside(SameText):
    """A set step that decides about nobody."""

    def decide(self, prepared: Iterable[np.ndarray], items: Items) -> Iterator[tuple[int, Drop]]:
        yield len(items), Drop("nobody")


class OfItself(SameText):
    """A set step that drops a record because of itself."""

    def decide(self, prepared: Iterable[np.ndarray], items: Items) -> Iterator[tuple[int, Drop]]:
        yield 0, Duplicate("same", of=0)
