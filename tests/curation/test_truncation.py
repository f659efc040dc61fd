from __future__ import annotations

import pytest
from filter_records import reason, talk

from belle.curation.truncation import truncated, truncation
from belle.records import Document


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("大家好，我叫林晓，平时喜欢读游记和小说，", "ends on a comma or an opening"),
        ("可以这样写：\n```python\nimport csv\nfor row in", "open code block"),
        ("1. 猫粮\n2. 猫砂\n3.", "ends with the number of an item"),
        ("他提出“知行合一”，认为人心中本有良知（即分辨善恶的能", "open bracket"),
        ("利息也会生息。第二年的利息按一万零五百元来算，也就是五百二", "stops in a sentence"),
        ("1. 每用眼四十分钟休息。\n2. 保持距离。\n3. 定期检查，如果发现", "stops in an item"),
        ("| 项目 | 猫 |\n| --- | --- |\n| 清洁 | 自己", "open row of a table"),
        ("于是 x-2=0 或 x-3=0，因此 x₂=", "ends on a comma or an opening"),
        ("The wind had dropped. He opened the door of the lamp room and saw a", "ends on a word that goes on"),
        ("Prices go up over time. If a sandwich cost three dollars, that is infla", "stops in a sentence"),
        ("吴承恩", None),
        ("a² + b² = c²", None),
        ("祝你生日快乐，愿你每一天都平安健康开心，心想事成万事如意🎂", None),
        ("尊敬的老师：\n我因病请假一天。\n学生 李明\n2023年6月1日", None),
        ("上联：一碗热汤迎远客\n下联：半盘饺子话乡愁", None),
        ("可是滴答声还在继续……", None),
        ("- 跑步：提高心肺功能，增强体质\n- 游泳：对关节的压力小，适合多数人群参加", None),
        ("Thank you for the cats.\n\nWarmly,\nJune and Peter", None),
        ("Hello, thank you for your message. Tuesday works well for me. Best wishes", None),
        ("glad, cheerful, content, joyful", None),
        ("```js\nlet a = 1;\n```", None),
        ("https://zh.wikipedia.org", None),
        ("", None),
    ],
)
def test_an_answer_stops_in_the_middle(answer: str, expected: str | None) -> None:
    assert truncation(answer) == expected


def test_every_answer_is_looked_at_and_the_end_is_shown() -> None:
    found = truncated(talk("你好", "我叫林晓，喜欢读游记和小说，", "再见", "再见！"))
    assert found is not None
    assert found.detail.endswith("喜欢读游记和小说，")
    assert reason(truncated(talk("写一句，", "好的。"))) is None


def test_a_document_may_end_anywhere() -> None:
    assert truncated(Document("一段话，")) is None
