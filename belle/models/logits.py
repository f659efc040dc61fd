"""Logits only where they are needed.

The head is the dearest layer of a small model (a fifth of all work at 49,152 tokens) and most of its rows, those of prompts
and padding, are never looked at.
"""

from __future__ import annotations

from typing import Any

import torch

from belle.errors import BelleError


def logits_at(model: Any, where: torch.Tensor, **inputs: Any) -> torch.Tensor:
    """Run `model` and let its head see only the positions `where`.

    The rows are chosen by a hook on the head, so this works through every wrapper (adapters, data parallel, sharding)
    and keeps whatever an architecture does after its head, such as soft-capping.

    Args:
        model: a causal language model.
        where: [batch, width] bool.
        inputs: what the model takes, e.g. input_ids [batch, width].

    Returns:
        [positions, vocabulary], rows in the order of `where.nonzero()`.
    """
    head = _unwrapped(model).get_output_embeddings()
    if head is None:
        raise BelleError(f"{type(model).__name__} has no language-model head", "use a causal language model")
    handle = head.register_forward_pre_hook(lambda module, args: (args[0][where], *args[1:]))
    try:
        logits: torch.Tensor = model(**inputs, use_cache=False).logits
    finally:
        handle.remove()
    return logits


def _unwrapped(model: Any) -> Any:
    return model.module if hasattr(model, "module") and not hasattr(model, "get_output_embeddings") else model
