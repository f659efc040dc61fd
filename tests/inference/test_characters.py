from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from belle.inference.characters import estimated_tokens, whole


def test_two_halves_become_their_character_and_one_alone_a_mark() -> None:
    assert whole("a\ud83d\ude00b") == "a😀b"
    assert whole("雨\ud83d") == "雨\ufffd"
    assert whole("\ude00\ud83d") == "\ufffd\ufffd"
    assert whole("\ud83dx") == "\ufffdx"


def test_all_texts_inside_are_mended() -> None:
    assert whole({"k\ud800": ["a\udc00", 1, None, {"x": ("\ud83d\ude00",)}]}) == {"k\ufffd": ["a\ufffd", 1, None, {"x": ["😀"]}]}


@given(st.text(st.characters(exclude_categories=[])))
def test_what_is_mended_can_be_written_and_what_is_whole_stays(text: str) -> None:
    mended = whole(json.loads(json.dumps(text)))
    mended.encode()
    assert whole(mended) == mended
    if not any("\ud800" <= char <= "\udfff" for char in text):
        assert mended == text


def test_chinese_counts_more_than_english() -> None:
    assert estimated_tokens("") == 0
    assert estimated_tokens("今天天气好") == 5
    assert estimated_tokens("abcdefgh") == 2
    assert estimated_tokens("用Python写") == 2 + 2
    assert estimated_tokens("𠮷😀") == 2
