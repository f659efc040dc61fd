"""What many tests share: a tokenizer built in a moment, without a file or a network."""

from __future__ import annotations

import os

import pytest
from tiny import build_tokenizer
from transformers import PreTrainedTokenizerFast

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


@pytest.fixture(scope="session")
def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """The tokenizer above; shared by all tests, so copy it (`copy.deepcopy`) before changing it."""
    return build_tokenizer()
