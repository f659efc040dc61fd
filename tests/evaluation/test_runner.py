from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from belle.errors import BelleError
from belle.evaluation.runner import evaluate
from belle.evaluation.summary import summarise
from belle.evaluation.tasks import Question
from belle.inference.backend import Answer, Request, Score
from belle.jsonl import read_rows
from belle.records import Conversation, Message
from belle.sections import GenerationSection

GREEDY = GenerationSection()


class Parrot:
    """Answers from a script, and dies at the n-th answer if told to."""

    name = "parrot"

    def __init__(self, script: dict[str, str], die_at: int | None = None) -> None:
        self.script, self.die_at = script, die_at
        self.asked: list[str] = []
        self.scored: list[Conversation] = []

    def generate(
        self, requests: Sequence[Request], options: GenerationSection, on_answer: Callable[[int, Answer], None] | None = None
    ) -> list[Answer]:
        answers: dict[int, Answer] = {}
        for i in reversed(range(len(requests))):  # as a batching backend may: longest first
            if self.die_at is not None and len(self.asked) >= self.die_at:
                raise KeyboardInterrupt
            self.asked.append(requests[i].id)
            text = self.script[requests[i].id]
            failed = text == "!"
            answers[i] = Answer("" if failed else text, "error" if failed else "stop", 3, len(text), "too long" if failed else "")
            if on_answer:
                on_answer(i, answers[i])
        return [answers[i] for i in range(len(requests))]

    def score(self, conversations: Sequence[Conversation]) -> list[Score]:
        self.scored += conversations
        lengths = [len(c.messages[-1].content) for c in conversations]
        return [Score(2.0 * length, length, length) for length in lengths]


class Mute:
    """A backend that cannot score and never calls back."""

    name = "mute"

    def generate(self, requests: Sequence[Request], options: GenerationSection, on_answer: object = None) -> list[Answer]:
        return [Answer("嗯", "length", 1, 1) for _ in requests]


def ask(*rows: tuple[str, str, str, str, str | None]) -> list[Question]:
    return [Question(i, c, lang, (Message("user", q),), ref) for i, c, lang, q, ref in rows]


QUESTIONS = ask(
    ("a", "math", "zh", "一加一", "二"),
    ("b", "math", "en", "one and one", "two"),
    ("c", "generation", "zh", "写诗", None),
    ("d", "identity", "zh", "你是谁", "我是Belle"),
    ("e", "identity", "en", "who are you", "I am Belle"),
)
SCRIPT = {"a": "二。", "b": "三", "c": "春眠", "d": "我是 belle", "e": "I am Someone"}


