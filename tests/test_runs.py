"""Run folders: begun, resumed, recognised, refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from belle.config import Section, load
from belle.errors import BelleError
from belle.jsonl import read_json, read_rows
from belle.runs import Run, cache_dir, read_run, sha256_file, sha256_text, sha256_weights


class Inner(Section):
    rate: float = 0.5
    names: tuple[str, ...] = ("a",)


class Recipe(Section):
    path: str = "x"
    inner: Inner = Inner()
    other: Inner | None = None
    output_dir: str = "unused"
    overwrite: bool = False


def start(folder: Path, verb: str = "sft", **keys: Any) -> Run:
    run = Run.open(verb, Recipe(output_dir=str(folder), **keys), str(folder), keys.get("overwrite", False))
    run.note()
    return run


def close(run: Run) -> None:
    """Let go of the lock, as the end of the process does."""
    run._lock.close()


def finished(folder: Path, **keys: Any) -> dict[str, Any]:
    run = start(folder, **keys)
    (folder / "product.txt").write_text("earlier")
    run.finish({"loss": 1.5}, {"model": "."})
    close(run)
    return read_run(folder)


def state(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name != ".lock"}


def refused(folder: Path, verb: str = "sft", **keys: Any) -> BelleError:
    before = state(folder)
    with pytest.raises(BelleError) as caught:
        start(folder, verb, **keys)
    assert state(folder) == before
    return caught.value


def test_a_new_run_holds_its_recipe_and_lineage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["belle", "sft", "demo", "path=x"])
    folder = tmp_path / "new/run"
    run = start(folder)
    assert not run.finished
    assert load(Recipe, folder / "recipe.yaml") == Recipe(output_dir=str(folder))
    info = read_run(folder)
    assert info == run.info
    assert (info["verb"], info["status"], info["command"]) == ("sft", "running", "belle sft demo path=x")
    assert info["recipe"] == {
        "path": "x", "inner": {"rate": 0.5, "names": ["a"]}, "other": None, "output_dir": str(folder), "overwrite": False,
    }  # fmt: skip
    assert {"torch", "transformers", "peft"} <= info["versions"].keys()
    assert len(info["id"]) == 16


def test_a_run_is_finished_once(tmp_path: Path) -> None:
    info = finished(tmp_path / "run")
    assert (info["status"], info["metrics"], info["products"]) == ("finished", {"loss": 1.5}, {"model": "."})
    assert info["finished"] >= info["started"]
    before = state(tmp_path / "run")
    again = Run.open("sft", Recipe(output_dir=str(tmp_path / "run")), str(tmp_path / "run"))
    assert again.finished
    assert again.info == info
    assert state(tmp_path / "run") == before


def test_an_interrupted_run_goes_on_with_what_it_noted(tmp_path: Path) -> None:
    (tmp_path / "data.txt").write_text("x")
    run = start(tmp_path / "run")
    run.add_input("data", tmp_path / "data.txt", records=3)
    run.note(template="chatml")
    with run.metrics_file() as file:
        for step in (1, 2, 3):
            file.write({"step": step})
    close(run)
    again = start(tmp_path / "run")
    assert again.info == run.info
    again.add_input("data", tmp_path / "data.txt", records=4)
    digest = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
    assert again.info["inputs"] == [{"role": "data", "path": str(tmp_path / "data.txt"), "sha256": digest, "records": 4}]
    with again.metrics_file(upto_step=2) as file:
        file.write({"step": 3, "again": True})
    assert list(read_rows(tmp_path / "run/metrics.jsonl")) == [{"step": 1}, {"step": 2}, {"step": 3, "again": True}]


def test_nothing_is_written_before_the_inputs_are_read(tmp_path: Path) -> None:
    close(Run.open("sft", Recipe(path="typo"), str(tmp_path / "run")))  # the verb fails here: there is no such file
    assert state(tmp_path / "run") == {}
    assert start(tmp_path / "run", path="right").info["recipe"]["path"] == "right"


def test_another_recipe_is_refused_and_its_keys_are_named(tmp_path: Path) -> None:
    finished(tmp_path / "run")
    error = refused(tmp_path / "run", path="y", inner=Inner(names=("a", "b")), other=Inner())
    assert error.message == (
        f"'{tmp_path / 'run'}' holds a run of another recipe: inner.names was ['a'], is ['a', 'b']; "
        "other.names was None, is ['a']; other.rate was None, is 0.5; path was 'x', is 'y'"
    )
    assert error.fix == "choose another output_dir, or pass overwrite=true to begin anew"


def test_another_verb_is_refused(tmp_path: Path) -> None:
    finished(tmp_path / "run")
    assert "holds a run of 'sft', not of 'merge'" in refused(tmp_path / "run", "merge").message


def test_overwrite_begins_anew_once_the_inputs_are_read(tmp_path: Path) -> None:
    first = finished(tmp_path / "run")
    (tmp_path / "run/sub").mkdir()
    before = state(tmp_path / "run")
    run = Run.open("sft", Recipe(path="y", overwrite=True), str(tmp_path / "run"), overwrite=True)
    assert state(tmp_path / "run") == before  # a verb that fails now has harmed nothing
    assert not run.finished
    run.note(template="chatml")
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == [".lock", "recipe.yaml", "run.json"]
    assert read_run(tmp_path / "run")["id"] != first["id"]
    assert read_run(tmp_path / "run")["recipe"]["path"] == "y"


def test_overwrite_itself_makes_no_other_recipe(tmp_path: Path) -> None:
    run = start(tmp_path / "run", overwrite=True)
    run.finish({}, {})
    close(run)
    assert start(tmp_path / "run").finished


@pytest.mark.parametrize("overwrite", [False, True])
def test_folders_of_others_are_left_alone(tmp_path: Path, overwrite: bool) -> None:
    folder = tmp_path / "thesis"
    folder.mkdir()
    (folder / "chapter.tex").write_text("years of work")
    error = refused(folder, overwrite=overwrite)
    assert error.message == f"'{folder}' holds other files (chapter.tex)"
    assert (folder / "chapter.tex").read_text() == "years of work"


def test_what_a_process_left_that_was_killed_at_its_start_is_no_foreign_folder(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "recipe.yaml").write_text("path: x\n")
    (folder / ".run.json.part").write_text("{")
    for overwrite in (False, True):
        run = start(folder, overwrite=overwrite)
        assert sorted(p.name for p in folder.iterdir()) == [".lock", "recipe.yaml", "run.json"]
        close(run)


def test_a_folder_that_was_being_replaced_is_put_back(tmp_path: Path) -> None:
    finished(tmp_path / "run")
    (tmp_path / "run/.adapter.old.part").mkdir()
    (tmp_path / "run/.adapter.old.part/w").write_text("old")
    start(tmp_path / "run")
    assert (tmp_path / "run/adapter/w").read_text() == "old"


def test_an_input_that_changed_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data.txt").write_text("x")
    run = start(tmp_path / "run")
    run.add_input("data", tmp_path / "data.txt")
    (tmp_path / "data.txt").write_text("y")
    words = r"data\.txt has changed since this run began \(sha256 2d711642b726 then, a1fce4363854 now\)"
    with pytest.raises(BelleError, match=words):
        run.add_input("data", tmp_path / "data.txt")
    run.add_input("held_out", tmp_path / "data.txt")  # another role is another note
    assert len(run.info["inputs"]) == 2


def test_a_second_process_is_kept_out_until_the_first_ends(tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    code = (
        "import sys; from belle.runs import Run; from belle.config import Section\n"
        "class R(Section):\n    path: str = 'x'\n"
        "run = Run.open('sft', R(), sys.argv[1]); run.note(); print('open', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "run")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None
    assert other.stdout.readline() == "open\n"
    for overwrite in (False, True):
        assert "another process is working in" in refused(tmp_path / "run", overwrite=overwrite).message
    other.kill()
    other.wait()
    other.stdout.close()
    assert "another recipe" in refused(tmp_path / "run").message  # the lock went with the process


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "cannot read"),
        ("[]", "was not written by belle: it lacks every key"),
        ('{"verb": "sft", "status": "finished"}', "was not written by belle: it lacks command, id, inputs, metrics"),
    ],
)
def test_a_broken_run_json_is_named(tmp_path: Path, text: str, words: str) -> None:
    finished(tmp_path / "run")
    (tmp_path / "run/run.json").write_text(text)
    with pytest.raises(BelleError) as caught:
        read_run(tmp_path / "run")
    for error in (refused(tmp_path / "run"), caught.value):
        assert words in error.message
        assert "run.json" in error.message


def test_what_is_no_run_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(BelleError, match=r"is not a run folder: it has no run\.json"):
        read_run(tmp_path / "missing")


def test_an_output_dir_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "file", tmp_path / "file/run"):
        with pytest.raises(BelleError, match="cannot write into output_dir"):
            start(path)


def test_parents_are_noted_by_their_id(tmp_path: Path) -> None:
    parent = finished(tmp_path / "parent")
    run = start(tmp_path / "run")
    run.add_parent(tmp_path / "parent")
    run.add_parent(tmp_path / "parent")
    assert read_run(tmp_path / "run")["parents"] == [{"path": str(tmp_path / "parent"), "id": parent["id"]}]


def test_metrics_that_are_no_numbers_are_refused_and_leave_the_run_as_it_was(tmp_path: Path) -> None:
    run = start(tmp_path / "run")
    with pytest.raises(ValueError, match="not JSON compliant"):
        run.finish({"loss": float("nan")}, {})
    assert read_json(tmp_path / "run/run.json")["status"] == "running"


def test_hashes_are_sha256(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(b"abc")
    abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256_file(tmp_path / "a.safetensors") == abc
    assert sha256_text("abc") == abc
    assert sha256_text("\ud800") != sha256_text("?")
    one = sha256_weights(tmp_path)
    assert one == sha256_text(abc)
    (tmp_path / "config.json").write_text("{}")
    assert sha256_weights(tmp_path) == one  # weights alone
    (tmp_path / "b.safetensors").write_bytes(b"")
    assert sha256_weights(tmp_path) != one


def test_the_cache_folder_can_be_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BELLE_CACHE", str(tmp_path / "own"))
    assert cache_dir() == tmp_path / "own"
    monkeypatch.delenv("BELLE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_dir() == tmp_path / "xdg/belle"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_dir().name == "belle"
    assert str(cache_dir()).startswith(os.path.expanduser("~"))


def test_run_json_is_readable_json(tmp_path: Path) -> None:
    run = start(tmp_path / "run", path="数据")
    run.note(words="你好")
    text = (tmp_path / "run/run.json").read_text(encoding="utf-8")
    assert "你好" in text
    assert json.loads(text) == run.info
