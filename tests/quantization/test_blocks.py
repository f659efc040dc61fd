"""The walk sees what the whole model sees, whatever the shape of the model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import tiny_model_folder
from transformers import (
    AutoModelForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from belle.errors import BelleError
from belle.quantization.blocks import Stage, Walk, find_blocks

CPU = torch.device("cpu")
SAMPLES = torch.arange(5, 5 + 3 * 12).view(3, 12)
SMALL: dict[str, Any] = {
    "vocab_size": 64, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4,
    "max_position_embeddings": 64,
}  # fmt: skip


def walk_over(folder: Path, dtype: torch.dtype = torch.float32) -> Walk:
    return Walk(folder, SAMPLES, dtype, CPU)


def saved(kind: str, folder: Path) -> Path:
    torch.manual_seed(0)
    if kind == "qwen3":
        model: Any = Qwen3ForCausalLM(Qwen3Config(**SMALL, num_key_value_heads=2, head_dim=8))
    elif kind == "gemma3":  # blocks with and without a sliding window: other masks and positions for each
        kinds = ["sliding_attention", "full_attention", "sliding_attention"]
        model = Gemma3ForCausalLM(
            Gemma3TextConfig(**SMALL, num_key_value_heads=2, head_dim=8, sliding_window=4, layer_types=kinds)
        )
    else:
        model = GPTNeoXForCausalLM(GPTNeoXConfig(**SMALL))
    model.float().save_pretrained(folder)
    return folder


@pytest.mark.parametrize("kind", ["llama", "qwen3", "gemma3", "gpt_neox"])
def test_carried_samples_are_the_hidden_states_of_the_whole_model(tmp_path: Path, kind: str) -> None:
    folder = tiny_model_folder(tmp_path / "m") if kind == "llama" else saved(kind, tmp_path / "m")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    states: list[torch.Tensor] = []
    names, blocks = find_blocks(model)
    for block in blocks:
        block.register_forward_hook(lambda module, args, out: states.append(out[0] if isinstance(out, tuple) else out))
    with torch.no_grad():
        model(SAMPLES[1:2], use_cache=False)
    walk = walk_over(folder)
    walk.start()
    assert walk.names == names
    for number, wanted in enumerate(states):
        walk.load(number)
        torch.testing.assert_close(walk.output(number, 1), wanted, rtol=1e-5, atol=1e-5)
        walk.carry(number)
        walk.unload(number)
        assert all(parameter.is_meta for parameter in walk.model.parameters()), "nothing but the block is ever in memory"


def test_stages_are_the_linears_with_one_input_in_their_order(tmp_path: Path) -> None:
    walk = walk_over(tiny_model_folder(tmp_path / "m"))
    walk.start()
    walk.load(0)
    assert walk.stages(0) == [
        Stage(("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"), "input_layernorm"),
        Stage(("self_attn.o_proj",)), Stage(("mlp.gate_proj", "mlp.up_proj"), "post_attention_layernorm"),
        Stage(("mlp.down_proj",)),
    ]  # fmt: skip


def test_collected_hessians_are_those_of_the_whole_model(tmp_path: Path) -> None:
    folder = tiny_model_folder(tmp_path / "m")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    seen: dict[str, list[torch.Tensor]] = {}
    for name in ("self_attn.q_proj", "self_attn.o_proj", "mlp.up_proj", "mlp.down_proj"):
        rows = seen.setdefault(name, [])
        linear = model.model.layers[1].get_submodule(name)
        linear.register_forward_hook(lambda module, args, out, rows=rows: rows.append(args[0].reshape(-1, args[0].shape[-1])))
    with torch.no_grad():
        model(SAMPLES, use_cache=False)
    walk = walk_over(folder)
    walk.start()
    walk.load(0)
    walk.carry(0)
    walk.load(1)
    stages = walk.stages(1)
    together = walk.collect(1, stages)
    for stage, hessian in zip(stages, together, strict=True):
        rows = next(torch.cat(seen[name]) for name in stage.linears if name in seen)
        torch.testing.assert_close(hessian.mean, rows.t() @ rows / len(rows), rtol=1e-4, atol=1e-5)
        alone = walk.collect(1, [stage])[0]
        torch.testing.assert_close(alone.mean, hessian.mean)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in walk.model.modules())


def test_restart_puts_the_samples_before_the_first_block(tmp_path: Path) -> None:
    walk = walk_over(tiny_model_folder(tmp_path / "m"))
    walk.start()
    walk.load(0)
    first = walk.output(0)
    walk.carry(0)
    walk.restart()
    assert torch.equal(walk.output(0), first)


def test_a_model_without_blocks_is_refused(tmp_path: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_model_folder(tmp_path / "m"))
    model.config.num_hidden_layers = 7
    with pytest.raises(BelleError, match="has no list of 7 blocks"):
        find_blocks(model)
