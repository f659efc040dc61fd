"""What training tells while it runs: metrics.jsonl, the progress bar, and when to evaluate and save."""

from __future__ import annotations

import math
import sys
import time
from typing import Any

import torch
from transformers import TrainerCallback

from belle.jsonl import Appender
from belle.logs import Bar

SAVE_SHARE = 0.03
"""Checkpoints may cost this share of the time when the recipe does not say how often to save."""


class Progress(TrainerCallback):  # type: ignore[misc]
    """Acts after every optimiser step of `trainer`."""

    def __init__(self, metrics: Appender, bar: Bar, save_every: int | None, evaluate_every: int | None, trainer: Any) -> None:
        self.metrics, self.bar, self.trainer = metrics, bar, trainer
        self.save_every, self.evaluate_every = save_every, evaluate_every
        self._save_seconds = 0.0
        self._last_save = 0
        self._mark = time.monotonic()
        self._step_seconds = 0.0

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Start the step's clock."""
        self._mark = time.monotonic()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Log the step and decide what follows it."""
        seconds = time.monotonic() - self._mark
        self._step_seconds = seconds if not self._step_seconds else 0.8 * self._step_seconds + 0.2 * seconds
        facts = self.trainer.facts
        row = {
            "step": state.global_step, "epoch": round(state.global_step / self.trainer.steps_per_epoch, 4),
            "loss": facts["loss"], "grad_norm": facts.get("grad_norm"),
            "learning_rate": self.trainer.lr_scheduler.get_last_lr()[0], "tokens": int(facts["tokens"]),
            "supervised_tokens": int(facts["supervised_tokens"]), "tokens_per_second": round(facts["tokens"] / seconds, 1),
            "memory_gb": peak_memory_gb(), "seconds": round(seconds, 3),
        }  # fmt: skip
        if state.is_world_process_zero:
            self.metrics.write(row)
            self.bar.step(1, f"loss {row['loss']:.3f}  {row['tokens_per_second']:.0f} tok/s  {row['memory_gb']:.1f} GB")
        last = state.global_step >= state.max_steps
        if self.trainer.evaluation is not None:
            control.should_evaluate = last or bool(self.evaluate_every and state.global_step % self.evaluate_every == 0)
        control.should_save = last or self._save_due(state.global_step)
        self._mark = time.monotonic()

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: dict[str, float] | None = None, **kwargs: Any) -> None:
        """Log a held-out loss."""
        if state.is_world_process_zero and metrics:
            self.metrics.write({"step": state.global_step, "eval_loss": metrics["eval_loss"]})
        self._mark = time.monotonic()

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Remember what a checkpoint costs."""
        self._save_seconds = time.monotonic() - self._mark
        self._last_save = state.global_step

    def _save_due(self, step: int) -> bool:
        if self.save_every:
            return step % self.save_every == 0
        pause = math.ceil(self._save_seconds / (SAVE_SHARE * max(self._step_seconds, 1e-6)))
        return step - self._last_save >= pause


def peak_memory_gb() -> float:
    """The most memory held so far: of the GPU where there is one, else of this process. GB is 10^9 bytes."""
    if torch.cuda.is_available():
        return round(torch.cuda.max_memory_allocated() / 1e9, 2)
    try:
        import resource
    except ImportError:  # Windows
        return 0.0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak * (1 if sys.platform == "darwin" else 1024) / 1e9, 2)
