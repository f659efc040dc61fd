from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from belle.errors import BelleError
from belle.quantization.grids import Grid, group_of


def values(grid: Grid, weights: torch.Tensor) -> torch.Tensor:
    scale, zero = grid.fit(weights)
    return (grid.codes(weights, scale, zero) - zero) * scale


def test_a_symmetric_grid_by_hand() -> None:
    weights = torch.tensor([[-1.5, 0.0], [0.5, 0.0], [1.0, 0.0], [0.1, 0.0]])
    scale, zero = Grid(2, symmetric=True, search=False).fit(weights)
    # Four values, the largest weight 1.5: scale 2 * 1.5 / 3, zero point 2; the group of zeros gets scale 1.
    assert scale.tolist() == [1.0, 1.0]
    assert zero.tolist() == [2.0, 2.0]
    assert Grid(2).codes(weights, scale, zero)[:, 0].tolist() == [0.0, 2.0, 3.0, 2.0]  # halves go to the even number


def test_an_asymmetric_grid_by_hand() -> None:
    weights = torch.tensor([[-1.0], [2.0], [0.4]])
    scale, zero = Grid(2, symmetric=False, search=False).fit(weights)
    assert (scale.tolist(), zero.tolist()) == ([1.0], [1.0])  # from -1 to 2 in three steps
    assert values(Grid(2, False, False), weights)[:, 0].tolist() == [-1.0, 2.0, 0.0]


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_weights_of_one_sign_still_reach_their_largest(bits: int) -> None:
    """The zero point cannot be 0 in the layout, so one code is lost; the range is kept."""
    weights = torch.tensor([[0.5], [1.0], [0.0]])
    for sign in (1, -1):
        scale, zero = Grid(bits, False, False).fit(sign * weights)
        assert 1 <= float(zero) <= (1 << bits) - 1
        got = values(Grid(bits, False, False), sign * weights)
        assert float((got - sign * weights).abs().max()) <= 0.51 * float(scale)


@given(st.integers(0, 10_000), st.sampled_from([2, 3, 4, 8]), st.booleans(), st.booleans(), st.floats(1e-6, 1e4))
@settings(max_examples=60, deadline=None)
def test_what_is_stored_is_what_was_seen(seed: int, bits: int, symmetric: bool, search: bool, size: float) -> None:
    weights = torch.randn(16, 4, generator=torch.Generator().manual_seed(seed)) * size
    grid = Grid(bits, symmetric, search)
    scale, zero = grid.fit(weights)
    assert torch.equal(scale, scale.half().float())
    assert bool((scale > 0).all())
    assert torch.equal(zero, zero.round())
    assert int(zero.min()) >= 1
    assert int(zero.max()) <= grid.top
    codes = grid.codes(weights, scale, zero)
    assert torch.equal(codes, codes.round())
    assert 0 <= float(codes.min()) <= float(codes.max()) <= grid.top


@given(st.integers(0, 10_000), st.sampled_from([2, 3, 4]), st.booleans())
@settings(max_examples=40, deadline=None)
def test_the_search_never_costs_more_and_minds_what_matters(seed: int, bits: int, symmetric: bool) -> None:
    make = torch.Generator().manual_seed(seed)
    weights = torch.randn(32, 3, generator=make) ** 3
    importance = torch.rand(32, generator=make) ** 4

    def cost(grid: Grid) -> torch.Tensor:
        scale, zero = grid.fit(weights, importance)
        return importance @ ((grid.codes(weights, scale, zero) - zero) * scale - weights).square()

    assert bool((cost(Grid(bits, symmetric, True)) <= cost(Grid(bits, symmetric, False)) * (1 + 1e-5)).all())


def test_the_last_group_is_shorter() -> None:
    assert group_of(5, 2).tolist() == [0, 0, 1, 1, 2]
    assert group_of(3, -1).tolist() == [0, 0, 0]


@pytest.mark.parametrize(("value", "message"), [(float("nan"), "not finite"), (float("inf"), "not finite"), (1e9, "float16")])
def test_what_cannot_be_stored_is_refused(value: float, message: str) -> None:
    with pytest.raises(BelleError, match=message):
        Grid(4).fit(torch.tensor([[value], [1.0]]))
