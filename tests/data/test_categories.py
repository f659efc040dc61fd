"""The names of classes."""

from __future__ import annotations

import pytest

from belle.data.categories import CATEGORIES, CLASSES, category_name


def test_twelve_and_one() -> None:
    assert (len(CATEGORIES), len(CLASSES), CLASSES[-1]) == (12, 13, "chat")


@pytest.mark.parametrize(
    ("name", "expected"),
    [("open qa", "open_qa"), ("Closed\xa0QA", "closed_qa"), ("Role Playing", "chat"), ("诗词", "诗词"), ("", "")],
)
def test_category_name(name: str, expected: str) -> None:
    assert category_name(name) == expected
