from __future__ import annotations

import pytest

from belle.curation.parse_json import json_pieces, json_start
from belle.curation.parsed import Task


def tasks(text: str) -> list[Task]:
    return [piece.task for piece in json_pieces(text) if piece.task]


def test_keys_in_any_language_and_values_of_any_kind() -> None:
    text = '{"题目": "一加一？", "Input": null, "答案": 2}\n{"instruction": "列出", "output": ["甲", "乙"]}'
    assert tasks(text) == [Task("一加一？", "", "2"), Task("列出", "", '["甲", "乙"]')]


def test_a_broken_object_costs_only_itself() -> None:
    pieces = json_pieces('[{"instruction": "a", "output" "b"}, {"instruction": "c", "output": "d"}]')
    assert [piece.task for piece in pieces if piece.task] == [Task("c", "", "d")]
    assert [piece.reason for piece in pieces if piece.kind == "rest"] == ["broken JSON: expecting ':' delimiter"]


def test_a_cut_object_is_said_to_be_cut() -> None:
    assert [piece.reason for piece in json_pieces('[{"instruction": "c", "output": "d') if piece.kind == "rest"] == ["cut off"]


def test_braces_and_headings_in_strings() -> None:
    text = '{"instruction": "a", "output": "f(x) { return {}; }\\n### 标题\\n\\"{\\""}'
    assert tasks(text) == [Task("a", "", 'f(x) { return {}; }\n### 标题\n"{"')]


@pytest.mark.parametrize(("text", "start"), [('好：\n{"a": 1}', 3), ('```json\n[{"a": 1}]', 0), ("{x}", None), ("", None)])
def test_where_json_begins(text: str, start: int | None) -> None:
    assert json_start(text) == start
