from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from belle.pages.page import count, duration, embed, render, signed


@settings(max_examples=60, deadline=None)
@given(st.recursive(st.text() | st.none(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_embedded_json_cannot_leave_its_element(value: object) -> None:
    text = str(embed(value))
    assert not set("<>&") & set(text)
    assert json.loads(text) == value


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (count(139_400_064), "139.4 M"), (count(48_211), "48,211"), (count(142_000), "142 k"), (count(None), "–"),
        (duration(3.2), "3.2 s"), (duration(431), "7 min 11 s"), (duration(7260), "2 h 1 min"),
        (signed(-0.353), "−0.353"), (signed(0.5, True), "+50.0 pt"),
    ],
)  # fmt: skip
def test_numbers(found: str, expected: str) -> None:
    assert found == expected


def test_a_folder_adds_its_own_script_and_style_behind_the_frames(tmp_path: Path) -> None:
    (tmp_path / "page.html.jinja").write_text('{% extends "frame.html.jinja" %}{% block main %}<p>{{ word }}</p>{% endblock %}')
    (tmp_path / "script.js").write_text("/* mine */")
    (tmp_path / "style.css").write_text(".mine{}")
    text = render(tmp_path, "<t>", word="<img onerror=x>")
    assert "<p>&lt;img onerror=x&gt;</p>" in text
    assert "<title>&lt;t&gt; · belle report</title>" in text
    assert text.count("<script>") == 1
    assert text.index("theme") < text.index("/* mine */")
    assert text.index(":root") < text.index(".mine{}")
