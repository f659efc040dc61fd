from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from planted import sharded
from safetensors.torch import load_file, save_file
from sound_model import change_json, change_weights
from tiny import tiny_model_folder

from belle.errors import Finding
from belle.models.packed_layout import Codes, pack_layer
from belle.release.check_files import files, shapes, tensors, tied, types
from belle.release.subject import Subject
from belle.sections import ModelSection


def opened(path: Path) -> Subject:
    return Subject.open(ModelSection(path=str(path)))


def only(found: list[Finding]) -> tuple[str, str]:
    (finding,) = found
    return finding.level, finding.found


@pytest.mark.parametrize(("name", "fill", "fault"), [
    ("model.norm.weight", 1.0, ""),  # a fresh norm
    ("model.norm.weight", 0.5, "is 0.5 everywhere"),
    ("model.norm.weight", 0.0, "is 0 everywhere"),
    ("model.layers.0.mlp.down_proj.weight", 1.0, "is 1 everywhere"),
])  # fmt: skip
def test_a_constant_tensor_is_a_fault_unless_it_is_fresh(name: str, fill: float, fault: str, sound: Path) -> None:
    path = sound / "base/model.safetensors"
    change_weights(path, lambda t: t.update({name: torch.full_like(t[name], fill)}))
    found = list(tensors(opened(sound / "base")))
    wanted = ("error", f"{name} {fault}") if fault else ("ok", "all values are finite, no tensor is empty or constant")
    assert only(found) == wanted


def test_bad_values_are_counted_and_placed(sound: Path) -> None:
    name = "model.layers.0.mlp.down_proj.weight"

    def poison(t: dict[str, torch.Tensor]) -> None:
        t[name][2, 5] = float("inf")
        t[name][3, 1] = float("nan")

    change_weights(sound / "base/model.safetensors", poison)
    assert only(list(tensors(opened(sound / "base")))) == (
        "error", f"{name} has 2 values that are not finite, the first is inf at [2, 5]",
    )  # fmt: skip


def test_bfloat16_is_read_as_it_is(tmp_path: Path) -> None:
    folder = tiny_model_folder(tmp_path / "m", dtype=torch.bfloat16)
    assert only(list(tensors(opened(folder))))[0] == "ok"
    assert only(list(types(opened(folder))))[1].endswith("BF16")
    change_weights(folder / "model.safetensors", lambda t: t["model.norm.weight"].fill_(float("nan")))
    assert only(list(tensors(opened(folder))))[0] == "error"


def test_shards_with_an_index_are_one_model(sound: Path) -> None:
    sharded(sound)
    assert only(list(files(opened(sound / "merged")))) == ("ok", "21 tensors in 2 files, 0.4 MB")
    assert only(list(shapes(opened(sound / "merged")))) == ("ok", "21 tensors as config.json describes them")


def test_what_is_not_looked_at_is_named(sound: Path) -> None:
    (sound / "merged/pytorch_model.bin").write_bytes(b"x")
    (sound / "merged/a.gguf").write_bytes(b"x")
    found = list(files(opened(sound / "merged")))
    assert [finding.level for finding in found] == ["warning", "warning", "ok"]
    assert "pytorch_model.bin" in found[0].found
    assert "a.gguf" in found[1].found


