"""The edit `plain_instruction`: 'have GPT write a poem' becomes 'write a poem'.

Generated instructions often speak of the model that is to follow them. Three forms are rewritten, each at the beginning of a
clause: who is asked (让GPT模型写, ask GPT to write), what it ought to do (GPT模型应该写, GPT should write) and an address
(GPT，写, GPT: write). GPT as the subject of a question stays. Where no whole sentence would be left, the record goes.
"""

from __future__ import annotations

import re
from dataclasses import replace

from belle.curation.items import Drop
from belle.curation.texts import Curated
from belle.records import Document, Message


def _longest_first(words: str) -> str:
    """The words as alternatives, longest first, so that 应该 is not found as 应 with 该 left over."""
    return "|".join(sorted(words.split(), key=lambda word: (-len(word), word)))


_GPT = r"(?:open[ \t]*ai[ \t]*的?[ \t]*)?(?:chat[ \t]*gpt|gpt)(?:[ \t]*-?[ \t]*\d(?:\.\d)?(?:o|[- ]?turbo)?)?"
_ZH_NAME = rf"(?:一个|这个|该)?[ \t]*{_GPT}[ \t]*(?:人工智能|ai)?[ \t]*(?:大?语言模型|模型|系统|助手|机器人)?"
_ASK = _longest_first(
    "请 请让 请要求 请使用 请利用 请用 请求 让 令 使 叫 要求 希望 我希望 我想让 我想要 我要 我要求 我需要 想让 想要 需要 使用"
    " 利用 借助 通过 用 请你让 帮我让 "
    "要让 指示 命令 引导 能否让 请问 询问 问"
)
_OUGHT = _longest_first("应该 应当 理应 需要 必须 务必 应 要 须 得 请 被要求")
_ABLE = _longest_first("能够 可以 能 来 去 帮我 帮忙 为我 给我 帮助我 尝试 试着 自动 会 应该 应当 需要 必须 要 应 请 模仿着")
_CLAUSE = r"(?:(?<=[，,。.；;：:！!？?\n])|^)[ \t]*"
_ZH = re.compile(
    rf"{_CLAUSE}(?:(?P<ask>(?:(?:{_ASK})[ \t]*)+){_ZH_NAME}[ \t]*(?:[，,：:][ \t]*)?(?:(?:{_ABLE})[ \t]*)*"
    rf"|{_ZH_NAME}[ \t]*(?:{_OUGHT})[ \t]*(?:(?:{_ABLE})[ \t]*)*|{_ZH_NAME}[ \t]*[，,：:][ \t]*(?:请[ \t]*)?(?=\S))",
    re.IGNORECASE | re.MULTILINE,
)
_EN_NAME = rf"(?:the\s+|an?\s+)?{_GPT}(?:\s+(?:language\s+)?(?:model|system|assistant|bot))?"
_EN = re.compile(
    rf"{_CLAUSE}(?P<kept>(?:(?:can|could|would|will)[ \t]+you[ \t]+(?:please[ \t]+)?)?)(?:"
    rf"(?:please[ \t]+)?(?:i[ \t]+(?:would[ \t]+like|want|need)|i'd[ \t]+like|ask|get|use|instruct|tell|request|require|allow"
    rf"|prompt)[ \t]+{_EN_NAME}[ \t]+(?:to[ \t]+)(?:please[ \t]+)?"
    rf"|(?:please[ \t]+)?(?:have|let|make)[ \t]+{_EN_NAME}[ \t]+(?=[a-z]+\b)"
    rf"|{_EN_NAME}[ \t]+(?:should|must|needs[ \t]+to|has[ \t]+to|ought[ \t]+to|is[ \t]+(?:asked|required"
    rf"|supposed)[ \t]+to)[ \t]+(?:be[ \t]+able[ \t]+to[ \t]+)?"
    rf"|{_EN_NAME}[ \t]*[,:][ \t]*(?:please[ \t]+)?(?=\S))",
    re.IGNORECASE | re.MULTILINE,
)
_MENTIONED = re.compile("gpt", re.IGNORECASE)
_END = re.compile(r"[。！？!?\n；;]|\.(?=\s|$)")
_QUESTION = re.compile(
    r"什么|如何|怎么|怎样|为何|多少|哪|吗|呢|是否|有没有|\b(?:how|why|what|which|when|where|who|does|improved)\b|[？?]$",
    re.IGNORECASE,
)
_ASKED_POLITELY = re.compile(r"请|要求|希望|我想|我要|我需要|能否|please|would like|\b(?:can|could) you\b", re.IGNORECASE)
# What begins so is the second half of a sentence about GPT, not an order.
_ORPHAN = re.compile(
    r"的|了(?!解)|着|过(?!滤)|是|和|与|或|及|以及|等(?!待)|在|被|有|没|不(?!要|得|超)|很|更|也|都|就|对(?!比|话|以|下|这|给|照"
    r"|联)|模型|系统|技术|生成的|\W*(?:is|are|was"
    r"|were|and|or|'s|has|of|in|for|that)\b",
    re.IGNORECASE,
)
_WORD = re.compile(r"[\u3400-\u9fff]\W*[\u3400-\u9fff\w]|[^\W\d_]{2}")
_FULL_WIDTH = {code: code - 0xFEE0 for code in range(0xFF10, 0xFF5B) if chr(code - 0xFEE0).isalnum()}

