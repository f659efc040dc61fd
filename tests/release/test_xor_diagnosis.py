"""What a plain text says about why its hash is wrong, for each kind of file."""

from __future__ import annotations

import io
import json
import zipfile

import numpy as np
import pytest
from safetensors.numpy import save

from belle.release.xor_diagnosis import Seen, look, why_it_differs

TENSORS = save({"w": np.zeros((4, 8), np.float32)})


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("data.pkl", b"x" * 400)
    return file.getvalue()


def seen(name: str, content: bytes) -> Seen:
    def read(start: int, length: int) -> bytes:
        assert start + length <= len(content)
        return content[start : start + length]

    return look(name, len(content), read)[0]


NOISE = bytes(i * 167 % 256 ^ 0x9A for i in range(1, 400))
SAMPLES = [
    ("model.safetensors", TENSORS), ("config.json", json.dumps({"你": 1}, ensure_ascii=False).encode()), ("model.pth", zipped()),
]  # fmt: skip


@pytest.mark.parametrize(("name", "content"), SAMPLES)
def test_noise_short_and_whole(name: str, content: bytes) -> None:
    assert seen(name, content) is Seen.WHOLE
    assert seen(name, content[:-3]) is Seen.SHORT
    assert seen(name, bytes(a ^ b for a, b in zip(content, NOISE * 9, strict=False))) is Seen.NOISE
    assert seen(name, b"") is Seen.SHORT


def test_a_character_cut_at_the_end_is_no_noise() -> None:
    assert seen("config.json", '{"a": "你'.encode()[:-1]) is Seen.SHORT


@pytest.mark.parametrize(("name", "content", "expected"), [
    ("README.md", "你好\n".encode(), Seen.UNKNOWN), ("README.md", NOISE, Seen.NOISE), ("m.gguf", b"GGUF\3\0", Seen.WHOLE),
    ("old.bin", b"\x80\x02\x8a\x0alFc", Seen.WHOLE), ("tokenizer.model", NOISE, Seen.UNKNOWN),
    ("a.jsonl", b'{"a": 1}\n{"b', Seen.WHOLE),
    ("s.safetensors", b"\x01\x02", Seen.UNKNOWN),
])  # fmt: skip
def test_other_kinds(name: str, content: bytes, expected: Seen) -> None:
    assert seen(name, content) is expected


def test_nothing_is_claimed_that_is_not_known() -> None:
    why, _ = why_it_differs("tokenizer.model", len(NOISE), lambda start, length: NOISE[start : start + length])
    assert "the key is wrong or the file is damaged; nothing" in why
    why, _ = why_it_differs("model.safetensors", len(TENSORS) - 9, lambda start, length: TENSORS[:-9][start : start + length])
    assert f"the file is truncated: its tensors take {len(TENSORS)} bytes, {len(TENSORS) - 9} are there" in why
