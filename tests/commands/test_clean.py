from __future__ import annotations

import gc
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from belle.cli import main
from belle.config import shipped
from belle.data.formats import load_records
from belle.records import Conversation
from belle.runs import sha256_file
from belle.sections import DataSection

FAST = (
    "steps=[normalise, exact_duplicates, near_duplicates, empty, refusal, {answer_characters: {at_most: 90}}, "
    "{class_quota: {number: 9, by: category}}]"
)
"""Every kind of step, none that takes seconds to load."""
PRODUCTS = ("kept.jsonl", "dropped.jsonl", "scores.jsonl")


def talk(path: Path, count: int = 60) -> Path:
    """Records of which some are exact duplicates, some nearly so, some empty, some refuse, and some are too long."""
    rows = []
    for n in range(count):
        row = {"id": f"r{n}", "category": "math" if n % 2 else "code", "instruction": sentence(n, 20), "output": sentence(-n, 40)}
        if n % 10 == 3:
            row |= {"instruction": rows[n - 3]["instruction"] + " ！", "output": rows[n - 3]["output"]}
        if n % 10 == 5:
            row["output"] = "" if n % 20 == 5 else "……"
        if n % 10 == 7:
            row["output"] = "作为一个人工智能语言模型，我不能这样做。"
        if n % 10 == 9:
            row["output"] = sentence(-n, 100)
        rows.append(row)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def sentence(seed: int, count: int) -> str:
    """A sentence of characters drawn by lot: like no other."""
    chance = random.Random(seed)
    return "".join(chr(chance.randrange(0x4E00, 0x9F00)) for _ in range(count)) + "。"


def code_of(words: list[str]) -> int:
    """The exit code of a command that fails; nothing of it lives on, its lock neither."""
    try:
        main(words)
    except SystemExit as left:
        return int(str(left.code))
    finally:
        gc.collect()
    return 0


def rows(path: str | Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]


def info(folder: str = "out") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(folder, "run.json").read_text(encoding="utf-8"))
    return found


def counts(folder: str = "out") -> list[tuple[str, int, int]]:
    return [(stage["step"], stage["before"], stage["after"]) for stage in info(folder)["metrics"]["stages"]]


def products(folder: str = "out") -> dict[str, bytes]:
    return {name: Path(folder, name).read_bytes() for name in PRODUCTS}


@pytest.fixture
def words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.chdir(tmp_path)
    talk(tmp_path / "raw.jsonl")
    return ["clean", "data.path=raw.jsonl", FAST, "executor=one", "shard=13", "output_dir=out"]


