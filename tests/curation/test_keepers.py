from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from belle.curation import keepers, minhash, prefix_join
from belle.curation.keepers import duplicates
from belle.curation.minhash import signatures
from belle.curation.shingle_store import Sets
from belle.curation.shingles import mix

Numbers = frozenset[int]
SETS = st.lists(st.frozensets(st.integers(0, 11), min_size=1, max_size=10), max_size=24)


@contextmanager
def sure(**values: int) -> Iterator[None]:
    """Bands that find every pair at the threshold, and no sketch that rules a pair out: what is left is not by chance."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(minhash, "RECALL", 1 - 1e-9)
        patch.setattr(keepers, "surely_below", lambda threshold, permutations: -1.0)
        for name, value in values.items():
            patch.setattr(keepers, name, value)
        yield


def run(sets: list[Numbers], threshold: float, order: list[int] | None = None) -> dict[int, tuple[int, float]]:
    """text that goes -> (text that stays, similarity)."""
    hashes = [np.sort(mix(np.array(sorted(one), dtype=np.uint64))) for one in sets]
    flat = np.concatenate([*hashes, np.zeros(0, dtype=np.uint64)])
    starts = np.cumsum([0, *map(len, hashes)])
    digests = np.array([hash(one) % 2**63 for one in sets], dtype=np.uint64)
    ranks = np.array(range(len(sets)) if order is None else order, dtype=np.int64)
    found = duplicates(ranks, digests, signatures(flat, starts, 128), threshold, Sets(lambda n: [hashes[i] for i in n.tolist()]))
    return {
        text: (kept, similarity)
        for text, kept, similarity in zip(found.text.tolist(), found.kept.tolist(), found.similarity.tolist(), strict=True)
    }


def oracle(sets: list[Numbers], threshold: float, order: list[int]) -> dict[int, tuple[int, float]]:
    """Best first: a text goes for the most similar one that stays, the better of equals; a copy goes where its like went."""
    stay: list[int] = []
    gone: dict[int, tuple[int, float]] = {}
    for text in order:
        like = next((other for other in gone if sets[other] == sets[text]), None)
        if like is not None and gone[like][1] < 1:
            gone[text] = gone[like]
            continue
        similar = [(len(sets[text] & sets[k]) / len(sets[text] | sets[k]), -place, k) for place, k in enumerate(stay)]
        most = max(similar, default=(0.0, 0, 0))
        if most[0] >= threshold:
            gone[text] = (most[2], most[0])
        else:
            stay.append(text)
    return gone


@given(SETS, st.sampled_from([0.3, 0.5, 0.7, 0.75, 1.0]), st.randoms(use_true_random=False))
@settings(max_examples=150, deadline=None)
def test_what_goes_and_for_what_is_that_of_brute_force(sets: list[Numbers], threshold: float, random: object) -> None:
    order = list(range(len(sets)))
    random.shuffle(order)  # type: ignore[attr-defined]
    with sure():
        assert run(sets, threshold, order) == oracle(sets, threshold, order)


@given(
    SETS, st.sampled_from([0.3, 0.5, 0.7, 1.0]), st.sampled_from([1, 2, 3, 5]), st.sampled_from([1, 20, 2_000_000]),
    st.sampled_from([1, 3, 4096]), st.randoms(use_true_random=False),
)  # fmt: skip
@settings(max_examples=200, deadline=None)
def test_large_buckets_end_the_same(
    sets: list[Numbers], threshold: float, small: int, at_once: int, window: int, random: object
) -> None:
    order = list(range(len(sets)))
    random.shuffle(order)  # type: ignore[attr-defined]
    with sure(SMALL=small, _PAIRS_AT_ONCE=at_once, _WINDOW=window), pytest.MonkeyPatch.context() as patch:
        patch.setattr(prefix_join, "_AT_ONCE", at_once)
        assert run(sets, threshold, order) == oracle(sets, threshold, order)


def test_a_chain_does_not_pull_in_what_is_unlike_the_one_that_stays() -> None:
    a, b, c = frozenset(range(10)), frozenset(range(2, 12)), frozenset(range(4, 14))
    assert run([a, b, c], 0.6) == {1: (0, 8 / 12)}
    assert run([a, b, c], 0.6, [1, 0, 2]) == {0: (1, 8 / 12), 2: (1, 8 / 12)}


def test_only_what_is_in_the_order_is_compared() -> None:
    one = frozenset(range(10))
    assert run([one, one, one], 0.7, [2, 1]) == {1: (2, 1.0)}
    assert run([one], 0.7, []) == {}
    assert run([], 0.7) == {}


@pytest.mark.parametrize("near", [True, False])
def test_a_thousand_texts_in_one_bucket(near: bool) -> None:
    """Of 40 members each: near ones share 38, the others 20, and then no two are at more than a third."""
    shared = 38 if near else 20
    sets = [frozenset(range(shared)) | frozenset(range(100 + 40 * n, 140 + 40 * n - shared)) for n in range(1000)]
    found = run(sets, 0.7)
    assert set(found) == (set(range(1, 1000)) if near else set())
    assert all(kept == (0, 38 / 42) for kept in found.values())


def test_of_a_crowd_only_those_that_stay_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[int] = []
    similarities = Sets.similarities

    def counted(self: Sets, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        measured.extend(a.tolist())
        return similarities(self, a, b)

    monkeypatch.setattr(Sets, "similarities", counted)
    monkeypatch.setattr(prefix_join, "_AT_ONCE", 1)
    families = [frozenset(range(1000 * f, 1000 * f + 38)) | {10_000 + n, 20_000 + n} for n in range(300) for f in (0, 1)]
    assert set(run(families, 0.7)) == set(range(2, 600))
    assert sorted(measured) == [0] * 299 + [1] * 299
