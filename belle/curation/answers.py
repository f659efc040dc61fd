"""The filters `empty` and `length`: answers that say nothing, and records that are too short or too long."""

from __future__ import annotations

import functools
import re
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING

from belle.curation.items import Drop
from belle.curation.rounds import answers, questions, rounds
from belle.curation.texts import Curated
from belle.errors import BelleError
from belle.records import Document

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# What asks for a word, a letter or a sign: then one character may be the whole answer.
_SHORT_ASKED = re.compile(
    r"几|多少|一个字|哪个?字|什么字|汉字|哪[一]?[个位种项年月天类]|符号|字母|首字|是否|对吗|对不对|对错|正误|是不是|有没有|吗"
    r"|么[？?]|[选填空]|判断|分类|类别|标签"
    r"|等于|[=＝]|计算|数字|只(?:写|输出|回答|给出|用|需)|答案|打分|评分|得分|分数|等级|罗马|谁|属于|简称|姓|猜|运算|正则|标点"
    r"|偏旁|部首|翻译|下一[句个]|接龙|[①②A-D][.、．)）]"
    r"|\b(?:yes or no|true or false|how (?:many|much|old)|which|what(?:'s| is| are| was)?|who|number|letter|symbol|sign|numeral"
    r"|digit|only|single|one[- ]word"
    r"|character|classify|label|category|rate|score|grade|choose|select|option|answer with|fill in|equals?|solve|calculate"
    r"|compute|sum|is it|does|"
    r"is (?:the|this|that|there)|are (?:the|these|there)|can|abbreviation|regular expression|regex|operator|punctuation|initial"
    r"|translate|emoji)\b",
    re.IGNORECASE,
)
# What asks for more than a word, whatever else stands in the question.
_LONG_ASKED = re.compile(
    r"写(?:一?[篇封首段份则]|个故事|作文|文章)|作文|推导|证明|详细|解释|说明|介绍|列举|描述|为什么|为何|如何|怎[么样]|分析|总结"
    r"|概括|论述|讲[讲一]|谈谈"
    r"|\b(?:why|explain|describe|how (?:do|does|can|could|should|would|to)|list|summari[sz]e|essay|story|poem|letter to|discuss"
    r"|compare|write an? (?!roman|number|single))\b",
    re.IGNORECASE,
)
_SIGN_ASKED = re.compile(
    r"符号|标点|运算|正则|表情|什么号|[哪填]个?号|[□_＿]{1,}|[<>＜＞=].{0,6}[<>＜＞=]"
    r"|\b(?:sign|symbol|punctuation|operator|regular expression|regex|emoji|mark|delimiter|separator|character|wildcard)\b",
    re.IGNORECASE,
)  # fmt: skip
_PLACEHOLDERS = frozenset(
    (
        "略",
        "答案略",
        "省略",
        "从略",
        "待补充",
        "待填写",
        "待续",
        "暂无内容",
        "无内容",
        "无输出",
        "todo",
        "tbd",
        "placeholder",
        "输出",
        "答案",
        "回答",
        "output",
    )
)
_NOTHINGS = frozenset(("无", "空", "暂无", "null", "none", "nan", "undefined", "nil", "n/a", "na"))
_SLOT = re.compile(
    r"[\[【<＜（({]{1,2}\s*(?:请?(?:在此|此处|在这里)?(?:填写|插入|输入|写入)|此处|待填|你的|您的|(?:insert|your|add|write|put|enter|type)\b)"
    r"[^\]】>＞）)}\n]{0,30}[\]】>＞）)}]{1,2}[。.]?",
    re.IGNORECASE,
)
_EMPTY_FENCE = re.compile(r"(?:```|~~~)\w*\s*(?:```|~~~)")
_EDGES = " \t\r\n\u3000\u00a0\u200b\ufeff"


def empty(record: Curated) -> Drop | None:
    """Removes answers that are empty, punctuation alone, or one character where the question asks for more than that."""
    if isinstance(record, Document):
        return None if any(map(str.isalnum, record.text)) else Drop("empty text")
    answered = False
    for each in rounds(record):
        if each.answer is None:
            continue
        answered = True
        reason = _empty_reason(each.answer, each.question)
        if reason:
            return Drop(reason, each.answer.strip()[:20])
    if not answered and not any(message.tool_calls for message in record.messages):
        return Drop("no answer")
    return None


