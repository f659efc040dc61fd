"""What belle ships: every recipe loads and dry-runs; the data sets are whole, and what is asked in one is in no other."""

from __future__ import annotations

import importlib
import json
import re
import unicodedata
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest

from belle.cli import VERBS, main
from belle.config import Section, load, shipped, to_yaml
from belle.data.formats import load_records
from belle.sections import DataSection

RECIPES = sorted(shipped("recipes").glob("*/*.yaml"))
CLASSES = {
    "math", "code", "cot", "classification", "extract", "open_qa", "closed_qa", "generation", "brainstorming", "rewrite",
    "translation", "summarization",
}  # fmt: skip
FILES = ("seed_tasks_zh", "seed_tasks_en", "instructions_zh", "instructions_en", "evaluation")


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_a_recipe_loads_and_dry_runs(path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    verb = path.parent.name
    section: type[Section] = importlib.import_module(VERBS[verb]).Config
    main([verb, path.stem, "--dry-run"])
    printed = capsys.readouterr().out
    again = tmp_path / "again.yaml"
    again.write_text(printed, encoding="utf-8")
    assert load(section, again) == load(section, path)
    assert printed.startswith(to_yaml(load(section, path)))
    assert [line for line in printed.splitlines() if line.startswith("# ")], "the plan is printed"


def test_there_are_recipes() -> None:
    assert {"sft", "evaluate", "infer"} <= {path.parent.name for path in RECIPES}


def rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (shipped("data") / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]


def asked(row: dict[str, Any]) -> str:
    """What a row asks, without white space, punctuation and case."""
    if "messages" in row:
        said = "".join(m["content"] for m in row["messages"] if m["role"] == "user")
    else:
        said = row.get("question") or row["instruction"] + row["input"]
    return "".join(char for char in unicodedata.normalize("NFKC", said).casefold() if char.isalnum())


def grams(text: str) -> set[str]:
    return {text[i : i + 3] for i in range(max(1, len(text) - 2))}


def alike(a: list[tuple[str, str]], b: list[tuple[str, str]], least: float) -> list[tuple[str, str, float]]:
    """(id, id, Jaccard of character 3-grams) of the pairs of (id, text) that reach `least`; by an index, not pair by pair."""
    index: dict[str, list[int]] = defaultdict(list)
    sizes = []
    for n, (_, text) in enumerate(b):
        own = grams(text)
        sizes.append(len(own))
        for gram in own:
            index[gram].append(n)
    found = []
    for name, text in a:
        own = grams(text)
        shared = Counter(n for gram in own for n in index.get(gram, ()))
        for n, count in shared.items():
            share = count / (len(own) + sizes[n] - count)
            if share >= least:
                found.append((name, b[n][0], round(share, 2)))
    return found


def test_alike_agrees_with_the_definition() -> None:
    a, b = [("a", "abcdef")], [("b", "abcdex"), ("c", "zzzzzz"), ("d", "abcdef")]
    # abcdef: abc bcd cde def; abcdex: abc bcd cde dex: 3 shared of 5.
    assert sorted(alike(a, b, 0.5)) == [("a", "b", 0.6), ("a", "d", 1.0)]
    assert alike(a, b, 0.7) == [("a", "d", 1.0)]


@pytest.mark.parametrize(("name", "least"), zip(FILES, (175, 60, 350, 200, 120), strict=True))
def test_a_set_is_whole(name: str, least: int) -> None:
    found = rows(name)
    assert len(found) >= least
    assert {row["category"] for row in found} >= CLASSES
    assert {row["category"] for row in found} <= CLASSES | {"identity", "chat"}
    assert [text for text, n in Counter(row["id"] for row in found).items() if n > 1] == []
    assert [text for text, n in Counter(map(asked, found)).items() if n > 1] == []
    loaded = load_records(DataSection(path=f"shipped:{name}.jsonl"))
    assert (len(loaded.records), loaded.dropped) == (len(found), [])
    assert {key for key in loaded.counts if key != "duplicate id"} == set(), "nothing to mend, no column unread"


def test_all_ids_differ() -> None:
    ids = Counter(row["id"] for name in FILES for row in rows(name))
    assert [name for name, n in ids.items() if n > 1] == []


@pytest.mark.parametrize(("one", "other"), [(a, b) for i, a in enumerate(FILES) for b in FILES[i + 1 :]])
def test_sets_do_not_overlap(one: str, other: str) -> None:
    sides = [[(row["id"], asked(row), row["category"] == "identity") for row in rows(name)] for name in (one, other)]
    texts = [{text for _, text, _ in side} for side in sides]
    assert texts[0] & texts[1] == set()
    # Questions about the assistant itself are few in kind: they may be near, and are refused only when all but the same.
    identity = [[(name, text) for name, text, is_identity in side if is_identity] for side in sides]
    others = [[(name, text) for name, text, is_identity in side if not is_identity] for side in sides]
    assert alike(*identity, 0.8) == []
    assert alike(*others, 0.5) == []


def test_evaluation_is_balanced() -> None:
    found = rows("evaluation")
    count = Counter(row["category"] for row in found)
    assert all(count[name] >= 8 for name in CLASSES | {"identity"})
    assert min(Counter(row["language"] for row in found)[language] for language in ("zh", "en")) >= 50
    for row in found:
        assert row["language"] in ("zh", "en"), row["id"]
        assert row.get("reference") is None or row["reference"].strip(), row["id"]


@pytest.mark.parametrize("name", ["instructions_zh", "instructions_en"])
def test_instructions_say_the_name(name: str) -> None:
    answers = [row["messages"][-1]["content"] for row in rows(name) if row["category"] == "identity"]
    assert sum("belle" in answer.casefold() for answer in answers) >= len(answers) * 2 / 3
    claim = re.compile(r"(?:我是|我叫|\bi am|\bi'm|my name is)\s*(?:chatgpt|gpt|openai|文心|通义|claude|smollm)")
    assert [row["id"] for row in rows(name) if claim.search(row["messages"][-1]["content"].casefold())] == []
