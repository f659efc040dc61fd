"""Teach a base model to follow instructions, by full fine-tuning or LoRA.

Reads conversations of any format, trains on the assistant's turns only, and leaves an adapter (or a model) in output_dir.
The same command again goes on where a stopped run was; kill -9 costs at most the steps since the last checkpoint.

Examples:
  belle sft demo
  belle sft recipes/sft/demo.yaml data.path=my.jsonl output_dir=runs/mine optim.epochs=3
  belle sft demo preview=3          # show three samples with their loss mask, train nothing
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from belle import logs
from belle.config import Section
from belle.errors import BelleError
from belle.jsonl import atomic_path, read_rows, write_rows
from belle.runs import Run, cache_dir
from belle.sections import DataSection, HeldOutSection, LoraSection, ModelSection, OptimSection, Positive, TokensSection

if TYPE_CHECKING:
    from belle.data.chat_template import ChatTemplate
    from belle.data.dataset import TokenDataset
    from belle.data.formats import Loaded


class Config(Section):
    model: ModelSection
    """The model to start from."""
    data: DataSection
    """The conversations to train on."""
    tokens: TokensSection = TokensSection()
    """How conversations become tokens."""
    held_out: HeldOutSection | None = None
    """Watch the loss on samples that are not trained on, and keep the best weights."""
    lora: LoraSection | None = None
    """Train a low-rank adapter; absent means that every weight is trained."""
    optim: OptimSection = OptimSection()
    """The optimiser."""
    output_dir: str
    """The run folder."""
    seed: int = 1234
    """Seed of data order, initialisation and dropout."""
    save_every: Positive | None = None
    """Optimiser steps between two checkpoints; absent means as often as costs at most 3 % of the time."""
    preview: int = 0
    """Print so many samples with their loss mask and stop."""
    overwrite: bool = False
    """Begin anew if output_dir holds an earlier run."""


def plan(config: Config) -> list[str]:
    """What `run` would do."""
    how = f"a LoRA adapter of rank {config.lora.rank}" if config.lora else "every weight"
    return [
        f"read {config.data.path}",
        f"train {how} of {config.model.path} for {config.optim.max_steps or config.optim.epochs} "
        f"{'steps' if config.optim.max_steps else 'epochs'} of {config.optim.batch_size} conversations a step",
        f"write {config.output_dir}/{'adapter' if config.lora else 'model'}",
    ]


def run(config: Config) -> None:
    """Train, or go on, or say that it is done."""
    from belle.data.chat_template import ChatTemplate
    from belle.data.formats import load_records
    from belle.models.load import load_tokenizer, locate, model_dtype, note_model

    if config.preview:
        _preview(config)
        return
    run = Run.open("sft", config, config.output_dir, config.overwrite)
    if run.finished:
        logs.say(f"already finished: {run.path} (overwrite=true trains it anew)")
        _summary(run)
        return
    found = locate(config.model.path)
    if found.adapter is not None:
        raise BelleError(f"{config.model.path!r} is an adapter", f"first: belle merge model.path={config.model.path} output_dir=...")
    tokenizer = load_tokenizer(config.model)
    template = ChatTemplate.load(tokenizer, config.model.template)
    loaded = load_records(config.data)
    samples, held_out = _samples(config, loaded, tokenizer, template)
    model = _model(config)
    for path, records in loaded.files:
        if Path(path).exists():
            run.add_input("data", Path(path), records=records)
    note_model(run, found)
    write_rows(run.path / "dropped.jsonl", [*loaded.dropped, *map(vars, samples.lost)])
    run.note(data=_data_facts(loaded, samples), template=template.name, dtype=str(model_dtype(config.model.dtype)).removeprefix("torch."))
    _tell_data(run)
    _train(config, run, model, samples, held_out, tokenizer, template, found.base)
    _summary(run)


def _samples(
    config: Config, loaded: Loaded, tokenizer: Any, template: ChatTemplate
) -> tuple[TokenDataset, TokenDataset | None]:
    """The samples to train on and those to watch."""
    import numpy as np

    from belle.data.dataset import tokenize
    from belle.data.formats import load_records

    cache = cache_dir() / "tokens"
    samples = tokenize(loaded.records, tokenizer, template, config.tokens, cache)
    section = config.held_out
    if section is None:
        return samples, None
    if section.path:
        other = load_records(DataSection(path=section.path))
        return samples, tokenize(other.records, tokenizer, template, config.tokens, cache)
    order = np.random.default_rng([config.seed, len(samples)]).permutation(len(samples))
    count = round(len(samples) * section.share)
    if not 0 < count < len(samples):
        raise BelleError(f"held_out.share {section.share} of {len(samples)} samples leaves nothing to watch or to train on")
    train = samples.subset(np.sort(order[count:]).tolist())
    train.lost.extend(samples.lost)
    return train, samples.subset(np.sort(order[:count]).tolist())


def _model(config: Config) -> Any:
    """The model as it is trained: with a fresh adapter, or with all its weights in float32."""
    import torch
    from transformers import set_seed

    from belle.models.load import load_model, model_dtype
    from belle.models.lora import add_lora

    compute = model_dtype(config.model.dtype)
    if compute == torch.float16:
        raise BelleError("training in float16 overflows without loss scaling", "set model.dtype to bfloat16 or float32")
    set_seed(config.seed)
    # Frozen weights are held in the type they are used in; trained ones are always float32.
    model = load_model(config.model, dtype=compute if config.lora else torch.float32)
    return add_lora(model, config.lora) if config.lora else model


def _train(
    config: Config,
    run: Run,
    model: Any,
    samples: TokenDataset,
    held_out: TokenDataset | None,
    tokenizer: Any,
    template: ChatTemplate,
    base: str,
) -> None:
    import torch

    from belle.models.load import model_dtype
    from belle.train import checkpoint
    from belle.train.language_model import answer_loss
    from belle.train.progress import Progress
    from belle.train.trainer import StepTrainer

    compute = model_dtype(config.model.dtype)
    kept_dtype = model.config.dtype if config.lora else model_dtype_of(base, model)
    folder = run.path / "checkpoints"
    resume = checkpoint.latest(folder)
    step = int(resume.name.removeprefix("step-")) if resume else 0
    if resume:
        logs.say(f"going on from {resume}")
    with run.metrics_file(upto_step=step) as metrics:
        trainer_args = (model, answer_loss, samples, tokenizer.pad_token_id or 0, config.optim, folder, config.seed)
        trainer = StepTrainer(*trainer_args, autocast=compute == torch.bfloat16, evaluation=held_out)
        every = (config.held_out.every if config.held_out else None) or max(1, trainer.steps // 4)
        with logs.Bar("training", trainer.steps) as bar:
            bar.skip(step)
            progress = Progress(metrics, bar, config.save_every, every, trainer)
            trainer.add_callback(progress)
            trainer.train(resume_from_checkpoint=str(resume) if resume else None)
    best = trainer.load_best()
    if best:
        logs.say(f"kept the weights of step {best}, the best on the held-out samples (loss {trainer.best['loss']:.4f})")
    _save(config, run, model, tokenizer, template, base, kept_dtype)
    run.finish(_metrics(run, model, trainer), {"adapter": "adapter"} if config.lora else {"model": "model"})


def model_dtype_of(base: str, model: Any) -> Any:
    """The type that the checkpoint's own weights are stored in."""
    import torch
    from transformers import AutoConfig

    stored = getattr(AutoConfig.from_pretrained(base), "dtype", None) if Path(base).is_dir() else None
    return stored if isinstance(stored, torch.dtype) else model.dtype


