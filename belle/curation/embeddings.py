"""Texts as vectors, by a model in this process or an endpoint; and which of them mean the same."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from belle.errors import BelleError, need

if TYPE_CHECKING:
    import httpx

Vectors = NDArray[np.float16]
_BLOCK = 1024
_CLOSE = 1e-4
"""Similarities nearer to the threshold than this are computed once more, exactly."""


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
    """Vectors from an endpoint that speaks OpenAI's protocol (`POST base_url/embeddings`).

    Args:
        base_url: such as http://127.0.0.1:8000/v1.
        model: the endpoint's name of the model.
        key: sent as a bearer token where there is one; it is never part of a message.
        transport: for tests.
    """

    def __init__(
        self, base_url: str, model: str, key: str | None = None, *, batch: int = 64, timeout: float = 120.0, retries: int = 6,
        first_wait: float = 1.0, transport: httpx.BaseTransport | None = None,
    ) -> None:  # fmt: skip
        self.base_url, self.model, self.batch, self.retries, self.first_wait = base_url, model, batch, retries, first_wait
        self._key, self._timeout, self._transport = key, timeout, transport

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """[n, width] of unit length; of no texts, a width is asked for with a word.

        Raises:
            BelleError: the endpoint refuses, stays silent after all tries, or answers with something else.
        """
        rows = [self._ask(texts[i : i + self.batch]) for i in range(0, len(texts), self.batch)]
        return unit(np.concatenate(rows)) if rows else self._ask(["text"])[:0]

    def _ask(self, texts: Sequence[str]) -> NDArray[np.float32]:
        answer = self._post({"model": self.model, "input": list(texts), "encoding_format": "float"})
        try:
            data = sorted(answer["data"], key=lambda row: row["index"])
            rows = np.array([row["embedding"] for row in data], dtype=np.float32)
            right = rows.ndim == 2 and [row["index"] for row in data] == list(range(len(texts))) and np.isfinite(rows).all()
        except (KeyError, TypeError, ValueError):
            right = False
        if not right:
            raise BelleError(f"{self.base_url}: {self.model!r} did not answer with a vector for each text", "check its name")
        return rows

    def _post(self, body: dict[str, Any]) -> Any:
        try:
            import httpx
        except ImportError:
            raise need("httpx", "api", "an endpoint") from None
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        problem = ""
        with httpx.Client(timeout=self._timeout, transport=self._transport, headers=headers) as client:
            for attempt in range(self.retries + 1):
                if attempt:
                    time.sleep(min(60.0, self.first_wait * 2 ** (attempt - 1)))
                try:
                    response = client.post(f"{self.base_url.rstrip('/')}/embeddings", json=body)
                    if response.status_code == 200:
                        return response.json()
                except (httpx.TransportError, ValueError) as error:
                    problem = f"{type(error).__name__}: {error}"
                    continue
                problem = f"{response.status_code}: {response.text[:200]}"
                if response.status_code not in (408, 409, 429) and response.status_code < 500:
                    break
        raise BelleError(f"{self.base_url}/embeddings: {problem}", "check base_url, model and key_variable")


def unit(vectors: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """The vectors at length 1; a vector of zeros stays one."""
    vectors = vectors.astype(np.float32)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)


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
    cosine = (left @ vectors[b].astype(np.float32).T).astype(np.float64)
    x, y = np.nonzero(np.abs(cosine - threshold) < _CLOSE)
    for i in range(0, len(x), _BLOCK):
        some = slice(i, i + _BLOCK)
        first, second = vectors[a[x[some]]].astype(np.float64), vectors[b[y[some]]].astype(np.float64)
        lengths = np.sqrt((first**2).sum(axis=1) * (second**2).sum(axis=1))
        cosine[x[some], y[some]] = (first * second).sum(axis=1) / np.maximum(lengths, 1e-12)
    return cosine
