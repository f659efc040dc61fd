"""Questions with reference answers: what an evaluation asks.

They are read as conversations by `data/formats.py`: rows of question and reference (belle's own and those of BELLE's
`eval_set.json`), or any other format, whose last assistant turn becomes the reference.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from belle.data.categories import CATEGORIES as CATEGORIES
from belle.data.categories import category_name as category_name
from belle.data.formats import load_records
from belle.data.letters import language
from belle.errors import BelleError
from belle.records import Conversation, Message, Source
from belle.sections import DataSection

IDENTITY = "identity"
"""Questions about the assistant itself; reported apart, never part of a macro average."""


@dataclass(frozen=True, slots=True)
class Question:
    """One thing to ask. `language` is the one to answer in; `reference` is None where any good answer will do."""

    id: str
    category: str
    language: str
    messages: tuple[Message, ...]
    reference: str | None
    source: Source = field(default_factory=Source)
    tools: tuple[Mapping[str, Any], ...] = ()

    @property
    def text(self) -> str:
        """The last user turn."""
        return next((m.content for m in reversed(self.messages) if m.role == "user"), "")


def load_questions(section: DataSection, counts: Counter[str] | None = None) -> list[Question]:
    """Read an evaluation set, in the order of its rows; `counts` takes what was mended in them, such as a BOM.

    Raises:
        BelleError: there is no question, a row is malformed or two have one id. A set is read whole or not at all, since
            scores on different parts of it cannot be compared: `data.on_error: keep` is refused.
    """
    if section.on_error == "keep":
        fix = "set data.on_error=stop and mend the rows"
        raise BelleError("data.on_error: an evaluation set is read whole or not at all, so 'keep' has no meaning here", fix)
    loaded = load_records(section)
    if counts is not None:
        counts.update({name: number for name, number in loaded.counts.items() if name != "duplicate id"})
    questions = [_question(record) for record in loaded.records if isinstance(record, Conversation)]
    _refuse_twins(questions)
    return questions


def _question(record: Conversation) -> Question:
    turns = record.messages
    answered = turns[-1].role == "assistant"
    asked, reference = (turns[:-1], turns[-1].content or None) if answered else (turns, None)
    if not any(turn.role == "user" for turn in asked):
        raise BelleError(f"{record.source}: no user turn, so nothing is asked", "give rows with a question")
    language = record.language or _asked_language(asked[-1].content, reference)
    category = category_name(record.category or "other")
    return Question(record.id or _id(record.source), category, language, asked, reference, record.source, record.tools)


def _asked_language(question: str, reference: str | None) -> str:
    """That of the reference where it has one (a translation is asked for in another language), else that of the question."""
    return language(reference or "") or language(question) or "other"


def _id(source: Source) -> str:
    return f"{Path(source.path).stem}-{source.line:05d}"


def _refuse_twins(questions: list[Question]) -> None:
    seen: dict[str, Question] = {}
    for question in questions:
        if question.id in seen:
            first = seen[question.id].source
            raise BelleError(f"{question.source}: id {question.id!r} is that of {first} too", "give each question its own id")
        seen[question.id] = question
