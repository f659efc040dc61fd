from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from belle.curation.parse_dialogue import parse_dialogue

TURNS = [
    ("user", "第一问？"),
    ("assistant", "第一答。\n### 标题\n1. 甲"),
    ("user", "第二问？"),
    ("assistant", "价格20.5 元，2020."),
]
SHAPES = {
    "full-width": "用户：{0}\n助手：{1}\n用户：{2}\n助手：{3}",
    "half-width, blank lines": "用户: {0}\n\n助手: {1}\n\n用户: {2}\n\n助手: {3}\n",
    "bold": "**用户：** {0}\n**助手：** {1}\n**用户**：{2}\n**助手**：{3}",
    "brackets": "【用户】：{0}\n【助手】：{1}\n【用户】：{2}\n【助手】：{3}",
    "English": "User: {0}\nAssistant: {1}\nHuman: {2}\nAI: {3}",
    "traditional": "用戶：{0}\n助理：{1}\n用戶：{2}\n助理：{3}",
    "numbered": "1. 用户：{0}\n1. 助手：{1}\n2. 用户：{2}\n2. 助手：{3}",
    "counted": "用户1：{0}\n助手1：{1}\n用户2：{2}\n助手2：{3}",
    "bullets": "- 用户：{0}\n- 助手：{1}\n- 用户：{2}\n- 助手：{3}",
    "fenced": "```\n用户：{0}\n助手：{1}\n用户：{2}\n助手：{3}\n```",
    "below": "用户：\n{0}\n助手：\n{1}\n用户：\n{2}\n助手：\n{3}\n---\n",
    "BOM and CRLF": "\ufeff用户：{0}\r\n助手：{1}\r\n用户：{2}\r\n助手：{3}",
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_shape_is_read(shape: str) -> None:
    found = parse_dialogue(SHAPES[shape].format(*[text for _, text in TURNS]))
    assert [(turn.role, turn.content) for turn in found.turns] == TURNS
    assert found.rest == ()


@pytest.mark.parametrize("roles", [("user", "assistant"), ("human", "gpt"), ("用户", "助手")])
@pytest.mark.parametrize("wrap", ["{}", "```json\n{}\n```", '{{"messages": {}}}'])
def test_json_is_read(roles: tuple[str, str], wrap: str) -> None:
    keys = ("from", "value") if roles[1] == "gpt" else ("role", "content")
    rows = [{keys[0]: roles[role == "assistant"], keys[1]: text} for role, text in TURNS]
    found = parse_dialogue(wrap.format(json.dumps(rows, ensure_ascii=False)))
    assert [(turn.role, turn.content) for turn in found.turns] == TURNS


def test_role_and_scene() -> None:
    found = parse_dialogue("**角色**：你是阿福，\n一位船长。\n场景：码头上。\n\n用户：你好\n助手：喂！")
    assert found.fields == {"role": "你是阿福，\n一位船长。", "scene": "码头上。"}
    assert [turn.content for turn in found.turns] == ["你好", "喂！"]


def test_speakers_in_code_are_no_turns() -> None:
    found = parse_dialogue("用户：格式？\n助手：如下\n```\n用户：a\n助手：b\n```\n完")
    assert [turn.content for turn in found.turns] == ["格式？", "如下\n```\n用户：a\n助手：b\n```\n完"]


@pytest.mark.parametrize(
    ("text", "finish", "turns", "reasons"),
    [
        ("", "stop", [], ["empty answer"]),
        ("抱歉，我不能。", "stop", [], ["before the first turn"]),
        ("好的：\n用户：甲\n助手：乙", "stop", ["甲", "乙"], ["before the first turn"]),
        ("用户：甲\n助手：乙\n用户：丙", "stop", ["甲", "乙"], ["no reply"]),
        ("用户：甲\n助手：乙\n用户：丙\n助手：半", "length", ["甲", "乙"], ["cut off", "no reply"]),
        ("用户：甲\n助手：乙\n用户：半", "length", ["甲", "乙"], ["cut off"]),
        ("助手：乙\n用户：丙\n助手：丁", "stop", ["丙", "丁"], ["the assistant begins"]),
        ("用户：甲\n用户：乙\n助手：丙", "stop", ["甲\n乙", "丙"], []),
        ("<think>用户：假</think>用户：甲\n助手：乙", "stop", ["甲", "乙"], ["thought"]),
    ],
)
def test_what_is_left_out_has_its_reason(text: str, finish: str, turns: list[str], reasons: list[str]) -> None:
    found = parse_dialogue(text, finish)  # type: ignore[arg-type]
    assert [turn.content for turn in found.turns] == turns
    assert [reason for _, reason in found.rest] == reasons


PIECES = st.sampled_from(
    ["用户：", "助手：", "\n", "角色：", "```", "[", "{", '"role": "user"', "甲", "**", "\ud83d", "<think>", "场景：\n", " "]
)


@settings(max_examples=300, deadline=None)
@given(text=st.one_of(st.text(), st.lists(PIECES, max_size=30).map("".join)), finish=st.sampled_from(["stop", "length"]))
def test_any_text_gives_alternating_turns_or_a_reason(text: str, finish: str) -> None:
    found = parse_dialogue(text, finish)  # type: ignore[arg-type]
    assert [turn.role for turn in found.turns] == ["user", "assistant"] * (len(found.turns) // 2)
    assert found.turns or found.rest
    assert all(turn.content.strip() for turn in found.turns)
