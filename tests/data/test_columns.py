"""Columns: renamed by data.columns, mended and counted; and the mapping that an error suggests."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from belle.data.formats import FORMATS, Loaded, RowReader, load_records
from belle.errors import BelleError
from belle.records import Conversation, Document, Message, Preference
from belle.sections import DataSection


def read_row(row: Any, kind: type = Conversation, **keys: Any) -> Any:
    return RowReader(DataSection(path="x", **keys), kind, Counter()).record(row)


def fault(row: Any, kind: type = Conversation, **keys: Any) -> str:
    with pytest.raises(BelleError) as caught:
        read_row(row, kind, **keys)
    return str(caught.value)


def load(tmp_path: Path, *rows: Any, **keys: Any) -> Loaded:
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=True) + "\n" for row in rows), encoding="utf-8")
    return load_records(DataSection(path=str(path), **keys))


def said(*pairs: tuple[str, str]) -> tuple[Message, ...]:
    return tuple(Message(role, content) for role, content in pairs)  # type: ignore[arg-type]


def test_a_file_that_fits_nothing_says_everything(tmp_path: Path) -> None:
    with pytest.raises(BelleError) as caught:
        load(tmp_path, {"question": "q", "answer": "a"})
    message, fix = caught.value.message, caught.value.fix
    assert message.startswith(f"{tmp_path / 'a.jsonl'}:1: no format fits this row. Columns found: 'question', 'answer'.")
    for line in ("alpaca: no column 'instruction'", "sharegpt: no column 'conversations'", "text: no column 'text'"):
        assert f"\n    {line}" in message
    assert all(f"\n    {name}: " in message for name in FORMATS)
    assert "data.columns='{instruction: question, output: answer}'" in fix
    mapped = load(tmp_path, {"question": "q", "answer": "a"}, columns={"instruction": "question", "output": "answer"})
    assert mapped.records[0].messages == said(("user", "q"), ("assistant", "a"))


@pytest.mark.parametrize(
    ("row", "kind", "mapping"),
    [
        ({"指令": "q", "回答": "a"}, Conversation, "{instruction: 指令, output: 回答}"),
        ({"instrution": "q", "output": "a"}, Conversation, "{instruction: instrution}"),
        ({"class": "c", "prompt": "p"}, Conversation, "{instruction: prompt, output: class}"),
        ({"first col": "q", "b": "a"}, Conversation, '{instruction: "first col", output: b}'),
        ({"dialog": []}, Conversation, "{messages: dialog}"),
        ({"content": "x"}, Document, "{text: content}"),
        ({"prompt": "q", "chosen": "a", "reject": "b"}, Preference, "{rejected: reject}"),
    ],
)
def test_the_mapping_to_try(row: dict[str, Any], kind: type, mapping: str) -> None:
    assert f"data.columns='{mapping}'" in fault(row, kind)


def test_a_mapping_that_names_no_column(tmp_path: Path) -> None:
    row = {"instruction": "q", "answer": "a"}
    assert "data.columns names 'anwser', which this row does not have. Did you mean 'answer'?" in fault(
        row, columns={"output": "anwser"}
    )
    with pytest.raises(BelleError, match=r"data\.columns names 'nothing', and no row has that column"):
        load(tmp_path, row, columns={"output": "answer", "system": "nothing"})


def test_a_mapping_hides_what_had_the_name(tmp_path: Path) -> None:
    loaded = load(tmp_path, {"instruction": "q", "output": "old", "answer": "new"}, columns={"output": "answer"})
    assert loaded.records[0].messages[1].content == "new"
    assert loaded.counts == {"column 'output' replaced by data.columns": 1}


def test_nbsp_is_mended_in_names_and_left_in_texts(tmp_path: Path) -> None:
    rows = [
        {"instruction\xa0": "q\xa0q", "output": "\xa0a", "category": "closed\xa0qa"},
        {"conversations": [{"from\xa0": "human", "value": "q"}, {"from": "gpt\xa0", "value": "a"}]},
    ]
    loaded = load(tmp_path, *rows)
    assert loaded.counts == {"nbsp": 4}
    assert loaded.records[0].messages == said(("user", "q\xa0q"), ("assistant", "\xa0a"))
    assert loaded.records[0].category == "closed qa"
    assert "two columns have one name" in fault({"text": "a", "text\xa0": "b"})


def test_what_is_not_read_and_what_stands_twice_is_counted(tmp_path: Path) -> None:
    rows = [
        {"id": 1, "instruction": "q", "output": "a", "score": 3},
        {
            "id": "1",
            "messages": [
                {"role": "user", "content": "q"},
                {"role": "assistant", "content": "a", "reasoning": "x", "refusal": None},
            ],
        },
    ]
    loaded = load(tmp_path, *rows)
    assert [record.id for record in loaded.records] == ["1", "1"]
    assert loaded.counts == {"column 'score' not read": 1, "key 'reasoning' of a turn not read": 1, "duplicate id": 1}
