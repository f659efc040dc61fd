"""Checkpoints that others wrote, and broken ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from test_packed_layout import random_layer
from tiny import tiny_model_folder

from belle.errors import BelleError
from belle.models.load import load_model
from belle.models.packed_layout import pack, pack_layer
from belle.models.packed_load import packed_form
from belle.sections import ModelSection

LAYER = "model.layers.0.self_attn.q_proj"


def checkpoint(folder: Path, said: dict[str, Any], changes: dict[str, torch.Tensor | None] | None = None) -> Path:
    """A tiny model whose first q_proj is packed, with 4 bits in groups of 16."""
    tiny_model_folder(folder)
    tensors: dict[str, torch.Tensor | None] = dict(load_file(folder / "model.safetensors"))
    tensors[f"{LAYER}.weight"] = None
    tensors |= {f"{LAYER}.{part}": tensor for part, tensor in pack_layer(random_layer(32, 32, 4, 16), 4).items()}
    tensors |= changes or {}
    save_file({name: t for name, t in tensors.items() if t is not None}, folder / "model.safetensors", {"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    full = {"quant_method": "gptq", "bits": 4, "group_size": 16} | said
    (folder / "config.json").write_text(json.dumps(config | {"quantization_config": full}))
    return folder


def weight(folder: Path) -> torch.Tensor:
    loaded: torch.Tensor = load_model(ModelSection(path=str(folder)), torch.float32).get_submodule(LAYER).weight
    return loaded


def test_both_forms_and_a_missing_group_index_are_read(tmp_path: Path) -> None:
    layer = random_layer(32, 32, 4, 16)
    assert torch.equal(weight(checkpoint(tmp_path / "a", {})), layer.weight())
    second = {f"{LAYER}.qzeros": pack(layer.zeros.t(), 4).t().contiguous()}
    assert torch.equal(weight(checkpoint(tmp_path / "b", {"checkpoint_format": "gptq_v2"}, second)), layer.weight())
    assert torch.equal(weight(checkpoint(tmp_path / "c", {}, {f"{LAYER}.g_idx": None})), layer.weight())


def test_the_bits_of_a_layer_may_be_an_exception(tmp_path: Path) -> None:
    layer = random_layer(32, 32, 8, 16)
    parts: dict[str, torch.Tensor | None] = {f"{LAYER}.{part}": tensor for part, tensor in pack_layer(layer, 8).items()}
    dynamic = {r"-:.*lm_head": {}, r"+:.*[.]q_proj": {"bits": 8}}
    assert torch.equal(weight(checkpoint(tmp_path / "a", {"dynamic": dynamic}, parts)), layer.weight())


def test_an_adapter_goes_onto_a_packed_model(tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model

    folder = checkpoint(tmp_path / "a", {})
    pair = get_peft_model(load_model(ModelSection(path=str(folder)), torch.float32), LoraConfig(r=2, target_modules=["q_proj"]))
    with torch.no_grad():
        pair.base_model.model.model.layers[0].self_attn.q_proj.lora_B["default"].weight.fill_(0.1)
    pair.peft_config["default"].base_model_name_or_path = str(folder)
    pair.save_pretrained(tmp_path / "adapter")
    ids = torch.tensor([[5, 6, 7]])
    with torch.no_grad():
        wanted = pair.eval()(ids).logits
        assert torch.allclose(
            load_model(ModelSection(path=str(tmp_path / "adapter")), torch.float32)(ids).logits, wanted, atol=1e-5
        )


@pytest.mark.parametrize(("said", "changes", "message"), [
    ({"checkpoint_format": "marlin"}, {}, "checkpoint_format 'marlin' is not known"),
    ({"bits": 5}, {}, "5 bits"),
    ({"bits": 8}, {}, "is no layer of 8 bits"),
    ({}, {f"{LAYER}.scales": None}, r"q_proj.scales' is missing"),
    ({}, {"model.norm.weight": None}, "'model.norm.weight' is missing"),
    ({}, {"model.layers.9.q.qweight": torch.zeros(4, 4, dtype=torch.int32)}, "has no such Linear"),
    ({}, {f"{LAYER}.{k}": v for k, v in pack_layer(random_layer(64, 32, 4, 16), 4).items()}, r"is \[32, 64\], not \[32, 32\]"),
])  # fmt: skip
def test_what_is_broken_is_named(tmp_path: Path, said: dict[str, Any], changes: dict[str, Any], message: str) -> None:
    with pytest.raises(BelleError, match=message):
        weight(checkpoint(tmp_path / "a", said, changes))


def test_other_models_are_not_taken_for_packed(tmp_path: Path) -> None:
    folder = tiny_model_folder(tmp_path / "m")
    assert packed_form(folder) is None
    assert packed_form("owner/name") is None
    form = packed_form(checkpoint(tmp_path / "a", {}))
    assert form is not None
    assert (form.bits, form.group_size, form.offset, form.bits_of("x")) == (4, 16, 1, 4)
