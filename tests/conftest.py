"""What many tests share: a tokenizer built in a moment, without a file or a network."""

from __future__ import annotations

import os

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

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


@pytest.fixture(scope="session")
def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """The tokenizer above; shared by all tests, so copy it (`copy.deepcopy`) before changing it."""
    return build_tokenizer()
