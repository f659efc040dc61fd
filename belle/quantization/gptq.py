"""GPTQ (Frantar et al. 2022, arXiv:2210.17323): round the weights of a layer one input at a time, and let the inputs that are
still to come make up for the error.

With H = X^T X over the calibration tokens, the error of the layer's output is tr(E H E^T), E = W - Q. The paper works with the
Cholesky factor of H^-1. Here H itself is factored from its end, H = R R^T with R upper triangular; then E's error is
||E R||^2, and the best rounding of input k, those before it being fixed, is that of

    w_k + (sum over i < k of e_i R[i, k]) / R[k, k]

which is the same number as the paper's (QuIP, Chee et al. 2023, arXiv:2307.13304, theorem 6) and needs no inverse: one
factorisation instead of three, and the condition of H once instead of twice. What the paper calls lazy batches is a recursion
here: the errors of the first half of a block go to its second half in one matrix product, on every level.

A group's grid is fitted to its weights as they stand when the group is reached: w + T R_g^-1, with T the sums above over all
inputs before the group. No weight in it is stale, whatever the size of group and block.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from belle.models.packed_layout import Codes
from belle.quantization.grids import Grid, group_of

LEAF = 16
"""Inputs that are rounded one by one before their errors are handed on in one product."""
SOME = 2048
"""Outputs that are solved at once: what is touched for one input then stays in the nearest cache, and is too little to be worth
handing to other threads, whose answers would have to be waited for thousands of times."""
MOST_DAMPING = 1e3


@dataclass(frozen=True)
class Options:
    """How a layer is solved.

    Args:
        group_size: inputs that share a scale; -1 is all.
        act_order: the inputs with the largest mean square first.
        static_groups: with act_order, groups are neighbours in the weight and keep the grid of the unchanged weights, so that
            engines find them in order; without it, groups are neighbours in the order of solving.
        damp: this share of the mean of H's diagonal is added to the diagonal; ten times more as long as that is not enough.
    """

    group_size: int = 128
    act_order: bool = False
    static_groups: bool = False
    damp: float = 0.01


@dataclass(frozen=True)
class Solved:
    """A layer after rounding: its codes, the damping that was needed, and its inputs that were never other than 0."""

    layer: Codes
    damping: float
    dead: int


@torch.no_grad()
def solve(weight: torch.Tensor, hessian: torch.Tensor, grid: Grid, options: Options) -> Solved:
    """Round a layer.

    Args:
        weight: [out, in]. The arithmetic is in its type, float32 or float64.
        hessian: [in, in], mean of x x^T over tokens.

    An input that was always 0 says nothing of its weights: they are rounded to nearest, not set to 0.
    """
    inputs = weight.shape[1]
    hessian = hessian.to(weight.dtype)
    importance = hessian.diagonal().clone()
    dead = importance <= 0
    order = torch.argsort(importance, descending=True, stable=True) if options.act_order else torch.arange(inputs)
    order = order.to(weight.device)
    factor, damping = factorise(hessian, order, options.damp)
    size = options.group_size if options.group_size > 0 else inputs
    own_groups = group_of(inputs, size).to(weight.device)
    static = options.act_order and options.static_groups
    groups = own_groups[order] if static else own_groups
    parts = []
    for some in torch.split(weight, SOME):  # outputs do not know of each other
        state = _State(some.t()[order].contiguous(), factor, grid, groups, inputs if static else size, importance[order])
        if static:
            state.scales, state.zeros = _static_grids(some, importance, grid, own_groups)
            state.next_group = len(state.scales)
        state.walk(0, inputs)
        parts.append(state)
    solved, scales, zeros = (torch.cat([getattr(part, name) for part in parts], 1) for name in ("codes", "scales", "zeros"))
    codes, group_index = torch.empty_like(solved), torch.empty_like(groups)
    codes[order], group_index[order] = solved, groups
    layer = Codes(codes, zeros.to(torch.uint8), scales.half(), group_index)
    return Solved(layer, damping, int(dead.sum()))


@torch.no_grad()
def round_to_nearest(weight: torch.Tensor, grid: Grid, group_size: int, importance: torch.Tensor | None = None) -> Codes:
    """The same without looking at the output: every weight [out, in] to the nearest value of its group's grid."""
    groups = group_of(weight.shape[1], group_size).to(weight.device)
    scales, zeros = _static_grids(weight, importance, grid, groups)
    index = groups.long()
    codes = grid.codes(weight.t(), scales[index], zeros[index])
    return Codes(codes.to(torch.uint8), zeros.to(torch.uint8), scales.half(), groups)


