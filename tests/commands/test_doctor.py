"""The doctor: every kind of fault it should see before a run meets it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny import talk_file, tiny_model_folder

from belle.cli import main
from belle.jsonl import write_rows
from belle.models import machine


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model_folder(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture
def recipe(tmp_path: Path, model: Path) -> Path:
    """A recipe of sft in a folder of that name."""
    talk_file(tmp_path / "talk.jsonl")
    file = tmp_path / "sft/mine.yaml"
    file.parent.mkdir()
    file.write_text(
        f"model: {{path: {model}}}\ndata: {{path: {tmp_path / 'talk.jsonl'}}}\nlora: {{rank: 2}}\n"
        f"optim: {{batch_size: 4}}\noutput_dir: {tmp_path / 'run'}\n",
        encoding="utf-8",
    )
    return file


Ask = Callable[..., tuple[int, dict[str, list[dict[str, str]]]]]


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str]) -> Ask:
    """Exit code and findings, by what was looked at."""

    def ask(*words: object, overrides: tuple[str, ...] = ()) -> tuple[int, dict[str, list[dict[str, str]]]]:
        code = 0
        try:
            main(["doctor", *map(str, words), "json=true", *([f"overrides={json.dumps(overrides)}"] if overrides else [])])
        except SystemExit as left:
            code = int(left.code or 0)
        printed = capsys.readouterr()
        assert "Traceback" not in printed.err
        found: dict[str, list[dict[str, str]]] = {}
        for finding in json.loads(printed.out)["findings"]:
            found.setdefault(finding["check"], []).append(finding)
            assert finding["level"] == "ok" or finding["fix"]
        assert code == (2 if any(f["level"] == "error" for fs in found.values() for f in fs) else 0)
        assert printed.err.count("error: ") == (1 if code else 0)
        return code, found

    return ask


def test_the_machine_alone(ask: Ask) -> None:
    code, found = ask()
    assert code == 0
    expected = {"Python", "torch", "transformers", "peft", "processor", "arithmetic", "accelerator", "cache"}
    assert expected <= found.keys()
    assert "recipe" not in found


def test_a_table_for_people(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["doctor", str(recipe)])
    printed = capsys.readouterr()
    assert printed.out == ""
    for word in ("what to do", "transformers", "24 records from", "all is well"):
        assert word in printed.err


def test_a_sound_recipe(ask: Ask, recipe: Path, tmp_path: Path) -> None:
    code, found = ask(recipe)
    assert code == 0
    [data], [template], [tokens], [memory] = (found[name] for name in ("data", "template", "tokens", "memory"))
    assert data["found"] == f"24 records from {tmp_path / 'talk.jsonl'} (24)"
    assert template["found"] == "checkpoint, ends a turn with '<|im_end|>' '</s>'; exact on 20 conversations"
    assert tokens["level"] == "ok"
    assert "% of them trained" in tokens["found"]
    assert "estimate 0.7 GB" in memory["found"]
    assert found["output_dir"][0]["found"] == f"{tmp_path / 'run'}: a new run"
    assert "none of the 156 prompts" in found["held out"][0]["found"]
    assert not (tmp_path / "run").exists()  # nothing is written


ERRORS: list[tuple[tuple[str, ...], str, str, str]] = [
    # overrides, check, what is found, what to do
    (("optim.epoch=1",), "recipe", "optim.epoch: unknown key. Did you mean 'optim.epochs'?", "mend the recipe"),
    (("model.path=missing",), "model", "no model at 'missing'", "give a folder"),
    (("data.path=missing.jsonl",), "data", "no file 'missing.jsonl'", "check data.path"),
    (("model.template=chatlm",), "data", "no chat template 'chatlm'. Did you mean 'chatml'?", "give the path"),
    (("tokens.cutoff=20",), "tokens", "are longer than tokens.cutoff 20", "set tokens.cutoff to "),
    (("model.dtype=float16",), "arithmetic", "float16 overflows", "set model.dtype"),
    (("lora.targets=[q_pro]",), "model", "no linear layer 'q_pro'. Did you mean 'q_proj'?", "choose from [down_proj"),
    (("held_out.path=missing.jsonl",), "data", "no file 'missing.jsonl'", "check data.path"),
]


@pytest.mark.parametrize(("overrides", "check", "words", "fix"), ERRORS, ids=lambda value: str(value)[:30])
def test_what_would_fail(ask: Ask, recipe: Path, overrides: tuple[str, ...], check: str, words: str, fix: str) -> None:
    code, found = ask(recipe, overrides=overrides)
    assert code == 2
    [error] = [f for f in found[check] if f["level"] == "error"]
    assert words in error["found"]
    assert fix in error["fix"]
    assert "torch" in found  # the machine is looked at all the same


def test_a_bad_row_is_named_and_left_out_rows_are_counted(ask: Ask, recipe: Path, tmp_path: Path) -> None:
    with (tmp_path / "talk.jsonl").open("a", encoding="utf-8") as file:
        file.write("{broken\n")
    code, found = ask(recipe)
    assert code == 2
    assert f"{tmp_path / 'talk.jsonl'}:25: broken JSON" in found["data"][0]["found"]
    code, found = ask(recipe, overrides=("data.on_error=keep",))
    assert code == 0
    assert found["data"][1]["level"] == "warning"
    assert "1 rows are left out" in found["data"][1]["found"]


def test_what_is_cut_is_a_warning(ask: Ask, recipe: Path) -> None:
    code, found = ask(recipe, overrides=("tokens.cutoff=30", "tokens.overlong=drop"))
    assert code == 0
    assert found["tokens"][0]["level"] == "warning"


def test_held_out_samples_that_are_trained_on_are_counted(ask: Ask, recipe: Path, tmp_path: Path) -> None:
    rows = [json.loads(line) for line in (tmp_path / "talk.jsonl").read_text(encoding="utf-8").splitlines()]
    write_rows(tmp_path / "held.jsonl", [*rows[:3], {"instruction": "new", "output": "yes"}])
    _, found = ask(recipe, overrides=(f"held_out.path={tmp_path / 'held.jsonl'}",))
    assert found["held out"][0]["level"] == "warning"
    assert found["held out"][0]["found"].startswith("3 of 4 prompts")
    write_rows(tmp_path / "talk.jsonl", [*rows, rows[0]])
    _, found = ask(recipe, overrides=("held_out.share=0.2",))
    assert found["held out"][0]["found"].startswith("1 prompts stand more than once")


def test_a_template_whose_mask_cannot_be_exact(ask: Ask, recipe: Path, tmp_path: Path) -> None:
    jinja = "{% for m in messages %}{{ m.role }}: {{ m.content | upper }}</s>{% endfor %}"
    (tmp_path / "t.jinja").write_text(jinja, encoding="utf-8")
    code, found = ask(recipe, overrides=(f"model.template={tmp_path / 't.jinja'}",))
    assert code == 2
    assert "gives no exact loss mask" in found["data"][-1]["found"]


def test_memory_that_does_not_suffice(ask: Ask, recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "free_memory", lambda: 600_000_000)
    code, found = ask(recipe)
    assert code == 2
    assert found["memory"][0]["found"].startswith("0.6 GB free; estimate 0.7 GB (weights")
    assert found["memory"][0]["fix"] == "optim.micro_batch=2 halves the activations"
    monkeypatch.setattr(machine, "free_memory", lambda: 800_000_000)
    code, found = ask(recipe)
    assert (code, found["memory"][0]["level"]) == (0, "warning")


def test_a_full_disk(ask: Ask, recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda path: usage)
    code, found = ask(recipe)
    assert code == 2
    assert found["disk"][0]["fix"] == "free some space or choose another disk"


def test_an_output_dir_of_something_else(ask: Ask, recipe: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run/thesis.tex").write_text("x")
    code, found = ask(recipe)
    assert code == 2
    assert "holds other files (thesis.tex)" in found["output_dir"][0]["found"]


def test_versions_out_of_range(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    real = machine.metadata.version
    monkeypatch.setattr(machine.metadata, "version", lambda name: "4.40.0" if name == "transformers" else real(name))
    code, found = ask()
    assert code == 2
    assert found["transformers"][0]["found"].startswith("4.40.0, and belle needs ")
    assert found["transformers"][0]["fix"].startswith("pip install 'transformers")


@pytest.mark.parametrize(
    ("verb", "text"),
    [
        ("evaluate", "data: {path: DATA}\n"),
        ("infer", "data: {path: DATA}\n"),
        ("chat", ""),
    ],
)
def test_recipes_of_other_verbs(ask: Ask, tmp_path: Path, model: Path, verb: str, text: str) -> None:
    talk_file(tmp_path / "talk.jsonl", 4)
    file = tmp_path / "r.yaml"
    output = "" if verb == "chat" else f"output_dir: {tmp_path / 'run'}\n"
    text = text.replace("DATA", str(tmp_path / "talk.jsonl"))
    file.write_text(f"model: {{path: {model}}}\n{text}{output}", encoding="utf-8")
    code, found = ask(file, f"verb={verb}")
    assert code == 0
    assert "cache 0.0" not in found["memory"][0]["found"]
    assert found["recipe"][0]["found"] == f"{file}: a recipe of {verb}, without a mistake"


def test_merging_a_whole_model(ask: Ask, tmp_path: Path, model: Path) -> None:
    (tmp_path / "merge.yaml").write_text(f"model: {{path: {model}}}\noutput_dir: {tmp_path / 'run'}\n", encoding="utf-8")
    code, found = ask(tmp_path / "merge.yaml", "verb=merge")
    assert code == 2
    assert "has no adapter to merge" in found["model"][1]["found"]


def test_shipped_recipes_by_name(ask: Ask, model: Path) -> None:
    code, found = ask("sft/demo", overrides=(f"model.path={model}", "data.limit=50", "tokens.cutoff=2048"))
    assert code == 0, found
    assert found["data"][0]["found"].startswith("50 records")
    code, found = ask("sft/dmeo")
    assert code == 2
    assert "no recipe 'dmeo'. Did you mean 'demo'?" in found["recipe"][0]["found"]


def test_a_base_model_that_is_not_fetched_yet_is_not_fetched(ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BELLE_CACHE", str(tmp_path / "cache"))
    code, found = ask("sft/demo")
    assert code == 0
    assert "is fetched at its first use" in found["model"][0]["found"]
    assert not (tmp_path / "cache").exists()


def test_words_that_say_too_little(ask: Ask, recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.yaml").write_text(recipe.read_text(encoding="utf-8"), encoding="utf-8")
    _, found = ask(tmp_path / "mine.yaml")
    assert found["recipe"][0]["fix"] == "name it: verb=sft"
    _, found = ask(tmp_path / "mine.yaml", "verb=stf")
    assert "unknown verb 'stf'. Did you mean 'sft'?" in found["recipe"][0]["found"]
    with pytest.raises(SystemExit):
        main(["doctor", "verb=sft"])
    assert "verb and overrides belong to a recipe" in capsys.readouterr().err


def test_the_recipe_of_a_run_knows_its_verb(ask: Ask, recipe: Path, tmp_path: Path) -> None:
    from belle.commands.sft import Config
    from belle.config import load
    from belle.runs import Run

    config: Any = load(Config, recipe)
    run = Run.open("sft", config, config.output_dir)
    run.note()
    run._lock.close()
    code, found = ask(tmp_path / "run/recipe.yaml")
    assert code == 0
    assert found["output_dir"][0]["found"] == f"{tmp_path / 'run'}: an interrupted run, which goes on"
