"""Rows for new tokens: in the embedding and in the head, made of those that the tokens' bytes had before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch

Start = Literal["pieces", "mean", "noise"]
"""What a new row begins as: the mean of the rows that stood for its bytes, the mean of all, or that with noise around it."""


def add_rows(model: Any, old_ids: Mapping[int, Sequence[int]], used: int, start: Start, multiple: int = 1, seed: int = 0) -> int:
    """Grow a model to new tokens and fill their rows, of embedding and head.

    With `mean` in the head, a new token's logit is the mean of the old ones, which is at most the logarithm of the mean of
    their exponentials (Jensen): the cross entropy of a text in old tokens rises by at most ln((V + k) / V).

    Args:
        model: a causal language model; rows beyond `used` belong to no token and are filled as well where a new token takes them.
        old_ids: new id -> the old ids that stand for the same bytes.
        used: rows that belong to old tokens; means are over these.
        start: what a row begins as.
        multiple: the number of rows becomes a multiple of this.
        seed: of the noise, whose standard deviation is that of the old rows, column by column.

    Returns:
        The number of rows.
    """
    rows: int = max(model.get_input_embeddings().weight.shape[0], max(old_ids, default=0) + 1)
    rows = -(-rows // multiple) * multiple
    if rows != model.get_input_embeddings().weight.shape[0]:
        model.resize_token_embeddings(rows, mean_resizing=False)
    head, embedding = model.get_output_embeddings(), model.get_input_embeddings()
    tables = [embedding.weight] if head is None or head.weight is embedding.weight else [embedding.weight, head.weight]
    if head is not None and getattr(head, "bias", None) is not None:
        tables.append(head.bias)
    with torch.no_grad():
        for table in tables:
            _fill(table, old_ids, used, start, seed)
    return rows


def _fill(table: torch.Tensor, old_ids: Mapping[int, Sequence[int]], used: int, start: Start, seed: int) -> None:
    old = table[:used].float()
    mean = old.mean(0)
    noise = torch.Generator().manual_seed(seed)
    spread = old.std(0) if start == "noise" else mean
    table[used:] = mean.to(table.dtype)  # rows that pad the vocabulary too: they are as unlikely as the average token
    for new, ids in old_ids.items():
        if start == "pieces":
            row = old[list(ids)].mean(0)
        elif start == "noise":
            row = mean + spread * torch.randn(mean.shape, generator=noise).to(mean.device)
        else:
            row = mean
        table[new] = row.to(table.dtype)
