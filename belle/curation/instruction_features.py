"""What a linear model sees of an instruction: hashed pieces of its beginning, its end and its whole, and a few marks.

What is asked stands at the beginning or at the end; a pasted text is in between, and says little about the kind of task.
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from belle.data.letters import language

SIZE = 1 << 14
"""Places that hashed features fall into."""
HEAD, TAIL, WHOLE = 40, 30, 400
"""Characters (after `squeeze`) that count as beginning, end and whole."""
WEIGHTS = {"head": 1.0, "tail": 0.7, "whole": 0.8, "mark": 1.0}
"""Length of each group's vector, so that a long text does not drown the few marks."""

_PIECES = re.compile(r"[a-z]+|[0-9]+|[^\sa-z0-9]")
MARKS: dict[str, str] = {
    "translate": (
        r"翻译|翻成|译成|译为|译文|英译|中译|日译|译中|用.{1,3}语(?:怎么)?(?:说|表达)|的英(?:文|语)(?:是|说法|怎么)|translat"
        r"|how do you say"
    ),
    "summarize": (
        r"总结|概括|概述|摘要|归纳|提炼|要点|大意|缩成|压缩|浓缩|中心思想|主要内容|主要讲|提要|小结|summar|condense|\bgist\b"
        r"|tl;?dr|main points|key takeaways|abstract|\brecap\b|headline|in a few words|\boutline"
    ),
    "rewrite": (
        r"改写|改成|改为|重写|重述|润色|修改|换(?:一)?种|换个说法|换成|另一种|纠正|病句|错别字|扩写|缩写|替换|优化|同义|语气"
        r"|通顺|委婉|仿写|口吻|rewrit|rephras|paraphras|reword|passive|correct the|grammar|concise|simplif|tone\b|edit the"
        r"|improve|combine|turn this"
    ),
    "extract": (
        r"提取|抽取|抽出|摘出|摘取|摘录|找出|挑出|识别|关键词|实体|列出(?:下|文|这|其|句)|标出|extract|keyword|pull out"
        r"|pick out|entit|find all|identify|highlight|mentioned"
    ),
    "classify": (
        r"分类|归类|分为|分成|判断|属于|类别|哪(?:一)?类|情感|情绪|词性|标签|褒|贬|正面|负面|积极|消极|是否|还是|对还是错"
        r"|真假|classif|categor|sentiment|positive|negative|true or false|which (?:type|kind|category)|label|\bsort\b"
        r"|group the|determine whether|decide whether"
    ),
    "code": (
        r"代码|编程|程序|函数|算法|脚本|数据库|正则|数组|链表|报错|python|java|javascript|\bsql\b|html|\bcss\b|c\+\+|c语言"
        r"|\bgit\b|linux|pandas|json|```|\bdef |\bint |#include|console\.|print\(|select .* from|\bcode\b|function|regex"
        r"|array|bash|script|\bbug\b"
    ),
    "math": (
        r"计算|求(?!职|婚|助|救|学|知)|解方程|方程|面积|周长|体积|平均数|概率|函数|几分之|百分之|积分|导数"
        r"|多少(?:元|米|人|个|钱|千米|公里|天|小时)|几(?:元|米|人|个|天|小时|段)"
        r"|[0-9]\s*[-+×÷*/=]\s*[0-9x(]|calculat|solve|\barea\b|perimeter|probability|derivative|average|percent|how many|how much"
    ),
    "reason": (
        r"推理|一步|逐步|步骤|规律|逻辑|思路|思考过程|推导|推断|谁说|真话|假话|理由|step by step|reason|logic|puzzle|deduce"
        r"|explain how|think"
    ),
    "closed": (
        r"根据(?:以下|下面|这|上|文|给|材|提|所)|阅读|下文|文中|材料|短文|文章中|资料|依据|参考|结合|问题[:：]|问[:：]"
        r"|回答(?:下|问|后)|passage|paragraph|context|according to|based on|given the|the text|article|excerpt|in the story"
    ),
    "generate": (
        r"写(?:一|个|篇|封|首|段|份|则|条|出)|撰写|创作|编写|编一|生成|起草|拟|续写|造句|造一个|作文|故事|诗|邮件|广告|文案"
        r"|演讲|简历|为题|write (?:a|an|me)|compose|draft|create|generate|story|poem|essay|email|slogan"
    ),
    "brainstorm": (
        r"建议|点子|想法|主意|方法|列举|列出|推荐|提供|几个|几种|[0-9一二三四五六七八九十]+(?:个|种|条|项|点|本|部)|技巧"
        r"|方案|措施|窍门|头脑风暴|构思|设想|办法|哪些|idea|suggest|tips|list|recommend|brainstorm|propose|ways to|come up"
        r"|pros and cons"
    ),
    "open": (
        r"什么是|是什么|为什么|如何|怎么|怎样|解释|介绍|谁|哪(?:里|个|一|年)|何时|区别|原理|原因|历史|含义|意思|简述|描述"
        r"|what|who|when|where|why|how|explain|describe|difference"
    ),
    "chat": (
        r"你(?:好|是|叫|会|能|有|喜欢|觉得|可以|的)|我(?:今天|好|很|有点|想|们)|扮演|假装|谢谢|再见|晚安|早上好|哈哈|聊"
        r"|hello|\bhi\b|you(?:r)?\b|thanks|\bbye\b|pretend|act as|i'm\b|i am\b"
    ),
    "role": (
        r"扮演|假装|假如你是|你现在是|从现在(?:起|开始)|你是一(?:位|名|个)|pretend|act as|role|you are (?:a|an)\b"
    ),
}  # fmt: skip
"""Words that speak for a kind of task, each a mark of its own; what it is worth is learnt from the seeds."""
_MARKS = {name: re.compile(pattern) for name, pattern in MARKS.items()}
_CODE = re.compile(r"```|[{};]\s*$|^\s{2,}\S|\w\(.*\)|==|=>", re.MULTILINE)
_QUOTED = re.compile(r"[“”\"「」『』《》]")


