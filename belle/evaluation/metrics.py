"""Scores of one answer, character by character where the text is Chinese. Pure functions; every share is in 0..1.

The intervals around their means are in `intervals.py`.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

from belle.data.letters import HAN, KANA_HANGUL

_TOKEN = re.compile(f"[{HAN}{KANA_HANGUL}]|[^\\W_{HAN}{KANA_HANGUL}]+")
_SPACE_BY_CJK = re.compile(f"(?<=[{HAN}{KANA_HANGUL}]) | (?=[{HAN}{KANA_HANGUL}])")
_FINAL = " .。!?,;:、~"  # NFKC has made the full-width forms of these the half-width ones

CHRF_ORDER = 6
CHRF_BETA = 2


def chrf(answer: str, reference: str) -> float:
    """chrF of Popović (2015): the F-score (beta 2) of character n-grams, n = 1 to 6, averaged over n; white space is ignored.

    Equal to `sacrebleu.CHRF().sentence_score(...) / 100`. An order that one of the two texts is too short for does not count.
    """
    ours, theirs = "".join(answer.split()), "".join(reference.split())
    precision = recall = 0.0
    orders = min(CHRF_ORDER, len(ours), len(theirs))
    for n in range(1, orders + 1):
        a = Counter(ours[i : i + n] for i in range(len(ours) - n + 1))
        b = Counter(theirs[i : i + n] for i in range(len(theirs) - n + 1))
        shared = sum(min(count, b[gram]) for gram, count in a.items() if gram in b)
        precision += shared / (len(ours) - n + 1) / orders
        recall += shared / (len(theirs) - n + 1) / orders
    if precision + recall == 0:
        return 0.0
    weight = CHRF_BETA**2
    return (1 + weight) * precision * recall / (weight * precision + recall)


def rouge_l(answer: str, reference: str) -> float:
    """ROUGE-L of Lin (2004) as F1: the longest common subsequence of CJK characters and of words elsewhere, case ignored."""
    ours, theirs = _TOKEN.findall(answer.lower()), _TOKEN.findall(reference.lower())
    common = _longest_common_subsequence(ours, theirs)
    return 2 * common / (len(ours) + len(theirs)) if common else 0.0


def _longest_common_subsequence(a: list[str], b: list[str]) -> int:
    """Its length, a row of the table at a time as the bits of one integer (Hyyrö, 2004)."""
    places: dict[str, int] = {}
    for i, token in enumerate(a):
        places[token] = places.get(token, 0) | 1 << i
    full = (1 << len(a)) - 1
    row = full
    for token in b:
        match = row & places.get(token, 0)
        row = ((row + match) | (row - match)) & full
    return len(a) - row.bit_count()


def normalise(text: str) -> str:
    """The form in which two answers are compared for equality.

    NFKC (full-width becomes half-width), case folded, white space collapsed and beside CJK characters removed, punctuation
    and white space at the end removed.
    """
    text = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    return _SPACE_BY_CJK.sub("", text).rstrip(_FINAL)


def exact(answer: str, reference: str) -> bool:
    """Whether answer and reference are equal after `normalise`; an empty answer equals nothing."""
    return normalise(answer) == normalise(reference) and bool(answer.strip())


def says_name(answer: str, name: str) -> bool:
    """Whether the answer contains the name, whatever the case."""
    return name.casefold() in answer.casefold()
