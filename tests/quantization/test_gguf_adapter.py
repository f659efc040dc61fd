from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import pytest
import torch
from peft import LoraConfig, get_peft_model
from tiny import build_tokenizer, tiny_llama

from belle.errors import BelleError
from belle.quantization.gguf_adapter import write_gguf_adapter
from belle.quantization.gguf_file import write_gguf
from belle.quantization.gguf_vocabulary import read_vocabulary

IDS = [5, 30, 77, 120, 9, 250]


def adapter(folder: Path, **options: Any) -> Any:
    """A base and an adapter with an effect, in two folders; the pair in memory."""
    size = len(build_tokenizer())
    tiny_llama(size, tied=False).save_pretrained(folder / "base")
    config = LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM", **options)
    pair = get_peft_model(tiny_llama(size, tied=False), config)
    torch.manual_seed(3)
    for name, parameter in pair.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    pair.save_pretrained(folder / "adapter")
    return pair.eval()


def test_matrices_and_their_scale_are_inside(tmp_path: Path) -> None:
    adapter(tmp_path)
    written = write_gguf_adapter(tmp_path / "adapter", tmp_path / "base", tmp_path / "a.gguf", "mine")
    reader = gguf.GGUFReader(tmp_path / "a.gguf")
    assert written.types == {"F32": 2 * 7 * 2} == {"F32": len(reader.tensors)}
    fields = {name: field.contents() for name, field in reader.fields.items()}
    assert (fields["general.type"], fields["adapter.type"], fields["adapter.lora.alpha"]) == ("adapter", "lora", 8.0)
    shapes = {tensor.name: tensor.data.shape for tensor in reader.tensors}
    assert shapes["blk.0.ffn_up.weight.lora_a"] == (4, 32)
    assert shapes["blk.0.ffn_up.weight.lora_b"] == (48, 4)


@pytest.mark.parametrize("rslora", [False, True])
def test_llama_cpp_gives_the_pair_s_logits(tmp_path: Path, rslora: bool) -> None:
    llama_cpp = pytest.importorskip("llama_cpp")
    pair = adapter(tmp_path, use_rslora=rslora)
    tokenizer = build_tokenizer()
    write_gguf(tmp_path / "base", tmp_path / "base.gguf", "F32", read_vocabulary(tokenizer, len(tokenizer), [3]), "base")
    write_gguf_adapter(tmp_path / "adapter", tmp_path / "base", tmp_path / "a.gguf", "mine")
    with torch.no_grad():
        wanted = pair(torch.tensor([IDS])).logits[0]
        with pair.disable_adapter():
            base = pair(torch.tensor([IDS])).logits[0]
    files = {"model_path": str(tmp_path / "base.gguf"), "lora_path": str(tmp_path / "a.gguf")}
    llm = llama_cpp.Llama(**files, n_ctx=32, logits_all=True, verbose=False)
    llm.eval(IDS)
    found = torch.tensor(llm.scores[: len(IDS)])
    llm.close()
    assert float((found - wanted).abs().max()) < 0.02 < 10 * float((base - wanted).abs().max())


def test_what_gguf_has_no_place_for_is_refused(tmp_path: Path) -> None:
    adapter(tmp_path, use_dora=True)
    with pytest.raises(BelleError, match="no plain LoRA"):
        write_gguf_adapter(tmp_path / "adapter", tmp_path / "base", tmp_path / "a.gguf", "mine")
    adapter(tmp_path / "two", modules_to_save=["lm_head"])
    with pytest.raises(BelleError, match=r"lm_head.*is no LoRA matrix"):
        write_gguf_adapter(tmp_path / "two/adapter", tmp_path / "two/base", tmp_path / "a.gguf", "mine")
    assert not (tmp_path / "a.gguf").exists()
