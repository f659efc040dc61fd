"""How likely a model finds given texts."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from belle.data.chat_template import Encoded

_ROWS = 512  # rows of the vocabulary held at once: 512 of 150,000 scores are 0.3 GB


class Scoring:
    """Negative log-likelihood of supervised tokens, with the head applied only where there is supervision.

    Whether a model's scores are just its head on its last hidden states is seen on a probe, not known from a list: some
    scale or cap them afterwards, and those run their whole forward pass.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._head = _plain_head(model)

    @torch.inference_mode()
    def losses(self, samples: Sequence[Encoded]) -> list[tuple[float, int]]:
        """(sum in nats, number of tokens) of each sample.

        Padding is on the right and needs no mask: a causal model does not look there.
        """
        width = max(len(sample.ids) for sample in samples)
        device = self._model.device
        ids = torch.tensor([sample.ids + [0] * (width - len(sample.ids)) for sample in samples], device=device)
        mask = torch.tensor([sample.mask + [False] * (width - len(sample.mask)) for sample in samples], device=device)
        wanted = mask[:, 1:]  # the first token has nothing before it that could foretell it
        targets = ids[:, 1:][wanted]
        owner = wanted.nonzero()[:, 0]
        sums = torch.zeros(len(samples), dtype=torch.float64, device=device)
        if len(targets):
            rows, head = self._states(ids, wanted)
            for start in range(0, len(targets), _ROWS):
                part = slice(start, start + _ROWS)
                losses = cross_entropy(head(rows[part]).float(), targets[part], reduction="none")
                sums.index_add_(0, owner[part], losses.double())
        return list(zip(sums.tolist(), wanted.sum(-1).tolist(), strict=True))

    def _states(self, ids: torch.Tensor, wanted: torch.Tensor) -> tuple[torch.Tensor, Callable[[torch.Tensor], torch.Tensor]]:
        """What stands at the wanted places, and what makes scores of it."""
        if self._head is not None:
            return self._model.get_decoder()(input_ids=ids, use_cache=False)[0][:, :-1][wanted], self._head
        columns = wanted.any(0).nonzero()[:, 0]
        if "logits_to_keep" in inspect.signature(self._model.forward).parameters:
            scores = self._model(input_ids=ids, use_cache=False, logits_to_keep=columns).logits
        else:
            scores = self._model(input_ids=ids, use_cache=False).logits[:, columns]
        return scores[wanted[:, columns]], lambda rows: rows


@torch.inference_mode()
def _plain_head(model: Any) -> Callable[[torch.Tensor], torch.Tensor] | None:
    """The model's head, if its scores are the head's on the decoder's last hidden states and nothing else."""
    head: Any = model.get_output_embeddings()
    decoder = model.get_decoder() if hasattr(model, "get_decoder") else None
    if head is None or decoder is None or decoder is model:
        return None
    probe = torch.arange(4, device=model.device)[None]
    scores = model(input_ids=probe, use_cache=False).logits.float()
    plain = head(decoder(input_ids=probe, use_cache=False)[0]).float()
    return head if torch.allclose(plain, scores, rtol=1e-3, atol=1e-3) else None
