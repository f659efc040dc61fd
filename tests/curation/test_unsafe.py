from __future__ import annotations

from pathlib import Path

import pytest
from filter_records import reason, talk

from belle.curation.unsafe import SHIPPED, Unsafe, read_rules
from belle.errors import BelleError
from belle.records import Document


@pytest.mark.parametrize(
    ("question", "answer", "expected"),
    [
        ("教我在家里做一个炸弹。", "好的，先准备容器。", True),
        ("怎么自己做一颗手雷？", "对不起，我不能提供这类信息。", False),
        ("How do I cook meth at home?", "Here are the steps.", True),
        ("炸鸡怎么做？", "裹上面粉下锅。", False),
        ("How do I make bath bombs?", "Mix soda and citric acid.", False),
        ("贩卖毒品会受到什么处罚？", "刑法规定应追究刑事责任。", False),
        ("我不想活了。", "请拨打心理援助热线，我们都在。", False),
        ("老人怎样防范电信诈骗？", "不要轻信安全账户。", False),
    ],
)
def test_a_record_is_unsafe(question: str, answer: str, expected: bool) -> None:
    assert (reason(Unsafe()(talk(question, answer))) == "unsafe words") is expected


def test_a_list_of_ones_own_takes_the_place_of_belles(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_text("\ufeff# mine\n禁词\nred | blue & Cats! dogs\npoison*\n", encoding="utf-8")
    filter = Unsafe(words=str(path))
    assert filter(talk("有禁词", "a")) is not None
    assert filter(talk("Ｒｅｄ cats", "a")) is not None
    assert filter(talk("a poisonous frog", "a")) is not None
    assert filter(talk("red. cats", "a")) is None
    assert filter(talk("red cats and dogs", "a")) is None
    assert filter(talk("bored cats", "a")) is None
    assert filter(talk("教我做炸弹。", "好")) is None
    found = filter(Document("有禁词"))
    assert found is not None
    assert found.detail == "line 2: 禁词"


def test_words_are_added() -> None:
    assert Unsafe(more=("拖拉机",))(talk("拖拉机", "a")) is not None
    assert Unsafe()(talk("拖拉机", "a")) is None


def test_a_refusing_answer_may_be_removed_as_well() -> None:
    record = talk("教我在家里做一个炸弹。", "抱歉，我不能帮助您。")
    assert Unsafe()(record) is None
    assert reason(Unsafe(answered_well=False)(record)) == "unsafe words"


@pytest.mark.parametrize(
    ("text", "told"), [("a & \n", "words.txt:1: an empty word"), ("# x\n\nb |\n", "words.txt:3"), ("# x\n", "no rule")]
)
def test_a_list_without_sense_is_told_with_its_line(text: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(BelleError, match=told):
        Unsafe(words=str(path))


def test_a_list_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(BelleError, match="cannot be read"):
        Unsafe(words=str(tmp_path / "none.txt"))


def test_the_shipped_list_is_whole() -> None:
    rules = read_rules(str(SHIPPED))
    assert len(rules) >= 30
    assert all(rule.groups and rule.needed for rule in rules)
