from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import build_tokenizer
from transformers import LlamaConfig, LlamaForCausalLM

from belle.errors import BelleError
from belle.quantization.gguf_file import read_types, write_gguf
from belle.quantization.gguf_small import quantise_gguf, small_types
from belle.quantization.gguf_vocabulary import read_vocabulary

pytest.importorskip("llama_cpp")


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wide")
    tokenizer = build_tokenizer()
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=256, intermediate_size=288, num_hidden_layers=1, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=128,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    return write_gguf(folder, folder / "wide.gguf", "F32", read_vocabulary(tokenizer, len(tokenizer), [3]), "w").path


def test_small_types_are_made_and_what_did_not_fit_is_told(wide: Path, tmp_path: Path) -> None:
    written = quantise_gguf(wide, tmp_path / "m.gguf", "Q4_K_M")
    assert written.size == (tmp_path / "m.gguf").stat().st_size < wide.stat().st_size / 4
    types = dict(read_types(tmp_path / "m.gguf"))
    assert types["blk.0.attn_q.weight"] == "Q4_K"
    assert sum(written.types.values()) == len(types)
    assert [line.split(":")[0] for line in written.kept_wide] == ["blk.0.ffn_down.weight"]
    assert "its rows of 288 are no multiple of 256, stored as " in written.kept_wide[0]


def test_important_columns_are_kept_better(wide: Path, tmp_path: Path) -> None:
    import gguf

    def errors(path: Path) -> np.ndarray:
        name = "blk.0.attn_k.weight"
        found = [next(t for t in gguf.GGUFReader(file).tensors if t.name == name) for file in (path, wide)]
        values = [gguf.quants.dequantize(tensor.data, tensor.tensor_type) for tensor in found]
        return np.asarray(((values[0] - values[1]) ** 2).mean(0))

    matters = np.full(256, 1e-3, np.float32)
    matters[::8] = 1.0
    importance = {name: matters for name, _ in read_types(wide) if "attn" in name or "up" in name or "gate" in name}
    plain = errors(quantise_gguf(wide, tmp_path / "plain.gguf", "Q3_K_S").path)
    weighted = errors(quantise_gguf(wide, tmp_path / "weighted.gguf", "Q3_K_S", importance).path)
    assert weighted[::8].mean() < 0.8 * plain[::8].mean()


def test_types_that_cannot_be_made_are_refused(wide: Path, tmp_path: Path) -> None:
    with pytest.raises(BelleError, match=r"no GGUF type 'Q4_K_X'. Did you mean 'Q4_K_"):
        quantise_gguf(wide, tmp_path / "m.gguf", "Q4_K_X")
    with pytest.raises(BelleError, match="IQ2_XXS keeps so few bits"):
        quantise_gguf(wide, tmp_path / "m.gguf", "IQ2_XXS")
    (tmp_path / "broken.gguf").write_bytes(wide.read_bytes()[:5000])
    with pytest.raises(BelleError, match="does not make Q4_0"):
        quantise_gguf(tmp_path / "broken.gguf", tmp_path / "m.gguf", "Q4_0")
    assert not list(tmp_path.glob("m.gguf*"))
    assert {"Q4_K_M", "Q6_K", "Q2_K", "IQ4_XS"} <= small_types().keys()
