"""Why a decrypted file has the wrong hash: a wrong key or a truncated file, read from what kind of file it should be.

XOR with a wrong key turns the beginning of a file into noise, and a truncated file keeps its beginning and lacks its end. What
a file's own structure does not tell is not claimed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from enum import Enum

Read = Callable[[int, int], bytes]
"""`read(start, length)`: a part of the plain text that the key at hand gives; never asked beyond the file's size."""


class Seen(Enum):
    """What the structure of a plain text says."""

    NOISE = "noise"
    SHORT = "short"
    WHOLE = "whole"
    UNKNOWN = "unknown"


AGAIN = "download that file again; compare its size with the published one"
KEY = "name the file of the base that the diff was made with (for LLaMA 7B its consolidated.00.pth)"
BEGINNINGS = {
    (".pth", ".bin", ".pt", ".ckpt", ".zip", ".npz"): b"PK\x03\x04",
    (".gguf",): b"GGUF",
    (".gz",): b"\x1f\x8b",
    (".parquet",): b"PAR1",
}


def why_it_differs(name: str, size: int, read: Read, key_is_right: bool = False) -> tuple[str, str]:
    """(what is wrong, what to do) for a plain text of `size` bytes whose hash is not the one in its header."""
    seen, detail = look(name, size, read)
    if key_is_right:
        more = f" ({detail})" if detail else ""
        return f"the key is the right one (its own hash fits), so the file is damaged{more}", AGAIN
    if seen is Seen.NOISE:
        return f"the key is wrong: {detail}", KEY
    if seen is Seen.SHORT:
        return f"the file is truncated: {detail}; the key fits its beginning", AGAIN
    if seen is Seen.WHOLE:
        return f"{detail}, so the key fits there; bytes further on are damaged, in the file or in the key", AGAIN
    return f"the key is wrong or the file is damaged; nothing in {size} bytes of this kind tells which", KEY


def look(name: str, size: int, read: Read) -> tuple[Seen, str]:
    """What the plain text at hand looks like for a file of this name, and the words for it."""
    if not size:
        return Seen.SHORT, "nothing stands behind its hash"
    start = read(0, min(size, 1 << 16))
    suffix = "." + name.lower().rpartition(".")[2]
    if suffix == ".safetensors":
        return _safetensors(start, size)
    if suffix in (".json", ".jsonl"):
        return _json(name, start, size, read)
    if suffix in (".txt", ".md", ".py", ".jinja", ".yaml", ".yml", ".csv"):
        good = _is_text(start)
        return (Seen.UNKNOWN, "") if good else (Seen.NOISE, "the result is no text")
    for suffixes, magic in BEGINNINGS.items():
        if suffix in suffixes:
            if start[: len(magic)] == magic[: len(start)]:
                return _zip_end(size, read) if magic.startswith(b"PK") else (Seen.WHOLE, f"it begins as a {suffix} file")
            # torch once wrote these as bare pickles, which begin with 0x80 and a protocol number
            if magic.startswith(b"PK") and re.match(rb"\x80[\x02-\x05]", start):
                return Seen.WHOLE, "it begins as an old torch file"
            return Seen.NOISE, f"the result does not begin as a {suffix} file"
    return Seen.UNKNOWN, ""


def _safetensors(start: bytes, size: int) -> tuple[Seen, str]:
    if size < 8:
        return Seen.UNKNOWN, ""
    length = int.from_bytes(start[:8], "little")
    if length > 100_000_000 or start[8:9] != b"{":
        return Seen.NOISE, "the result does not begin as a safetensors file"
    ends = [int(end) for end in re.findall(rb'"data_offsets"\s*:\s*\[\s*\d+\s*,\s*(\d+)', start[: 8 + length])]
    whole = len(start) >= 8 + length  # else the ends at hand are a lower bound only
    needed = 8 + length + max(ends, default=0)
    if size < needed:
        return Seen.SHORT, f"its tensors take {'' if whole else 'at least '}{needed} bytes, {size} are there"
    return Seen.WHOLE, "its beginning is that of a safetensors file" + (" of this size" if whole and size == needed else "")


def _json(name: str, start: bytes, size: int, read: Read) -> tuple[Seen, str]:
    if not _is_text(start) or start.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] not in (b"{", b"[", b'"', b""):
        return Seen.NOISE, "the result is no JSON"
    if name.lower().endswith(".jsonl"):
        return Seen.WHOLE, "it begins as JSON"
    end = read(max(0, size - 64), min(size, 64)).rstrip()
    if end[-1:] not in (b"}", b"]", b'"'):
        return Seen.SHORT, "its JSON breaks off"
    if len(start) == size:
        try:
            json.loads(start)
        except (ValueError, RecursionError):
            return Seen.WHOLE, "it begins and ends as JSON"
    return Seen.WHOLE, "it is JSON from beginning to end"


def _zip_end(size: int, read: Read) -> tuple[Seen, str]:
    """A zip file ends with a record of 22 bytes that says how long a comment (at most 64 KiB) follows it."""
    tail = read(max(0, size - 65557), min(size, 65557))
    end = tail[tail.rfind(b"PK\x05\x06") :] if b"PK\x05\x06" in tail else b""
    if len(end) < 22 or len(end) != 22 + int.from_bytes(end[20:22], "little"):
        return Seen.SHORT, "it begins as a zip file (as torch writes) and lacks the directory at its end"
    return Seen.WHOLE, "it begins and ends as a zip file (as torch writes)"


def _is_text(start: bytes) -> bool:
    """Whether bytes are UTF-8, a character cut at the end aside, without control characters."""
    try:
        text = start.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.end < len(start) or error.reason != "unexpected end of data":
            return False
        text = start[: error.start].decode("utf-8")
    return not re.search(r"[\x00-\x08\x0e-\x1f\x7f]", text)
