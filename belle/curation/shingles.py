"""Texts as sets of hashed shingles, many texts at once: what near-duplicates are measured by.

A text is folded as `texts.fold` does it (NFKC, case, white space, punctuation), but its words stay apart. It then is a row of
tokens: each character of a script without spaces (Han, kana, hangul, Thai, ...) and each symbol is one, each other word is
one. A shingle is `size` tokens on end: characters in Chinese, words in English, and a mixed text has both, and those across.
A text with fewer tokens has one shingle, all of it; a text of punctuation alone has one too; an empty text has none.

A hash has 64 bits; that two different shingles of a million have the same one happens once in 40 million such sets.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from belle.data.letters import HAN, KANA_HANGUL

Hashes = NDArray[np.uint64]
Numbers = NDArray[np.int64]
BATCH = 250_000
"""Characters worked on at once: they and what is made of them stay in the cache of a core."""
_OTHER_SPACELESS = r"\u0e00-\u0eff\u0f40-\u0fbc\u1000-\u109f\u1780-\u17ff"
_TABLE_END = 0x40000  # no letters above but the variation selectors of plane 14
_CHAR, _WORD, _HARD = 1 << 24, 2 << 24, 4 << 24
_CODE = np.uint32((1 << 24) - 1)


class Shingled(NamedTuple):
    """The shingles of n texts: those of text i are `hashes[starts[i]:starts[i + 1]]`, in order of the text, repeats included.

    `digests` [n] is a hash of all tokens in order: texts with the same one have the same shingles.
    """

    hashes: Hashes
    starts: Numbers
    digests: Hashes


def shingle(texts: Sequence[str], size: int) -> Shingled:
    """The shingles of many texts at once, some 20 million characters a second."""
    parts = [_shingle_batch(texts[a:b], size) for a, b in batches(texts)] or [_shingle_batch([], size)]
    if len(parts) == 1:
        return parts[0]
    shifts = np.cumsum([0] + [len(part.hashes) for part in parts[:-1]])
    starts = [part.starts[:-1] + shift for part, shift in zip(parts, shifts, strict=True)]
    starts.append(parts[-1].starts[-1:] + shifts[-1])
    hashes, digests = (np.concatenate(column) for column in ([p.hashes for p in parts], [p.digests for p in parts]))
    return Shingled(hashes, np.concatenate(starts), digests)


def batches(texts: Sequence[str]) -> Iterator[tuple[int, int]]:
    """(from, to) of runs of texts with about `BATCH` characters."""
    begin = length = 0
    for i, text in enumerate(texts, 1):
        length += len(text) + 1
        if length >= BATCH or i == len(texts):
            yield begin, i
            begin, length = i, 0


def shingle_hashes(text: str, size: int) -> Hashes:
    """The set of shingles of one text: hashes [n], sorted, each once.

    Raises:
        ValueError: size is below 1.
    """
    return _set(shingle([text], size).hashes)


def shingle_sets(texts: Sequence[str], size: int) -> list[Hashes]:
    """`shingle_hashes` of each text."""
    shingled = shingle(texts, size)
    return [_set(part) for part in np.split(shingled.hashes, shingled.starts[1:-1])] if texts else []


def _set(hashes: Hashes) -> Hashes:
    """Sorted in place, then each once: on so few, twice as quick as `numpy.unique`."""
    hashes.sort()
    first = np.ones(len(hashes), dtype=bool)
    np.not_equal(hashes[1:], hashes[:-1], out=first[1:])
    once: Hashes = hashes[first]
    return once


def jaccard(a: Hashes, b: Hashes) -> float:
    """|a and b| / |a or b| of two sets from `shingle_hashes`; 0 where one is empty: nothing is like nothing."""
    if not len(a) or not len(b):
        return 0.0
    both = np.concatenate((a, b))
    both.sort()
    shared = int(np.count_nonzero(both[1:] == both[:-1]))
    return shared / (len(both) - shared)


def fold_keys(texts: Sequence[str]) -> list[bytes]:
    """[n] 16 bytes each, the same exactly where `texts.fold` gives the same; b"" for a text that folds to nothing."""
    keys: list[bytes] = []
    for a, b in batches(texts):
        codes, ends = _folded(texts[a:b])
        kept = codes & _CODE
        kept[codes < _CHAR] = 0  # what fold leaves out, and what lies between the texts
        begin = 0
        for text, end in zip(texts[a:b], ends.tolist(), strict=True):
            part = kept[begin:end]
            data = part[part != 0].astype("<u4").tobytes() or _bare(text).encode("utf-32-le", "surrogatepass")
            keys.append(blake2b(data, digest_size=16).digest() if data else b"")
            begin = end
    return keys


def mix(values: Hashes) -> Hashes:
    """A bijection of 64 bits that leaves no pattern (the finaliser of SplitMix64; Steele, Lea and Flood, 2014). In place."""
    values ^= values >> np.uint64(30)
    values *= np.uint64(0xBF58476D1CE4E5B9)
    values ^= values >> np.uint64(27)
    values *= np.uint64(0x94D049BB133111EB)
    values ^= values >> np.uint64(31)
    return values


def _shingle_batch(texts: Sequence[str], size: int) -> Shingled:
    if size < 1:
        raise ValueError(f"a shingle of {size} tokens")
    codes, ends = _folded(texts)
    tokens, counts = _tokens(codes, ends)
    firsts = np.concatenate(([0], np.cumsum(counts)))
    for i in np.flatnonzero(counts == 0).tolist():  # nothing but punctuation, or nothing at all
        if bare := _bare(texts[i]):
            own = int.from_bytes(blake2b(bare.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")
            tokens = np.insert(tokens, firsts[i], np.uint64(own))
            counts[i] = 1
            firsts[i + 1 :] += 1
    places = np.arange(len(tokens)) - np.repeat(firsts[:-1], counts)
    digests = _sums(mix(tokens ^ mix(places.astype(np.uint64) + np.uint64(1))), firsts)
    wide = np.zeros(len(tokens), dtype=np.uint64)
    factors = mix(np.arange(1, size + 1, dtype=np.uint64)) | np.uint64(1)
    for j in range(min(size, len(tokens))):
        wide[: len(tokens) - j] += tokens[j:] * factors[j]
    lengths = np.maximum(counts - size + 1, np.minimum(counts, 1))
    short = np.flatnonzero((counts > 0) & (counts < size))
    for i in short.tolist():
        first, last = int(firsts[i]), int(firsts[i + 1])
        wide[first] = np.sum(tokens[first:last] * factors[: last - first])
    whole = places < np.repeat(lengths, counts)
    return Shingled(wide[whole], np.concatenate(([0], np.cumsum(lengths))), digests)


def _tokens(codes: NDArray[np.uint32], ends: Numbers) -> tuple[Hashes, Numbers]:
    """The hashes of all tokens on end, and how many each text has. A word's depends on its characters and their places."""
    is_word = (codes & _WORD) != 0
    begins = is_word.copy()
    begins[1:] &= ~is_word[:-1]
    begins |= (codes & _CHAR) != 0
    total = np.concatenate(([0], np.cumsum(begins)))
    counts = np.diff(total[ends], prepend=0)
    kept = np.flatnonzero(codes >= _CHAR)
    if not len(kept):
        return np.zeros(0, dtype=np.uint64), counts
    values = (codes[kept] & _CODE).astype(np.uint64)
    starts = np.flatnonzero(begins[kept])
    if len(starts) < len(kept):  # words of several characters
        place = np.arange(len(kept)) - np.repeat(starts, np.diff(starts, append=len(kept)))
        values |= place.astype(np.uint64) << np.uint64(24)
        return mix(np.add.reduceat(mix(values + np.uint64(0x9E3779B97F4A7C15)), starts)), counts
    return mix(mix(values + np.uint64(0x9E3779B97F4A7C15))), counts


