from __future__ import annotations

import torch
from tiny import tiny_llama

from belle.quantization.importance import column_importance


def test_it_is_the_mean_square_of_what_comes_in() -> None:
    model = tiny_llama(64)
    samples = [[5, 6, 7], [8, 9, 10, 11]]
    seen: list[int] = []
    found = column_importance(model, samples, seen.append)
    assert seen == [1, 1]
    assert len(found) == 2 * 7  # seven Linears in each layer, not the head
    with torch.no_grad():
        first = [model.model.layers[0].input_layernorm(model.model.embed_tokens(torch.tensor(ids))) for ids in samples]
    wanted = torch.cat(first).square().mean(0)
    for name in ("q_proj", "k_proj", "v_proj"):
        assert torch.allclose(torch.from_numpy(found[f"model.layers.0.self_attn.{name}"]), wanted, rtol=1e-5)
    assert found["model.layers.1.mlp.down_proj"].shape == (48,)


def test_nothing_stays_behind_in_the_model() -> None:
    model = tiny_llama(64)
    column_importance(model, [[1, 2]])
    assert not any(module._forward_hooks for module in model.modules())
