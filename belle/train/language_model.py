"""The objective of instruction tuning: the next token, where the template's mask says that the assistant speaks."""

from __future__ import annotations

from typing import Any

import torch

from belle.models.logits import logits_at
from belle.train.losses import answer_cross_entropy


def answer_loss(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """The summed loss over the supervised tokens of a micro-batch (see `data.collators.pad_right` for its fields)."""
    where = batch["supervised"]
    return answer_cross_entropy(logits_at(model, where, input_ids=batch["input_ids"]), batch["targets"][where])
