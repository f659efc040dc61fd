"""What comes into a layer, summed up: H = mean of x x^T over tokens, in float32."""

from __future__ import annotations

import torch

BLOCK = 512
"""H is symmetric: only blocks on and above its diagonal are multiplied out. Smaller blocks save more and multiply slower."""


class Hessian:
    """Grows by batches of inputs; `mean` gives the matrix."""

    def __init__(self, inputs: int, device: torch.device) -> None:
        self.sum = torch.zeros(inputs, inputs, device=device)
        self.tokens = 0

    def add(self, x: torch.Tensor) -> None:
        """Take in [..., inputs]."""
        rows = x.reshape(-1, x.shape[-1]).float()
        self.tokens += len(rows)
        for begin in range(0, len(self.sum), BLOCK):
            left = rows[:, begin : begin + BLOCK].t()
            self.sum[begin : begin + BLOCK, begin:].addmm_(left, rows[:, begin:])

    @property
    def mean(self) -> torch.Tensor:
        """[inputs, inputs] float32.

        Raises:
            ValueError: no token came in.
        """
        if not self.tokens:
            raise ValueError("the layer has seen no token")
        upper = self.sum.triu()
        return (upper + upper.triu(1).t()).div_(self.tokens)
