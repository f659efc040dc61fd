"""Properties of the formats: whatever a row holds, it is a record or a BelleError; what belle writes it reads back."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from belle.data.columns import READ
from belle.data.formats import FORMATS, RowReader
from belle.data.turns import ROLE_NAMES
from belle.errors import BelleError
from belle.jsonl import dumps
from belle.records import Conversation, Document, Message, Preference, Record, ToolCall, record_dict
from belle.sections import DataSection


def read_row(row: Any, kind: type = Conversation, **keys: Any) -> Any:
    return RowReader(DataSection(path="x", **keys), kind, Counter()).record(row)


WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
SAID = WORDS.filter(lambda text: text.strip() != "") | st.just("Human: \nq\n\nAssistant: \n")
NAMES = WORDS.filter(lambda text: "\xa0" not in text)
ARGUMENTS = st.dictionaries(WORDS, st.integers() | WORDS, max_size=2).map(lambda value: json.dumps(value, indent=1))
CALLS = st.lists(st.builds(ToolCall, WORDS.filter(bool), ARGUMENTS, WORDS), min_size=1, max_size=2).map(tuple)
TOOLS = st.lists(WORDS.filter(bool).map(lambda name: {"type": "function", "function": {"name": name}}), max_size=2).map(tuple)
ANSWER = st.builds(Message, st.just("assistant"), SAID, st.just(()), st.none() | st.booleans())


@st.composite
def dialogues(draw: st.DrawFn, answered: bool) -> tuple[Message, ...]:
    out = [Message("system", draw(WORDS))] if draw(st.booleans()) else []
    for _ in range(draw(st.integers(0, 2))):
        out.append(Message("user", draw(SAID)))
        if draw(st.booleans()):
            out.append(Message("assistant", draw(WORDS), draw(CALLS)))
            out += [Message("tool", draw(WORDS)) for _ in out[-1].tool_calls]
        out.append(draw(ANSWER))
    out.append(Message("user", draw(SAID)))
    return (*out, draw(ANSWER)) if answered else tuple(out)


RECORDS: st.SearchStrategy[Record] = st.one_of(
    st.builds(Document, SAID, NAMES, NAMES),
    st.builds(Conversation, st.booleans().flatmap(dialogues), TOOLS, NAMES, NAMES, NAMES, st.none() | st.booleans()),
    st.builds(Preference, dialogues(False), ANSWER.map(lambda m: (m,)), ANSWER.map(lambda m: (m,)), TOOLS, NAMES, NAMES),
)


@given(RECORDS)
@settings(deadline=None)
def test_own_rows_come_back_unchanged(record: Record) -> None:
    assert read_row(json.loads(dumps(record_dict(record))), type(record)) == record


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 2)
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["Human:a\nAssistant:", "[]", "{"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
FUNCTION = st.fixed_dictionaries({"name": JSON, "arguments": JSON})
TURN = st.fixed_dictionaries(
    {},
    optional={
        "role": st.sampled_from([*ROLE_NAMES]) | JSON,
        "from": st.sampled_from([*ROLE_NAMES]) | JSON,
        "content": JSON,
        "value": JSON,
        "tool_calls": st.lists(st.fixed_dictionaries({"function": FUNCTION}), max_size=2) | JSON,
        "train": JSON,
        "weight": JSON,
    },
)  # fmt: skip
VALUES = JSON | TURN | st.lists(TURN, max_size=4) | st.lists(TURN, max_size=3).map(json.dumps)
ANYTHING = st.dictionaries(st.sampled_from([*sorted(READ), "images"]) | st.text(max_size=3), VALUES, max_size=4)

TURNS = [{"role": "user", "content": "q"}, {"from": "gpt", "value": "a"}]
CALLING = {"tool_calls": [{"function": {"name": "f", "arguments": {"x": 1}}}], "role": "assistant", "content": None}
GOOD_ROWS: list[dict[str, Any]] = [
    {"messages": TURNS, "tools": [{"name": "f"}], "label": True, "id": 1, "category": "c"},
    {"conversations": [TURNS[0], CALLING, {"from": "tool", "value": ""}, TURNS[1]], "system": "s"},
    {"instruction": "q", "input": "more", "output": "a", "history": [["q", "a"]]},
    {"instruction": "Human: q\nAssistant: a\nHuman: q\nAssistant:", "output": "a"},
    {"instruction": "q", "instances": [{"input": "", "output": "a"}]},
    {"input": "q", "target": "a"},
    {"prompt": "q", "completion": TURNS[1:]},
    {"question": "q", "class": "c", "std_answer": "a"},
    {"text": "Human: q\nAssistant: a"},
    {"prompt": "q", "chosen": "a", "rejected": "b"},
    {"chosen": "Human: q\nAssistant: a", "rejected": "Human: q\nAssistant: b"},
    {"conversations": TURNS[:1], "chosen": TURNS[1], "rejected": "b"},
]
ANY_ROW = st.builds(lambda row, more: row | more, st.sampled_from([{}, *GOOD_ROWS]), ANYTHING)


@given(ANY_ROW, st.sampled_from([Document, Conversation, Preference]), st.sampled_from(["auto", *FORMATS]))
@settings(deadline=None, max_examples=300)
def test_any_row_is_a_record_or_a_belle_error(row: dict[str, Any], kind: type, name: str) -> None:
    try:
        record = read_row(row, kind, format=name)
    except BelleError as error:
        str(error).encode(errors="backslashreplace")
        return
    assert isinstance(record, kind)
    assert read_row(json.loads(dumps(record_dict(record))), kind) == record


BAD_ROWS: list[dict[str, Any]] = [
    {"messages": TURNS[:1] * 2, "tools": [{"name": "f"}], "label": True, "id": 1, "category": "c"},
    {"instruction": "q", "output": ""},
    {"instruction": "Human: q\nHuman: q\nAssistant:", "output": "a"},
    {"text": "plain"},
    {},
]


@given(st.lists(st.sampled_from([*GOOD_ROWS, *BAD_ROWS]), max_size=8))
@settings(deadline=None)
def test_the_format_of_earlier_rows_changes_nothing(rows: list[dict[str, Any]]) -> None:
    reader = RowReader(DataSection(path="x"), Conversation, Counter())
    for row in rows:
        outcomes = []
        for record in (reader.record, read_row):
            try:
                outcomes.append(record(row))
            except BelleError as error:
                outcomes.append(str(error))
        assert outcomes[0] == outcomes[1]
