"""Which columns of each weight matter for a text: the mean square of what comes in there, the diagonal of GPTQ's Hessian."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray


@torch.no_grad()
def column_importance(
    model: Any, samples: Sequence[Sequence[int]], progress: Callable[[int], None] | None = None
) -> dict[str, NDArray[np.float32]]:
    """Run token ids through a model and measure.

    Args:
        model: a causal language model of transformers, in evaluation mode.
        samples: token ids of a text each.
        progress: is told of every sample.

    Returns:
        name of each Linear but the head -> [in_features] E[x^2] over all tokens.
    """
    sums: dict[str, torch.Tensor] = {}
    tokens = 0

    def watch(name: str) -> Callable[..., None]:
        def hook(module: Any, inputs: tuple[torch.Tensor, ...], output: Any) -> None:
            x = inputs[0].detach().reshape(-1, inputs[0].shape[-1]).double()
            sums[name] = sums.get(name, 0) + (x * x).sum(0)

        return hook

    head = model.get_output_embeddings()
    linears = [(name, m) for name, m in model.named_modules() if isinstance(m, torch.nn.Linear) and m is not head]
    hooks = [module.register_forward_hook(watch(name)) for name, module in linears]
    try:
        for ids in samples:
            model(input_ids=torch.tensor([list(ids)], device=model.device), use_cache=False, logits_to_keep=1)
            tokens += len(ids)
            if progress:
                progress(1)
    finally:
        for hook in hooks:
            hook.remove()
    return {name: (total / max(tokens, 1)).float().cpu().numpy() for name, total in sums.items()}
