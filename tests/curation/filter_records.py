"""Records for the tests of the filters, in one line each."""

from __future__ import annotations

from belle.curation.items import Drop
from belle.curation.texts import Curated
from belle.records import Conversation, Message


def talk(*turns: str) -> Conversation:
    """A conversation; the user begins."""
    return Conversation(tuple(Message("user" if n % 2 == 0 else "assistant", text) for n, text in enumerate(turns)))


def reason(found: str | Drop | None) -> str | None:
    """The reason alone."""
    return found.reason if isinstance(found, Drop) else found


def texts(record: Curated | Drop) -> list[str]:
    """What the turns of an edited record say."""
    assert isinstance(record, Conversation)
    return [message.content for message in record.messages]
