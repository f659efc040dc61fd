"""Document, Conversation and Preference: the three shapes that everything in belle speaks.

Files of any format become these in `data/formats.py`; generation, cleaning, training, judging and serving never see rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Role = Literal["system", "user", "assistant", "tool"]
ROLES: tuple[Role, ...] = ("system", "user", "assistant", "tool")

Language = Literal["zh", "en", "other"]


@dataclass(frozen=True, slots=True)
class Source:
    """Where a record came from; `str(source)` is the `file:line` that error messages and dropped rows carry."""

    path: str = ""
    line: int = 0

    def __str__(self) -> str:
        return f"{self.path}:{self.line}" if self.path else "(memory)"


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A function that the assistant asks to have called; `arguments` is a JSON object as text."""

    name: str
    arguments: str
    id: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn. `train` overrides, for an assistant turn, whether its tokens carry loss; None leaves it to the recipe."""

    role: Role
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    train: bool | None = None


@dataclass(frozen=True, slots=True)
class Document:
    """Plain text, for pre-training."""

    text: str
    id: str = ""
    category: str = ""
    source: Source = Source()


@dataclass(frozen=True, slots=True)
class Conversation:
    """Messages that begin with an optional system turn. `label` is the thumb up or down of KTO data, else None."""

    messages: tuple[Message, ...]
    tools: tuple[Mapping[str, Any], ...] = ()
    id: str = ""
    category: str = ""
    language: str = ""
    label: bool | None = None
    source: Source = Source()


@dataclass(frozen=True, slots=True)
class Preference:
    """One prompt and two ways to go on; `chosen` is the better."""

    prompt: tuple[Message, ...]
    chosen: tuple[Message, ...]
    rejected: tuple[Message, ...]
    tools: tuple[Mapping[str, Any], ...] = ()
    id: str = ""
    category: str = ""
    source: Source = Source()


Record = Document | Conversation | Preference


def message_dict(message: Message) -> dict[str, Any]:
    """The message in OpenAI's shape, as templates and endpoints take it."""
    out: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        out["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
    return out


def record_dict(record: Record) -> dict[str, Any]:
    """The record as the JSON row that belle itself writes; `data/formats.py` reads it back unchanged (source aside)."""
    kept: dict[str, Any] = {"id": record.id} if record.id else {}
    if record.category:
        kept["category"] = record.category
    if isinstance(record, Document):
        return kept | {"text": record.text}
    if isinstance(record, Preference):
        kept |= {name: [_row_message(m) for m in getattr(record, name)] for name in ("prompt", "chosen", "rejected")}
    else:
        if record.language:
            kept["language"] = record.language
        kept["messages"] = [_row_message(m) for m in record.messages]
        if record.label is not None:
            kept["label"] = record.label
    if record.tools:
        kept["tools"] = [dict(tool) for tool in record.tools]
    return kept


def _row_message(message: Message) -> dict[str, Any]:
    row = message_dict(message)
    if message.train is not None:
        row["train"] = message.train
    return row
