"""Conversations written as one text, in the way of BELLE: `Human: ...` and `Assistant: ...` at the start of lines.

Both spellings of its files are read: `Human:{x}\\nAssistant:{y}` (the multi-turn set) and `Human: \\n{x}\\n\\nAssistant: \\n{y}`
(the template of its training code, and so its reward and preference sets), with half- or full-width colons.
"""

from __future__ import annotations

import re

from belle.data.turns import message
from belle.records import Message

_MARK = re.compile(r"^(Human|Assistant)[ \t]*[:：][ \t]*\n?", re.MULTILINE)
_OPEN = re.compile(r"^Assistant[ \t]*[:：]\s*\Z", re.MULTILINE)


def is_transcript(value: object) -> bool:
    """Whether this is a text that begins with `Human:` and has an `Assistant:` on a later line."""
    # The cheap look first: this is asked of every row.
    if not isinstance(value, str) or "Human" not in value[:200] or "Assistant" not in value:
        return False
    marks = _MARK.split(value)
    return not marks[0].strip() and marks[1:2] == ["Human"] and "Assistant" in marks[3::2]


def is_open(value: object) -> bool:
    """Whether it is a transcript that ends with `Assistant:`, so that the answer stands elsewhere or is still to come."""
    return is_transcript(value) and _OPEN.search(str(value)) is not None


def read_transcript(value: str) -> list[Message]:
    """Its turns. The line breaks between turns belong to the format; an open `Assistant:` at the end is no turn.

    Raises:
        BelleError: a turn is empty or cannot be written as UTF-8.
    """
    said = _MARK.split(value)[1:]
    turns = list(zip(said[::2], said[1::2], strict=True))
    if turns and turns[-1][0] == "Assistant" and not turns[-1][1].strip():
        turns.pop()
    last = len(turns) if turns and turns[-1][0] == "Assistant" else 0
    return [
        message({"from": role, "value": words if n == last else words.rstrip("\n")}, f"turn {n}")
        for n, (role, words) in enumerate(turns, 1)
    ]
