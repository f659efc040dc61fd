"""Which language a text is in: `identify`, by its letters where they tell, else by the model that the package py3langid ships.

Scripts decide between Chinese, Japanese, Korean, Thai and the like, since they do so at any length; the model decides among
languages in Latin, Cyrillic and Arabic letters. Traditional characters are told from simplified ones by OpenCC's table.
"""

from __future__ import annotations

import functools
import re
from typing import Any

from belle.data.letters import CODE_BLOCK, HAN, HAN_WEIGHT
from belle.errors import BelleError

_HAN = re.compile(f"[{HAN}]")
LONE = re.compile("([\ud800-\udfff]+)")
"""Lone surrogates, which broken JSON has and OpenCC cannot take."""
_AFTER_HAN = re.compile(f"(?<=[{HAN}”》）」』])[,:;?!]")
_FULL_WIDTH = {",": "，", ":": "：", ";": "；", "?": "？", "!": "！"}
_KANA = re.compile(r"[\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fd-\u30ff\u31f0-\u31ff\uff66-\uff9d]")
_HANGUL = re.compile(r"[\u1100-\u11ff\u3131-\u318e\uac00-\ud7a3]")
_LATIN = re.compile(r"[A-Za-z\u00aa\u00ba\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f\u1e00-\u1eff\uff21-\uff3a\uff41-\uff5a]")
_ASCII_WORDS = re.compile(r"[A-Za-z]+")
_SCRIPTS = {
    "th": "\u0e01-\u0e5b",
    "el": "\u0370-\u03ff\u1f00-\u1fff",
    "he": "\u05d0-\u05ea",
    "hi": "\u0900-\u097f",
    "bn": "\u0980-\u09ff",
    "ta": "\u0b80-\u0bff",
    "te": "\u0c00-\u0c7f",
    "ka": "\u10a0-\u10ff",
    "hy": "\u0531-\u0587",
    "km": "\u1780-\u17ff",
    "my": "\u1000-\u109f",
    "lo": "\u0e80-\u0eff",
    "bo": "\u0f00-\u0fff",
    "am": "\u1200-\u137f",
}
_THIRD = {code: re.compile(f"[{span}]") for code, span in _SCRIPTS.items()}
_CYRILLIC_ARABIC = re.compile("[\u0400-\u04ff\u0600-\u06ff\u0750-\u077f]")
_MISREAD = re.compile("[\xa1-\xff]{4}")
"""Letters with marks side by side, as no language has them: GBK or UTF-8 read as Latin-1."""
_NOISE = re.compile(
    r"https?://\S+|www\.\S+|(?<![\w.+-])[\w.+-]+@[\w.-]+|<[^<>\n]{1,200}>|\\[a-z]+|\$[^$\n]{1,200}\$"
    "|[\xa1-\xff]{4,}"
)

LATIN_LANGUAGES = (
    "en", "de", "fr", "es", "it", "pt", "nl", "sv", "da", "no", "fi", "pl", "cs", "sk", "hu", "ro", "tr", "vi",
    "id", "ms", "tl", "ca", "hr", "sl", "et", "lv", "lt", "sq", "is", "ga", "cy", "eu", "gl", "af", "sw",
)  # fmt: skip
OTHER_LANGUAGES = (
    "ru", "uk", "bg", "sr", "be", "mk", "ar", "fa", "ur", "kk", "mn",
)  # fmt: skip
_COMMON = re.compile(
    r"\b(?:the|and|of|to|is|are|was|were|in|that|for|it|with|as|you|your|i|on|be|this|have|from|or|by|not|an|at|can|we|they"
    r"|which|"
    r"he|she|his|her|their|will|would|there|what|when|how|do|does|but|if|has|had|my|me)\b",
    re.IGNORECASE,
)


def identify(text: str) -> str | None:
    """The language of a text, as ISO 639-1 writes it: "zh", "zh-hant", "en", "ja", "fr", ...; None where nothing tells.

    Code, addresses and formulas do not count. A text in two languages is in the one with more weight, a Han character weighing as
    three Latin letters. Chinese without a single traditional or simplified form, such as 你好, is "zh". Han characters alone are
    Chinese, though 東京 may be Japanese. A few Latin words say little: `Hello` is English, a name may be
    anything.
    """
    if "`" in text or "~~~" in text:
        text = CODE_BLOCK.sub(" ", text)
    if text.isascii():
        return _latin(_NOISE.sub(" ", text) if _noisy(text) else text)
    if _noisy(text):
        text = _NOISE.sub(" ", text)
    letters = sum(map(str.isalpha, text))
    if not letters:
        return None
    han, latin = len(_HAN.findall(text)), len(_LATIN.findall(text))
    rest = letters - han - latin
    kana = hangul = 0
    if rest > 0:
        kana, hangul = len(_KANA.findall(text)), len(_HANGUL.findall(text))
    # A Chinese text may quote Japanese names; one that has simplified characters and more Han than kana is Chinese.
    is_japanese = kana * 12 >= han + kana and kana and not (kana < han and chinese_only(text))
    japanese = (han + kana) * HAN_WEIGHT if is_japanese else 0
    weights = {"zh": 0 if japanese else han * HAN_WEIGHT, "ja": japanese, "ko": hangul * HAN_WEIGHT, "latin": latin}
    if rest - kana - hangul > 0:
        weights |= {code: len(pattern.findall(text)) for code, pattern in _THIRD.items()}
        weights["other"] = len(_CYRILLIC_ARABIC.findall(text))
    best = max(weights, key=lambda code: weights[code])
    if not weights[best]:
        return None
    if best == "zh":
        return "zh-hant" if is_traditional(text) else "zh"
    if best == "latin":
        return _latin(text)
    return _model(OTHER_LANGUAGES).classify(text)[0] if best == "other" else best


