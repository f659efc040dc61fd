"""A set of records in numbers: classes, languages, lengths, turns. Portraits of shards add up to that of the whole."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from typing import Any

from belle.curation.texts import Curated, answer_text, instruction_text
from belle.records import Document

Portrait = dict[str, Any]

COUNTED = ("categories", "languages", "turns", "instruction", "answer")
"""The counters of a portrait: name -> value -> records. Lengths are counted by `length_bin`."""


def portrait(records: Iterable[Curated]) -> Portrait:
    """The portrait of some records."""
    counters: dict[str, Counter[str]] = {name: Counter() for name in COUNTED}
    count = characters = 0
    for record in records:
        count += 1
        instruction, answer = instruction_text(record), answer_text(record)
        counters["instruction"][str(length_bin(len(instruction)))] += 1
        characters += len(instruction)
        counters["categories"][record.category] += 1
        if isinstance(record, Document):
            continue
        characters += len(answer)
        counters["answer"][str(length_bin(len(answer)))] += 1
        counters["turns"][str(sum(message.role == "user" for message in record.messages))] += 1
        if record.language:
            counters["languages"][record.language] += 1
    return {"records": count, "characters": characters} | {name: dict(counter) for name, counter in counters.items()}


def add(portraits: Iterable[Portrait]) -> Portrait:
    """The portrait of all records behind several portraits; counters come ordered by count, then by value."""
    counters: dict[str, Counter[str]] = {name: Counter() for name in COUNTED}
    total = {"records": 0, "characters": 0}
    for one in portraits:
        for name in total:
            total[name] += one[name]
        for name, counter in counters.items():
            counter.update(one[name])
    return total | {name: dict(sorted(counter.items(), key=lambda x: (-x[1], x[0]))) for name, counter in counters.items()}


def length_bin(length: int) -> int:
    """The bin of a length in characters: -1 for 0, else two bins to a doubling (0 is 1, 2 is 2, 4 is 4 to 5, ...)."""
    return -1 if length == 0 else int(2 * math.log2(length))


def bin_start(number: int) -> int:
    """The smallest length of a bin."""
    return 0 if number < 0 else math.ceil(2 ** (number / 2) - 1e-9)
