from __future__ import annotations

import math

import pytest
import torch
from tiny import tiny_llama

from belle.models.rows import add_rows

IDS = torch.randint(0, 60, (4, 24), generator=torch.Generator().manual_seed(3))


def loss(model: object) -> float:
    """Nats a token of old text."""
    with torch.no_grad():
        return float(model(input_ids=IDS, labels=IDS).loss)  # type: ignore[operator]


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("padded", [0, 7])
def test_old_text_costs_no_more_than_the_wider_choice(tied: bool, padded: int) -> None:
    model = tiny_llama(64, tied=tied, padded=padded)
    if padded:  # rows of no token that speak loudly: they are made quiet as well
        with torch.no_grad():
            model.get_output_embeddings().weight[64:] *= 0
    before, old = loss(model), model.get_input_embeddings().weight.detach().clone()
    rows = add_rows(model, {64 + n: (n, n + 1) for n in range(40)}, 64, "mean", multiple=8)
    assert rows == 104
    assert model.config.vocab_size == 104
    assert (model.get_output_embeddings().weight is model.get_input_embeddings().weight) == tied
    assert torch.equal(model.get_input_embeddings().weight[:64], old[:64])
    assert before - 0.2 * bool(padded) - 1e-5 <= loss(model) <= before + math.log(104 / 64) + 1e-5


def test_a_row_is_the_mean_of_its_pieces() -> None:
    model = tiny_llama(64, tied=False)
    old, head = (table.weight.detach().clone() for table in (model.get_input_embeddings(), model.get_output_embeddings()))
    assert add_rows(model, {64: (3, 5, 5), 65: (7,)}, 64, "pieces", multiple=64) == 128
    assert torch.allclose(model.get_input_embeddings().weight[64], (old[3] + 2 * old[5]) / 3)
    assert torch.allclose(model.get_output_embeddings().weight[65], head[7])
    assert torch.allclose(model.get_input_embeddings().weight[66:], old.mean(0).expand(62, -1))


def test_noise_is_seeded_and_as_wide_as_the_old_rows() -> None:
    tables = []
    for seed in (1, 1, 2):
        model = tiny_llama(64)
        add_rows(model, {64 + n: (n % 64,) for n in range(4000)}, 64, "noise", seed=seed)
        tables.append(model.get_input_embeddings().weight.detach()[64:])
    assert torch.equal(tables[0], tables[1])
    assert not torch.equal(tables[0], tables[2])
    old = tiny_llama(64).get_input_embeddings().weight
    assert torch.allclose(tables[0].std(0), old.std(0), rtol=0.1)
    assert torch.allclose(tables[0].mean(0), old.mean(0), atol=0.02)
