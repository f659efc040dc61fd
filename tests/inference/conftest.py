"""A model of two layers and a template for it, built in a moment."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from belle.data.chat_template import ChatTemplate
from belle.inference.transformers_backend import TransformersBackend


def tiny_llama(vocabulary: int, context: int = 256, seed: int = 1) -> Any:
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=vocabulary, hidden_size=48, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=context, eos_token_id=3, bos_token_id=2, pad_token_id=1,
        initializer_range=0.4,
    )  # fmt: skip
    return LlamaForCausalLM(config).float().eval()


@pytest.fixture(scope="session")
def model(tiny_tokenizer: Any) -> Any:
    return tiny_llama(len(tiny_tokenizer))


@pytest.fixture(scope="session")
def template(tiny_tokenizer: Any) -> ChatTemplate:
    return ChatTemplate.load(tiny_tokenizer, "chatml")


@pytest.fixture
def backend(model: Any, tiny_tokenizer: Any, template: ChatTemplate) -> TransformersBackend:
    return TransformersBackend(model, tiny_tokenizer, template, batch_size=4)
