"""Words, verbs with what they are about, and how different texts are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from belle.curation.diversity import WINDOW, VerbObjects, Vocabulary, distinct
from belle.curation.verb_object import verb_object
from belle.curation.words import content_words, words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The cat's TWO hats, and 3 caps!", ["the", "cat's", "two", "hats", "and", "3", "caps"]),
        ("我爱北京天安门。", ["我", "爱", "北京", "天安门"]), ("用Python写诗！", ["用", "python", "写诗"]),
        ("Ｐｙｔｈｏｎ　３", ["python", "3"]), ("……！？", []), ("", []),
    ],
)  # fmt: skip
def test_words(text: str, expected: list[str]) -> None:
    assert words(text) == expected


def test_content_words_leave_out_function_words() -> None:
    assert content_words("Please write the poem about a sea of 3 lights") == ["write", "poem", "sea", "lights"]
    found = content_words("请把下面的句子翻译成英文，这是我们的北京。")
    assert {"句子", "北京"} <= set(found)
    assert not {"请", "的", "我们", "是", "，"} & set(found)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("请帮我把下面的句子翻译成英文：你好", ("翻译", "句子")), ("写一首关于秋天的诗", ("写", "诗")),
        ("请总结以下段落的主要内容。", ("总结", "内容")), ("列举十种可以重复利用旧报纸的方法。", ("列举", "方法")),
        ("给我五个适合亲子周末活动的点子。", ("给", "点子")), ("请给我写一首诗", ("写", "诗")),
        ("将下面的陈述句改成疑问句：他昨天去了医院。", ("改", "陈述句")), ("生成一份菜单", ("生成", "菜单")),
        ("Write a short poem about the first snow.", ("write", "poem")),
        ("Can you give me ten ideas for a party?", ("give", "ideas")),
        ("Translate the following sentence into French: hi", ("translate", "sentence")),
        ('Given the opening line "x", write a short story.', ("write", "story")),
        ("1. List five ways to relax", ("list", "ways")),
        ("Explain how a vaccine works.", ("explain", "")),
        ("什么是光合作用？", None), ("What is the capital of Australia?", None), ("Hello there!", None),
        ("", None), ("\n\n。", None),
    ],
)  # fmt: skip
def test_verb_and_object(text: str, expected: tuple[str, str] | None) -> None:
    assert verb_object(text) == expected


@given(st.text(max_size=80))
def test_any_text_can_be_looked_at(text: str) -> None:
    assert verb_object(text) is None or len(verb_object(text) or ()) == 2
    assert all(word == word.casefold() or not word.isascii() for word in words(text))


def test_the_table_of_verbs() -> None:
    pairs = VerbObjects()
    for text in ["写一首诗", "写一首诗", "写一个故事", "生成一份菜单", "什么是诗？"]:
        pairs.add(text)
    assert pairs.table() == [("写", 3, [("诗", 2), ("故事", 1)]), ("生成", 1, [("菜单", 1)])]
    summary = pairs.summary()
    assert (summary["instructions"], summary["with_verb"], summary["different_pairs"]) == (5, 4, 3)
    assert summary["pair_share"] == pytest.approx(0.75)


def test_distinct_n() -> None:
    assert distinct(["a b a b"], 1) == pytest.approx(2 / 4)
    assert distinct(["a b a b"], 2) == pytest.approx(2 / 3)  # a b, b a, a b
    assert distinct(["a b", "b a"], 2) == 1.0  # no pair reaches from one text into the next
    assert distinct(["a"], 2) is None
    assert distinct([], 1) is None


def test_type_token_does_not_fall_with_the_size() -> None:
    text = " ".join(f"w{i % 500}" for i in range(WINDOW))
    small, large = Vocabulary(), Vocabulary()
    small.add(text)
    for _ in range(5):
        large.add(text)
    assert small.type_token == large.type_token == 0.5
    few = Vocabulary()
    few.add("a b a")
    assert few.type_token == pytest.approx(2 / 3)
    assert Vocabulary().type_token is None


def test_frequent_words_say_in_how_many_texts() -> None:
    vocabulary = Vocabulary()
    vocabulary.add("apple apple pear")
    vocabulary.add("apple")
    assert vocabulary.summary()["frequent"] == [["apple", 3, 2], ["pear", 1, 1]]
    assert vocabulary.summary()["words"] == 4
