from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai_server import Reply, Seen, serving
from tiny import tiny_model_folder

from belle.curation import embeddings
from belle.curation.embeddings import EndpointEmbedder, ModelEmbedder, alike, unit
from belle.errors import BelleError
from belle.inference.openai_backend import OpenAIBackend


class Client:
    """Answers with what a test tells it, and remembers what it was asked."""

    def __init__(self, answer: Callable[[Sequence[str]], list[list[float]]]) -> None:
        self.answer, self.asked = answer, []  # type: ignore[var-annotated]

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        self.asked.append(list(texts))
        return self.answer(texts)


def by_length(seen: Seen) -> Reply:
    rows = [{"index": i, "embedding": [len(text), 1.0]} for i, text in enumerate(seen.body["input"])]
    return Reply(body=json.dumps({"data": rows[::-1]}).encode())


def test_an_endpoint_gives_vectors_of_length_one_in_the_order_of_the_texts() -> None:
    texts = ["字" * n for n in range(1, 150)]
    with serving(by_length) as (url, seen):
        vectors = EndpointEmbedder(OpenAIBackend(url, "bge", "secret"), "bge")(texts)
    assert vectors.shape == (149, 2)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1)
    assert np.allclose(vectors[:, 0] / vectors[:, 1], np.arange(1, 150))
    assert {(request.path, request.headers["authorization"]) for request in seen} == {("/v1/embeddings", "Bearer secret")}
    assert sorted(len(request.body["input"]) for request in seen) == [21, 64, 64]


def test_a_busy_endpoint_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    replies = iter([Reply(429, b"{}", {"Retry-After": "0"}), Reply(503, b"{}", {"Retry-After": "0"})])
    with serving(lambda seen: next(replies, None) or by_length(seen)) as (url, seen):
        assert EndpointEmbedder(OpenAIBackend(url, "bge"), "bge")(["字"]).shape == (1, 2)
    assert len(seen) == 3


def test_a_wrong_key_is_one_clear_message() -> None:
    with serving(lambda seen: Reply(401, b'{"error": {"message": "no such key"}}')) as (url, _):
        embed = EndpointEmbedder(OpenAIBackend(url, "bge", "secret"), "bge")
        with pytest.raises(BelleError, match="no such key") as info:
            embed(["字"])
    assert "secret" not in str(info.value)


def test_a_width_is_asked_for_where_there_are_no_texts() -> None:
    client = Client(lambda texts: [[1.0, 2.0, 2.0] for _ in texts])
    assert EndpointEmbedder(client, "bge")([]).shape == (0, 3)
    assert client.asked == [["text"]]


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ([[1.0]], "1 vectors of 1 numbers for 2 texts"), ([[1.0], [1.0, 2.0]], "2 vectors of 1 and 2 numbers"),
        ([[], []], "2 vectors of 0 numbers"), ([], "0 vectors"), ([[1.0], [float("nan")]], "nan or infinity"),
        ([[1e300], [1.0]], "nan or infinity"),
    ],
)  # fmt: skip
def test_what_is_no_vector_for_each_text(rows: list[list[float]], problem: str) -> None:
    embed = EndpointEmbedder(Client(lambda texts: rows), "bge")
    with pytest.raises(BelleError, match=problem):
        embed(["一", "二"])


def test_vectors_of_a_model_depend_on_their_own_text_alone(tmp_path: Path) -> None:
    folder = tiny_model_folder(tmp_path / "tiny")
    texts = ["你好，世界！", "", "The capital of France is Paris.", "好" * 100]
    embed = ModelEmbedder(str(folder), tokens=64)
    together = embed(texts)
    assert together.shape == (4, 32)
    assert together.dtype == np.float32
    assert np.allclose(np.linalg.norm(together[[0, 2, 3]], axis=1), 1)
    for i, text in enumerate(texts):
        assert np.array_equal(embed([text])[0], together[i])
    assert np.array_equal(embed(["好" * 200])[0], embed(["好" * 300])[0]), "the first 64 tokens count"
    assert embed([]).shape == (0, 32)


def test_the_vector_of_a_model_is_the_mean_of_its_last_hidden_states(tmp_path: Path) -> None:
    import torch
    from transformers import AutoModel, AutoTokenizer

    folder = tiny_model_folder(tmp_path / "tiny")
    ids = AutoTokenizer.from_pretrained(folder)("你好，世界！", return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        mean = AutoModel.from_pretrained(folder)(ids).last_hidden_state[0].mean(dim=0).numpy()
    assert np.allclose(ModelEmbedder(str(folder))(["你好，世界！"])[0], mean / np.linalg.norm(mean), atol=0.02)


def test_unit_leaves_zeros_alone() -> None:
    assert unit(np.array([[3.0, 4.0], [0.0, 0.0]])).tolist() == [[np.float32(0.6), np.float32(0.8)], [0.0, 0.0]]


def brute_force(vectors: np.ndarray, order: list[int], threshold: float) -> dict[int, float]:
    wide = vectors.astype(np.float64)
    lengths = np.linalg.norm(wide, axis=1)
    stay: list[int] = []
    gone: dict[int, float] = {}
    for row in order:
        most = max((float(wide[row] @ wide[k] / lengths[row] / lengths[k]) for k in stay), default=-1.0)
        if most >= threshold:
            gone[row] = most
        else:
            stay.append(row)
    return gone


@given(st.integers(0, 2**32), st.integers(1, 60), st.sampled_from([1, 3, 16, 1024]), st.sampled_from([0.3, 0.6, 0.9]))
@settings(max_examples=60, deadline=None)
def test_what_is_alike_is_that_of_brute_force_whatever_the_block(seed: int, count: int, block: int, threshold: float) -> None:
    random = np.random.default_rng(seed)
    vectors = unit(random.normal(size=(count, 4))).astype(np.float16)
    order = random.permutation(count)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embeddings, "_BLOCK", block)
        found: list[Any] = list(alike(vectors, order, threshold))
    expected = brute_force(vectors, order.tolist(), threshold)
    assert {gone: pytest.approx(cosine, abs=2e-3) for gone, _, cosine in found} == expected
    assert not {kept for _, kept, _ in found} & set(expected)


def test_the_same_vector_is_alike_at_a_threshold_of_one() -> None:
    vectors = np.repeat(unit(np.random.default_rng(1).normal(size=(1, 384))).astype(np.float16), 5, axis=0)
    assert [(gone, kept) for gone, kept, _ in alike(vectors, np.array([4, 2, 0, 1, 3]), 1.0)] == [(2, 4), (0, 4), (1, 4), (3, 4)]
    assert list(alike(vectors, np.zeros(0, dtype=np.int64), 1.0)) == []