_MOST = 100
"""Each rewriting takes a pass over the text; one that names models more often asks none of them, and is left to `refusal`."""


def plain_instruction(record: Curated) -> Curated | Drop:
    """Takes 'ask GPT to' out of the user's turns; a record of whose sentence nothing would be left goes."""
    if isinstance(record, Document):
        return record
    messages: list[Message] = []
    for message in record.messages:
        text = rewritten(message.content) if message.role == "user" else message.content
        if text is None:
            return Drop("only the model's name", message.content.strip()[:60])
        messages.append(message if text == message.content else replace(message, content=text))
    return record if tuple(messages) == record.messages else replace(record, messages=tuple(messages))


def rewritten(text: str) -> str | None:
    """The instruction without 'ask GPT to', unchanged where it has none; None where a sentence of it would be empty."""
    mentions = len(_MENTIONED.findall(text.translate(_FULL_WIDTH)))
    if not 1 <= mentions <= _MOST:
        return text
    start = 0
    while True:
        # Widths are folded one to one, so that places in the folded text are places in the text.
        folded = text.translate(_FULL_WIDTH)
        if not _MENTIONED.search(folded, start):
            return text
        matches = [match for pattern in (_ZH, _EN) if (match := pattern.search(folded, start))]
        if not matches:
            return text
        match = min(matches, key=lambda found: (found.start(), -found.end()))
        if not _MENTIONED.search(match.group()):
            start = match.end()
            continue
        end = _END.search(folded, match.end())
        rest = folded[match.end() : end.start() if end else len(folded)]
        sentence = match.group() + rest + (end.group() if end else "")
        asks = bool(_QUESTION.search(re.split("[：:]", sentence)[0].strip()))
        if _ORPHAN.match(rest) or (asks and not _ASKED_POLITELY.search(match.group())):
            start = match.end()
            continue
        if not _WORD.search(rest):
            return None
        text, start = _without(text, match), match.start()


def _without(text: str, match: re.Match[str]) -> str:
    """The text without the match: what is a clause's own beginning stays, and a Latin sentence begins with a capital again."""
    lead = re.match(r"[ \t]*", match.group()).group()  # type: ignore[union-attr]
    groups = match.groupdict()
    kept = groups.get("kept") or ""
    asked = (groups.get("ask") or "").strip()
    in_sentence = match.start() > 0 and text[match.start() - 1] in "，,"
    if in_sentence and asked.endswith("要求"):
        kept = "要求"
    elif asked.startswith("能否"):
        kept = "能否"
    rest = text[match.end() :]
    first = match.group().lstrip()[:1]
    if not kept and not in_sentence and first.isupper() and rest[:1].isascii():
        rest = rest[:1].upper() + rest[1:]
    return text[: match.start()] + lead + kept + rest
