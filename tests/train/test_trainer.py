"""Invariants of the trainer on a model of two layers, in float32 on the CPU."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import talk_file, tiny_llama

from belle.data.chat_template import ChatTemplate
from belle.data.dataset import TokenDataset, tokenize
from belle.data.formats import load_records
from belle.errors import BelleError
from belle.models.lora import add_lora
from belle.sections import DataSection, LoraSection, OptimSection, TokensSection
from belle.train import checkpoint
from belle.train.language_model import answer_loss
from belle.train.trainer import StepTrainer


@pytest.fixture(scope="module")
def samples(tiny_tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> TokenDataset:
    file = talk_file(tmp_path_factory.mktemp("data") / "talk.jsonl")
    records = load_records(DataSection(path=str(file))).records
    return tokenize(records, tiny_tokenizer, ChatTemplate.load(tiny_tokenizer, "chatml"), TokensSection())


def trainer_for(samples: TokenDataset, folder: Path, lora: bool = False, **optim: Any) -> StepTrainer:
    model = tiny_llama(420)
    if lora:
        model = add_lora(model, LoraSection(rank=4))
    section = OptimSection(**{"learning_rate": 1e-2, "batch_size": 8, "epochs": 2, "warmup": 0.0, **optim})
    return StepTrainer(model, answer_loss, samples, 1, section, folder, seed=7)


def trained(trainer: StepTrainer, **how: Any) -> dict[str, torch.Tensor]:
    trainer.train(**how)
    return {name: p.detach().clone() for name, p in trainer.model.named_parameters()}


def by_hand(model: Any, samples: TokenDataset, rows: list[int]) -> torch.Tensor:
    """The mean over all supervised tokens, one sample at a time, from full logits."""
    total, count = torch.zeros(()), 0
    for row in rows:
        sample = samples[row]
        ids = torch.tensor([sample.ids])
        scores = model(input_ids=ids).logits[0].log_softmax(-1)
        for position in range(len(sample.ids) - 1):
            if sample.mask[position + 1]:
                total = total - scores[position, sample.ids[position + 1]]
                count += 1
    return total / count


def test_the_loss_and_gradient_of_a_step_are_the_mean_over_its_supervised_tokens(samples: TokenDataset, tmp_path: Path) -> None:
    trainer = trainer_for(samples, tmp_path, batch_size=5, max_steps=1, max_grad_norm=0)
    expected = by_hand(trainer.model, samples, trainer.train_dataset.plan[0])
    expected.backward()
    gradients = {name: p.grad.clone() for name, p in trainer.model.named_parameters()}
    trainer.model.zero_grad()
    batch = trainer.collate([trainer.train_dataset[0]])
    loss = trainer.training_step(trainer.model, batch)
    torch.testing.assert_close(loss, expected.detach(), rtol=1e-5, atol=1e-6)
    for name, parameter in trainer.model.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("micro_batch", [1, 3])
def test_splitting_a_step_changes_nothing(samples: TokenDataset, tmp_path: Path, micro_batch: int) -> None:
    whole = trained(trainer_for(samples, tmp_path / "whole"))
    split = trained(trainer_for(samples, tmp_path / "split", micro_batch=micro_batch))
    for name in whole:
        torch.testing.assert_close(split[name], whole[name], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("lora", [False, True])
def test_a_resumed_run_ends_in_the_same_bits(samples: TokenDataset, tmp_path: Path, lora: bool) -> None:
    from transformers import TrainerCallback

    class Stop(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            control.should_save = True
            control.should_training_stop = state.global_step == 4

    torch.manual_seed(0)
    undisturbed = trained(trainer_for(samples, tmp_path / "whole", lora))
    torch.manual_seed(0)
    stopped = trainer_for(samples, tmp_path / "stopped", lora)
    stopped.add_callback(Stop())
    stopped.train()
    torch.manual_seed(99)  # whatever the new process's random state is
    last = checkpoint.latest(tmp_path / "stopped")
    assert last is not None
    assert last.name == "step-4"
    resumed = trained(trainer_for(samples, tmp_path / "stopped", lora), resume_from_checkpoint=str(last))
    for name in undisturbed:
        assert torch.equal(resumed[name], undisturbed[name]), name


def test_lora_trains_the_adapter_alone_and_in_float32(samples: TokenDataset, tmp_path: Path) -> None:
    trainer = trainer_for(samples, tmp_path, lora=True, max_steps=2)
    before = {name: p.detach().clone() for name, p in trainer.model.named_parameters()}
    after = trained(trainer)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {name for name in before if "lora_" in name}
    assert {p.dtype for p in trainer.model.parameters() if p.requires_grad} == {torch.float32}
    assert not any("lm_head" in name for name in changed)


def test_training_lowers_the_loss_and_evaluation_keeps_the_best(samples: TokenDataset, tmp_path: Path) -> None:
    trainer = trainer_for(samples, tmp_path, epochs=6)
    trainer.evaluation = samples.subset([0, 1, 2])
    first = trainer.evaluate()["eval_loss"]
    trainer.train()
    second = trainer.evaluate()["eval_loss"]
    assert second < first - 1
    assert trainer.best["loss"] == second
    # a worse model later does not replace it
    with torch.no_grad():
        trainer.model.model.norm.weight.mul_(-1)
    assert trainer.evaluate()["eval_loss"] > second
    assert trainer.best["loss"] == second
    trainer.state.global_step += 1
    assert trainer.load_best() == trainer.best["step"]
    assert math.isclose(trainer.evaluate()["eval_loss"], second, rel_tol=1e-6)


def test_a_nan_stops_at_once_and_names_the_weight(samples: TokenDataset, tmp_path: Path) -> None:
    trainer = trainer_for(samples, tmp_path)
    with torch.no_grad():
        trainer.model.model.layers[1].mlp.up_proj.weight[0, 0] = math.nan
    with pytest.raises(BelleError, match=r"the loss became nan in step 1; .*layers\.1\.mlp\.up_proj\.weight"):
        trainer.train()


def test_checkpoints_hold_no_pickle_and_the_last_two_stay(samples: TokenDataset, tmp_path: Path) -> None:
    from transformers import TrainerCallback

    class Save(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            control.should_save = True

    trainer = trainer_for(samples, tmp_path)
    trainer.add_callback(Save())
    trainer.train()
    names = sorted(p.name for p in tmp_path.iterdir())
    assert names == ["step-5", "step-6"]
    files = {p.suffix for p in tmp_path.rglob("*") if p.is_file()}
    assert files == {".safetensors", ".json"}


def test_state_survives_writing(tmp_path: Path) -> None:
    state = {"a": {0: torch.arange(3), "b": [1, 2.5, None, (True, "x")]}, "t": torch.tensor(2.0)}
    checkpoint.save_state(tmp_path, part=state)
    back = checkpoint.load_state(tmp_path)["part"]
    assert back["a"]["b"] == [1, 2.5, None, (True, "x")]
    assert torch.equal(back["a"][0], state["a"][0])
    assert torch.equal(back["t"], state["t"])


def test_random_state_survives_writing(tmp_path: Path) -> None:
    import random

    import numpy as np

    def draw() -> tuple[float, float, float]:
        return random.random(), float(np.random.rand()), float(torch.rand(()))

    checkpoint.save_state(tmp_path, random=checkpoint.random_state())
    first = draw()
    draw()
    checkpoint.set_random_state(checkpoint.load_state(tmp_path)["random"])
    assert draw() == first