def _empty_reason(answer: str, question: str) -> str | None:
    if len(answer) > 40 and any(map(str.isalnum, answer)):
        return None
    text = _EMPTY_FENCE.sub("", answer).strip(_EDGES)
    if not text or not any(unicodedata.category(char)[0] in "LNPS" for char in text):
        return "empty answer"
    core = "".join(char for char in text if char.isalnum())
    if not core:
        emoji = any(unicodedata.category(char) == "So" for char in text)
        drawn = "\n" in text
        return (
            None
            if emoji or drawn or (text in question and unicodedata.category(text[0])[0] == "S") or _SIGN_ASKED.search(question)
            else "punctuation alone"
        )
    if _SLOT.fullmatch(text) and text not in question:
        return "placeholder"
    word = text.strip("().。[]【】<>-*#_ （）").casefold()
    if (word in _PLACEHOLDERS and word not in question.casefold()) or (word in _NOTHINGS and not _names_it(question, word)):
        return "placeholder"
    if len(core) == 1 and unicodedata.category(core)[0] != "S":
        if _LONG_ASKED.search(question) and not re.search(r"[A-D][.、．)）]", question):
            return "one character"
        if not core.isdigit() and not _SHORT_ASKED.search(question):
            return "one character"
    return None


def _names_it(question: str, word: str) -> bool:
    """Whether the question itself offers this word, or asks for one word: then it is an answer."""
    return word in question.casefold() or (bool(_SHORT_ASKED.search(question)) and not _LONG_ASKED.search(question))


class Length:
    """Removes records whose question, answer or whole is shorter or longer than asked; None sets no limit.

    Args:
        question_least: characters that the user's turns have at least, together; white space around them does not count.
        question_most: and at most.
        answer_least: characters of each answer, at least; of a document its text.
        answer_most: and at most.
        tokens_least: tokens of all turns together, at least; needs `tokenizer`.
        tokens_most: and at most.
        tokenizer: a folder with a `tokenizer.json`, or such a file; read at the first record.

    Raises:
        BelleError: no limit is set, or one of tokens without a tokenizer; at the first record, a tokenizer that is not there.
    """

    def __init__(
        self, *, question_least: int | None = None, question_most: int | None = None, answer_least: int | None = None,
        answer_most: int | None = None, tokens_least: int | None = None, tokens_most: int | None = None, tokenizer: str = "",
    ) -> None:  # fmt: skip
        self.question, self.answer, self.tokens = (
            (question_least, question_most),
            (answer_least, answer_most),
            (tokens_least, tokens_most),
        )
        self.tokenizer = tokenizer
        for name, (least, most) in (("question", self.question), ("answer", self.answer), ("tokens", self.tokens)):
            if least is not None and most is not None and least > most:
                raise BelleError(f"length: {name}_least is {least}, above {name}_most, which is {most}", "exchange the two")
        if (self.question, self.answer, self.tokens) == ((None, None),) * 3:
            raise BelleError("length is told no limit", "set one, such as length: {answer_most: 8000}")
        if self.tokens != (None, None) and not tokenizer:
            raise BelleError(
                "length counts tokens, but no tokenizer is named", "length: {tokenizer: path/to/model, tokens_most: 2048}"
            )

    def __call__(self, record: Curated) -> Drop | None:
        """The first limit that the record does not keep; None keeps it."""
        asked = questions(record)
        if asked and (drop := _outside("question", sum(len(text.strip()) for text in asked), self.question, "characters")):
            return drop
        for text in answers(record):
            if drop := _outside("answer", len(text.strip()), self.answer, "characters"):
                return drop
        if self.tokens == (None, None):
            return None
        tokenizer = _tokenizer(self.tokenizer)
        texts = [record.text] if isinstance(record, Document) else [message.content for message in record.messages]
        count = sum(len(tokenizer.encode(text, add_special_tokens=False).ids) for text in texts)
        return _outside("record", count, self.tokens, "tokens")


def _outside(what: str, count: int, limits: tuple[int | None, int | None], unit: str) -> Drop | None:
    least, most = limits
    if least is not None and count < least:
        return Drop(f"{what} too short", f"{count} {unit}, at least {least}")
    if most is not None and count > most:
        return Drop(f"{what} too long", f"{count} {unit}, at most {most}")
    return None


@functools.lru_cache(maxsize=4)
def _tokenizer(path: str) -> Tokenizer:
    from tokenizers import Tokenizer

    file = Path(path) / "tokenizer.json" if Path(path).is_dir() else Path(path)
    if not file.is_file():
        raise BelleError(f"no tokenizer at {path!r}", "name a folder that has a tokenizer.json, or the file itself")
    try:
        return Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises a bare Exception for whatever it cannot read
        raise BelleError(f"{str(file)!r} cannot be read as a tokenizer: {error}", "name a tokenizer.json") from error
