"""Texts as vectors, by a model in this process or an endpoint; and which of them mean the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from belle.errors import BelleError

Vectors = NDArray[np.float16]
Embedder = Callable[[Sequence[str]], NDArray[np.float32]]
"""[n] texts to [n, width] vectors of unit length."""
_BLOCK = 1024
_CLOSE = 1e-4
"""Similarities nearer to the threshold than this are computed once more, exactly."""


class Embeds(Protocol):
    """What an `EndpointEmbedder` asks: an `OpenAIBackend`, or anything that makes vectors of texts."""

    def embed(self, texts: Sequence[str], /) -> list[list[float]]:
        """[len(texts)][width]."""
        ...


class ModelEmbedder:
    """The mean of a language model's last hidden states, one text at a time.

    Texts are not padded into batches: a vector then depends on its own text alone.

    Args:
        path: what `model.path` may be.
        tokens: a longer text counts by its first so many.
    """

    def __init__(self, path: str, tokens: int = 512) -> None:
        self.path, self.tokens = path, tokens
        self._loaded: tuple[Any, Any] | None = None

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """[n, width] of unit length."""
        import torch

        model, tokenizer = self._load()
        rows = []
        for text in texts:
            ids = tokenizer(text, return_tensors="pt", truncation=True, max_length=self.tokens)["input_ids"].to(model.device)
            if not ids.shape[1]:
                ids = torch.tensor([[tokenizer.pad_token_id]], device=model.device)
            with torch.inference_mode():
                states = model(input_ids=ids, output_hidden_states=True, logits_to_keep=1).hidden_states[-1]
            rows.append(states[0].float().mean(dim=0).cpu().numpy())
        return unit(np.stack(rows)) if rows else np.zeros((0, model.config.get_text_config().hidden_size), dtype=np.float32)

    def _load(self) -> tuple[Any, Any]:
        if self._loaded is None:
            from belle.models.load import load_model, load_tokenizer
            from belle.sections import ModelSection

            section = ModelSection(path=self.path)
            self._loaded = load_model(section), load_tokenizer(section)
        return self._loaded


class EndpointEmbedder:
    """Vectors from an endpoint, through a client that waits and asks again as an endpoint needs (`inference/openai_backend.py`).

    Args:
        client: whatever has `embed(texts) -> list[list[float]]`, one vector a text, in their order.
        model: the endpoint's name of the model, for messages.
    """

    def __init__(self, client: Embeds, model: str) -> None:
        self.client, self.model = client, model

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """[n, width] of unit length; of no texts, a width is asked for with a word.

        Raises:
            BelleError: the endpoint refuses, stays silent after all tries, or answers with something else than vectors.
        """
        rows = self.client.embed(list(texts) or ["text"])
        widths = sorted({len(row) for row in rows})
        asked, fix = max(1, len(texts)), "is it a model for embeddings?"
        if len(rows) != asked or len(widths) != 1 or not widths[0]:
            found = f"{len(rows)} vectors of {' and '.join(map(str, widths))} numbers"
            raise BelleError(f"{self.model!r} answers with {found} for {asked} texts: not a vector for each", fix)
        with np.errstate(over="ignore"):
            vectors = np.array(rows, dtype=np.float32)
        if not np.isfinite(vectors).all():
            raise BelleError(f"{self.model!r} answers with vectors that hold nan or infinity", fix)
        return unit(vectors[: len(texts)])


def unit(vectors: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """The vectors at length 1; a vector of zeros stays one."""
    vectors = vectors.astype(np.float32)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    out = np.zeros_like(vectors)
    np.divide(vectors, lengths, out=out, where=lengths > 0)
    return out


def alike(vectors: Vectors, order: NDArray[np.int64], threshold: float) -> Iterator[tuple[int, int, float]]:
    """(row that goes, row that stays, cosine): the first of `order` stay, and all that are not as alike to one that stays.

    All pairs with rows that stay are compared, block by block: exact, in time quadratic in what stays (100,000 rows of 384
    take minutes), in memory of a few blocks beside the vectors.
    """
    kept = np.zeros(0, dtype=np.int64)
    for start in range(0, len(order), _BLOCK):
        block = order[start : start + _BLOCK]
        mine = vectors[block].astype(np.float32)
        best, of = np.full(len(block), -2.0), np.full(len(block), -1, dtype=np.int64)
        for i in range(0, len(kept), _BLOCK):
            rows = kept[i : i + _BLOCK]
            cosine = _cosines(vectors, block, rows, mine, threshold)
            nearest = cosine.argmax(axis=1)
            value = cosine[np.arange(len(block)), nearest]
            better = value > best
            best[better], of[better] = value[better], rows[nearest[better]]
        own = _cosines(vectors, block, block, mine, threshold)
        stays: list[int] = []
        for place in range(len(block)):
            if stays:
                nearest_own = stays[int(own[place, stays].argmax())]
                if own[place, nearest_own] > best[place]:
                    best[place], of[place] = own[place, nearest_own], block[nearest_own]
            if best[place] >= threshold:
                yield int(block[place]), int(of[place]), float(best[place])
            else:
                stays.append(place)
        kept = np.concatenate((kept, block[stays]))


def _cosines(
    vectors: Vectors, a: NDArray[np.int64], b: NDArray[np.int64], left: NDArray[np.float32], threshold: float
) -> NDArray[np.float64]:
    """[len(a), len(b)] of unit vectors. Which are at the threshold does not hang on how a matrix product was cut."""
    cosine: NDArray[np.float64] = (left @ vectors[b].astype(np.float32).T).astype(np.float64)
    x, y = np.nonzero(np.abs(cosine - threshold) < _CLOSE)
    for i in range(0, len(x), _BLOCK):
        some = slice(i, i + _BLOCK)
        first, second = vectors[a[x[some]]].astype(np.float64), vectors[b[y[some]]].astype(np.float64)
        lengths = np.sqrt((first**2).sum(axis=1) * (second**2).sum(axis=1))
        cosine[x[some], y[some]] = (first * second).sum(axis=1) / np.maximum(lengths, 1e-12)
    return cosine
