"""One Linear, quantised in the way that was asked for; and the promise that GPTQ is never worse than rounding to nearest."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Literal

import torch

from belle.models.packed_layout import Codes
from belle.quantization.gptq import Options, output_error, round_to_nearest, solve, squared_output
from belle.quantization.grids import Grid

Method = Literal["gptq", "rtn", "awq"]


@dataclass(frozen=True)
class LayerReport:
    """What became of a layer.

    Args:
        error: mean square error of its output over that output's mean square, on the calibration text; of its weights where
            there was no such text.
        nearest: the same for plain rounding to nearest.
        kept_nearest: GPTQ would have been worse, and the rounded weights were taken.
        damping: what GPTQ needed, as a share of the Hessian's mean diagonal.
        dead: inputs that were always 0.
    """

    name: str
    bits: int
    error: float
    nearest: float
    seconds: float
    kept_nearest: bool = False
    damping: float = 0.0
    dead: int = 0


def quantise(
    name: str, weight: torch.Tensor, hessian: torch.Tensor | None, method: Method, grid: Grid, options: Options
) -> tuple[Codes, LayerReport]:
    """Quantise a layer.

    Args:
        name: for the report.
        weight: [out, in] float32.
        hessian: [in, in] float32, mean of x x^T; only method rtn does without.
    """
    started = time.perf_counter()
    plain = round_to_nearest(weight, replace(grid, search=False), options.group_size)
    if hessian is None:
        whole = float(weight.square().sum(dtype=torch.float64)) or 1.0
        layer = round_to_nearest(weight, grid, options.group_size) if grid.search else plain
        errors = [float((weight - one.weight()).square().sum(dtype=torch.float64)) / whole for one in (layer, plain)]
        return layer, LayerReport(name, grid.bits, errors[0], errors[1], time.perf_counter() - started)
    whole = squared_output(weight, hessian) or 1.0
    nearest = output_error(weight, plain, hessian)
    candidates = [(nearest, plain)]
    if grid.search:
        searched = round_to_nearest(weight, grid, options.group_size, hessian.diagonal())
        candidates.append((output_error(weight, searched, hessian), searched))
    least, rounded = min(candidates, key=lambda pair: pair[0])
    damping, dead, kept = 0.0, 0, False
    error, layer = least, rounded
    if method == "gptq":
        solved = solve(weight, hessian, grid, options)
        damping, dead, layer = solved.damping, solved.dead, solved.layer
        error = output_error(weight, layer, hessian)
        if kept := error > least:
            error, layer = least, rounded
    report = LayerReport(name, grid.bits, error / whole, nearest / whole, time.perf_counter() - started, kept, damping, dead)
    return layer, report
