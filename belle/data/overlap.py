"""What training data gives away of an evaluation set: which questions stand in it, in which record, and how.

A question is found in a text in one of four ways, the surest first:

- `exact`: the text has the units (`units.py`) of the question and no others. The only way for questions of fewer than 5 units.
- `contained`: the whole question, or each of its sentences, stands in the text from edge to edge (an edge is a mark, a line end,
  the text's begin or end). With its sentences apart, another may have been put between them.
- `gram`: 13 units in a row are the same (Brown et al., "Language Models are Few-Shot Learners", 2020, appendix C, where a unit is
  a word; here a Chinese character is one as well). Only where the question has 13 units. What stands in more than `common`
  questions is boilerplate (根据以下文章回答下面问题) and no evidence, nor is a run that touches a phrase of `ignore`.
- `near`: the Jaccard similarity of their character 3-grams is at least `near`; the text is a turn, a document, or one of its
  lines. Only where the question has 13 units: 算9乘以14 and 算9乘以15 are two questions.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from belle.data.formats import load_records
from belle.data.units import Hashes, Units, gram_hashes, sentences, shingles, units
from belle.errors import BelleError
from belle.records import Conversation, Document, Record
from belle.sections import DataSection

How = Literal["exact", "contained", "gram", "near"]
HOWS: tuple[How, ...] = ("exact", "contained", "gram", "near")
GRAM = 13
SHORTEST = 5
_KEY = 6  # units by which a sentence is looked up


@dataclass(frozen=True, slots=True)
class Question:
    """One question of an evaluation set; of a choice, its options are part of the text."""

    id: str
    text: str


@dataclass(frozen=True, slots=True)
class Rules:
    """What counts as evidence; see the module."""

    near: float = 0.6
    """Jaccard similarity from which two texts are nearly the same; above 1 switches that way off."""
    common: int = 2
    """A run of 13 units that stands in more questions than this is boilerplate."""
    share: float = 0.0
    """The least share of a question's runs (boilerplate aside) that must be found; 0 takes a single one for proof."""
    ignore: tuple[str, ...] = ()
    """Phrases that prove nothing: runs that touch them do not count."""

    def __post_init__(self) -> None:
        if self.near <= 0 or self.common < 1 or not 0 <= self.share <= 1:
            given = f"near {self.near:g}, common {self.common}, share {self.share:g}"
            raise BelleError(f"no rule of overlap: {given}", "near is above 0, common at least 1, share from 0 to 1")


@dataclass(frozen=True, slots=True)
class Match:
    """A question, by its place in the set, found in a text."""

    question: int
    how: How
    share: float
    """1 for exact and contained; the share of the question's runs for gram; the similarity for near."""
    found: str
    """The words that were found, for gram the first run of 13."""


