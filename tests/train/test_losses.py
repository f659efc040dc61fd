from __future__ import annotations

import math

import torch

from belle.train.losses import answer_cross_entropy


def test_uniform_logits_cost_the_log_of_the_vocabulary_each() -> None:
    loss = answer_cross_entropy(torch.zeros(3, 50), torch.tensor([0, 7, 49]))
    assert loss.item() == torch.tensor(3 * math.log(50)).item()


def test_hand_computed_pair() -> None:
    # softmax([0, ln 3]) = [1/4, 3/4]
    logits = torch.tensor([[0.0, math.log(3.0)], [0.0, math.log(3.0)]])
    loss = answer_cross_entropy(logits, torch.tensor([0, 1]))
    torch.testing.assert_close(loss, torch.tensor(-math.log(1 / 4) - math.log(3 / 4)))


def test_half_precision_logits_are_reduced_in_float32() -> None:
    logits = torch.zeros(100_000, 2, dtype=torch.bfloat16)
    loss = answer_cross_entropy(logits, torch.zeros(100_000, dtype=torch.int64))
    assert loss.dtype == torch.float32
    assert math.isclose(loss.item(), 100_000 * math.log(2), rel_tol=1e-4)


def test_no_tokens_give_zero_with_a_zero_gradient() -> None:
    logits = torch.zeros(0, 5, requires_grad=True)
    loss = answer_cross_entropy(logits, torch.zeros(0, dtype=torch.int64))
    loss.backward()
    assert loss.item() == 0.0
    assert logits.grad is not None