def _sums(values: Hashes, firsts: Numbers) -> Hashes:
    """The sum of each stretch `firsts[i]:firsts[i + 1]`, 0 where it is empty."""
    total = np.zeros(len(values) + 1, dtype=np.uint64)
    np.cumsum(values, out=total[1:])
    return mix(total[firsts[1:]] - total[firsts[:-1]])


def _folded(texts: Sequence[str]) -> tuple[NDArray[np.uint32], Numbers]:
    """Folded code points of all texts with their kind in the high bits, a gap of kind 0 after each; and where each ends."""
    table = _table()
    joined = "\0".join(texts) + "\0"
    raw = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    ends = np.cumsum([len(text) + 1 for text in texts], dtype=np.int64)
    codes = table[np.minimum(raw, _TABLE_END)]
    if not (codes & _HARD).any():
        return codes, ends
    # Marks that join, letters that come apart: these texts go the slow way, and the rest stays as it is.
    changed = list(texts)
    for i in np.unique(np.searchsorted(ends, np.flatnonzero(codes & _HARD), side="right")).tolist():
        changed[i] = unicodedata.normalize("NFKC", changed[i]).casefold()
    raw = np.frombuffer(("\0".join(changed) + "\0").encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    codes = table[np.minimum(raw, _TABLE_END)]
    hard = np.flatnonzero(codes & _HARD)
    codes[hard] = [_kind(chr(code)) | code for code in raw[hard].tolist()]
    return codes, np.cumsum([len(text) + 1 for text in changed], dtype=np.int64)


def _bare(text: str) -> str:
    return "".join(unicodedata.normalize("NFKC", text).casefold().split())


@functools.cache
def _table() -> NDArray[np.uint32]:
    """What each code point folds to, with its kind; `_HARD` where that depends on its neighbours or is more than one."""
    hard = {code for a, b in ((0x1160, 0x1200), (0xD7B0, 0xD800)) for code in range(a, b)}  # conjoining jamo
    plain: dict[int, str] = {}
    table = np.zeros(_TABLE_END + 1, dtype=np.uint32)
    for code in range(_TABLE_END):
        char = chr(code)
        category = unicodedata.category(char)
        if category in ("Cn", "Co", "Cs"):
            continue
        plain[code] = unicodedata.normalize("NFKC", char)
        folded = plain[code].casefold()
        if category[0] == "M" or len(folded) != 1:
            hard.add(code)
        else:
            table[code] = _kind(folded) | ord(folded)
        parts = unicodedata.decomposition(char).split()
        if len(parts) == 2 and parts[0][0] != "<":
            hard.add(int(parts[1], 16))
    # Half-width sound marks and single jamo join no neighbour themselves, but what they become does.
    hard |= {code for code, char in plain.items() if len(char) == 1 and ord(char) in hard}
    table[list(hard)] = _HARD
    table[_TABLE_END] = _HARD
    return table


_SPACELESS = re.compile(f"[{HAN}{KANA_HANGUL}{_OTHER_SPACELESS}]")


def _kind(char: str) -> int:
    """`_CHAR` for a character that is a token, `_WORD` for one that is a part of a word, 0 for what is left out."""
    category = unicodedata.category(char)[0]
    if category not in "LNSM":
        return 0
    return _CHAR if category == "S" or _SPACELESS.match(char) else _WORD
