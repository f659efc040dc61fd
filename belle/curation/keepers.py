"""Which of many similar texts stay: the best first, and none that is as similar as the threshold to one that stays.

This is the lexicographically first maximal independent set of the graph of near-duplicates. So a chain of small changes
does not pull in texts that are unlike the one that stays, as clusters by union-find would, and the outcome depends on the
texts and their ranks alone. Pairs that share a band are candidates, their sketches rule most of them out, and what is left
is measured on the shingles themselves.

Time stays near to linear where a bucket of a band is huge. Its texts are a crowd, and of a crowd only those that stay are
measured with the others, which are looked for by their rarest shingles (`prefix_join.py`): that is exact, and finds little
where texts share a boilerplate and no more. Where all texts of a crowd are just below the threshold to each other, every pair
must be measured, here as in any other way: time is then quadratic in the crowd, memory is not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from belle.curation.minhash import Bands, Signatures, estimates, surely_below
from belle.curation.prefix_join import PrefixIndex
from belle.curation.shingle_store import Sets
from belle.curation.shingles import Hashes, Numbers, mix

SMALL = 48
"""The largest bucket all pairs of which are candidates one by one."""
_PAIRS_AT_ONCE = 2_000_000
_WINDOW = 4096


class Dropped(NamedTuple):
    """Texts that go, each with the one that stays and their Jaccard similarity; all [m], by the caller's numbers."""

    text: Numbers
    kept: Numbers
    similarity: NDArray[np.float64]


class Edges(NamedTuple):
    """Pairs of ranks at the threshold or above, and their similarity; all [m], `better` rising where they are cut."""

    better: Numbers
    worse: Numbers
    similarity: NDArray[np.float64]

    def between(self, low: int, high: int) -> Edges:
        """Those whose better rank is low or more and below high."""
        first, last = np.searchsorted(self.better, (low, high)).tolist()
        return Edges(self.better[first:last], self.worse[first:last], self.similarity[first:last])

    def where(self, chosen: NDArray[np.bool_]) -> Edges:
        """Some of them."""
        return Edges(self.better[chosen], self.worse[chosen], self.similarity[chosen])


def duplicates(order: Numbers, digests: Hashes, sketches: Signatures, threshold: float, sets: Sets) -> Dropped:
    """The texts that go.

    Args:
        order: [m] numbers of the texts to compare, the best first; numbers count rows of the next two.
        digests: [n] equal for texts with the same shingles.
        sketches: [n, k] of `minhash.signatures`.
        threshold: the least Jaccard similarity of a duplicate.
        sets: the shingles by number; `sets.get` is asked only for texts that are candidates.
    """
    _, first, inverse = np.unique(digests[order], return_index=True, return_inverse=True)
    leader = first[inverse]  # by rank: the best text with the same shingles
    alone = np.flatnonzero(leader == np.arange(len(order)))
    kept, similarity = _greedy(order[alone], sketches, threshold, sets)
    into = np.full(len(order), -1, dtype=np.int64)  # rank of the one that stays, -1 for those
    alike = np.ones(len(order))
    into[alone] = np.where(kept >= 0, alone[np.maximum(kept, 0)], -1)
    alike[alone] = similarity
    copies = np.flatnonzero(leader != np.arange(len(order)))
    into[copies] = np.where(into[leader[copies]] >= 0, into[leader[copies]], leader[copies])
    alike[copies] = alike[leader[copies]]
    gone = np.flatnonzero(into >= 0)
    return Dropped(order[gone], order[into[gone]], alike[gone])


def _greedy(order: Numbers, sketches: Signatures, threshold: float, sets: Sets) -> tuple[Numbers, NDArray[np.float64]]:
    """For each rank the rank of the one that it goes for, or -1; and their similarity, 1 where there is none."""
    bands = Bands.for_threshold(threshold, sketches.shape[1])
    floor = surely_below(threshold, sketches.shape[1])
    into = np.full(len(order), -1, dtype=np.int64)
    alike = np.ones(len(order))

    def near(better: Numbers, worse: Numbers) -> Edges:
        similarity = sets.similarities(order[better], order[worse])
        edge = similarity >= threshold
        return Edges(better[edge], worse[edge], similarity[edge])

    def likely(better: Numbers, worse: Numbers) -> tuple[Numbers, Numbers]:
        maybe = estimates(sketches, order[better], order[worse]) >= floor
        return better[maybe], worse[maybe]

    def keys() -> Iterator[Hashes]:
        return (bands.keys(sketches, band)[order] for band in range(bands.count))

    shared, crowded = _company(keys(), len(order))
    edges = _edges((likely(a, b) for a, b in _pairs(keys(), shared, crowded)), len(order), near)
    crowd = np.flatnonzero(crowded)
    index = PrefixIndex(sets.get(order[crowd]), threshold)
    begin = low = 0
    while low < len(order):
        window = np.arange(begin, min(begin + _WINDOW, len(crowd)))
        open_ = window[into[crowd[window]] < 0]
        taken, x, y = index.later(open_)
        begin = int(open_[taken]) if taken < len(open_) else begin + len(window)
        high = int(crowd[begin]) if begin < len(crowd) else len(order)
        own = edges.between(low, high)
        a, b = likely(crowd[x], crowd[y])
        inside = own.worse < high
        _let_go([own.where(inside), near(a[b < high], b[b < high])], into, alike)
        beyond = (b >= high) & (into[a] < 0)
        _let_go([own.where(~inside), near(a[beyond], b[beyond])], into, alike)
        low = high
    return into, alike


