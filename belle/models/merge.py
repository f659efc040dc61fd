"""Fold an adapter into its base: W + (alpha / rank) B A, in float32, stored in the base's own type."""

from __future__ import annotations

from typing import Any

import torch

from belle.errors import BelleError
from belle.models.load import Located, put_adapter


def merge_adapter(base: Any, found: Located) -> tuple[Any, int]:
    """Put the adapter on `base` (float32) and fold it in.

    Returns:
        The plain model, and how many of its tensors changed.

    Raises:
        BelleError: the adapter belongs to another base, has values that are not finite, or changes nothing.
    """
    before = {name: tensor.detach().clone() for name, tensor in base.state_dict().items()}
    model = put_adapter(base, found)
    _untie(model)
    try:
        merged = model.merge_and_unload(safe_merge=True)
    except ValueError as error:
        raise BelleError(f"the adapter {str(found.adapter)!r} cannot be merged: {error}", "train it again") from error
    after = merged.state_dict()
    changed = sum(name not in before or not torch.equal(before[name], tensor) for name, tensor in after.items())
    if not changed:
        raise BelleError(f"merging {str(found.adapter)!r} changed no weight: the adapter is empty", "train it before merging it")
    return merged, changed


def last_logits(model: Any, prompts: list[list[int]]) -> list[torch.Tensor]:
    """[vocabulary] float32 logits behind each prompt, one prompt at a time."""
    device = next(model.parameters()).device
    with torch.no_grad():
        return [model(input_ids=torch.tensor([ids], device=device)).logits[0, -1].float().cpu() for ids in prompts]


def _untie(model: Any) -> None:
    """Give head and embedding weights of their own where an adapter changes only one of them."""
    plain = model.get_base_model()
    if not getattr(plain.config, "tie_word_embeddings", False):
        return
    head, embedding = plain.get_output_embeddings(), plain.get_input_embeddings()
    if hasattr(head, "base_layer") or hasattr(embedding, "base_layer"):
        layer = getattr(head, "base_layer", head)
        layer.weight = torch.nn.Parameter(layer.weight.detach().clone())
        plain.config.tie_word_embeddings = False
