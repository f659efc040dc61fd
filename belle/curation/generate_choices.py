"""The kind `multiple_choice`: questions with lettered options, one of them right."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from belle.curation.generate_tasks import request
from belle.curation.kinds import Candidate, Reject, Settings, View
from belle.curation.parse_tasks import parse_tasks
from belle.curation.parsed import Task
from belle.curation.prompt_files import load_prompt, load_topics
from belle.curation.texts import fold
from belle.records import Conversation, Document, Message

if TYPE_CHECKING:
    from belle.inference.backend import Answer, Request

LETTERS = "ABCDEFGHIJ"
_OPTION = re.compile(
    r"[ \t\u3000]*(?:[-*•][ \t]+)?(?:\*\*)?[(（]?(?P<letter>[A-JＡ-Ｊ])[)）]?(?:\*\*)?[ \t]*[.．、:：)）]?"
    r"(?:\*\*)?[ \t]*(?P<text>\S.*)\Z"
)
_MARKED = re.compile(r"[(（]?[A-JＡ-Ｊ](?:[.．、:：)）]|\*\*)")
_INLINE = re.compile(r"(?<=[^\s*•-])[ \t\u3000]{1,}(?=[(（]?[B-JＢ-Ｊ][.．、:：)）]\s*\S)")
_LETTER = re.compile(
    r"\s*(?:\*\*)?[(（\[【]?(?:选项|option\s)?\s*(?P<letter>[A-JＡ-Ｊ])(?![A-Za-z])[)）\]】]?(?:\*\*)?[.．、:：,，。]?\s*(?P<rest>.*)\Z",
    re.DOTALL | re.IGNORECASE,
)
_WHY = re.compile(r"\s*(?:\*\*)?(?:解析|解释|理由|说明|explanation|reason|why)(?:\*\*)?\s*[:：]\s*(?:\*\*)?", re.IGNORECASE)
WHY = {"zh": "解析：", "en": "Explanation: "}


class Choices:
    """Questions by topic. The answer of a record is the letter, and on the next line why, where the model says so."""

    needs: ClassVar[str] = ""
    against_seeds: ClassVar[bool] = True
    novelty: ClassVar[float] = 0.7
    category = "open_qa"
    total = None

    def __init__(self, seeds: Sequence[Conversation], data: Sequence[Conversation | Document], settings: Settings) -> None:
        self.settings, self.per_request = settings, settings.tasks
        self.prompt = load_prompt(settings.prompts, "multiple_choice", settings.language, {"topic": True, "number": True})
        self.topics = load_topics(settings.prompts, "multiple_choice", settings.language)

    def compose(self, i: int, view: View) -> Request | None:
        """A topic by lot."""
        return request("multiple_choice", i, self.prompt.fill(topic=view.random.choice(self.topics), number=self.settings.tasks))

    def read(self, i: int, answer: Answer) -> list[Candidate | Reject]:
        """Questions with at least two different options and an answer that is one of them."""
        parsed = parse_tasks(answer.text, answer.finish)
        found = [self._read(task) for task in parsed.tasks]
        options = tuple(f'"{word}":' for word in _OPTION_KEYS)
        for text, reason in parsed.rest:
            if reason != "unknown key" or not text.startswith(options):
                word, _, detail = reason.partition(": ")
                found.append(Reject(word, detail, text))
        return found

    def _read(self, task: Task) -> Candidate | Reject:
        row = "\n".join(part for part in (task.instruction, task.input, task.output, *task.unread) if part)
        question, options = split_options("\n".join(filter(None, (task.instruction, task.input))))
        options = options or _json_options(task.unread)
        if not question:
            return Reject("empty question", "", row)
        if len(options) < 2:
            return Reject("no options", f"{len(options)} found", row)
        if len({fold(option) for option in options}) < len(options):
            return Reject("two options are the same", "", row)
        letter = _LETTER.match(task.output)
        if letter is None:
            return Reject("no letter in the answer", task.output[:40], row)
        right = chr(ord(letter["letter"].upper()) - (0xFEE0 if letter["letter"] > "\uff00" else 0))
        if right not in LETTERS[: len(options)]:
            return Reject("the answer is none of the options", right, row)
        why = "\n".join(part for part in (letter["rest"], *_json_why(task.unread)) if part)
        why = _without_repeat(why, options[LETTERS.index(right)])
        lines = [question, *(f"{mark}. {option}" for mark, option in zip(LETTERS, options, strict=False))]
        said = f"{right}\n{WHY[self.settings.language]}{why}" if why else right
        messages = (Message("user", "\n".join(lines)), Message("assistant", said))
        return Candidate(Conversation(messages, category=self.category, language=self.settings.language), question)


def split_options(text: str) -> tuple[str, list[str]]:
    """(question, options) of a text whose options stand on lines of their own, or several on a line: `A. x  B. y`.

    No options where their letters are not A, B, C ... in this order.
    """
    lines = [part for line in text.split("\n") for part in (_INLINE.split(line) if _MARKED.search(line) else [line])]
    begin = next(
        (
            n
            for n, line in enumerate(lines)
            if n and (m := _OPTION.match(line)) and _letter(m["letter"]) == "A" and _MARKED.match(line.strip().lstrip("-*• "))
        ),
        None,
    )
    if begin is None:
        return text.strip(), []
    options: list[str] = []
    for line in lines[begin:]:
        match = _OPTION.match(line)
        if match and len(options) < len(LETTERS) and _letter(match["letter"]) == LETTERS[len(options)]:
            options.append(match["text"].strip())
        elif line.strip() and options:
            options[-1] += "\n" + line.strip()
    question = "\n".join(lines[:begin]).strip()
    return re.sub(r"\n?(?:选项|options)\s*[:：]\s*\Z", "", question, flags=re.IGNORECASE).strip(), options


def _letter(char: str) -> str:
    return chr(ord(char) - 0xFEE0) if char > "\uff00" else char


_OPTION_KEYS = ("options", "choices", "选项", "candidates", *LETTERS, "explanation", "解析", "reason")


def _members(unread: Sequence[str]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for text in unread:
        members |= json.loads("{" + text + "}")
    return members


def _json_options(unread: Sequence[str]) -> list[str]:
    members = _members(unread)
    given = next((members[key] for key in ("options", "choices", "选项", "candidates") if key in members), members)
    if isinstance(given, dict):
        given = [f"{letter}. {given[letter]}" for letter in LETTERS if letter in given]
    if not isinstance(given, list):
        return []
    options = []
    for number, option in enumerate(given[: len(LETTERS)]):
        match = _OPTION.match(str(option))
        marked = match and _letter(match["letter"]) == LETTERS[number] and _MARKED.match(str(option).strip())
        options.append(match["text"].strip() if match and marked else str(option).strip())
    return options


def _json_why(unread: Sequence[str]) -> list[str]:
    members = _members(unread)
    return [str(members[key]) for key in ("explanation", "解析", "reason") if key in members]


def _without_repeat(why: str, option: str) -> str:
    """What is said behind the letter without the option's own text: `B. 长江` says no more than `B`."""
    lines = why.strip().split("\n")
    if fold(lines[0]) == fold(option):
        lines = lines[1:]
    text = "\n".join(lines).strip()
    head = _WHY.match(text)
    return text[head.end() :].strip() if head else text
