"""Samples to tensors."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from belle.data.chat_template import Encoded


def pad_right(samples: Sequence[Encoded], pad: int) -> dict[str, torch.Tensor]:
    """Stack samples of unequal length, padded at the right.

    There is no attention mask on purpose: a causal model's real tokens cannot see what stands to the right of them, so
    padding changes nothing, and without a mask attention takes its fastest path.

    Returns:
        input_ids: [samples, width] int64.
        targets: [samples, width] int64, the id that position t has to predict (the one at t + 1).
        supervised: [samples, width] bool, the positions t whose target carries loss.
    """
    width = max(len(sample.ids) for sample in samples)
    ids = torch.full((len(samples), width), pad, dtype=torch.int64)
    supervised = torch.zeros((len(samples), width), dtype=torch.bool)
    for row, sample in enumerate(samples):
        ids[row, : len(sample.ids)] = torch.tensor(sample.ids)
        supervised[row, : len(sample.ids) - 1] = torch.tensor(sample.mask[1:], dtype=torch.bool)
    return {"input_ids": ids, "targets": ids.roll(-1, dims=1), "supervised": supervised}
