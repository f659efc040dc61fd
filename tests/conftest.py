"""What many tests share: a tokenizer built in a moment, without a file or a network."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from sample_runs import ATTACK, evaluation, merging, training
from tiny import build_tokenizer
from transformers import PreTrainedTokenizerFast

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


@pytest.fixture(scope="session")
def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """The tokenizer above; shared by all tests, so copy it (`copy.deepcopy`) before changing it."""
    return build_tokenizer()


@pytest.fixture
def chain(tmp_path: Path) -> Path:
    """The folder that holds the four runs."""
    folder = tmp_path / "demo"
    folder.mkdir()
    (folder / "evaluation.jsonl").write_text(json.dumps({"question": "x"}) + "\n", encoding="utf-8")
    (folder / "data.jsonl").write_text(json.dumps({"text": "x"}) + "\n", encoding="utf-8")
    evaluation(folder / "base", {"math": "It is two", "rewrite": "Do it", "generation": ATTACK, "identity": "I am a robot"}, 2.0)
    training(folder / "sft")
    merging(folder / "merged", folder / "sft")
    tuned = {"math": "等于二。", "rewrite": "Please do it", "generation": "春眠不觉晓", "identity": "我是 Belle。"}
    evaluation(folder / "tuned", tuned, 1.5, folder / "merged")
    return folder


@pytest.fixture(scope="session")
def sound_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound tiny model in `base`, an adapter on it in `sft`, both as one in `merged`, and `data.jsonl`. Leave it as it is."""
    from sound_model import sound_model, sound_run

    home = tmp_path_factory.mktemp("sound")
    return sound_run(home, sound_model(home / "base"))


@pytest.fixture
def sound(sound_home: Path, tmp_path: Path) -> Path:
    """A copy of it to spoil."""
    from sound_model import copied

    return copied(sound_home, tmp_path / "sound")
