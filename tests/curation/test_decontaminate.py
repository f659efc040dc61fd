from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from belle.curation.decontaminate import REASONS, Decontaminate
from belle.curation.items import Drop
from belle.data.overlap import HOWS
from belle.errors import BelleError
from belle.records import Conversation, Document, Message

QUESTION = "一捆绳子长18米，剪成每段0.75米，能剪几段？"
"""eval-zh-math-01 of belle's own evaluation set."""


def talk(question: str) -> Conversation:
    return Conversation((Message("user", question), Message("assistant", "好")))


def test_a_leak_is_dropped_with_the_question_and_the_way() -> None:
    dropped = Decontaminate(against=("shipped:evaluation.jsonl",))(talk(QUESTION))
    assert dropped == Drop(
        "is an evaluation question",
        "eval-zh-math-01 of shipped:evaluation.jsonl (exact 1.00): 一捆绳子长18米剪成每段0.75米能剪几段",
    )


def test_what_leaks_nothing_is_kept() -> None:
    step = Decontaminate(against="shipped:evaluation.jsonl")
    assert step(talk("今天天气怎么样？")) is None
    assert step(Document("一捆绳子。")) is None


def test_several_questions_in_one_record_are_counted() -> None:
    text = QUESTION + "\n" + "把小数0.375写成最简分数。"
    dropped = Decontaminate(against=("shipped:evaluation.jsonl",))(Document(text))
    assert dropped is not None
    assert dropped.reason == "contains an evaluation question"
    assert ", and 1 more: " in dropped.detail


def test_two_sets_with_the_same_ids_are_told_apart(tmp_path: Path) -> None:
    paths = []
    for name, question in (("a", "甲为什么要到乙家去吃饭"), ("b", "丙为什么要到丁家去睡觉")):
        paths.append(str(tmp_path / f"{name}.csv"))
        Path(paths[-1]).write_text(f"id,question,A,B,answer\n0,{question},好,坏,A\n", encoding="utf-8")
    step = Decontaminate(against=tuple(paths))
    dropped = step(talk("丙为什么要到丁家去睡觉？A 好 B 坏"))
    assert dropped is not None
    assert dropped.detail.startswith(f"{paths[1]}: 0 of {paths[1]} (exact 1.00)")


def test_it_travels_to_other_processes_used_or_not() -> None:
    step = Decontaminate(against="shipped:evaluation.jsonl")
    first = step(talk(QUESTION))
    assert pickle.loads(pickle.dumps(step))(talk(QUESTION)) == first
    assert len(pickle.dumps(step)) < 20_000


def test_options_reach_the_rules(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    path.write_text('{"question": "请认真阅读下面的短文然后再回答问题狗去了哪里", "category": "c"}\n', encoding="utf-8")
    near_it = talk("请认真阅读下面的短文然后再回答问题猫呢")
    assert Decontaminate(against=str(path))(near_it) is not None
    assert Decontaminate(against=str(path), near=2, ignore="请认真阅读下面的短文然后再回答问题")(near_it) is None
    assert Decontaminate(against=str(path), near=2, share=0.9)(near_it) is None


def test_nothing_to_look_for_is_an_error_at_once() -> None:
    with pytest.raises(BelleError, match="is told no evaluation set"):
        Decontaminate()
    with pytest.raises(BelleError, match="no rule of overlap"):
        Decontaminate(against="shipped:evaluation.jsonl", near=0)


def test_a_missing_file_is_an_error_at_the_first_record() -> None:
    with pytest.raises(BelleError, match=r"belle ships no data .* Did you mean 'evaluation.jsonl'\?"):
        Decontaminate(against="shipped:evalution.jsonl")(talk("你好"))


def test_every_way_has_a_reason() -> None:
    assert set(REASONS) == set(HOWS)
