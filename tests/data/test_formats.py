"""Formats: one conversation in every dress is one record, from every kind of file."""

from __future__ import annotations

import csv
import json
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from belle.config import shipped
from belle.data.formats import Loaded, RowReader, load_records
from belle.errors import BelleError
from belle.jsonl import dumps
from belle.records import Conversation, Document, Message, Preference, Source, ToolCall, record_dict
from belle.sections import DataSection

SHARED = Path(__file__).parents[2].parent / "shared" / "data"
TOOL = {"name": "add", "description": "adds", "parameters": {"type": "object", "properties": {}}}
WRAPPED = {"type": "function", "function": TOOL}


def load(tmp_path: Path, *rows: Any, **keys: Any) -> Loaded:
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=True) + "\n" for row in rows), encoding="utf-8")
    return load_records(DataSection(path=str(path), **keys))


def read_row(row: Any, kind: type = Conversation, **keys: Any) -> Any:
    """One row, without a file around it."""
    return RowReader(DataSection(path="x", **keys), kind, Counter()).record(row)


def fault(row: Any, kind: type = Conversation, **keys: Any) -> str:
    with pytest.raises(BelleError) as caught:
        read_row(row, kind, **keys)
    return str(caught.value)


def said(*pairs: tuple[str, str]) -> tuple[Message, ...]:
    return tuple(Message(role, content) for role, content in pairs)  # type: ignore[arg-type]


# -- one conversation, many files ----------------------------------------------------------------------------------

ONE = said(("user", "你好，\n1+1=?"), ("assistant", "等于 2。"))
ONE_TURN_ROWS: dict[str, dict[str, Any]] = {
    "openai": {"messages": [{"role": "user", "content": "你好，\n1+1=?"}, {"role": "assistant", "content": "等于 2。"}]},
    "openai parts": {
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "你好，\n"}, {"type": "text", "text": "1+1=?"}]},
            {"role": "assistant", "content": [{"type": "text", "text": "等于 2。"}]},
        ]
    },
    "belle 3.5M": {"conversations": [{"from": "human", "value": "你好，\n1+1=?"}, {"from": "assistant", "value": "等于 2。"}]},
    "alpaca": {"instruction": "你好，\n1+1=?", "input": "", "output": "等于 2。"},
    "alpaca input": {"instruction": "你好，", "input": "1+1=?", "output": "等于 2。"},
    "alpaca only input": {"instruction": "", "input": "你好，\n1+1=?", "output": "等于 2。", "system": "", "history": []},
    "belle 0.5M": {"input": "你好，\n1+1=?", "target": "等于 2。"},
    "belle multi-turn": {"instruction": "Human:你好，\n1+1=?\nAssistant:", "input": "", "output": "等于 2。"},
    "belle multi-turn full width": {"instruction": "Human：你好，\n1+1=?\nAssistant：", "output": "等于 2。"},
    "belle text": {"text": "Human: \n你好，\n1+1=?\n\nAssistant: \n等于 2。"},
    "seed task": {"instruction": "你好，", "instances": [{"input": "1+1=?", "output": "等于 2。"}], "name": "x"},
    "completion": {"prompt": "你好，\n1+1=?", "completion": "等于 2。"},
    "completion turns": {
        "prompt": [{"role": "user", "content": "你好，\n1+1=?"}],
        "completion": [{"role": "assistant", "content": "等于 2。"}],
    },
    "evaluation": {"question": "你好，\n1+1=?", "std_answer": "等于 2。", "class": ""},
    "own evaluation": {"question": "你好，\n1+1=?", "reference": "等于 2。", "category": ""},
} | {
    f"sharegpt {user}/{bot}": {"conversations": [{"from": user, "value": "你好，\n1+1=?"}, {"from": bot, "value": "等于 2。"}]}
    for user in ("human", "user", "Human")
    for bot in ("gpt", "assistant", "chatgpt", "bing", "bard", "model")
}


@pytest.mark.parametrize("name", ONE_TURN_ROWS)
def test_one_turn_in_every_format_is_one_record(name: str) -> None:
    assert read_row(ONE_TURN_ROWS[name]) == Conversation(ONE)


