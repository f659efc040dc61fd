"""What generation makes: a table of kinds, and what each must be able to do.

A kind writes request i and reads its answer. It holds no state: request i depends on the inputs, on i, and on what it is shown of
the run (`View`), so that a resumed run writes the same requests again.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from belle.errors import BelleError, nearest
from belle.records import Conversation, Document

if TYPE_CHECKING:
    from belle.inference.backend import Answer, Request

KINDS = {
    "self_instruct": "belle.curation.generate_tasks:NewTasks",
    "answer": "belle.curation.generate_answers:Answers",
    "multi_turn": "belle.curation.generate_dialogues:Continuations",
    "role_play": "belle.curation.generate_dialogues:Roles",
    "math": "belle.curation.generate_math:MathProblems",
    "evolve": "belle.curation.generate_tasks:Evolved",
    "rewrite": "belle.curation.generate_answers:Rewrites",
    "from_document": "belle.curation.generate_questions:Questions",
    "multiple_choice": "belle.curation.generate_choices:Choices",
}
"""name -> `module:class` of a `Kind`."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a kind may be told. `language` is zh or en, that of the prompts; `prompts` is a folder of the user's."""

    language: str = "zh"
    prompts: Path | None = None
    tasks: int = 5
    """Tasks, problems or questions to ask for in one request."""
    examples: int = 4
    """Examples to show in one request."""
    ratio: float = 0.25
    """The share of the examples that are accepted ones, as soon as there are so many; the others are seeds."""
    rounds: int = 3
    """Rounds of a dialogue."""
    chunk: int = 1200
    """Characters of a document that one request shows."""
    with_text: bool = False
    """Whether a question about a document carries the passage that it is about."""


@dataclass(frozen=True, slots=True)
class View:
    """What the run shows a kind when it writes request i."""

    random: Random
    """Seeded by the run's seed and i."""
    seeds: Sequence[Conversation]
    accepted: Sequence[Conversation]
    """Accepted so far; only the first `known` count."""
    known: int = 0
    full: frozenset[str] = frozenset()
    """Classes whose quota is used up."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A record that was read; `new` is the text that must be new."""

    record: Conversation
    new: str


@dataclass(frozen=True, slots=True)
class Reject:
    """What could not be read, or was read and is wrong: a fixed word to be counted, what is special here, and the text."""

    reason: str
    detail: str = ""
    row: Any = field(default=None)


class Kind(Protocol):
    """A kind of generation, built with `(seeds, data, settings)`.

    Raises (at its making):
        BelleError: an input that it needs is missing, or a prompt is wrong.
    """

    needs: ClassVar[str]
    """What `data` must hold: "conversations", "documents", or "" where there is no such input."""
    category: str
    """The class of all that it makes; empty where each record is classified."""
    against_seeds: ClassVar[bool]
    """Whether what it makes must differ from the seeds and the data, too."""
    novelty: ClassVar[float]
    """The Jaccard similarity from which a text is not new, where the recipe names none."""
    per_request: int
    """The most records that one answer can give."""
    total: int | None
    """The requests that there are; None where there is no end."""

    def compose(self, i: int, view: View) -> Request | None:
        """Request i; None behind the last."""
        ...

    def read(self, i: int, answer: Answer) -> list[Candidate | Reject]:
        """What the answer to request i holds, in order. The same answer gives the same list."""
        ...


def open_kind(name: str, seeds: Sequence[Conversation], data: Sequence[Conversation | Document], settings: Settings) -> Kind:
    """Make a kind, by its name in `KINDS` or as `module:class`."""
    kind: Kind = find_kind(name)(seeds, data, settings)
    return kind


def find_kind(name: str) -> Any:
    """The class of a kind.

    Raises:
        BelleError: there is none of that name.
    """
    module, colon, attribute = KINDS.get(name, name).partition(":")
    if not colon:
        fix = f"one of: {', '.join(KINDS)}; or my_module:MyKind"
        raise BelleError(f"kind: unknown kind {name!r}.{nearest(name, list(KINDS))}", fix)
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise BelleError(f"kind {name!r} cannot be imported: {error}", "name it module:class") from error
