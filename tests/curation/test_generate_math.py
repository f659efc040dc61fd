from __future__ import annotations

from random import Random

import pytest

from belle.curation.generate_math import MathProblems
from belle.curation.kinds import Candidate, Reject, Settings, View
from belle.inference.backend import Answer
from belle.records import Conversation, Message

GOOD = "题目：柚子每个8.5元，买6个打九折，共多少钱？\n解答：原价8.5×6=51元，打九折后51×0.9=45.9元。\n答案：45.9元"


def read(text: str) -> list[Candidate | Reject]:
    return MathProblems([], [], Settings()).read(0, Answer(text, "stop", 1, 1))


def test_a_problem_with_steps_and_an_answer() -> None:
    (found,) = read("### 1\n" + GOOD)
    assert isinstance(found, Candidate)
    assert found.record.category == "math"
    assert found.new == "柚子每个8.5元，买6个打九折，共多少钱？"
    assert found.record.messages[1].content == "原价8.5×6=51元，打九折后51×0.9=45.9元。\n答案：45.9元"


def test_the_last_line_is_always_the_answer() -> None:
    (found,) = read("题目：3+4？\n解答：先数一数，3+4=7，\n所以 $\\boxed{7}$")
    assert isinstance(found, Candidate)
    assert found.record.messages[1].content.split("\n")[-1] == "答案：7"


def test_two_problems_in_one_answer() -> None:
    assert [type(one) for one in read(f"### 1\n{GOOD}\n\n### 2\n{GOOD.replace('柚子', '梨')}")] == [Candidate, Candidate]


@pytest.mark.parametrize(
    ("text", "reason", "detail"),
    [
        (GOOD.replace("=51元", "=52元"), "a sum is wrong", "8.5*6=52"),
        (GOOD.replace("\n答案：45.9元", ""), "no final answer", ""),
        (GOOD.replace("答案：45.9元", "答案：44元"), "answer is not in the steps", "44元"),
        ("题目：几只？\n解答：\n答案：3只", "no steps", "3只"),
        (GOOD.replace("答案：45.9元", "答案：小明"), "answer without a number", "小明"),
        ("题目：一加一？", "no output", ""),
    ],
)
def test_what_cannot_be_checked_is_rejected(text: str, reason: str, detail: str) -> None:
    (found,) = read(text)
    assert isinstance(found, Reject)
    assert (found.reason, found.detail) == (reason, detail)


def test_examples_are_of_the_class() -> None:
    seeds = [
        Conversation((Message("user", f"问{name}"), Message("assistant", "答")), category=name)
        for name in ("math", "code", "chat")
    ]
    made = MathProblems(seeds, [], Settings(examples=4))
    for number in range(10):
        request = made.compose(number, View(Random(number), seeds, []))
        assert request is not None
        assert "问math" in request.messages[0].content
        assert "问code" not in request.messages[0].content


def test_english() -> None:
    made = MathProblems([], [], Settings(language="en"))
    text = "### 1\nQuestion: Add 37 and 48.\nAnswer: 37 + 48 = 85, by tens and ones.\nFinal answer: 85"
    (found,) = made.read(0, Answer(text, "stop", 1, 1))
    assert isinstance(found, Candidate)
    assert found.record.messages[1].content.endswith("Final answer: 85")
