from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers.generation.logits_process import (
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from belle.inference.sampling import Sampler
from belle.sections import GenerationSection


def sampler(scores: torch.Tensor, prompts: list[list[int]] | None = None, seed: int = 0, **options: Any) -> Sampler:
    rows = len(scores)
    return Sampler(GenerationSection(**options), range(seed, seed + rows), prompts or [[]] * rows, scores.shape[1], scores.device)


def test_temperature_zero_takes_the_likeliest() -> None:
    scores = torch.tensor([[0.0, 3.0, 1.0], [2.0, 0.0, 1.0]])
    assert sampler(scores).choose(scores).tolist() == [1, 0]


def test_repetition_penalty_counts_prompt_and_answer() -> None:
    scores = torch.tensor([[4.0, 3.0, -1.0]])
    penalised = sampler(scores, [[0]], repetition_penalty=2.0)
    # 4/2=2 < 3 -> token 1; then 3/2=1.5 < 2 -> token 0
    assert [penalised.choose(scores).item(), penalised.choose(scores).item()] == [1, 0]


OPTIONS = [
    {"temperature": 1.0}, {"temperature": 0.5}, {"temperature": 1.3, "top_k": 5}, {"temperature": 1.0, "top_p": 0.6},
    {"temperature": 0.8, "top_k": 8, "top_p": 0.7}, {"temperature": 1.0, "repetition_penalty": 1.5, "top_p": 0.8},
    {"temperature": 1.0, "top_p": 0.999},
]  # fmt: skip


@pytest.mark.parametrize("options", OPTIONS)
def test_draws_follow_the_distribution_of_transformers(options: dict[str, Any]) -> None:
    torch.manual_seed(3)
    row, prompt, draws = torch.randn(1, 30) * 2, [1, 4, 9], 8000
    expected = row
    if "repetition_penalty" in options:
        expected = RepetitionPenaltyLogitsProcessor(options["repetition_penalty"])(torch.tensor([prompt]), expected.clone())
    expected = TemperatureLogitsWarper(options["temperature"])(None, expected)
    if "top_k" in options:
        expected = TopKLogitsWarper(options["top_k"])(None, expected)
    if "top_p" in options:
        expected = TopPLogitsWarper(options["top_p"])(None, expected)
    share = expected.softmax(-1)[0]
    scores = row.expand(draws, -1)
    chosen = sampler(scores, [prompt] * draws, **options).choose(scores)
    counts = torch.bincount(chosen, minlength=30)
    assert counts[share == 0].sum() == 0  # nothing that top_k or top_p rules out
    assert torch.allclose(counts / draws, share, atol=0.025)


def test_more_likely_tokens_than_candidates_are_sorted_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("belle.inference.sampling._CANDIDATES", 4)
    scores = torch.zeros(2000, 40)
    chosen = sampler(scores, temperature=1.0, top_p=0.9).choose(scores)
    assert 36 <= len(set(chosen.tolist())) <= 37


def test_a_row_draws_the_same_whoever_is_beside_it() -> None:
    torch.manual_seed(0)
    scores = torch.randn(3, 50)
    both = Sampler(GenerationSection(temperature=1.0), [7, 8, 9], [[]] * 3, 50, scores.device)
    first = [both.choose(scores).tolist() for _ in range(3)]
    both.keep([2])
    then = [both.choose(scores[2:]).item() for _ in range(3)]
    alone = Sampler(GenerationSection(temperature=1.0), [9], [[]], 50, scores.device)
    assert [row[2] for row in first] + then == [alone.choose(scores[2:]).item() for _ in range(6)]
