"""Words of a text, Chinese segmented (rjieba, which carries its dictionary) and others split at their letters; with their kind.

The kinds are the part-of-speech letters of the jieba dictionary: n noun, v verb, a adjective, m number, r pronoun, and so on.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from pathlib import Path

from belle.data.letters import HAN
from belle.jsonl import read_json

LISTS = Path(__file__).with_name("word_lists.json")
_HAN = re.compile(f"[{HAN}]")
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")


@functools.cache
def word_list(name: str) -> frozenset[str]:
    """One of the lists of words in word_lists.json."""
    return frozenset(str(read_json(LISTS)[name]).split())


ENGLISH_FUNCTION_WORDS = word_list("english_function")
"""English words that say nothing about what a text is about."""
CONTENT_KINDS = ("n", "v", "a", "i", "l", "j", "z", "eng")
"""First letters of the kinds of Chinese words that do."""
CHINESE_FUNCTION_WORDS = word_list("chinese_function")


def words(text: str) -> list[str]:
    """The words in order, in lower case, without punctuation and symbols."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    if not _HAN.search(plain):
        return _WORD.findall(plain)
    import rjieba

    return [word for word in rjieba.cut(plain) if _WORD.search(word)]


def tagged(text: str) -> list[tuple[str, str]]:
    """(word, kind) in order, punctuation (kind x or w) among them; in lower case."""
    import rjieba

    return [(word, kind) for word, kind in rjieba.tag(unicodedata.normalize("NFKC", text).casefold()) if word.strip()]


def content_words(text: str) -> list[str]:
    """The words that say what a text is about: no function words, no numbers."""
    if not _HAN.search(text):
        return [word for word in words(text) if word not in ENGLISH_FUNCTION_WORDS and not word.isdigit() and len(word) > 1]
    return [
        word for word, kind in tagged(text)
        if kind.startswith(CONTENT_KINDS) and word not in CHINESE_FUNCTION_WORDS and word not in ENGLISH_FUNCTION_WORDS
        and _WORD.search(word) and not word.isdigit() and (len(word) > 1 or _HAN.search(word))
    ]  # fmt: skip


def has_han(text: str) -> bool:
    """Whether a text has a Chinese character."""
    return _HAN.search(text) is not None