def _save(config: Config, run: Run, model: Any, tokenizer: Any, template: ChatTemplate, base: str, dtype: Any) -> None:
    from belle.models.load import write_belonging

    template.attach(tokenizer)
    with atomic_path(run.path / ("adapter" if config.lora else "model")) as part:
        if config.lora:
            # The base is named as the recipe names it, so that the adapter can be read on another machine.
            model.peft_config["default"].base_model_name_or_path = config.model.path
            model.save_pretrained(part)
            write_belonging(part, base, template.end_token_ids)
        else:
            model.generation_config.eos_token_id = list(template.end_token_ids)
            model.to(dtype).save_pretrained(part)
        tokenizer.save_pretrained(part)


def _metrics(run: Run, model: Any, trainer: Any) -> dict[str, Any]:
    rows = list(read_rows(run.path / "metrics.jsonl"))
    steps = [row for row in rows if "loss" in row]
    evaluations = [row["eval_loss"] for row in rows if "eval_loss" in row]
    tail = steps[-max(1, len(steps) // 10) :]
    seconds = sum(row["seconds"] for row in steps)
    facts = {
        "steps": len(steps), "loss_first": steps[0]["loss"], "loss_last": sum(r["loss"] for r in tail) / len(tail),
        "tokens": sum(r["tokens"] for r in steps), "supervised_tokens": sum(r["supervised_tokens"] for r in steps),
        "seconds": round(seconds, 1), "tokens_per_second": round(sum(r["tokens"] for r in steps) / seconds, 1),
        "peak_memory_gb": max(r["memory_gb"] for r in steps),
        "trainable_parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "parameters": sum(p.numel() for p in model.parameters()),
    }  # fmt: skip
    return facts | ({"eval_loss": min(evaluations), "best_step": trainer.best["step"]} if evaluations else {})


def _data_facts(loaded: Loaded, samples: TokenDataset) -> dict[str, Any]:
    return {
        "records": len(loaded.records),
        "categories": dict(Counter(r.category for r in loaded.records if r.category)),
        "languages": dict(Counter(r.language for r in loaded.records if r.language)),
        "normalised": loaded.counts,
        "unreadable": len(loaded.dropped),
        **samples.statistics(),
    }


def _tell_data(run: Run) -> None:
    facts = run.info["notes"]["data"]
    tokens = facts["tokens"]
    logs.say(
        f"{facts['records']} conversations, {facts['samples']} to train on; tokens a sample: {tokens['min']} to {tokens['max']}, "
        f"median {tokens['median']}; {tokens['total']} in all, {tokens['supervised']} of them trained"
    )
    for name in ("normalised", "dropped", "cut"):
        for reason, count in facts[name].items():
            logs.warn(f"{name}: {count} x {reason}")
    if facts["unreadable"] or facts["dropped"] or facts["cut"]:
        logs.warn(f"each of them with its reason is in {run.path / 'dropped.jsonl'}")


def _summary(run: Run) -> None:
    m = run.info["metrics"]
    held_out = f", held-out {m['eval_loss']:.3f} (step {m['best_step']})" if "eval_loss" in m else ""
    logs.say(
        f"loss {m['loss_first']:.3f} -> {m['loss_last']:.3f}{held_out}; {m['steps']} steps, {m['tokens']} tokens at "
        f"{m['tokens_per_second']:.0f} a second, {m['peak_memory_gb']:.1f} GB, {m['trainable_parameters']:,} trained weights"
    )
    logs.say(f"next: belle chat {run.path}   or   belle merge model.path={run.path} output_dir={run.path}-merged")


def _preview(config: Config) -> None:
    from belle.data.chat_template import ChatTemplate, preview
    from belle.data.formats import load_records
    from belle.models.load import load_tokenizer

    tokenizer = load_tokenizer(config.model)
    template = ChatTemplate.load(tokenizer, config.model.template)
    for record in load_records(config.data.model_copy(update={"limit": config.preview})).records:
        encoded = template.encode(record, config.tokens.train)
        logs.title(f"{record.source} {record.id}: {len(encoded.ids)} tokens, {sum(encoded.mask)} of them trained (green)")
        logs.console().print(preview(tokenizer, encoded))