class QuestionIndex:
    """Finds questions in texts; built once, pure, picklable.

    Raises:
        BelleError: there are no questions, or one has neither letter nor digit.
    """

    def __init__(self, questions: Sequence[Question], rules: Rules = Rules()) -> None:
        if not questions:
            raise BelleError("no evaluation question to look for", "name a file of questions")
        self.questions, self.rules = list(questions), rules
        self._units = [units(question.text) for question in questions]
        for question, own in zip(questions, self._units, strict=True):
            if not own.words:
                raise BelleError(f"evaluation question {question.id!r} has no letter or digit: {question.text!r}", "leave it out")
        self._exact: dict[str, list[int]] = defaultdict(list)
        for number, own in enumerate(self._units):
            self._exact[_joined(own.words)].append(number)
        self._index_sentences()
        self._index_grams()
        self._index_shingles()

    def matches(self, texts: Iterable[str]) -> list[Match]:
        """Each question that stands in one of the texts of a record, once, in its surest way; by the questions' order."""
        best: dict[int, Match] = {}
        runs: dict[int, dict[int, str]] = defaultdict(dict)
        for text in texts:
            own = units(text)
            for number in self._exact.get(_joined(own.words), ()):
                _keep(best, Match(number, "exact", 1.0, _shown(own.words)))
            for number in self._contained(own):
                _keep(best, Match(number, "contained", 1.0, _shown(self._units[number].words)))
            self._find_grams(own, runs)
            lines = [units(line).words for line in text.split("\n")] if "\n" in text and len(self._rare) else []
            for words in (own.words, *lines):
                for match in self._near(words):
                    _keep(best, match)
        for number, found in runs.items():
            share = len(found) / self._evidence[number]
            if share >= self.rules.share:
                _keep(best, Match(number, "gram", share, found[min(found)]))
        return [best[number] for number in sorted(best)]

    def _index_sentences(self) -> None:
        """Sentences by their first units. Part 0 is the whole question, parts 1, 2, ... its sentences where it has several."""
        self._parts: list[tuple[int, int, list[str]]] = []
        self._part_count: list[int] = []
        self._starts: dict[tuple[str, ...], list[int]] = defaultdict(list)
        for number, own in enumerate(self._units):
            parts = [part.words for part in sentences(self.questions[number].text)] if len(own) >= SHORTEST else []
            self._part_count.append(len(parts))
            for part, words in enumerate([own.words, *(parts if len(parts) > 1 else [])] if parts else []):
                self._starts[tuple(words[:_KEY])].append(len(self._parts))
                self._parts.append((number, part, words))
        self._key_sizes = sorted({len(key) for key in self._starts})

    def _contained(self, own: Units) -> list[int]:
        words, edges = own.words, own.edges
        seen: dict[int, set[int]] = defaultdict(set)
        for start, edge in enumerate(edges[:-1]):
            for size in self._key_sizes if edge else ():
                for at in self._starts.get(tuple(words[start : start + size]), ()) if start + size <= len(words) else ():
                    number, part, wanted = self._parts[at]
                    stop = start + len(wanted)
                    if stop <= len(words) and edges[stop] and words[start:stop] == wanted:
                        seen[number].add(part)
        return [number for number, parts in seen.items() if 0 in parts or len(parts) == self._part_count[number]]

    def _index_grams(self) -> None:
        ignored = [words for phrase in self.rules.ignore if (words := units(phrase).words)]
        grams: list[tuple[int, int, int]] = []
        spread: Counter[int] = Counter()
        texts: dict[str, int] = {}  # a question that stands twice in the set does not make its own words boilerplate
        for number, own in enumerate(self._units):
            hashes = gram_hashes(own.words, GRAM).tolist()
            if texts.setdefault(_joined(own.words), number) == number:
                spread.update(set(hashes))
            blocked = _touched(own.words, ignored)
            grams += [(value, number, at) for at, value in enumerate(hashes) if not any(blocked[at : at + GRAM])]
        grams = sorted(gram for gram in grams if spread[gram[0]] <= self.rules.common)
        self._gram_keys = np.array([value for value, _, _ in grams], np.uint64)
        self._grams = [(number, at) for _, number, at in grams]
        self._evidence = Counter(number for number, _ in self._grams)

    def _find_grams(self, own: Units, runs: dict[int, dict[int, str]]) -> None:
        hashes = gram_hashes(own.words, GRAM)
        if not len(hashes) or not len(self._gram_keys):
            return
        left = np.searchsorted(self._gram_keys, hashes)
        hits = np.flatnonzero(self._gram_keys[np.minimum(left, len(self._gram_keys) - 1)] == hashes)
        for hit in hits.tolist():
            at, run = int(left[hit]), own.words[hit : hit + GRAM]
            while at < len(self._grams) and self._gram_keys[at] == hashes[hit]:
                number, place = self._grams[at]
                if self._units[number].words[place : place + GRAM] == run:
                    runs[number].setdefault(place, _shown(run))
                at += 1

    def _index_shingles(self) -> None:
        """Of each question only its rarest shingles: to share `near` of all n, a text must have one of n - ceil(near n) + 1."""
        on = self.rules.near <= 1
        sets = {n: shingles(own.words) for n, own in enumerate(self._units) if on and len(own) >= GRAM}
        self._shingles = sets
        spread: Counter[int] = Counter()
        for found in sets.values():
            spread.update(found.tolist())
        pairs = []
        for number, found in sets.items():
            rare = sorted(found.tolist(), key=lambda value: (spread[value], value))
            pairs += [(value, number) for value in rare[: len(rare) - int(np.ceil(self.rules.near * len(rare) - 1e-9)) + 1]]
        pairs.sort()
        self._rare = np.array([value for value, _ in pairs], np.uint64)
        self._rare_questions = [number for _, number in pairs]
        self._longest = max((len(found) for found in sets.values()), default=0) / max(self.rules.near, 1e-9)

    def _near(self, words: Sequence[str]) -> list[Match]:
        if not len(self._rare) or sum(map(len, words)) < 3:
            return []
        own = shingles(words)
        if len(own) > self._longest:
            return []
        left, right = np.searchsorted(self._rare, own), np.searchsorted(self._rare, own, side="right")
        hits = np.flatnonzero(right > left)
        candidates = {number for hit in hits.tolist() for number in self._rare_questions[left[hit] : right[hit]]}
        found = [(number, _jaccard(own, self._shingles[number])) for number in candidates]
        return [Match(number, "near", share, _shown(words)) for number, share in found if share >= self.rules.near]


