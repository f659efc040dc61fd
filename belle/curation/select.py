"""Set steps that choose: the best share by a score, at most so many of a class, and the most different ones (k-center).

A record with no score (nan, or "") counts as the lowest. Among equal scores the earlier record stays. Reasons are fixed words;
the numbers are in the detail.
"""

from __future__ import annotations

import math
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from belle.curation.items import Drop, Score
from belle.curation.steps import Duplicate, Items
from belle.curation.texts import Curated, answer_text, fold, instruction_text, whole_text
from belle.errors import BelleError

Share = Annotated[float, Field(gt=0, le=1)]
Number = Annotated[int, Field(gt=0)]
Part = Literal["instruction", "answer", "whole"]
PARTS: dict[Part, Callable[[Curated], str]] = {"instruction": instruction_text, "answer": answer_text, "whole": whole_text}
CATEGORY = "category"
"""As a class: what the record itself says, instead of a score column."""
NONE = "(none)"


class TopShare:
    """Keep the share of the records with the best scores.

    Args:
        score: a score column.
        share: of the records; the number kept is rounded up.
        lowest: whether low is good, as with perplexity.
        per_class: a score column of words, or `category`: the share is then taken within each class.
    """

    def __init__(self, *, score: str, share: Share, lowest: bool = False, per_class: str | None = None) -> None:
        self.score, self.share, self.lowest, self.per_class = score, share, lowest, per_class

    @property
    def columns(self) -> tuple[str, ...]:
        """The score columns that decide."""
        return _columns(self.score, self.per_class)

    def prepare(self, records: Sequence[Curated]) -> NDArray[Any]:
        """[n, 0]: nothing, the scores say it all."""
        return np.zeros((len(records), 0), np.uint8)

    def decide(self, prepared: Iterable[NDArray[Any]], items: Items) -> Iterator[tuple[int, Drop]]:
        """Which positions go."""
        del prepared
        order = ranking(items.column(self.score), self.lowest)
        classes = _classes(items, self.per_class)
        room = {name: math.ceil(count * self.share - 1e-9) for name, count in Counter(classes).items()}
        scores = items.column(self.score)
        for position in order:
            name = classes[position]
            if room[name]:
                room[name] -= 1
            else:
                within = f" of {name}" if self.per_class else ""
                shown = _shown(scores[position])
                yield position, Drop("not among the best", f"{self.score} is {shown}, best {self.share:g}{within}")


class ClassQuota:
    """Keep at most so many records of a class, so that no kind of task drowns the rest.

    Args:
        number: at most so many of each class.
        share: at most this share of what is left in the end. Give one of the two.
        by: a score column of words, or `category`.
        best: a score column, the highest stay; absent, the earlier ones.
        lowest: whether low is good.
    """

    def __init__(
        self, *, number: Number | None = None, share: Share | None = None, by: str = "instruction_class", best: str | None = None,
        lowest: bool = False,
    ) -> None:  # fmt: skip
        if (number is None) == (share is None):
            raise BelleError("class_quota: give either number or share", "such as class_quota: {share: 0.2}")
        self.number, self.share, self.by, self.best, self.lowest = number, share, by, best, lowest

    @property
    def columns(self) -> tuple[str, ...]:
        """The score columns that decide."""
        return _columns(self.by, self.best)

    def prepare(self, records: Sequence[Curated]) -> NDArray[Any]:
        """[n, 0]: nothing, the columns say it all."""
        return np.zeros((len(records), 0), np.uint8)

    def decide(self, prepared: Iterable[NDArray[Any]], items: Items) -> Iterator[tuple[int, Drop]]:
        """Which positions go."""
        del prepared
        classes = _classes(items, self.by)
        counts = Counter(classes)
        limit = self.number if self.number is not None else share_limit(counts, self.share or 1.0)
        order = ranking(items.column(self.best), self.lowest) if self.best else range(len(items))
        taken: Counter[str] = Counter()
        for position in order:
            name = classes[position]
            taken[name] += 1
            if taken[name] > limit:
                yield position, Drop("class is full", f"{counts[name]} of {name}, at most {limit}")


