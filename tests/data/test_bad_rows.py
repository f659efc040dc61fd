"""Rows that are wrong: each kind of fault is one error with file:line and a fix, or a dropped row with its reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from belle.data.formats import Loaded, load_records
from belle.errors import BelleError
from belle.jsonl import dumps
from belle.sections import DataSection

USER, GOOD = {"role": "user", "content": "问"}, {"role": "assistant", "content": "好"}


def call(arguments: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "add", "arguments": arguments}}]}


def load(tmp_path: Path, *rows: Any, **keys: Any) -> Loaded:
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=True) + "\n" for row in rows), encoding="utf-8")
    return load_records(DataSection(path=str(path), **keys))


def turns(*roles: str) -> dict[str, Any]:
    call = {"tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}
    return {"messages": [{"role": r.rstrip("!"), "content": "x"} | (call if r.endswith("!") else {}) for r in roles]}


BAD_ROWS: list[tuple[dict[str, Any], str]] = [
    ({"conversations": [{"from": "hunan", "value": "x"}]}, "turn 1: unknown role 'hunan'. Did you mean 'human'?"),
    ({"messages": [{"content": "x"}]}, "turn 1 has no role in 'role' or 'from', only 'content'"),
    ({"messages": ["x"]}, "turn 1 is text, not an object with a role and a text"),
    ({"messages": {}}, "the column of turns is an object, not a list of turns"),
    ({"messages": []}, "the conversation has no user turn"),
    ({"messages": '[{"role"'}, "column 'messages' is text, and as JSON it is broken"),
    (turns("system"), "the conversation has no user turn"),
    (turns("assistant"), "turn 1: an assistant turn comes first, where system or user must stand"),
    (turns("user", "user"), "turn 2: a user turn follows a user turn, where assistant must stand"),
    (turns("user", "assistant", "assistant"), "turn 3: an assistant turn follows an assistant turn"),
    (turns("user", "assistant", "system"), "turn 3: a system turn follows an assistant turn"),
    (turns("user", "tool"), "turn 2: a tool turn follows a user turn"),
    (turns("user", "assistant!", "user"), "turn 3: a user turn follows an assistant turn with tool calls, where tool must stand"),
    (turns("user", "assistant!", "tool", "user"), "turn 4: a user turn follows a tool turn"),
    (turns("user!"), "turn 1 (user): only the assistant has tool_calls"),
    ({"messages": [USER, {"role": "assistant", "content": " \n"}]}, "turn 2 (assistant) is empty"),
    ({"messages": [{"role": "user", "content": ""}]}, "turn 1 (user) is empty"),
    ({"messages": [{"role": "user", "content": 3}]}, "turn 1 (user) is a number, not text"),
    ({"messages": [USER, {"role": "assistant", "content": None}]}, "turn 2 (assistant) is null, not text"),
    ({"messages": [USER, GOOD | {"weight": 0.5}]}, "turn 2 (assistant): train is true or false, weight is 0 or 1; not '0.5'"),
    ({"messages": [USER, call("{")]}, "turn 2 (assistant): arguments of 'add': not JSON"),
    ({"messages": [USER, call("[]")]}, "turn 2 (assistant): arguments of 'add' are not a JSON object"),
    ({"messages": [USER, call({"a": float("nan")})]}, "turn 2 (assistant): arguments of 'add': not JSON"),
    ({"conversations": [{"from": "user", "value": "x"}, {"from": "function_call", "value": "f"}]}, "turn 2 (function_call): not"),
    ({"messages": [USER], "tools": "{"}, "tools: not JSON"),
    ({"messages": [USER], "tools": {}}, "tools is an object, not a list of tools"),
    ({"messages": [USER], "tools": [{"type": "function"}]}, "tool 1 has no name"),
    ({"messages": [USER], "tools": [{"name": "f", "x": float("inf")}]}, "tools: not JSON"),
    (
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
        "turn 1 (user) part 1 is 'image_url': images, audio and video are not supported yet",
    ),
    ({"messages": [{"role": "user", "content": ["x"]}]}, "turn 1 (user) part 1 is not a content part with a type"),
    ({"messages": [USER, GOOD], "images": ["a.jpg"]}, "column 'images': images, audio and video are not supported yet"),
    ({"instruction": "a", "output": ""}, "output is empty"),
    ({"instruction": "a", "output": None}, "output is null, not text"),
    ({"instruction": "a", "output": ["b"]}, "output is a list, not text"),
    ({"instruction": "", "input": "", "output": "b"}, "instruction is empty"),
    ({"instruction": "a", "output": "b", "history": [["q"]]}, "history is not a list of [question, answer]"),
    ({"instruction": "a", "output": "b", "id": 1.5}, "id is a number, not text"),
    ({"instruction": "a", "output": "b \ud83d"}, "output holds a lone surrogate (\\ud83d at character 3)"),
    ({"instruction": "a", "instances": []}, "instances is 0 items"),
    ({"instruction": "Human:a\nHuman:b\nAssistant:", "output": "c"}, "turn 2: a user turn follows a user turn"),
    ({"instruction": "Human:a\nAssistant:\nHuman:b\nAssistant:", "output": "c"}, "turn 2 (Assistant) is empty"),
]  # fmt: skip


@pytest.mark.parametrize(("row", "words"), BAD_ROWS)
def test_a_bad_row_is_one_error_with_its_line(tmp_path: Path, row: dict[str, Any], words: str) -> None:
    with pytest.raises(BelleError) as caught:
        load(tmp_path, {"instruction": "fine", "output": "fine"}, row)
    assert caught.value.message.startswith(f"{tmp_path / 'a.jsonl'}:2: {words}")
    assert caught.value.fix
    kept = load(tmp_path, {"instruction": "fine", "output": "fine"}, row, on_error="keep")
    assert len(kept.records) == 1
    assert kept.dropped[0]["source"] == f"{tmp_path / 'a.jsonl'}:2"
    assert kept.dropped[0]["reason"].startswith(words)
    dumps(kept.dropped[0]).encode()  # what dropped.jsonl gets can be written


def test_empty_pictures_are_no_pictures(tmp_path: Path) -> None:
    assert len(load(tmp_path, {"messages": [USER, GOOD], "images": []}).records) == 1
