"""The filter `truncated`: answers that stop in the middle."""

from __future__ import annotations

import re

from belle.curation.items import Drop
from belle.curation.rounds import rounds
from belle.curation.texts import Curated
from belle.data.letters import HAN
from belle.records import Document

_FENCE = re.compile(r"^[^\S\n]*(?:```|~~~)", re.MULTILINE)
_BARE_ITEM = re.compile(
    r"(?:^|\n)\s*(?:\(?\d{1,3}[.、)）]|[-*•]|#{1,6}|[（(][一二三四五六七八九十\d]+[)）]|[一二三四五六七八九十]、)\s*\Z"
)
_OPEN_END = re.compile(
    r"[，,、：；（(“「『《【\[{‘—]\s*\Z|(?<=[a-z])-\s*\Z|(?<=[A-Za-z\u3400-\u9fff]):\s*\Z|(?<=\w);\s*\Z|[=＝]\s*\Z"
)
_ENDED = re.compile(r"[。！？.!?…”\"’'」』）)】\]}>》;|`*_~%℃°]\s*\Z")
_STOPPED = re.compile(r"[。！？.!?；;…]\s*\Z")
_ENDERS = re.compile(r"[。！？；!?;]|\.(?=\s|$)")
_COMMAS = re.compile(r"[，,]")
_HAN = re.compile(f"[{HAN}]")
_HAN_END = re.compile(f"[{HAN}]\\Z")
_WORDS = re.compile(r"[A-Za-z\u00c0-\u024f']+")
_DANGLING_ZH = re.compile(
    r"(?:的|和|与|或|及|以及|并|并且|而且|而|但|但是|因为|所以|如果|虽然|由于|在|把|将|被|对|对于|从|向|往|给|让|使|比|跟|同|以"
    r"|为了|通过|关于|根据|按照|包括|例如|比如|特别是|尤其是|则是|就是|也是"
    r"|不仅|还是|会|能够|可以|需要|应该|必须|一个|一种|这个|那个|这些|那些|我们|他们|它们|其中|之间的|不|很|更|最|都|也|就|还)\Z"
)
_DANGLING_EN = re.compile(
    r"\b(?:the|a|an|of|and|or|but|to|in|on|at|for|with|from|by|as|that|which|who|whose|because|if|when|while|is|are|was|were|be"
    r"|been|has|have|had|will|would|can|could|should|may|might|must|"
    r"their|its|his|her|your|our|my|this|these|those|than|into|about|such|both|between|not|also|very|more|most|so|then|where"
    r"|how)\Z",
    re.IGNORECASE,
)
_ITEM = re.compile(
    r"^\s*(?:\(?\d{1,3}[.、)）:：]|[-*•·]|[①-⑳]|[（(][一二三四五六七八九十\d]+[)）]|[一二三四五六七八九十]+、"
    r"|第[一二三四五六七八九十\d]+[步条点，])\s*"
)
_SIGNED = re.compile(
    r"^\s*(?:[^\s，。]{1,12}[:：].{0,24}|[\d年月日./-]{6,}|.{0,4}敬上|此致|敬礼|.{0,40}\b(?:sincerely|regards|yours|love)\b.*)$",
    re.IGNORECASE,
)
_INLINE_ITEM = re.compile(r"(?:^|[\s；;。，,])\(?\d{1,2}[.、)）]\s*(?=[^\s\d])")
_GREETING = re.compile(r"(?:祝福|祝好|祝愿|敬上|谨启|谨上|此致|敬礼|问候)[，,。！\s]*[^\s，。！？]{1,8}\Z")
_CUT_WORD = re.compile(r"[a-z]{2,}\Z|\b[aI]\Z")
_FAREWELL = re.compile(r"\b(?:best|kind|warm|regards|wishes|sincerely|yours|love|cheers|thanks|thank you)\b", re.IGNORECASE)
_TRAILERS = re.compile(r"[\s\u200b\u200d\ufe0f\U0001f000-\U0001faff\u2600-\u27bf]+\Z")
_OPENING, _CLOSING = "（(“「『《【[{", "）)”」』》】]}"


def truncated(record: Curated) -> Drop | None:
    """Removes answers that stop in mid-sentence, in an open code block or bracket, or at the bare number of a next item.

    Titles, names, code, verses, signatures and lists whose items have no full stop are whole as they are. A document may end
    anywhere.
    """
    if isinstance(record, Document):
        return None
    for each in rounds(record):
        if each.answer and (reason := truncation(each.answer)):
            return Drop(reason, "…" + each.answer.rstrip()[-40:])
    return None


