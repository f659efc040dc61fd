"""From a trainer to a finished training: resume, watch, keep the best, sum up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from belle import logs
from belle.jsonl import read_rows
from belle.runs import Run
from belle.train import checkpoint
from belle.train.progress import Progress
from belle.train.trainer import StepTrainer


def fit(trainer: StepTrainer, run: Run, save_every: int | None, evaluate_every: int | None) -> dict[str, Any]:
    """Train to the end, from the last checkpoint where there is one, and leave the best weights in the model.

    Args:
        trainer: its `output_dir` is where the checkpoints lie.
        save_every: steps between two checkpoints; None is as often as they are cheap.
        evaluate_every: steps between two evaluations; None is four times in all.

    Returns:
        What stands under `metrics` in run.json.
    """
    resume = checkpoint.latest(Path(trainer.args.output_dir))
    step = int(resume.name.removeprefix("step-")) if resume else 0
    if resume:
        logs.say(f"going on from {resume}")
    with run.metrics_file(upto_step=step) as metrics, logs.Bar("training", trainer.steps) as bar:
        bar.skip(step)
        trainer.add_callback(Progress(metrics, bar, save_every, evaluate_every or max(1, trainer.steps // 4), trainer))
        trainer.train(resume_from_checkpoint=str(resume) if resume else None)
    if best := trainer.load_best():
        logs.say(f"kept the weights of step {best}, the best on the held-out samples (loss {trainer.best['loss']:.4f})")
    return _metrics(list(read_rows(run.path / "metrics.jsonl")), trainer)


def summary(metrics: dict[str, Any]) -> str:
    """One line about a finished training."""
    m = metrics
    held_out = f", held-out {m['eval_loss']:.3f} (step {m['best_step']})" if "eval_loss" in m else ""
    return (
        f"loss {m['loss_first']:.3f} -> {m['loss_last']:.3f}{held_out}; {m['steps']} steps, {m['tokens']} tokens at "
        f"{m['tokens_per_second']:.0f} a second, {m['peak_memory_gb']:.1f} GB, {m['trainable_parameters']:,} trained weights"
    )


def _metrics(rows: list[dict[str, Any]], trainer: StepTrainer) -> dict[str, Any]:
    steps = [row for row in rows if "loss" in row]
    evaluations = [row["eval_loss"] for row in rows if "eval_loss" in row]
    tail = steps[-max(1, len(steps) // 10) :]
    seconds = sum(row["seconds"] for row in steps)
    tokens = sum(row["tokens"] for row in steps)
    sizes = [(p.numel(), p.requires_grad) for p in trainer.model.parameters()]
    facts = {
        "steps": len(steps), "loss_first": steps[0]["loss"], "loss_last": sum(r["loss"] for r in tail) / len(tail),
        "tokens": tokens, "supervised_tokens": sum(r["supervised_tokens"] for r in steps),
        "seconds": round(seconds, 1), "tokens_per_second": round(tokens / seconds, 1),
        "peak_memory_gb": max(r["memory_gb"] for r in steps),
        "trainable_parameters": sum(n for n, trained in sizes if trained), "parameters": sum(n for n, _ in sizes),
    }  # fmt: skip
    return facts | ({"eval_loss": min(evaluations), "best_step": trainer.best["step"]} if evaluations else {})
