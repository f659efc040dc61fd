"""A block of a model, quantised: its Linears in the order in which they are reached, and everything else in it as it is."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from belle.jsonl import atomic_path
from belle.models.packed_layout import fits, pack_layer, unpack_layer
from belle.quantization.awq import balance
from belle.quantization.blocks import Stage, Walk, linears
from belle.quantization.gptq import Options
from belle.quantization.grids import Grid
from belle.quantization.layers import LayerReport, Method, quantise
from belle.quantization.packed_write import as_rest


@dataclass(frozen=True)
class Recipe:
    """How to quantise.

    Args:
        bits_of: full name of a layer -> its bits, where they are other than `grid`'s.
        keep: patterns; a layer whose full name one of them is found in stays as it is.
        true_sequential: each layer sees the inputs that the quantised layers before it in its block give.
    """

    method: Method
    grid: Grid
    options: Options
    true_sequential: bool = True
    bits_of: Mapping[str, int] = field(default_factory=dict)
    keep: Sequence[str] = ()

    @property
    def looks(self) -> bool:
        """Whether it needs calibration text."""
        return self.method != "rtn"


@dataclass
class BlockReport:
    """Reports of a block's layers; `wide` are those left as they were, with the reason."""

    layers: list[LayerReport] = field(default_factory=list)
    wide: dict[str, str] = field(default_factory=dict)
    alphas: list[float | None] = field(default_factory=list)


def quantise_block(walk: Walk, number: int, recipe: Recipe, path: Path) -> Iterator[LayerReport | BlockReport]:
    """Quantise a block, carry the samples through what became of it, and write its tensors to `path`.

    Yields:
        Each layer's report as it is done, and the block's in the end.
    """
    prefix, report = walk.names[number], BlockReport()
    block = walk.load(number) if recipe.looks else walk.block(number)
    stages = walk.stages(number) if recipe.looks else [Stage((name,)) for name in linears(block)]
    _pass_over(walk, number, stages, recipe, report)
    weights: dict[str, torch.Tensor] = {}
    changed: dict[str, torch.Tensor] = {}
    if recipe.method == "awq":
        weights = {name: walk.weight(number, name) for stage in stages for name in stage.linears}
        balanced = balance(walk, number, stages, weights, recipe.grid, recipe.options.group_size)
        report.alphas, changed = balanced.alphas, dict(balanced.weights)
    packed: dict[str, torch.Tensor] = {}
    for step in [[stage] for stage in stages] if recipe.true_sequential else [stages]:
        hessians = [hessian.mean for hessian in walk.collect(number, step)] if recipe.looks else [None] * len(step)
        for stage, hessian in zip(step, hessians, strict=True):
            for name in stage.linears:
                full = f"{prefix}.{name}"
                weight = weights.pop(name) if name in weights else walk.weight(number, name)
                if full in report.wide:
                    if recipe.method == "awq":  # it was scaled with the others of its stage
                        changed[f"{name}.weight"] = weight
                    continue
                bits = recipe.bits_of.get(full, recipe.grid.bits)
                grid = Grid(bits, recipe.grid.symmetric, recipe.grid.search)
                layer, one = quantise(full, weight, hessian, recipe.method, grid, recipe.options)
                packed |= {f"{name}.{part}": tensor.cpu() for part, tensor in pack_layer(layer, bits).items()}
                if recipe.looks:
                    walk.parameter(number, f"{name}.weight").data = layer.weight(walk.dtype)
                report.layers.append(one)
                yield one
    tensors = packed | {name: as_rest(new.cpu().to(walk.tensors[f"{prefix}.{name}"].dtype)) for name, new in changed.items()}
    for name in walk.tensors:
        short = name.removeprefix(f"{prefix}.")
        if short != name and short not in tensors and f"{short.removesuffix('.weight')}.qweight" not in packed:
            tensors[short] = as_rest(walk.tensors[name])
    _write(tensors, prefix, path)
    if recipe.looks:
        _replace(walk, number, tensors, recipe)
        walk.carry(number)
        walk.unload(number)
    yield report


def restore_block(walk: Walk, number: int, recipe: Recipe, path: Path) -> None:
    """Carry the samples through a block that an earlier run has written."""
    from safetensors.torch import load_file

    if not recipe.looks:
        return
    walk.load(number)
    prefix = f"{walk.names[number]}."
    _replace(walk, number, {name.removeprefix(prefix): tensor for name, tensor in load_file(path).items()}, recipe)
    walk.carry(number)
    walk.unload(number)


def _replace(walk: Walk, number: int, tensors: Mapping[str, torch.Tensor], recipe: Recipe) -> None:
    """Give a block the weights as they were written, so that a resumed run computes with the same numbers."""
    for name, tensor in tensors.items():
        layer, _, part = name.rpartition(".")
        if part == "qweight":
            bits = recipe.bits_of.get(f"{walk.names[number]}.{layer}", recipe.grid.bits)
            parts = {key: tensors[f"{layer}.{key}"] for key in ("qweight", "qzeros", "scales", "g_idx")}
            weight = unpack_layer(parts, bits, 1).weight(walk.dtype)
            walk.parameter(number, f"{layer}.weight").data = weight.to(walk.device)
        elif (parameter := walk.find(number, name)) is not None:
            parameter.data = tensor.to(walk.device, walk.dtype)


def _pass_over(walk: Walk, number: int, stages: Sequence[Stage], recipe: Recipe, report: BlockReport) -> None:
    """Note which Linears stay as they are, and why."""
    prefix = walk.names[number]
    reached = {name for stage in stages for name in stage.linears}
    for name, linear in linears(walk.block(number)).items():
        full = f"{prefix}.{name}"
        bits = recipe.bits_of.get(full, recipe.grid.bits)
        if any(re.search(pattern, full) for pattern in recipe.keep):
            report.wide[full] = "named in keep"
        elif name not in reached:
            report.wide[full] = "the calibration text never reaches it"
        elif not fits(linear.in_features, linear.out_features, bits):
            report.wide[full] = f"{linear.out_features} x {linear.in_features} does not fill whole words of {bits}-bit codes"


def _write(tensors: Mapping[str, torch.Tensor], prefix: str, path: Path) -> None:
    from safetensors.torch import save_file

    with atomic_path(path) as part:
        save_file({f"{prefix}.{name}": tensor.contiguous() for name, tensor in tensors.items()}, part, {"format": "pt"})
