"""A model of two layers in a folder, as real as a checkpoint can be in a second."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from conftest import build_tokenizer
from transformers import LlamaConfig, LlamaForCausalLM

from belle.jsonl import write_rows


def tiny_llama(vocabulary: int, tied: bool = True, seed: int = 1, padded: int = 0) -> Any:
    """A LlamaForCausalLM with random weights; `padded` rows of the embedding belong to no token."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=vocabulary + padded, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=512, eos_token_id=3, bos_token_id=2, pad_token_id=1,
        tie_word_embeddings=tied, initializer_range=0.2,
    )  # fmt: skip
    return LlamaForCausalLM(config).float().eval()


def tiny_model_folder(folder: Path, template: str | None = "chatml", dtype: torch.dtype = torch.float32, **shape: Any) -> Path:
    """Save a tiny model and its tokenizer to `folder` in the Hugging Face layout, with a chat template of ours or none."""
    from belle.data.chat_template import ChatTemplate

    tokenizer = build_tokenizer()
    if template:
        ChatTemplate.load(tokenizer, template).attach(tokenizer)
    tiny_llama(len(tokenizer), **shape).to(dtype).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def talk_file(path: Path, count: int = 24) -> Path:
    """A file of short conversations of unequal length, in both languages."""
    rows = [
        {"messages": [
            {"role": "user", "content": f"问题 {i}：" + "请说 " * (i % 5)},
            {"role": "assistant", "content": f"answer {i} " + "yes " * (i % 7)},
        ]}
        for i in range(count)
    ]  # fmt: skip
    write_rows(path, rows)
    return path
