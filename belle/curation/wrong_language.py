"""The filter `wrong_language`: answers in another language than the one asked for."""

from __future__ import annotations

import re

from belle.curation.items import Drop
from belle.curation.language import LATIN_LANGUAGES, chinese_only, identify, simplified, surely_not
from belle.curation.rounds import Round, rounds
from belle.curation.texts import Curated
from belle.data.letters import CODE_BLOCK, HAN, HAN_WEIGHT
from belle.records import Document

_ZH_NAMES = {
    "en": "英文|英语|英語|英",
    "zh": "中文|汉语|漢語|普通话|华语|国语|简体中文",
    "zh-hant": "繁体中文|繁體中文|繁体字?|繁體字?",
    "ja": "日文|日语|日語",
    "ko": "韩文|韩语|韓文|韓語|朝鲜语",
    "fr": "法文|法语|法語",
    "de": "德文|德语|德語",
    "es": "西班牙文|西班牙语|西班牙語|西语",
    "it": "意大利文|意大利语|意大利語|意语",
    "pt": "葡萄牙文|葡萄牙语|葡萄牙語|葡语",
    "ru": "俄文|俄语|俄語",
    "ar": "阿拉伯文|阿拉伯语|阿拉伯語",
    "th": "泰文|泰语|泰語",
    "vi": "越南文|越南语|越南語",
    "nl": "荷兰文|荷兰语",
    "la": "拉丁文|拉丁语",
    "tr": "土耳其文|土耳其语",
    "id": "印尼文|印尼语|印度尼西亚语",
    "hi": "印地语|印地文",
    "el": "希腊文|希腊语",
}
_EN_NAMES = {
    "en": "english",
    "zh": "(?:simplified |mandarin )?chinese|mandarin",
    "zh-hant": "traditional chinese",
    "ja": "japanese",
    "ko": "korean",
    "fr": "french",
    "de": "german",
    "es": "spanish|castilian",
    "it": "italian",
    "pt": "(?:brazilian )?portuguese",
    "ru": "russian",
    "ar": "arabic",
    "th": "thai",
    "vi": "vietnamese",
    "nl": "dutch",
    "la": "latin",
    "tr": "turkish",
    "id": "indonesian",
    "hi": "hindi",
    "el": "greek",
    "pl": "polish",
    "sv": "swedish",
}
_ZH_ANY = "|".join(sorted((name for names in _ZH_NAMES.values() for name in names.split("|")), key=len, reverse=True))
_EN_ANY = "|".join(_EN_NAMES.values())
_NAMED = re.compile("[文语語话]|繁|简体|\\b(?:in|into|to|give the)\\b", re.IGNORECASE)
_OTHER_SCRIPT = re.compile("[\u3041-\u30ff\u1100-\u11ff\uac00-\ud7a3\u0400-\u04ff]")
# An order about the answer's language. The last one counts: 把这句英文翻译成中文 asks for Chinese.
_ORDERS = (
    re.compile(
        rf"(?:翻译|译|翻|改写|转换|转|写|改)(?:成|为|作|到)\s*(?:一[句段篇]|地道的?|标准的?|流利的?|正确的?|简单的?"
        rf"|通顺的?)?\s*(?P<zh>{_ZH_ANY})"
    ),
    re.compile(
        rf"(?:请)?(?:使用|用|以)\s*(?:地道的?|标准的?|流利的?|简单的?)?\s*(?P<zh>{_ZH_ANY})\s*(?:来|向|给|对|为[我你您他]|把"
        rf"|介绍|回答|回复|回|答|作答|写|说|描述|表达|解释"
        rf"|概括|总结|列|造|叙述|简述|告诉|表示|祝|自我|复述|翻译|问|打招呼|道|讲)"
    ),
    re.compile(rf"(?P<zh>{_ZH_ANY})(?:怎么说|怎么写|怎么讲|怎样说|如何说|如何写|回答|作答)"),
    re.compile(rf"\bgive (?:me )?the (?P<en>{_EN_ANY})(?=[.:!?\s]*$|:)", re.IGNORECASE | re.MULTILINE),
    re.compile(
        rf"\b(?:in|into|to)\s+(?:\w+\s+)?(?P<en>{_EN_ANY})\b(?!\s+(?:speaking|speakers?|class|lessons?|history|culture"
        rf"|literature|grammar|cuisine|food|people|cinema|art|music|restaurant|is\b|are\b|does\b|do\b))",
        re.IGNORECASE,
    ),
)
_ORDER_VERB = re.compile(
    r"\b(?:translat\w*|answer\w*|reply|respond|write|say|explain|describe|give|tell|greet|rewrite|put|convert|express|render"
    r"|spell|ask|what is|what's|count|list|introduce|please|summari[sz]e)\b",
    re.IGNORECASE,
)
# What speaks of words of another language, or of code: the answer may then be in it.
_ABOUT_WORDS = re.compile(
    r"英文|英语|英語|外语|外文|双语|字母|缩写|原名|原文|学名|术语|单词|词汇|词组|短语|同义词|反义词|音标|拼音|罗马音|代码|程序"
    r"|函数|脚本|命令|正则|公式|编程|算法|网址|邮箱|品牌|商标|变量|标签"
    r"|日语|日文|法语|法文|德语|德文|俄语|韩语|拉丁|西班牙语|葡萄牙语|意大利语|翻译|译|歌名|乐队|品种|python|java|sql|html|css"
    r"|json|linux|excel|latex|shell|c\+\+"
    r"|golang|rust|\bgo\b|markdown|abbreviation|acronym"
    r"|\b(?:chinese|japanese|korean|mandarin|cantonese|pinyin|kanji|hanzi|translat\w+|french|german|spanish|italian|latin"
    r"|portuguese|russian|language|phrase|proverb|original title|characters?|idiom)\b",
    re.IGNORECASE,
)
# Asked how something is said, an answer may explain in the language of the question, if it quotes something as well.
_EXPLAINABLE = re.compile(
    r"(?:怎么|怎样|如何)[说写读讲称叫]|是什么|\bhow (?:do|does|would|can|to|is|are)\b|\bwhat(?:'s| is| does)\b", re.IGNORECASE
)
_FOREIGN = re.compile(r"[^\x00-\x7f]|[\"“「『‘*`]")
_HAN = re.compile(f"[{HAN}]")
_LATIN = re.compile(r"[A-Za-z\u00c0-\u024f]")
_LATIN_WORD = re.compile(r"[A-Za-z\u00c0-\u024f]+(?:['’-][A-Za-z\u00c0-\u024f]+)*")
_LOWER_WORD = re.compile(r"(?<![\w/.:\\-])[a-z\u00df-\u00ff]{2,}(?![\w/\\])")
_CODE_LIKE = re.compile(
    r"[{};=<>]\s*$|^[^\S\n]*(?:def|class|import|from|for|if|return|SELECT|#include|public|function|var|let|const)\b|</\w+>",
    re.MULTILINE,
)
_QUOTED = re.compile(r"“[^“”\n]*”|\"[^\"\n]*\"|「[^「」\n]*」|‘[^‘’\n]*’|『[^『』\n]*』|《[^《》\n]*》")
_LATIN_CODES = frozenset((*LATIN_LANGUAGES, "la"))
_SURE = 4
"""Latin words that an answer needs before its language is told at all; to tell two Latin languages apart."""


