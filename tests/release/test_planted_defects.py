from __future__ import annotations

from pathlib import Path

import pytest
from planted import DEFECTS
from sound_model import change_json

from belle.errors import BelleError, Finding
from belle.release.subject import Subject
from belle.release.verify import ASKS_THE_MODEL, CHECKS, NEEDS, QUICK, require_sound, run_checks, verify
from belle.sections import ModelSection


def findings(path: Path, base: Path | None = None) -> list[Finding]:
    return list(verify(Subject.open(ModelSection(path=str(path)), str(base) if base else None)))


def named(found: list[Finding], level: str) -> list[str]:
    return list(dict.fromkeys(finding.check for finding in found if finding.level == level))


@pytest.mark.parametrize("what", ["merged", "sft"])
def test_a_good_model_has_no_fault(sound_home: Path, what: str) -> None:
    found = findings(sound_home / what)
    assert named(found, "error") == []
    assert named(found, "warning") == ["licence"], "its data is a file of the user's"
    silent = {"tied", "rows"} if what == "sft" else set()
    assert {finding.check for finding in found} == set(CHECKS) - silent


def test_a_model_without_runs_is_good_with_doubts(sound_home: Path) -> None:
    found = findings(sound_home / "base")
    assert named(found, "error") == []
    assert named(found, "warning") == ["template", "change", "lineage", "licence"]
    again = findings(sound_home / "merged", base=sound_home / "base")
    assert named(again, "error") == []


@pytest.mark.parametrize("name", DEFECTS)
def test_a_planted_defect_is_caught_by_name(name: str, sound: Path) -> None:
    plant, what, check = DEFECTS[name]
    plant(sound)
    found = findings(sound / what)
    assert check in named(found, "error"), found
    mine = [finding for finding in found if finding.check == check and finding.level == "error"]
    assert all(finding.found and finding.fix for finding in mine)
    assert not any("cannot be looked at" in finding.found for finding in found), found


def test_there_are_enough_defects() -> None:
    assert len(DEFECTS) >= 15
    assert {check for _, _, check in DEFECTS.values()} == set(CHECKS) - {"licence"}, "every check that can fail has one"


def test_checks_that_could_say_nothing_are_left_out_and_named(sound: Path) -> None:
    (sound / "merged/model.safetensors").unlink()
    found = findings(sound / "merged")
    assert found[-1].check == "left out"
    assert found[-1].found.startswith("tensors, shapes, types")
    assert "stops" in found[-1].found
    assert {"hashes", "lineage"} <= {finding.check for finding in found}


def test_needs_and_quick_name_checks() -> None:
    assert set(NEEDS) <= set(CHECKS)
    assert {name for needs in NEEDS.values() for name in needs} <= set(CHECKS)
    assert set(QUICK) | set(ASKS_THE_MODEL) == set(CHECKS)


def test_a_check_that_breaks_is_an_error_of_its_own() -> None:
    def breaks(_: object) -> list[Finding]:
        raise KeyError("vocab_size")

    found = list(run_checks(None, {"a": breaks, "b": lambda _: [Finding("ok", "b", "fine")]}, {"b": ("x",)}))
    assert [(finding.level, finding.check) for finding in found] == [("error", "a"), ("ok", "b")]
    assert "KeyError: 'vocab_size'" in found[0].found


def test_a_sound_model_may_be_made_something_of(sound_home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    noted = require_sound(ModelSection(path=str(sound_home / "merged")))["verify"]
    assert noted["checked"] is True
    assert noted["checks"] == list(QUICK)
    assert [warning.split(":")[0] for warning in noted["warnings"]] == ["licence"]
    assert "licence" in capsys.readouterr().err


def test_an_unsound_one_is_refused_and_the_way_out_is_named(sound: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change_json(sound / "merged/config.json", eos_token_id=4000)
    section = ModelSection(path=str(sound / "merged"))
    with pytest.raises(BelleError, match=r"must not leave as it is; special ids: config\.json: eos_token_id 4000") as caught:
        require_sound(section)
    assert caught.value.fix.endswith("verify=false goes on all the same")
    assert require_sound(section, wanted=False) == {"verify": {"checked": False, "reason": "verify=false"}}
    assert "is not verified" in capsys.readouterr().err


def test_a_hub_name_is_to_be_fetched_first() -> None:
    with pytest.raises(BelleError, match="is a name on a hub") as caught:
        Subject.open(ModelSection(path="owner/name"))
    assert caught.value.fix == "belle hub pull owner/name models/name"
