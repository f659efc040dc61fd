"""What a text is written in, by its letters: Han, Latin, kana and hangul. The cheap first look at a language."""

from __future__ import annotations

import re

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

HAN_WEIGHT = 3
"""Latin letters that one Han character stands for: an English word has about 4.7 letters, its Chinese peer 1.6 characters.

Without it, 我叫 Belle，你直接喊我 Belle 就好 (9 Han, 10 Latin) would count as English.
"""


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