def test_every_wrong_tensor_is_named(sound: Path) -> None:
    def spoil(t: dict[str, torch.Tensor]) -> None:
        del t["model.layers.1.mlp.up_proj.weight"]
        t["model.layers.2.mlp.up_proj.weight"] = torch.ones(2, 2)
        t["model.layers.0.mlp.up_proj.weight"] = torch.ones(96, 32)
        t["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(8)  # old programs stored it; everyone recomputes it

    change_weights(sound / "merged/model.safetensors", spoil)
    assert [finding.found for finding in shapes(opened(sound / "merged"))] == [
        "model.layers.1.mlp.up_proj.weight is missing",
        "model.layers.2.mlp.up_proj.weight belongs to no layer of the model",
        "model.layers.0.mlp.up_proj.weight has shape [96, 32], the config wants [96, 64]",
    ]


def test_an_untied_model_needs_its_head_and_a_tied_one_does_not(tmp_path: Path) -> None:
    tied_one = tiny_model_folder(tmp_path / "tied")
    assert "lm_head.weight" not in load_file(tied_one / "model.safetensors")
    assert only(list(shapes(opened(tied_one))))[0] == "ok"
    assert only(list(tied(opened(tied_one)))) == ("ok", "head and embedding are one")
    change_weights(tied_one / "model.safetensors", lambda t: t.update({"lm_head.weight": t["model.embed_tokens.weight"].clone()}))
    assert only(list(tied(opened(tied_one)))) == ("ok", "head and embedding are one")
    change_json(tied_one / "config.json", tie_word_embeddings=False)
    change_weights(tied_one / "model.safetensors", lambda t: t.pop("lm_head.weight"))
    assert only(list(shapes(opened(tied_one)))) == ("error", "lm_head.weight is missing")


def test_a_packed_layer_has_the_shapes_of_its_bits(tmp_path: Path) -> None:
    folder = tiny_model_folder(tmp_path / "m")
    name = "model.layers.0.mlp.up_proj"
    codes = torch.randint(1, 15, (32, 48), dtype=torch.uint8)
    layer = Codes(codes, torch.full((2, 48), 8, dtype=torch.uint8), torch.rand(2, 48).half() + 1, (torch.arange(32) // 16).int())
    packed = pack_layer(layer, 4)

    def pack(t: dict[str, torch.Tensor]) -> None:
        del t[f"{name}.weight"]
        t.update({f"{name}.{part}": tensor for part, tensor in packed.items()})

    change_weights(folder / "model.safetensors", pack)
    change_json(folder / "config.json", quantization_config={"quant_method": "gptq", "bits": 4, "group_size": 16})
    assert only(list(shapes(opened(folder))))[0] == "ok"
    assert only(list(tensors(opened(folder))))[0] == "ok"
    assert only(list(types(opened(folder))))[0] == "ok"
    change_json(folder / "config.json", quantization_config={"quant_method": "gptq", "bits": 8, "group_size": 16})
    assert [finding.level for finding in shapes(opened(folder))] == ["error", "error"], "codes and zeros of other bits"
    change_weights(folder / "model.safetensors", lambda t: t[f"{name}.scales"].fill_(float("nan")))
    assert only(list(tensors(opened(folder))))[0] == "error"


def test_several_types_are_a_doubt(sound: Path) -> None:
    change_weights(sound / "merged/model.safetensors", lambda t: t.update({"model.norm.weight": t["model.norm.weight"].half()}))
    assert only(list(types(opened(sound / "merged")))) == ("warning", "tensors are of several types: 20 F32, 1 F16")


def test_tensors_that_transformers_renames_are_not_compared(sound: Path) -> None:
    change_json(sound / "merged/config.json", model_type="mixtral")
    assert only(list(shapes(opened(sound / "merged"))))[0] == "warning"


def test_a_config_without_a_type_is_a_fault_of_the_files(sound: Path) -> None:
    path = sound / "merged/config.json"
    path.write_text(json.dumps({k: v for k, v in json.loads(path.read_text()).items() if k != "model_type"}))
    assert [finding.level for finding in files(opened(sound / "merged"))] == ["error", "ok"]


def test_an_adapter_is_matrices_of_one_rank(sound: Path) -> None:
    assert only(list(shapes(opened(sound / "sft")))) == ("ok", "28 matrices of rank 2")
    path = sound / "sft/adapter/adapter_model.safetensors"
    save_file({"x": torch.ones(2, 2)}, path)
    assert only(list(shapes(opened(sound / "sft")))) == ("ok", "no matrix of low rank")
