from __future__ import annotations

from pathlib import Path

import pytest
from sound_model import change_json, main


def evaluated(home: Path) -> None:
    for name in ("merged", "base"):
        words = [f"model.path={home / name}", f"data.path={home / 'data.jsonl'}", "generation.max_new_tokens=100"]
        assert main(["evaluate", *words, f"output_dir={home / f'{name}-evaluation'}"]) == 0


def test_a_card_of_a_chain_of_runs(sound: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evaluated(sound)
    capsys.readouterr()
    words = ["card", str(sound / "merged"), "licences={data.jsonl: CC0-1.0, base: CC0-1.0}", "repo=me/my-model"]
    assert main(words) == 0
    told = capsys.readouterr()
    assert "missing in the card" not in told.err
    assert told.out.strip() == str(sound / "merged/README.md")
    text = (sound / "merged/README.md").read_text(encoding="utf-8")
    assert text.startswith("---\nlanguage:")
    assert "license: cc0-1.0\n" in text
    assert "Contamination: 12 of 12 questions stand in the 12 training records" in text
    assert "数据泄漏：12 个问题中有 12 个" in text
    assert "belle chat me/my-model" in text
    assert "| data.jsonl | data | 12 |" in text
    assert " | difference |" in text
    assert "# my-model" in text
    assert main(["verify", str(sound / "merged"), "quick=true"]) == 0, "a card is no change of the model"
    assert main(words) == 0


def test_what_is_missing_is_said(sound: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["card", str(sound / "sft")]) == 0
    told = capsys.readouterr().err
    lacking = ("the licence of the model", "the licence of data data.jsonl, base base", "scores", "contamination: no evaluation")
    for what in lacking:
        assert f"missing in the card: {what}" in told
    text = (sound / "sft/adapter/README.md").read_text(encoding="utf-8")
    assert "An adapter of 3,712 parameters" in text
    assert "AutoPeftModelForCausalLM" in text


def test_a_readme_of_the_users_stays(sound: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (sound / "base/README.md").write_text("my words", encoding="utf-8")
    assert main(["card", str(sound / "base")]) == 2
    assert "overwrite=true replaces it" in capsys.readouterr().err
    assert (sound / "base/README.md").read_text(encoding="utf-8") == "my words"
    assert main(["card", str(sound / "base"), f"output={sound / 'card.md'}"]) == 0
    assert main(["card", str(sound / "base"), "overwrite=true"]) == 0
    assert "No evaluation of this model was found" in (sound / "base/README.md").read_text(encoding="utf-8")


def test_an_unsound_model_gets_no_card(sound: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change_json(sound / "merged/config.json", eos_token_id=4000)
    assert main(["card", str(sound / "merged")]) == 2
    assert "must not leave as it is; special ids" in capsys.readouterr().err
    assert not (sound / "merged/README.md").exists()
    assert main(["card", str(sound / "merged"), "verify=false"]) == 0
    assert "were **not** checked" in (sound / "merged/README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("words", "message"), [
    (["nothing/at/all"], "no model at"),
    (["{merged}", "evaluations=[{sft}]"], "is no finished evaluation"),
    (["{merged}", "evaluations=[{base}]"], "is not a run folder"),
])  # fmt: skip
def test_bad_input_is_one_error(words: list[str], message: str, sound_home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    places = {name: str(sound_home / name) for name in ("merged", "sft", "base")}
    assert main(["card", *(word.format(**places) for word in words)]) == 2
    assert message in capsys.readouterr().err


def test_the_plan_writes_nothing(sound_home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["card", str(sound_home / "merged"), "--dry-run"]) == 0
    assert "# write README.md in its folder" in capsys.readouterr().out
    assert not (sound_home / "merged/README.md").exists()