def truncation(text: str) -> str | None:
    """Why a text seems to be cut off at its end; None where it does not."""
    text = text.rstrip()
    if not text:
        return None
    if len(_FENCE.findall(text)) % 2:
        return "open code block"
    if text.endswith(("```", "~~~")):
        return None
    prose = _outside_fences(text).rstrip()
    if "\n" in prose and _BARE_ITEM.match(prose.rsplit("\n", 1)[-1]):
        return "ends with the number of an item"
    says_something = _HAN.search(text) or len(_WORDS.findall(text)) >= 4
    if says_something and _OPEN_END.search(prose) and not _is_code(prose):
        return "ends on a comma or an opening"
    if _TRAILERS.search(text[-1]):  # an emoji or a heart ends a sentence as a full stop does
        return None
    lines = [line for line in prose.split("\n") if line.strip()]
    if len(lines) >= 3 and all(line.lstrip().startswith("|") for line in lines[-3:]):
        short = lines[-1].count("|") < min(line.count("|") for line in lines[-3:-1])
        return "open row of a table" if short else None
    if not lines or _ENDED.search(lines[-1]):
        return None
    return _mid_sentence(lines)


def _outside_fences(text: str) -> str:
    """The text without its code blocks; by lines, since a pattern takes quadratic time where many fences open and none closes."""
    kept, inside = [], False
    for line in text.split("\n"):
        if _FENCE.match(line):
            inside = not inside
            kept.append("")
        elif not inside:
            kept.append(line)
    return "\n".join(kept)


def _mid_sentence(lines: list[str]) -> str | None:
    last = _ITEM.sub("", lines[-1]).strip()
    if _is_code(last) or lines[-1].lstrip().startswith(("|", "#", "    ", "\t", "<", "$")):
        return None
    han, words = len(_HAN.findall(last)), _WORDS.findall(last)
    if not (han and _HAN_END.search(last)) and not (len(words) >= 3 and _CUT_WORD.search(last)):
        return None
    if _open_bracket(last) and han * 2 + len(words) >= 8:
        return "open bracket"
    chinese = han > len(words)
    dangling = (_DANGLING_ZH if chinese else _DANGLING_EN).search(last)
    long = han >= 14 if chinese else len(words) >= 7
    if dangling and long and not (chinese and dangling.group() in "的了" and han < 20):
        return "ends on a word that goes on"
    if _SIGNED.match(last) and not long:
        return None
    # Where other lines end without a full stop too, that is how this text is written.
    others = [line.strip() for line in lines[:-1] if len(_HAN.findall(line)) >= 6 or len(_WORDS.findall(line)) >= 4]
    if others and sum(not _ENDED.search(line) for line in others) * 2 >= len(others):
        return None
    items = [line for line in lines[:-1] if _ITEM.match(line)]
    if _ITEM.match(lines[-1]) and len(items) >= 2 and all(_STOPPED.search(line) for line in items):
        return "stops in an item"
    fragment = _ENDERS.split(last)[-1].strip()
    if dangling is None and (len(_INLINE_ITEM.findall(last)) >= 2 or _GREETING.search(last)):
        return None
    if not chinese and (len(_WORDS.findall(fragment)) < 3 or _FAREWELL.search(fragment)):
        return None
    inner = len(fragment) < len(last)
    if others:
        stops = sum(bool(_ENDED.search(line)) for line in others)
        return "stops in a sentence" if stops == len(others) and (long or (inner and han + len(words) >= 6)) else None
    if inner and (han >= 6 or len(words) >= 6):
        return "stops in a sentence"
    commas = len(_COMMAS.findall(last))
    if (chinese and commas >= 1 and han >= 26) or (not chinese and len(words) >= 25):
        return "stops in a sentence"
    return None


def _open_bracket(text: str) -> bool:
    counts = [text.count(opening) - text.count(closing) for opening, closing in zip(_OPENING, _CLOSING, strict=True)]
    return any(count > 0 for count in counts)


def _is_code(text: str) -> bool:
    return bool(
        re.search(r"[{};]\s*\Z|^\s*(?:\$|>>>|[\w.]+\(.*\)|[\w.]+\s*=|https?://|SELECT|import|def )", text.strip().split("\n")[-1])
    )
