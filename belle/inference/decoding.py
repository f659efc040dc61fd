"""The loop that makes tokens: a batch of prompts through the model once, then one token a row and step.

Written out, where `model.generate` would do, for three reasons: a row that has ended leaves the batch and costs nothing
more; each row draws from random numbers of its own; and a stream is the same loop, seen from outside.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch

from belle.inference.sampling import Sampler
from belle.sections import GenerationSection


class Decoding:
    """A batch in progress.

    Prompts are padded on the left and masked, and positions count from each prompt's own first token: a row's scores are
    those that it would have alone, up to rounding.

    Args:
        model: any causal language model of transformers.
        prompts: token ids, one list a row.
        seeds: one a row, for sampling.
    """

    def __init__(self, model: Any, prompts: Sequence[Sequence[int]], options: GenerationSection, seeds: Sequence[int]) -> None:
        self._model = model
        self._names = set(inspect.signature(model.forward).parameters)
        device = model.device
        width = max(map(len, prompts))
        # Padding is token 0: it is masked, so any token does.
        self._ids = torch.tensor([[0] * (width - len(ids)) + list(ids) for ids in prompts], device=device)
        mask = torch.tensor([[0] * (width - len(ids)) + [1] * len(ids) for ids in prompts], device=device)
        self._positions = (mask.cumsum(-1) - 1).clamp(min=0)
        self._mask = None if bool(mask.all()) else mask  # without padding, attention takes its faster way
        self._cache: Any = None
        self._sampler: Sampler | None = None
        self._options, self._seeds, self._prompts = options, seeds, prompts

    @torch.inference_mode()
    def step(self) -> list[int]:
        """The next token of every row."""
        given: dict[str, Any] = {"input_ids": self._ids, "use_cache": True}
        if self._mask is not None:
            given["attention_mask"] = self._mask
        if "position_ids" in self._names:
            given["position_ids"] = self._positions
        if "logits_to_keep" in self._names:
            given["logits_to_keep"] = 1  # the head is a fifth of a small model: not for a whole prompt
        if self._cache is not None:
            given["cache" if "cache" in self._names else "past_key_values"] = self._cache
        out = self._model(**given)
        self._cache = out.cache if hasattr(out, "cache") else out.past_key_values  # the name before transformers 5.24
        scores = out.logits[:, -1]
        if self._sampler is None:
            self._sampler = Sampler(self._options, self._seeds, self._prompts, scores.shape[-1], scores.device)
        chosen = self._sampler.choose(scores)
        self._ids = chosen[:, None]
        self._positions = self._positions[:, -1:] + 1
        if self._mask is not None:
            self._mask = torch.cat([self._mask, self._mask.new_ones(len(chosen), 1)], 1)
        found: list[int] = chosen.tolist()
        return found

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these rows only; what the others had in the cache is given back."""
        index = torch.tensor(list(rows), device=self._ids.device)
        self._ids, self._positions = self._ids[index], self._positions[index]
        self._mask = None if self._mask is None else self._mask[index]
        assert self._sampler is not None
        self._cache.reorder_cache(index)
        self._sampler.keep(rows)
