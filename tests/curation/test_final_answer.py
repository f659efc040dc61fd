from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from belle.curation.final_answer import final_answer, form, value, wrong_sum


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("先算。\n答案：45.9元", "45.9元"),
        ("先算。\n**答案：** 45.9 元。", "45.9 元"),
        ("先算。\n最终答案是：\n12", "12"),
        ("Steps.\nFinal answer: 2020.", "2020"),
        ("Steps.\n#### 18", "18"),
        ("所以 $\\boxed{\\frac{3}{4}}$。", "\\frac{3}{4}"),
        ("答案：3\n不对，重算。\n答案：4", "4"),
        ("3+4=7，答：7个。", "7个"),
        ("没有写。", None),
        ("答案：", None),
    ],
)
def test_the_last_answer_counts(text: str, expected: str | None) -> None:
    assert final_answer(text) == expected


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("45.9 元", Fraction(459, 10)), ("x = -3", Fraction(-3)), ("3/4", Fraction(3, 4)), ("\\frac{3}{4}", Fraction(3, 4)),
        ("25%", Fraction(1, 4)), ("２５％", Fraction(1, 4)), ("12,345 人", Fraction(12345)), ("1,5", None), ("3:4", None),
        ("没有", None), ("1/0", None), ("2020", Fraction(2020)), ("−7", Fraction(-7)),
    ],
)  # fmt: skip
def test_an_answer_is_an_exact_number(answer: str, expected: Fraction | None) -> None:
    assert value(answer) == expected


@pytest.mark.parametrize(
    ("answer", "why"),
    [("45.9元", ""), ("x=2 或 x=3", ""), ("2π", ""), ("无解", ""), ("√2", ""), (None, "no final answer"), ("", "no final answer"),
     ("小明", "answer without a number"), ("因为" * 40 + "3", "answer too long")],
)  # fmt: skip
def test_the_form_is_checked(answer: str | None, why: str) -> None:
    assert form(answer) == why


@pytest.mark.parametrize(
    "text",
    [
        "8.5×6=51，51×0.9=45.9", "(6+10)×5÷2=40", "20 + 40 = 60", "3×(4-1)=9。", "10÷3≈3.33", "约 10÷3=3.33", "7-2020=-2013",
        "5x-8=3x+14", "x+3=7", "2024-05-01=5", "1+1=2+0", "240×15%=36", "40÷160=25%", "12,000+500=12,500", "18÷0.75=24段",
        "6×5=30平方厘米", "1/2+1/4=3/4", "2^3=8", "a2+3=5", "17÷5=3余2", "2²×3²×7=252", "3+2²=7", "5cm+3cm=8cm", "8÷(1-1)=0",
    ],
)  # fmt: skip
def test_right_sums_and_what_is_none_pass(text: str) -> None:
    assert wrong_sum(text) == ""


@pytest.mark.parametrize(
    ("text", "wrong"),
    [("8.5×6=52，所以", "8.5*6=52"), ("20 + 40 = 61", "20 + 40 = 61"), ("对的1+1=2，错的2+2=5。", "2+2=5"),
     ("(6+10)×5÷2=41", "(6+10)*5/2=41"), ("40÷160=26%", "40/160=26%"), ("７×８＝５４", "7*8=54")],
)  # fmt: skip
def test_a_wrong_sum_is_found(text: str, wrong: str) -> None:
    assert wrong_sum(text) == wrong


@given(a=st.integers(0, 9999), b=st.integers(1, 999), c=st.integers(0, 99), off=st.integers(1, 50), sign=st.sampled_from("+-×"))
def test_sums_are_done_exactly(a: int, b: int, c: int, off: int, sign: str) -> None:
    right = {"+": a + b * c, "-": a - b * c, "×": a * b * c}[sign]
    assert wrong_sum(f"有{a}{sign}{b}×{c}={right}。") == ""
    assert wrong_sum(f"有{a}{sign}{b}×{c}={right + off}。") != ""


@given(st.text())
def test_any_text_is_taken(text: str) -> None:
    for one in (text, f"答案：{text}", f"1+1={text}"):
        form(final_answer(one))
        value(one)
        wrong_sum(one)
