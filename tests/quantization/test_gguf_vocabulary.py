from __future__ import annotations

import json
from typing import Any

import pytest
from gguf import TokenType
from tiny import CONTROL_TOKENS, build_tokenizer
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from belle.errors import BelleError
from belle.quantization.gguf_vocabulary import PRE_TOKENIZERS, read_vocabulary

SIZE = len(build_tokenizer())


def with_pre_tokenizer(steps: list[Any]) -> PreTrainedTokenizerFast:
    tokenizer = build_tokenizer()
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps)
    return tokenizer


def byte_fallback() -> PreTrainedTokenizerFast:
    """A tokenizer as LLaMA 2's: words begin with ▁, unknown characters are bytes."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    special = ["<unk>", "<s>", "</s>", *(f"<0x{n:02X}>" for n in range(256))]
    tokenizer.train_from_iterator(["你好 世界 hello world the cat sat on the mat"] * 3,
                                  trainers.BpeTrainer(vocab_size=340, special_tokens=special, show_progress=False))  # fmt: skip
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>")
    parts = json.loads(fast.backend_tokenizer.to_str())
    parts["added_tokens"] = [token for token in parts["added_tokens"] if not token["content"].startswith("<0x")]
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(parts)), unk_token="<unk>", bos_token="<s>", eos_token="</s>"
    )


def test_every_row_has_its_token_and_type() -> None:
    tokenizer = build_tokenizer()
    tokenizer.add_tokens([AddedToken("<tool_call>", special=False)])
    found = read_vocabulary(tokenizer, SIZE + 5, [3])
    assert (found.model, found.pre, found.scores) == ("gpt2", "gpt-2", [])
    assert tuple(found.tokens[: len(CONTROL_TOKENS)]) == CONTROL_TOKENS
    assert set(found.types[: len(CONTROL_TOKENS)]) == {TokenType.CONTROL}
    assert (found.tokens[SIZE], found.types[SIZE]) == ("<tool_call>", TokenType.USER_DEFINED)
    assert found.tokens[SIZE + 1 :] == [f"[PAD{n}]" for n in range(SIZE + 1, SIZE + 5)]
    assert set(found.types[SIZE + 1 :]) == {TokenType.UNUSED}
    assert len(found.merges) == SIZE - 256 - len(CONTROL_TOKENS)
    assert found.special == {"bos": 2, "unk": 0, "pad": 1, "eos": 3}


def test_every_end_is_inside() -> None:
    special = read_vocabulary(build_tokenizer(), SIZE, [5, 3, 8]).special
    assert [special[name] for name in ("eos", "eot", "eom")] == [5, 3, 8]
    with pytest.raises(BelleError, match=r"4 end tokens \('<s>', '</s>', '<\|im_start\|>', '<\|im_end\|>'\)"):
        read_vocabulary(build_tokenizer(), SIZE, [2, 3, 4, 5])


def test_the_rule_that_cuts_texts_is_known_by_its_steps() -> None:
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    cases = {
        "smollm": [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)],
        "qwen2": [pre_tokenizers.Split(Regex(PRE_TOKENIZERS["qwen2"][0][1]), "isolated"), byte_level],
        "llama-bpe": [pre_tokenizers.Split(Regex(PRE_TOKENIZERS["llama-bpe"][0][1]), "isolated"), byte_level],
    }
    for name, steps in cases.items():
        assert read_vocabulary(with_pre_tokenizer(steps), SIZE, [3]).pre == name
    for steps in (
        [pre_tokenizers.Whitespace(), byte_level], [pre_tokenizers.Digits(individual_digits=False), byte_level], [byte_level],
        [pre_tokenizers.ByteLevel(add_prefix_space=True)],
    ):  # fmt: skip
        with pytest.raises(BelleError, match="no pre-tokenizer that is known"):
            read_vocabulary(with_pre_tokenizer(steps), SIZE, [3])


def test_byte_fallback_becomes_scores() -> None:
    tokenizer = byte_fallback()
    found = read_vocabulary(tokenizer, len(tokenizer), [2])
    assert (found.model, found.pre, found.merges, found.space_prefix) == ("llama", "default", [], True)
    assert found.types[:3] == [TokenType.UNKNOWN, TokenType.CONTROL, TokenType.CONTROL]
    assert (found.tokens[3], found.types[3], found.types[258]) == ("<0x00>", TokenType.BYTE, TokenType.BYTE)
    merged = [found.scores[n] for n, token in enumerate(found.tokens) if len(token) == 2]
    assert max(merged) == 0.0  # the first merge makes two characters
    assert len({score for score in found.scores if score < 0}) > 20


def test_what_gguf_does_not_know_is_refused() -> None:
    tokenizer = build_tokenizer()
    with pytest.raises(BelleError, match=f"{SIZE} tokens and the embedding 300 rows"):
        read_vocabulary(tokenizer, 300, [3])
    words = Tokenizer(models.WordLevel({"<unk>": 0, "a": 1}, unk_token="<unk>"))
    with pytest.raises(BelleError, match="of type WordLevel, and only BPE"):
        read_vocabulary(PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>"), 2, [1])
