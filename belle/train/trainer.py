"""The one trainer: `transformers.Trainer` with our data plan, our token-mean, our checkpoints and our ears.

From the library come devices, mixed precision, optimisers, schedules, clipping and the distributed engines. Ours are:
the order of samples (a plan made before the start), one dataloader item = one process's share of one optimiser step, the
mean over all supervised tokens of the step, checkpoints without pickle, and an error at the first NaN.
"""

from __future__ import annotations

import contextlib
import math
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import Trainer, TrainingArguments

from belle.data.chat_template import Encoded
from belle.data.collators import pad_right
from belle.data.dataset import TokenDataset
from belle.data.packing import micro_batches, step_indices
from belle.errors import BelleError
from belle.jsonl import atomic_path
from belle.sections import OptimSection
from belle.train import checkpoint

Objective = Callable[[Any, dict[str, torch.Tensor]], torch.Tensor]
"""(model, micro-batch) -> the loss summed over supervised tokens."""

KEEP = 2
"""Checkpoints that stay, beside the best."""


class StepData(torch.utils.data.Dataset[list[Encoded]]):
    """Item i is what process `i % world` sees in optimiser step `i // world`; accelerate deals the items out in turn."""

    def __init__(self, samples: TokenDataset, plan: Sequence[Sequence[int]], world: int) -> None:
        self.samples, self.plan, self.world = samples, plan, world

    def __len__(self) -> int:
        return len(self.plan) * self.world

    def __getitem__(self, item: int) -> list[Encoded]:
        step, rank = divmod(item, self.world)
        share = [self.samples[i] for i in self.plan[step][rank :: self.world]]
        if not share:  # a last, small step and many processes: take part in the exchange without a token of loss
            sample = self.samples[self.plan[step][0]]
            share = [Encoded(sample.ids, [False] * len(sample.ids))]
        return share


