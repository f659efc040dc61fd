"""Optimal Brain Quantization in a fixed order, as the textbook has it: float64, one column after the other, H^-1 by elimination.

(Frantar & Alistarh 2022, arXiv:2208.11580, equations 3 and 5, with GPTQ's fixed order.)
"""

from __future__ import annotations

import torch

from belle.quantization.grids import Grid


def rounded(weight: torch.Tensor, hessian: torch.Tensor, grid: Grid, size: int, order: list[int], damp: float) -> torch.Tensor:
    """[out, in] after rounding; the grid of a group is that of its weights when its first column is reached."""
    left = weight.clone()
    seen = hessian.diagonal().clone()
    damped = hessian + damp * seen.mean() * torch.eye(len(hessian), dtype=hessian.dtype)
    for k in (seen <= 0).nonzero()[:, 0].tolist():
        damped[k, k] = seen.mean() if seen.mean() > 0 else 1.0
    inverse = torch.linalg.inv(damped)
    out = torch.zeros_like(weight)
    scale = zero = torch.zeros(0)
    for position, k in enumerate(order):
        if position % size == 0:
            members = order[position : position + size]
            scale, zero = grid.fit(left[:, members].t(), seen[members])
        out[:, k] = (grid.codes(left[:, k], scale, zero) - zero) * scale
        left -= torch.outer((left[:, k] - out[:, k]) / inverse[k, k], inverse[k])
        inverse -= torch.outer(inverse[:, k], inverse[k]) / inverse[k, k].clone()
    return out
