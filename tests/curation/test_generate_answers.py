from __future__ import annotations

from random import Random

import pytest

from belle.curation.generate_answers import plain_answer, unwrapped
from belle.curation.kinds import Candidate, Reject, Settings, View, open_kind
from belle.errors import BelleError
from belle.inference.backend import Answer
from belle.records import Conversation, Message, Source

TALK = Conversation(
    (Message("user", "甲"), Message("assistant", "乙"), Message("user", "丙"), Message("assistant", "丁")),
    id="t",
    category="chat",
)
PAIR = Conversation((Message("user", "为什么天是蓝的？"), Message("assistant", "散射。")), id="p", source=Source("f.jsonl", 3))
VIEW = View(Random(0), [], [])


def reply(text: str, finish: str = "stop") -> Answer:
    return Answer(text, finish, 1, 1)  # type: ignore[arg-type]


def test_the_last_question_is_answered_anew() -> None:
    made = open_kind("answer", [], [TALK], Settings())
    request = made.compose(0, VIEW)
    assert request is not None
    assert [message.role for message in request.messages] == ["system", "user", "assistant", "user"]
    (found,) = made.read(0, reply("\n新答\n"))
    assert isinstance(found, Candidate)
    assert [message.content for message in found.record.messages] == ["甲", "乙", "丙", "新答"]
    assert (found.record.id, found.record.category, found.new) == ("t", "chat", "甲\n丙")


def test_a_system_turn_of_its_own_stays_alone() -> None:
    record = Conversation((Message("system", "简短。"), Message("user", "甲")))
    request = open_kind("answer", [], [record], Settings()).compose(0, VIEW)
    assert request is not None
    assert [message.content for message in request.messages] == ["简短。", "甲"]


def test_cut_empty_and_thought() -> None:
    assert plain_answer(reply("半", "length")) == ("", [Reject("cut off", "", "半")])
    assert plain_answer(reply(" \n")) == ("", [Reject("empty answer")])
    assert plain_answer(reply("<think>想</think>\n答")) == ("答", [Reject("thought", "", "<think>想</think>")])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("天空为什么呈蓝色？", "天空为什么呈蓝色？"),
        ("“天空为什么呈蓝色？”", "天空为什么呈蓝色？"),
        ("任务：天空为什么呈蓝色？", "天空为什么呈蓝色？"),
        ("```\n天空为什么呈蓝色？\n```", "天空为什么呈蓝色？"),
        ("“蓝”与“青”有何不同？“答”", "“蓝”与“青”有何不同？“答”"),
        ("写一段代码：\n```python\nx\n```", "写一段代码：\n```python\nx\n```"),
    ],
)
def test_a_new_wording_is_unwrapped(text: str, expected: str) -> None:
    assert unwrapped(text) == expected


def test_a_rewrite_keeps_the_answer() -> None:
    made = open_kind("rewrite", [], [PAIR], Settings())
    (found,) = made.read(0, reply("天空怎么会是蓝色的呢？"))
    assert isinstance(found, Candidate)
    assert [message.content for message in found.record.messages] == ["天空怎么会是蓝色的呢？", "散射。"]
    assert found.record.id == ""
    (same,) = made.read(0, reply("为什么天是蓝的?"))
    assert isinstance(same, Reject)
    assert same.reason == "unchanged"


def test_there_must_be_an_answer_to_keep() -> None:
    with pytest.raises(BelleError, match=r"f\.jsonl:7: rewrite keeps the answer, and there is none"):
        open_kind("rewrite", [], [Conversation((Message("user", "甲"),), source=Source("f.jsonl", 7))], Settings())
