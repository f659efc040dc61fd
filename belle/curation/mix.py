"""The order of a mixture: which record of which source comes next, so that every beginning has about the asked shares.

Sources are read once and lie on the disk; an order is drawn over (source, index) without a text in memory. A source with share p
that has given e units so far goes next when (e + half its next record) / p is the smallest (Webster's method of apportionment,
1832). So after N units the source has given p N units but for half the longest record times (1 + p x number of sources).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from belle.errors import BelleError

Sizes = NDArray[np.int64]
Until = Literal["first", "all"]


@dataclass(frozen=True)
class Supply:
    """What a source has to give."""

    name: str
    sizes: Sizes
    """[n] the size of each record, in the unit of the ratio; all 1 where that is records."""
    weight: float = 1.0
    epochs: float = 1.0
    """At most so many passes over what is taken of it."""
    max_records: int | None = None
    """At most so many different records, a random choice."""

    @property
    def taken(self) -> int:
        """How many different records may be used."""
        return min(len(self.sizes), self.max_records or len(self.sizes))

    @property
    def most(self) -> int:
        """How many records it may give, repeats included."""
        return int(self.epochs * self.taken + 1e-9)

    def order(self, seed: int) -> Iterator[int]:
        """Its records, each pass shuffled anew; depends on the seed and its own name alone."""
        own = zlib.crc32(self.name.encode())
        pool = np.random.default_rng([seed, own]).permutation(len(self.sizes))[: self.taken]
        left, run = self.most, 0
        while left:
            again = pool if run == 0 else np.random.default_rng([seed, own, run]).permutation(pool)
            yield from map(int, again[:left])
            left, run = left - min(left, len(again)), run + 1


def shares(supplies: Sequence[Supply], temperature: float | None = None) -> list[float]:
    """The share of each source: by its weight, or with a temperature T proportional to its size to the power of 1/T.

    T = 1 is by size, a higher T evens out, as for the languages of mBERT and XLM-R (Conneau et al., 2020, with alpha = 1/T).
    """
    if temperature is None:
        raw = [supply.weight for supply in supplies]
    else:
        sizes = [int(supply.sizes.sum()) for supply in supplies]
        raw = [max((size / max(sizes)) ** (1 / temperature), 1e-300) for size in sizes]
    return [value / sum(raw) for value in raw]


def mixed_order(
    supplies: Sequence[Supply], asked: Sequence[float], *, total: int | None = None, until: Until = "first", seed: int = 0
) -> Iterator[tuple[int, int]]:
    """(source, index of its record) in the order of the mixture; memory is a few numbers for each record.

    Args:
        asked: the share of each source, summing to 1.
        total: stop with the record that reaches so many units.
        until: `first` stops as soon as a source whose turn it is has nothing left. `all` goes on until each has given all that is
            taken of it at least once; one that may not begin again leaves its share to the others.
    """
    orders = [supply.order(seed) for supply in supplies]
    waiting = [next(order, None) for order in orders]
    given = [0] * len(supplies)
    records = [0] * len(supplies)
    while True:
        if total is not None and sum(given) >= total:
            return
        if until == "all" and all(n >= min(supply.taken, supply.most) for n, supply in zip(records, supplies, strict=True)):
            return
        best, place = -1, float("inf")
        for number, index in enumerate(waiting):
            # A source with nothing left keeps its place in the queue as if it had a record of no length.
            size = 0 if index is None else int(supplies[number].sizes[index])
            at = (given[number] + size / 2) / asked[number]
            if at < place and (index is not None or until == "first"):
                best, place = number, at
        index = waiting[best] if best >= 0 else None
        if index is None:
            return
        yield best, index
        given[best] += int(supplies[best].sizes[index])
        records[best] += 1
        waiting[best] = next(orders[best], None)


class Account:
    """Counts what became of each source as the mixture goes by."""

    def __init__(self, supplies: Sequence[Supply], asked: Sequence[float]) -> None:
        self.supplies, self.asked = supplies, asked
        self._records = [0] * len(supplies)
        self._units = [0] * len(supplies)
        self._used = [np.zeros(len(supply.sizes), np.bool_) for supply in supplies]

    def add(self, number: int, index: int) -> None:
        """One record went out."""
        self._records[number] += 1
        self._units[number] += int(self.supplies[number].sizes[index])
        self._used[number][index] = True

    @property
    def units(self) -> int:
        """What all sources gave together, in the unit of the ratio."""
        return sum(self._units)

    def rows(self) -> list[dict[str, Any]]:
        """A row for each source; `left_over` are the records that were never used."""
        out = []
        for number, supply in enumerate(self.supplies):
            used = int(self._used[number].sum())
            out.append({
                "source": supply.name, "asked": self.asked[number],
                "share": self._units[number] / self.units if self.units else 0.0, "units": self._units[number],
                "records": self._records[number], "repeats": self._records[number] - used, "left_over": len(supply.sizes) - used,
            })  # fmt: skip
        return out


def check_supply(supply: Supply) -> None:
    """Refuse a source that could give nothing.

    Raises:
        BelleError: it has no record, its records have no size, or its epochs do not make one record.
    """
    if not len(supply.sizes) or not supply.sizes.sum():
        raise BelleError(f"sources.{supply.name}: it has nothing to give", "leave the source out, or give it a fuller file")
    if not supply.most:
        what = f"epochs {supply.epochs:g} of {supply.taken} records is less than one record"
        raise BelleError(f"sources.{supply.name}: {what}", f"raise sources.{supply.name}.epochs")
