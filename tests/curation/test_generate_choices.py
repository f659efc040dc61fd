from __future__ import annotations

import json

import pytest

from belle.curation.generate_choices import Choices, split_options
from belle.curation.kinds import Candidate, Reject, Settings
from belle.inference.backend import Answer

ASKED = "中国最长的河是哪一条？\nA. 黄河\nB. 长江\nC. 珠江\nD. 淮河"
SHAPES = {
    "plain": "### 1\n题目：中国最长的河是哪一条？\nA. 黄河\nB. 长江\nC. 珠江\nD. 淮河\n答案：B\n解析：长江约6300千米。",
    "full-width": "题目：中国最长的河是哪一条？\nＡ．黄河\nＢ．长江\nＣ．珠江\nＤ．淮河\n答案：Ｂ\n解析：长江约6300千米。",
    "brackets": "题目：中国最长的河是哪一条？\n（A）黄河\n（B）长江\n（C）珠江\n（D）淮河\n答案：（B）\n解析：长江约6300千米。",
    "one line": "题目：中国最长的河是哪一条？\nA、黄河  B、长江  C、珠江  D、淮河\n答案：B。长江\n解析：长江约6300千米。",
    "bold": "**题目**：中国最长的河是哪一条？\n**A.** 黄河\n**B.** 长江\n**C.** 珠江\n**D.** 淮河\n**答案**：B\n*"
    "*解析**：长江约6300千米。",
    "bullets": "题目：中国最长的河是哪一条？\n选项：\n- A. 黄河\n- B. 长江\n- C. 珠江\n- D. 淮河\n答案：选项 B\n解"
    "析：长江约6300千米。",
    "JSON object": json.dumps({"question": "中国最长的河是哪一条？", "options":
                               {"A": "黄河", "B": "长江", "C": "珠江", "D": "淮河"},
                               "answer": "B", "explanation": "长江约6300千米。"}, ensure_ascii=False),
    "JSON list": json.dumps([{"题目": "中国最长的河是哪一条？", "选项": ["A. 黄河", "B. 长江", "C. 珠江", "D. 淮河"], "答案": "B",
                              "解析": "长江约6300千米。"}], ensure_ascii=False),
    "JSON letters": json.dumps({"question": "中国最长的河是哪一条？", "A": "黄河", "B": "长江", "C": "珠江", "D": "淮河",
                                "answer": "b", "解析": "长江约6300千米。"}, ensure_ascii=False),
}  # fmt: skip


def read(text: str) -> list[Candidate | Reject]:
    return Choices([], [], Settings()).read(0, Answer(text, "stop", 1, 1))


@pytest.mark.parametrize("shape", SHAPES)
def test_a_shape_is_read(shape: str) -> None:
    (found,) = read(SHAPES[shape])
    assert isinstance(found, Candidate), found
    assert [message.content for message in found.record.messages] == [ASKED, "B\n解析：长江约6300千米。"]
    assert found.new == "中国最长的河是哪一条？"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (("答案：B", "答案：E"), "the answer is none of the options"),
        (("答案：B", "答案：长江"), "no letter in the answer"),
        (("B. 长江", "B. 黄 河"), "two options are the same"),
        (("A. 黄河\nB. 长江\nC. 珠江\nD. 淮河\n", ""), "no options"),
        (("B. 长江\nC. 珠江\nD. 淮河\n", ""), "no options"),
    ],
)
def test_a_faulty_question_is_rejected(change: tuple[str, str], reason: str) -> None:
    (found,) = read(SHAPES["plain"].replace(*change))
    assert isinstance(found, Reject)
    assert found.reason == reason


def test_several_questions() -> None:
    second = SHAPES["plain"].replace("### 1", "### 2").replace("最长的河", "流量最大的河")
    assert [type(one) for one in read(SHAPES["plain"] + "\n\n" + second)] == [Candidate, Candidate]


@pytest.mark.parametrize("text", ["A fox ran. Where?", "甲\nA 型血的人多吗", "B. 一\nC. 二", ""])
def test_a_text_without_options(text: str) -> None:
    assert split_options(text) == (text, [])


def test_an_option_of_two_lines() -> None:
    assert split_options("问\nA. 一\n  续\nB. 二") == ("问", ["一\n续", "二"])
