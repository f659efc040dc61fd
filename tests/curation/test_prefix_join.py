from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from belle.curation import prefix_join
from belle.curation.prefix_join import PrefixIndex
from belle.curation.shingles import mix

NUMBERS = st.lists(st.frozensets(st.integers(0, 15), min_size=1, max_size=12), min_size=1, max_size=25)


def found(sets: list[frozenset[int]], threshold: float) -> list[tuple[int, int]]:
    hashes = [np.sort(mix(np.array(sorted(one), dtype=np.uint64))) for one in sets]
    index, places = PrefixIndex(hashes, threshold), np.arange(len(sets))
    pairs: list[tuple[int, int]] = []
    while len(places):
        taken, x, y = index.later(places)
        assert set(x.tolist()) <= set(places[:taken].tolist())
        assert x.tolist() == sorted(x.tolist())
        pairs += zip(x.tolist(), y.tolist(), strict=True)
        places = places[taken:]
    return pairs


@given(NUMBERS, st.sampled_from([0.3, 0.5, 2 / 3, 0.7, 0.75, 0.9, 1.0]), st.sampled_from([1, 7, 2_000_000]))
@settings(max_examples=200, deadline=None)
def test_no_pair_at_the_threshold_is_missing_and_none_comes_twice(
    sets: list[frozenset[int]], threshold: float, at_once: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prefix_join, "_AT_ONCE", at_once)
        pairs = found(sets, threshold)
    near = {
        (i, j)
        for i, j in itertools.combinations(range(len(sets)), 2)
        if len(sets[i] & sets[j]) >= threshold * len(sets[i] | sets[j]) - 1e-12
    }
    assert near <= set(pairs)
    assert len(pairs) == len(set(pairs))
    assert all(i < j for i, j in pairs)


def test_a_shared_boilerplate_makes_no_pairs() -> None:
    """200 sets of 100 share 50: every two are at 1/3."""
    sets = [frozenset(range(50)) | frozenset(range(1000 * n + 100, 1000 * n + 150)) for n in range(200)]
    assert found(sets, 0.7) == []


def test_sets_without_members_pair_with_none() -> None:
    assert found([frozenset(), frozenset({1}), frozenset()], 0.5) == []
    assert found([frozenset()], 0.5) == []


def test_only_the_places_asked_for_are_paired_with_later_ones() -> None:
    sets = [np.arange(10, dtype=np.uint64)] * 5
    taken, x, y = PrefixIndex(sets, 0.7).later(np.array([1, 3]))
    assert (taken, list(zip(x.tolist(), y.tolist(), strict=True))) == (2, [(1, 2), (1, 3), (1, 4), (3, 4)])
    assert PrefixIndex(sets, 0.7).later(np.zeros(0, dtype=np.int64))[0] == 0
