"""Numbers of the cleaning report as shapes: histograms of lengths and scores, shares before and after."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from belle.curation.portrait import bin_start

BINS = 28


@dataclass(frozen=True)
class Column:
    """One column of a histogram: heights in percent of the highest, and what a pointer over it says."""

    before: float
    after: float
    title: str


@dataclass(frozen=True)
class Histogram:
    """Columns from left to right, words under some of them, lines at the recipe's limits (percent from the left)."""

    columns: list[Column]
    ticks: list[tuple[float, str]]
    limits: list[tuple[float, str]] = field(default_factory=list)
    words: list[tuple[str, int, float]] = field(default_factory=list)
    """Of a score that is a word, instead of columns: (word, records, width in percent)."""


@dataclass(frozen=True)
class ShareRow:
    """One value of a counter before and after: records and shares of the whole."""

    name: str
    before: int
    after: int
    before_share: float
    after_share: float


def length_chart(before: Mapping[str, int], after: Mapping[str, int]) -> Histogram | None:
    """Records by length (bins of `portrait.length_bin`), before and after; None where there is nothing to draw."""
    numbers = sorted(int(key) for key in before.keys() | after.keys())
    if not numbers:
        return None
    low, high = numbers[0], max(numbers[-1], numbers[0] + 5)
    span = range(low, high + 1)
    most = max(max(before.values(), default=0), max(after.values(), default=0), 1)
    columns, ticks = [], []
    for place, number in enumerate(span):
        came, stayed = before.get(str(number), 0), after.get(str(number), 0)
        start, end = bin_start(number), max(bin_start(number + 1) - 1, bin_start(number))
        length = f"{start:,}" if start == end else f"{start:,} to {end:,}"
        title = f"{length} characters: {came:,} before, {stayed:,} after"
        columns.append(Column(_percent(came, most), _percent(stayed, most), title))
        if number == -1 or (number >= 2 and number % 2 == 0 and number % (4 if len(span) > 14 else 2) == 0):
            ticks.append((_percent(place, len(span)), _thousands(start)))
    return Histogram(columns, ticks)


def score_chart(values: Mapping[str, int], limits: Mapping[str, float]) -> Histogram:
    """Records by score. Scores over more than three powers of ten are drawn on a logarithmic axis."""
    if not all(map(_is_number, values)):
        most = max(values.values())
        rows = sorted(values.items(), key=lambda each: (-each[1], each[0]))
        return Histogram([], [], words=[(word or "none given", count, _percent(count, most)) for word, count in rows])
    numbers: Counter[float] = Counter()
    for key, count in values.items():
        if math.isfinite(float(key)):
            numbers[float(key)] += count  # 0 and -0 are one
    if not numbers:
        return Histogram([], [], words=[("not scored", sum(values.values()), 100.0)])
    low, high = min(numbers), max(numbers)
    logarithmic = low > 0 and high / low > 1000
    scale = math.log10 if logarithmic else float
    left, right = scale(low), scale(high)
    right = right if right > left else left + 1
    counts = [0] * BINS
    for value, count in numbers.items():
        counts[min(int((scale(value) - left) / (right - left) * BINS), BINS - 1)] += count
    edges = [left + (right - left) * i / BINS for i in range(BINS + 1)]
    real = [10**edge if logarithmic else edge for edge in edges]
    columns = [
        Column(0, _percent(n, max(counts)), f"{real[i]:.3g} to {real[i + 1]:.3g}: {n:,} records") for i, n in enumerate(counts)
    ]
    round_numbers = _round_numbers(real[0], real[-1], logarithmic)
    ticks = [(round(100 * (scale(value) - left) / (right - left), 2), f"{value:,.10g}") for value in round_numbers]
    lines = []
    for name, limit in limits.items():
        if not logarithmic or limit > 0:
            place = 100 * (scale(limit) - left) / (right - left)
            beyond = " →" if place > 100 else " ←" if place < 0 else ""  # it lies outside what is drawn
            lines.append((min(max(place, 0.0), 100.0), f"{name} {limit:g}{beyond}"))
    return Histogram(columns, ticks, lines)


def shares(before: Mapping[str, int], after: Mapping[str, int], most: int = 16) -> list[ShareRow]:
    """The values of a counter, the commonest first; what is beyond `most` is one row."""
    total_before, total_after = sum(before.values()) or 1, sum(after.values()) or 1
    names = sorted(before.keys() | after.keys(), key=lambda name: (-before.get(name, 0), name))
    rows = [(name, before.get(name, 0), after.get(name, 0)) for name in names[:most]]
    if rest := names[most:]:
        rows.append((f"{len(rest)} others", sum(before.get(n, 0) for n in rest), sum(after.get(n, 0) for n in rest)))
    return [ShareRow(name, came, stayed, came / total_before, stayed / total_after) for name, came, stayed in rows]


def _round_numbers(low: float, high: float, logarithmic: bool) -> list[float]:
    """Four or so round numbers between two ends: powers of ten, or multiples of 1, 2 or 5 times one."""
    if logarithmic:
        return [10.0**power for power in range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1)]
    power = 10.0 ** math.floor(math.log10((high - low) / 4))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor * 5 >= high - low)
    return [round(n * step, 12) for n in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _percent(part: float, whole: float) -> float:
    return round(100 * part / whole, 2) if whole else 0.0


def _thousands(number: int) -> str:
    if number < 1000:
        return str(number)
    return f"{number / 1000:.1f}k".replace(".0k", "k")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
