from __future__ import annotations

import pytest
from filter_records import reason, talk

from belle.curation.missing_input import missing_input
from belle.records import Document

GONE, PLACEHOLDER = "refers to what is not there", "a placeholder for the input"


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("总结以下文章。", GONE),
        ("將下面的句子翻譯成英文：", GONE),
        ("从给定的文本中提取人名。\n文本：", GONE),
        ("下列哪一项不属于可再生能源？", GONE),
        ("判断该评论的情感倾向。", GONE),
        ("请缩写这段文字：[在此处插入文字]", PLACEHOLDER),
        ("总结以下文章。\n输入：<无输入>", GONE),
        ("Summarize the article below.", GONE),
        ("Fix the bug in this code.", GONE),
        ("Sort these words alphabetically.\nInput: <noinput>", GONE),
        ("总结以下文章：昨天下了雨。", None),
        ("今天天气很好，我们一家人去公园野餐，孩子们放风筝，大家都非常高兴，晚上还看了烟花。请概括上面的文字。", None),
        ("请列出以下月份的季节：三月、七月。", None),
        ("按照以下格式介绍一种水果：名称、颜色。", None),
        ("十岁以下的孩子每天睡多久？", None),
        ("概括《背影》这篇文章的主要内容。", None),
        ("写一个故事，然后给这个故事起个名字。", None),
        ("写一个函数来计算给定数字的阶乘。", None),
        ("提供一个常用的隐喻例子。", None),
        ("遇到火灾应该打什么电话？", None),
        ("描述这张图片里的人。", None),
        ("写一首诗。\n输入：<无输入>", None),
        ("下面的代码输出什么？\n```python\nprint(1)\n```", None),
        ("Convert this equation 7x^2 + 2x = 0 into words.", None),
        ("Summarize the story of Snow White.", None),
    ],
)
def test_a_question_refers_to_what_is_not_there(question: str, expected: str | None) -> None:
    assert reason(missing_input(talk(question, "好的。"))) == expected


def test_what_was_said_before_counts() -> None:
    assert (
        missing_input(
            talk(
                "Here is my draft: Me and him goes to the market every days and we is glad.",
                "Thanks.",
                "Correct the sentence above.",
                "-",
            )
        )
        is None
    )
    assert reason(missing_input(talk("你好", "你好！", "请概括下文的中心思想。", "母爱。"))) == GONE


def test_a_document_asks_for_nothing() -> None:
    assert missing_input(Document("总结以下文章。")) is None