@dataclass(frozen=True, slots=True)
class Leak:
    """A training record that gives a question away."""

    question: str
    record: str
    """file:line, or the id of a record that has no place."""
    how: How
    share: float
    found: str


@dataclass(frozen=True)
class Overlap:
    """What a set of records gives away of a set of questions."""

    questions: int
    records: int
    rules: Rules
    leaks: list[Leak] = field(default_factory=list)

    def leaked(self) -> dict[str, list[Leak]]:
        """The records that leak each leaked question, by its id, the surest first."""
        found: dict[str, list[Leak]] = defaultdict(list)
        for leak in sorted(self.leaks, key=lambda leak: (HOWS.index(leak.how), -leak.share)):
            found[leak.question].append(leak)
        return dict(found)

    def as_dict(self) -> dict[str, Any]:
        """Counts and shares as run.json holds them; `by` counts each leaked question under its surest way."""
        leaked = self.leaked()
        by = Counter(leaks[0].how for leaks in leaked.values())
        return {
            "questions": self.questions, "records": self.records, "leaked": len(leaked),
            "leaked_share": len(leaked) / self.questions if self.questions else 0.0,
            "by": {how: by[how] for how in HOWS}, "leaking_records": len({leak.record for leak in self.leaks}),
        }  # fmt: skip


def overlap(records: Iterable[Record], questions: Sequence[Question] | QuestionIndex, rules: Rules = Rules()) -> Overlap:
    """Look through all records, one at a time, for all questions.

    Raises:
        BelleError: as `QuestionIndex`.
    """
    index = questions if isinstance(questions, QuestionIndex) else QuestionIndex(questions, rules)
    leaks = []
    count = 0
    for record in records:
        count += 1
        name = str(record.source) if record.source.path else record.id or f"record {count}"
        for match in index.matches(texts_of(record)):
            leaks.append(Leak(index.questions[match.question].id, name, match.how, match.share, match.found))
    return Overlap(len(index.questions), count, index.rules, leaks)


def texts_of(record: Record) -> list[str]:
    """The texts of a record that may hold a question: a document, or every turn (of a pair: prompt and both answers)."""
    if isinstance(record, Document):
        return [record.text]
    if isinstance(record, Conversation):
        return [message.content for message in record.messages]
    return [message.content for message in (*record.prompt, *record.chosen, *record.rejected)]


def read_questions(section: DataSection) -> list[Question]:
    """The questions of evaluation files in any format of conversations: the user's turns, one a line.

    An id that the file does not give, or gives twice, is file:line.

    Raises:
        BelleError: as `load_records`.
    """
    out: dict[str, Question] = {}
    for record in load_records(section).records:
        name = record.id if record.id and record.id not in out else str(record.source)
        out[name] = Question(name, "\n".join(m.content for m in record.messages if m.role == "user"))
    return list(out.values())


def _keep(best: dict[int, Match], match: Match) -> None:
    old = best.get(match.question)
    if old is None or (HOWS.index(match.how), -match.share) < (HOWS.index(old.how), -old.share):
        best[match.question] = match


def _joined(words: Sequence[str]) -> str:
    return "\x1f".join(words)


def _shown(words: Sequence[str]) -> str:
    """Units as one reads them: Latin words parted by spaces."""
    out = ""
    for word in words:
        out += " " + word if out and out[-1].isascii() and word[0].isascii() else word
    return out


def _touched(words: list[str], phrases: Sequence[list[str]]) -> list[bool]:
    """[len(words)] whether a unit belongs to one of the phrases."""
    out = [False] * len(words)
    for phrase in phrases:
        for start in range(len(words) - len(phrase) + 1):
            if words[start : start + len(phrase)] == phrase:
                out[start : start + len(phrase)] = [True] * len(phrase)
    return out


def _jaccard(a: Hashes, b: Hashes) -> float:
    shared = len(np.intersect1d(a, b, assume_unique=True))
    return shared / (len(a) + len(b) - shared) if shared else 0.0
