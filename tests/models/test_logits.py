from __future__ import annotations

import torch
from tiny import tiny_llama

from belle.models.logits import logits_at
from belle.models.lora import add_lora
from belle.sections import LoraSection


def test_rows_are_those_of_the_full_logits_in_order() -> None:
    model = tiny_llama(50)
    ids = torch.randint(0, 50, (3, 7))
    where = torch.rand(3, 7) < 0.4
    torch.testing.assert_close(logits_at(model, where, input_ids=ids), model(input_ids=ids).logits[where])
    # and nothing of it stays behind
    assert model(input_ids=ids).logits.shape == (3, 7, 50)


def test_through_an_adapter() -> None:
    model = add_lora(tiny_llama(50), LoraSection(rank=2))
    ids = torch.randint(0, 50, (2, 5))
    where = torch.ones(2, 5, dtype=torch.bool)
    torch.testing.assert_close(logits_at(model, where, input_ids=ids), model(input_ids=ids).logits.reshape(10, 50))


def test_no_position_gives_no_row() -> None:
    ids = torch.zeros(1, 4, dtype=torch.int64)
    assert logits_at(tiny_llama(50), torch.zeros(1, 4, dtype=torch.bool), input_ids=ids).shape == (0, 50)
