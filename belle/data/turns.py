"""Turns, tools and labels of a row, in any of the ways that files write them, checked and brought into one shape."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from belle.data.rows import kind
from belle.errors import BelleError, nearest
from belle.jsonl import dumps
from belle.records import Conversation, Message, Role, ToolCall

ROLE_NAMES: dict[str, Role] = {
    "system": "system", "developer": "system",
    "user": "user", "human": "user",
    "assistant": "assistant", "gpt": "assistant", "chatgpt": "assistant", "bing": "assistant", "bard": "assistant",
    "model": "assistant", "function_call": "assistant",
    "tool": "tool", "observation": "tool", "function": "tool",
}  # fmt: skip
"""How files call the four roles (OpenAI, ShareGPT and its many tools); case does not matter."""

TURN_KEYS = frozenset(["role", "from", "content", "value", "tool_calls", "tool_call_id", "id", "name", "train", "weight"])
"""Keys of a turn that are read; `tool_call_id` and `name` say again what the order of the turns says."""

_TEXT_PARTS = ("text", "input_text", "output_text")
_FOLLOWS: dict[Role | None, tuple[Role, ...]] = {
    None: ("system", "user"),
    "system": ("user",),
    "user": ("assistant",),
    "assistant": ("user", "tool"),
    "tool": ("assistant", "tool"),
}


class MisfitError(BelleError):
    """The row is not of this format at all; another may fit. Any other `BelleError` means: of this format, but bad."""


class EmptyTextError(BelleError):
    """Nothing is wrong with the row but that a turn or text of it is empty: `belle clean` counts it, all others stop."""


def text(value: Any, name: str) -> str:
    """`value`, if it is a string that can be written as UTF-8; `name` is what the error calls it."""
    if not isinstance(value, str):
        raise BelleError(f"{name} is {kind(value)}, not text")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            half = f"\\u{ord(value[error.start]):04x} at character {error.start + 1}"
            raise BelleError(f"{name} holds a lone surrogate ({half}), half of a character", "mend or delete the text") from error
    return value


def said(role: Role, value: Any, name: str, calls: tuple[ToolCall, ...] = (), train: bool | None = None) -> Message:
    """A turn with this text; only a system turn, a tool's result and a turn that calls tools may be empty."""
    content = text(value, name)
    if (not content or content.isspace()) and not calls and role in ("user", "assistant"):
        raise EmptyTextError(f"{name} is empty, where a turn of the {role} must stand")
    return Message(role, content, calls, train)


def message(turn: Any, name: str) -> Message:
    """One turn: {role, content} or {from, value}, with OpenAI's tool_calls and content parts, and `train` or `weight`."""
    if not isinstance(turn, Mapping):
        raise BelleError(f"{name} is {kind(turn)}, not an object with a role and a text")
    word = turn["role"] if "role" in turn else turn.get("from")
    if not isinstance(word, str):
        raise BelleError(f"{name} has no role in 'role' or 'from', only {_keys(turn)}")
    role = ROLE_NAMES.get(word) or ROLE_NAMES.get(word.lower())
    if role is None:
        raise BelleError(f"{name}: unknown role {word!r}.{nearest(word, list(ROLE_NAMES))}", f"roles are {', '.join(ROLE_NAMES)}")
    name = f"{name} ({word})"
    value = turn["content"] if "content" in turn else turn.get("value")
    calls: tuple[ToolCall, ...] = ()
    if word.lower() == "function_call":
        calls, value = _sharegpt_calls(value, name), ""
    elif turn.get("tool_calls"):
        calls = _openai_calls(turn["tool_calls"], name)
        value = "" if value is None else value
        if role != "assistant":
            raise BelleError(f"{name}: only the assistant has tool_calls")
    if isinstance(value, list):
        value = "".join(_part(part, f"{name} part {n}") for n, part in enumerate(value, 1))
    return said(role, value, name, calls, _train(turn, name))


def messages(turns: Any, name: str = "turn") -> list[Message]:
    """A list of turns; whether they follow each other sensibly is for `conversation` and `check` to say."""
    if not isinstance(turns, list):
        raise BelleError(f"the column of turns is {kind(turns)}, not a list of turns")
    return [message(turn, f"{name} {n}") for n, turn in enumerate(turns, 1)]


def check(turns: Sequence[Message]) -> None:
    """An optional system turn, then user and assistant in turns; tool results stand after an assistant's turn.

    Raises:
        BelleError: naming the first turn that is out of place.
    """
    before: Message | None = None
    for number, turn in enumerate(turns, 1):
        allowed = _FOLLOWS[before.role if before else None]
        if before and before.tool_calls:
            allowed = ("tool",)
        if turn.role not in allowed:
            place = f"follows {_a(before.role)} turn" if before else "comes first"
            if before and before.tool_calls:
                place += " with tool calls"
            raise BelleError(f"turn {number}: {_a(turn.role)} turn {place}, where {' or '.join(allowed)} must stand")
        before = turn
    if before is None or before.role == "system":
        raise BelleError("the conversation has no user turn")


