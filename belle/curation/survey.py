"""A data set in figures: how much, how long, which languages and classes, what is asked, which words, what is there twice.

Counts, lengths and exact duplicates are over all records; what takes longer is over a random sample (all, where it is small).
"""

from __future__ import annotations

import random
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from belle.curation.catalogue import known_steps, read_steps
from belle.curation.classify import asked, classify
from belle.curation.diversity import VerbObjects, Vocabulary
from belle.curation.items import Drop, Item, Score
from belle.curation.language import identify
from belle.curation.outline import describe
from belle.curation.portrait import length_bin
from belle.curation.shingles import fold_keys
from belle.curation.steps import Context, Duplicate
from belle.curation.texts import Curated, answer_text, instruction_text, whole_text
from belle.data.categories import category_name
from belle.errors import BelleError
from belle.records import Conversation, Document, Preference, Record

NEAR = 0.7
"""Jaccard similarity of records that count as near duplicates."""
NEED_OPTIONS = ("length", "decontaminate")
"""Filters that do nothing until the recipe tells them a limit or a file."""
SHOWN = 3
"""Examples of each finding."""
QUANTILES = (0, 0.25, 0.5, 0.75, 0.95, 1)
_BATCH = 512
_SNIPPET = 160


def curated(record: Record) -> Curated:
    """What cleaning looks at: of a preference pair the prompt and the better answer."""
    if isinstance(record, Preference):
        messages = (*record.prompt, *record.chosen)
        return Conversation(messages, record.tools, record.id, record.category, source=record.source)
    return record


@dataclass
class Survey:
    """Takes records one by one; `result()` gives the figures as JSON.

    Args:
        sample: records of the random sample.
        seed: of its choice.
    """

    sample: int
    seed: int = 0
    records: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    given: Counter[str] = field(default_factory=Counter)
    turns: Counter[str] = field(default_factory=Counter)
    has: Counter[str] = field(default_factory=Counter)
    lengths: dict[str, array[int]] = field(default_factory=lambda: {"instruction": array("L"), "answer": array("L")})
    drawn: list[Curated] = field(default_factory=list)
    _places: list[int] = field(default_factory=list)
    _waiting: list[Curated] = field(default_factory=list)
    _keys: dict[str, Counter[bytes]] = field(default_factory=lambda: {"instruction": Counter(), "record": Counter()})
    _repeated: dict[bytes, str] = field(default_factory=dict)
    _random: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def add(self, record: Record) -> None:
        """Count one record."""
        self.kinds[type(record).__name__.lower()] += 1
        one = curated(record)
        self.given[category_name(one.category)] += bool(one.category)
        self.lengths["instruction"].append(len(instruction_text(one)))
        if not isinstance(one, Document):
            self.lengths["answer"].append(len(answer_text(one)))
            self.turns[str(sum(message.role == "user" for message in one.messages))] += 1
            self.has["system turn"] += any(message.role == "system" for message in one.messages)
            self.has["tools"] += bool(one.tools)
            self.has["empty answer"] += not answer_text(one).strip()
            self.has["thumb up"] += one.label is True
            self.has["thumb down"] += one.label is False
        self._draw(one)
        self._waiting.append(one)
        if len(self._waiting) >= _BATCH:
            self._flush()

    def result(self, doing: Callable[[str], Any] | None = None) -> dict[str, Any]:
        """All figures; `doing(name)` is told what is being looked at.

        Raises:
            BelleError: there was no record.
        """
        self._flush()
        if not self.records:
            raise BelleError("there is no record", "check data.path")
        say = doing or (lambda name: None)
        self.drawn = [record for _, record in sorted(zip(self._places, self.drawn, strict=True), key=lambda each: each[0])]
        talks = [record for record in self.drawn if isinstance(record, Conversation)]
        say("languages and classes")
        languages = Counter(_language(record) for record in self.drawn)
        found = Counter(word or "(blank)" for word, _ in classify([asked(record) for record in talks]))
        say("words")
        pairs, words = VerbObjects(), {"instruction": Vocabulary(), "answer": Vocabulary()}
        for record in self.drawn:
            words["instruction"].add(instruction_text(record))
            if isinstance(record, Conversation):
                words["answer"].add(answer_text(record))
                pairs.add(asked(record))
        say("near duplicates")
        near = near_duplicates(self.drawn)
        say("what belle clean would look at")
        looks = look(self.drawn)
        return {
            "records": self.records, "kinds": dict(self.kinds), "sample": len(self.drawn),
            "characters": int(sum(map(sum, self.lengths.values()))),
            "lengths": {name: _lengths(values) for name, values in self.lengths.items() if values},
            "languages": _ranked(languages), "classes": {"given": _ranked(+self.given), "found": _ranked(found)},
            "turns": dict(sorted(self.turns.items(), key=lambda each: int(each[0]))), "has": dict(+self.has),
            "verb_object": pairs.summary() if talks else None,
            "words": {name: vocabulary.summary() for name, vocabulary in words.items() if vocabulary.count},
            "duplicates": self._duplicates() | {"near": near}, "looks": looks,
        }  # fmt: skip

    def _draw(self, record: Curated) -> None:
        """Algorithm R (Vitter, 1985): every record has the same chance, and the same data gives the same sample."""
        place = self.records if self.records < self.sample else self._random.randrange(self.records + 1)
        if self.records < self.sample:
            self.drawn.append(record)
            self._places.append(self.records)
        elif place < self.sample:
            self.drawn[place], self._places[place] = record, self.records
        self.records += 1

    def _flush(self) -> None:
        texts = {
            "instruction": [instruction_text(record) for record in self._waiting],
            "record": [whole_text(record) for record in self._waiting],
        }
        for name, some in texts.items():
            for key, text in zip(fold_keys(some), some, strict=True):
                if key:
                    self._keys[name][key] += 1
                    if name == "instruction" and self._keys[name][key] == 2:
                        self._repeated[key] = text[:_SNIPPET]
        self._waiting.clear()

    def _duplicates(self) -> dict[str, Any]:
        asked_again = sorted(self._repeated.items(), key=lambda each: (-self._keys["instruction"][each[0]], each[1]))
        return {
            "same_record": sum(count - 1 for count in self._keys["record"].values()),
            "same_instruction": sum(count - 1 for count in self._keys["instruction"].values()),
            "most_repeated": [[text, self._keys["instruction"][key]] for key, text in asked_again[:10]],
        }