def _company(keys: Iterable[Hashes], count: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Whether a rank shares a bucket with another one; whether it is in a large bucket. `keys` has [count] for each band."""
    shared, crowded = np.zeros(count, dtype=bool), np.zeros(count, dtype=bool)
    for band in keys:
        by_key, sizes = _buckets(band)
        shared[by_key[np.repeat(sizes > 1, sizes)]] = True
        crowded[by_key[np.repeat(sizes > SMALL, sizes)]] = True
    return shared, crowded


def _pairs(keys: Iterable[Hashes], shared: NDArray[np.bool_], crowded: NDArray[np.bool_]) -> Iterator[tuple[Numbers, Numbers]]:
    """Pairs of ranks (better, worse) that share a bucket that is not large, but those within the crowd."""
    some = np.flatnonzero(shared)
    for band in keys:
        by_key, sizes = _buckets(band[some])
        by_key = some[by_key]
        bucket = np.repeat(np.arange(len(sizes)), sizes)
        bucket[np.repeat(sizes > SMALL, sizes)] = -1
        for distance in range(1, SMALL):
            at = np.flatnonzero((bucket[distance:] == bucket[:-distance]) & (bucket[distance:] >= 0))
            if not len(at):
                break
            better, worse = by_key[at], by_key[at + distance]
            apart = ~(crowded[better] & crowded[worse])
            yield better[apart], worse[apart]


def _edges(pairs: Iterable[tuple[Numbers, Numbers]], count: int, near: Callable[[Numbers, Numbers], Edges]) -> Edges:
    """Those of the pairs that are near, each once, by the rank of the better. Measured whenever many have come together."""
    none = np.zeros(0, dtype=np.int64)
    found, waiting = [near(none, none)], [none]
    for better, worse in pairs:
        waiting.append(better * count + worse)
        if sum(map(len, waiting)) > _PAIRS_AT_ONCE:
            waiting = [np.unique(np.concatenate(waiting))]  # most have come from several bands
            if len(waiting[0]) > _PAIRS_AT_ONCE // 2:
                found.append(near(*np.divmod(waiting[0], count)))
                waiting = [none]
    if count:
        found.append(near(*np.divmod(np.unique(np.concatenate(waiting)), count)))
    better, worse, similarity = (np.concatenate(column) for column in zip(*found, strict=True))
    _, first = np.unique(better * count + worse, return_index=True)
    return Edges(better[first], worse[first], similarity[first])


def _let_go(several: Sequence[Edges], into: Numbers, alike: NDArray[np.float64]) -> None:
    """Go through the edges by the rank of the worse: it goes for the most similar better one that stays. In place."""
    better, worse, similarity = (np.concatenate(column) for column in zip(*several, strict=True))
    by_worse = np.lexsort((better, -similarity, worse))
    for a, b, j in zip(better[by_worse].tolist(), worse[by_worse].tolist(), similarity[by_worse].tolist(), strict=True):
        if into[a] < 0 and (into[b] < 0 or j > alike[b]):
            into[b], alike[b] = a, j


def _buckets(keys: Hashes) -> tuple[Numbers, Numbers]:
    """Places sorted by key, rising within one; how many are in each bucket.

    The place takes the low bits of a number, a hash of the key the rest (44 bits of a million texts): one sort of whole
    numbers, five times as quick as sorting places by keys. Two keys that fall together only make candidates in vain.
    """
    low = np.uint64(max(1, len(keys)).bit_length())
    mask = (np.uint64(1) << low) - np.uint64(1)
    packed = mix(keys.copy()) & ~mask
    packed |= np.arange(len(keys), dtype=np.uint64)
    packed.sort()
    by_key = (packed & mask).view(np.int64)
    packed >>= low
    starts = np.flatnonzero(np.concatenate((np.ones(min(len(keys), 1), dtype=bool), packed[1:] != packed[:-1])))
    return by_key, np.diff(starts, append=len(keys))
