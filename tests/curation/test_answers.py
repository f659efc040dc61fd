from __future__ import annotations

from pathlib import Path

import pytest
from filter_records import reason, talk
from transformers import PreTrainedTokenizerFast

from belle.curation.answers import Length, empty
from belle.errors import BelleError
from belle.records import Conversation, Document, Message, ToolCall


@pytest.mark.parametrize(
    ("question", "answer", "expected"),
    [
        ("解释什么是通货膨胀。", "", "empty answer"),
        ("解释什么是通货膨胀。", " \u3000\u200b\n", "empty answer"),
        ("写一个函数。", "```python\n```", "empty answer"),
        ("解释什么是通货膨胀。", "……", "punctuation alone"),
        ("请介绍都江堰。", "。", "punctuation alone"),
        ("写一篇作文。", "略。", "placeholder"),
        ("Describe a fox.", "N/A", "placeholder"),
        ("Why did Rome fall?", "x", "one character"),
        ("介绍一下杭州。", "好", "one character"),
        ("2加3等于几？", "5", None),
        ("闰年有366天，对吗？", "是", None),
        ("A. 对 B. 错，选哪个？", "A", None),
        ("判断正误，正确打√，错误打×：地球绕太阳公转。", "√", None),
        ("Which regular expression matches any character?", ".", None),
        ("谢谢！", "👍", None),
        ("有没有问题？", "无", None),
        ("What is the null value called in SQL?", "NULL", None),
        ("钾的元素符号是什么？", "K", None),
        ("你好", "您好！", None),
    ],
)
def test_an_answer_is_empty(question: str, answer: str, expected: str | None) -> None:
    assert reason(empty(talk(question, answer))) == expected


def test_every_answer_counts() -> None:
    assert reason(empty(talk("你好", "你好！", "再见", ""))) == "empty answer"
    assert reason(empty(talk("你好"))) == "no answer"
    assert reason(empty(Document("——"))) == "empty text"
    assert empty(Document("1")) is None


def test_a_tool_call_is_an_answer() -> None:
    assert empty(Conversation((Message("user", "天气？"), Message("assistant", "", (ToolCall("weather", "{}"),))))) is None


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"question_least": 3}, "question too short"), ({"question_most": 1}, "question too long"),
        ({"answer_least": 6}, "answer too short"), ({"answer_most": 4}, "answer too long"),
        ({"question_least": 2, "question_most": 2, "answer_least": 5, "answer_most": 5}, None),
    ],
)  # fmt: skip
def test_lengths_are_counted_in_characters(options: dict[str, int], expected: str | None) -> None:
    assert reason(Length(**options)(talk(" 你好\n", "你好！朋友"))) == expected


def test_lengths_are_counted_in_tokens(tiny_tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    tiny_tokenizer.save_pretrained(tmp_path)
    count = sum(len(tiny_tokenizer.encode(text, add_special_tokens=False)) for text in ("你好", "hello"))
    for path in (tmp_path, tmp_path / "tokenizer.json"):
        assert Length(tokens_most=count, tokens_least=count, tokenizer=str(path))(talk("你好", "hello")) is None
        assert reason(Length(tokens_most=count - 1, tokenizer=str(path))(talk("你好", "hello"))) == "record too long"


@pytest.mark.parametrize("options", [{}, {"tokens_most": 3}, {"answer_least": 5, "answer_most": 4}])
def test_limits_without_sense_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(BelleError):
        Length(**options)


def test_a_tokenizer_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(BelleError, match="no tokenizer at"):
        Length(tokens_most=3, tokenizer=str(tmp_path / "none"))(talk("a", "b"))
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(BelleError, match="cannot be read as a tokenizer"):
        Length(tokens_most=3, tokenizer=str(tmp_path))(talk("a", "b"))
