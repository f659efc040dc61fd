"""Grids: the few values that a group of weights may take. A weight w becomes scale * (code - zero).

Scales are rounded to float16 before anything is quantised with them, so that what the solver sees is what is stored. Zero
points are at least 1: the layout stores them less one (`belle.models.packed_layout`).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from belle.errors import BelleError

STEPS, SMALLEST = 24, 0.4
"""The search tries so many ranges, from the whole one down to this share of it."""


@dataclass(frozen=True)
class Grid:
    """2^bits values for each group and output.

    Args:
        bits: 2, 3, 4 or 8.
        symmetric: the zero point is always 2^(bits - 1).
        search: look for the range that costs least, instead of taking the one from the smallest to the largest weight; large
            weights are then clipped.
    """

    bits: int
    symmetric: bool = True
    search: bool = True

    @property
    def top(self) -> int:
        """The largest code."""
        return (1 << self.bits) - 1

    def fit(self, weights: torch.Tensor, importance: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """The grid of one group for each output.

        Args:
            weights: [group, out].
            importance: [group], the mean square of each input; errors are weighted by it in the search. Absent means alike.

        Returns:
            scale [out], exactly representable in float16, and zero [out], whole numbers; both in the type of `weights`.

        Raises:
            BelleError: a weight is not finite, or too large for a float16 scale.
        """
        low, high = weights.amin(0).clamp(max=0), weights.amax(0).clamp(min=0)
        if not bool(torch.isfinite(low).all() and torch.isfinite(high).all()):
            raise BelleError("a weight is not finite", "belle verify names the tensor")
        scale, zero = self._between(low, high)
        if not self.search:
            return scale, zero
        cost = self._cost(weights, scale, zero, importance)
        for step in range(1, STEPS):
            share = 1 - (1 - SMALLEST) * step / (STEPS - 1)
            tried = self._between(low * share, high * share)
            its_cost = self._cost(weights, *tried, importance)
            better = its_cost < cost
            cost = torch.where(better, its_cost, cost)
            scale, zero = torch.where(better, tried[0], scale), torch.where(better, tried[1], zero)
        return scale, zero

    def codes(self, weights: torch.Tensor, scale: torch.Tensor, zero: torch.Tensor) -> torch.Tensor:
        """The nearest codes, whole numbers in the type of `weights`."""
        return (weights / scale).round_().add_(zero).clamp_(0, self.top)

    def _between(self, low: torch.Tensor, high: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if self.symmetric:
            scale = _stored(2 * torch.maximum(-low, high) / self.top)
            return scale, torch.full_like(scale, 1 << (self.bits - 1))
        scale = _stored((high - low) / self.top)
        zero = (-low / scale).round_()
        # With the zero point at 1 instead of 0, one code less is left above it.
        positive = zero < 1
        scale = torch.where(positive, _stored(high / (self.top - 1)), scale)
        return scale, zero.clamp_(1, self.top)

    def _cost(
        self, weights: torch.Tensor, scale: torch.Tensor, zero: torch.Tensor, importance: torch.Tensor | None
    ) -> torch.Tensor:
        error = self.codes(weights, scale, zero).sub_(zero).mul_(scale).sub_(weights).square_()
        return error.sum(0) if importance is None else importance.to(error.dtype) @ error


def group_of(inputs: int, group_size: int) -> torch.Tensor:
    """int32 [inputs]: the group of each input; the last group is shorter where the size does not divide them."""
    return (torch.arange(inputs) // (group_size if group_size > 0 else inputs)).int()


def _stored(scale: torch.Tensor) -> torch.Tensor:
    """A scale as float16 holds it; 1 where a group is all zeros."""
    half = scale.half()
    if bool(torch.isinf(half).any()):
        raise BelleError(f"a scale of {float(scale.max()):.3g} does not fit into float16", "keep=[...] leaves the layer as it is")
    return torch.where(half == 0, torch.ones_like(half), half).to(scale.dtype)
