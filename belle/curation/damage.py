"""Damaged text: the filters `mojibake` and `control_characters`, and the edit `repair_mojibake`.

Mojibake is text that was written in one encoding and read in another. What can be seen of it: UTF-8 read as Latin-1 or
Windows-1252 (Ã©, ä½\xa0å¥½), UTF-8 read as GBK (涓枃), GBK read as Latin-1 (ÄãºÃ), and what was lost for good (�, 锟斤拷).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator

from belle.curation.items import Drop
from belle.curation.rounds import turns, with_texts
from belle.curation.texts import Curated

# Tab, line feed and carriage return are white space. U+0085 is a line end in some files, and as C1 a sign of damage in most.
_DAMAGE_CONTROLS = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f]")
_CONTROLS = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb"
    "\ufdd0-\ufdef\ufffe\uffff\ue000-\uf8ff\ud800-\udfff]"
)
_LOST = re.compile(
    "\ufffd|锟斤拷|(?:烫){6,}|(?:屯){6,}|锘匡|銆[\u0080-\u9fff]?銆|(?<!\\?)(?:\\?{3,}[\u4e00-\u9fff]){2,}|(?<=[a-z0-9.,])Â(?=[\\s.,]|$)"
)

# The bytes 80-BF as Windows-1252 shows them; where it has no character, Latin-1 shows a C1 control.
_HIGH = "".join(bytes([byte]).decode("cp1252", errors="ignore") or chr(byte) for byte in range(0x80, 0xC0)) + "".join(
    chr(byte) for byte in range(0x80, 0xA0)
)
_BYTES = {char: 0x80 + n for n, char in enumerate(_HIGH[:64])} | {chr(byte): byte for byte in range(0x80, 0x100)}
_TAIL = "[" + re.escape(_HIGH) + "]"
_LATIN = re.compile(f"(?:[Â-ß]{_TAIL}|[à-ï]{_TAIL}{{2}}|[ð-ô]{_TAIL}{{3}})+")
_TOLD = re.compile(r"乱码|编码|解码|gbk|utf-?8|encod|decod", re.IGNORECASE)
_LATIN_RUN = re.compile("[\xa1-\xff]{4,}")


def mojibake(record: Curated) -> Drop | None:
    """Removes records with text that was read in the wrong encoding, lost characters or the control characters of damage."""
    for text in turns(record):
        if text.isascii():
            found = _DAMAGE_CONTROLS.search(text)
            if found:
                return Drop("control character", f"U+{ord(found.group()):04X}")
            continue
        if (found := _LOST.search(text)) and not _is_told(found.group(), record):
            return Drop("lost characters", found.group()[:20])
        if latin := next(_misread_latin(text), None):
            return Drop("UTF-8 read as Latin-1", f"{latin[0][:20]} was {latin[1][:20]}")
        if found := _DAMAGE_CONTROLS.search(text):
            return Drop("control character", f"U+{ord(found.group()):04X}")
        for found in _LATIN_RUN.finditer(text):
            if _gbk_text(found.group()):
                return Drop("GBK read as Latin-1", found.group()[:20])
        if any(map(_common_as_utf8, _misread_gbk().findall(text))):
            return Drop("UTF-8 read as GBK")
    return None


def _is_told(damage: str, record: Curated) -> bool:
    """Whether somebody tells where 锟斤拷 comes from, who has to write it; U+FFFD itself is never meant."""
    return damage != "\ufffd" and any(map(_TOLD.search, turns(record)))


def control_characters(record: Curated) -> Drop | None:
    """Removes records with control characters, or ones that cannot be seen or mean nothing: zero-width, direction, private use.

    `normalise` takes most of them out instead.
    """
    for text in turns(record):
        if found := _CONTROLS.search(text):
            return Drop("control character", f"U+{ord(found.group()):04X}")
    return None


def repair_mojibake(record: Curated) -> Curated:
    """Mends UTF-8 that was read as Latin-1 or Windows-1252 (Ã© becomes é), where the bytes leave no doubt; the rest stays."""
    return with_texts(record, _repaired)


def _repaired(text: str) -> str:
    if text.isascii():
        return text
    for _ in range(3):  # what was misread twice is mended twice
        mended = _LATIN.sub(lambda match: _utf8(match.group()) or match.group(), text)
        if mended == text:
            break
        text = mended
    return text


def _misread_latin(text: str) -> Iterator[tuple[str, str]]:
    for match in _LATIN.finditer(text):
        if was := _utf8(match.group()):
            yield match.group(), was


def _utf8(run: str) -> str | None:
    """What the run's bytes say as UTF-8, where that is text and the run is not: else None."""
    data = bytes(_BYTES[char] for char in run)
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return None
    if not all(char.isprintable() or char.isspace() for char in text):
        return None
    return text if len(text) > 1 or _sure_alone(run, text) else None


def _sure_alone(run: str, mended: str) -> bool:
    """Whether a run that mends to a single character is damage.

    A letter or a sign before a space or a mark may be just that: `3 ×` and a no-break space would be a Hebrew letter, `café` and
    the space and » of a French quotation a Chinese one. Â and Ã before another sign are not written by anybody.
    """
    if run[0] in "ÂÃ":
        return True
    if run[0] in "ÄÅ":
        return run[1] not in "\xa0»…’”–—"
    return mended[0] in "\u200b\ufeff" or "\u2010" <= mended[0] <= "\u22ff" or mended[0] >= "\uff01"


def _gbk_text(run: str) -> bool:
    """Whether the bytes of a run of Latin-1 letters are common Chinese characters in GBK (GB 2312, level 1: lead B0 to D7)."""
    data = run.encode("latin-1")
    data = data[: len(data) // 2 * 2]
    pairs = list(zip(data[::2], data[1::2], strict=True))
    common = sum((0xB0 <= lead <= 0xD7 and tail >= 0xA1) or lead == 0xA3 for lead, tail in pairs)
    return len(pairs) >= 2 and common == len(pairs)


def _common_as_utf8(three: str) -> bool:
    """Whether the six GBK bytes of three characters are two common characters of Chinese, or punctuation."""
    return all(
        char in "，。、；：？！“”（）《》" or 0xB0 <= char.encode("gb2312", "replace")[0] <= 0xD7
        for char in three.encode("gbk").decode()
    )


@functools.cache
def _misread_gbk() -> re.Pattern[str]:
    """Three characters whose six GBK bytes are two UTF-8 characters of Chinese: 涓枃 is 中文.

    The first of them has a lead byte E4-E9, which in GBK are rare characters; in real text they do not stand in such threes.
    """
    first, second, third = [], [], []
    for lead in range(0x81, 0xFF):
        for tail in [*range(0x40, 0x7F), *range(0x80, 0xFF)]:
            try:
                char = bytes([lead, tail]).decode("gbk")
            except UnicodeDecodeError:
                continue
            if 0xE3 <= lead <= 0xE9 and 0x80 <= tail <= 0xBF:
                first.append(char)
            if 0x80 <= lead <= 0xBF and 0xE3 <= tail <= 0xEF:
                second.append(char)
            if 0x80 <= lead <= 0xBF and 0x80 <= tail <= 0xBF:
                third.append(char)
    a, b, c = (re.escape("".join(chars)) for chars in (first, second, third))
    return re.compile(f"[{a}][{b}][{c}]")
