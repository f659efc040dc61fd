"""Scaling by activations in the manner of AWQ (Lin et al. 2023, arXiv:2306.00978), the other way to spare what matters.

Inputs of a layer that are large get large weights: W diag(s) is rounded instead of W, and what gives the inputs is divided by s,
so that the model computes the same. s = x^alpha with x the root mean square of each input; alpha is searched on the error of the
layer's output, which the Hessian knows without another forward pass. (The paper takes the mean |x|, and runs the block.)

What gives the inputs is a norm, or a Linear of the same block. Whether dividing it leaves the block's output as it is, is not
read from names but tried, with factors of two, which are exact in every type.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from belle.quantization.blocks import Stage, Walk
from belle.quantization.gptq import output_error, round_to_nearest
from belle.quantization.grids import Grid

ALPHAS = tuple(step / 20 for step in range(20))
SAME = 2e-2
"""Relative difference of the block's output that rounding explains."""


@dataclass
class Balanced:
    """What was changed in a block: new float32 weights by name, and for each stage its alpha, None where nothing takes 1/s."""

    weights: dict[str, torch.Tensor] = field(default_factory=dict)
    alphas: list[float | None] = field(default_factory=list)


@torch.no_grad()
def balance(
    walk: Walk, number: int, stages: Sequence[Stage], weights: dict[str, torch.Tensor], grid: Grid, group_size: int
) -> Balanced:
    """Scale the Linears of a loaded block, and what gives them their inputs.

    Args:
        weights: name of each Linear -> [out, in] float32; scaled in place, in the block as well.
    """
    done = Balanced()
    hessians = walk.collect(number, stages)
    for index in reversed(range(len(stages))):  # a giver that is a Linear is an earlier stage's own layer
        stage, hessian = stages[index], hessians[index].mean
        giver = _giver(walk, number, stages, index)
        done.alphas.insert(0, None)
        if giver is None:
            continue
        alpha, scale = _best(stage, hessian, weights, grid, group_size)
        done.alphas[0] = alpha
        for name in stage.linears:
            weights[name] *= scale
            _set(walk, number, name, weights[name])
        for part in ("weight", "bias"):
            key = f"{giver}.{part}"
            if giver in weights and part == "weight":
                weights[giver] /= scale[:, None]
                _set(walk, number, giver, weights[giver])
            elif (old := _stored(walk, number, key)) is not None:
                done.weights[key] = done.weights.get(key, old) / scale
                walk.parameter(number, key).data.copy_(done.weights[key])
    return done


def _best(
    stage: Stage, hessian: torch.Tensor, weights: dict[str, torch.Tensor], grid: Grid, group_size: int
) -> tuple[float, torch.Tensor]:
    """(alpha, [in] scale) with the least error of the stage's outputs; alpha 0 is no scaling."""
    size = hessian.diagonal().clamp(min=0).sqrt()
    size = size.clamp(min=float(size.mean()) * 1e-3 or 1.0)
    plain = Grid(grid.bits, grid.symmetric, search=False)
    found = []
    for alpha in ALPHAS:
        scale = size**alpha
        scale = scale / (scale.max() * scale.min()).sqrt()
        turned = hessian / scale / scale[:, None]
        error = 0.0
        for name in stage.linears:
            scaled = weights[name] * scale
            error += output_error(scaled, round_to_nearest(scaled, plain, group_size), turned)
        found.append((error, alpha, scale))
    _, alpha, scale = min(found, key=lambda entry: entry[0])
    return alpha, scale


def _giver(walk: Walk, number: int, stages: Sequence[Stage], index: int) -> str | None:
    """The module whose output may be divided channel by channel in favour of a stage's weights."""
    inputs = walk.parameter(number, f"{stages[index].linears[0]}.weight").shape[1]
    source = stages[index].source
    earlier = [name for stage in reversed(stages[:index]) for name in reversed(stage.linears)]
    for name in [source] if source is not None else earlier:
        weight = walk.find(number, f"{name}.weight")
        if weight is not None and weight.shape[0] == inputs and _divides(walk, number, stages[index], name):
            return name
    return None


def _divides(walk: Walk, number: int, stage: Stage, giver: str) -> bool:
    before = walk.output(number).float()
    scale = torch.ones(walk.parameter(number, f"{giver}.weight").shape[0], device=before.device)
    scale[::2] = 2
    givers = [p for part in ("weight", "bias") if (p := walk.find(number, f"{giver}.{part}")) is not None]
    takers = [walk.parameter(number, f"{name}.weight") for name in stage.linears]

    def turn(up: torch.Tensor) -> None:
        for parameter in givers:
            parameter.data.div_(up.to(parameter.dtype).view(-1, *[1] * (parameter.dim() - 1)))
        for parameter in takers:
            parameter.data.mul_(up.to(parameter.dtype))

    turn(scale)
    after = walk.output(number).float()
    turn(1 / scale)
    return bool((after - before).norm() <= SAME * before.norm())


def _stored(walk: Walk, number: int, key: str) -> torch.Tensor | None:
    name = f"{walk.names[number]}.{key}"
    return walk.tensors[name].to(walk.device).float() if name in walk.tensors else None


def _set(walk: Walk, number: int, linear: str, weight: torch.Tensor) -> None:
    walk.parameter(number, f"{linear}.weight").data.copy_(weight)
