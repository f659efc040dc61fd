"""What Ollama writes from a template: the part of Go's template language that chat templates are made of.

Text, `{{ .System }}`, `{{ .Content }}`, `{{ .Role }}`, literals, `if` / `else if` / `else` / `end`, `range .Messages`, the
functions `eq`, `ne`, `and`, `or`, `not`, comments, and the marks `{{-` and `-}}` that eat white space. Anything else is refused,
not guessed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from belle.errors import BelleError
from belle.records import Message

_ACTION = re.compile(r"\{\{(-\s)?\s*((?:\"(?:[^\"\\]|\\.)*\"|`[^`]*`|[^{}\"`])*?)\s*(\s-)?\}\}", re.DOTALL)
_WORD = re.compile(r"\"(?:[^\"\\]|\\.)*\"|`[^`]*`|[()]|[^\s()\"`]+")
_OTHERWISE = "see that the Modelfile's template writes what the model was trained on"


@dataclass
class _Node:
    """`text`, `value` (print `words`), `if` (branches of (condition, nodes)) or `range` (over the messages)."""

    kind: str
    text: str = ""
    words: tuple[str, ...] = ()
    branches: list[tuple[tuple[str, ...], list[_Node]]] = field(default_factory=list)


def render(template: str, messages: Sequence[Message]) -> str:
    """The prompt for the next answer. A system message first is also `.System`.

    Raises:
        BelleError: the template is broken, or uses what is not known here.
    """
    nodes, rest, closing = _parse(_tokens(template), ())
    if closing or rest:
        raise BelleError(f"the template has {{{{ {closing} }}}} where nothing is open", _OTHERWISE)
    system = "\n\n".join(message.content for message in messages if message.role == "system")
    return _write(nodes, {"System": system, "Messages": list(messages)})


def _tokens(template: str) -> list[tuple[str, str]]:
    """("text" or "action", content), white space eaten where a mark says so."""
    out: list[tuple[str, str]] = []
    at, eat = 0, False
    for found in _ACTION.finditer(template):
        text = template[at : found.start()]
        text = text.lstrip() if eat else text
        out.append(("text", text.rstrip() if found[1] else text))
        out.append(("action", found[2]))
        at, eat = found.end(), bool(found[3])
    text = template[at:]
    if "{{" in text:
        raise BelleError(f"the template has an action that does not end: {text[text.index('{{') :][:40]!r}", _OTHERWISE)
    return [*out, ("text", text.lstrip() if eat else text)]


def _parse(tokens: list[tuple[str, str]], ends: tuple[str, ...]) -> tuple[list[_Node], list[tuple[str, str]], str]:
    """(nodes up to an action that is in `ends`, what follows it, that action)."""
    nodes: list[_Node] = []
    while tokens:
        (kind, content), tokens = tokens[0], tokens[1:]
        if kind == "text":
            nodes.append(_Node("text", content))
            continue
        words = tuple(_WORD.findall(content))
        if not words or content.startswith("/*"):
            continue
        if words[0] in ("end", "else"):
            if words[0] not in ends:
                raise BelleError(f"the template has {{{{ {content} }}}} where nothing is open", _OTHERWISE)
            return nodes, tokens, content
        if words[0] == "if":
            node, tokens = _parse_if(words[1:], tokens)
            nodes.append(node)
        elif words[0] == "range":
            if words[1:] != (".Messages",):
                raise BelleError(f"{{{{ {content} }}}} is not known here", _OTHERWISE)
            inside, tokens, _ = _parse(tokens, ("end",))
            nodes.append(_Node("range", branches=[((), inside)]))
        else:
            nodes.append(_Node("value", words=words))
    if ends:
        raise BelleError("the template has an if or range without its end", _OTHERWISE)
    return nodes, tokens, ""


def _parse_if(condition: tuple[str, ...], tokens: list[tuple[str, str]]) -> tuple[_Node, list[tuple[str, str]]]:
    node = _Node("if")
    while True:
        inside, tokens, closing = _parse(tokens, ("end", "else"))
        node.branches.append((condition, inside))
        if closing == "end":
            return node, tokens
        condition = tuple(_WORD.findall(closing))[2:] or ("true",)  # what stands behind `else if`


def _write(nodes: list[_Node], names: dict[str, Any]) -> str:
    out = ""
    for node in nodes:
        if node.kind == "text":
            out += node.text
        elif node.kind == "value":
            out += str(_value(node.words, names))
        elif node.kind == "range":
            for message in names["Messages"]:
                out += _write(node.branches[0][1], {"Role": message.role, "Content": message.content})
        else:
            chosen = next((inside for condition, inside in node.branches if _value(condition, names)), [])
            out += _write(chosen, names)
    return out


def _value(words: tuple[str, ...], names: dict[str, Any]) -> Any:
    values, rest = _operands(words, names)
    if rest:
        raise BelleError(f"{' '.join(words)!r} is not known here", _OTHERWISE)
    return values


def _operands(words: tuple[str, ...], names: dict[str, Any]) -> tuple[Any, tuple[str, ...]]:
    """The value of an expression, a function before its arguments, and the words behind it."""
    if not words:
        raise BelleError("the template has an empty expression", _OTHERWISE)
    if words[0] not in ("eq", "ne", "and", "or", "not"):
        return _operand(words, names)
    arguments, rest = [], words[1:]
    while rest and rest[0] != ")":
        value, rest = _operand(rest, names)
        arguments.append(value)
    name = words[0]
    if len(arguments) < (1 if name == "not" else 2):
        raise BelleError(f"{' '.join(words)!r} lacks an argument", _OTHERWISE)
    if name == "eq":
        return any(arguments[0] == other for other in arguments[1:]), rest
    if name == "ne":
        return arguments[0] != arguments[1], rest
    if name == "not":
        return not arguments[0], rest
    wanted = name == "or"
    return next((value for value in arguments if bool(value) is wanted), arguments[-1]), rest


def _operand(words: tuple[str, ...], names: dict[str, Any]) -> tuple[Any, tuple[str, ...]]:
    word, rest = words[0], words[1:]
    if word == "(":
        value, rest = _operands(rest, names)
        if rest[:1] != (")",):
            raise BelleError("the template has a bracket that does not close", _OTHERWISE)
        return value, rest[1:]
    if word[0] == '"':
        return json.loads(word, strict=False), rest
    if word[0] == "`":
        return word[1:-1], rest
    if word in ("true", "false"):
        return word == "true", rest
    if word.startswith(".") and word[1:] in names:
        return names[word[1:]], rest
    if word in (".Tools", "$.Tools", ".ToolCalls"):  # asked without tools
        return [], rest
    if word == "$.System" and "System" in names:
        return names["System"], rest
    raise BelleError(f"{word!r} is not known here", _OTHERWISE)
