"""A data set in figures: what is counted over all, what over a sample, and that nothing a record says can hurt the page."""

from __future__ import annotations

import json

import pytest

from belle.curation.survey import Survey, look, near_duplicates, survey
from belle.curation.survey_report import headline, render
from belle.errors import BelleError
from belle.records import Conversation, Document, Message, Preference, Source


def talk(asked: str, answer: str, category: str = "", line: int = 1) -> Conversation:
    return Conversation((Message("user", asked), Message("assistant", answer)), category=category, source=Source("d.jsonl", line))


LONG = "北京今天的天气非常好适合出门散步也适合去公园跑步锻炼身体"
RECORDS = [
    talk("写一首关于春天的诗", "春风吹绿了山岗。", "诗"), talk("写一首关于春天的诗！", "春风吹绿了山岗"),
    talk("写一个故事", "从前有座山。"), talk("What is the capital of Peru?", "The capital of Peru is Lima."),
    talk("天气怎么样", LONG), talk("天气怎么样", LONG.replace("跑步", "骑车")), talk("嗯", ""),
]  # fmt: skip


def test_counts_lengths_and_duplicates() -> None:
    figures = survey(RECORDS, sample=100)
    assert figures["records"] == figures["sample"] == 7
    assert figures["kinds"] == {"conversation": 7}
    assert figures["lengths"]["answer"]["quantiles"] == {"0": 0, "0.25": 7, "0.5": 8, "0.75": 28, "0.95": 28, "1": 28}
    assert figures["languages"] == {"zh": 6, "en": 1}
    assert figures["classes"]["given"] == {"诗": 1}
    assert sum(figures["classes"]["found"].values()) == 7
    assert figures["has"] == {"empty answer": 1}
    assert figures["turns"] == {"1": 7}
    twice = figures["duplicates"]
    assert (twice["same_record"], twice["same_instruction"]) == (1, 2)
    assert twice["most_repeated"] == [["写一首关于春天的诗！", 2], ["天气怎么样", 2]]
    assert twice["near"]["count"] == 2  # one of them word for word
    assert figures["verb_object"]["table"][0][:2] == ["写", 3]
    json.dumps(figures, allow_nan=False)


def test_what_a_cleaning_would_look_at() -> None:
    rows = {row["step"]: row for row in look(RECORDS)}
    assert rows["empty"]["count"] == 1
    assert rows["empty"]["examples"][0]["source"] == "d.jsonl:1"
    assert rows["empty"]["about"]
    assert "length" not in rows  # does nothing without a limit
    assert not [row for row in rows.values() if "failed" in row]
    assert list(rows.values()) == sorted(rows.values(), key=lambda row: (-row["count"], row["step"]))


def test_the_sample_is_random_and_the_same_again() -> None:
    records = [Document(f"text number {i}", source=Source("d", i)) for i in range(300)]

    def drawn(seed: int) -> list[int]:
        taken = Survey(20, seed)
        for record in records:
            taken.add(record)
        assert taken.result()["records"] == 300
        return [record.source.line for record in taken.drawn]

    assert len(drawn(0)) == len(set(drawn(0))) == 20
    assert drawn(0) == drawn(0) == sorted(drawn(0))
    assert drawn(0) != drawn(1)
    assert max(drawn(0)) > 100


def test_documents_and_preferences_count_too() -> None:
    figures = survey([Document("一段文字。"), Document("another text")], sample=10)
    assert figures["kinds"] == {"document": 2}
    assert "answer" not in figures["lengths"]
    assert figures["verb_object"] is None
    pair = Preference((Message("user", "写诗"),), (Message("assistant", "好诗"),), (Message("assistant", "坏"),))
    figures = survey([pair], sample=10)
    assert figures["kinds"] == {"preference": 1}
    assert figures["lengths"]["answer"]["mean"] == 2.0


def test_near_duplicates_are_shown_side_by_side() -> None:
    found = near_duplicates(RECORDS[4:6])
    assert found["count"] == 1
    assert {"text", "of_text", "detail"} <= found["examples"][0].keys()
    assert near_duplicates([])["count"] == 0


def test_no_record_is_an_error() -> None:
    with pytest.raises(BelleError, match="there is no record"):
        survey([], 10)


def test_the_page_says_what_is_there_and_escapes_it() -> None:
    bad = "<script>alert(1)</script> <img src=x onerror=y>"
    figures = survey([*RECORDS, talk(bad, bad), talk(bad, bad)], sample=100)
    text = render(figures, "my.jsonl", "belle clean open_clean data.path=my.jsonl")
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert" in text
    assert "belle clean open_clean data.path=my.jsonl" in text
    assert "".join(headline(figures)).startswith("9 conversations, mostly in Chinese")
    one = render(survey([Document("字")], 5), "d.txt", "belle clean")
    assert "Length of the text" in one
