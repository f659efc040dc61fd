from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tiny import build_tokenizer, tiny_llama, tiny_model_folder
from transformers import AutoModelForCausalLM, Qwen2Config, Qwen2ForCausalLM

from belle.errors import BelleError
from belle.quantization.gguf_file import interleave, read_types, rope_parameters, write_gguf
from belle.quantization.gguf_vocabulary import Vocabulary, read_vocabulary

IDS = torch.tensor([[5, 30, 77, 120, 9, 250]])


SIZE = len(build_tokenizer())


def vocabulary(rows: int) -> Vocabulary:
    return read_vocabulary(build_tokenizer(), rows, [3])


def logits(folder: Path, **options: Any) -> torch.Tensor:
    with torch.no_grad():
        out: torch.Tensor = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **options)(IDS).logits
    return out


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(tiny_model_folder(tmp_path_factory.mktemp("model") / "tiny"))


@pytest.mark.parametrize(("kind", "close"), [("F32", 1e-5), ("F16", 0.02), ("BF16", 0.1), ("Q8_0", 0.3)])
def test_another_reader_finds_the_same_model(tmp_path: Path, folder: Path, kind: str, close: float) -> None:
    """transformers reads GGUF with code of its own."""
    wanted = logits(folder)
    written = write_gguf(folder, tmp_path / "m.gguf", kind, vocabulary(wanted.shape[-1]), "tiny")
    assert written.size == (tmp_path / "m.gguf").stat().st_size
    found = logits(tmp_path, gguf_file="m.gguf")
    assert float((found - wanted).abs().max()) < close < float(wanted.std()) * 2


@pytest.mark.parametrize("shape", [{"tied": False}, {"padded": 12}, {"tied": False, "padded": 3}])
def test_untied_heads_and_padded_vocabularies(tmp_path: Path, shape: dict[str, Any]) -> None:
    model = tiny_model_folder(tmp_path / "tiny", **shape)
    wanted = logits(model)
    write_gguf(model, tmp_path / "m.gguf", "F32", vocabulary(wanted.shape[-1]), "tiny")
    assert torch.allclose(logits(tmp_path, gguf_file="m.gguf"), wanted, atol=1e-5)
    assert ("output.weight" in dict(read_types(tmp_path / "m.gguf"))) == (shape.get("tied") is False)


def test_qwen_keeps_its_halves_and_biases(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=SIZE, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        max_position_embeddings=128, initializer_range=0.2,
    )  # fmt: skip
    model = Qwen2ForCausalLM(config)
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter)
    model.save_pretrained(tmp_path / "q")
    write_gguf(tmp_path / "q", tmp_path / "m.gguf", "F32", vocabulary(SIZE), "q")
    assert torch.allclose(logits(tmp_path, gguf_file="m.gguf"), logits(tmp_path / "q"), atol=1e-5)