def output_error(weight: torch.Tensor, layer: Codes, hessian: torch.Tensor) -> float:
    """tr(E H E^T): the mean square error of the layer's output, summed over its outputs."""
    return squared_output(weight - layer.weight(weight.dtype), hessian)


def squared_output(weight: torch.Tensor, hessian: torch.Tensor) -> float:
    """tr(W H W^T): the mean square of the layer's output, summed over its outputs."""
    return float(((weight @ hessian.to(weight.dtype)) * weight).sum(dtype=torch.float64))


def factorise(hessian: torch.Tensor, order: torch.Tensor, damp: float) -> tuple[torch.Tensor, float]:
    """R, upper triangular, with R R^T = H + damping * mean(diag H), its inputs in the given order; and the damping used."""
    mean = float(hessian.diagonal().mean())
    mean = mean if mean > 0 else 1.0
    turned = order.flip(0)
    backwards = hessian[turned][:, turned]
    diagonal = backwards.diagonal()
    kept = diagonal.clone()
    while True:
        diagonal.copy_(kept + damp * mean)
        diagonal[kept <= 0] = mean
        lower, failed = torch.linalg.cholesky_ex(backwards)
        # Every pivot is at least what was added; one that is not was eaten by rounding.
        sound = not int(failed) and float(lower.diagonal().min()) ** 2 > 0.1 * damp * mean
        if sound and bool(torch.isfinite(lower).all()):
            return lower.flip(0, 1).contiguous(), damp
        if damp > MOST_DAMPING:
            raise ArithmeticError("no damping makes the Hessian positive definite")
        damp = max(10 * damp, 1e-6)


class _State:
    """One layer while it is rounded. Rows are inputs, in the order of solving."""

    def __init__(
        self, weights: torch.Tensor, factor: torch.Tensor, grid: Grid, groups: torch.Tensor, size: int, importance: torch.Tensor
    ) -> None:
        self.weights, self.factor, self.grid, self.size, self.importance = weights, factor, grid, size, importance
        self.groups = groups.tolist()
        self.codes = torch.empty_like(weights, dtype=torch.uint8)
        self.errors = torch.empty_like(weights)
        self.sums = torch.zeros_like(weights)  # row k: sum over i < k of e_i R[i, k]
        self.diagonal = factor.diagonal().tolist()
        count = max(self.groups) + 1
        self.scales, self.zeros = (weights.new_zeros(count, weights.shape[1]) for _ in range(2))
        self.next_group = 0  # the first one whose grid is not known; past the end where all were known before

    def walk(self, begin: int, end: int) -> None:
        """Round the inputs from `begin` to `end`; what comes from inputs before them is in `sums` already."""
        length = end - begin
        if length > self.size:
            middle = begin + self.size * (-(-length // self.size) // 2)
        else:
            if self.groups[begin] == self.next_group:
                self._fit(begin, end)
                self.next_group += 1
            if length <= LEAF:
                self._leaf(begin, end)
                return
            middle = begin + length // 2
        self.walk(begin, middle)
        self.sums[middle:end].addmm_(self.factor[begin:middle, middle:end].t(), self.errors[begin:middle])
        self.walk(middle, end)

    def _fit(self, begin: int, end: int) -> None:
        block = self.factor[begin:end, begin:end]
        moved = torch.linalg.solve_triangular(block.t(), self.sums[begin:end], upper=False)
        group = self.groups[begin]
        self.scales[group], self.zeros[group] = self.grid.fit(self.weights[begin:end] + moved, self.importance[begin:end])

    def _leaf(self, begin: int, end: int) -> None:
        for k in range(begin, end):
            scale, zero = self.scales[self.groups[k]], self.zeros[self.groups[k]]
            weights = self.weights[k]
            codes = self.grid.codes(torch.add(weights, self.sums[k], alpha=1 / self.diagonal[k]), scale, zero)
            self.codes[k] = codes
            error = torch.sub(weights, codes.sub_(zero).mul_(scale), out=self.errors[k])
            if k + 1 < end:
                self.sums[k + 1 : end].addr_(self.factor[k, k + 1 : end], error)


def _static_grids(
    weight: torch.Tensor, importance: torch.Tensor | None, grid: Grid, groups: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """[groups, out] scales and zeros of the unchanged weights."""
    found = []
    for group in range(int(groups.max()) + 1):
        members = groups == group
        found.append(grid.fit(weight.t()[members], None if importance is None else importance[members]))
    return torch.stack([scale for scale, _ in found]), torch.stack([zero for _, zero in found])
