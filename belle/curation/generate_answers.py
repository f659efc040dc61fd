"""The kinds `answer` (answers to given instructions) and `rewrite` (given instructions in other words, their answers kept)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from belle.curation.generate_tasks import first_round, request
from belle.curation.kinds import Candidate, Reject, Settings, View
from belle.curation.parse_tasks import plain_lines, split_thought, unquoted
from belle.curation.parsed import CUT
from belle.curation.prompt_files import load_prompt
from belle.curation.task_labels import FENCE, read_label
from belle.curation.texts import fold
from belle.errors import BelleError
from belle.records import Conversation, Document, Message

if TYPE_CHECKING:
    from belle.inference.backend import Answer, Request


def plain_answer(answer: Answer) -> tuple[str, list[Candidate | Reject]]:
    """(the text of an answer without a thought before it, what must be said of it); a cut or empty answer has no text."""
    thoughts, text = split_thought(plain_lines(answer.text))
    said: list[Candidate | Reject] = [Reject(thought.reason, "", thought.text) for thought in thoughts]
    text = text.strip()
    if answer.finish == "length":
        return "", [*said, Reject(CUT, "", text)]
    if not text:
        return "", [*said, Reject("empty answer")]
    return text, said


class Answers:
    """Answers to given instructions: of a conversation the turns up to the last that is not the assistant's."""

    needs: ClassVar[str] = "conversations"
    against_seeds: ClassVar[bool] = False
    novelty: ClassVar[float] = 1.0
    category = ""
    per_request = 1

    def __init__(self, seeds: Sequence[Conversation], data: Sequence[Conversation | Document], settings: Settings) -> None:
        self.settings = settings
        self.records = [record for record in data if isinstance(record, Conversation)]
        self.total = len(self.records)
        self.prompt = load_prompt(settings.prompts, "answer", settings.language, {})

    def compose(self, i: int, view: View) -> Request | None:
        """The prompt's rules as the system turn where the record has none, then the conversation."""
        from belle.inference.backend import Request

        if i >= self.total:
            return None
        asked = self._asked(i)
        rules = () if asked and asked[0].role == "system" else (Message("system", self.prompt.fill()),)
        return Request((*rules, *asked), self.records[i].tools, f"answer-{i:06d}")

    def read(self, i: int, answer: Answer) -> list[Candidate | Reject]:
        """The conversation with its answer."""
        text, said = plain_answer(answer)
        if not text:
            return said
        record = replace(self.records[i], messages=(*self._asked(i), Message("assistant", text)))
        return [*said, Candidate(record, "\n".join(message.content for message in self._asked(i) if message.role == "user"))]

    def _asked(self, i: int) -> tuple[Message, ...]:
        messages = self.records[i].messages
        end = next((n + 1 for n in reversed(range(len(messages))) if messages[n].role in ("user", "tool")), 0)
        return messages[:end]


class Rewrites:
    """Given instructions in other words that mean the same; the first answer stays as it is."""

    needs: ClassVar[str] = "conversations"
    against_seeds: ClassVar[bool] = True
    novelty: ClassVar[float] = 0.9
    category = ""
    per_request = 1

    def __init__(self, seeds: Sequence[Conversation], data: Sequence[Conversation | Document], settings: Settings) -> None:
        self.settings = settings
        self.records = [record for record in data if isinstance(record, Conversation)]
        for record in self.records:
            if not all(first_round(record)):
                raise BelleError(f"{record.source}: rewrite keeps the answer, and there is none", "use kind=answer first")
        self.total = len(self.records)
        self.prompt = load_prompt(settings.prompts, "rewrite", settings.language, {"instruction": True})

    def compose(self, i: int, view: View) -> Request | None:
        """One record."""
        if i >= self.total:
            return None
        return request("rewrite", i, self.prompt.fill(instruction=first_round(self.records[i])[0]))

    def read(self, i: int, answer: Answer) -> list[Candidate | Reject]:
        """The new wording, without what models put around it: a label, quotes, a code fence."""
        text, said = plain_answer(answer)
        if not text:
            return said
        asked, output = first_round(self.records[i])
        text = unwrapped(text)
        if not text or fold(text) == fold(asked):
            return [*said, Reject("unchanged" if text else "empty answer", "", answer.text)]
        record = replace(self.records[i], messages=(Message("user", text), Message("assistant", output)), id="")
        return [*said, Candidate(record, text)]


def unwrapped(text: str) -> str:
    """A text without a label before it and without the fence or quotes around the whole."""
    lines = text.strip().split("\n")
    if len(lines) > 2 and FENCE.match(lines[0]) and FENCE.match(lines[-1]):
        lines = lines[1:-1]
    label = read_label(lines[0])
    if label is not None:
        lines = [label.rest, *lines[1:]]
    return unquoted("\n".join(lines).strip())
