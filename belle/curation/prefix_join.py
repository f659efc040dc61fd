"""Pairs of sets that may be near-duplicates, by their rarest members, without comparing all with all.

Prefix filtering (Bayardo, Ma and Srikant, 2007; Xiao, Wang, Lin and Yu, 2008): exact, and quick where what many sets share,
such as a boilerplate, is not enough to make them duplicates.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from belle.curation.shingles import Hashes, Numbers

_AT_ONCE = 2_000_000


class _Postings(NamedTuple):
    """The prefixes of all sets: `members[starts[i]:starts[i + 1]]` are of set i; and sorted by member, with their `owners`."""

    members: Hashes
    starts: Numbers
    by_member: Hashes
    owners: Numbers

    def of(self, places: Numbers) -> tuple[Hashes, Numbers]:
        """The members of some sets on end, and whose each is."""
        sizes = self.starts[places + 1] - self.starts[places]
        at = np.arange(sizes.sum()) + np.repeat(self.starts[places] - (np.cumsum(sizes) - sizes), sizes)
        return self.members[at], np.repeat(places, sizes)

    def spans(self, members: Hashes) -> tuple[Numbers, Numbers]:
        """Where the owners of each member start, and how many they are."""
        low = np.searchsorted(self.by_member, members, side="left")
        return low, np.searchsorted(self.by_member, members, side="right") - low


class PrefixIndex:
    """Sets in a row, best first; tells which later ones may reach the threshold with some of them.

    In any one order of all shingles, a pair at the threshold t shares one of the first |y| - t |y| + 1 of the larger set
    and |x| - 2 t / (1 + t) |x| + 1 of the smaller. The order is: the rarest first.

    Args:
        sets: [n] of `shingles.shingle_hashes`.
        threshold: the least Jaccard similarity.
    """

    def __init__(self, sets: Sequence[Hashes], threshold: float) -> None:
        self.threshold = threshold
        self._sizes = np.array([len(one) for one in sets], dtype=np.int64)
        shift = np.uint64(40 if self._sizes.sum() > 1_000_000 else 46)
        counts = np.zeros(1 << (64 - int(shift)), dtype=np.int64)
        for one in sets:
            counts[one >> shift] += 1  # shingles that fall together count as one here: it is an order all the same
        of_larger = self._sizes - np.ceil(threshold * self._sizes - 1e-9).astype(np.int64) + 1
        of_smaller = self._sizes - np.ceil(2 * threshold / (1 + threshold) * self._sizes - 1e-9).astype(np.int64) + 1
        larger, smaller = [], []
        for one, most, some in zip(sets, of_larger.tolist(), of_smaller.tolist(), strict=True):
            ranks = np.minimum(counts[one >> shift], (1 << 20) - 1).astype(np.uint64) << np.uint64(44) | one >> np.uint64(20)
            ranks.sort()
            first = int(np.searchsorted(ranks, np.uint64(2 << 44)))  # what only one text has is shared with none
            larger.append(ranks[first:most])
            smaller.append(ranks[first:some])
        self._larger, self._smaller = _postings(larger), _postings(smaller)
        self._widths = np.zeros(len(sets))
        for i in range(0, len(sets), 8192):
            some_places = np.arange(i, min(i + 8192, len(sets)))
            for mine, theirs in ((self._larger, self._smaller), (self._smaller, self._larger)):
                members, places = mine.of(some_places)
                self._widths += np.bincount(places, theirs.spans(members)[1], len(sets))

    def later(self, places: Numbers) -> tuple[int, Numbers, Numbers]:
        """(taken, x, y): pairs of the first `taken` of the places, as many as memory likes, with all places after each.

        None that reaches the threshold is missing, each comes once, x < y, and x is rising.
        """
        if not len(places):
            return 0, places, places
        taken = max(1, int(np.searchsorted(np.cumsum(self._widths[places]), _AT_ONCE, side="right")))
        count = len(self._sizes)
        codes = np.zeros(0, dtype=np.int64)
        for mine, theirs in ((self._larger, self._smaller), (self._smaller, self._larger)):
            members, x_all = mine.of(places[:taken])
            low, widths = theirs.spans(members)
            ends = np.cumsum(widths)
            begin = 0
            while begin < len(members):
                done = ends[begin - 1] if begin else 0
                stop = max(begin + 1, int(np.searchsorted(ends, done + _AT_ONCE, side="right")))
                width = widths[begin:stop]
                x = np.repeat(x_all[begin:stop], width)
                y = theirs.owners[np.arange(len(x)) + np.repeat(low[begin:stop] - (np.cumsum(width) - width), width)]
                larger, smaller = (x, y) if mine is self._larger else (y, x)
                fits = (x < y) & (self._sizes[smaller] >= self.threshold * self._sizes[larger] - 1e-9)
                fits &= self._sizes[smaller] < self._sizes[larger] + (mine is self._larger)  # equal ones once
                codes = np.union1d(codes, x[fits] * count + y[fits])
                begin = stop
        return taken, codes // count, codes % count


def _postings(rows: Sequence[Hashes]) -> _Postings:
    members = np.concatenate([*rows, np.zeros(0, dtype=np.uint64)])
    starts = np.concatenate(([0], np.cumsum([len(row) for row in rows], dtype=np.int64)))
    order = np.argsort(members, kind="stable")
    owners = np.repeat(np.arange(len(rows)), np.diff(starts))
    return _Postings(members, starts, members[order], owners[order])
