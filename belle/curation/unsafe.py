"""The filter `unsafe`: content that a word list tells, in a file that anybody may edit (`unsafe_words.txt` beside this one)."""

from __future__ import annotations

import functools
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from belle.curation.items import Drop
from belle.curation.refusals import Refusal
from belle.curation.rounds import rounds
from belle.curation.texts import Curated
from belle.errors import BelleError
from belle.records import Document

SHIPPED = Path(__file__).parent / "unsafe_words.txt"

_SENTENCE = re.compile(r"[。！？!?\n；;]+|\.(?=\s|$)")
_CARES = re.compile(
    r"热线|求助|报警|心理咨询|心理援助|专业帮助|110|120|12356|违法|犯法|不要这样做|请不要|切勿|请立即停止|建议您联系"
    r"|\b(?:hotline|helpline|988|crisis line"
    r"|emergency services|call the police|seek help|"
    r"illegal|professional help|please (?:don't|do not)|domestic violence)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of a word list: one of each group in a sentence, and none of `unless` in the turn or the question before it."""

    line: int
    groups: tuple[re.Pattern[str], ...]
    unless: re.Pattern[str] | None
    needed: tuple[str, ...]
    """The words of the group that is rarest, as far as their first star: a text without any of them cannot break the rule."""


class Unsafe:
    """Removes records that a word list tells to be unsafe: weapons, drugs, violence, self-harm, hatred, abuse, crime.

    A record whose answer refuses, warns or names a place that helps is kept: it shows how to answer. `refusal` may remove it.

    Args:
        words: a word list of one's own instead of belle's; its form is told at the head of `belle/curation/unsafe_words.txt`.
        more: further words, each of which removes a record by itself.
        answered_well: whether records are kept whose answer refuses or helps.

    Raises:
        BelleError: the list cannot be read, or a line of it makes no sense (with its number).
    """

    def __init__(self, *, words: str = "", more: tuple[str, ...] = (), answered_well: bool = True) -> None:
        self.rules = read_rules(words or str(SHIPPED)) + tuple(_rule(0, word, "more") for word in more)
        self.answered_well = answered_well
        self._hint = re.compile(_trie({word for rule in self.rules for word in rule.needed}))
        self._refusal = Refusal()

    def __call__(self, record: Curated) -> Drop | None:
        """The first rule that a turn breaks; None where there is none."""
        if isinstance(record, Document):
            return self._broken(record.text)
        for each in rounds(record):
            drop = self._broken(each.question)
            if each.answer and not drop:
                drop = self._broken(each.answer, f"{each.question}\n{each.answer}")
            if drop and not (self.answered_well and each.answer and self._well(each.answer)):
                return drop
        return None

    def _well(self, answer: str) -> bool:
        return bool(_CARES.search(answer)) or self._refusal._answer(answer) is not None

    def _broken(self, text: str, around: str = "") -> Drop | None:
        folded = _folded(text)
        flat = folded.replace("\n", " ")
        if not self._hint.search(flat):
            return None
        around = _folded(around) if around else folded
        sentences = _SENTENCE.split(folded)
        for rule in self.rules:
            if not any(word in flat for word in rule.needed):
                continue
            for sentence in sentences:
                found = [group.search(sentence) for group in rule.groups]
                if all(found) and not (rule.unless and rule.unless.search(around)):
                    return Drop("unsafe words", f"line {rule.line}: " + " & ".join(match.group() for match in found if match))
        return None


@functools.lru_cache(maxsize=8)
def read_rules(path: str) -> tuple[Rule, ...]:
    """The rules of a word list. Raises: BelleError: it cannot be read, or a line of it makes no sense."""
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BelleError(f"{path}: the word list cannot be read: {error}", "name a text file in UTF-8") from error
    rules = [_rule(n, line, path) for n, line in enumerate(lines, start=1) if line.strip() and not line.lstrip().startswith("#")]
    if not rules:
        raise BelleError(f"{path}: the word list has no rule", "write one word a line")
    return tuple(rules)


def _rule(number: int, line: str, path: str) -> Rule:
    wanted, _, unless = line.partition("!")
    groups = wanted.split("&")
    for part in [*groups, *([unless] if "!" in line else [])]:
        if not all(word.strip() for word in part.split("|")):
            raise BelleError(
                f"{path}:{number}: an empty word in {line.strip()[:60]!r}", "write a word on both sides of | & and !"
            )
    return Rule(
        number, tuple(map(_pattern, groups)), _pattern(unless) if unless else None, tuple(map(_start, _rarest(groups).split("|")))
    )


def _pattern(words: str) -> re.Pattern[str]:
    return re.compile("|".join(_word(word) for word in words.split("|")))


def _word(word: str) -> str:
    folded = _folded(word)
    escaped = re.escape(folded).replace(r"\*", "[a-z]*").replace(r"\ ", r"\s+")
    return rf"(?<![a-z]){escaped}(?![a-z])" if re.search("[a-z]", folded) else escaped


def _rarest(groups: list[str]) -> str:
    """The group whose shortest word is longest, which is the one that stands in the fewest texts."""
    return max(groups, key=lambda group: min(len(_start(word)) for word in group.split("|")))


def _folded(text: str) -> str:
    return (text if text.isascii() else unicodedata.normalize("NFKC", text)).casefold().strip()


def _start(word: str) -> str:
    return _folded(word).split("*")[0]


def _trie(words: set[str]) -> str:
    """A pattern for any of the words, as a tree of their letters: much quicker than a row of alternatives."""
    if "" in words:
        return ""
    branches: dict[str, set[str]] = {}
    for word in words:
        branches.setdefault(word[0], set()).add(word[1:])
    return "(?:" + "|".join(re.escape(first) + _trie(rest) for first, rest in sorted(branches.items())) + ")"
