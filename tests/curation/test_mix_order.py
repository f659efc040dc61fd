from __future__ import annotations

from collections import Counter
from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from belle.curation.mix import Account, Supply, check_supply, mixed_order, shares
from belle.errors import BelleError


def supply(name: str, count: int, **keys: object) -> Supply:
    return Supply(name, np.ones(count, np.int64), **keys)  # type: ignore[arg-type]


def order(supplies: list[Supply], **keys: object) -> list[tuple[int, int]]:
    return list(mixed_order(supplies, shares(supplies), **keys))  # type: ignore[arg-type]


def test_one_to_five_is_a_sixth_in_every_beginning() -> None:
    found = [number for number, _ in order([supply("domain", 20), supply("general", 100, weight=5)])]
    assert len(found) == 120
    assert [found[:n].count(0) for n in (6, 12, 60, 120)] == [1, 2, 10, 20]


SIZES = st.lists(st.integers(1, 50), min_size=1, max_size=30)
SOURCES = st.lists(st.tuples(SIZES, st.floats(0.1, 10)), min_size=1, max_size=5)


@given(SOURCES, st.integers(0, 3))
def test_any_beginning_has_the_asked_shares_but_for_a_record_or_so(sources: list[tuple[list[int], float]], seed: int) -> None:
    """|given - p N| <= S/2 (1 + p k): p the share, N the units so far, S the longest record, k the number of sources."""
    supplies = [Supply(str(n), np.array(sizes), weight) for n, (sizes, weight) in enumerate(sources)]
    asked = [weight / sum(w for _, w in sources) for _, weight in sources]
    longest = max(max(sizes) for sizes, _ in sources)
    given_so_far = [0] * len(supplies)
    for number, index in mixed_order(supplies, asked, seed=seed):
        given_so_far[number] += sources[number][0][index]
        for share, units in zip(asked, given_so_far, strict=True):
            off = abs(units - share * sum(given_so_far))
            assert off <= longest / 2 * (1 + share * len(supplies)) + 1e-6


@given(SOURCES, st.integers(0, 9), st.sampled_from(["first", "all"]))
def test_the_same_seed_gives_the_same_order(sources: list[tuple[list[int], float]], seed: int, until: str) -> None:
    supplies = [Supply(str(n), np.array(sizes), weight, 1.5) for n, (sizes, weight) in enumerate(sources)]
    assert order(supplies, seed=seed, until=until) == order(supplies, seed=seed, until=until)


@given(SOURCES)
def test_without_repeats_nothing_comes_twice_and_all_comes_once(sources: list[tuple[list[int], float]]) -> None:
    supplies = [Supply(str(n), np.array(sizes), weight) for n, (sizes, weight) in enumerate(sources)]
    found = order(supplies, until="all")
    assert sorted(found) == [(n, i) for n, (sizes, _) in enumerate(sources) for i in range(len(sizes))]
    stopped = order(supplies, until="first")
    assert stopped == found[: len(stopped)]


def test_another_seed_gives_another_order() -> None:
    assert order([supply("a", 50)], seed=0) != order([supply("a", 50)], seed=1)


def test_a_source_more_does_not_shuffle_the_others_anew() -> None:
    alone = [index for _, index in order([supply("a", 20)])]
    beside = [index for number, index in order([supply("b", 20), supply("a", 20)], until="all") if number == 1]
    assert beside == alone


def test_first_stops_when_the_turn_of_an_empty_source_comes() -> None:
    found = Counter(number for number, _ in order([supply("a", 3), supply("b", 100)], until="first"))
    assert found == {0: 3, 1: 3}


def test_all_repeats_the_smaller_source_up_to_its_epochs() -> None:
    found = order([supply("a", 10, epochs=3), supply("b", 25)], until="all")
    assert Counter(number for number, _ in found) == {0: 25, 1: 25}
    found = order([supply("a", 5, epochs=2), supply("b", 25)], until="all")
    assert Counter(number for number, _ in found) == {0: 10, 1: 25}


def test_each_pass_has_every_record_once_in_an_order_of_its_own() -> None:
    found = [index for _, index in order([supply("a", 8, epochs=2.5)])]
    assert len(found) == 20
    assert sorted(found[:8]) == sorted(found[8:16]) == list(range(8))
    assert found[:8] != found[8:16]
    assert len(set(found[16:])) == 4


def test_a_cap_takes_a_random_choice_and_repeats_only_that() -> None:
    found = [index for _, index in order([supply("a", 100, max_records=4, epochs=2)])]
    assert len(found) == 8
    assert len(set(found)) == 4
    assert set(found) != set(range(4))


def test_total_ends_with_the_record_that_reaches_it() -> None:
    assert len(order([supply("a", 100), supply("b", 100)], total=31)) == 31
    three = Supply("a", np.full(50, 3))
    assert len(list(mixed_order([three], [1.0], total=10))) == 4


def test_records_without_size_do_not_hang() -> None:
    found = list(mixed_order([Supply("a", np.array([0, 2, 0])), supply("b", 5)], [0.5, 0.5], until="all"))
    assert Counter(number for number, _ in found) == {0: 3, 1: 5}


def test_the_order_is_drawn_as_it_goes() -> None:
    huge = supply("a", 10, epochs=1e12)
    assert len(list(islice(mixed_order([huge], [1.0]), 100))) == 100


def test_temperature_evens_out() -> None:
    supplies = [supply("zh", 900), supply("en", 100)]
    assert shares(supplies, 1) == pytest.approx([0.9, 0.1])
    assert shares(supplies, 2) == pytest.approx([0.75, 0.25])  # 30 to 10
    assert shares(supplies, 1e9) == pytest.approx([0.5, 0.5])
    assert next(mixed_order(supplies, shares(supplies, 1e-3)))[0] == 0, "a share may be next to nothing"


def test_the_account_tells_repeats_and_what_is_left() -> None:
    supplies = [supply("a", 2, epochs=2), supply("b", 5)]
    account = Account(supplies, [0.5, 0.5])
    for number, index in ((0, 0), (1, 3), (0, 1), (0, 0)):
        account.add(number, index)
    assert account.rows() == [
        {"source": "a", "asked": 0.5, "share": 0.75, "units": 3, "records": 3, "repeats": 1, "left_over": 0},
        {"source": "b", "asked": 0.5, "share": 0.25, "units": 1, "records": 1, "repeats": 0, "left_over": 4},
    ]


def test_a_source_that_gives_nothing_is_refused() -> None:
    with pytest.raises(BelleError, match=r"sources.a: it has nothing to give"):
        check_supply(Supply("a", np.zeros(3, np.int64)))
    with pytest.raises(BelleError, match=r"sources.a: epochs 0.1 of 3 records is less than one record"):
        check_supply(supply("a", 3, epochs=0.1))
