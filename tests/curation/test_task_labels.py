from __future__ import annotations

import pytest

from belle.curation.task_labels import PART_OF, header_title, is_no_input, read_label


@pytest.mark.parametrize(
    ("line", "part", "rest", "numbered"),
    [
        ("指令：写诗", "instruction", "写诗", False),
        ("3. 指令: 写诗", "instruction", "写诗", True),
        ("（2）输入：无", "input", "无", True),
        ("**输出：** 好", "output", " 好", False),
        ("### 输出", "output", "", False),
        ("【类别】数学", "category", "数学", False),
        ("Output 2: x", "output", "x", True),
        ("\u3000\u3000輸入：甲", "input", "甲", False),
    ],
)
def test_a_label(line: str, part: str, rest: str, numbered: bool) -> None:
    label = read_label(line)
    assert label is not None
    assert (label.part, label.rest, label.numbered) == (part, rest, numbered)


@pytest.mark.parametrize("line", ["指令写诗", "请看输出：甲", "输出", "2020. 年", "outputs: 3", "指令集：RISC", ""])
def test_no_label(line: str) -> None:
    assert read_label(line) is None


@pytest.mark.parametrize(
    ("line", "expected", "title"),
    [("### 2", 2, ""), ("第3条", 1, ""), ("2.", 2, ""), ("2020.", 2, None), ("20.5 元", 2, None), ("### 任务 4：写诗", 4, "写诗"),
     ("2. 第二点", 2, None), ("Task 1", 1, ""), ("", 1, None)],
)  # fmt: skip
def test_a_line_that_only_counts(line: str, expected: int, title: str | None) -> None:
    assert header_title(line, expected) == title


def test_no_word_stands_for_two_parts() -> None:
    assert PART_OF["指令"] == "instruction"
    assert all(word == word.lower() for word in PART_OF)


def test_no_input_is_short() -> None:
    assert is_no_input("＜无输入＞")
    assert not is_no_input("无" * 50)
