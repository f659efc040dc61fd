"""`belle merge` through the real command line: merged answers as unmerged, whatever the shape of the model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny import talk_file, tiny_model_folder
from transformers import AutoModelForCausalLM, AutoTokenizer

from belle.cli import main
from belle.models.load import load_model
from belle.sections import ModelSection


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BELLE_CACHE", str(tmp_path / "cache"))


def trained(tmp_path: Path, *more: str, **shape: Any) -> Path:
    """A finished adapter run on a fresh base of that shape."""
    tiny_model_folder(tmp_path / "base", **shape)
    data = talk_file(tmp_path / "talk.jsonl")
    words = [f"model.path={tmp_path / 'base'}", f"data.path={data}", f"output_dir={tmp_path / 'run'}", "lora.rank=4"]
    main(["sft", *words, "optim.max_steps=3", "optim.learning_rate=1e-2", *more])
    return tmp_path / "run"


def merged(tmp_path: Path) -> Path:
    main(["merge", str(tmp_path / "run"), f"output_dir={tmp_path / 'merged'}", f"prompts.path={tmp_path / 'talk.jsonl'}"])
    return tmp_path / "merged"


@pytest.mark.parametrize("shape", [{"tied": True}, {"tied": False}, {"tied": True, "padded": 12}, {"tied": False, "padded": 12}])
def test_an_ordinary_reader_gets_the_logits_of_the_pair(tmp_path: Path, shape: dict[str, Any]) -> None:
    pair = load_model(ModelSection(path=str(trained(tmp_path, **shape)), dtype="float32"))
    folder = merged(tmp_path)
    plain = AutoModelForCausalLM.from_pretrained(folder)
    ids = torch.randint(10, 400, (2, 9))
    with torch.no_grad():
        torch.testing.assert_close(plain(input_ids=ids).logits, pair(input_ids=ids).logits, rtol=1e-4, atol=1e-4)
    before = load_file(tmp_path / "base" / "model.safetensors")
    after = load_file(folder / "model.safetensors")
    assert before.keys() == after.keys()
    assert {k: t.shape for k, t in before.items()} == {k: t.shape for k, t in after.items()}
    info = json.loads((folder / "run.json").read_text())
    assert info["metrics"]["changed_tensors"] == sum(not torch.equal(before[k], after[k]) for k in before) == 14
    assert info["parents"][0]["path"] == str(tmp_path / "run")


def test_type_template_and_end_tokens_stay(tmp_path: Path) -> None:
    trained(tmp_path, dtype=torch.bfloat16)
    folder = merged(tmp_path)
    assert {t.dtype for t in load_file(folder / "model.safetensors").values()} == {torch.bfloat16}
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert "generation %}" in tokenizer.chat_template
    ends = json.loads((folder / "generation_config.json").read_text())["eos_token_id"]
    assert tokenizer.convert_tokens_to_ids("<|im_end|>") in ends
    assert 3 in ends  # the base's own


def test_an_adapter_on_a_tied_head_unties_it(tmp_path: Path) -> None:
    pair = load_model(ModelSection(path=str(trained(tmp_path, "lora.targets=[q_proj, lm_head]")), dtype="float32"))
    plain = AutoModelForCausalLM.from_pretrained(merged(tmp_path))
    assert plain.config.tie_word_embeddings is False
    ids = torch.randint(10, 400, (1, 9))
    with torch.no_grad():
        torch.testing.assert_close(plain(input_ids=ids).logits, pair(input_ids=ids).logits, rtol=1e-4, atol=1e-4)


def test_the_same_command_again_repeats_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trained(tmp_path)
    stamp = (merged(tmp_path) / "model.safetensors").stat().st_mtime_ns
    capsys.readouterr()
    assert (merged(tmp_path) / "model.safetensors").stat().st_mtime_ns == stamp
    assert "already finished" in capsys.readouterr().err
