from __future__ import annotations

import pytest
from filter_records import reason, talk
from hypothesis import given, settings
from hypothesis import strategies as st

from belle.curation.repetition import Repetition, _runs
from belle.records import Document

PARAGRAPH = "铜的电导率比铝高，约为铝的一点六倍，但铝更轻也更便宜，所以高压输电线常用铝而室内的电线常用铜。"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("西湖位于杭州市。" * 12, "loop"),
        ("那个" * 30, "loop"),
        ("先把鸡蛋打散。然后翻炒，" + "然后加盐，然后翻炒，" * 9, "loop"),
        ("\n".join(f"{n}. 和朋友一起去公园散步。" for n in range(1, 9)), "loop"),
        ("It helps. " + "I hope this helps! " * 7, "loop"),
        ("- Switch off the lights.\n" * 8, "loop"),
        (f"{PARAGRAPH}\n\n另外还有一点。\n\n{PARAGRAPH}", "paragraph twice"),
        ("哈哈哈哈哈哈哈哈，别提了。", None),
        ("| 甲 | 乙 |\n|---|---|\n" + "| a | b |\n" * 3, None),
        ("=" * 80, None),
        ("0.142857142857142857", None),
        ("<ul>\n" + "  <li></li>\n" * 5 + "</ul>", None),
        ("\n".join(f"{a}×{b}={a * b}" for a in range(1, 10) for b in range(1, a + 1)), None),
        ("四是四，十是十，十四是十四，四十是四十，谁能把四十说成十四，谁就来试试四十四只石狮子。", None),
        ("```c\n" + "x = 0;\n" * 6 + "```", None),
    ],
)
def test_a_loop_is_told_from_what_is_alike(answer: str, expected: str | None) -> None:
    assert reason(Repetition()(talk("说说看。", answer))) == expected


def test_what_was_asked_to_be_repeated_stays() -> None:
    assert Repetition()(talk("把“我爱你”写二十遍。", "我爱你！" * 20)) is None
    assert reason(Repetition()(talk("说说爱。", "我爱你！" * 20))) == "loop"


def test_the_weight_is_an_option_and_documents_are_looked_at() -> None:
    text = "西湖位于杭州市。" * 4
    assert reason(Repetition()(Document(text))) == "loop"
    assert Repetition(weight=100)(Document(text)) is None


@settings(max_examples=200, deadline=None)
@given(st.text("ab", min_size=1, max_size=9), st.text("cdefgh", max_size=12), st.integers(4, 9))
def test_a_run_has_the_period_that_it_tells(unit: str, before: str, times: int) -> None:
    text = before + unit * times
    found = _runs(text)
    for start, period, length in found:
        run = text[start : start + length]
        assert len(run) == length
        assert run[period:] == run[:-period]
    if len(unit) * times >= 24:
        assert max(length for *_, length in found) >= len(unit) * times
