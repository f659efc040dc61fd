from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from belle.curation.generate_questions import Questions, chunks, read_texts
from belle.curation.kinds import Candidate, Reject, Settings, View
from belle.errors import BelleError
from belle.inference.backend import Answer
from belle.records import Document

TEXT = "嘉陵堡的城墙建于1931年，长412米，用的是本地的青石。"


def made(**keys: object) -> Questions:
    return Questions([], [Document(TEXT)], Settings(**keys))  # type: ignore[arg-type]


def read(text: str, **keys: object) -> list[Candidate | Reject]:
    return made(**keys).read(0, Answer(text, "stop", 1, 1))


def test_pairs_are_read() -> None:
    found = read("### 1\n问题：嘉陵堡的城墙建于哪年？\n回答：建于1931年。\n\n### 2\n问题：嘉陵堡的城墙用什么石头？\n回答：青石。")
    records = [one.record for one in found if isinstance(one, Candidate)]
    assert [record.messages[0].content for record in records] == ["嘉陵堡的城墙建于哪年？", "嘉陵堡的城墙用什么石头？"]
    assert {record.category for record in records} == {"open_qa"}


@pytest.mark.parametrize(
    ("question", "answer", "reason", "detail"),
    [
        ("根据本文，城墙多长？", "412米。", "points at the text", "根据本文"),
        ("According to the passage, how long is it?", "412 m.", "points at the text", "According to the passage"),
        ("嘉陵堡的城墙多长？", "长421米。", "a number that is not in the text", "421"),
    ],
)
def test_a_pair_that_leans_on_what_is_not_there(question: str, answer: str, reason: str, detail: str) -> None:
    (found,) = read(f"问题：{question}\n回答：{answer}")
    assert isinstance(found, Reject)
    assert (found.reason, found.detail) == (reason, detail)


def test_numbering_is_no_made_up_number() -> None:
    (found,) = read("问题：嘉陵堡的城墙有哪些特点？\n回答：1. 建于1931年\n2. 长412米\n3. 用青石")
    assert isinstance(found, Candidate)


def test_the_passage_goes_along_when_asked() -> None:
    (found,) = read("问题：根据材料，城墙多长？\n回答：412米。", with_text=True)
    assert isinstance(found, Candidate)
    assert found.record.messages[0].content == f"{TEXT}\n\n根据材料，城墙多长？"
    assert (found.record.category, found.new) == ("closed_qa", "根据材料，城墙多长？")


def test_each_chunk_is_asked_about() -> None:
    several = Questions([], [Document("甲" * 150 + "\n\n" + "乙" * 150), Document("丙")], Settings(chunk=200))
    assert several.total == 3
    texts = [request.messages[0].content for i in range(3) if (request := several.compose(i, View(Random(0), [], [])))]
    assert ["甲" in texts[0], "乙" in texts[1], "丙" in texts[2], "乙" in texts[0]] == [True, True, True, False]


def test_cuts_fall_between_paragraphs_then_sentences() -> None:
    assert chunks("一一一。\n\n二二二。\n\n三三三。", 12) == ["一一一。\n\n二二二。", "三三三。"]
    assert chunks("一一一。二二二。三三三。", 9) == ["一一一。二二二。", "三三三。"]
    assert chunks("One two. Three four. Five.", 21) == ["One two. Three four.", "Five."]
    assert chunks("字" * 25, 10) == ["字" * 10, "字" * 10, "字" * 5]
    assert chunks(" \n", 10) == []


@given(text=st.text(st.sampled_from("甲乙。.！\n a#"), max_size=300), size=st.integers(1, 60))
def test_nothing_of_a_text_is_lost(text: str, size: int) -> None:
    found = chunks(text, size)
    assert "".join("".join(found).split()) == "".join(text.split())
    assert all(0 < len(chunk) <= size for chunk in found)


def test_text_files(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("\ufeff一\r\n二".encode())
    assert [(d.text, d.id) for d in read_texts([path])] == [("一\n二", "a")]
    path.write_bytes("数据".encode("gb18030"))
    with pytest.raises(BelleError, match=r"a\.txt: not UTF-8"):
        read_texts([path])
    path.write_text(" ")
    with pytest.raises(BelleError, match=r"a\.txt: is empty"):
        read_texts([path])
    with pytest.raises(BelleError, match=r"b\.txt: cannot be read"):
        read_texts([tmp_path / "b.txt"])
