from __future__ import annotations

import re
from pathlib import Path

import pytest

from belle.curation.kinds import KINDS, Settings, open_kind
from belle.curation.prompt_files import SHIPPED, Prompt, check_folder, load_prompt, load_topics
from belle.errors import BelleError
from belle.records import Conversation, Document, Message

PAIR = Conversation((Message("user", "一加一？"), Message("assistant", "二。")))


@pytest.mark.parametrize("language", ["zh", "en"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_sound_prompts(kind: str, language: str) -> None:
    data = [Document("文")] if kind == "from_document" else [PAIR]
    made = open_kind(kind, [PAIR], data, Settings(language=language))
    text = (SHIPPED / f"{kind}_{language}.txt").read_text(encoding="utf-8")
    han = len(re.findall(r"[\u4e00-\u9fff]", text))
    assert (han > 40) == (language == "zh"), "it is written in its language"
    assert made.per_request >= 1


def test_values_are_filled_once(tmp_path: Path) -> None:
    path = tmp_path / "p.txt"
    path.write_text("\ufeffA {{ x }} {{y}} {{x}}\n", encoding="utf-8")
    assert Prompt(path, {"x": True, "y": False}).fill(x="{{y}}", y=3) == "A {{y}} 3 {{y}}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\nb {{exmples}} {{number}}", r"p.txt:2: unknown place {{exmples}}. Did you mean 'examples'\?"),
        ("{{examples}}", r"p.txt: the place {{number}} is missing"),
        ("{{}} {{examples}} {{number}}", r"p.txt:1: unknown place {{}}"),
        (" \n", "is empty"),
    ],
)
def test_a_wrong_place_is_named(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text(text, encoding="utf-8")
    with pytest.raises(BelleError, match=message):
        Prompt(tmp_path / "p.txt", {"examples": True, "number": True})


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_bytes("模型".encode("gb18030"))
    with pytest.raises(BelleError, match="cannot be read"):
        Prompt(tmp_path / "p.txt", {})


def test_own_files_go_first(tmp_path: Path) -> None:
    (tmp_path / "math_zh.txt").write_text("{{number}} 道 {{topic}}", encoding="utf-8")
    (tmp_path / "math_topics_zh.txt").write_text("# 注\n分数\n\n 小数 \n分数\n", encoding="utf-8")
    places = {"number": True, "topic": True}
    assert load_prompt(tmp_path, "math", "zh", places).fill(number=2, topic="分数") == "2 道 分数"
    assert load_prompt(tmp_path, "math", "en", {**places, "examples": False}).path.parent == SHIPPED
    assert load_topics(tmp_path, "math", "zh") == ("分数", "小数")
    assert len(load_topics(None, "math", "en")) > 20


def test_no_topic(tmp_path: Path) -> None:
    (tmp_path / "math_topics_zh.txt").write_text("# 注\n", encoding="utf-8")
    with pytest.raises(BelleError, match="there is no topic in it"):
        load_topics(tmp_path, "math", "zh")


def test_a_folder_is_looked_through(tmp_path: Path) -> None:
    with pytest.raises(BelleError, match="is no folder"):
        check_folder(tmp_path / "x", KINDS)
    with pytest.raises(BelleError, match="holds no prompt"):
        check_folder(tmp_path, KINDS)
    (tmp_path / "maths_zh.txt").write_text("x", encoding="utf-8")
    with pytest.raises(BelleError, match=r"is read by nothing\. Did you mean 'math_zh.txt'"):
        check_folder(tmp_path, KINDS)
    (tmp_path / "maths_zh.txt").rename(tmp_path / "math_zh.txt")
    check_folder(tmp_path, KINDS)
