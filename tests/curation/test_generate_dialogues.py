from __future__ import annotations

from random import Random

import pytest

from belle.curation.generate_dialogues import Continuations, Roles
from belle.curation.kinds import Candidate, Reject, Settings, View
from belle.errors import BelleError
from belle.inference.backend import Answer
from belle.records import Conversation, Message, Source

FIRST = Conversation((Message("system", "简短。"), Message("user", "煮蛋几分钟？"), Message("assistant", "八分钟。")), id="x")
ROLE = "角色：你是阿福，一位老船长。\n场景：码头。\n用户：你好\n助手：喂！\n用户：去哪？\n助手：南边。"


def reply(text: str, finish: str = "stop") -> Answer:
    return Answer(text, finish, 1, 1)  # type: ignore[arg-type]


def contents(one: Candidate | Reject) -> list[str]:
    assert isinstance(one, Candidate), one
    return [message.content for message in one.record.messages]


def test_the_first_round_is_shown_and_stays() -> None:
    made = Continuations([], [FIRST], Settings(rounds=2))
    request = made.compose(0, View(Random(0), [], []))
    assert request is not None
    assert "用户：煮蛋几分钟？\n助手：八分钟。" in request.messages[0].content
    (found,) = made.read(0, reply("用户：溏心呢？\n助手：六分钟。\n用户：凉水下锅？\n助手：对。"))
    assert contents(found) == ["简短。", "煮蛋几分钟？", "八分钟。", "溏心呢？", "六分钟。", "凉水下锅？", "对。"]
    assert isinstance(found, Candidate)
    assert found.record.id == "x"


def test_a_first_round_that_comes_back_is_passed_over() -> None:
    made = Continuations([], [FIRST], Settings())
    (found,) = made.read(0, reply("用户：煮蛋几分钟?\n助手：约八分钟。\n用户：溏心呢？\n助手：六分钟。"))
    assert contents(found)[1:] == ["煮蛋几分钟？", "八分钟。", "溏心呢？", "六分钟。"]
    (nothing,) = made.read(0, reply("用户：煮蛋几分钟?\n助手：约八分钟。"))
    assert isinstance(nothing, Reject)
    assert nothing.reason == "nothing was added"


def test_a_first_round_needs_an_answer() -> None:
    with pytest.raises(BelleError, match="f:2: multi_turn continues a first round, and it has no answer"):
        Continuations([], [Conversation((Message("user", "甲"),), source=Source("f", 2))], Settings())


def test_a_role_is_a_system_turn() -> None:
    (found,) = Roles([], [], Settings()).read(0, reply(ROLE))
    assert contents(found) == ["你是阿福，一位老船长。\n码头。", "你好", "喂！", "去哪？", "南边。"]
    assert isinstance(found, Candidate)
    assert (found.record.category, found.new) == ("chat", "你是阿福，一位老船长。\n码头。")


def test_no_role() -> None:
    (found,) = Roles([], [], Settings()).read(0, reply("用户：你好\n助手：喂！"))
    assert isinstance(found, Reject)
    assert found.reason == "no role"


def test_a_cut_dialogue_keeps_its_whole_rounds() -> None:
    found = Roles([], [], Settings()).read(0, reply(ROLE, "length"))
    assert [one.reason for one in found if isinstance(one, Reject)] == ["cut off", "no reply"]
    assert contents(found[-1])[1:] == ["你好", "喂！"]


def test_known_roles_are_shown() -> None:
    made = Roles([], [], Settings())
    known = Conversation((Message("system", "你是阿福。\n码头。"), Message("user", "a"), Message("assistant", "b")))
    request = made.compose(0, View(Random(0), [], [known], 1))
    assert request is not None
    assert "- 你是阿福。" in request.messages[0].content
    first = made.compose(0, View(Random(0), [], [known], 0))
    assert first is not None
    assert "还没有" in first.messages[0].content