class WrongLanguage:
    """Removes answers in another language than the question asks for, or, where it asks for none, than the question is in.

    An answer of names, terms or code alone is in any language. Simplified and traditional Chinese are one, unless the question
    asks for one of them.

    Args:
        languages: if given, answers and documents in other languages than these go as well, such as [zh, en].
    """

    def __init__(self, *, languages: tuple[str, ...] = ()) -> None:
        self.languages = languages

    def __call__(self, record: Curated) -> Drop | None:
        """The first answer in a wrong language; None where there is none."""
        if isinstance(record, Document):
            return self._unwanted(identify(record.text))
        for each in rounds(record):
            if each.answer is None or not each.answer.strip():
                continue
            if not self.languages and _plainly_chinese(each):
                continue
            found = identify(each.answer)
            if found is None:
                continue
            if drop := self._unwanted(found) or _mismatch(each, found):
                return drop
        return None

    def _unwanted(self, found: str | None) -> Drop | None:
        if not self.languages or found is None or found in self.languages or found.split("-")[0] in self.languages:
            return None
        return Drop("not a language of the set", found)


def _plainly_chinese(each: Round) -> bool:
    """A quick look at most records: Chinese in both, and no language named."""
    question, answer = each.question, each.answer or ""
    if _NAMED.search(question) or _OTHER_SCRIPT.search(answer):
        return False
    return 2 * len(_HAN.findall(answer)) >= len(answer) and 2 * len(_HAN.findall(question)) >= len(question)


