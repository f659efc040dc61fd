"""How diverse a set of texts is: frequent words, what is asked of what, distinct n-grams, types to tokens."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from belle.curation.verb_object import verb_object
from belle.curation.words import content_words, words

WINDOW = 1000
"""Words in one window of the standardised type/token ratio (Johnson, 1944): a ratio over all words falls as a set grows."""
MOST = 1_000_000
"""Words that distinct n-grams are counted over, from the beginning: their memory is bounded, and sets are comparable."""


@dataclass
class Vocabulary:
    """Words of many texts, text by text."""

    frequencies: Counter[str] = field(default_factory=Counter)
    """How often each content word stands somewhere."""
    texts: Counter[str] = field(default_factory=Counter)
    """In how many texts."""
    count: int = 0
    """All words, function words among them."""
    _types: set[str] = field(default_factory=set)
    _grams: tuple[set[tuple[str, ...]], ...] = (set(), set(), set())
    _totals: list[int] = field(default_factory=lambda: [0, 0, 0])
    _window: list[str] = field(default_factory=list)
    _ratios: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._grams = (set(), set(), set())

    def add(self, text: str) -> None:
        """Count one text."""
        content = content_words(text)
        self.frequencies.update(content)
        self.texts.update(set(content))
        found = words(text)
        self._types.update(found)
        if self.count < MOST:
            for n, grams in enumerate(self._grams, 1):
                here = list(zip(*(found[i:] for i in range(n)), strict=False))
                grams.update(here)
                self._totals[n - 1] += len(here)
        self.count += len(found)
        self._window += found
        while len(self._window) >= WINDOW:
            self._ratios.append(len(set(self._window[:WINDOW])) / WINDOW)
            del self._window[:WINDOW]

    def distinct(self, n: int) -> float | None:
        """Different n-grams of words, divided by all (Li et al., 2016), for n of 1 to 3; None without any."""
        return len(self._grams[n - 1]) / self._totals[n - 1] if self._totals[n - 1] else None

    @property
    def type_token(self) -> float | None:
        """Different words in a window, divided by its words, on average over windows; of a small set, over what there is."""
        if self._ratios:
            return sum(self._ratios) / len(self._ratios)
        return len(set(self._window)) / len(self._window) if self._window else None

    def summary(self, most: int = 50) -> dict[str, Any]:
        """All figures as JSON; the commonest words as [word, how often, in how many texts]."""
        ranked = sorted(self.frequencies.items(), key=lambda each: (-each[1], each[0]))[:most]
        return {
            "words": self.count, "types": len(self._types), "type_token_per_1000": self.type_token,
            "distinct": {str(n): self.distinct(n) for n in (1, 2, 3)},
            "frequent": [[word, count, self.texts[word]] for word, count in ranked],
        }  # fmt: skip


@dataclass
class VerbObjects:
    """Counts of (verb, object) over instructions."""

    pairs: Counter[tuple[str, str]] = field(default_factory=Counter)
    verbs: Counter[str] = field(default_factory=Counter)
    instructions: int = 0

    def add(self, instruction: str) -> None:
        """Count one instruction."""
        self.instructions += 1
        found = verb_object(instruction)
        if found is not None:
            self.verbs[found[0]] += 1
            if found[1]:
                self.pairs[found] += 1

    def table(self, verbs: int = 20, objects: int = 4) -> list[tuple[str, int, list[tuple[str, int]]]]:
        """The commonest verbs, each with its count and its commonest objects; ties in the order of the words."""
        rows = []
        for verb, count in sorted(self.verbs.items(), key=lambda each: (-each[1], each[0]))[:verbs]:
            mine = [(noun, n) for (v, noun), n in self.pairs.items() if v == verb]
            rows.append((verb, count, sorted(mine, key=lambda each: (-each[1], each[0]))[:objects]))
        return rows

    def summary(self) -> dict[str, Any]:
        """All figures as JSON. `pair_share` is different pairs by all pairs: 1 where no two instructions ask for the same."""
        total = sum(self.pairs.values())
        return {
            "instructions": self.instructions, "with_verb": sum(self.verbs.values()), "different_verbs": len(self.verbs),
            "different_pairs": len(self.pairs), "pair_share": len(self.pairs) / total if total else None,
            "table": [[verb, count, [list(each) for each in mine]] for verb, count, mine in self.table()],
        }  # fmt: skip


def distinct(texts: Sequence[str], n: int) -> float | None:
    """`Vocabulary.distinct` of some texts."""
    vocabulary = Vocabulary()
    for text in texts:
        vocabulary.add(text)
    return vocabulary.distinct(n)