@pytest.mark.parametrize("name", sorted(ONE_TURN_ROWS.keys() - {"seed task", "completion turns", "alpaca only input"}))
@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
def test_one_turn_in_tables(tmp_path: Path, name: str, suffix: str) -> None:
    row = ONE_TURN_ROWS[name]
    cells = {k: v if isinstance(v, str) else json.dumps(v) for k, v in row.items() if v not in ("", [])} | {"id": "7"}
    if "class" in row or "category" in row:
        cells["category"] = ""
    path = tmp_path / f"a{suffix}"
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, list(cells), delimiter="," if suffix == ".csv" else "\t")
        writer.writeheader()
        writer.writerow(cells)
    assert load_records(DataSection(path=str(path))).records == [Conversation(ONE, id="7", source=Source(str(path), 2))]


def test_one_turn_in_parquet(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    for number, row in enumerate(ONE_TURN_ROWS.values()):
        path = tmp_path / f"{number}.parquet"
        parquet.write_table(pyarrow.Table.from_pylist([row]), path)
        assert load_records(DataSection(path=str(path))).records == [Conversation(ONE, source=Source(str(path), 1))]


TWO = said(("system", "简短"), ("user", "一"), ("assistant", "1"), ("user", "二\n\n三"), ("assistant", "  2\n"))


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [{"role": m.role, "content": m.content} for m in TWO]},
        {"conversations": [{"from": m.role, "value": m.content} for m in TWO]},
        {
            "system": "简短",
            "conversations": [{"from": f, "value": m.content} for f, m in zip(["human", "gpt"] * 2, TWO[1:], strict=True)],
        },
        {"system": "简短", "history": [["一", "1"]], "instruction": "二\n\n三", "input": "", "output": "  2\n"},
        {"system": "简短", "instruction": "Human:一\nAssistant:1\nHuman:二\n\n三\nAssistant:", "output": "  2\n"},
        {
            "system": "简短",
            "prompt": "Human: \n一\n\nAssistant: \n1\n\nHuman: \n二\n\n三\n\nAssistant: \n",
            "completion": "  2\n",
        },
    ],
)  # fmt: skip
def test_turns_in_every_format_are_one_record(row: dict[str, Any]) -> None:
    assert read_row(row) == Conversation(TWO)


CALLED = Conversation(
    (
        Message("user", "1+2?"),
        Message("assistant", "", (ToolCall("add", '{"a": 1, "b": 2}'),)),
        Message("tool", "3"),
        Message("assistant", "3."),
    ),
    (WRAPPED,),
)


def _call(arguments: Any) -> dict[str, Any]:
    return {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"type": "function", "function": {"name": "add", "arguments": arguments}}],
    }


@pytest.mark.parametrize("tools", [[TOOL], [WRAPPED], json.dumps([TOOL]), json.dumps([WRAPPED])])
@pytest.mark.parametrize(
    "turns",
    [
        [_call({"a": 1, "b": 2}), {"role": "tool", "content": "3", "tool_call_id": "c"}],
        [_call('{"a": 1, "b": 2}'), {"role": "tool", "content": "3"}],
        [
            {"from": "function_call", "value": '{"name": "add", "arguments": {"a": 1, "b": 2}}'},
            {"from": "observation", "value": "3"},
        ],
        [{"from": "function_call", "value": '[{"name": "add", "arguments": {"a": 1, "b": 2}}]'}, {"from": "tool", "value": "3"}],
    ],
)
@pytest.mark.parametrize("column", ["messages", "conversations"])
def test_tool_calls_in_every_format_are_one_record(tools: Any, turns: list[Any], column: str) -> None:
    row = {column: [{"from": "human", "value": "1+2?"}, *turns, {"role": "assistant", "content": "3."}], "tools": tools}
    assert read_row(row) == CALLED


PAIR = Preference(said(("user", "问")), said(("assistant", "好")), said(("assistant", "坏")))
USER, GOOD, BAD = (
    {"role": "user", "content": "问"},
    {"role": "assistant", "content": "好"},
    {"role": "assistant", "content": "坏"},
)


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "问", "chosen": "好", "rejected": "坏"},
        {"prompt": "Human: \n问\n\nAssistant: \n", "chosen": "好", "rejected": "坏"},
        {"prompt": [USER], "chosen": [GOOD], "rejected": [BAD]},
        {"prompt": "问", "chosen": [USER, GOOD], "rejected": [USER, BAD]},
        {"chosen": [USER, GOOD], "rejected": [USER, BAD]},
        {"chosen": "Human: \n问\n\nAssistant: \n好", "rejected": "Human: \n问\n\nAssistant: \n坏"},
        {
            "conversations": [{"from": "human", "value": "问"}],
            "chosen": {"from": "gpt", "value": "好"},
            "rejected": {"from": "gpt", "value": "坏"},
        },
        {"messages": [USER], "chosen": GOOD, "rejected": "坏"},
        {"instruction": "问", "input": "", "chosen": "好", "rejected": "坏"},
    ],
)  # fmt: skip
def test_a_pair_in_every_format_is_one_record(row: dict[str, Any]) -> None:
    assert read_row(row, Preference) == PAIR
    assert "this is a Preference" in fault(row, Conversation)