def is_traditional(text: str) -> bool:
    """Whether a Chinese text has more characters that only traditional writing has than such that only simplified writing has."""
    traditional, simplified = _forms()
    return len(traditional.findall(text)) > len(simplified.findall(text))


def surely_not(text: str, other: str) -> bool:
    """Whether a text in Latin letters is surely not in the language `other`: another one is e^20 times as likely."""
    scores = dict(_model(LATIN_LANGUAGES).rank(text))
    return other in scores and max(scores.values()) - scores[other] >= 20


def simplified(text: str) -> str:
    """A Chinese text in simplified characters, for patterns that are written in them; the same text where it has no others."""
    if text.isascii() or not _forms()[0].search(text):
        return text
    convert = _converter("t2s").convert
    return "".join(part if n % 2 else convert(part) for n, part in enumerate(LONE.split(text)))


def plain_chinese(text: str) -> str:
    """A text as patterns expect Chinese: simplified, full-width punctuation behind Han characters; no character moves."""
    return text if text.isascii() else _AFTER_HAN.sub(lambda match: _FULL_WIDTH[match.group()], simplified(text))


def chinese_only(text: str) -> bool:
    """Whether Han characters are among those that simplified Chinese has and Japanese has not: 师 is, 国 and 学 are not."""
    return bool(_not_japanese().search(text))


def _noisy(text: str) -> bool:
    return any(sign in text for sign in ("://", "www.", "@", "<", "\\", "$")) or bool(_MISREAD.search(text))


def _latin(text: str) -> str | None:
    words = _ASCII_WORDS.findall(text)
    if not words and not _LATIN.search(text):
        return None
    # English is told by its small words, which is quicker than the model and surer on short texts.
    if text.isascii() and len(_COMMON.findall(text)) * 5 >= len(words):
        return "en"
    model = _model(LATIN_LANGUAGES)
    best, score = model.classify(text)
    # Few letters say little: in letters without a mark, another language must be e^6 times as likely as English.
    if text.isascii() and best != "en" and score - dict(model.rank(text))["en"] < 6:
        return "en"
    return str(best)


@functools.cache
def _model(languages: tuple[str, ...]) -> Any:
    try:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier
    except ImportError as error:
        raise BelleError("the package py3langid is not installed", "pip install py3langid") from error
    model = LanguageIdentifier.from_model_file(MODEL_FILE)
    model.set_languages(list(languages))
    return model


@functools.cache
def _forms() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """(characters that traditional writing alone has, characters that simplified writing alone has).

    A character that is written alike in both, or is a common character of the other (后, 里, 台), tells nothing.
    """
    chars = [chr(code) for code in range(0x4E00, 0xA000)]
    lines = "\n".join(chars)
    to_simplified = _converter("t2s").convert(lines).split("\n")
    to_traditional = _converter("s2t").convert(lines).split("\n")
    traditional = "".join(c for c, s, t in zip(chars, to_simplified, to_traditional, strict=True) if s != c and t == c)
    simplified = "".join(c for c, s, t in zip(chars, to_simplified, to_traditional, strict=True) if t != c and s == c)
    ambiguous = set("后里台几斗准丑只云系面松余干谷") & set(simplified)
    return re.compile(f"[{traditional}]"), re.compile("[" + "".join(c for c in simplified if c not in ambiguous) + "]")


@functools.cache
def _not_japanese() -> re.Pattern[str]:
    chars = [chr(code) for code in range(0x4E00, 0xA000)]
    simplified = {char for char in chars if _forms()[1].match(char)}
    japanese = set(_converter("t2jp").convert("".join(char for char in chars if char not in simplified)))
    return re.compile("[" + "".join(sorted(simplified - japanese)) + "]")


@functools.cache
def _converter(config: str) -> Any:
    try:
        from opencc import OpenCC
    except ImportError as error:
        raise BelleError("the package opencc is not installed", "pip install opencc") from error
    return OpenCC(config)
