"""One promise: on the calibration text, GPTQ's error is never above that of rounding to nearest, on any layer."""

from __future__ import annotations

from unittest.mock import patch

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_gptq import problem

from belle.quantization import layers
from belle.quantization.gptq import Options, Solved, output_error, round_to_nearest, squared_output
from belle.quantization.grids import Grid
from belle.quantization.layers import quantise


@given(
    st.integers(0, 10_000), st.integers(1, 10), st.integers(2, 70), st.integers(1, 150), st.integers(0, 4),
    st.sampled_from([2, 3, 4, 8]), st.sampled_from([-1, 8, 16, 48]),
    st.booleans(), st.booleans(), st.booleans(), st.floats(0, 0.1),
)  # fmt: skip
@settings(max_examples=100, deadline=None)
def test_gptq_is_never_worse_than_rounding(
    seed: int,
    outputs: int,
    inputs: int,
    tokens: int,
    dead: int,
    bits: int,
    size: int,
    act: bool,
    search: bool,
    sym: bool,
    damp: float,
) -> None:
    weight, _, hessian = problem(outputs, inputs, tokens, seed, min(dead, inputs), torch.float32)
    layer, report = quantise("x", weight, hessian, "gptq", Grid(bits, sym, search), Options(size, act, damp=damp))
    plain = round_to_nearest(weight, Grid(bits, sym, False), size)
    ours, nearest = output_error(weight, layer, hessian), output_error(weight, plain, hessian)
    assert ours <= nearest * (1 + 1e-6) + 1e-12
    whole = squared_output(weight, hessian) or 1.0
    assert report.error == pytest.approx(ours / whole, rel=1e-5, abs=1e-12)
    assert report.nearest == pytest.approx(nearest / whole, rel=1e-5, abs=1e-12)


def test_where_gptq_would_be_worse_the_rounded_weights_are_taken_and_counted() -> None:
    weight, _, hessian = problem(8, 32, 100, dtype=torch.float32)
    grid, options = Grid(4, search=False), Options(16)
    good = round_to_nearest(weight, grid, 16)
    bad = Solved(layers.Codes(good.codes.flip(0), good.zeros, good.scales, good.groups), 0.01, 0)
    with patch.object(layers, "solve", return_value=bad):
        layer, report = quantise("x", weight, hessian, "gptq", grid, options)
    assert report.kept_nearest
    assert torch.equal(layer.codes, good.codes)
    assert report.error == report.nearest
    assert not quantise("x", weight, hessian, "gptq", grid, options)[1].kept_nearest


def test_rounding_needs_no_text_and_reports_the_weights_own_error() -> None:
    weight = torch.randn(8, 32)
    layer, report = quantise("x", weight, None, "rtn", Grid(4, search=False), Options(16))
    wanted = float((weight - layer.weight()).square().sum() / weight.square().sum())
    assert report.error == report.nearest == pytest.approx(wanted, rel=1e-5)
    assert quantise("x", weight, None, "rtn", Grid(4), Options(16))[1].error < report.error, "the search helps the weights too"


def test_a_weight_of_zeros_has_no_error() -> None:
    layer, report = quantise("x", torch.zeros(8, 32), torch.eye(32), "gptq", Grid(2), Options(-1, True))
    assert report.error == 0.0
    assert torch.equal(layer.weight(), torch.zeros(8, 32))