def test_rows_and_metrics(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    rows = evaluate(Parrot(SCRIPT), QUESTIONS, GREEDY, tmp_path / "answers.jsonl", lambda *call: calls.append(call))
    assert [row["id"] for row in rows] == ["a", "b", "c", "d", "e"]
    assert rows == [json.loads(line) for line in (tmp_path / "answers.jsonl").read_text(encoding="utf-8").splitlines()]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["answers.jsonl"]
    assert rows[0] == {
        "id": "a", "category": "math", "language": "zh", "question": "一加一", "reference": "二", "answer": "二。",
        "finish": "stop", "prompt_tokens": 3, "answer_tokens": 2, "loss_sum": 2.0, "loss_tokens": 1, "loss_characters": 1,
        "chrf": pytest.approx(5 * 0.5 * 1 / (4 * 0.5 + 1)), "rouge_l": 1.0, "exact": True,
        "language_match": True, "language_share": 1.0, "stopped": True,
    }  # fmt: skip
    assert rows[2]["chrf"] is rows[2]["exact"] is rows[2]["loss_sum"] is None
    assert calls[0] == (0, 9)
    assert calls[-1] == (9, 9)

    metrics = summarise(rows, "Belle", "parrot", draws=200)
    assert metrics["questions"] == 5
    assert metrics["loss"] == {"value": pytest.approx(2.0), "low": pytest.approx(2.0), "high": pytest.approx(2.0), "n": 4}
    assert metrics["perplexity"]["value"] == pytest.approx(7.389056)
    assert metrics["bits_per_character"]["value"] == pytest.approx(2.885390)  # 2 nats
    assert metrics["exact"]["value"] == 2 / 4
    assert metrics["language_match"]["value"] == 4 / 5
    assert metrics["says_name"]["value"] == 1 / 2
    assert metrics["says_name"]["n"] == 2
    assert metrics["by_language"]["zh"]["says_name"]["value"] == 1
    assert metrics["by_language"]["en"]["says_name"]["value"] == 0
    assert metrics["by_category"]["math"]["n"] == 2
    assert metrics["by_category"]["generation"]["chrf"] is None
    assert metrics["macro"]["categories"] == ["math", "generation"]  # identity is no class
    without = ("loss", "bits_per_character", "chrf", "rouge_l", "exact")
    assert metrics["macro"]["left_out"] == {name: ["generation"] for name in without}
    assert metrics["macro"]["language_match"]["value"] == pytest.approx((0.5 + 1) / 2)
    json.dumps(metrics, allow_nan=False)


@pytest.mark.parametrize("die_at", [0, 1, 3, 4])
def test_a_stopped_run_asks_only_what_is_missing(tmp_path: Path, die_at: int) -> None:
    whole = evaluate(Parrot(SCRIPT), QUESTIONS, GREEDY, tmp_path / "whole.jsonl")
    out = tmp_path / "answers.jsonl"
    first = Parrot(SCRIPT, die_at)
    with pytest.raises(KeyboardInterrupt):
        evaluate(first, QUESTIONS, GREEDY, out)
    assert not out.exists()
    with (tmp_path / "answers.part.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"id": "a", "answer": "torn')  # what kill -9 leaves
    second = Parrot(SCRIPT)
    calls: list[tuple[int, int]] = []
    assert evaluate(second, QUESTIONS, GREEDY, out, lambda done, total: calls.append((done, total))) == whole
    assert sorted(first.asked + second.asked) == ["a", "b", "c", "d", "e"]
    assert second.scored == []
    assert calls[0] == (4 + die_at, 9)
    assert out.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def test_a_failed_answer_counts_as_wrong_and_is_asked_again_on_resuming(tmp_path: Path) -> None:
    questions = QUESTIONS[:2]
    rows = evaluate(Parrot({"a": "!", "b": "two"}), questions, GREEDY, tmp_path / "answers.jsonl")
    assert rows[0]["finish"] == "error"
    assert rows[0]["error"] == "too long"
    assert (rows[0]["exact"], rows[0]["language_match"], rows[0]["stopped"], rows[0]["chrf"]) == (False, False, False, 0)
    assert summarise(rows, "Belle", "parrot", draws=50)["errors"] == 1

    out = tmp_path / "b" / "answers.jsonl"
    with pytest.raises(KeyboardInterrupt):
        evaluate(Parrot({"a": "x", "b": "!"}, die_at=1), questions, GREEDY, out)  # b, asked first, fails; then killed
    again = Parrot({"a": "x", "b": "two"})
    evaluate(again, questions, GREEDY, out)
    assert sorted(again.asked) == ["a", "b"]
    assert [row["answer"] for row in read_rows(out)] == ["x", "two"]


def test_a_backend_that_cannot_score(tmp_path: Path) -> None:
    rows = evaluate(Mute(), QUESTIONS, GREEDY, tmp_path / "answers.jsonl")  # type: ignore[arg-type]
    metrics = summarise(rows, "Belle", "mute", draws=50)
    assert metrics["loss"] is metrics["perplexity"] is metrics["macro"]["loss"] is None
    assert metrics["stopped"]["value"] == 0
    assert metrics["chrf"]["n"] == 4


def test_only_the_last_answer_is_scored(tmp_path: Path) -> None:
    turns = (Message("user", "一"), Message("assistant", "二"), Message("user", "三"))
    parrot = Parrot({"m": "四"})
    evaluate(parrot, [Question("m", "math", "zh", turns, "四")], GREEDY, tmp_path / "answers.jsonl")
    assert [(m.role, m.train) for m in parrot.scored[0].messages] == [
        ("user", None), ("assistant", False), ("user", None), ("assistant", True),
    ]  # fmt: skip


def test_a_reference_that_cannot_be_scored_keeps_its_reason_and_costs_no_other(tmp_path: Path) -> None:
    class Short(Parrot):
        def score(self, conversations: Sequence[Conversation]) -> list[Score]:
            if any(len(c.messages[-1].content) > 5 for c in conversations):
                raise BelleError("more tokens than the context")
            return super().score(conversations)

    questions = ask(("a", "math", "en", "1+1?", "2"), ("b", "math", "en", "1+2?", "a very long reference"))
    rows = evaluate(Short({"a": "2", "b": "3"}), questions, GREEDY, tmp_path / "answers.jsonl")
    assert [row["loss_sum"] for row in rows] == [2.0, None]
    assert rows[1]["loss_error"].endswith("more tokens than the context")
    assert summarise(rows, "Belle", "m")["unscored"] == 1
    assert summarise(rows, "Belle", "m")["loss"]["n"] == 1
