"""Dialogues in an answer: `用户：... 助手：...` in its many variants, or JSON with roles."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Literal

from belle.curation.parse_tasks import plain_lines, split_thought
from belle.curation.parsed import CUT
from belle.curation.task_labels import FENCE, RULE
from belle.records import Message

_USER = "用户|用戶|使用者|提问者|user|human"
_ASSISTANT = "助手|助理|ai助手|assistant|ai|bot"
_SPEAKER = re.compile(
    rf"[ \t\u3000>]*(?:[-*+•][ \t]+)?(?:#{{1,6}}[ \t]*)?(?:\*\*|__)?(?:\d{{1,3}}[.、)）][ \t]*)?[\[【(（]?"
    rf"(?:(?P<user>{_USER})|(?P<assistant>{_ASSISTANT}))[ \t]*\d{{0,3}}[\]】)）]?"
    r"(?:\*\*|__)?[ \t]*[:：](?:\*\*|__)?(?P<rest>.*)\Z",
    re.IGNORECASE | re.DOTALL,
)
_FIELD = re.compile(
    r"[ \t\u3000>]*(?:[-*+•][ \t]+)?(?:#{1,6}[ \t]*)?(?:\*\*|__)?[\[【]?"
    r"(?P<name>角色|人设|人物|场景|背景|role|persona|character|scene|setting)[\]】]?"
    r"(?:\*\*|__)?[ \t]*[:：](?:\*\*|__)?(?P<rest>.*)\Z",
    re.IGNORECASE | re.DOTALL,
)
_FIELDS = {"角色": "role", "人设": "role", "人物": "role", "role": "role", "persona": "role", "character": "role",
           "场景": "scene", "背景": "scene", "scene": "scene", "setting": "scene"}  # fmt: skip
_ROLES = {"user": "user", "human": "user", "用户": "user", "assistant": "assistant", "助手": "assistant", "gpt": "assistant"}


@dataclass(frozen=True, slots=True)
class Dialogue:
    """What was read: turns that alternate, the user first, the assistant last; `rest` are texts of no part, with reasons."""

    turns: tuple[Message, ...]
    fields: dict[str, str]
    """"role" and "scene", where the answer names them before the first turn."""
    rest: tuple[tuple[str, str], ...] = ()


def parse_dialogue(text: str, finish: Literal["stop", "length", "error"] = "stop") -> Dialogue:
    """The dialogue of an answer. Turns that follow each other from one side are one turn; never raises, whatever the text.

    The last turn of an answer that was cut, and a user's turn without a reply, are left out with their reason.
    """
    thoughts, text = split_thought(plain_lines(text))
    rest = [(thought.text, thought.reason) for thought in thoughts]
    said = _from_json(text)
    fields: dict[str, str] = {}
    if said is None:
        said, fields, before = _from_lines(text)
        if before.strip():
            rest.append((before, "before the first turn"))
    if finish == "length" and said:
        role, last = said.pop()
        rest.append((last, CUT))
    turns: list[Message] = []
    for role, content in said:
        content = content.strip()
        if not content:
            continue
        if turns and turns[-1].role == role:
            turns[-1] = Message(role, turns[-1].content + "\n" + content)
        else:
            turns.append(Message(role, content))
    if turns and turns[0].role == "assistant":
        rest.append((turns.pop(0).content, "the assistant begins"))
    if turns and turns[-1].role == "user":
        rest.append((turns.pop().content, "no reply"))
    if not turns and not rest:
        rest.append((text, "no dialogue found" if text.strip() else "empty answer"))
    return Dialogue(tuple(turns), fields, tuple(rest))


def _from_lines(text: str) -> tuple[list[tuple[Any, str]], dict[str, str], str]:
    lines = text.split("\n")
    full = [n for n, line in enumerate(lines) if line.strip()]
    if len(full) > 2 and FENCE.match(lines[full[0]]) and FENCE.match(lines[full[-1]]) and _starts(lines[full[1]]):
        lines = lines[full[0] + 1 : full[-1]]
    said: list[tuple[Any, list[str]]] = []
    fields: dict[str, list[str]] = {}
    current: list[str] = []
    before = current
    fenced = False
    for line in lines:
        speaker = None if fenced else _SPEAKER.match(line)
        named = None if fenced or said or speaker else _FIELD.match(line)
        if speaker:
            current = [speaker["rest"]]
            said.append(("user" if speaker["user"] else "assistant", current))
        elif named:
            current = fields.setdefault(_FIELDS[named["name"].lower()], [])
            current.append(named["rest"])
        else:
            current.append(line)
        if FENCE.match(speaker["rest"] if speaker else line):
            fenced = not fenced
    if said:
        last = said[-1][1]
        while last and (not last[-1].strip() or RULE.match(last[-1])):
            last.pop()
    marks = [line for line in before if line.strip() and not RULE.match(line)]
    return (
        [(role, "\n".join(part)) for role, part in said],
        {name: "\n".join(part).strip().rstrip("#-").strip() for name, part in fields.items()},
        "\n".join(marks),
    )


def _starts(line: str) -> bool:
    return bool(_SPEAKER.match(line) or _FIELD.match(line))


def _from_json(text: str) -> list[tuple[Any, str]] | None:
    begin = re.match(r"\s*(?:```\w*\s*)?(?=[\[{])", text)
    if begin is None:
        return None
    try:
        value, _ = json.JSONDecoder(strict=False).raw_decode(text, begin.end())
    except (ValueError, RecursionError):
        return None
    if isinstance(value, dict):
        value = next((value[key] for key in ("messages", "conversations", "dialogue", "对话") if key in value), None)
    if not isinstance(value, list) or not value:
        return None
    said = []
    for turn in value:
        if not isinstance(turn, dict):
            return None
        role = _ROLES.get(str(turn.get("role", turn.get("from", ""))).strip().lower())
        content = turn.get("content", turn.get("value"))
        if role is None or not isinstance(content, str):
            return None
        said.append((role, content))
    return said
