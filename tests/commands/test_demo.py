from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tiny import tiny_model_folder

from belle.cli import main
from belle.commands import demo
from belle.config import load


@pytest.fixture
def words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The whole demo, with a tiny model, two steps and a few questions."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BELLE_CACHE", str(tmp_path / "cache"))
    tiny_model_folder(tmp_path / "model")
    small = "[optim.max_steps=2, optim.batch_size=2, lora.rank=2, data.limit=60, held_out.share=0.1]"
    few = "[generation.max_new_tokens=1, bootstrap=20]"
    return ["demo", "model=model", "output_dir=out", f"sft={small}", f"evaluate={few}", "clean=[executor=one]"]


def info(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path("out", name, "run.json").read_text(encoding="utf-8"))
    return found


def test_the_whole_demo_with_cleaning_as_its_first_stage(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    main(words)
    assert info("clean")["metrics"]["records"] == 60, "the overrides of data are the cleaning's"
    kept = info("clean")["metrics"]["kept"]
    assert info("sft")["inputs"][0]["path"] == "out/clean/kept.jsonl"
    assert info("sft")["inputs"][0]["records"] == kept
    assert info("sft")["parents"] == [{"path": "out/clean", "id": info("clean")["id"]}]
    page = Path("out/report.html").read_text(encoding="utf-8")
    assert info("clean")["id"][:12] in page, "the report follows the chain back to the cleaning"
    printed = capsys.readouterr().err
    assert printed.index("cleaning the data") < printed.index("fine-tuning with LoRA")
    assert "out/clean/report.html" in printed

    times = {name: Path("out", name, "run.json").stat().st_mtime_ns for name in ("clean", "sft", "merged", "base", "tuned")}
    main(words)
    assert {name: Path("out", name, "run.json").stat().st_mtime_ns for name in times} == times, "nothing is done twice"


def test_a_demo_from_before_there_was_cleaning_goes_on_as_it_began(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = load(demo.Config, None, [])
    assert demo.stages(config)[0][0] == "cleaning the data"
    assert demo.stages(config)[1][2].data.path == "runs/demo/clean/kept.jsonl"
    keys = ("id", "verb", "status", "seconds", "command", "inputs", "parents", "notes", "metrics", "products")
    earlier = dict.fromkeys(keys) | {"recipe": {"data": {"path": ["shipped:instructions_zh.jsonl"]}}}
    Path("runs/demo/sft").mkdir(parents=True)
    Path("runs/demo/sft/run.json").write_text(json.dumps(earlier), encoding="utf-8")
    first = demo.stages(config)[0]
    assert first[0] == "fine-tuning with LoRA"
    assert first[2].data.path == ("shipped:instructions_zh.jsonl", "shipped:instructions_en.jsonl")
    earlier["recipe"] = {"data": {"path": "runs/demo/clean/kept.jsonl"}}
    Path("runs/demo/sft/run.json").write_text(json.dumps(earlier), encoding="utf-8")
    assert len(demo.stages(config)) == 6
