from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from belle.curation.differences import LONGEST, left_out, marked, plain, visible


def joined(pieces: list[tuple[str, bool]]) -> str:
    return "".join(text for text, _ in pieces)


def test_what_differs_is_marked_on_both_sides() -> None:
    one, other = marked("今天去公园跑步锻炼", "今天去公园骑车锻炼")
    assert one == [("今天去公园", False), ("跑步", True), ("锻炼", False)]
    assert other == [("今天去公园", False), ("骑车", True), ("锻炼", False)]


@given(st.text(max_size=60), st.text(max_size=60))
def test_nothing_is_lost_or_made_up(one: str, other: str) -> None:
    left, right = marked(one, other)
    assert (joined(left), joined(right)) == (one, other)
    assert joined([piece for piece in left if not piece[1]]) == joined([piece for piece in right if not piece[1]])


def test_long_texts_are_clipped_and_counted() -> None:
    assert joined(plain("字" * (LONGEST + 5))) == "字" * LONGEST
    assert (left_out("字" * (LONGEST + 5)), left_out("字")) == (5, 0)


def test_white_space_is_drawn_only_where_it_differs() -> None:
    assert visible([("a b", False), ("a\u00a0\u3000 \n\t\u200b", True)]) == [("a b", False), ("a⍽□·⏎\n⇥‹U+200B›", True)]
