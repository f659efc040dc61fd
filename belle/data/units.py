"""A text as the units by which overlap is measured: a Chinese character, a word or a number each, without width and marks.

Two texts that differ only in punctuation, full and half width, case, white space, or traditional and simplified script have the
same units (the script only where the package `opencc` is installed). Numbers stay whole, signs stay: 1.5 is not 15, 1+1 not 1-1.
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from belle.data.letters import HAN, KANA_HANGUL

Hashes = NDArray[np.uint64]

_SINGLE = HAN + KANA_HANGUL
_TOKEN = re.compile(
    rf"(?P<unit>\d+(?:\.\d+)*|[{_SINGLE}]|[^\W\d_{_SINGLE}]+|[-*/](?=\s?\d)|[=+<>~|$^%×÷±√∑∫≤≥≠≈∞°€£¥])|\n|[^\w\s]|_"
)
_HAS_HAN = re.compile(f"[{HAN}]")
_SENTENCE_END = re.compile(r"[。!?;\n…]+|\.(?!\d)")
_INVISIBLE = dict.fromkeys(n for n in range(0x10000) if unicodedata.category(chr(n)) == "Cf")
_FACTOR = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, slots=True)
class Units:
    """The units of a text, and where a mark or a line end parts them."""

    words: list[str]
    edges: list[bool]
    """[len(words) + 1] whether a mark, a line end, or the text's own begin or end stands before unit i (after the last)."""

    def __len__(self) -> int:
        return len(self.words)


def plain(text: str) -> str:
    """The text in NFKC, lower case, simplified script, without invisible characters; `\\n` written out becomes a line end."""
    text = unicodedata.normalize("NFKC", text.replace("\\n", "\n")).translate(_INVISIBLE).casefold()
    simplify = _simplifier()
    return simplify(text) if simplify and _HAS_HAN.search(text) else text


def units(text: str) -> Units:
    """The units of a text; see the module."""
    words: list[str] = []
    edges: list[bool] = []
    edge = True
    for match in _TOKEN.finditer(plain(text)):
        word = match["unit"]
        if word is None:
            edge = True
        else:
            words.append(word)
            edges.append(edge)
            edge = False
    return Units(words, [*edges, True])


def sentences(text: str) -> list[Units]:
    """The units of each sentence that has any; a sentence ends with 。！？；, a line, or a full stop that is in no number."""
    return [found for part in _SENTENCE_END.split(plain(text)) if (found := units(part)).words]


def gram_hashes(words: Sequence[str], size: int) -> Hashes:
    """[max(0, len(words) - size + 1)] one 64-bit hash for each run of `size` words, the same in every process."""
    if len(words) < size:
        return np.empty(0, np.uint64)
    codes = np.fromiter((ord(w) if len(w) == 1 else zlib.crc32(w.encode()) + 0x110000 for w in words), np.uint64, len(words))
    codes *= _FACTOR
    codes ^= codes >> np.uint64(29)
    count = len(words) - size + 1
    out: Hashes = codes[:count].copy()
    for shift in range(1, size):
        out *= np.uint64(0xBF58476D1CE4E5B9)
        out += codes[shift : shift + count]
    return out


def shingles(words: Sequence[str]) -> Hashes:
    """The distinct runs of three characters in the words written without space, sorted; no hash: three characters fit 63 bits."""
    text = "".join(words)
    codes: Hashes = np.frombuffer(text.encode("utf-32-le"), np.uint32).astype(np.uint64)
    if len(codes) < 3:
        return codes[:0]
    found: Hashes = np.unique(codes[:-2] << np.uint64(42) | codes[1:-1] << np.uint64(21) | codes[2:])
    return found


def reads_traditional() -> bool:
    """Whether traditional and simplified script count as the same here: whether `opencc` is installed."""
    return _simplifier() is not None


@lru_cache(maxsize=1)
def _simplifier() -> Callable[[str], str] | None:
    try:
        from opencc import OpenCC
    except ImportError:
        return None
    convert: Callable[[str], str] = OpenCC("t2s").convert
    return convert
