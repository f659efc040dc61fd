"""Means with their 95 % intervals, by resampling the questions (Efron, 1979).

A mean here is `sum(values) / sum(weights)`: with weights 1 an ordinary mean over questions, with loss sums over token counts
the loss of a token. Resampling draws how often each question is taken, so one matrix product serves all draws at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
LEVEL = 0.95
_TAIL = (1 - LEVEL) / 2
_CELLS = 4_000_000  # of the drawing matrix held at once: 32 MB


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean over `n` questions and its 95 % interval."""

    value: float
    low: float
    high: float
    n: int

    def as_dict(self) -> dict[str, float | int]:
        """The shape in which run.json holds it."""
        return asdict(self)


def bootstrap(values: ArrayLike, weights: ArrayLike | None = None, draws: int = 2000, seed: int = 0) -> Interval:
    """The weighted mean of `values` [n] with its percentile interval; `weights` [n] divides, it does not multiply.

    Where all n values are the same yes or no, resampling would claim certainty; the exact binomial bound is given instead
    (Clopper and Pearson, 1934), such as 0 to 0.26 for none of 12.

    Raises:
        ValueError: there are no values, or the weights sum to 0.
    """
    numerator, denominator = _pair(values, weights)
    value = float(numerator.sum() / denominator.sum())
    low, high = _percentiles(_draw_means(numerator, denominator, draws, seed))
    if weights is None and (np.all(numerator == 0) or np.all(numerator == 1)):
        far = 1 - _TAIL ** (1 / len(numerator))
        low, high = (0.0, far) if value == 0 else (1 - far, 1.0)
    return Interval(value, min(low, value), max(high, value), len(numerator))


def paired_bootstrap(
    before: ArrayLike, after: ArrayLike,
    before_weights: ArrayLike | None = None, after_weights: ArrayLike | None = None,
    draws: int = 2000, seed: int = 0,
) -> Interval:  # fmt: skip
    """`after - before` with its interval: both sides answer the same questions [n], which are drawn together (Koehn, 2004).

    Raises:
        ValueError: the two sides differ in length, or as in `bootstrap`.
    """
    a, a_weights = _pair(before, before_weights)
    b, b_weights = _pair(after, after_weights)
    if len(a) != len(b):
        raise ValueError(f"{len(a)} values before and {len(b)} after are not pairs")
    value = float(b.sum() / b_weights.sum() - a.sum() / a_weights.sum())
    # One seed draws the same questions on both sides.
    low, high = _percentiles(_draw_means(b, b_weights, draws, seed) - _draw_means(a, a_weights, draws, seed))
    return Interval(value, min(low, value), max(high, value), len(a))


def macro(groups: Mapping[str, tuple[Sequence[float], Sequence[float] | None]], draws: int = 2000, seed: int = 0) -> Interval:
    """The mean of the groups' means, each group (values, weights) resampled within itself; `n` counts questions."""
    pairs = [_pair(values, weights) for values, weights in groups.values()]
    means = np.zeros(draws)
    for i, (a, b) in enumerate(pairs):
        means += _draw_means(a, b, draws, seed + i) / len(pairs)
    value = float(np.mean([a.sum() / b.sum() for a, b in pairs]))
    low, high = _percentiles(means)
    return Interval(value, min(low, value), max(high, value), sum(len(a) for a, _ in pairs))


def _pair(values: ArrayLike, weights: ArrayLike | None) -> tuple[Array, Array]:
    a = np.asarray(values, dtype=np.float64)
    b = np.ones(len(a)) if weights is None else np.asarray(weights, dtype=np.float64)
    if a.ndim != 1 or a.shape != b.shape:
        raise ValueError(f"values {a.shape} and weights {b.shape} are not lists of one length")
    if not len(a) or b.sum() <= 0:
        raise ValueError("no values to average")
    return a, b


def _draw_means(values: Array, weights: Array, draws: int, seed: int) -> Array:
    """Weighted means [draws] over n rows drawn with replacement; nan where all drawn weights are 0."""
    n = len(values)
    random = np.random.default_rng(seed)
    means = np.empty(draws)
    step = max(1, _CELLS // n)
    for start in range(0, draws, step):
        stop = min(start + step, draws)
        taken = random.multinomial(n, np.full(n, 1 / n), size=stop - start)
        with np.errstate(invalid="ignore"):
            means[start:stop] = (taken @ values) / (taken @ weights)
    return means


def _percentiles(means: Array) -> tuple[float, float]:
    low, high = np.nanquantile(means, [_TAIL, 1 - _TAIL])
    return float(low), float(high)