def test_pairs_that_do_not_share_a_prompt() -> None:
    row = {"chosen": "Human: \n问\n\nAssistant: \n好", "rejected": "Human: \n另\n\nAssistant: \n坏"}
    assert "chosen must begin and end with an assistant turn, after a prompt that both share" in fault(row, Preference)
    assert "prompt and chosen: turn 3: an assistant turn follows an assistant turn" in fault(
        {"prompt": [USER, GOOD], "chosen": "好", "rejected": "坏"}, Preference
    )


@pytest.mark.parametrize(
    ("label", "meaning"), [(True, True), (False, False), (1, True), (0, False), ("true", True), ("False", False)]
)
def test_kto_label(label: Any, meaning: bool) -> None:
    for row in ({"messages": [USER, GOOD]}, {"prompt": "问", "completion": "好"}, {"instruction": "问", "output": "好"}):
        assert read_row({**row, "label": label}).label is meaning


def test_a_label_that_is_something_else() -> None:
    assert "label is text 'sports', where true or false must stand" in fault(
        {"instruction": "a", "output": "b", "label": "sports"}
    )
    assert read_row({"instruction": "a", "output": "b", "label": "sports"}, columns={"topic": "label"}).label is None


def test_documents_and_prompts() -> None:
    assert read_row({"text": "a\r\nb", "id": 3}, Document) == Document("a\r\nb", "3")
    assert read_row({"text": "Human: \nq\n\nAssistant: \na"}, Document) == Document("Human: \nq\n\nAssistant: \na")
    asked = Conversation(said(("user", "q")))
    for row in (
        {"text": "Human: \nq\n\nAssistant: \n"},
        {"prompt": "q"},
        {"instruction": "q"},
        {"instruction": "Human: q\nAssistant:"},
    ):
        assert read_row(row) == asked
    assert read_row({"messages": [{"role": "user", "content": "q"}]}) == asked
    assert read_row({"question": "q", "category": "", "reference": None}) == asked


def test_evaluation_rows() -> None:
    row = {"id": "e1", "category": "math", "language": "zh", "question": "q", "reference": "r"}
    assert read_row(row) == Conversation(said(("user", "q"), ("assistant", "r")), (), "e1", "math", "zh")
    assert read_row({"question": "q", "class": "closed\xa0qa", "std_answer": ""}).category == "closed qa"


def test_weight_and_train_flags() -> None:
    row = {"messages": [USER, {**GOOD, "weight": 0}, USER, {**GOOD, "weight": 1}, USER, {**GOOD, "train": False}, USER, GOOD]}
    assert [m.train for m in read_row(row).messages if m.role == "assistant"] == [False, True, False, None]


def test_a_named_format(tmp_path: Path) -> None:
    assert "no format fits" in fault({"text": "x"}, format="alpaca")
    assert "alpaca: no column 'instruction'" in fault({"text": "x"}, format="alpaca")
    assert "unknown data.format 'alpacca'. Did you mean 'alpaca'?" in fault({"text": "x"}, format="alpacca")
    assert "cannot be imported" in fault({"text": "x"}, format="no_such:thing")
    assert "is not a function" in fault({"text": "x"}, format="belle.records:ROLES")
    assert read_row({"input": "q", "target": "a"}, format="belle.data.conversations:belle").messages[0].content == "q"


def test_bom_and_crlf_are_counted(tmp_path: Path) -> None:
    row = json.dumps({"instruction": "q", "output": "a\r\nb"})
    (tmp_path / "a.json").write_bytes(f"\ufeff{row}\r\n{row}\r\n".encode())
    loaded = load_records(DataSection(path=str(tmp_path / "a.json")))
    assert loaded.counts == {"bom": 1, "crlf": 2}
    assert loaded.records[1].messages[1].content == "a\r\nb"


