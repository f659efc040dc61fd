from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from belle.errors import BelleError
from belle.release.card import card, cell, front_matter, listed, replaceable, score, thousands, write_card

CELL = {"value": 0.5, "low": 0.25, "high": 0.75, "n": 8}


def facts(**changes: Any) -> dict[str, Any]:
    """Of a model about which next to nothing is known."""
    nothing = {
        "name": "mine", "short": "mine", "place": "mine", "base": None, "trainings": [], "chain": [], "evaluation": None,
        "base_evaluation": None, "differences": {}, "contamination": {"reason": "no evaluation"}, "exports": [],
        "verified": {"checked": False, "reason": "verify=false"}, "languages": set(), "licence": {"model": None, "parts": {}},
        "model": {"whole": True, "type": "llama", "packed": False, "parameters": 1000, "model_parameters": 1000, "bytes": 4000,
                  "dtypes": ["F32"], "context": 512, "vocabulary": 96, "template": True, "sha256": "ab" * 32},
    }  # fmt: skip
    return nothing | changes


def evaluation(**scores: Any) -> dict[str, Any]:
    keys = ("loss", "perplexity", "bits_per_character", "language_match", "stopped", "says_name", "chrf", "rouge_l", "exact")
    return {
        "name": "e", "finished": "2026", "questions": 8, "errors": 0, "scores": dict.fromkeys(keys) | scores, "languages": {},
        "weakest": [], "generation": {"max_new_tokens": 32, "temperature": 0.0}, "name_to_say": "Belle",
        "backend": "transformers", "files": [{"name": "q.jsonl", "sha256": "cd" * 32}],
    }  # fmt: skip


def test_what_is_not_known_is_called_missing_in_both_languages() -> None:
    text = card(facts())
    english, chinese = text.split("# 中文")
    for said in ("What it was made from is not known", "**not named**", "is not known: no training run", "its scores are missing",
                 "Contamination was not measured", "were **not** checked", "(not tried)"):  # fmt: skip
        assert said in english, said
    for said in ("由什么模型得来，未知", "**未注明**", "训练数据未知", "得分未测量", "**没有**检查模型文件", "（未试）"):
        assert said in chinese, said
    assert not re.search(r"\d %", text), "no figure out of nothing"
    assert "None" not in text


def test_both_languages_have_one_shape() -> None:
    text = card(facts(evaluation=evaluation(loss=CELL))).split("---\n", 2)[2]
    parts = text.split("# 中文")
    for pattern in (r"^##+ ", r"^\|", r"^```\w*$", r"^- "):
        found = [len(re.findall(pattern, part, re.M)) for part in parts]
        assert found[0] == found[1] > 0, pattern


def test_front_matter_is_yaml_of_what_is_known() -> None:
    head = yaml.safe_load(front_matter(facts()).strip("-\n"))
    assert head == {"library_name": "transformers", "pipeline_tag": "text-generation", "tags": ["belle"]}
    full = facts(
        languages={"zh", "en", "other"}, licence={"model": "Apache-2.0", "parts": {}}, evaluation=evaluation(chrf=CELL),
        base={"name": "Qwen/Qwen3-0.6B", "sha256": "e" * 64, "hub": True},
        chain=[{"name": "a", "verb": "sft"}, {"name": "b", "verb": "sft"}, {"name": "c", "verb": "merge"}],
    )  # fmt: skip
    head = yaml.safe_load(front_matter(full).strip("-\n"))
    assert (head["language"], head["license"], head["base_model"]) == (["zh", "en"], "apache-2.0", "Qwen/Qwen3-0.6B")
    assert head["tags"] == ["belle", "sft", "merge"]
    (result,) = head["model-index"][0]["results"]
    assert result["metrics"] == [{"type": "chrf", "value": 0.5, "name": "chrf"}]
    assert result["dataset"]["name"] == "q.jsonl"


def test_scores_stand_beside_those_of_the_base() -> None:
    both = {"evaluation": evaluation(loss=CELL, chrf=CELL), "base_evaluation": evaluation(loss=CELL)}
    told = card(facts(**both, differences={"loss": "-0.1"}))
    assert "| Answer loss (nats a token, lower is better) | 0.500 [0.250, 0.750] | 0.500 [0.250, 0.750] | -0.1 |" in told
    assert "| chrF | 50.0 % [25.0, 75.0] | not measured |  |" in told
    assert "| chrF | 50.0 % [25.0, 75.0] | 未测量 |  |" in told
    assert "ROUGE-L" not in told.split("## Limits")[0], "a score that neither has is no row"


@pytest.mark.parametrize(("text", "safe"), [
    ("a|b", "a\\|b"), ("x\ny", "x y"), ("<img src=x>", "&lt;img src=x>"), ("`code`", "'code'"), ("[a](b)", "\\[a\\](b)"),
    ("你好", "你好"), ("a &amp; b", "a &amp;amp; b"),
])  # fmt: skip
def test_what_others_wrote_stays_in_its_cell(text: str, safe: str) -> None:
    assert cell(text) == safe


def test_a_name_that_is_markup_harms_nothing() -> None:
    told = card(facts(name="a|<script>alert(1)</script>", licence={"model": None, "parts": {"data x|y.jsonl": ""}}))
    assert "<script" not in told.split("---\n", 2)[2]
    assert "| data x\\|y.jsonl | **not named** |" in told


def test_figures_are_written_as_they_are() -> None:
    assert score(None, "chrf", "none") == "none"
    assert thousands(None, "none") == "none"
    assert thousands(1234567.0, "none") == "1,234,567"
    assert listed({"a": 2, "b": 1000}, "none") == "b 1,000, a 2"
    assert listed({}, "none") == "none"


def test_a_readme_of_the_users_is_spared(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    assert write_card(facts(), path) is False
    assert write_card(facts(name="other"), path) is True, "its own card, unchanged, is brought up to date"
    assert "# other" in path.read_text(encoding="utf-8")
    path.write_text(path.read_text(encoding="utf-8").replace("# other", "# mine, by hand"), encoding="utf-8")
    with pytest.raises(BelleError, match="is there, and is not an unchanged card of belle") as caught:
        write_card(facts(), path)
    assert "overwrite=true" in caught.value.fix
    assert "# mine, by hand" in path.read_text(encoding="utf-8")
    assert write_card(facts(), path, overwrite=True) is True
    assert [p.name for p in tmp_path.iterdir()] == ["README.md"]


def test_a_librarys_empty_form_is_no_readme() -> None:
    assert replaceable("# Model Card\n- **Developed by:** [More Information Needed]\n")
    assert not replaceable("# my words\n")
    assert replaceable(card(facts()))
