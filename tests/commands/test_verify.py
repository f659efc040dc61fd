from __future__ import annotations

from pathlib import Path

import pytest
from sound_model import change_json, change_weights, main


def test_a_good_model_leaves_with_nothing(sound_home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["verify", str(sound_home / "merged"), "licences={data.jsonl: CC0-1.0, base: Apache-2.0}"]
    assert main(words) == 0
    told = capsys.readouterr().err
    assert "all is well\n" in told
    assert all(check in told for check in ("files", "tied", "rows", "licence", "CC0-1.0", "stops", "6 of 6 answers ended"))


def test_an_adapter_and_a_bare_folder_are_looked_at(sound_home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(sound_home / "sft/adapter")]) == 0
    assert main(["verify", str(sound_home / "base")]) == 0
    assert "all is well, with 4 warnings" in capsys.readouterr().err


def test_a_fault_leaves_with_two_and_its_name(sound: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change_json(sound / "merged/generation_config.json", eos_token_id=3)
    assert main(["verify", str(sound / "merged")]) == 2
    told = capsys.readouterr().err
    assert "error: 2 things are wrong; special ids: the tokenizer's end is '<|im_end|>', the configs end at '</s>'" in told
    assert "it would not stop" in " ".join(told.split())


def test_quick_does_not_let_the_model_speak(sound: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change_weights(sound / "base/model.safetensors", lambda t: t.update({"lm_head.weight": t["lm_head.weight"].roll(1, 0)}))
    assert main(["verify", str(sound / "base"), "quick=true"]) == 0
    assert "stops" not in capsys.readouterr().err
    assert main(["verify", str(sound / "base")]) == 2
    assert "knows next to no language" in capsys.readouterr().err


@pytest.mark.parametrize(("words", "message"), [
    (["nothing/here/at/all"], "no model at 'nothing/here/at/all'"),
    (["owner/name"], "'owner/name' is a name on a hub"),
    ([], "model"),
])  # fmt: skip
def test_what_is_no_model_is_bad_input(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", *words]) == 2
    assert message in capsys.readouterr().err


def test_the_run_of_an_export_is_looked_at(sound: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["export", "gguf", str(sound / "merged"), "type=F16", "check=nothing", f"output_dir={sound / 'gguf'}"]
    assert main(words) == 0
    capsys.readouterr()
    assert main(["verify", str(sound / "gguf"), "quick=true"]) == 0
    told = capsys.readouterr().err
    assert "modelfile" in told
    assert "llama.cpp" not in told
    text = (sound / "gguf/Modelfile").read_text(encoding="utf-8")
    (sound / "gguf/Modelfile").write_text(text.replace("<|im_end|>", "<|im_start|>"), encoding="utf-8")
    assert main(["verify", str(sound / "gguf"), "quick=true"]) == 2
    assert "wrong; modelfile: it does not stop at '<|im_end|>'" in capsys.readouterr().err


def test_the_plan_names_the_checks(sound_home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(sound_home / "merged"), "quick=true", "--dry-run"]) == 0
    planned = capsys.readouterr().out
    assert "# check files, tensors, shapes" in planned
    assert "stops" not in planned
    assert "# write nothing" in planned
