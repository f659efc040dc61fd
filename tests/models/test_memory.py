"""The estimate against arithmetic by hand, and against what autograd really keeps of a small model."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import GPT2Config, LlamaConfig, LlamaForCausalLM

from belle.models.logits import logits_at
from belle.models.lora import add_lora
from belle.models.memory import (
    OVERHEAD,
    Estimate,
    generation_memory,
    gigabytes,
    lora_parameters,
    merging_memory,
    size_of,
    training_memory,
)
from belle.sections import LoraSection

SMOLLM2 = LlamaConfig(
    vocab_size=49152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9,
    num_key_value_heads=3, head_dim=64, max_position_embeddings=8192, tie_word_embeddings=True,
)  # fmt: skip
TINY = LlamaConfig(
    vocab_size=64, hidden_size=64, intermediate_size=160, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
    head_dim=16, max_position_embeddings=512, tie_word_embeddings=True,
)  # fmt: skip


def test_the_size_of_smollm2() -> None:
    size = size_of(SMOLLM2)
    # 49152*576 + 30*(2*576*576 + 2*576*192 + 3*576*1536 + 2*576) + 576
    assert size.parameters == 134_515_008
    assert (size.layers, size.hidden, size.intermediate, size.vocabulary, size.context) == (30, 576, 1536, 49152, 8192)
    assert (size.query_width, size.key_width, size.heads, len(size.linear)) == (576, 192, 9, 210)


def test_the_adapter_of_smollm2() -> None:
    size = size_of(SMOLLM2)
    # rank 16: 30 * 16 * (2*(576+576) + 2*(576+192) + 3*(576+1536)); what peft prints for the demo
    assert lora_parameters(size, LoraSection(rank=16)) == 4_884_480
    assert lora_parameters(size, LoraSection(rank=8, targets=("q_proj", "v_proj"))) == 30 * 8 * (1152 + 768)


def test_training_smollm2_by_hand() -> None:
    size = size_of(SMOLLM2)
    lora = training_memory(size, LoraSection(rank=16), width=2, tokens=2048, supervised=1000)
    layer = 26 * 576 + 8 * 1536 + 6 * 576 + 4 * 192 + 4 * 9
    assert lora.parts == {
        "weights": 269_030_016, "adapter": 19_537_920, "gradients": 19_537_920, "AdamW": 39_075_840, "casts": 0,
        "activations": 2048 * (30 * layer + 4 * 16 * 210), "logits": 1000 * 49152 * 16, "libraries": OVERHEAD,
    }  # fmt: skip
    full = training_memory(size, None, width=2, tokens=2048, supervised=1000)
    assert full.parts["weights"] == full.parts["gradients"] == 538_060_032
    assert full.parts["AdamW"] == 1_076_120_064
    assert (full.parts["adapter"], full.parts["casts"]) == (0, 269_030_016)


def test_more_tokens_and_wider_numbers_take_more() -> None:
    size = size_of(TINY)
    lora = LoraSection(rank=4)
    assert training_memory(size, lora, 2, 200, 10).total > training_memory(size, lora, 2, 100, 10).total
    assert training_memory(size, lora, 4, 100, 10).total > training_memory(size, lora, 2, 100, 10).total
    assert training_memory(size, None, 2, 100, 10).total > training_memory(size, lora, 2, 100, 10).total


def test_generation_and_merging_by_hand() -> None:
    size = size_of(SMOLLM2)
    parts = generation_memory(size, width=2, tokens=16 * 500, rows=16).parts
    assert parts == {
        "weights": 269_030_016, "cache": 8000 * 2 * 30 * 192 * 2, "logits": 16 * 49152 * 10, "libraries": OVERHEAD,
    }  # fmt: skip
    assert merging_memory(size).parts["weights"] == 1_076_120_064


@pytest.mark.parametrize(("lora", "autocast"), [(True, True), (True, False), (False, True), (False, False)])
def test_activations_are_what_autograd_keeps(lora: bool, autocast: bool) -> None:
    """Every tensor that is saved for backward is counted once, parameters apart."""
    torch.manual_seed(0)
    section = LoraSection(rank=4) if lora else None
    model: Any = LlamaForCausalLM(TINY)
    if section:
        model = add_lora(model.to(torch.bfloat16) if autocast else model, section)
    model.train()
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in own:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    ids = torch.randint(0, 64, (2, 256))
    where = torch.zeros_like(ids, dtype=torch.bool)
    where[:, 0] = True  # the logits of two tokens: next to nothing
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), torch.autocast("cpu", enabled=autocast):
        loss = logits_at(model, where, input_ids=ids).float().sum()
    measured = sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
    estimate = training_memory(size_of(TINY), section, 2 if autocast else 4, ids.numel(), 2)
    assert loss.requires_grad
    casts = 2 * size_of(TINY).parameters if autocast else 0  # autocast's copies are among what is kept
    assert 0.75 * measured < estimate.parts["activations"] + casts < 1.5 * measured


def test_other_architectures_have_a_size_too() -> None:
    size = size_of(GPT2Config(vocab_size=100, n_embd=32, n_layer=2, n_head=4, n_positions=64))
    assert (size.layers, size.hidden, size.intermediate, size.key_width, size.context) == (2, 32, 128, 32, 64)
    assert size.parameters == 100 * 32 + 64 * 32 + 2 * (12 * 32 * 32 + 13 * 32) + 2 * 32


def test_sizes_in_words() -> None:
    assert gigabytes(1_234_000_000) == "1.2 GB"
    assert gigabytes(12_300_000) == "12.3 MB"
    assert str(Estimate({"weights": 2_000_000_000, "casts": 0, "cache": 500_000_000})) == "2.5 GB (weights 2.0 GB, cache 0.5 GB)"
