"""Tokenising a text piece by piece so that the pieces put together are what the whole text would give."""

from __future__ import annotations

import json
from typing import Any

from tokenizers import Tokenizer
from tokenizers.pre_tokenizers import ByteLevel
from transformers import PreTrainedTokenizerBase

from belle.data.rendering import BREAK
from belle.errors import BelleError


class Segments:
    """A private copy of a tokenizer's fast backend, without padding and truncation, in two forms.

    SentencePiece-like tokenizers put a space before a text. A piece from the middle of a text must not get one, so such
    pieces go through a second copy without that prefix. For byte-level tokenizers both forms are one object.

    Raises:
        BelleError: the tokenizer has no fast backend; or, from `encode`, no token for a byte of the text.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if not isinstance(backend, Tokenizer):
            raise BelleError(
                f"the tokenizer ({type(tokenizer).__name__}) has no fast form", "use a checkpoint that has a tokenizer.json"
            )
        layout = json.loads(backend.to_str())
        layout["padding"] = layout["truncation"] = None
        self._start = Tokenizer.from_str(json.dumps(layout))
        self._start.encode_special_tokens = False
        self._middle = self._start
        if _drop_prefix(layout, "normalizer") | _drop_prefix(layout, "pre_tokenizer"):
            self._middle = Tokenizer.from_str(json.dumps(layout))
        self._unsayable = _missing_bytes(layout)

    def encode(self, text: str, middle: bool) -> list[int]:
        """Token ids of a segment. `middle`: ordinary text stands right before it. Each BREAK ends a piece and is left out."""
        if self._unsayable and len(raw := text.encode(errors="ignore")) != len(raw.translate(None, self._unsayable)):
            lost = next(c for c in text if set(c.encode(errors="ignore")) & set(self._unsayable))
            raise BelleError(f"this tokenizer has no token for the character {lost!a} (U+{ord(lost):04X}) and would leave it out",
                             "take the character out of the text")  # fmt: skip
        first, *rest = text.split(BREAK)
        ids: list[int] = (self._middle if middle else self._start).encode(first, add_special_tokens=False).ids
        for piece in rest:
            ids += self._middle.encode(piece, add_special_tokens=False).ids
        return ids


def _drop_prefix(layout: dict[str, Any], key: str) -> bool:
    """Take the prefix space out of one part of a tokenizer.json; True when there was one."""
    part = layout[key]
    if part is None:
        return False
    if part["type"] == "Sequence":
        inner = part["normalizers" if key == "normalizer" else "pretokenizers"]
        found = [_drop_prefix({key: item}, key) for item in inner]
        inner[:] = [item for item in inner if item["type"] != "Prepend"]
        return any(found)
    if part["type"] == "Prepend":
        layout[key] = None
        return True
    option, off = {"Metaspace": ("prepend_scheme", "never"), "ByteLevel": ("add_prefix_space", False)}.get(part["type"], ("", 0))
    had: bool = part.get(option, off) != off
    if had:
        part[option] = off
    return had


def _missing_bytes(layout: dict[str, Any]) -> bytes:
    """The bytes of UTF-8 that a byte-level vocabulary lacks: tokenizers drops them without a word (SmolLM2 has 8 such)."""
    if '"ByteLevel"' not in json.dumps([layout["pre_tokenizer"], layout["normalizer"]]):
        return b""
    leads = [0x800, *range(0x1000, 0x10000, 0x1000), 0x10000, 0x40000, 0x80000, 0xC0000, 0x100000]
    sample = "".join(map(chr, [*range(0x800), *leads]))  # has every byte that UTF-8 can have
    [(letters, _)] = ByteLevel(add_prefix_space=False, use_regex=False).pre_tokenize_str(sample)
    vocabulary = layout["model"]["vocab"]
    return bytes({byte for byte, letter in zip(sample.encode(), letters, strict=True) if letter not in vocabulary})
