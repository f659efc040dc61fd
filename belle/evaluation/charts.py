"""Geometry of the report's pictures. Places are percent of the plot, so that a page can stretch them to any width."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from belle.evaluation.comparison import Line
from belle.evaluation.intervals import Interval

_MOST_POINTS = 600  # of a curve; a longer one is drawn by means over neighbouring steps


@dataclass(frozen=True)
class Axis:
    """A range of values with round ticks: (value, percent along the axis, label)."""

    low: float
    high: float
    ticks: tuple[tuple[float, float, str], ...] = ()

    def place(self, value: float) -> float:
        """Percent along the axis, kept within it."""
        return round(100 * min(max((value - self.low) / (self.high - self.low), 0.0), 1.0), 3)


def axis(values: Sequence[float], count: int = 5, share: bool = False, tight: bool = False) -> Axis:
    """An axis around `values`, with about `count` ticks at 1, 2 or 5 times a power of ten.

    It ends at ticks, or with `tight` at the values themselves. A `share` runs from 0 to 1 and is labelled in percent.
    """
    low, high = (0.0, 1.0) if share else (float(min(values)), float(max(values)))
    if high - low < 1e-9 * max(abs(high), 1.0):
        low, high = low - 0.5, high + 0.5
    raw = (high - low) / max(count - 1, 1)
    unit = 10.0 ** math.floor(math.log10(raw))
    step = next(m * unit for m in (1, 2, 5, 10) if m * unit >= raw * 0.999)
    if not (share or tight):
        low, high = math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    bare = Axis(low, high)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    ticks = [i * step for i in range(first, last + 1)]
    labels = [f"{100 * t:.0f}%" if share else f"{t:,.{digits}f}" for t in ticks]
    return Axis(low, high, tuple((t, bare.place(t), label) for t, label in zip(ticks, labels, strict=True)))


@dataclass(frozen=True)
class Curve:
    """The training loss as SVG paths in a 100 x 100 box, with what the page needs to read values off it."""

    x: Axis
    y: Axis
    raw: str
    smooth: str
    evaluations: list[dict[str, float]]
    points: list[dict[str, Any]] = field(repr=False)


def loss_curve(rows: Sequence[dict[str, Any]]) -> Curve | None:
    """The curve of metrics.jsonl; None with fewer than two losses."""
    steps = _thin([row for row in rows if isinstance(row.get("loss"), (int, float))])
    evals = [row for row in rows if isinstance(row.get("eval_loss"), (int, float))]
    if len(steps) < 2:
        return None
    smooth = smoothed([row["loss"] for row in steps])
    # One outlier, such as the first step, must not press the rest flat.
    ordered = sorted(row["loss"] for row in steps)
    top = max(ordered[int(0.99 * (len(ordered) - 1))], *smooth, *(row["eval_loss"] for row in evals), ordered[0] + 1e-6)
    y = axis([min(ordered[0], *(row["eval_loss"] for row in evals), top), top])
    x = axis([0, max(row["step"] for row in [*steps, *evals])], tight=True)
    keys = ("step", "epoch", "loss", "learning_rate", "tokens", "tokens_per_second", "grad_norm")
    points = [
        {key: row[key] for key in keys if row.get(key) is not None}
        | {"smooth": round(s, 5), "x": x.place(row["step"]), "y": y.place(row["loss"]), "ys": y.place(s)}
        for row, s in zip(steps, smooth, strict=True)
    ]
    held_out = [
        {"step": row["step"], "loss": row["eval_loss"], "x": x.place(row["step"]), "y": y.place(row["eval_loss"])}
        for row in evals
    ]
    raw, mean = (_path([(point["x"], point[key]) for point in points]) for key in ("y", "ys"))
    return Curve(x, y, raw, mean, held_out, points)


def smoothed(values: Sequence[float]) -> list[float]:
    """A running mean over about a twelfth of the values, centred; narrower at the start, and at the end over what is there."""
    half = max(1, len(values) // 24)
    sums = [0.0]
    for value in values:
        sums.append(sums[-1] + value)
    out = []
    for i in range(len(values)):
        reach = min(half, i)  # a window that went on to the right at the start would hide how the loss falls
        stop = min(i + reach + 1, len(values))
        out.append((sums[stop] - sums[i - reach]) / (stop - i + reach))
    return out


def _thin(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    size = math.ceil(len(rows) / _MOST_POINTS)
    groups = [rows[i : i + size] for i in range(0, len(rows), size)] if size > 1 else []
    return [group[-1] | {"loss": sum(row["loss"] for row in group) / len(group)} for group in groups] or rows


def _path(places: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:g} {100 - y:g}" for x, y in places)


@dataclass(frozen=True)
class Bar:
    """An interval on an axis: where it starts, how wide it is and where its mean stands, in percent."""

    left: float
    width: float
    at: float


def bars(line: Line, scale: Axis) -> list[Bar | None]:
    """The intervals of a line's cells."""
    return [_bar(cell, scale) if cell else None for cell in line.cells]


def line_axis(lines: Sequence[Line], count: int = 5) -> Axis:
    """One axis for lines of one metric."""
    cells = [cell for line in lines for cell in line.cells if cell]
    return axis([v for cell in cells for v in (cell.low, cell.high)], count, share=lines[0].metric.share)


def _bar(cell: Interval, scale: Axis) -> Bar:
    left, right = scale.place(cell.low), scale.place(cell.high)
    return Bar(left, round(right - left, 3), scale.place(cell.value))
