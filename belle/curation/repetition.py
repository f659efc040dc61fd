"""The filter `repetition`: answers that go round in a loop."""

from __future__ import annotations

import re

from belle.curation.items import Drop
from belle.curation.rounds import rounds
from belle.curation.texts import Curated
from belle.data.letters import CODE_BLOCK, HAN
from belle.records import Document

_GRAM = 6
"""Characters of an n-gram: two equal ones at the distance p, position after position, are a loop of period p."""
_PERIODS = 4
"""How many of the commonest distances are looked at."""
_TIDY = re.compile(
    r"\s+|^\s*\(?\d{1,3}[.、)）:：]\s*|第[一二三四五六七八九十百\d]{1,4}[步条点项个]?|\bstep \d{1,3}\b|[(（]\d{1,3}[)）]",
    re.MULTILINE,
)
"""White space and what counts: a step that comes back with the next number comes back."""
_HAN = re.compile(f"[{HAN}]")
_ASKED = re.compile(
    r"重复|抄写?\S{0,12}遍|[\d一二三四五六七八九十百千两几]+\s*[遍次]|连续(?:写|打印|输出)|复读|\brepeat|\b(?:\d+|two|three"
    r"|four|five|six|seven|eight|nine"
    r"|ten|twenty|fifty|hundred)"
    r" (?:times|copies|rows|lines of)\b",
    re.IGNORECASE,
)
_SONG = re.compile(r"\b(?:verse|chorus|bridge)\b|副歌|主歌|歌词", re.IGNORECASE)
_ODD = 0x9E3779B97F4A7C15


class Repetition:
    """Removes answers with a loop: the same characters over and over, with a period of any length.

    A loop is counted by its weight: its letters and digits, a Han character as three. A table, a row of dashes or laughter is
    none; nor is what the question asks to be repeated.

    Args:
        weight: of the whole loop, where it goes round at least 4 times. Three rounds need 2.5 times as much, two rounds 5 times
            and nine tenths of the answer; a period of 1 to 3 characters needs 12 rounds.
    """

    def __init__(self, *, weight: int = 60) -> None:
        self.weight = weight

    def __call__(self, record: Curated) -> Drop | None:
        """The first loop of an answer; None where there is none."""
        if isinstance(record, Document):
            return self._loop(record.text)
        for each in rounds(record):
            if each.answer is not None and (drop := self._loop(each.answer)) and not _ASKED.search(each.question):
                return drop
        return None

    def _loop(self, text: str) -> Drop | None:
        if len(text) < 24:
            return None
        prose = CODE_BLOCK.sub(" ", text) if "`" in text or "~~~" in text else text
        tidy = _TIDY.sub(" ", prose.casefold())
        if drop := self._periodic(tidy, 1) or (self._twice(prose) if "\n" in prose and not _SONG.search(prose) else None):
            return drop
        # In code, rows that are alike are the rule: only a long loop is one.
        return self._periodic(text, 3) if prose is not text else None

    def _twice(self, text: str) -> Drop | None:
        """Whole paragraphs that come back word for word; the lines of a song are shorter than a paragraph."""
        seen: set[str] = set()
        weight = 0
        for line in text.split("\n"):
            line = line.strip()
            if len(line) >= 25:
                weight += _weight(line) if line in seen else 0
                if weight >= 2 * self.weight:
                    return Drop("paragraph twice", line[:40])
                seen.add(line)
        return None

    def _periodic(self, text: str, strict: int) -> Drop | None:
        for start, period, length in _runs(text):
            unit = text[start : start + period]
            weight_of_unit = _weight(unit)
            repeats = length / period
            weight = weight_of_unit * repeats
            if not weight_of_unit:
                looped = length >= 600 * strict and not unit.isspace()
            elif period <= 3:
                looped = repeats >= 12 and length >= 24 and weight >= 0.5 * self.weight * strict
            elif repeats >= 4:
                looped = weight >= self.weight * strict
            elif repeats >= 2.8:
                looped = weight >= 2.5 * self.weight * strict
            else:
                looped = repeats >= 1.95 and weight >= 5 * self.weight * strict and length >= 0.9 * len(text)
            if looped:
                return Drop("loop", f"{repeats:.0f} times: {unit.strip()[:40]}")
        return None


def _weight(text: str) -> int:
    return sum(map(str.isalnum, text)) + 2 * len(_HAN.findall(text))


def _runs(text: str) -> list[tuple[int, int, int]]:
    """(start, period, length) of the loops, as characters: text[start : start + length] has this period, and more than one.

    Equal n-grams and their nearest distances tell which periods there may be; the commonest are looked at character by character,
    since inside a long period an n-gram may come back sooner.
    """
    import numpy as np

    size = len(text) - _GRAM + 1
    if size < 2:
        return []
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    keys = codes[:size].astype(np.uint64)
    for n in range(1, _GRAM):
        keys = keys * np.uint64(_ODD) + codes[n : n + size]
    order = np.argsort(keys, kind="stable")
    ranked = keys[order]
    equal = np.flatnonzero(ranked[1:] == ranked[:-1])
    if len(equal) < _GRAM:
        return []
    counts = np.bincount(order[equal + 1] - order[equal])
    found = []
    for period in np.argsort(-counts, kind="stable")[:_PERIODS].tolist():
        if counts[period] < _GRAM:
            break
        same = np.concatenate(([False], codes[period:] == codes[:-period], [False]))
        edges = np.flatnonzero(same[1:] != same[:-1])
        lengths = edges[1::2] - edges[::2]
        longest = int(np.argmax(lengths))
        length = period + int(lengths[longest])
        if length >= max(1.9 * period, 12):
            found.append((int(edges[2 * longest]), period, length))
    return found
