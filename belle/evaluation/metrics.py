"""Scores of one answer, character by character where the text is Chinese. Pure functions; every share is in 0..1.

The intervals around their means are in `intervals.py`.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

from belle.records import Language

CODE_BLOCK = re.compile(r"(?:```|~~~).*?(?:```|~~~|\Z)|`[^`\n]+`", re.DOTALL)
HAN = r"々〇\u2e80-\u2fdf\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
KANA_HANGUL = (
    r"\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fd-\u30ff\u31f0-\u31ff\uff66-\uff9d"
    r"\u1100-\u11ff\u3131-\u318e\uac00-\ud7a3"
)
_IS_HAN = re.compile(f"[{HAN}]")
_IS_KANA_HANGUL = re.compile(f"[{KANA_HANGUL}]")
_IS_LATIN = re.compile(r"[A-Za-z\u00aa\u00ba\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f\u1e00-\u1eff\uff21-\uff3a\uff41-\uff5a]")
_TOKEN = re.compile(f"[{HAN}{KANA_HANGUL}]|[^\\W_{HAN}{KANA_HANGUL}]+")
_SPACE_BY_CJK = re.compile(f"(?<=[{HAN}{KANA_HANGUL}]) | (?=[{HAN}{KANA_HANGUL}])")
_FINAL = " .。!?,;:、~"  # NFKC has made the full-width forms of these the half-width ones

CHRF_ORDER = 6
CHRF_BETA = 2
HAN_WEIGHT = 3
"""Latin letters that one Han character stands for: an English word has about 4.7 letters, its Chinese peer 1.6 characters.

Without it, 我叫 Belle，你直接喊我 Belle 就好 (9 Han, 10 Latin) would count as English.
"""


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


def _letters(text: str) -> tuple[int, int, int, int]:
    """The weight of letters that are (Han, Latin, kana or hangul, any); code blocks and inline code do not count."""
    text = CODE_BLOCK.sub(" ", text)
    han, latin, kana = (len(pattern.findall(text)) for pattern in (_IS_HAN, _IS_LATIN, _IS_KANA_HANGUL))
    # Han and kana are letters to Unicode as well; what is over are third scripts, such as Cyrillic.
    third = max(0, sum(map(str.isalpha, text)) - han - latin - kana)
    return han * HAN_WEIGHT, latin, kana * HAN_WEIGHT, han * HAN_WEIGHT + latin + kana * HAN_WEIGHT + third


def language(text: str) -> Language | None:
    """What a text is written in, by its letters; None for a text without letters, such as a number or code alone.

    zh: at least half are Han, each weighed as `HAN_WEIGHT`, and at most a tenth kana or hangul. en: more than half are
    Latin (so French counts as en).
    """
    han, latin, kana, letters = _letters(text)
    if not letters:
        return None
    if kana * 10 <= letters:
        if han * 2 >= letters:
            return "zh"
        if latin * 2 > letters:
            return "en"
    return "other"


def language_share(text: str, asked: str) -> tuple[float, bool]:
    """(share of the letters, weighed as in `language`, that are in the asked language; whether the text as a whole is).

    A text without letters is in any language, but one with neither letter, digit nor code says nothing and is in none.
    """
    han, latin, kana, letters = _letters(text)
    if not letters:
        says = bool(CODE_BLOCK.search(text)) or any(map(str.isdigit, text))
        return float(says), says
    count = {"zh": han, "en": latin}.get(asked, letters - han - latin)
    if asked == "zh" and language(text) == "other":
        count = 0 if kana else han  # the Han characters of a Japanese text are not Chinese
    return count / letters, language(text) == asked


def says_name(answer: str, name: str) -> bool:
    """Whether the answer contains the name, whatever the case."""
    return name.casefold() in answer.casefold()
