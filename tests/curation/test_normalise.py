from __future__ import annotations

import importlib

import pytest
from filter_records import talk, texts
from hypothesis import given, settings
from hypothesis import strategies as st

from belle.curation.normalise import EDITS, Normalise, Simplify, outside_code
from belle.records import Document


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_can_be_found_and_leaves_what_is_plain(name: str) -> None:
    module, attribute = EDITS[name].split(":")
    edit = getattr(importlib.import_module(module), attribute)
    edit = edit() if isinstance(edit, type) else edit
    record = talk("写一首关于“春天”的诗：五言。", "春眠不觉晓，处处闻啼鸟。\n\n```py\nx = 1\n```")
    assert edit(record) is record


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Ａ１２，全角！", "A12，全角！"),
        ("\ufeff你好\u200b", "你好"),
        ("a\u00a0b\u2003c", "a b c"),
        ("a\r\nb\rc\u2028d", "a\nb\nc\nd"),
        ("a\x00b\x07", "ab"),
        ("ﾊﾟﾝ", "パン"),
        ("e\u0301", "é"),
        ("①　早餐；（一）", "①　早餐；（一）"),
        ("👨\u200d👩\u200d👧", "👨\u200d👩\u200d👧"),
        ("你\u200d好", "你好"),
        ("`Ａ` Ａ", "`Ａ` A"),
        ("```\nＡ\n```\nＡ", "```\nＡ\n```\nA"),
        ("𫓧𠮷🎂", "𫓧𠮷🎂"),
        ("a \n", "a \n"),
    ],
)
def test_a_text_is_brought_into_one_form(text: str, expected: str) -> None:
    assert Normalise().text(text) == expected


@pytest.mark.parametrize(
    ("option", "text"),
    [("width", "Ａ"), ("spaces", "a\u00a0b"), ("lines", "a\r\nb"), ("invisible", "a\u200bb"), ("controls", "a\x00b")],
)
def test_every_change_can_be_switched_off(option: str, text: str) -> None:
    assert Normalise(**{option: False}).text(text) == text  # type: ignore[arg-type]
    assert Normalise().text(text) != text


def test_trailing_space_goes_when_asked() -> None:
    assert Normalise(trailing=True).text("a  \n\nb\n```\nx  \n```\n\n") == "a\n\nb\n```\nx  \n```"
    assert Normalise(form="none").text("e\u0301") == "e\u0301"


@settings(max_examples=300)
@given(st.text(st.characters() | st.sampled_from("`~\u200d\u200b\u00a0\r\n\uff21\uff76\uff9e\u0301 "), max_size=30))
def test_twice_is_once(text: str) -> None:
    for edit in (Normalise(), Normalise(trailing=True), Normalise(form="none"), Simplify()):
        once = edit.text(text)
        assert edit.text(once) == once


def test_traditional_becomes_simplified_but_not_in_code_or_japanese() -> None:
    assert texts(Simplify()(talk("請介紹臺灣的頭髮與皇后。", "軟體 `變數`\n```\n變數\n```"))) == [
        "请介绍台湾的头发与皇后。",
        "软体 `變數`\n```\n變數\n```",
    ]
    assert Simplify(config="tw2sp").text("軟體") == "软件"
    assert Simplify(keep_code=False).text("`變數`") == "`变数`"
    japanese = Document("東京は學校の多い都市です。")
    assert Simplify()(japanese) is japanese


def test_what_stands_outside_code_is_changed() -> None:
    assert outside_code("a `b` c\n~~~\nd\n~~~\ne", str.upper) == "A `b` C\n~~~\nd\n~~~\nE"
    assert outside_code("a\n```\nb", str.upper) == "A\n```\nb"
