from __future__ import annotations

import shutil
from pathlib import Path

from planted import another_base, empty_adapter
from sound_model import change_json, change_weights

from belle.errors import Finding
from belle.release import check_lineage
from belle.release.subject import Subject
from belle.release.verify import verify
from belle.sections import ModelSection


def opened(path: Path, licences: dict[str, str] | None = None) -> Subject:
    return Subject.open(ModelSection(path=str(path)), licences=licences)


def told(found: object) -> list[tuple[str, str]]:
    return [(finding.level, finding.found) for finding in found if isinstance(finding, Finding)]  # type: ignore[attr-defined]


def test_what_changed_is_counted(sound_home: Path) -> None:
    assert told(check_lineage.change(opened(sound_home / "merged"))) == [("ok", "14 of 21 tensors differ from the base")]
    assert told(check_lineage.change(opened(sound_home / "sft"))) == [("ok", "14 of 14 adapted layers change the base")]
    assert told(check_lineage.change(opened(sound_home / "base"))) == [("warning", "no base is known to compare with")]


def test_an_adapter_of_another_base_names_both_hashes(sound: Path) -> None:
    another_base(sound)
    found = [f for f in verify(opened(sound / "sft"), ["change"]) if f.level == "error"]
    assert "does not belong to the base" in found[0].found


def test_an_adapter_that_knows_no_base_is_a_doubt(sound: Path) -> None:
    (sound / "sft/adapter/belle.json").unlink()
    assert [level for level, _ in told(check_lineage.change(opened(sound / "sft")))] == ["warning", "ok"]
    empty_adapter(sound)
    assert [level for level, _ in told(check_lineage.change(opened(sound / "sft")))] == ["warning", "error"]


def test_a_base_with_other_names_is_an_error(sound: Path) -> None:
    def rename(tensors: dict[str, object]) -> None:
        for name in list(tensors):
            tensors[f"x.{name}"] = tensors.pop(name)

    change_weights(sound / "base/model.safetensors", rename)
    ((level, text),) = told(check_lineage.change(opened(sound / "merged")))
    assert (level, "no tensor has a name that the base" in text) == ("error", True)


def test_weights_and_other_files_are_held_against_their_hashes(sound: Path) -> None:
    assert told(check_lineage.hashes(opened(sound / "merged"))) == [("ok", "6 files as merge wrote them")]
    change_json(sound / "merged/generation_config.json", top_p=0.9)
    (sound / "merged/extra.safetensors").write_bytes((sound / "merged/model.safetensors").read_bytes())
    (sound / "merged/README.md").write_text("a card may be added")
    assert told(check_lineage.hashes(opened(sound / "merged"))) == [
        ("warning", "generation_config.json is not what merge wrote"),
        ("error", "extra.safetensors was not written by merge"),
    ]
    (sound / "merged/chat_template.jinja").unlink()
    assert ("error", "chat_template.jinja is gone, which merge wrote") in told(check_lineage.hashes(opened(sound / "merged")))


def test_a_run_of_before_has_no_hashes(sound: Path) -> None:
    change_json(sound / "merged/run.json", hashes=None)
    assert [level for level, _ in told(check_lineage.hashes(opened(sound / "merged")))] == ["warning"]
    assert told(check_lineage.hashes(opened(sound / "base"))) == []


def test_the_chain_is_counted_and_what_is_gone_is_named(sound: Path) -> None:
    assert told(check_lineage.lineage(opened(sound / "merged"))) == [("ok", "2 runs, 3 inputs with the hashes that were noted")]
    (sound / "data.jsonl").unlink()
    ((level, text),) = told(check_lineage.lineage(opened(sound / "merged")))
    assert (level, text.endswith("data.jsonl' is gone")) == ("warning", True)
    shutil.rmtree(sound / "sft")
    found = told(check_lineage.lineage(opened(sound / "merged")))
    assert [level for level, _ in found] == ["warning", "warning"]
    assert "its folder is gone" in found[0][1]


def test_a_changed_input_says_both_hashes(sound: Path) -> None:
    with (sound / "data.jsonl").open("a") as file:
        file.write("\n")
    ((level, text),) = told(check_lineage.lineage(opened(sound / "merged")))
    assert level == "error"
    assert "is no longer what was read (sha256 " in text


def test_licences_are_named_or_lacking(sound_home: Path) -> None:
    ((level, text),) = told(check_lineage.licence(opened(sound_home / "merged")))
    assert (level, text) == ("warning", "no licence is named for data data.jsonl, base base")
    said = {"data.jsonl": "CC-BY-4.0", "base": "MIT"}
    assert told(check_lineage.licence(opened(sound_home / "merged", said))) == [
        ("ok", "data data.jsonl: CC-BY-4.0; base base: MIT")
    ]
    assert [level for level, _ in told(check_lineage.licence(opened(sound_home / "base")))] == ["warning"]
