from __future__ import annotations

from pathlib import Path

import pytest
from sound_model import change_json, copied, main

from belle.errors import BelleError
from belle.release import card_facts
from belle.release.subject import Subject
from belle.sections import ModelSection


@pytest.fixture(scope="module")
def measured_home(sound_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With an evaluation of the merged model, one of its base and one of the adapter, and an export."""
    home = copied(sound_home, tmp_path_factory.mktemp("measured") / "home")
    for name in ("merged", "base", "sft"):
        words = [f"model.path={home / name}", f"data.path={home / 'data.jsonl'}", "generation.max_new_tokens=100"]
        assert main(["evaluate", *words, f"output_dir={home / f'{name}-evaluation'}"]) == 0
    assert main(["export", "gguf", str(home / "merged"), "type=F16", "check=nothing"]) == 0
    return home


@pytest.fixture
def home(measured_home: Path, tmp_path: Path) -> Path:
    return copied(measured_home, tmp_path / "home")


def opened(path: Path) -> Subject:
    return Subject.open(ModelSection(path=str(path)))


def test_evaluations_beside_the_model_are_told_by_the_weights_they_loaded(measured_home: Path) -> None:
    for name, base in (("merged", "base-evaluation"), ("sft", "base-evaluation")):
        own, theirs = card_facts.find_evaluations(opened(measured_home / name), None)
        assert own is not None
        assert theirs is not None
        assert (own.name, theirs.name) == (f"{name}-evaluation", base)
    assert card_facts.find_evaluations(opened(measured_home / "merged"), []) == (None, None)


def test_an_evaluation_of_another_model_is_refused_by_name(home: Path) -> None:
    with pytest.raises(BelleError, match="sft-evaluation' is an evaluation of another model"):
        card_facts.find_evaluations(opened(home / "merged"), [str(home / "sft-evaluation")])
    with pytest.raises(BelleError, match="merged-gguf' is no finished evaluation"):
        card_facts.find_evaluations(opened(home / "merged"), [str(home / "merged-gguf")])


def test_of_a_model_that_was_changed_nothing_is_measured(home: Path) -> None:
    from planted import WEIGHTS, spoilt, weights

    weights("model.norm.weight", spoilt(1.5))(home)
    own, _ = card_facts.find_evaluations(opened(home / "merged"), None)
    assert own is None
    assert WEIGHTS.startswith("merged")


def test_what_it_was_trained_on_is_found_in_what_it_is_asked(home: Path) -> None:
    subject = opened(home / "merged")
    own, _ = card_facts.find_evaluations(subject, None)
    found = card_facts.contamination_facts(subject.chain, own)
    assert (found["questions"], found["records"], found["leaked"]) == (12, 12, 12)
    with (home / "data.jsonl").open("a") as file:
        file.write("\n")
    assert card_facts.contamination_facts(subject.chain, own) == {"reason": "data.jsonl is no longer what was read"}
    assert card_facts.contamination_facts(subject.chain, None) == {"reason": "no evaluation"}
    assert card_facts.contamination_facts([], own) == {"reason": "no training run"}


def test_the_training_is_told_with_its_counts(measured_home: Path) -> None:
    subject = opened(measured_home / "merged")
    (training,) = card_facts.data_facts(subject.chain)
    assert training["data"]["records"] == 12
    assert training["files"] == [{"name": "data.jsonl", "role": "data", "records": 12, "sha256": training["files"][0]["sha256"]}]
    assert training["lora"]["rank"] == 2
    assert training["metrics"]["steps"] == 2
    assert [run["verb"] for run in card_facts.chain_facts(subject.chain)] == ["sft", "merge"]


def test_sizes_are_counted_from_the_files(measured_home: Path) -> None:
    whole = card_facts.model_facts(opened(measured_home / "merged"))
    adapter = card_facts.model_facts(opened(measured_home / "sft"))
    assert whole["parameters"] == whole["model_parameters"] == adapter["model_parameters"]
    assert (whole["bytes"], adapter["parameters"], adapter["whole"]) == (4 * whole["parameters"], 3712, False)


def test_the_base_has_its_name_and_hash(measured_home: Path) -> None:
    merged, base = (card_facts.base_facts(opened(measured_home / name)) for name in ("merged", "base"))
    assert merged is not None
    assert (merged["name"], merged["hub"], len(merged["sha256"])) == ("base", False, 64)
    assert base is None


def test_scores_carry_intervals_and_the_worst_classes(measured_home: Path) -> None:
    own, _ = card_facts.find_evaluations(opened(measured_home / "merged"), None)
    scores = card_facts.score_facts(own)
    assert scores is not None
    assert scores["scores"]["loss"].keys() == {"value", "low", "high", "n"}
    assert set(scores["languages"]) == {"zh", "en"}
    assert all(weak["n"] >= card_facts.FEWEST for weak in scores["weakest"])
    assert card_facts.score_facts(None) is None


def test_exported_files_are_found_by_their_parent(home: Path) -> None:
    (found,) = card_facts.find_exports(opened(home / "merged"))
    assert (found["file"], found["type"], found["modelfile"]) == ("merged-F16.gguf", "F16", True)
    change_json(home / "merged-gguf/run.json", parents=[])
    assert card_facts.find_exports(opened(home / "merged")) == []
    assert card_facts.find_exports(opened(home / "base")) == []


def test_the_licence_is_that_of_all_or_none(measured_home: Path) -> None:
    subject = opened(measured_home / "merged")
    assert card_facts.licence_facts(subject, None)["model"] is None
    for said, model in (({"base": "MIT"}, None), ({"base": "MIT", "data": "MIT"}, "MIT"), ({"base": "MIT", "data": "CC0"}, None)):
        subject.licences = said
        assert card_facts.licence_facts(subject, None)["model"] == model
    assert card_facts.licence_facts(subject, "Apache-2.0")["model"] == "Apache-2.0"
