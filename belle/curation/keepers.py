"""Which of many similar texts stay: the best first, and none that is as similar as the threshold to one that stays.

This is the lexicographically first maximal independent set of the graph of near-duplicates. So a chain of small changes
does not pull in texts that are unlike the one that stays, as clusters by union-find would, and the outcome depends on the
texts and their ranks alone. Pairs that share a band are candidates, their sketches rule most of them out, and what is left
is measured on the shingles themselves.

Time stays near to linear where a bucket of a band is huge. If its texts are duplicates, its best goes against all others and
few are left after a round. If they only share a boilerplate, pairs are looked for by their rarest shingles
(`prefix_join.py`), which is exact: no pair of the bucket is lost.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from belle.curation.minhash import Bands, Signatures, estimates, surely_below
from belle.curation.prefix_join import prefix_pairs
from belle.curation.shingle_store import Sets
from belle.curation.shingles import Hashes, Numbers, mix

SMALL = 48
"""The largest bucket all pairs of which are candidates one by one."""
_PROGRESS = 0.1
_PAIRS_AT_ONCE = 2_000_000


class Dropped(NamedTuple):
    """Texts that go, each with the one that stays and their Jaccard similarity; all [m], by the caller's numbers."""

    text: Numbers
    kept: Numbers
    similarity: NDArray[np.float64]


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
    undecided = np.arange(len(order))
    large = True
    while large and len(undecided):
        blocked, large = _blocked(bands, sketches, order, undecided)
        if not large:
            undecided = undecided[blocked >= 1]
            break
        before = len(undecided)
        free = np.zeros(len(order), dtype=bool)
        free[undecided[blocked == 0]] = True
        _drop(_leader_pairs(bands, sketches, order, undecided, free), order, sketches, floor, threshold, sets, into, alike)
        undecided = undecided[(blocked >= 1) & (into[undecided] < 0)]
        if before - len(undecided) < _PROGRESS * before:
            break
    found = [np.zeros(0, dtype=np.int64)]
    for a, b in _all_pairs(bands, sketches, order, undecided, threshold, sets):
        likely = estimates(sketches, order[undecided[a]], order[undecided[b]]) >= floor
        found.append(undecided[a[likely]] * len(order) + undecided[b[likely]])
    codes = np.unique(np.concatenate(found))
    better, worse = codes // max(len(order), 1), codes % max(len(order), 1)
    similarity = sets.similarities(order[better], order[worse])
    edges = similarity >= threshold
    _first_independent(better[edges], worse[edges], similarity[edges], into, alike)
    return into, alike


def _blocked(bands: Bands, sketches: Signatures, order: Numbers, undecided: Numbers) -> tuple[Numbers, bool]:
    """Whether a better undecided text shares a bucket: 0 for none; 1 also for the best of a bucket where none is large."""
    blocked = np.zeros(len(undecided), dtype=np.int64)
    shared = np.zeros(len(undecided), dtype=bool)
    large = False
    mine = sketches[order[undecided]]
    for band in range(bands.count):
        by_key, starts, sizes = _buckets(bands.keys(mine, band))
        large = large or bool((sizes > SMALL).any())
        leaders = np.repeat(by_key[starts], sizes)
        blocked[by_key[leaders != by_key]] = 1
        shared[by_key[np.repeat(sizes > 1, sizes)]] = True
    return (blocked if large else shared.astype(np.int64)), large


def _leader_pairs(bands: Bands, sketches: Signatures, order: Numbers, undecided: Numbers, free: NDArray[np.bool_]) -> Numbers:
    """Codes `leader * n + member` for the buckets whose best text is free of better ones."""
    found = [np.zeros(0, dtype=np.int64)]
    mine = sketches[order[undecided]]
    for band in range(bands.count):
        by_key, starts, sizes = _buckets(bands.keys(mine, band))
        leaders, members = undecided[np.repeat(by_key[starts], sizes)], undecided[by_key]
        pairs = free[leaders] & (leaders != members)
        found.append(leaders[pairs] * len(order) + members[pairs])
        if sum(map(len, found)) > _PAIRS_AT_ONCE:
            found = [np.unique(np.concatenate(found))]
    return np.unique(np.concatenate(found))


def _drop(
    codes: Numbers, order: Numbers, sketches: Signatures, floor: float, threshold: float, sets: Sets,
    into: Numbers, alike: NDArray[np.float64],
) -> None:  # fmt: skip
    """Let go, in place, the members of pairs whose leader stays; each for the leader that it is most like."""
    leaders, members = codes // len(order), codes % len(order)
    likely = estimates(sketches, order[leaders], order[members]) >= floor
    leaders, members = leaders[likely], members[likely]
    similarity = sets.similarities(order[leaders], order[members])
    near = similarity >= threshold
    leaders, members, similarity = leaders[near], members[near], similarity[near]
    last = np.lexsort((-leaders, similarity))  # where several write, the last one stands
    into[members[last]] = leaders[last]
    alike[members[last]] = similarity[last]


def _first_independent(
    better: Numbers, worse: Numbers, similarity: NDArray[np.float64], into: Numbers, alike: NDArray[np.float64]
) -> None:
    """Go through the pairs by the rank of the worse: it goes for the most similar better one that stays. In place."""
    by_worse = np.lexsort((better, -similarity, worse))
    for a, b, j in zip(better[by_worse].tolist(), worse[by_worse].tolist(), similarity[by_worse].tolist(), strict=True):
        if into[b] < 0 and into[a] < 0:
            into[b], alike[b] = a, j


def _buckets(keys: Hashes) -> tuple[Numbers, Numbers, Numbers]:
    """Places sorted by key, rising within one; where each bucket starts; how many are in it.

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
    return by_key, starts, np.diff(starts, append=len(keys))


def _all_pairs(
    bands: Bands, sketches: Signatures, order: Numbers, undecided: Numbers, threshold: float, sets: Sets
) -> Iterator[tuple[Numbers, Numbers]]:
    """Pairs of places in `undecided` (better, worse) that share a bucket; of large buckets those that may be near."""
    mine = sketches[order[undecided]]
    crowded = np.zeros(len(undecided), dtype=bool)
    for band in range(bands.count):
        by_key, _, sizes = _buckets(bands.keys(mine, band))
        crowded[by_key[np.repeat(sizes > SMALL, sizes)]] = True
        yield from _small_pairs(by_key, sizes)
    members = np.flatnonzero(crowded)
    if len(members):
        for x, y in prefix_pairs(sets.get(order[undecided[members]]), threshold):
            yield members[x], members[y]


def _small_pairs(by_key: Numbers, sizes: Numbers) -> Iterator[tuple[Numbers, Numbers]]:
    """All pairs of places (better, worse) within the buckets that are not large."""
    bucket = np.repeat(np.arange(len(sizes)), sizes)
    bucket[np.repeat(sizes > SMALL, sizes)] = -1
    for distance in range(1, SMALL):
        at = np.flatnonzero((bucket[distance:] == bucket[:-distance]) & (bucket[distance:] >= 0))
        if not len(at):
            break
        yield by_key[at], by_key[at + distance]
