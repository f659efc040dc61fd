"""The words and marks by which models set off the parts of a task: 指令 / Instruction / 任務, numbers, headings, bold, colons."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Part = Literal["instruction", "input", "output", "category"]

WORDS: dict[Part, tuple[str, ...]] = {
    "instruction": (
        "指令", "指示", "instruction", "任务指令", "任務指令", "任务描述", "任務描述", "任务", "任務", "task",
        "问题", "問題", "题目", "題目", "question", "prompt",
    ),
    "input": ("输入", "輸入", "input", "输入内容", "輸入內容", "context"),
    "output": (
        "输出", "輸出", "output", "输出内容", "輸出內容", "回答", "回复", "回覆", "答案", "解答", "answer", "response", "答",
    ),
    "category": ("类别", "類別", "分类", "分類", "任务类型", "任務類型", "类型", "類型", "category", "class", "type"),
}  # fmt: skip
"""Of each part, the words for it; where an answer uses several for one part, the earliest here that it uses is the label."""

PART_OF: dict[str, Part] = {word: part for part, words in WORDS.items() for word in words}

_CHINESE_NUMBER = "一二三四五六七八九十百两兩"
_NUMBER = (
    rf"(?:第\s{{0,4}}(?:\d{{1,4}}|[{_CHINESE_NUMBER}]{{1,5}})\s{{0,4}}[条條个個题題项項]\s{{0,4}}[.、．:：]?|[(（]\s{{0,4}}\d{{1,4}}\s{{0,4}}[)）]\s{{0,4}}[.、．]?"
    rf"|\d{{1,4}}\s{{0,4}}[.、．)）:：](?!\d)|[{_CHINESE_NUMBER}]{{1,3}}\s{{0,4}}[、．.])"
)
_WORD = "|".join(sorted(PART_OF, key=len, reverse=True))
_GAP = "[ \t]{0,4}"
LABEL = re.compile(
    rf"""(?P<heading>\#{{1,6}}{_GAP})?(?:[-*+•][ \t]{{1,4}})?(?P<bold>\*\*|__)?{_GAP}
    (?P<number>{_NUMBER})?{_GAP}(?P<bold2>\*\*|__)?(?P<open>[\[【「"“])?{_GAP}
    (?P<word>{_WORD}){_GAP}(?P<after>\d{{1,4}})?{_GAP}(?P<shut>[\]】」"”])?(?P<bold3>\*\*|__)?
    {_GAP}(?P<colon>[:：])?{_GAP}(?P<bold4>\*\*|__)?(?P<rest>.*)\Z""",
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)
HEADER = re.compile(
    rf"""(?P<heading>\#{{1,6}})?{_GAP}(?:\*\*|__)?{_GAP}
    (?:(?:任务|任務|示例|例|task|item|example|no\.?){_GAP}(?P<named>\d{{1,4}}|[{_CHINESE_NUMBER}]{{1,5}}){_GAP}[.、．:：)）]?
    |(?P<plain>{_NUMBER}|\d{{1,4}}(?![\d.])))?{_GAP}(?:\*\*|__)?{_GAP}[:：]?(?P<title>.*)\Z""",
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)
_BEFORE = " \t\u3000\xa0>"
RULE = re.compile(r"[ \t]*(?:#{1,6}|-{3,}|={3,}|\*{3,}|_{3,})[ \t]*\Z")
"""A line that parts one item from the next."""
FENCE = re.compile(r"[ \t]*(?P<mark>`{3,}|~{3,})[ \t]*(?P<info>[^`]*)\Z")
_NOTHING = (
    "无输入|無輸入|无|無|无需输入|無需輸入|不需要输入|不需要輸入|没有输入|沒有輸入|不需输入|空|留空|无内容|"
    "no ?input|none|n/?a|not ?applicable|not ?(?:needed|required)|null|nil|empty"
)
NO_INPUT = re.compile(rf"[\s<＜〈《\[【(（「{{*`\"“'-]*(?:{_NOTHING})?[\s>＞〉》\]】)）」}}*`\"”'。.-]*", re.IGNORECASE)
"""All the ways of saying that there is no input, as the whole of a text; an empty one and a dash among them."""


@dataclass(frozen=True, slots=True)
class Label:
    """A line that begins a part."""

    part: Part
    word: str
    numbered: bool
    marked: bool
    """Whether a heading, bold or bracket sets it off, so that it may do without a colon."""
    rest: str
    """What stands behind it on its line."""


def read_label(line: str) -> Label | None:
    """The label that a line begins with, else None. `指令 ...` without colon is one only when it is marked and stands alone."""
    found = LABEL.match(line.lstrip(_BEFORE))
    if found is None:
        return None
    rest = found["rest"]
    marked = any(found[mark] for mark in ("heading", "bold", "bold2", "open"))
    if not found["colon"]:
        bracketed = found["open"] and found["shut"]
        if not marked or (rest.strip() and not bracketed) or bool(found["open"]) != bool(found["shut"]):
            return None
    if sum(bool(found[name]) for name in ("bold", "bold2", "bold3", "bold4")) % 2:
        for mark in ("**", "__"):  # **指令：写一首诗**: the end mark stands behind the text
            if rest.rstrip().endswith(mark) and rest.count(mark) % 2:
                rest = rest.rstrip()[: -len(mark)]
    word = found["word"].lower()
    return Label(PART_OF[word], word, bool(found["number"] or found["after"]), marked, rest)


def header_title(line: str, expected: int) -> str | None:
    """The title, often empty, of a line that only counts an item, as `### 2`, `第2条`, `**任务 2：写诗**` do; else None.

    A plain `2.` counts only as the `expected` number, so that an output that ends in `2020.` keeps it.
    """
    found = HEADER.match(line.lstrip(_BEFORE))
    if found is None or not (found["named"] or found["plain"]):
        return None
    title = found["title"].strip().strip("*_").strip()
    number = re.sub(r"\D", "", found["named"] or found["plain"])
    sure = bool(found["heading"]) or number == str(expected)
    if found["named"]:
        return title if sure or not title else None
    if title and not found["heading"]:
        return None
    return title if sure or "第" in found["plain"] else None


def is_no_input(text: str) -> bool:
    """Whether a text says in one of many ways that a task has no input."""
    text = text.strip()
    return len(text) < 40 and NO_INPUT.fullmatch(text) is not None
