"""The solver against a textbook implementation, and against rounding to nearest."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from textbook import rounded

from belle.quantization.gptq import LEAF, Options, factorise, output_error, round_to_nearest, solve, squared_output
from belle.quantization.grids import Grid


def problem(
    outputs: int, inputs: int, tokens: int, seed: int = 0, dead: int = 0, dtype: torch.dtype = torch.float64
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(weight, inputs, Hessian): correlated inputs, the last `dead` of them always 0."""
    make = torch.Generator().manual_seed(seed)
    mix = torch.randn(inputs, inputs, generator=make, dtype=torch.float64) / inputs**0.5
    x = torch.randn(tokens, inputs, generator=make, dtype=torch.float64) @ mix + 0.3
    if dead:
        x[:, -dead:] = 0
    weight = torch.randn(outputs, inputs, generator=make, dtype=torch.float64) * 0.1
    return weight.to(dtype), x.to(dtype), (x.t() @ x / tokens).to(dtype)


@pytest.mark.parametrize(("inputs", "size", "act_order", "bits", "symmetric"), [
    (40, 16, False, 3, False), (40, 16, True, 4, True), (70, -1, True, 2, False), (64, 100, False, 8, True),
    (33, 8, True, 3, True), (3 * LEAF + 5, 2 * LEAF, False, 4, False), (1, 8, False, 4, True),
])  # fmt: skip
@pytest.mark.parametrize("search", [False, True])
def test_it_is_the_textbook_method(inputs: int, size: int, act_order: bool, bits: int, symmetric: bool, search: bool) -> None:
    weight, _, hessian = problem(7, inputs, 5 * inputs, dead=2 if inputs > 3 else 0)
    grid = Grid(bits, symmetric, search)
    found = solve(weight, hessian, grid, Options(size, act_order, damp=0.01))
    order = torch.argsort(hessian.diagonal(), descending=True, stable=True) if act_order else torch.arange(inputs)
    wanted = rounded(weight, hessian, grid, size if size > 0 else inputs, order.tolist(), 0.01)
    assert torch.equal(found.layer.weight(torch.float64), wanted.float().double())
    assert found.dead == (2 if inputs > 3 else 0)


@given(
    st.integers(0, 10_000), st.integers(1, 12), st.integers(2, 80), st.integers(1, 200), st.integers(0, 3),
    st.sampled_from([2, 3, 4]), st.sampled_from([-1, 8, 16, 24]), st.booleans(), st.booleans(), st.booleans(),
)  # fmt: skip
@settings(max_examples=80, deadline=None)
def test_it_solves_any_layer(
    seed: int, outputs: int, inputs: int, tokens: int, dead: int, bits: int, size: int, act: bool, static: bool, symmetric: bool
) -> None:
    """Fewer tokens than inputs (a singular Hessian), dead inputs, a shorter last group: the numbers stay sound."""
    weight, x, hessian = problem(outputs, inputs, tokens, seed, min(dead, inputs), torch.float32)
    found = solve(weight, hessian, Grid(bits, symmetric), Options(size, act, static))
    layer = found.layer
    assert layer.codes.shape == (inputs, outputs)
    assert int(layer.codes.max()) < 1 << bits
    groups = -(-inputs // size) if size > 0 else 1
    assert layer.scales.shape == layer.zeros.shape == (groups, outputs)
    assert sorted(set(layer.groups.tolist())) == list(range(groups))
    assert bool(torch.isfinite(layer.weight()).all())
    error = output_error(weight, layer, hessian)
    exact = float((x.double() @ (weight - layer.weight()).double().t()).square().sum() / tokens)
    assert error == pytest.approx(exact, rel=1e-3, abs=1e-6)
    if static or not act:
        assert layer.groups.tolist() == [i // size if size > 0 else 0 for i in range(inputs)]


@pytest.mark.parametrize("act_order", [False, True])
@pytest.mark.parametrize("bits", [2, 3, 4])
def test_it_is_far_better_than_rounding(bits: int, act_order: bool) -> None:
    weight, _, hessian = problem(64, 128, 1000, dtype=torch.float32)
    grid = Grid(bits, symmetric=False)
    ours = output_error(weight, solve(weight, hessian, grid, Options(32, act_order)).layer, hessian)
    assert ours < 0.7 * output_error(weight, round_to_nearest(weight, grid, 32, hessian.diagonal()), hessian)


def test_eight_bits_are_nearly_lossless() -> None:
    weight, _, hessian = problem(64, 128, 1000, dtype=torch.float32)
    layer = solve(weight, hessian, Grid(8), Options(128, True)).layer
    assert output_error(weight, layer, hessian) < 3e-5 * squared_output(weight, hessian)


def test_float32_finds_what_float64_finds() -> None:
    weight, _, hessian = problem(32, 200, 150)  # singular
    grid, options = Grid(4), Options(64, True)
    wide = output_error(weight, solve(weight, hessian, grid, options).layer, hessian)
    narrow = output_error(weight, solve(weight.float(), hessian.float(), grid, options).layer, hessian)
    assert narrow == pytest.approx(wide, rel=0.03)


def test_damping_grows_until_the_factor_exists() -> None:
    hessian = torch.tensor([[1.0, 2.0], [2.0, 1.0]])  # eigenvalues 3 and -1: no matrix of mean squares, but float32 can make one
    factor, damping = factorise(hessian.clone(), torch.arange(2), 0.01)
    assert damping == pytest.approx(10.0)
    assert torch.allclose(factor @ factor.t(), hessian + 10 * torch.eye(2), atol=1e-5)
    assert float(factor[1, 0]) == 0
    _, none = factorise(torch.ones(2, 2), torch.arange(2), 0.0)
    assert none == pytest.approx(1e-6)


def test_a_layer_without_any_input_is_rounded() -> None:
    weight = torch.randn(4, 16)
    found = solve(weight, torch.zeros(16, 16), Grid(4), Options(8))
    assert found.dead == 16
    assert torch.equal(found.layer.codes, round_to_nearest(weight, Grid(4), 8, torch.zeros(16)).codes)


def test_it_is_the_same_every_time() -> None:
    weight, _, hessian = problem(16, 64, 100, dtype=torch.float32)
    before = weight.clone(), hessian.clone()
    first, second = (solve(weight, hessian, Grid(3), Options(16, True)).layer for _ in range(2))
    assert torch.equal(first.codes, second.codes)
    assert torch.equal(weight, before[0])
    assert torch.equal(hessian, before[1]), "what is handed in stays as it is"
