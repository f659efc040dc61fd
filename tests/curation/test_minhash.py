from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from belle.curation.minhash import Bands, estimates, signatures, surely_below
from belle.curation.shingles import Hashes, Numbers

SETS = st.lists(st.lists(st.integers(0, 2**64 - 1), max_size=40), min_size=1, max_size=6)


def together(sets: list[list[int]]) -> tuple[Hashes, Numbers]:
    flat = [value for one in sets for value in one]
    return np.array(flat, dtype=np.uint64), np.cumsum([0, *map(len, sets)])


def pairs(count: int, size: int, similarity: float, seed: int = 0) -> tuple[Hashes, Numbers]:
    """`count` pairs of random sets of `size`, of exactly this similarity; pair i is the sets 2 i and 2 i + 1."""
    shared = round(2 * size * similarity / (1 + similarity))
    assert shared / (2 * size - shared) == pytest.approx(similarity)
    random = np.random.default_rng(seed)
    first = random.integers(0, 2**64, (count, size), dtype=np.uint64)
    second = random.integers(0, 2**64, (count, size), dtype=np.uint64)
    second[:, :shared] = first[:, :shared]
    return np.stack((first, second), axis=1).reshape(-1), np.arange(2 * count + 1) * size


@given(SETS, st.sampled_from([8, 64, 128]), st.randoms())
@settings(max_examples=60, deadline=None)
def test_a_sketch_depends_on_its_own_set_alone(sets: list[list[int]], permutations: int, random: object) -> None:
    expected = signatures(*together(sets), permutations)
    for i, one in enumerate(sets):
        shuffled = one * 2
        random.shuffle(shuffled)  # type: ignore[attr-defined]
        assert np.array_equal(signatures(*together([shuffled]), permutations)[0], expected[i]), "order, repeats or neighbours"


def test_sketches_of_nothing() -> None:
    assert signatures(*together([]), 16).shape == (0, 16)
    assert signatures(*together([[], [1, 2], []]), 16)[[0, 2]].tolist() == [[0] * 16] * 2


def test_another_seed_is_another_sketch() -> None:
    one, other = (signatures(*together([[1, 2, 3]]), 64, seed) for seed in (0, 1))
    assert np.count_nonzero(one == other) < 8
    assert np.array_equal(signatures(*together([[1, 2, 3]]), 64, 2**64 + 1), other), "seeds of any size"


@pytest.mark.parametrize("size", [17, 85, 340])
@pytest.mark.parametrize("similarity", [0.0, 0.7])
def test_equal_places_estimate_the_similarity(size: int, similarity: float) -> None:
    hashes, starts = pairs(1000, size, similarity)
    sketches = signatures(hashes, starts, 128)
    found = estimates(sketches, np.arange(0, 2000, 2), np.arange(1, 2000, 2))
    # 128 independent places would have a standard deviation of 0.041; the mean of 1000 a thirtieth of it
    assert found.mean() == pytest.approx(similarity, abs=0.006)
    assert found.std() < 0.043
    assert (found >= surely_below(0.7, 128)).all() if similarity else (found < surely_below(0.7, 128)).all()


@pytest.mark.parametrize("size", [17, 85, 340])
def test_bands_find_what_is_at_the_threshold(size: int) -> None:
    bands = Bands.for_threshold(0.7, 128)
    hashes, starts = pairs(2000, size, 0.7)
    sketches = signatures(hashes, starts, 128)
    found = np.zeros(2000, dtype=bool)
    for band in range(bands.count):
        keys = bands.keys(sketches, band)
        found |= keys[0::2] == keys[1::2]
    assert found.mean() >= 0.975


def test_the_longest_bands_that_recall_enough() -> None:
    """1 - (1 - 0.7^5)^23 = 0.98548, and one band less gives 0.9826; 21 bands of 6 would find 0.928."""
    assert Bands.for_threshold(0.7, 128) == Bands(23, 5)
    assert Bands(23, 5).recall(0.7) == pytest.approx(0.98548, abs=1e-5)
    assert Bands.for_threshold(1.0, 128) == Bands(1, 8)
    assert Bands.for_threshold(0.05, 16) == Bands(16, 1), "more cannot be done"


@given(st.floats(0.05, 1), st.sampled_from([8, 64, 128, 256]))
def test_bands_fit_into_the_sketch(threshold: float, permutations: int) -> None:
    bands = Bands.for_threshold(threshold, permutations)
    assert 1 <= bands.count * bands.rows <= permutations
    assert bands.rows <= 8
    assert bands.recall(threshold) >= 0.985 or bands == Bands(permutations, 1)


@pytest.mark.parametrize("rows", [1, 5, 8])
def test_keys_are_equal_where_all_places_of_the_band_are(rows: int) -> None:
    sketches = np.random.default_rng(0).integers(0, 2, (60, 16)).astype(np.uint8)
    for band in range(16 // rows):
        keys = Bands(16 // rows, rows).keys(sketches, band).tolist()
        places = [tuple(row[band * rows : (band + 1) * rows]) for row in sketches.tolist()]
        for i in range(60):
            assert [places[i] == other for other in places] == [keys[i] == other for other in keys]


def test_what_is_surely_below_the_threshold() -> None:
    assert surely_below(0.7, 128) == pytest.approx(0.53798, abs=1e-5)
