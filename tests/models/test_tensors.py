from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import tiny_model_folder

from belle.errors import BelleError
from belle.models.load import load_model
from belle.models.tensors import Tensors, empty, empty_model, fill, settle_tied
from belle.sections import ModelSection

CPU = torch.device("cpu")


@pytest.mark.parametrize("tied", [True, False])
def test_an_empty_model_filled_is_the_model(tmp_path: Path, tied: bool) -> None:
    folder = tiny_model_folder(tmp_path / "m", tied=tied)
    model = empty_model(folder, torch.float32)
    assert all(parameter.is_meta for parameter in model.parameters())
    assert not any(buffer.is_meta for buffer in model.buffers()), "rotary frequencies are computed, not read"
    lacking = fill(model, "", Tensors(folder), torch.float32, CPU)
    settle_tied(model, lacking)
    ids = torch.tensor([[5, 6, 7, 8]])
    with torch.no_grad():
        assert torch.equal(model(ids).logits, load_model(ModelSection(path=str(folder)), torch.float32)(ids).logits)


def test_a_part_is_filled_and_emptied(tmp_path: Path) -> None:
    folder = tiny_model_folder(tmp_path / "m")
    model, tensors = empty_model(folder, torch.bfloat16), Tensors(folder)
    block = model.model.layers[1]
    assert fill(block, "model.layers.1.", tensors, torch.bfloat16, CPU) == []
    stored = load_file(folder / "model.safetensors")["model.layers.1.mlp.up_proj.weight"]
    assert torch.equal(block.mlp.up_proj.weight, stored.to(torch.bfloat16))
    assert model.model.layers[0].mlp.up_proj.weight.is_meta
    empty(block)
    assert all(parameter.is_meta for parameter in model.parameters())


def test_what_is_missing_or_misshapen_is_named(tmp_path: Path) -> None:
    folder = tiny_model_folder(tmp_path / "m")
    tensors = load_file(folder / "model.safetensors")
    broken = {name: t for name, t in tensors.items() if name != "model.norm.weight"}
    save_file(broken, folder / "model.safetensors")
    model = empty_model(folder, torch.float32)
    lacking = fill(model, "", Tensors(folder), torch.float32, CPU)
    assert "model.norm.weight" in lacking
    with pytest.raises(BelleError, match=r"'model.norm.weight' is missing"):
        settle_tied(model, lacking)
    save_file(tensors | {"model.norm.weight": torch.ones(3)}, folder / "model.safetensors")
    with pytest.raises(BelleError, match=r"model.norm.weight has shape \[3\], not \[32\]"):
        fill(empty_model(folder, torch.float32), "", Tensors(folder), torch.float32, CPU)