def asked_language(question: str) -> str | None:
    """The language that a question asks its answer to be in ('用英文回答', 'into French'); None where it asks for none."""
    if not _NAMED.search(question):
        return None
    bare = _QUOTED.sub("“”", simplified(question))
    last: tuple[int, str] | None = None
    for pattern in _ORDERS:
        for match in pattern.finditer(bare):
            named = next(value for value in match.groupdict().values() if value)
            if "en" in match.groupdict() and not _ORDER_VERB.search(bare[max(0, match.start() - 120) : match.end()]):
                continue
            code = _code_of(named)
            if code and (last is None or match.start() > last[0]):
                last = match.start(), code
    return last[1] if last else None


def _code_of(named: str) -> str | None:
    for names in (_ZH_NAMES, _EN_NAMES):
        for code, pattern in names.items():
            if re.fullmatch(pattern, named, re.IGNORECASE):
                return code
    return None


def _mismatch(each: Round, found: str) -> Drop | None:
    answer, question = each.answer or "", each.question
    asked = asked_language(question)
    if asked:
        foreign = _LATIN_WORD if asked in _LATIN_CODES and found not in _LATIN_CODES else _FOREIGN
        explains = _base(found) == _base(identify(question) or "") and _EXPLAINABLE.search(question) and foreign.search(answer)
        new = any(quoted not in question for quoted in _QUOTED.findall(answer))
        return (
            None
            if explains or (new and _base(found) == _base(identify(question) or "")) or _agrees(answer, found, asked)
            else Drop("not the language asked for", f"{found}, asked: {asked}")
        )
    own = identify(question)
    if own is None or _base(own) == _base(found) or not _says_something(answer, found):
        return None
    if found.startswith("zh") and len(_HAN.findall(_QUOTED.sub("", question))) >= 2:
        return None  # asked in Chinese with foreign terms
    if _ABOUT_WORDS.search(question) or _shares_language(question, answer, found):
        return None
    # A short question in English is told by its small words; one in another language has to be long enough.
    sure = surely_not(answer, own) and (own == "en" or surely_not(question, found))
    if own in _LATIN_CODES and found in _LATIN_CODES and not sure:
        return None
    return Drop("not the language of the question", f"{found}, question: {own}")


def _base(code: str) -> str:
    return code.split("-")[0]


def _agrees(answer: str, found: str, asked: str) -> bool:
    if asked == "zh-hant":
        return found == "zh-hant" or (found == "zh" and len(_HAN.findall(answer)) < 8)
    if _base(found) == asked:
        return True
    if asked == "ja" and found.startswith("zh"):
        # Japanese may be written in Han characters alone, if it is short.
        return len(_HAN.findall(answer)) <= 6 and not chinese_only(answer)
    if asked in _LATIN_CODES and found in _LATIN_CODES:
        # Short answers and names are taken for any Latin language.
        return len(_LATIN_WORD.findall(answer)) < _SURE or not surely_not(answer, asked)
    latin = len(_LATIN_WORD.findall(answer))
    if asked in ("zh", "ja", "ko", "ru") and found in _LATIN_CODES:
        return not _says_something(answer, found)
    # The answer may quote what was translated, or explain it: some of the asked language is enough.
    return asked in _LATIN_CODES and (latin >= 6 or _quotes_latin(answer, latin))


def _quotes_latin(answer: str, latin: int) -> bool:
    return latin >= 1 and len(_HAN.findall(answer)) <= 6 * latin


def _says_something(answer: str, found: str) -> bool:
    """Whether an answer is language: sentences, not names, numbers, terms or code alone."""
    bare = CODE_BLOCK.sub(" ", answer)
    if found not in _LATIN_CODES:
        letters = sum(map(str.isalpha, bare))  # a face such as (✿ﾟ▽ﾟ)ノ has more signs than letters
        return letters >= 4 and 3 * letters >= len(bare) - bare.count(" ")
    # A list of foreign titles, or glosses in brackets, within a Chinese answer.
    if _CODE_LIKE.search(bare) or len(_HAN.findall(bare)) * 2 * HAN_WEIGHT >= len(_LATIN.findall(bare)):
        return False
    return len(set(_LOWER_WORD.findall(bare))) >= 3 and len(_LATIN_WORD.findall(bare)) >= _SURE


def _shares_language(question: str, answer: str, found: str) -> bool:
    """Whether the question itself holds a good piece of the answer's language: a text to work on."""
    if found in _LATIN_CODES and _HAN.search(question):
        words = _LATIN_WORD.findall(question)
        return len(words) >= 5 or any(len(word) >= 4 and word.islower() and word in answer.lower() for word in words)
    if found.startswith("zh"):
        return len(_HAN.findall(question)) >= 8
    return False