def conversation(row: Mapping[str, Any], turns: Iterable[Message]) -> Conversation:
    """The checked conversation of these turns, with what every format may have beside them."""
    turns = tuple(turns)
    check(turns)
    return Conversation(
        turns, tools(row.get("tools")), word(row, "id"), word(row, "category"), word(row, "language"), label(row.get("label"))
    )


def word(row: Mapping[str, Any], column: str) -> str:
    """A short text such as an id; a whole number is written out, null and absent are empty."""
    value = row.get(column)
    if value is None:
        return ""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return text(value, column)


def label(value: Any) -> bool | None:
    """KTO's thumb up or down; tables write it as text."""
    if value is None or value == "":
        return None
    said = value.lower() if isinstance(value, str) else value
    for names, meaning in ((("true", "1"), True), (("false", "0"), False)):
        if said in names or (isinstance(said, (bool, int)) and said == meaning):
            return meaning
    fix = "if it means something else, give it another name: data.columns='{topic: label}'"
    raise BelleError(f"label is {kind(value)} {str(value)[:40]!r}, where true or false must stand", fix)


def tools(value: Any) -> tuple[Mapping[str, Any], ...]:
    """Tool schemas as OpenAI writes them; a list or its JSON text, with or without the {type: function} around each."""
    if value is None or value == "":
        return ()
    if isinstance(value, str):
        value = _parse(value, "tools")
    if not isinstance(value, list):
        raise BelleError(f"tools is {kind(value)}, not a list of tools")
    out = []
    for number, tool in enumerate(value, 1):
        if not isinstance(tool, dict):
            raise BelleError(f"tool {number} is {kind(tool)}, not an object")
        inner = tool.get("function", tool)
        if not isinstance(inner, dict) or not isinstance(inner.get("name"), str) or not inner["name"]:
            raise BelleError(f"tool {number} has no name")
        out.append(tool if "function" in tool else {"type": "function", "function": tool})
    if out:
        _writable(out, "tools")
    return tuple(out)


def _openai_calls(value: Any, name: str) -> tuple[ToolCall, ...]:
    if not isinstance(value, list):
        raise BelleError(f"{name}: tool_calls is {kind(value)}, not a list")
    out = []
    for call in value:
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict):
            raise BelleError(f"{name}: a tool call must hold a function with name and arguments")
        out.append(_call(function, name, word(call, "id")))
    return tuple(out)


def _sharegpt_calls(value: Any, name: str) -> tuple[ToolCall, ...]:
    """ShareGPT puts the call, or a list of them, as JSON into the text of the turn."""
    calls = _parse(text(value, name), name)
    calls = calls if isinstance(calls, list) else [calls]
    if not calls or not all(isinstance(call, dict) for call in calls):
        raise BelleError(f"{name}: a call is written as {{name, arguments}}")
    return tuple(_call(call, name, "") for call in calls)


def _call(function: Mapping[str, Any], name: str, call_id: str) -> ToolCall:
    called = text(function.get("name"), f"{name}: the name of the called tool")
    if not called:
        raise BelleError(f"{name}: the called tool has no name")
    arguments = function.get("arguments")
    if isinstance(arguments, dict):
        arguments = _writable(arguments, f"{name}: arguments of {called!r}")
    arguments = text(arguments, f"{name}: arguments of {called!r}")
    if not isinstance(_parse(arguments, f"{name}: arguments of {called!r}"), dict):
        raise BelleError(f"{name}: arguments of {called!r} are not a JSON object")
    return ToolCall(called, arguments, call_id)


def _part(part: Any, name: str) -> str:
    if not isinstance(part, Mapping) or not isinstance(part.get("type"), str):
        raise BelleError(f"{name} is not a content part with a type")
    if part["type"] not in _TEXT_PARTS:
        raise BelleError(f"{name} is {part['type']!r}: images, audio and video are not supported yet", "leave such rows out")
    return text(part.get("text"), name)


def _train(turn: Mapping[str, Any], name: str) -> bool | None:
    """belle's own `train`, or OpenAI's `weight` of 0 or 1."""
    value = turn.get("train")
    if value is None:
        value = turn.get("weight")
        if value is None:
            return None
        if not isinstance(value, bool) and value in (0, 1):
            return bool(value)
    elif isinstance(value, bool):
        return value
    raise BelleError(f"{name}: train is true or false, weight is 0 or 1; not {str(value)[:40]!r}")


def _parse(value: str, name: str) -> Any:
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        raise BelleError(f"{name}: not JSON: {str(error) or 'nested too deeply'}") from error


def _writable(value: Any, name: str) -> str:
    """The value as JSON, or an error where belle could not write it again (NaN, half a character, a date of Parquet)."""
    try:
        return text(dumps(value), name)
    except (TypeError, ValueError, RecursionError) as error:
        raise BelleError(f"{name}: not JSON: {error}") from error


def _keys(turn: Mapping[str, Any]) -> str:
    return ", ".join(repr(str(key)) for key in turn) or "nothing"


def _a(role: str) -> str:
    return f"an {role}" if role == "assistant" else f"a {role}"
