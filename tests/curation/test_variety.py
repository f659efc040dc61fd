from __future__ import annotations

from belle.curation.survey import InMemory
from belle.curation.variety import SAMPLE, compare, draw, figures
from belle.curation.variety_tables import measures, tables
from belle.records import Conversation, Document, Message

THINGS = "春夏秋冬山水"
POEMS = [Conversation((Message("user", f"写一首关于{it}的诗"), Message("assistant", f"{it}的诗"))) for it in THINGS]
OTHERS = [
    Conversation((Message("user", "把这句话翻译成英文：今天天气很好。"), Message("assistant", "The weather is fine today."))),
    Conversation((Message("user", "计算 3 + 5 的结果"), Message("assistant", "8"))),
]


def test_lots_are_drawn_once_and_alike() -> None:
    assert draw(5, 5, 0) == [0, 1, 2, 3, 4]
    chosen = draw(1000, 10, 3)
    assert chosen == sorted(set(chosen)) == draw(1000, 10, 3)
    assert chosen != draw(1000, 10, 4)


def test_both_sides_are_of_one_size() -> None:
    found = compare(InMemory(POEMS + OTHERS), InMemory(OTHERS))
    assert found["sample"] == 2
    assert sum(found["before"]["classes"].values()) == sum(found["after"]["classes"].values()) == 2
    assert compare(InMemory(POEMS), InMemory([])) == {}
    assert SAMPLE >= 1000


def test_what_is_asked_is_counted() -> None:
    found = figures(POEMS + OTHERS)
    assert found["classes"]["generation"] == 6
    assert found["verb_object"]["table"][0] == ["写", 6, [["诗", 6]]]
    assert found["words"]["instruction"]["frequent"][0][:2] == ["写", 6]
    assert found["verb_object"]["instructions"] == 8


def test_documents_have_words_alone() -> None:
    found = figures([Document("春天的花园里有许多花。")])
    assert (found["classes"], found["verb_object"], list(found["words"])) == ({}, None, ["instruction"])
    assert [name for name, *_ in measures(found, found)] == [
        "instruction: different words in 1,000", "instruction: different pairs of words",
    ]  # fmt: skip


def test_a_class_that_drowns_the_rest_is_told() -> None:
    found = tables(compare(InMemory(POEMS + OTHERS), InMemory(POEMS + OTHERS)), 8)
    assert found["crowded"] == [("generation", 0.75)]
    assert found["whole"]
    assert found["verbs"][0] == ("写", 6, 100.0, ["诗"])
    assert tables({}, 8) == {"diversity": None}
