"""An Ollama Modelfile, read: one instruction a line, texts of several lines between triple quotes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from belle.errors import BelleError

_LINE = re.compile(r'(?P<name>[A-Za-z]+)[ \t]+(?P<value>"""(?P<long>.*?)"""|[^\n]*)[ \t]*(?:\n|\Z)', re.DOTALL)
KNOWN = ("FROM", "TEMPLATE", "PARAMETER", "SYSTEM", "LICENSE", "ADAPTER", "MESSAGE", "REQUIRES")


@dataclass(frozen=True)
class Modelfile:
    """What stands in it: the file that it is made from, the template, parameters by name."""

    source: str
    template: str
    parameters: Mapping[str, Sequence[str]]
    system: str = ""


def read_modelfile(path: Path) -> Modelfile:
    """Read one.

    Raises:
        BelleError: a line is no instruction, or FROM is not there.
    """
    text = path.read_text(encoding="utf-8")
    found: dict[str, list[str]] = {}
    at = 0
    while at < len(text):
        if blank := re.compile(r"[ \t]*(?:#[^\n]*)?(?:\n|\Z)").match(text, at):
            if blank.end() == at:
                break
            at = blank.end()
            continue
        line = _LINE.match(text, at)
        if line is None or line["name"].upper() not in KNOWN:
            number = text.count("\n", 0, at) + 1
            what = f"{path}:{number}: no instruction: {text[at:].splitlines()[0][:60]!r}"
            raise BelleError(what, f"one of: {', '.join(KNOWN)}")
        found.setdefault(line["name"].upper(), []).append(line["long"] if line["long"] is not None else _plain(line["value"]))
        at = line.end()
    if "FROM" not in found:
        raise BelleError(f"{path} has no FROM", "name the GGUF file: FROM ./file.gguf")
    parameters: dict[str, list[str]] = {}
    for each in found.get("PARAMETER", ()):
        name, _, value = each.partition(" ")
        parameters.setdefault(name, []).append(_plain(value))
    last = {name: values[-1] for name, values in found.items()}
    return Modelfile(last["FROM"], last.get("TEMPLATE", ""), parameters, last.get("SYSTEM", ""))


def _plain(value: str) -> str:
    value = value.strip()
    if len(value) > 1 and value[0] == value[-1] == '"':
        try:
            return str(json.loads(value, strict=False))
        except ValueError:
            return value[1:-1]
    return value
