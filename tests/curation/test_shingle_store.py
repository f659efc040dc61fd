from __future__ import annotations

import numpy as np
import pytest

from belle.curation import shingle_store
from belle.curation.shingle_store import Sets
from belle.curation.shingles import Hashes, Numbers


class Loader:
    """Set n holds n, n + 1, ... n + 9; what was asked for is remembered."""

    def __init__(self) -> None:
        self.asked: list[list[int]] = []

    def __call__(self, numbers: Numbers) -> list[Hashes]:
        self.asked.append(numbers.tolist())
        return [np.arange(n, n + 10, dtype=np.uint64) if n else np.zeros(0, dtype=np.uint64) for n in numbers.tolist()]


def test_a_set_is_loaded_once_and_in_rising_order() -> None:
    loader = Loader()
    sets = Sets(loader)
    assert [len(one) for one in sets.get(np.array([7, 3, 7, 0]))] == [10, 10, 10, 0]
    sets.get(np.array([3, 9, 7]))
    assert loader.asked == [[0, 3, 7], [9]]


@pytest.mark.parametrize("spill", [1 << 27, 0, 25])
def test_similarities_are_exact_in_memory_and_in_a_file(spill: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shingle_store, "SPILL", spill)
    sets = Sets(Loader())
    for first, second, expected in [(1, 3, 8 / 12), (5, 5, 1.0), (1, 40, 0.0), (0, 4, 0.0), (9, 2, 3 / 17)]:
        found = sets.similarities(np.array([first, second]), np.array([second, first]))
        assert found.tolist() == [expected, expected]
    assert [one.tolist() for one in sets.get(np.array([40, 1]))] == [list(range(40, 50)), list(range(1, 11))]


def test_many_sets_are_loaded_by_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shingle_store, "_AT_ONCE", 2)
    loader = Loader()
    Sets(loader).get(np.array([5, 4, 3, 2, 1]))
    assert loader.asked == [[1, 2], [3, 4], [5]]


def test_nothing_is_asked_for_nothing() -> None:
    loader = Loader()
    none = np.zeros(0, dtype=np.int64)
    assert Sets(loader).get(none) == []
    assert Sets(loader).similarities(none, none).tolist() == []
    assert loader.asked == []
