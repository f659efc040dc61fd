from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from belle.data.packing import PASS_COST, micro_batches, step_indices


def cost(groups: list[list[int]], lengths: list[int]) -> int:
    return sum(len(group) * max(lengths[i] for i in group) + PASS_COST for group in groups)


def test_every_epoch_is_one_permutation_and_its_last_step_may_be_smaller() -> None:
    plan = step_indices(samples=10, batch_size=4, steps=6, seed=3)
    assert [len(step) for step in plan] == [4, 4, 2, 4, 4, 2]
    first, second = plan[:3], plan[3:]
    assert sorted(itertools.chain(*first)) == list(range(10)) == sorted(itertools.chain(*second))
    assert first != second


def test_the_plan_depends_on_the_seed_alone() -> None:
    assert step_indices(50, 8, 9, seed=1) == step_indices(50, 8, 9, seed=1)
    assert step_indices(50, 8, 9, seed=1) != step_indices(50, 8, 9, seed=2)
    # a longer run begins as a shorter one
    assert step_indices(50, 8, 20, seed=1)[:9] == step_indices(50, 8, 9, seed=1)


@given(st.lists(st.integers(1, 900), min_size=1, max_size=8))
def test_no_split_of_the_sorted_samples_is_cheaper(lengths: list[int]) -> None:
    order = sorted(range(len(lengths)), key=lambda i: lengths[i])
    splits = []
    for cuts in itertools.product([False, True], repeat=len(lengths) - 1):
        edges = [0, *[i + 1 for i, cut in enumerate(cuts) if cut], len(lengths)]
        splits.append(cost([order[a:b] for a, b in itertools.pairwise(edges)], lengths))
    groups = micro_batches(lengths)
    assert sorted(itertools.chain(*groups)) == list(range(len(lengths)))
    assert cost(groups, lengths) == min(splits)


def test_equal_lengths_share_one_pass_and_unequal_ones_do_not() -> None:
    assert len(micro_batches([100] * 8)) == 1
    assert sorted(map(len, micro_batches([10, 10, 10, 2000]))) == [1, 3]


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_limits_hold(limit: int) -> None:
    assert max(map(len, micro_batches([50] * 7, largest=limit))) <= limit
    groups = micro_batches([100, 100, 100, 900], most_tokens=250)
    assert sorted(map(len, groups)) == [1, 1, 2]  # the sample longer than the limit stands alone


def test_the_longest_come_first() -> None:
    lengths = [5, 900, 40, 300]
    widths = [max(lengths[i] for i in group) for group in micro_batches(lengths, largest=1)]
    assert widths == [900, 300, 40, 5]