def test_every_record_is_kept_or_dropped_with_its_reason(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    main(words)
    assert capsys.readouterr().out == "out/kept.jsonl\n"
    kept, dropped = rows("out/kept.jsonl"), rows("out/dropped.jsonl")
    assert len(kept) + len(dropped) == 60
    assert {row["id"] for row in kept} | {row["row"]["id"] for row in dropped} == {f"r{n}" for n in range(60)}
    assert counts() == [
        ("read", 60, 57), ("normalise", 57, 57), ("exact_duplicates", 57, 51), ("near_duplicates", 51, 51), ("empty", 51, 48),
        ("refusal", 48, 42), ("answer_characters", 42, 36), ("class_quota", 36, 18),
    ]  # fmt: skip
    assert all(set(row) >= {"source", "step", "reason", "detail", "row"} for row in dropped)
    first = dropped[0]
    assert (first["source"], first["step"], first["reason"], first["of"]) == (
        "raw.jsonl:4", "exact_duplicates", "exact duplicate", "raw.jsonl:1",
    )  # fmt: skip
    assert sorted(p.name for p in Path("out").iterdir() if p.name != ".lock") == [
        "dropped.jsonl", "kept.jsonl", "recipe.yaml", "report.html", "run.json", "scores.jsonl",
    ]  # fmt: skip
    assert load_records(DataSection(path="out/kept.jsonl")).counts == {}, "belle reads it again without complaint"
    assert info()["inputs"][0]["sha256"] == sha256_file(Path("raw.jsonl"))
    assert info()["notes"]["diversity"]["sample"] == 18


def test_the_run_folder_does_it_again(words: list[str]) -> None:
    main(words)
    main(["clean", "out/recipe.yaml", "output_dir=again"])
    assert products() == products("again")
    resolved = yaml.safe_load(Path("out/recipe.yaml").read_text(encoding="utf-8"))
    assert resolved["steps"][5] == {"answer_characters": {"at_most": 90}}


def test_a_finished_run_only_shows_its_table(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    main(words)
    times = {p: p.stat().st_mtime_ns for p in Path("out").iterdir()}
    capsys.readouterr()
    main(words)
    printed = capsys.readouterr()
    assert printed.out == "out/kept.jsonl\n"
    assert "finished already" in printed.err
    assert "exact_duplicates" in printed.err
    assert {p: p.stat().st_mtime_ns for p in Path("out").iterdir()} == times


def test_what_was_cleaned_is_the_parent_of_what_reads_it(words: list[str]) -> None:
    main(words)
    main(["clean", "data.path=out/kept.jsonl", "steps=[empty]", "executor=one", "output_dir=second"])
    assert info("second")["parents"] == [{"path": "out", "id": info()["id"]}]
    assert info()["parents"] == []
    assert f"run {info()['id'][:12]}" in Path("second/report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["open_clean", "open_clean_semantic", "demo"])
def test_shipped_recipes_are_sound(name: str, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    main(["clean", name, "data.path=raw.jsonl", "--dry-run"])
    printed = capsys.readouterr().out
    assert "exact_duplicates" in printed
    assert not Path("out").exists()
    assert not Path("runs").exists()
    recipe = yaml.safe_load((shipped("recipes") / f"clean/{name}.yaml").read_text(encoding="utf-8"))
    steps = [step if isinstance(step, str) else next(iter(step)) for step in recipe["steps"]]
    assert [f"step {n}: {step}" in printed for n, step in enumerate(steps, 1)] == [True] * len(steps)


def test_the_open_recipe_cleans(words: list[str]) -> None:
    main(["clean", "open_clean", "data.path=raw.jsonl", "output_dir=out", "executor=one"])
    steps = [step for step, _, _ in counts()]
    order = ["exact_duplicates", "near_duplicates", "empty", "refusal", "unsafe", "distinct_words"]
    assert [steps.index(step) for step in order] == sorted(steps.index(step) for step in order)
    gone = {(row["row"]["id"], row["step"]) for row in rows("out/dropped.jsonl")}
    assert gone >= {("r5", "read"), ("r15", "empty"), ("r7", "refusal"), ("r3", "exact_duplicates")}
    page = Path("out/report.html").read_text(encoding="utf-8")
    assert all(word in page for word in ("Step by step", "What was removed", "Diversity", "作为一个人工智能", "distinct words"))


def test_help_has_examples_recipes_and_steps(capsys: pytest.CaptureFixture[str]) -> None:
    main(["clean", "--help"])
    page = capsys.readouterr().out
    assert page.count("belle clean open_clean data.path=raw.jsonl") == 1
    assert "Shipped recipes: demo, open_clean, open_clean_semantic" in page
    assert "threshold  (number = 0.7)" in page
    assert "Annotated" not in page


def test_a_malformed_row_stops_or_is_kept(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with Path("raw.jsonl").open("a") as file:
        file.write('{"instruction": "x", "output"\n')
    assert code_of(words) == 2
    assert "raw.jsonl:61: broken JSON" in capsys.readouterr().err
    assert not Path("out/run.json").exists()
    main([*words, "data.on_error=keep"])
    last = rows("out/dropped.jsonl")[-1]
    assert (last["source"], last["step"], last["reason"]) == ("raw.jsonl:61", "read", "malformed")
    assert "broken JSON" in last["detail"]
    assert last["row"].strip() == '{"instruction": "x", "output"'
    assert counts()[0] == ("read", 61, 57)
    assert info()["metrics"]["stages"][0]["reasons"] == {"empty": 3, "malformed": 1}


def test_nothing_left_is_an_error_that_shows_why(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    steps = "steps=[{answer_characters: {at_least: 9000}}]"
    assert code_of(["clean", "data.path=raw.jsonl", steps, "executor=one", "output_dir=out"]) == 2
    assert "nothing is left of 60 records" in capsys.readouterr().err
    assert len(rows("out/dropped.jsonl")) == 60
    assert Path("out/report.html").exists()


def test_a_step_that_takes_much_is_told(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    main(["clean", "data.path=raw.jsonl", "steps=[{class_quota: {number: 5, by: category}}]", "executor=one", "output_dir=out"])
    assert "class_quota removed 47 of 57 records, more than half" in capsys.readouterr().err


def test_documents_are_cleaned(words: list[str]) -> None:
    texts = ("一篇文章，讲的是春天。", "一篇文章 讲的是春天", "别的")
    Path("texts.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    steps = "steps=[normalise, exact_duplicates]"
    main(["clean", "data.path=texts.jsonl", "records=documents", steps, "executor=one", "output_dir=out"])
    assert [row["text"] for row in rows("out/kept.jsonl")] == ["一篇文章，讲的是春天。", "别的"]


class FullDisk:
    """Opens of files for writing fail after so many, as on a full disk."""

    def __init__(self, free: int) -> None:
        self.free = free

    def __call__(self, handle: int) -> None:
        self.free -= 1
        if self.free < 0:
            raise OSError(28, "No space left on device")


@pytest.mark.parametrize("free", [0, 3, 7, 12, 20, 30])
def test_a_full_disk_is_one_message_and_the_run_goes_on(
    words: list[str], free: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    main([*words[:-1], "output_dir=whole"])
    capsys.readouterr()
    with monkeypatch.context() as full:
        full.setattr(os, "fsync", FullDisk(free))
        assert code_of(words) == 2
    printed = capsys.readouterr().err
    assert printed.count("error: ") == 1
    assert "No space left on device" in printed
    assert not list(Path("out").rglob("*.part"))
    main(words)
    assert products() == products("whole")


def killed_at_flush(number: int, words: list[str]) -> bool:
    """Run in a process that kills itself before its so-many-th flush to the disk; whether it came that far."""
    child = os.fork()
    if not child:
        flush, count = os.fsync, iter(range(number, -1, -1))
        os.fsync = lambda handle: os.kill(os.getpid(), signal.SIGKILL) if not next(count) else flush(handle)
        os.close(2)
        os.open(os.devnull, os.O_WRONLY)
        main(words)
        os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_at_ten_moments_it_comes_to_the_same(words: list[str]) -> None:
    main([*words, "output_dir=whole"])
    moments = random.Random(4).choices(range(1, 12), k=10)
    kills = [killed_at_flush(number, words) for number in moments]
    assert sum(kills) >= 4, "the rest found it finished"
    main(words)
    assert products() == products("whole")
    assert [p for p in Path("out").rglob("*") if p.name.endswith(".part") or p.name == "work"] == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_after_each_kill_the_same_command_ends_well(words: list[str]) -> None:
    main([*words, "output_dir=whole"])
    for number in range(0, 60, 12):
        shutil.rmtree("out", ignore_errors=True)
        killed_at_flush(number, words)
        main(words)
        assert products() == products("whole"), number


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["one", "processes"])
def test_killed_ten_times_at_random_moments_by_the_clock(tmp_path: Path, executor: str) -> None:
    """The whole recipe from the command line, with every process of the run killed at once."""
    talk(tmp_path / "raw.jsonl", 4000)
    keys = ["data.path=raw.jsonl", f"executor={executor}", "workers=2", "shard=150"]
    command = [sys.executable, "-m", "belle", "clean", "open_clean", *keys]
    quiet: dict[str, Any] = {"cwd": tmp_path, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    started = time.monotonic()
    subprocess.run([*command, "output_dir=whole"], check=True, **quiet)
    seconds = time.monotonic() - started
    chance, kills = random.Random(7), 0
    while kills < 10:
        run = subprocess.Popen([*command, "output_dir=out"], start_new_session=True, **quiet)
        try:
            run.wait(chance.uniform(0.3, 1.2) * seconds / 3)
            shutil.rmtree(tmp_path / "out")  # it came to its end: once more from the beginning
        except subprocess.TimeoutExpired:
            (os.killpg if kills % 2 else lambda pid, sig: os.kill(pid, sig))(run.pid, signal.SIGKILL)
            run.wait()
            kills += 1
    subprocess.run([*command, "output_dir=out"], check=True, **quiet)
    for name in PRODUCTS:
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_the_demo_data_is_nearly_all_kept(words: list[str]) -> None:
    main(["clean", "demo", "output_dir=out", "executor=one"])
    read, kept = counts()[0][1], counts()[-1][2]
    assert read == 600
    assert kept >= 588, "the demo's own instructions are written by hand: at most two in a hundred may go"
    assert len(load_records(DataSection(path="out/kept.jsonl"), Conversation).records) == kept
