"""Different bits for different layers: where a bit helps most, under a budget of bits for each weight on average."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from belle.errors import BelleError
from belle.models.packed_layout import BITS, fits
from belle.quantization.blocks import Walk
from belle.quantization.gptq import output_error, round_to_nearest, squared_output
from belle.quantization.grids import Grid


@dataclass(frozen=True)
class Sensitivity:
    """A layer's weights, and for each number of bits the error of its output when rounded, as a share of the output."""

    size: int
    errors: Mapping[int, float]


@torch.no_grad()
def block_sensitivities(walk: Walk, number: int, symmetric: bool, group_size: int) -> dict[str, Sensitivity]:
    """Each Linear of a loaded block, by its full name, rounded to nearest; nothing in the block is changed."""
    stages = walk.stages(number)
    found = {}
    for stage, hessian in zip(stages, walk.collect(number, stages), strict=True):
        mean = hessian.mean
        for name in stage.linears:
            weight = walk.weight(number, name)
            whole = squared_output(weight, mean) or 1.0
            errors = {}
            for bits in BITS:
                if fits(weight.shape[1], weight.shape[0], bits):
                    grid = Grid(bits, symmetric, search=False)
                    errors[bits] = output_error(weight, round_to_nearest(weight, grid, group_size), mean) / whole
            if errors:
                found[f"{walk.names[number]}.{name}"] = Sensitivity(weight.numel(), errors)
    return found


def allocate(layers: Mapping[str, Sensitivity], average: float) -> dict[str, int]:
    """Bits of each layer such that the sum of their errors is small and no more than `average` bits a weight are spent.

    Starts from the fewest bits and takes, one after the other, the step with the largest gain for a bit; steps lie on the
    lower convex hull of each layer's errors, so the sum is the least there is for the bits then spent.

    Raises:
        BelleError: the budget is below the fewest bits.
    """
    hulls = {name: _hull(layer) for name, layer in layers.items()}
    total = sum(layer.size for layer in layers.values())
    spent = sum(layers[name].size * hull[0] for name, hull in hulls.items())
    budget = average * total
    if spent > budget:
        raise BelleError(f"average_bits={average:g} is less than the fewest bits, {spent / total:.3g}", "give more")
    chosen = {name: hull[0] for name, hull in hulls.items()}
    waiting: list[tuple[float, str, int]] = []

    def offer(name: str, step: int) -> None:
        hull, layer = hulls[name], layers[name]
        if step < len(hull):
            gain = layer.errors[hull[step - 1]] - layer.errors[hull[step]]
            heapq.heappush(waiting, (-gain / (layer.size * (hull[step] - hull[step - 1])), name, step))

    for name in hulls:
        offer(name, 1)
    while waiting:
        _, name, step = heapq.heappop(waiting)
        hull = hulls[name]
        cost = layers[name].size * (hull[step] - hull[step - 1])
        if spent + cost > budget:
            continue  # another layer's step may be smaller
        spent += cost
        chosen[name] = hull[step]
        offer(name, step + 1)
    return chosen


def _hull(layer: Sensitivity) -> list[int]:
    """The numbers of bits on the lower convex hull of (bits, error), fewest first."""
    hull: list[int] = []
    for bits in sorted(layer.errors):
        if hull and layer.errors[bits] >= layer.errors[hull[-1]]:
            continue
        while len(hull) > 1 and _slope(layer, hull[-2], hull[-1]) >= _slope(layer, hull[-1], bits):
            hull.pop()
        hull.append(bits)
    return hull


def _slope(layer: Sensitivity, low: int, high: int) -> float:
    return (layer.errors[high] - layer.errors[low]) / (high - low)
