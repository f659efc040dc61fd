"""Tasks in an answer that is JSON: an object, an array, objects line by line, wrapped in another object or in a code fence.

Objects are read one by one, so that a broken or cut one costs only itself. Tolerated beyond JSON: commas before a closing
bracket, raw line ends and tabs in strings. Not tolerated (and returned as broken): single quotes, comments, missing commas.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from belle.curation.parsed import CUT, Piece, Task
from belle.curation.task_labels import PART_OF, WORDS, is_no_input

_KEY = re.compile(r'\{\s*"((?:[^"\\]|\\.){0,40})"\s*:')
_START = re.compile(r'^[ \t]*(?:```\w*[ \t]*\n\s*)?(?:\[\s*)?(?=\{\s*"(?:[^"\\\n]|\\.){0,40}"\s*:)', re.MULTILINE)
_MARKS = re.compile(r"(?:```\w*|~~~\w*|[\s\[\]{},:]|\"\w{1,40}\"\s*:)*")
_BEHIND = re.compile(r'(?:\n```\w*\s*)?[\s\[\]{},:]*(?:"\w{1,40}"\s*:[\s\[\]{},:]*)?\Z')
_INNER = re.compile(r"\s*(?:\[\s*)?\{")
_DEEPEST = 3
"""Objects around tasks that may be open at the end of a cut answer."""
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*(?:"|\Z)|[{}\[\]]', re.DOTALL)
_COMMA = re.compile(r'("(?:[^"\\]|\\.)*")|,(?=\s*[}\]])', re.DOTALL)
_PASSED = frozenset({"id", "no", "number", "index", "序号", "编号", "序號", "編號"})


def json_start(text: str) -> int | None:
    """Where the first line stands that begins a JSON object with a key, alone or in an array; None where there is none."""
    found = _START.search(text)
    return found.start() if found else None


def json_pieces(text: str, need_output: bool = True) -> list[Piece]:
    """The whole text in pieces; see the module."""
    pieces: list[Piece] = []
    place = scanned = open_ = 0
    while (begin := text.find("{", scanned)) >= 0:
        key = _KEY.match(text, begin)
        if key is None:
            scanned = begin + 1
            continue
        end = _end(text, begin)
        if not _is_task_key(key[1]) and _INNER.match(text, key.end()) and open_ < _DEEPEST:
            open_ += end is None
            scanned = begin + 1  # an object around tasks: look inside
            continue
        pieces += _between(text[place:begin])
        if end is None:
            return [*pieces, Piece("rest", text[begin:], CUT)]
        pieces.append(_read(text[begin:end], need_output))
        place = scanned = end
    return pieces + _between(text[place:])


def _is_task_key(key: str) -> bool:
    return key.strip().lower() in PART_OF or key.strip().lower() in _PASSED


def _end(text: str, begin: int) -> int | None:
    """Behind the bracket that closes the one at `begin`; None where none does. Linear in what lies between."""
    depth = 0
    for found in _TOKEN.finditer(text, begin):
        if found[0] in "{[":
            depth += 1
        elif found[0] in "}]":
            depth -= 1
            if depth == 0:
                return found.end()
    return None


def _read(text: str, need_output: bool) -> Piece:
    try:
        row = json.loads(_COMMA.sub(lambda found: found[1] or "", text), strict=False)
    except (ValueError, RecursionError) as error:
        return Piece("rest", text, f"broken JSON: {getattr(error, 'msg', 'nested too deeply').lower()}")
    named = {str(key).strip().lower(): (key, value) for key, value in row.items()}
    values: dict[str, str] = {}
    used: set[Any] = set()
    for part, words in WORDS.items():
        key = next((word for word in words if word in named), None)
        if key is not None:
            used.add(named[key][0])
            values[part] = _text(named[key][1])
    unread = tuple(
        f"{json.dumps(key, ensure_ascii=False)}: {json.dumps(value, ensure_ascii=False)}"
        for key, value in row.items()
        if key not in used and str(key).strip().lower() not in _PASSED
    )
    if not values.get("instruction"):
        return Piece("rest", text, "no instruction" if "instruction" not in values else "empty instruction")
    if need_output and not values.get("output"):
        return Piece("rest", text, "no output")
    input_ = "" if is_no_input(values.get("input", "")) else values["input"]
    task = Task(values["instruction"], input_, values.get("output", ""), values.get("category", ""), unread)
    return Piece("task", text, "", task)


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, Mapping | list):
        return json.dumps(value, ensure_ascii=False)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _between(text: str) -> list[Piece]:
    """What stands around objects: brackets, commas, fences and the key of a wrapper are marks, anything else was not read."""
    if not text:
        return []
    head = _MARKS.match(text)
    marks = head.end() if head else 0
    if marks == len(text):
        return [Piece("mark", text)]
    tail = len(text)
    if behind := _BEHIND.search(text, max(marks, len(text) - 80)):
        tail = behind.start()
    out = [Piece("mark", text[:marks])] if marks else []
    out.append(Piece("rest", text[marks:tail], "outside of the tasks"))
    return out + ([Piece("mark", text[tail:])] if tail < len(text) else [])
