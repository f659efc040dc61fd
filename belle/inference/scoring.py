"""How likely a model finds given texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from belle.data.chat_template import Encoded
from belle.data.collators import pad_right
from belle.models.logits import logits_at


@torch.inference_mode()
def losses(model: Any, samples: Sequence[Encoded]) -> list[tuple[float, int]]:
    """Negative log-likelihood of each sample's supervised tokens: (sum in nats, number of tokens)."""
    batch = {name: tensor.to(model.device) for name, tensor in pad_right(samples, 0).items()}
    where = batch["supervised"]
    scores = logits_at(model, where, input_ids=batch["input_ids"]).float()
    each = cross_entropy(scores, batch["targets"][where], reduction="none").double()
    sums = torch.zeros(len(samples), dtype=torch.float64, device=model.device)
    sums.index_add_(0, where.nonzero()[:, 0], each)
    return list(zip(sums.tolist(), where.sum(-1).tolist(), strict=True))
