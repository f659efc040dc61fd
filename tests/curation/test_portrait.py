from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from belle.curation.portrait import add, bin_start, length_bin, portrait
from belle.records import Conversation, Document, Message


def talk(asked: str, said: str, **more: str) -> Conversation:
    return Conversation((Message("user", asked), Message("assistant", said)), **more)


RECORDS = [talk("你好吗", "很好", category="chat", language="zh"), talk("hi", "", category="chat"), Document("一篇文章")]


def test_a_portrait_counts() -> None:
    found = portrait(RECORDS)
    assert (found["records"], found["characters"]) == (3, 3 + 2 + 2 + 4)
    assert found["categories"] == {"chat": 2, "": 1}
    assert found["languages"] == {"zh": 1}
    assert found["turns"] == {"1": 2}
    assert found["answer"] == {"2": 1, "-1": 1}


@given(st.integers(0, 3), st.integers(0, 3))
def test_portraits_of_parts_add_up(first: int, second: int) -> None:
    low, high = sorted((first, second))
    assert add([portrait(RECORDS[:low]), portrait(RECORDS[low:high]), portrait(RECORDS[high:])]) == add([portrait(RECORDS)])


@given(st.integers(1, 10**7))
def test_a_length_lies_in_its_bin(length: int) -> None:
    number = length_bin(length)
    assert bin_start(number) <= length < max(bin_start(number + 1), bin_start(number) + 1)


def test_bins_are_half_a_doubling() -> None:
    assert [length_bin(n) for n in (0, 1, 2, 3, 4, 5, 6, 8, 16)] == [-1, 0, 2, 3, 4, 4, 5, 6, 8]
