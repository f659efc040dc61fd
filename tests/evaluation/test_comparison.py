from __future__ import annotations

from pathlib import Path

import pytest
from sample_runs import evaluation

from belle.evaluation.comparison import Line, compare
from belle.evaluation.headline import headline
from belle.jsonl import read_json, read_rows, write_json, write_rows
from belle.lineage import gather

POOR = {"math": "It is two", "rewrite": "Do it", "generation": "?", "identity": "I am a robot"}


def lines(folder: Path, *names: str) -> dict[tuple[str, str], Line]:
    found = compare(gather([folder / name for name in names] or [folder]))
    assert found is not None
    return {(line.metric.key, line.group): line for line in found.totals}


def test_the_base_comes_first_and_differences_are_paired(chain: Path) -> None:
    found = lines(chain)
    loss = found["loss", ""]
    assert [cell and round(cell.value, 2) for cell in loss.cells] == [2.01, 1.51]
    assert loss.differences[0] is None
    assert loss.differences[1] is not None
    # every pair differs by 0.5 exactly, so the paired interval has no width though each of the two has one
    assert (loss.differences[1].low, loss.differences[1].high) == (pytest.approx(-0.5), pytest.approx(-0.5))
    assert loss.verdicts == ("", "better")
    assert loss.apart == (False, True)
    assert found["says_name", ""].verdicts[1] == "better"
    assert found["language_match", "zh"].verdicts[1] == "better"
    assert found["language_match", "en"].verdicts[1] == "open"


def test_equal_models_have_no_verdict(chain: Path) -> None:
    evaluation(chain / "again", POOR | {"generation": "?"}, 2.0)
    evaluation(chain / "twin", POOR | {"generation": "?"}, 2.0)
    assert {line.verdicts[1] for line in lines(chain, "again", "twin").values()} == {"open"}
    runs = gather([chain / "again", chain / "twin"])
    assert headline(runs, compare(runs)) == ["twin against again, no score moved beyond chance over 20 questions."]


def test_worse_is_said(chain: Path) -> None:
    evaluation(chain / "worse", POOR, 3.0, chain / "merged")
    assert lines(chain, "base", "worse")["loss", ""].verdicts[1] == "worse"
    runs = gather([chain / "base", chain / "worse"])
    assert "the loss on reference answers is 3.01 instead of 2.01" in "".join(headline(runs, compare(runs)))


def test_another_tokenizer_makes_loss_per_token_incomparable(chain: Path) -> None:
    evaluation(chain / "other", POOR, 1.0, chain / "merged", length=2)
    found = lines(chain, "base", "other")
    assert found["loss", ""].verdicts[1] == "unlike"
    # 1.01 nats a token over two tokens a character against 2.01 over one: 2.9 bits in both
    assert found["bits_per_character", ""].verdicts[1] in ("open", "worse")
    assert ("bits_per_character", "") not in lines(chain, "base", "tuned")
    comparison = compare(gather([chain / "base", chain / "other"]))
    assert comparison is not None
    assert any("different tokenizers" in warning for warning in comparison.warnings)


def test_another_template_is_named(chain: Path) -> None:
    evaluation(chain / "other", POOR, 1.0, chain / "merged", template="plain")
    comparison = compare(gather([chain]))
    assert comparison is not None
    assert comparison.warnings == ["other and base were asked through different chat templates, each its own."]


def test_only_questions_that_both_answered_are_paired(chain: Path) -> None:
    rows = [row for row in read_rows(chain / "tuned/answers.jsonl") if row["category"] != "math"]
    rows[0]["question"] = "another question under the same id"
    write_rows(chain / "tuned/answers.jsonl", rows)
    info = read_json(chain / "tuned/run.json")
    info["metrics"]["questions"] = len(rows)
    write_json(chain / "tuned/run.json", info)
    comparison = compare(gather([chain]))
    assert comparison is not None
    assert comparison.shared == 13
    assert any("over the 13 that both have" in warning for warning in comparison.warnings)


def test_headline(chain: Path) -> None:
    runs = gather([chain])
    assert headline(runs, compare(runs)) == [
        "After training, ", "100%", " of answers are in the asked language instead of 30%, the loss on reference answers is ",
        "1.51", " instead of 2.01 and the model says its name in ", "100%", " of answers about itself instead of 0%.",
    ]  # fmt: skip
    assert headline(gather([chain / "sft"]), None) == ["Training loss fell from 2.000 to 1.000 in 30 steps."]
    one = gather([chain / "base"])
    assert "".join(headline(one, compare(one))).startswith("base: 30% of 20 answers are in the asked language")
