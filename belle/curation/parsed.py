"""What an answer was read as: pieces which, put on end, are the answer itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

CUT = "cut off"
"""The reason of an item that the answer's end cut."""


@dataclass(frozen=True, slots=True)
class Task:
    """One item of an answer. `input` is empty where there is none; `category` is as the model wrote it."""

    instruction: str
    input: str = ""
    output: str = ""
    category: str = ""
    unread: tuple[str, ...] = ()
    """Of a JSON object the members that belong to no part, as `"key": value`."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of an answer: a task; a mark that only sets tasks off; or the rest, with the reason why it was not read."""

    kind: Literal["task", "mark", "rest"]
    text: str
    reason: str = ""
    task: Task | None = None


@dataclass(frozen=True, slots=True)
class Parsed:
    """An answer in pieces. `"".join(piece.text for piece in pieces)` is the answer, with LF for line ends and without BOM."""

    pieces: tuple[Piece, ...]

    @property
    def tasks(self) -> list[Task]:
        """The items that were understood."""
        return [piece.task for piece in self.pieces if piece.task]

    @property
    def rest(self) -> list[tuple[str, str]]:
        """(text, reason) of all that was not read as a task; blank stretches do not count."""
        tasks = self.tasks
        rest = [piece for piece in self.pieces if piece.kind == "rest" and (piece.text.strip() or not tasks)]
        return [(piece.text, piece.reason) for piece in rest] + [(text, "unknown key") for task in tasks for text in task.unread]
