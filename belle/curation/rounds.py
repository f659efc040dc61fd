"""A record as rounds of question and answer, which is how most filters look at it; and a new text for every turn, for edits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from belle.curation.texts import Curated
from belle.records import Document, Message


@dataclass(frozen=True, slots=True)
class Round:
    """One answer and what it answers. A round without an answer is the end of a record that stops at the user's turn."""

    earlier: str
    """All turns before the question, one a line: what the question may refer to."""
    question: str
    """The user turns since the last answer, one a line."""
    answer: str | None
    """The assistant's text; None where there is no assistant turn, or where it calls a tool instead of answering."""


def rounds(record: Curated) -> Iterator[Round]:
    """The rounds of a conversation, in order. A document has none."""
    if isinstance(record, Document):
        return
    earlier: list[str] = []
    question: list[str] = []
    for message in record.messages:
        if message.role == "user":
            question.append(message.content)
        elif message.role == "assistant":
            answer = None if message.tool_calls and not message.content.strip() else message.content
            yield Round("\n".join(earlier), "\n".join(question), answer)
            earlier += [*question, message.content]
            question = []
        else:  # a tool or the system: what stands there may be "the text above"
            earlier.append(message.content)
    if question:
        yield Round("\n".join(earlier), "\n".join(question), None)


def answers(record: Curated) -> list[str]:
    """Every answer of a conversation; of a document its text."""
    if isinstance(record, Document):
        return [record.text]
    return [each.answer for each in rounds(record) if each.answer is not None]


def questions(record: Curated) -> list[str]:
    """Every user turn of a conversation; a document has none."""
    return [] if isinstance(record, Document) else [m.content for m in record.messages if m.role == "user"]


def turns(record: Curated) -> list[str]:
    """Every turn but the system's; of a document its text."""
    if isinstance(record, Document):
        return [record.text]
    return [message.content for message in record.messages if message.role != "system"]


def with_texts(record: Curated, change: Callable[[str], str], roles: tuple[str, ...] = ()) -> Curated:
    """The record with `change` made to the text of every turn (of the given roles); the same object where nothing changes."""
    if isinstance(record, Document):
        text = record.text if roles else change(record.text)
        return record if text == record.text else replace(record, text=text)
    messages: list[Message] = []
    changed = False
    for message in record.messages:
        text = message.content if roles and message.role not in roles else change(message.content)
        changed |= text != message.content
        messages.append(message if text == message.content else replace(message, content=text))
    return replace(record, messages=tuple(messages)) if changed else record
