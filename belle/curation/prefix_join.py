"""Pairs of sets that may be near-duplicates, by their rarest members, without comparing all with all.

Prefix filtering (Bayardo, Ma and Srikant, 2007; Xiao, Wang, Lin and Yu, 2008): exact, and quick where what many sets share,
such as a boilerplate, is not enough to make them duplicates.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from belle.curation.shingles import Hashes, Numbers

_PAIRS_AT_ONCE = 2_000_000


def prefix_pairs(sets: Sequence[Hashes], threshold: float) -> Iterator[tuple[Numbers, Numbers]]:
    """Pairs of places (lower, higher) among `sets` that may reach the threshold: none that does is missing, each comes once.

    In any one order of all shingles, a pair at the threshold t shares one of the first |y| - t |y| + 1 of the larger set
    and |x| - 2 t / (1 + t) |x| + 1 of the smaller. The order is: the rarest first.
    """
    sizes = np.array([len(s) for s in sets], dtype=np.int64)
    shift = np.uint64(40 if sizes.sum() > 1_000_000 else 46)
    counts = np.zeros(1 << (64 - int(shift)), dtype=np.int64)
    for one in sets:
        counts[one >> shift] += 1  # shingles that fall together count as one here: it is an order all the same
    probe = sizes - np.ceil(threshold * sizes - 1e-9).astype(np.int64) + 1
    index = sizes - np.ceil(2 * threshold / (1 + threshold) * sizes - 1e-9).astype(np.int64) + 1
    probes, indexes = [], []
    for one, most, some in zip(sets, probe.tolist(), index.tolist(), strict=True):
        seen = counts[one >> shift]
        ranks = np.minimum(seen, (1 << 20) - 1).astype(np.uint64) << np.uint64(44) | one >> np.uint64(20)
        ranks.sort()
        first = int(np.searchsorted(ranks, np.uint64(2 << 44)))  # what only one text has is shared with none
        probes.append(ranks[first:most])
        indexes.append(ranks[first:some])
    y_all = np.repeat(np.arange(len(sets)), [len(p) for p in probes])
    x_all = np.repeat(np.arange(len(sets)), [len(p) for p in indexes])
    keys, probing = np.concatenate(indexes), np.concatenate(probes)
    by_key = np.argsort(keys)
    keys, x_all = keys[by_key], x_all[by_key]
    low = np.searchsorted(keys, probing, side="left")
    widths = np.searchsorted(keys, probing, side="right") - low
    ends = np.cumsum(widths)
    begin = 0
    while begin < len(probing):  # cut between texts, so that no pair comes twice
        done = ends[begin - 1] if begin else 0
        stop = max(begin + 1, int(np.searchsorted(ends, done + _PAIRS_AT_ONCE, side="right")))
        stop = int(np.searchsorted(y_all, y_all[stop - 1], side="right"))
        width = widths[begin:stop]
        y = np.repeat(y_all[begin:stop], width)
        x = x_all[np.arange(len(y)) + np.repeat(low[begin:stop] - (np.cumsum(width) - width), width)]
        fits = ((sizes[x] < sizes[y]) | ((sizes[x] == sizes[y]) & (x < y))) & (sizes[x] >= threshold * sizes[y] - 1e-9)
        codes = np.unique(y[fits] * len(sets) + x[fits])
        x, y = codes % len(sets), codes // len(sets)
        yield np.minimum(x, y), np.maximum(x, y)
        begin = stop
