"""`belle sft` through the real command line, on a model of two layers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny import talk_file, tiny_model_folder

from belle.cli import main
from belle.jsonl import read_rows, write_rows
from belle.models.load import load_model, load_tokenizer, locate
from belle.sections import ModelSection


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BELLE_CACHE", str(tmp_path / "cache"))


def words(tmp_path: Path, out: str, *more: str) -> list[str]:
    base, data = tmp_path / "base", tmp_path / "talk.jsonl"
    if not base.exists():
        tiny_model_folder(base)
        talk_file(data)
    common = [f"model.path={base}", f"data.path={data}", f"output_dir={tmp_path / out}", "optim.learning_rate=1e-2"]
    return ["sft", *common, "optim.batch_size=8", *more]


def test_lora_leaves_an_adapter_that_loads_and_lineage(tmp_path: Path) -> None:
    main(words(tmp_path, "run", "lora={rank: 4}", "held_out.share=0.2", "optim.epochs=3"))
    run = tmp_path / "run"
    info = json.loads((run / "run.json").read_text())
    assert info["status"] == "finished"
    assert {i["role"] for i in info["inputs"]} == {"data", "base"}
    assert info["metrics"]["loss_last"] < info["metrics"]["loss_first"]
    assert info["notes"]["data"]["records"] == 24
    assert info["metrics"]["steps"] == 9  # 19 samples to train on, 8 a step, 3 epochs
    found = locate(str(run))
    assert found.base == str(tmp_path / "base")
    model = load_model(ModelSection(path=str(run)))
    assert any("lora_B" in name and p.abs().sum() > 0 for name, p in model.named_parameters())
    assert load_tokenizer(ModelSection(path=str(run))).chat_template
    rows = list(read_rows(run / "metrics.jsonl"))
    assert [row["step"] for row in rows if "loss" in row] == list(range(1, 10))
    assert [row["step"] for row in rows if "eval_loss" in row] == [2, 4, 6, 8, 9]


def test_full_training_keeps_the_stored_type_and_writes_end_tokens(tmp_path: Path) -> None:
    tiny_model_folder(tmp_path / "base", dtype=torch.bfloat16)
    talk_file(tmp_path / "talk.jsonl")
    main(words(tmp_path, "run", "optim.max_steps=2", "model.dtype=float32"))
    folder = tmp_path / "run" / "model"
    assert {t.dtype for t in load_file(folder / "model.safetensors").values()} == {torch.bfloat16}
    ends = json.loads((folder / "generation_config.json").read_text())["eos_token_id"]
    tokenizer = load_tokenizer(ModelSection(path=str(folder)))
    assert tokenizer.convert_tokens_to_ids("<|im_end|>") in ends


@pytest.mark.parametrize("lora", ["lora={rank: 4}", "lora=null"])
def test_bfloat16_computes_in_it_and_keeps_trained_weights_in_float32(tmp_path: Path, lora: str) -> None:
    words_of = {name: words(tmp_path, name, lora, "optim.epochs=4", f"model.dtype={name}") for name in ("float32", "bfloat16")}
    losses = {}
    for name, command in words_of.items():
        main(command)
        losses[name] = [row["loss"] for row in read_rows(tmp_path / name / "metrics.jsonl")]
        stored = load_file(next((tmp_path / name / "checkpoints").glob("step-*")) / "weights.safetensors")
        assert {tensor.dtype for tensor in stored.values()} == {torch.float32}
    assert losses["bfloat16"] != losses["float32"]  # it does compute in another type
    for ours, exact in zip(losses["bfloat16"], losses["float32"], strict=True):
        assert abs(ours - exact) < 0.02 * exact  # and follows the same curve


def test_the_same_command_again_repeats_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(words(tmp_path, "run", "lora={}", "optim.max_steps=2"))
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "run").rglob("*") if p.is_file()}
    capsys.readouterr()
    main(words(tmp_path, "run", "lora={}", "optim.max_steps=2"))
    assert "already finished" in capsys.readouterr().err
    assert before == {p: p.stat().st_mtime_ns for p in (tmp_path / "run").rglob("*") if p.is_file()}


def test_preview_shows_the_mask_and_trains_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(words(tmp_path, "run", "preview=2"))
    shown = capsys.readouterr().err
    assert "talk.jsonl:1" in shown
    assert "talk.jsonl:2" in shown
    assert "talk.jsonl:3" not in shown
    assert not (tmp_path / "run").exists()


def test_dropped_samples_are_listed_with_their_reason(tmp_path: Path) -> None:
    main(words(tmp_path, "run", "lora={}", "optim.max_steps=1", "tokens.cutoff=60", "tokens.overlong=drop"))
    dropped = list(read_rows(tmp_path / "run" / "dropped.jsonl"))
    assert dropped
    assert all(row["reason"].startswith("too long: ") and "talk.jsonl:" in row["source"] for row in dropped)
    info = json.loads((tmp_path / "run" / "run.json").read_text())
    assert info["notes"]["data"]["dropped"] == {"too long": len(dropped)}


def killed_at(command: list[str], run: Path, step: int, environment: dict[str, str]) -> None:
    """Start the command and kill it as soon as it has logged `step`."""
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        file = run / "metrics.jsonl"
        if file.exists() and sum(b'"loss"' in line for line in file.read_bytes().splitlines()) >= step:
            break
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()


@pytest.mark.skipif(os.name != "posix", reason="kill -9")
def test_kill_9_and_the_same_command_end_in_the_same_bits(tmp_path: Path) -> None:
    more = ("lora={rank: 4}", "optim.epochs=6", "held_out.share=0.2")
    environment = dict(os.environ, BELLE_CACHE=str(tmp_path / "cache"), OMP_NUM_THREADS="1")
    whole = [sys.executable, "-m", "belle", *words(tmp_path, "whole", *more)]
    subprocess.run(whole, check=True, capture_output=True, env=environment)
    command = [sys.executable, "-m", "belle", *words(tmp_path, "killed", *more)]
    for step in (1, 5, 11):
        killed_at(command, tmp_path / "killed", step, environment)
    subprocess.run(command, check=True, capture_output=True, env=environment)
    a, b = (load_file(tmp_path / name / "adapter" / "adapter_model.safetensors") for name in ("whole", "killed"))
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)
    curves = [
        [(row["step"], row.get("loss"), row.get("eval_loss")) for row in read_rows(tmp_path / name / "metrics.jsonl")]
        for name in ("whole", "killed")
    ]
    assert curves[0] == curves[1]


def test_a_second_process_in_the_same_folder_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import fcntl

    (tmp_path / "run").mkdir()
    with (tmp_path / "run" / ".lock").open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        with pytest.raises(SystemExit) as stop:
            main(words(tmp_path, "run", "lora={}", "optim.max_steps=1"))
    assert stop.value.code == 2
    assert "another process" in capsys.readouterr().err


def test_thumbs_down_answers_are_left_out_and_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yes yes"}]}
    write_rows(tmp_path / "kto.jsonl", [row | {"label": i % 3 > 0} for i in range(9)])
    command = words(tmp_path, "run", "lora={}", "optim.max_steps=1")
    main([f"data.path={tmp_path / 'kto.jsonl'}" if word.startswith("data.path") else word for word in command])
    info = json.loads((tmp_path / "run" / "run.json").read_text())
    assert info["notes"]["data"]["samples"] == 6
    assert info["notes"]["data"]["dropped"] == {"label is false": 3}
    assert "dropped: 3 x label is false" in capsys.readouterr().err
    assert [row["source"].rsplit(":")[-1] for row in read_rows(tmp_path / "run" / "dropped.jsonl")] == ["1", "4", "7"]


def test_malformed_rows_are_counted_on_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = words(tmp_path, "run", "lora={}", "optim.max_steps=1", "data.on_error=keep")
    with (tmp_path / "talk.jsonl").open("a") as file:
        file.write('{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": ""}]}\nnot json\n')
    main(command)
    said = capsys.readouterr().err
    assert said.count("malformed: 1 x ") == 2
    assert len(list(read_rows(tmp_path / "run" / "dropped.jsonl"))) == 2


def test_a_run_that_was_moved_is_still_that_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(words(tmp_path, "run", "lora={}", "optim.max_steps=1"))
    (tmp_path / "run").rename(tmp_path / "elsewhere")
    main(words(tmp_path, "elsewhere", "lora={}", "optim.max_steps=1"))
    assert "already finished" in capsys.readouterr().err


def test_hints_can_be_pasted_into_a_shell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(words(tmp_path, "输出 目录", "lora={}", "optim.max_steps=1"))
    assert f"belle chat '{tmp_path / '输出 目录'}'" in capsys.readouterr().err


def test_preview_stops_at_the_cutoff_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(words(tmp_path, "run", "preview=1", "tokens.cutoff=20"))
    assert "tokens > cutoff 20, shown up to it; tokens.overlong is error" in capsys.readouterr().err


def test_a_held_out_file_is_in_the_lineage_and_its_losses_are_counted(tmp_path: Path) -> None:
    row = {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yes"}]}
    long = {"messages": [{"role": "user", "content": "x " * 900}, {"role": "assistant", "content": "no"}]}
    write_rows(tmp_path / "watch.jsonl", [row, long])
    more = ("lora={}", "optim.max_steps=1", "tokens.overlong=drop", f"held_out.path={tmp_path / 'watch.jsonl'}")
    main(words(tmp_path, "run", *more))
    info = json.loads((tmp_path / "run" / "run.json").read_text())
    assert [(i["role"], i["records"]) for i in info["inputs"] if i["role"] == "held out"] == [("held out", 2)]
    assert info["notes"]["data"]["dropped"] == {"too long": 1}
    (lost,) = read_rows(tmp_path / "run" / "dropped.jsonl")
    assert lost["source"].endswith("watch.jsonl:2")
    assert lost["reason"].endswith("(held out)")
