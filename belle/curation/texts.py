"""The texts of a record that the steps of cleaning look at, and the folded form in which two texts count as equal."""

from __future__ import annotations

import unicodedata

from belle.records import Conversation, Document

Curated = Conversation | Document


def instruction_text(record: Curated) -> str:
    """All user turns, one a line; of a document its text."""
    if isinstance(record, Document):
        return record.text
    return "\n".join(message.content for message in record.messages if message.role == "user")


def answer_text(record: Curated) -> str:
    """All assistant turns, one a line; of a document its text."""
    if isinstance(record, Document):
        return record.text
    return "\n".join(message.content for message in record.messages if message.role == "assistant")


def whole_text(record: Curated) -> str:
    """Every turn but the system's, one a line; of a document its text."""
    if isinstance(record, Document):
        return record.text
    return "\n".join(message.content for message in record.messages if message.role != "system")


def fold(text: str) -> str:
    """The text without what nobody would call a difference: width, case, white space, punctuation (NFKC, casefold, L/N/S kept).

    Symbols stay (1+1 is not 11); a text of punctuation alone folds to its NFKC form without white space.
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    kept = "".join(char for char in folded if unicodedata.category(char)[0] in "LNSM")
    return kept or "".join(folded.split())