class StepTrainer(Trainer):  # type: ignore[misc]
    """Trains `model` on `samples` by `objective`; see the module."""

    def __init__(
        self,
        model: Any,
        objective: Objective,
        samples: TokenDataset,
        pad: int,
        optim: OptimSection,
        output_dir: Path,
        seed: int,
        autocast: bool = False,
        evaluation: TokenDataset | None = None,
    ) -> None:
        steps_per_epoch = math.ceil(len(samples) / optim.batch_size)
        steps = optim.max_steps or max(1, round(steps_per_epoch * optim.epochs))
        warmup = min(math.ceil(steps * optim.warmup), steps - 1)  # the schedule begins at rate 0: a lone step would do nothing
        arguments = TrainingArguments(
            output_dir=str(output_dir), max_steps=steps, per_device_train_batch_size=1, gradient_accumulation_steps=1,
            learning_rate=optim.learning_rate, lr_scheduler_type=optim.schedule, warmup_steps=warmup,
            weight_decay=optim.weight_decay, adam_beta1=optim.betas[0], adam_beta2=optim.betas[1],
            max_grad_norm=optim.max_grad_norm, seed=seed, data_seed=seed, bf16=autocast, use_cpu=model.device.type == "cpu",
            remove_unused_columns=False, dataloader_pin_memory=False, disable_tqdm=True, report_to=[],
            logging_strategy="no", save_strategy="no", eval_strategy="no", logging_nan_inf_filter=False,
            accelerator_config={"dispatch_batches": False, "even_batches": False},
        )  # fmt: skip
        self.objective, self.pad, self.optim_section = objective, pad, optim
        self.evaluation, self.best = evaluation, {"step": 0, "loss": math.inf}
        self.steps, self.steps_per_epoch = steps, steps_per_epoch
        self.facts: dict[str, float] = {}
        plan = step_indices(len(samples), optim.batch_size, steps, seed)
        data = StepData(samples, plan, arguments.world_size)
        super().__init__(model=model, args=arguments, train_dataset=data, data_collator=self.collate)
        # The library's own printers are replaced by ours.
        self.callback_handler.callbacks = [c for c in self.callback_handler.callbacks if "Print" not in type(c).__name__]

    def collate(self, items: Sequence[list[Encoded]]) -> dict[str, Any]:
        """The micro-batches of one step, and its tokens without padding."""
        (samples,) = items
        groups = micro_batches([len(sample.ids) for sample in samples], self.optim_section.micro_batch)
        batches = [pad_right([samples[i] for i in group], self.pad) for group in groups]
        return {"micro_batches": batches, "tokens": sum(len(sample.ids) for sample in samples)}

    def _get_train_sampler(self, train_dataset: Any = None) -> torch.utils.data.Sampler[int]:
        return torch.utils.data.SequentialSampler(self.train_dataset)

    def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> torch.Tensor:
        """Forward and backward of one optimiser step; returns the step's mean loss over supervised tokens."""
        model.train()
        batches = self._prepare_inputs(inputs["micro_batches"])
        supervised = sum(int(batch["supervised"].sum()) for batch in batches)
        counts = torch.tensor([supervised, inputs["tokens"]], device=self.args.device)
        everyone = self.accelerator.reduce(counts, "sum").tolist()  # over all processes
        total = torch.zeros((), device=self.args.device)
        for i, batch in enumerate(batches):
            last = i == len(batches) - 1
            with contextlib.nullcontext() if last else self.accelerator.no_sync(model):
                loss = self.objective(model, batch)
                if not torch.isfinite(loss):
                    raise self._diverged("the loss", loss.item())
                # Engines average gradients over processes, so the share of one process is scaled up before.
                self.accelerator.backward(loss * (self.args.world_size / everyone[0]))
            total += loss.detach()
        mean: torch.Tensor = self.accelerator.reduce(total, "sum") / everyone[0]
        self.facts = {"loss": float(mean), "supervised_tokens": everyone[0], "tokens": everyone[1]}
        return mean

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> float:
        norm = float(super()._get_grad_norm(model, grad_norm=grad_norm))
        if not math.isfinite(norm):
            bad = [name for name, p in model.named_parameters() if p.grad is not None and not torch.isfinite(p.grad).all()]
            raise self._diverged(f"the gradient of {bad[0]!r}" if bad else "the norm of the gradients", norm)
        self.facts["grad_norm"] = norm
        return norm

    def _diverged(self, what: str, value: float) -> BelleError:
        bad = next((name for name, p in self.model.named_parameters() if not torch.isfinite(p).all()), None)
        where = f"; the first weight that is not finite is {bad!r}" if bad else ""
        fix = "lower optim.learning_rate, or set model.dtype=float32; the same command then needs another output_dir"
        return BelleError(f"{what} became {value} in step {self.state.global_step + 1}{where}", fix)

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """The mean loss over the supervised tokens of the held-out samples; the best weights so far are kept."""
        assert self.evaluation is not None
        self.model.eval()
        total = torch.zeros(2, dtype=torch.float64)
        mine = range(self.args.process_index, len(self.evaluation), self.args.world_size)
        samples = [self.evaluation[i] for i in mine]
        with torch.no_grad():
            for group in micro_batches([len(s.ids) for s in samples], self.optim_section.micro_batch, most_tokens=4096):
                batch = self._prepare_inputs(pad_right([samples[i] for i in group], self.pad))
                with self.accelerator.autocast():
                    loss = self.objective(self.model, batch)
                total += torch.tensor([float(loss), int(batch["supervised"].sum())])
        loss_sum, count = self.accelerator.reduce(total.to(self.args.device), "sum").tolist()
        loss = loss_sum / count
        if loss < self.best["loss"]:
            self.best = {"step": self.state.global_step, "loss": loss}
            if self.args.should_save:
                with atomic_path(Path(self.args.output_dir) / "best") as part:
                    part.mkdir()
                    checkpoint.save_weights(self.accelerator.unwrap_model(self.model), part)
        metrics = {"eval_loss": loss}
        self.control: Any = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        if not self.args.should_save:
            return
        folder = Path(self.args.output_dir)
        with atomic_path(folder / f"step-{self.state.global_step}") as part:
            part.mkdir()
            checkpoint.save_weights(self.accelerator.unwrap_model(model), part)
            checkpoint.save_state(
                part, optimizer=self.optimizer.state_dict(), schedule=self.lr_scheduler.state_dict(),
                random=checkpoint.random_state(), best=self.best,
            )  # fmt: skip
            self.state.save_to_json(str(part / "trainer_state.json"))
        old = sorted(folder.glob("step-*"), key=lambda p: int(p.name.removeprefix("step-")))[:-KEEP]
        for path in old:
            shutil.rmtree(path)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        checkpoint.load_weights(self.model, Path(resume_from_checkpoint))

    def _load_optimizer_and_scheduler(self, checkpoint_path: str | None) -> None:
        if checkpoint_path is None:
            return
        state = checkpoint.load_state(Path(checkpoint_path))
        self.optimizer.load_state_dict(state["optimizer"])
        self.lr_scheduler.load_state_dict(state["schedule"])
        self.best = state["best"]

    def _load_rng_state(self, checkpoint_path: str | None) -> None:
        if checkpoint_path is not None:
            checkpoint.set_random_state(checkpoint.load_state(Path(checkpoint_path))["random"])

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        """The library's estimate reads `input_ids` of a plain batch; `belle bench` counts for itself."""
        return 0

    def load_best(self) -> int | None:
        """Put the best weights back, if evaluation found better ones than the last; returns their step."""
        if self.evaluation is None or self.best["step"] in (0, self.state.global_step):
            return None
        checkpoint.load_weights(self.accelerator.unwrap_model(self.model), Path(self.args.output_dir) / "best")
        return int(self.best["step"])