class KCenter:
    """Keep the records that differ most: each next one is the farthest from all chosen (greedy k-center, Gonzalez, 1985).

    Vectors are hashed character n-grams (2 and 3) of the folded text, compared by cosine. The first is the one nearest to the
    mean of all; ties go to the earlier record. Time grows with records times chosen, memory with records (1 KB each).

    Args:
        share: of the records to keep, rounded up.
        number: to keep. Give one of the two.
        on: the text that is compared.
        by: a score column of words, or `category`, for `quota`.
        quota: none; `proportional` keeps each class's share as it is; `equal` gives classes the same number, as far as they go.
    """

    def __init__(
        self, *, share: Share | None = None, number: Number | None = None, on: Part = "instruction",
        by: str | None = None, quota: Literal["none", "proportional", "equal"] = "none",
    ) -> None:  # fmt: skip
        if (number is None) == (share is None):
            raise BelleError("k_center: give either number or share", "such as k_center: {share: 0.5}")
        if (by is None) != (quota == "none"):
            raise BelleError(f"k_center: quota is {quota}, and by is {by or 'absent'}", "set both: by: category, quota: equal")
        self.number, self.share, self.on, self.by, self.quota = number, share, on, by, quota

    @property
    def columns(self) -> tuple[str, ...]:
        """The score column of classes, if any."""
        return _columns(self.by)

    def prepare(self, records: Sequence[Curated]) -> NDArray[Any]:
        """[n, 256] float32 of unit length; a blank text is 0."""
        return hashed_vectors([PARTS[self.on](record) for record in records])

    def decide(self, prepared: Iterable[NDArray[Any]], items: Items) -> Iterator[tuple[int, Drop]]:
        """Which positions go; each because of the kept one that is nearest to it."""
        vectors = np.concatenate([np.asarray(part, np.float32) for part in prepared])
        want = self.number if self.number is not None else math.ceil(len(vectors) * (self.share or 1.0) - 1e-9)
        if want >= len(vectors):
            return
        classes = _classes(items, self.by)
        room = quotas(Counter(classes), want, self.quota)
        chosen, near, similarity = farthest_first(vectors, want, classes, room)
        kept = set(chosen)
        for position in range(len(vectors)):
            if position not in kept:
                detail = f"similarity {max(0.0, float(similarity[position])):.2f}"
                yield position, Duplicate("less different than others", detail, of=int(near[position]))


class SemanticKCenter(KCenter):
    """k_center on the vectors of a language model (mean of its last hidden states) instead of n-grams."""

    alone = True

    def __init__(
        self, *, model: str, share: Share | None = None, number: Number | None = None, on: Part = "instruction",
        by: str | None = None, quota: Literal["none", "proportional", "equal"] = "none",
    ) -> None:  # fmt: skip
        """`model`: what `model.path` may be."""
        super().__init__(share=share, number=number, on=on, by=by, quota=quota)
        from belle.curation.embeddings import ModelEmbedder

        self._embed = ModelEmbedder(model)

    def prepare(self, records: Sequence[Curated]) -> NDArray[Any]:
        """[n, width] float32 of unit length."""
        return self._embed([PARTS[self.on](record) for record in records])


def ranking(scores: Sequence[Score], lowest: bool = False) -> list[int]:
    """[n] positions from the best score to the worst; no score is the worst, ties in order.

    Raises:
        BelleError: a score is a word.
    """
    for score in scores:
        if isinstance(score, str) and score:
            raise BelleError(f"{score!r} is a word, and words have no best", "name a column of numbers")
    sign = 1.0 if lowest else -1.0
    keys = [math.inf if score == "" or score != score else sign * float(score) for score in scores]
    return sorted(range(len(keys)), key=lambda position: (keys[position], position))


