"""Is a GGUF file the model it was made from? llama.cpp loads it; tokens and next tokens are compared with transformers."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from belle.config import shipped
from belle.errors import BelleError
from belle.sections import ModelSection

ODD = (
    "", " ", "  ", "\n", "\r\n\t", " \n \n  x", "　全角　空格　", "ＡＢＣ１２３，。！？", "ｶﾀｶﾅ", "\u00a0nbsp\u00a0", "\ufeffBOM",
    "a\u200bb", "𠮷野家で𩸽を食べる", "龘靐齉爩", "😀👍🏽👨‍👩‍👧‍👦🇨🇳", "é è ü ñ e\u0301",
    "ﷺ مرحبا שלום", "हिन्दी ไทย 한국어", "½ ² ³ № ℃ ①",
    "don't WE'LL it's I'VE", "1234567890 3.14159 1,000,000 2020年12月31日", "def f(x):\n    return x ** 2  # 平方\n\n\tif x:\n",
    "<|im_start|>user\n你好<|im_end|>\n", "</s><s>", "https://example.com/a?b=c&d=%E4%B8%AD", '{"键": [1, null, "值"]}',
    "————……「」『』【】", "\\n \\t \\u4e2d", "x" * 200, "哈" * 100, "\x07",
)  # fmt: skip
"""Texts that tell tokenizers apart."""


def installed() -> bool:
    """Whether llama-cpp-python is there."""
    return importlib.util.find_spec("llama_cpp") is not None


@contextmanager
def opened(path: Path, **options: Any) -> Iterator[Any]:
    """A `llama_cpp.Llama`, closed at the end.

    Raises:
        BelleError: llama.cpp refuses the file.
    """
    import llama_cpp

    try:
        llm = llama_cpp.Llama(str(path), verbose=False, **options)
    except (ValueError, AssertionError) as error:
        raise BelleError(f"llama.cpp does not load {path}: {error}", "the file is not whole: export it again") from error
    try:
        yield llm
    finally:
        llm.close()


def probe_texts(limit: int = 2000) -> list[str]:
    """Odd texts, and the texts of all data that belle ships."""
    texts = list(ODD)
    for path in sorted(shipped("data").glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            texts += _strings(json.loads(line))
    return list(dict.fromkeys(texts))[:limit]


def compare_tokens(path: Path, tokenizer: Any, texts: Sequence[str] | None = None) -> int:
    """How many texts were compared; all of them have the same tokens.

    Raises:
        BelleError: naming the first text that llama.cpp cuts otherwise.
    """
    texts = probe_texts() if texts is None else texts
    with opened(path, vocab_only=True) as llm:
        for text in texts:
            wanted = tokenizer(text, add_special_tokens=False)["input_ids"]
            found = llm.tokenize(text.encode(), add_bos=False, special=True)
            if found != wanted:
                a, b = (tokenizer.convert_ids_to_tokens(ids)[:12] for ids in (wanted, found))
                raise BelleError(
                    f"{path.name}: llama.cpp cuts {text[:40]!r} into other tokens: {b}, the tokenizer has {a}",
                    "this tokenizer has no exact counterpart in llama.cpp: do not release this file",
                )
    return len(texts)


def compare_answers(path: Path, model: ModelSection, prompts: Sequence[Sequence[int]]) -> tuple[int, float]:
    """Put prompts to both: (how many have the same next token, largest difference of a logit)."""
    import torch

    from belle.models.load import load_model
    from belle.models.merge import last_logits

    wanted = last_logits(load_model(model, torch.float32), [list(prompt) for prompt in prompts])
    same, largest = 0, 0.0
    with opened(path, n_ctx=max(map(len, prompts)) + 8, logits_all=True) as llm:
        for prompt, logits in zip(prompts, wanted, strict=True):
            llm.reset()
            llm.eval(list(prompt))
            found = np.array(llm.scores[len(prompt) - 1])
            expected = logits.float().cpu().numpy().reshape(-1)
            same += int(found.argmax() == expected.argmax())
            largest = max(largest, float(np.abs(found[: len(expected)] - expected).max()))
    return same, largest


def _strings(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for each in inner for text in _strings(each)]
