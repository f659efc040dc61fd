"""Records and the rows that belle writes of them."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from belle.data.formats import load_records
from belle.jsonl import write_rows
from belle.records import (
    ROLES,
    Conversation,
    Document,
    Message,
    Preference,
    Record,
    Source,
    ToolCall,
    message_dict,
    record_dict,
)
from belle.sections import DataSection

TOOL = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}


def said(text: str) -> tuple[Message, ...]:
    return (Message("assistant", text),)


def test_a_source_is_file_and_line() -> None:
    assert str(Source("data/a.jsonl", 7)) == "data/a.jsonl:7"
    assert str(Source()) == "(memory)"
    assert Conversation((Message("user", "x"),)).source == Source()


def test_records_do_not_change() -> None:
    with pytest.raises(FrozenInstanceError):
        Message("user", "x").content = "y"  # type: ignore[misc]
    assert len({Message("user", "x"), Message("user", "x")}) == 1
    assert ROLES == ("system", "user", "assistant", "tool")


def test_a_message_in_openais_shape() -> None:
    assert message_dict(Message("user", "hi", train=False)) == {"role": "user", "content": "hi"}
    call = ToolCall("add", '{"a": 1}', "c1")
    assert message_dict(Message("assistant", "", (call,))) == {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}],
    }


def test_rows_hold_what_is_there_and_nothing_else() -> None:
    assert record_dict(Document("文")) == {"text": "文"}
    assert record_dict(Document("文", "1", "news", Source("a", 1))) == {"id": "1", "category": "news", "text": "文"}
    turns = (Message("user", "q"), Message("assistant", "a", train=False))
    full = Conversation(turns, (TOOL,), "7", "math", "zh", label=False, source=Source("a", 1))
    assert record_dict(full) == {
        "id": "7", "category": "math", "language": "zh",
        "messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a", "train": False}],
        "label": False, "tools": [TOOL],
    }  # fmt: skip
    assert record_dict(Preference((Message("user", "q"),), said("good"), said("bad"))) == {
        "prompt": [{"role": "user", "content": "q"}],
        "chosen": [{"role": "assistant", "content": "good"}],
        "rejected": [{"role": "assistant", "content": "bad"}],
    }


Text = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=10).filter(lambda text: not text.isspace())
Word = st.just("") | Text.map(str.strip).filter(lambda word: "\xa0" not in word)
Asked = st.builds(Message, st.just("user"), Text)
Said = st.builds(Message, st.just("assistant"), Text, train=st.sampled_from([None, True, False]))
System = st.lists(st.builds(Message, st.just("system"), Text), max_size=1)
Turns = st.tuples(System, st.lists(st.tuples(Asked, Said), min_size=1)).map(
    lambda parts: (*parts[0], *(turn for pair in parts[1] for turn in pair))
)
Tools = st.sampled_from([(), (TOOL,)])
Conversations = st.builds(
    Conversation, Turns, Tools, id=Word, category=Word, language=Word, label=st.sampled_from([None, True, False])
)
Answer = st.tuples(st.builds(Message, st.just("assistant"), Text))
Preferences = st.builds(Preference, st.tuples(Asked), Answer, Answer, Tools, id=Word, category=Word)
Documents = st.builds(Document, Text, id=Word, category=Word)


@given(Conversations | Preferences | Documents)
def test_a_row_reads_back_as_the_same_record(tmp_path_factory: pytest.TempPathFactory, record: Record) -> None:
    file = tmp_path_factory.getbasetemp() / "round.jsonl"
    row = record_dict(record)
    assert json.loads(json.dumps(row)) == row
    write_rows(file, [row])
    [back] = load_records(DataSection(path=str(file)), type(record)).records
    assert replace(back, source=Source()) == record
    assert back.source == Source(str(file), 1)


def test_tool_calls_and_results_read_back(tmp_path: Path) -> None:
    turns: list[Any] = [
        Message("user", "1+1?"), Message("assistant", "", (ToolCall("add", '{"a": 1, "b": 1}', "c1"),)), Message("tool", "2"),
        Message("assistant", "2"),
    ]  # fmt: skip
    record = Conversation(tuple(turns), (TOOL,))
    write_rows(tmp_path / "a.jsonl", [record_dict(record)])
    [back] = load_records(DataSection(path=str(tmp_path / "a.jsonl"))).records
    assert replace(back, source=Source()) == record
