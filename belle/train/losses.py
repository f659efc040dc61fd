"""Losses as pure functions of tensors. None of them knows a model, a batch or a trainer."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - the name everyone uses

IGNORE = -100
"""The label of a position that carries no loss."""


def answer_cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Sum, not mean, of -log p(target): the mean over a whole optimiser step is taken by the trainer, so that every
    supervised token weighs the same however the step is split into micro-batches.

    Args:
        logits: [tokens, vocabulary], of supervised positions only; any float type, reduced in float32.
        targets: [tokens], the ids that come next.

    Returns:
        A scalar in nats, float32; 0 with a gradient of 0 for no tokens.
    """
    return F.cross_entropy(logits.float(), targets, reduction="sum")
