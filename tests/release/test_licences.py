from __future__ import annotations

from pathlib import Path

import pytest

from belle.config import shipped
from belle.lineage import RunFolder
from belle.release.licences import licence_of, licences
from belle.runs import sha256_file


def run(path: Path, *inputs: tuple[str, Path]) -> RunFolder:
    return RunFolder(path, {"verb": "sft", "inputs": [{"role": role, "path": str(p), "sha256": ""} for role, p in inputs]})


@pytest.mark.parametrize(("front", "name"), [
    ("---\nlicense: mit\n---\n", "mit"),
    ('---\nlanguage: zh\nlicence: "CC-BY-NC-4.0"  # theirs\n---\ntext', "CC-BY-NC-4.0"),
    ("license: mit\n", ""),
    ("---\ntitle: x\n---\nlicense: mit\n", ""),
])  # fmt: skip
def test_a_readme_names_its_licence_in_its_front(front: str, name: str, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text(front, encoding="utf-8")
    (tmp_path / "data.jsonl").write_text("{}")
    assert licence_of(tmp_path) == licence_of(tmp_path / "data.jsonl") == name


def test_shipped_data_is_known_wherever_it_lies(tmp_path: Path) -> None:
    path = shipped("data") / "instructions_zh.jsonl"
    copy = tmp_path / "other.jsonl"
    copy.write_bytes(path.read_bytes())
    assert licence_of(path) == "Apache-2.0"
    assert licence_of(copy) == ""
    assert licence_of(copy, sha256_file(copy)) == "Apache-2.0"
    assert licence_of(tmp_path / "models/smollm2-135m-instruct") == "Apache-2.0"


def test_only_what_was_learned_from_needs_a_licence(tmp_path: Path) -> None:
    first = run(tmp_path / "mix", ("data", tmp_path / "a.jsonl"))
    second = run(tmp_path / "sft", ("data", tmp_path / "mix/mixed.jsonl"), ("base", tmp_path / "b"), ("held out", tmp_path / "h"))
    third = run(tmp_path / "merged", ("base", tmp_path / "b"), ("adapter", tmp_path / "sft/adapter"))
    assert licences([first, second, third], None, {}) == {"data a.jsonl": "", "base b": ""}


def test_the_users_words_come_first(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("---\nlicense: mit\n---\n")
    chain = [run(tmp_path / "sft", ("data", tmp_path / "a.jsonl"), ("base", tmp_path / "base"))]
    assert licences(chain, None, {})["data a.jsonl"] == "mit"
    said = {"a.jsonl": "CC0", str(tmp_path / "base"): "Apache-2.0"}
    assert licences(chain, None, said) == {"data a.jsonl": "CC0", "base base": "Apache-2.0"}
    assert licences(chain, None, {"data": "X", "base": "Y"}) == {"data a.jsonl": "X", "base base": "Y"}
    assert licences([], tmp_path / "base", {"base": "Y"}) == {"base base": "Y"}
    assert licences([], None, {}) == {}