def squeeze(text: str) -> str:
    """NFKC, lower case, runs of white space as one space; digits as they are."""
    return " ".join(unicodedata.normalize("NFKC", text).lower().split())


def pieces(text: str) -> list[str]:
    """Words of Latin letters, numbers (as `0` of their length), and every other character by itself."""
    return ["0" * min(len(p), 4) if p.isdigit() and p.isascii() else p for p in _PIECES.findall(text)]


def features(text: str) -> dict[str, Counter[str]]:
    """The features of one instruction by group: n-grams of the pieces of its head, tail and whole; and marks."""
    plain = squeeze(text)
    tail = plain[max(0, len(plain) - TAIL) :]
    return {
        "head": Counter("h" + gram for gram in _grams(["^", *pieces(plain[:HEAD])], (1, 2, 3))),
        "tail": Counter("t" + gram for gram in _grams([*pieces(tail), "$"], (1, 2, 3))),
        "whole": Counter("w" + gram for gram in _grams(pieces(plain[:WHOLE]), (1, 2))),
        "mark": Counter("m" + mark for mark in marks(text, plain)),
    }


def marks(text: str, plain: str) -> Iterable[str]:
    """Words for a kind of task (at the beginning, at the end or anywhere), and the shape of the text."""
    ends = (("b", plain[:60]), ("e", plain[-40:]), ("a", plain))
    for name, pattern in _MARKS.items():
        yield from (f"{place} {name}" for place, part in ends if pattern.search(part))
    yield f"length {min(len(plain), 1000).bit_length()}"
    yield f"lines {min(text.strip().count(chr(10)), 4)}"
    if plain.endswith(("?", "吗", "呢")):
        yield "ends as a question"
    first, _, rest = text.strip().partition("\n")
    colon = re.search(r"[:：]", text)
    if len(rest) > 10 or (colon and len(text) - colon.end() > 8):
        yield "something pasted"
        yield f"pasted {language(rest or text[colon.end() :] if colon else rest)}"
    if "?" in squeeze(first) and rest:
        yield "question first"
    yield f"digits {min(sum(map(str.isdigit, plain)), 15).bit_length()}"
    yield f"written {language(plain)}"
    yield from (name for name, pattern in (("code", _CODE), ("quoted", _QUOTED)) if pattern.search(text))


def vectors(texts: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Rows, columns (below `SIZE`) and values of the sparse matrix of features [len(texts), SIZE].

    Each group has its own length (`WEIGHTS`); counts are damped by 1 + log. The hash is CRC-32, the same on every machine.
    """
    rows: list[int] = []
    columns: list[int] = []
    values: list[float] = []
    for row, text in enumerate(texts):
        for group, counted in features(text).items():
            damped = {name: 1 + np.log(count) for name, count in counted.items()}
            length = np.sqrt(sum(value * value for value in damped.values())) or 1.0
            for name, value in damped.items():
                rows.append(row)
                columns.append(zlib.crc32(name.encode("utf-8", "surrogatepass")) % SIZE)
                values.append(WEIGHTS[group] * value / length)
    return np.asarray(rows, np.int64), np.asarray(columns, np.int64), np.asarray(values, np.float32)


def _grams(parts: Sequence[str], sizes: Iterable[int]) -> Iterable[str]:
    for size in sizes:
        yield from ("\x1f".join(parts[i : i + size]) for i in range(len(parts) - size + 1))
