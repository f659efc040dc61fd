"""Choosing the next token of each row of a batch, each with its own random numbers: no answer depends on its batch mates."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from belle.sections import GenerationSection

_CANDIDATES = 1024  # sorted first; a whole vocabulary is sorted only where these do not reach top_p


class Sampler:
    """The chooser of one batch.

    Args:
        options: temperature 0 takes the likeliest token; else scores are divided by it, cut to top_k and top_p, and one is
            drawn. The repetition penalty (Keskar et al. 2019, CTRL, section 4.1) comes first, over prompt and answer.
        seeds: one a row.
        prompts: the ids of each row's prompt.
        vocabulary: size of the score rows.
    """

    def __init__(
        self,
        options: GenerationSection,
        seeds: Sequence[int],
        prompts: Sequence[Sequence[int]],
        vocabulary: int,
        device: torch.device,
    ) -> None:
        self._options = options
        self._random = [torch.Generator().manual_seed(seed) for seed in seeds]  # on the CPU: the same on every device
        self._used: torch.Tensor | None = None
        if options.repetition_penalty != 1:
            self._used = torch.zeros(len(prompts), vocabulary, dtype=torch.bool, device=device)
            for row, ids in enumerate(prompts):
                self._used[row, torch.tensor(ids, device=device)] = True

    def choose(self, scores: torch.Tensor) -> torch.Tensor:
        """One token id a row, (rows,), from the model's logits, (rows, vocabulary)."""
        scores = scores.float()
        if self._used is not None:
            penalty = self._options.repetition_penalty
            scores = torch.where(self._used, torch.where(scores > 0, scores / penalty, scores * penalty), scores)
        chosen = scores.argmax(-1) if self._options.temperature == 0 else self._draw(scores / self._options.temperature)
        if self._used is not None:
            self._used[torch.arange(len(chosen), device=chosen.device), chosen] = True
        return chosen

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these rows only."""
        self._random = [self._random[row] for row in rows]
        if self._used is not None:
            self._used = self._used[list(rows)]

    def _draw(self, scores: torch.Tensor) -> torch.Tensor:
        """Draw from the likeliest tokens that top_k and top_p leave, by where a random number falls in their sum."""
        top_k, top_p = self._options.top_k, self._options.top_p
        vocabulary = scores.shape[-1]
        share = torch.softmax(scores, -1)
        size = min(top_k or vocabulary, vocabulary)
        if top_k:
            share, ids = share.topk(size, -1)
            share = share / share.sum(-1, keepdim=True)  # top_p is a share of what top_k leaves
        elif top_p < 1:
            share, ids = _likeliest(share, top_p)
        else:
            ids = torch.arange(vocabulary, device=scores.device).expand_as(share)
        total = share.double().cumsum(-1)
        if top_p < 1:  # a token stays where those before it have not reached top_p
            total = torch.where(total - share < top_p, share.double(), 0.0).cumsum(-1)
        drawn = torch.stack([torch.rand(1, generator=random, dtype=torch.float64) for random in self._random])
        place = torch.searchsorted(total, drawn.to(total.device) * total[:, -1:], right=True)
        return ids.gather(-1, place.clamp(max=ids.shape[-1] - 1)).squeeze(-1)


def _likeliest(share: torch.Tensor, top_p: float) -> tuple[torch.Tensor, torch.Tensor]:
    found, ids = share.topk(min(_CANDIDATES, share.shape[-1]), -1)
    if bool((found.sum(-1) < top_p).any()):
        found, ids = share.sort(-1, descending=True)
    return found, ids
