from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from belle.errors import BelleError
from belle.evaluation.tasks import CATEGORIES, IDENTITY, category_name, load_questions
from belle.records import Message
from belle.sections import DataSection

SHARED = Path(__file__).parents[2].parent / "shared"


def write(path: Path, *rows: object) -> DataSection:
    path.write_text("\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")
    return DataSection(path=str(path))


def test_shipped_questions() -> None:
    questions = load_questions(DataSection(path="shipped:evaluation.jsonl"))
    assert len(questions) >= 120
    counts = Counter(q.category for q in questions)
    assert set(counts) == {*CATEGORIES, IDENTITY}
    assert {q.language for q in questions} == {"zh", "en"}
    assert all(q.messages == (Message("user", q.text),) for q in questions)
    assert len({q.id for q in questions}) == len(questions)


def test_rows_of_belle_are_understood(tmp_path: Path) -> None:
    section = write(
        tmp_path / "eval_set.json",
        {"question": "天空为什么是蓝色的？", "class": "Closed\xa0QA", "std_answer": "因为散射。"},
        {"question": "把“你好”译成英文", "class": "translation", "std_answer": "Hello"},
        {"question": "写一首诗", "class": "generation", "std_answer": ""},
        {"question": "1+1=?", "class": "math", "std_answer": "2"},
    )
    found = [(q.id, q.category, q.language, q.reference) for q in load_questions(section)]
    assert found == [
        ("eval_set-00001", "closed_qa", "zh", "因为散射。"),
        ("eval_set-00002", "translation", "en", "Hello"),  # to be answered in English
        ("eval_set-00003", "generation", "zh", None),
        ("eval_set-00004", "math", "other", "2"),
    ]


@pytest.mark.skipif(not SHARED.is_dir(), reason="no ../shared beside this checkout")
def test_the_real_set_of_belle() -> None:
    questions = load_questions(DataSection(path=str(SHARED / "data/belle/eval_set.json")))
    assert Counter(q.category for q in questions) == {
        "open_qa": 285, "brainstorming": 179, "rewrite": 131, "generation": 98, "math": 75, "classification": 65,
        "closed_qa": 52, "summarization": 40, "code": 38, "extract": 37,
    }  # fmt: skip
    assert sum(q.reference is None for q in questions if q.category == "rewrite") == 92


def test_conversations_give_their_last_answer_as_reference(tmp_path: Path) -> None:
    turns = [("system", "简短作答"), ("user", "1+1"), ("assistant", "2"), ("user", "再加一"), ("assistant", "是三")]
    section = write(tmp_path / "chat.jsonl", {"id": "a", "messages": [{"role": r, "content": c} for r, c in turns]})
    (question,) = load_questions(section)
    assert question.text == "再加一"
    assert question.reference == "是三"
    assert len(question.messages) == 4
    assert (question.id, question.language, question.category) == ("a", "zh", "other")


def test_columns_and_limit(tmp_path: Path) -> None:
    path = str(write(tmp_path / "q.jsonl", {"问": "你好吗", "答": "好"}, {"问": "真的吗", "答": "真"}).path)
    section = DataSection(path=path, columns={"question": "问", "reference": "答"}, limit=1)
    assert [(q.text, q.reference) for q in load_questions(section)] == [("你好吗", "好")]


@pytest.mark.parametrize(
    ("name", "expected"),
    [("open qa", "open_qa"), ("Open-QA", "open_qa"), ("Summarisation", "summarization"), ("诗词", "诗词"), (" code ", "code")],
)
def test_category_name(name: str, expected: str) -> None:
    assert category_name(name) == expected


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([{"question": q, "class": "c", "id": "x"} for q in "ab"], ["q.jsonl:2", "'x'", "q.jsonl:1"]),
        ([{"question": "a", "class": "c"}, {"query": "b"}], ["q.jsonl:2", "query"]),
        ([{"question": "  ", "class": "c"}], ["q.jsonl:1"]),
        ([{"question": "a", "reference": ["3"]}], ["q.jsonl:1", "reference"]),
        ([{"question": ["a"], "class": "c"}], ["q.jsonl:1", "question"]),
    ],
)
def test_bad_rows_name_their_line(tmp_path: Path, rows: list[object], words: list[str]) -> None:
    with pytest.raises(BelleError) as error:
        load_questions(write(tmp_path / "q.jsonl", *rows))
    assert all(word in str(error.value) for word in words)


def test_a_part_of_a_set_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "q.jsonl", {"question": "a", "class": "math"}).path
    with pytest.raises(BelleError, match="whole"):
        load_questions(DataSection(path=path, on_error="keep"))