def share_limit(counts: Counter[str], share: float) -> int:
    """The largest number m with m <= share * sum(min(count, m)): what a class may keep so that none has more than the share.

    Raises:
        BelleError: there are too few classes for so small a share.
    """
    ordered = list(counts.values())
    # share * sum(min(count, m)) - m is 0 at m = 0 and concave: where it is not negative is one stretch, found by halving.
    low, high = 0, max(ordered, default=0)
    while low < high:
        limit = (low + high + 1) // 2
        if limit <= share * sum(min(count, limit) for count in ordered) + 1e-9:
            low = limit
        else:
            high = limit - 1
    if low or not ordered:
        return low
    raise BelleError(f"class_quota: {len(ordered)} classes cannot each have at most {share:g} of the records",
                     f"a share of at least {1 / max(1, len(ordered)):.3g}, or a number")  # fmt: skip


def quotas(counts: Counter[str], want: int, way: str) -> dict[str, int]:
    """How many of each class may be chosen; they sum to `want`. Classes are ordered by name where one must come first."""
    names = sorted(counts)
    if way == "none":
        return dict(counts)
    if way == "proportional":
        exact = {name: want * counts[name] / counts.total() for name in names}
        room = {name: int(exact[name] + 1e-9) for name in names}
        rest = sorted(names, key=lambda name: (room[name] - exact[name], name))
        for name in rest[: want - sum(room.values())]:
            room[name] += 1
        return room
    room = dict.fromkeys(names, 0)
    left = want
    while left:
        open_ = [name for name in names if room[name] < counts[name]]
        each = max(1, left // len(open_))
        for name in open_[:left]:
            step = min(each, counts[name] - room[name])
            room[name] += step
            left -= step
    return room


def farthest_first(
    vectors: NDArray[np.float32], want: int, classes: Sequence[str], room: dict[str, int]
) -> tuple[list[int], NDArray[np.int64], NDArray[np.float32]]:
    """Greedy k-center: (chosen in order, [n] the nearest chosen of each, [n] the cosine to it).

    Cosines are rounded to 1e-5 before they are compared, so that the last digits of arithmetic decide nothing.
    """
    names = sorted(set(classes))
    codes = np.asarray([names.index(name) for name in classes]) if len(names) < 64 else np.unique(classes, return_inverse=True)[1]
    left = np.asarray([room[name] for name in names])
    best = np.full(len(vectors), -2.0, np.float32)
    near = np.zeros(len(vectors), np.int64)
    open_ = left[codes] > 0
    centre = np.round(vectors @ vectors.mean(0), 5)
    position = int(np.where(open_, centre, -np.inf).argmax())
    chosen: list[int] = []
    while True:
        chosen.append(position)
        cosine = np.round(vectors @ vectors[position], 5)
        closer = cosine > best
        best[closer], near[closer] = cosine[closer], position
        near[position] = position
        open_[position] = False
        left[codes[position]] -= 1
        if not left[codes[position]]:
            open_ &= codes != codes[position]
        if len(chosen) >= want or not open_.any():
            return chosen, near, best
        position = int(np.where(open_, best, np.inf).argmin())


def hashed_vectors(texts: Sequence[str], size: int = 256) -> NDArray[np.float32]:
    """[n, size] signed counts (damped by a square root) of hashed character 2- and 3-grams of the folded text, of unit length."""
    rows = np.zeros((len(texts), size), np.float32)
    for row, text in zip(rows, texts, strict=True):
        plain = fold(text)
        for gram, count in Counter(plain[i : i + n] for n in (2, 3) for i in range(len(plain) - n + 1)).items():
            number = zlib.crc32(gram.encode("utf-8", "surrogatepass"))
            row[number % size] += math.sqrt(count) * (1 if number & 0x10000 else -1)
        length = math.sqrt(float((row.astype(np.float64) ** 2).sum()))
        row /= length or 1.0
    return rows


def _columns(*names: str | None) -> tuple[str, ...]:
    return tuple(name for name in names if name is not None and name != CATEGORY)


def _classes(items: Items, by: str | None) -> list[str]:
    if by is None:
        return [""] * len(items)
    if by == CATEGORY:
        return [item.record.category or NONE for item in items]
    return [str(value) or NONE for value in items.column(by)]


def _shown(score: Score) -> str:
    return "absent" if score == "" or score != score else f"{float(score):.4g}"
