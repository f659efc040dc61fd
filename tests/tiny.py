"""A model of two layers in a folder, as real as a checkpoint can be in a second."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from belle.jsonl import write_rows

CONTROL_TOKENS = (
    "<unk>", "<pad>", "<s>", "</s>", "<|im_start|>", "<|im_end|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>",
)  # fmt: skip
TEXT = (
    "The capital of France is Paris. Human: \nWhat is two plus two?\n\nAssistant: \nTwo plus two is four.\n"
    "user assistant system tool You are a helpful assistant. 你好，世界！请把下面的句子翻译成英文。我是你的助手。"
)


def build_tokenizer(vocabulary: int = 420) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer that can say anything, with the control tokens of every shipped template."""
    tokenizer = Tokenizer(models.BPE(unk_token=None))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=[AddedToken(token, special=True) for token in CONTROL_TOKENS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False,
    )  # fmt: skip
    tokenizer.train_from_iterator([TEXT] * 4, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", pad_token="<pad>", bos_token="<s>", eos_token="</s>",
        clean_up_tokenization_spaces=False,
    )  # fmt: skip


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