def test_shards_are_one_model(tmp_path: Path, folder: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(folder)
    model.save_pretrained(tmp_path / "s", max_shard_size="20KB")
    assert len(list((tmp_path / "s").glob("*.safetensors"))) > 2
    one = write_gguf(folder, tmp_path / "one.gguf", "F16", vocabulary(SIZE), "tiny").path.read_bytes()
    many = write_gguf(tmp_path / "s", tmp_path / "many.gguf", "F16", vocabulary(SIZE), "tiny").path.read_bytes()
    assert one == many


def test_the_numbers_of_the_model_are_inside(tmp_path: Path, folder: Path) -> None:
    write_gguf(folder, tmp_path / "m.gguf", "F16", vocabulary(SIZE), "my model")
    fields = {name: field.contents() for name, field in gguf.GGUFReader(tmp_path / "m.gguf").fields.items()}
    wanted = {
        "general.architecture": "llama", "general.name": "my model", "general.file_type": 1, "llama.block_count": 2,
        "llama.context_length": 512, "llama.embedding_length": 32, "llama.feed_forward_length": 48, "llama.vocab_size": SIZE,
        "llama.attention.head_count": 4, "llama.attention.head_count_kv": 2, "llama.rope.dimension_count": 8,
        "tokenizer.ggml.eos_token_id": 3, "tokenizer.ggml.bos_token_id": 2, "tokenizer.ggml.add_bos_token": False,
    }  # fmt: skip
    assert {name: fields[name] for name in wanted} == wanted
    assert fields["llama.rope.freq_base"] == 10000.0


def test_what_a_type_cannot_hold_is_kept_wider_and_told(tmp_path: Path) -> None:
    model = tiny_llama(SIZE)
    with torch.no_grad():
        model.model.layers[0].mlp.up_proj.weight[0, 0] = 1e5  # infinite in F16
    model.save_pretrained(tmp_path / "m")
    written = write_gguf(tmp_path / "m", tmp_path / "h.gguf", "F16", vocabulary(SIZE), "m")
    assert written.kept_wide == ("blk.0.ffn_up.weight: holds 1e+05, which is infinite in F16; kept as F32",)
    assert dict(read_types(tmp_path / "h.gguf"))["blk.0.ffn_up.weight"] == "F32"
    written = write_gguf(tmp_path / "m", tmp_path / "q.gguf", "Q8_0", vocabulary(SIZE), "m")
    assert written.kept_wide == tuple(
        f"blk.{n}.ffn_down.weight: its rows of 48 are no multiple of 32, kept as F16" for n in (0, 1)
    )
    assert torch.isfinite(logits(tmp_path, gguf_file="q.gguf")).all()


def test_interleaving_puts_the_halves_of_a_head_side_by_side() -> None:
    rows = np.arange(8).reshape(8, 1)  # two heads of four: halves (0 1 | 2 3) and (4 5 | 6 7)
    assert interleave(rows, 2).flatten().tolist() == [0, 2, 1, 3, 4, 6, 5, 7]


def test_llama_3_scaling_is_that_of_transformers(tmp_path: Path) -> None:
    rope = {"rope_type": "llama3", "rope_theta": 1e4, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 64}  # fmt: skip
    model = tiny_llama(SIZE)
    model.config.rope_parameters = rope
    again = type(model)(model.config)
    again.load_state_dict(model.state_dict())
    again.save_pretrained(tmp_path / "m")
    write_gguf(tmp_path / "m", tmp_path / "m.gguf", "F32", vocabulary(SIZE), "m")
    tensors = {tensor.name: tensor.data for tensor in gguf.GGUFReader(tmp_path / "m.gguf").tensors}
    plain = 1.0 / (1e4 ** (np.arange(0, 8, 2) / 8))
    assert np.allclose(plain / tensors["rope_freqs.weight"], again.model.rotary_emb.inv_freq.numpy(), rtol=1e-6)


def test_rotary_settings_of_every_age_are_read() -> None:
    assert rope_parameters({"rope_theta": 5.0}) == {"rope_theta": 5.0, "rope_type": "default"}
    assert rope_parameters({"rope_scaling": {"type": "linear", "factor": 2.0}, "rope_theta": 3})["rope_type"] == "linear"
    with pytest.raises(BelleError, match="'longrope' is not exported"):
        rope_parameters({"rope_parameters": {"rope_type": "longrope", "rope_theta": 1e4}})


def test_what_cannot_be_exported_is_one_error_and_no_file(tmp_path: Path, folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    other = tmp_path / "other"
    other.mkdir()
    save_file({"model.strange.weight": torch.zeros(2, 2)}, other / "model.safetensors")
    for change, message in [
        ({"architectures": ["MambaForCausalLM"]}, "'MambaForCausalLM' is not exported"),
        ({"quantization_config": {"bits": 4}}, "quantised already"),
        ({}, "'model.strange.weight' has no place"),
    ]:
        (other / "config.json").write_text(json.dumps(config | change))
        with pytest.raises(BelleError, match=message):
            write_gguf(other, tmp_path / "m.gguf", "F16", vocabulary(SIZE), "m")
    assert not list(tmp_path.glob("*.gguf*"))


def test_a_vocabulary_of_another_size_is_refused(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(BelleError, match=f"the embedding has {SIZE} rows and the vocabulary {SIZE + 1}"):
        write_gguf(folder, tmp_path / "m.gguf", "F16", vocabulary(SIZE + 1), "m")