class InMemory:
    """Records as `Items` of a set step, without scores."""

    def __init__(self, records: Sequence[Curated]) -> None:
        self._records = records

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, position: int) -> Item:
        return Item(position, self._records[position])

    def __iter__(self) -> Iterator[Item]:
        return (self[position] for position in range(len(self)))

    def column(self, name: str) -> list[Score]:
        """There is none."""
        raise BelleError(f"no score column {name!r}")


def near_duplicates(records: Sequence[Curated]) -> dict[str, Any]:
    """How many records are near duplicates of another one, and a few pairs: {"threshold", "count", "examples"}."""
    step = read_steps([{"near_duplicates": {"threshold": NEAR}}])[0].build(Context())
    found: list[tuple[int, Drop]] = sorted(step.decide([step.prepare(records)], InMemory(records)), key=lambda each: each[0])
    examples: list[dict[str, str]] = []
    for position, drop in found:
        of = drop.of if isinstance(drop, Duplicate) else -1
        if of >= 0 and len(examples) < SHOWN:
            examples.append({
                "source": str(records[position].source), "text": _snippet(records[position]), "of": str(records[of].source),
                "of_text": _snippet(records[of]), "detail": drop.detail,
            })  # fmt: skip
    return {"threshold": NEAR, "count": len(found), "examples": examples}


def look(records: Sequence[Curated]) -> list[dict[str, Any]]:
    """What each filter of `belle clean`, with its defaults, would drop: {"step", "count", "reasons", "examples"}, most first.

    Filters that need options are left out; one that cannot be used here has "failed" with the reason.
    """
    rows = []
    for name, (kind, target) in known_steps().items():
        if kind != "filter" or name in NEED_OPTIONS:
            continue
        row: dict[str, Any] = {"step": name, "count": 0, "reasons": {}, "examples": []}
        try:
            row["about"] = describe(target)[0]
            step = read_steps([name])[0].build(Context())
            reasons: Counter[str] = Counter()
            for record in records:
                reason = step(record)
                if reason is None:
                    continue
                drop = reason if isinstance(reason, Drop) else Drop(reason)
                reasons[drop.reason] += 1
                if reasons[drop.reason] == 1 or len(row["examples"]) < SHOWN:
                    row["examples"].append({
                        "source": str(record.source), "reason": drop.reason, "detail": drop.detail, "text": _snippet(record),
                    })  # fmt: skip
            row |= {"count": reasons.total(), "reasons": _ranked(reasons)}
        except BelleError as error:
            row["failed"] = error.message
        rows.append(row)
    return sorted(rows, key=lambda row: (-row["count"], row["step"]))


def _language(record: Curated) -> str:
    """What the record says, else the language of its answer (a translation is asked for in another), else of its instruction."""
    if isinstance(record, Conversation) and record.language:
        return record.language
    return identify(answer_text(record)) or identify(instruction_text(record)) or "none"


def _lengths(values: Sequence[int]) -> dict[str, Any]:
    numbers = np.asarray(values)
    quantiles = {f"{q:g}": int(v) for q, v in zip(QUANTILES, np.quantile(numbers, QUANTILES, method="nearest"), strict=True)}
    bins = Counter(map(length_bin, values))
    return {"mean": round(float(numbers.mean()), 1), "quantiles": quantiles,
            "bins": {str(number): bins[number] for number in sorted(bins)}}  # fmt: skip


def _ranked(counter: Counter[str]) -> dict[str, int]:
    return dict(sorted(counter.items(), key=lambda each: (-each[1], each[0])))


def _snippet(record: Curated) -> str:
    text = whole_text(record) if isinstance(record, Document) else f"{instruction_text(record)}\n→ {answer_text(record)}"
    return text if len(text) <= 2 * _SNIPPET else text[: 2 * _SNIPPET] + " …"


def survey(records: Iterable[Record], sample: int, seed: int = 0) -> dict[str, Any]:
    """The figures of some records."""
    taken = Survey(sample, seed)
    for record in records:
        taken.add(record)
    return taken.result()
