from __future__ import annotations

from pathlib import Path

import pytest

from belle.data.formats import load_records
from belle.errors import BelleError
from belle.sections import DataSection


def read(path: Path, content: str) -> list[tuple[str, ...]]:
    path.write_text(content, encoding="utf-8")
    loaded = load_records(DataSection(path=str(path)))
    assert not [name for name in loaded.counts if "not read" in name and name != "column '' not read"], loaded.counts
    return [(record.id, record.category, *[m.content for m in record.messages]) for record in loaded.records]


def test_the_layout_of_ceval(tmp_path: Path) -> None:
    rows = read(tmp_path / "a.csv", "id,question,A,B,C,D,answer\n0,最大的是____,一,二,三,四,D\n")
    assert rows == [("0", "", "最大的是____\nA. 一\nB. 二\nC. 三\nD. 四", "D")]


def test_the_test_split_has_no_answers(tmp_path: Path) -> None:
    assert read(tmp_path / "a.csv", "id,question,A,B\n7,对吗,对,错\n") == [("7", "", "对吗\nA. 对\nB. 错")]


def test_the_layout_of_cmmlu(tmp_path: Path) -> None:
    rows = read(tmp_path / "a.csv", ",Question,A,B,C,D,Answer\n0,问,甲,乙,丙,丁,B\n")
    assert rows == [("", "", "问\nA. 甲\nB. 乙\nC. 丙\nD. 丁", "B")]


def test_the_layout_of_mmlu_on_the_hub(tmp_path: Path) -> None:
    row = '{"question": "Which?", "subject": "anatomy", "choices": ["x", "y"], "answer": 1}\n'
    assert read(tmp_path / "a.jsonl", row) == [("", "anatomy", "Which?\nA. x\nB. y", "B")]


def test_an_empty_last_option_is_none(tmp_path: Path) -> None:
    assert read(tmp_path / "a.csv", "question,A,B,C,answer\n问,甲,乙,,a\n") == [("", "", "问\nA. 甲\nB. 乙", "A")]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ('{"question": "q", "A": "x", "B": "y", "answer": "C"}', "answer 'C' is none of A, B"),
        ('{"question": "q", "A": "x", "B": "y", "answer": "2"}', "answer '2' is none of A, B"),
        ('{"question": "q", "A": "x", "B": "y", "answer": true}', "answer True is none of A, B"),
        ('{"question": "q", "A": "x", "C": "y", "answer": "A"}', "the options are A, C, where A, B must stand"),
        ('{"question": "q", "choices": ["x"], "answer": 0}', "choices is 1 items"),
        ('{"question": "q", "choices": [1, 2], "answer": 0}', "option A is a number, not text"),
    ],
)
def test_a_bad_row_says_what_is_wrong(tmp_path: Path, row: str, words: str) -> None:
    with pytest.raises(BelleError, match=words):
        read(tmp_path / "a.jsonl", row)


def test_an_evaluation_row_stays_one(tmp_path: Path) -> None:
    assert read(tmp_path / "a.jsonl", '{"question": "q", "category": "math", "reference": "r"}') == [("", "math", "q", "r")]
