from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from test_blocks import saved, walk_over
from tiny import tiny_model_folder

from belle.quantization.awq import balance
from belle.quantization.blocks import Walk
from belle.quantization.gptq import output_error, round_to_nearest
from belle.quantization.grids import Grid


def started(folder: Path) -> Walk:
    """Inputs of unequal size, as real models have them: without, there is nothing to balance."""
    tensors = load_file(folder / "model.safetensors")
    for name in ("input_layernorm.weight", "post_attention_layernorm.weight"):
        tensors[f"model.layers.0.{name}"][3::7] *= 9
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    walk = walk_over(folder)
    walk.start()
    walk.load(0)
    return walk


def test_the_block_computes_the_same_and_rounds_better(tmp_path: Path) -> None:
    walk = started(tiny_model_folder(tmp_path / "m"))
    before, stages = walk.output(0), walk.stages(0)
    weights = {name: walk.weight(0, name) for stage in stages for name in stage.linears}
    plain = {name: weight.clone() for name, weight in weights.items()}
    grid = Grid(3, symmetric=False, search=False)

    def errors(of: dict[str, torch.Tensor]) -> list[float]:
        found = zip(stages, walk.collect(0, stages), strict=True)
        return [sum(output_error(of[n], round_to_nearest(of[n], grid, 16), h.mean) for n in stage.linears) for stage, h in found]

    rounded = errors(plain)
    done = balance(walk, 0, stages, weights, grid, 16)
    torch.testing.assert_close(walk.output(0), before, rtol=1e-4, atol=1e-4)
    assert [alpha is None for alpha in done.alphas] == [False, True, False, False], (
        "values are shared by heads: o_proj has no giver"
    )
    assert sorted(done.weights) == ["input_layernorm.weight", "post_attention_layernorm.weight"]
    assert not torch.equal(weights["mlp.up_proj"], plain["mlp.up_proj"])
    better = errors(weights)
    assert better[0] < 0.8 * rounded[0]
    assert better[2] < 0.8 * rounded[2]
    assert better[1] == pytest.approx(rounded[1], rel=0.05), "only v_proj, an earlier stage, could change what comes in"
    assert better[3] <= rounded[3] * 1.01
    for name, weight in weights.items():
        assert torch.allclose(walk.parameter(0, f"{name}.weight"), weight)


def test_gemma_norms_that_add_one_are_left_alone(tmp_path: Path) -> None:
    walk = walk_over(saved("gemma3", tmp_path / "m"))
    walk.start()
    walk.load(0)
    stages = walk.stages(0)
    weights = {name: walk.weight(0, name) for stage in stages for name in stage.linears}
    before = walk.output(0)
    done = balance(walk, 0, stages, weights, Grid(3), 16)
    assert "input_layernorm.weight" not in done.weights
    torch.testing.assert_close(walk.output(0), before, rtol=1e-3, atol=1e-3)