def test_kept_rows_and_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(
        b'{"instruction": "1", "output": "a"}\n{"instruction": \n{"text": "doc"}\n' + b'{"instruction": "2", "output": "b"}\n' * 3
    )
    section = DataSection(path=str(path), on_error="keep", limit=2)
    loaded = load_records(section)
    assert [record.source.line for record in loaded.records] == [1, 4]
    assert [(d["source"], d["row"]) for d in loaded.dropped] == [
        (f"{path}:2", '{"instruction": \n'),
        (f"{path}:3", {"text": "doc"}),
    ]
    assert loaded.dropped[0]["reason"].startswith("broken JSON")
    assert loaded.dropped[1]["reason"] == "this is a Document (format text), where a Conversation is needed"
    with pytest.raises(BelleError, match=r"a.jsonl:2: broken JSON"):
        load_records(DataSection(path=str(path)))
    path.write_text('{"text": "doc"}\n', encoding="utf-8")
    with pytest.raises(BelleError, match="no record left: all 1 rows are bad"):
        load_records(section)


def test_folders_lists_and_shipped_files(tmp_path: Path) -> None:
    row = '{"instruction": "q", "output": "a"}\n'
    for name in ("b.jsonl", "a.json", ".hidden.jsonl"):
        (tmp_path / name).write_text(row, encoding="utf-8")
    (tmp_path / "README.md").write_text("x", encoding="utf-8")
    loaded = load_records(DataSection(path=(str(tmp_path), str(tmp_path / "b.jsonl"))))
    assert loaded.files == [(str(tmp_path / name), 1) for name in ("a.json", "b.jsonl", "b.jsonl")]
    assert loaded.counts == {"file not read": 1}
    (tmp_path / "empty").mkdir()
    with pytest.raises(BelleError, match="holds no file that can be read"):
        load_records(DataSection(path=str(tmp_path / "empty")))
    with pytest.raises(BelleError, match=r"belle ships no data 'shipped:instructions_zn.jsonl'. Did you mean 'instructions_"):
        load_records(DataSection(path="shipped:instructions_zn.jsonl"))
    for path in sorted(shipped("data").glob("*.jsonl")):
        lines = path.read_text(encoding="utf-8").splitlines()
        loaded = load_records(DataSection(path=f"shipped:{path.name}"))
        assert len(loaded.records) == len(lines)
        assert loaded.counts == {}


SHARED_FILES = {
    "belle/eval_set.json": (Conversation, 1000, {"nbsp": 52}),
    "belle/zh_seed_tasks.json": (Conversation, 175, {"column 'name' not read": 175, "column 'is_classification' not read": 175}),
    "llamafactory/alpaca_en_demo.json": (Conversation, 999, {}),
    "llamafactory/alpaca_zh_demo.json": (Conversation, 1000, {}),
    "llamafactory/c4_demo.jsonl": (Document, 300, {}),
    "llamafactory/dpo_zh_demo.json": (Preference, 300, {}),
    "llamafactory/glaive_toolcall_zh_demo.json": (Conversation, 300, {}),
    "llamafactory/identity.json": (Conversation, 91, {}),
    "llamafactory/kto_en_demo.json": (Conversation, 300, {}),
    "llamafactory/mllm_demo.json": (
        Conversation,
        "mllm_demo.json:2: column 'images': images, audio and video are not supported yet",
        {},
    ),
    "belle/eval_prompt.json": (Conversation, "eval_prompt.json:1: no format fits this row. Columns found: 'class', 'prompt'", {}),
}


@pytest.mark.skipif(not SHARED.is_dir(), reason="the third-party files are not here")
@pytest.mark.parametrize("path", sorted(str(p.relative_to(SHARED)) for p in SHARED.glob("*/*.json*")))
def test_third_party_files(path: str) -> None:
    kind, outcome, counts = SHARED_FILES[path]
    section = DataSection(path=str(SHARED / path))
    if isinstance(outcome, str):
        with pytest.raises(BelleError) as caught:
            load_records(section, kind)
        assert outcome in caught.value.message
        return
    loaded = load_records(section, kind)
    assert len(loaded.records) == outcome
    assert loaded.counts == counts
    for record in loaded.records:
        assert read_row(json.loads(dumps(record_dict(record))), kind, columns={}) == replace(record, source=Source())


def test_fifty_thousand_rows_are_quick(tmp_path: Path) -> None:
    row = json.dumps({"instruction": "写一首诗" * 10, "input": "", "output": "床前明月光，" * 40}, ensure_ascii=False) + "\n"
    (tmp_path / "a.jsonl").write_text(row * 50_000, encoding="utf-8")
    started = time.process_time()
    assert len(load_records(DataSection(path=str(tmp_path / "a.jsonl"))).records) == 50_000
    assert time.process_time() - started < 8  # about 1 s on a quiet machine; this bound only catches a change of order
