from __future__ import annotations

import html
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from cleaning import STEPS, clean, data_file

from belle.curation.report import file_name, headline, render, step_name, transcript, write_report

TEXTS = [
    "你好，世界！", "hello  world", "bad <img src=x onerror=alert(1)>", "你好 世界", "HELLO WORLD",
    "这是坏的&quot;句子吗？", "x" * 80, "第一句话在这里", "第二句话在这里", "第三句话", "第四句话也在这里",
    "第五句话", "</script><b>粗</b>",
]  # fmt: skip


def info(steps: Any = STEPS, **more: Any) -> dict[str, Any]:
    recipe = {"records": "conversations", "steps": list(steps), "data": {"path": "d.jsonl"}}
    return {
        "recipe": recipe, "inputs": [], "parents": [], "python": "3.11", "platform": "Linux", "started": "2026-01-02T03:04:05Z",
    } | more  # fmt: skip


@pytest.fixture
def page(tmp_path: Path) -> str:
    data = data_file(tmp_path / "d.jsonl", TEXTS)
    cleaning, stages = clean(data, tmp_path / "out")
    parents = [{"path": "runs/before", "id": "abcdef0123456789"}]
    inputs = [{"role": "data", "path": str(data), "sha256": "f" * 64}]
    return render(cleaning.outcome(stages), info(parents=parents, inputs=inputs), "runs/mine")


def words(page: str) -> str:
    """What a reader sees."""
    body = re.sub(r"<(style|script)\b.*?</\1>", " ", page, flags=re.DOTALL)
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", body)))


def test_counts_after_every_stage(page: str) -> None:
    rows = re.findall(r'aria-label="(\d+) of (\d+) records stayed"', page)
    assert [(int(before), int(after)) for after, before in rows] == [
        (13, 13), (13, 13), (13, 13), (13, 12), (12, 10), (10, 8), (8, 8), (8, 5),
    ]  # fmt: skip
    assert "Of 13 records 5 stayed" in words(page)
    assert "least 3" in words(page), "what the recipe says of a step stands beside it"


def test_what_went_stands_with_its_reason_and_what_it_lost_to(page: str) -> None:
    seen = words(page)
    assert "same text" in seen
    assert "stays: d.jsonl:1" in seen
    assert re.search(r"removed user: 你好 · 世界", seen), "what differs is marked, and a space is drawn"
    assert "forbidden word" in seen
    assert "not among the longest" in seen


def test_the_lineage_is_there(page: str) -> None:
    seen = words(page)
    assert "runs/before run abcdef012345" in seen
    assert "sha256 ffffffffffffffff" in seen
    assert "belle clean runs/mine/recipe.yaml" in seen


def test_nothing_that_a_record_says_becomes_markup(page: str) -> None:
    tags: list[tuple[str, list[str]]] = []

    class Tags(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            tags.append((tag, [name for name, _ in attrs]))

    Tags().feed(page)
    assert not [tag for tag, names in tags if tag == "img" or "onerror" in names]
    assert sum(tag == "script" for tag, _ in tags) == 1
    assert "&lt;img src=x onerror=alert(1)&gt;" in page
    assert "&amp;quot;" in page, "what looks like an entity is text as well"


def test_the_diversity_stands_on_the_page(page: str) -> None:
    assert "Kinds of task" in page
    assert "records drawn by lot from each side" in words(page)


def test_a_page_without_anything_removed(tmp_path: Path) -> None:
    data = data_file(tmp_path / "d.jsonl", TEXTS[7:12])
    cleaning, stages = clean(data, tmp_path / "out", ["own_steps:too_short"])
    write_report(tmp_path / "r.html", cleaning.outcome(stages), info(["own_steps:too_short"]), "t")
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "All 5 records stayed." in words(page)
    assert 'id="removed"' not in page
    assert "All records before and after" in words(page)
    assert headline(stages) == ["All ", "5", " records stayed."]


def test_a_page_of_nothing_left(tmp_path: Path) -> None:
    data = data_file(tmp_path / "d.jsonl", TEXTS[7:12])
    steps = [{"own_steps:too_short": {"least": 999}}]
    cleaning, stages = clean(data, tmp_path / "out", steps)
    page = render(cleaning.outcome(stages), info(steps), "t")
    assert "Of 5 records 0 stayed. The rest went: 5 to own_steps:too_short." in words(page)
    assert "more than half" in page
    assert 'id="diversity"' not in page


def test_names_as_a_reader_wants_them() -> None:
    assert [step_name(n) for n in ("near_duplicates (step 3)", "own:my_step")] == ["near duplicates (step 3)", "own:my_step"]
    assert file_name("/a/b/c.jsonl:7") == "c.jsonl:7"
    assert transcript({"text": "文"}) == "文"
    assert transcript('{"broken') == '{"broken'
    assert transcript({"messages": [{"role": "user", "content": "q"}]}) == "user: q"
    assert transcript({"a": 1}) == '{\n  "a": 1\n}'
