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
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from belle import logs
from belle.config import Section
from belle.errors import BelleError
from belle.jsonl import write_rows
from belle.runs import Run, cache_dir
from belle.sections import DataSection, HeldOutSection, LoraSection, ModelSection, OptimSection, Positive, TokensSection

if TYPE_CHECKING:
    from belle.data.chat_template import ChatTemplate
    from belle.data.dataset import TokenDataset
    from belle.data.formats import Loaded
    from belle.records import Conversation


class Config(Section):
    """What to train, on what, how."""

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
    preview: Annotated[int, Field(ge=0)] = 0
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
    from belle.data.dataset import Lost
    from belle.data.formats import load_records
    from belle.models.load import load_tokenizer, locate, note_model
    from belle.models.save import save_adapter, save_model, stored_dtype
    from belle.train.language_model import answer_loss
    from belle.train.loop import fit
    from belle.train.trainer import StepTrainer

    if config.preview:
        _preview(config)
        return
    run = Run.open("sft", config, config.output_dir, config.overwrite)
    if run.finished:
        logs.say(f"already finished: {run.path} (overwrite=true trains it anew)")
        _tell_result(run)
        return
    found = locate(config.model.path)
    if found.adapter is not None:
        first = f"belle merge model.path={config.model.path} output_dir=..."
        raise BelleError(f"{config.model.path!r} is an adapter, and an adapter is not put on another", f"first: {first}")
    tokenizer = load_tokenizer(config.model)
    template = ChatTemplate.load(tokenizer, config.model.template)
    loaded = load_records(config.data)
    bad = [record for record in loaded.records if record.label is False]  # KTO's thumb down: not an answer to learn
    good = [record for record in loaded.records if record.label is not False]
    samples, held_out, watched = _samples(config, good, tokenizer, template)
    samples.lost.extend(Lost(str(r.source), r.id, "label is false: an answer not to learn", dropped=True) for r in bad)
    model, autocast = _model(config)

    # From here on the folder is this run's.
    for path, records in loaded.files:
        if Path(path).exists():
            run.add_input("data", Path(path), records=records)
    for path, records in watched:
        if Path(path).exists():
            run.add_input("held out", Path(path), records=records)
    note_model(run, found)
    write_rows(run.path / "dropped.jsonl", [*({**row, "dropped": True} for row in loaded.dropped), *map(vars, samples.lost)])
    dtype = str(next(model.parameters()).dtype).removeprefix("torch.") + (", computed in bfloat16" if autocast else "")
    run.note(data=_data_facts(loaded, samples), template=template.name, dtype=dtype)
    _tell_data(run)
    folder = run.path / "checkpoints"
    pad = tokenizer.pad_token_id
    trainer = StepTrainer(model, answer_loss, samples, pad, config.optim, folder, config.seed, autocast, held_out)
    metrics = fit(trainer, run, config.save_every, config.held_out.every if config.held_out else None)
    template.attach(tokenizer)
    if config.lora:
        save_adapter(model, tokenizer, run.path / "adapter", found, config.model.path)
    else:
        save_model(model, tokenizer, run.path / "model", stored_dtype(found.base), template.end_token_ids)
    run.finish(metrics, {"adapter": "adapter"} if config.lora else {"model": "model"})
    _tell_result(run)


def _samples(
    config: Config, records: list[Conversation], tokenizer: Any, template: ChatTemplate
) -> tuple[TokenDataset, TokenDataset | None, list[tuple[str, int]]]:
    """The samples to train on, those to watch, and the files that the latter came from if they have their own."""
    from dataclasses import replace

    from belle.data.dataset import tokenize
    from belle.data.formats import load_records

    cache = cache_dir() / "tokens"
    samples = tokenize(records, tokenizer, template, config.tokens, cache)
    if config.held_out is None:
        return samples, None, []
    if config.held_out.path:
        other = load_records(DataSection(path=config.held_out.path))
        held_out = tokenize(other.records, tokenizer, template, config.tokens, cache)
        samples.lost.extend(replace(item, reason=f"{item.reason} (held out)") for item in held_out.lost)
        return samples, held_out, other.files
    return *samples.split(config.held_out.share, config.seed), []


def _model(config: Config) -> tuple[Any, bool]:
    """The model as it is trained, and whether it computes in bfloat16 (autocast).

    Frozen weights are held in the type they are used in; trained ones are always float32.
    """
    import torch
    from transformers import set_seed

    from belle.models.load import load_model, model_dtype
    from belle.models.lora import add_lora

    compute = model_dtype(config.model.dtype)
    if compute == torch.float16:
        raise BelleError("training in float16 overflows without loss scaling", "set model.dtype to bfloat16 or float32")
    set_seed(config.seed)
    model = load_model(config.model, dtype=compute if config.lora else torch.float32)
    return add_lora(model, config.lora) if config.lora else model, compute == torch.bfloat16


def _data_facts(loaded: Loaded[Conversation], samples: TokenDataset) -> dict[str, Any]:
    from belle.data.dataset import kind_of

    return {
        "records": len(loaded.records),
        "categories": dict(Counter(r.category for r in loaded.records if r.category)),
        "languages": dict(Counter(r.language for r in loaded.records if r.language)),
        "noticed": loaded.counts,
        "malformed": dict(Counter(kind_of(row["reason"]) for row in loaded.dropped)),
        **samples.statistics(),
    }


def _tell_data(run: Run) -> None:
    facts = run.info["notes"]["data"]
    tokens = facts["tokens"]
    logs.say(
        f"{facts['records']} conversations, {facts['samples']} to train on; tokens a sample: {tokens['min']} to {tokens['max']}, "
        f"median {tokens['median']}; {tokens['total']} in all, {tokens['supervised']} of them trained"
    )
    for name in ("noticed", "malformed", "dropped", "cut"):
        for reason, count in facts[name].items():
            logs.warn(f"{name}: {count} x {reason}")
    if facts["malformed"] or facts["dropped"] or facts["cut"]:
        logs.warn(f"each of them with its reason is in {run.path / 'dropped.jsonl'}")


def _tell_result(run: Run) -> None:
    from belle.train.loop import summary

    logs.say(summary(run.info["metrics"]))
    path, merged = quote(str(run.path)), quote(f"{run.path}-merged")
    logs.say(f"next: belle chat {path}   or   belle merge {path} output_dir={merged}")


def _preview(config: Config) -> None:
    from belle.data.chat_template import ChatTemplate, Encoded, preview
    from belle.data.formats import load_records
    from belle.models.load import load_tokenizer

    tokenizer = load_tokenizer(config.model)
    template = ChatTemplate.load(tokenizer, config.model.template)
    loaded = load_records(config.data.model_copy(update={"limit": config.preview}))
    for what, count in loaded.counts.items():
        logs.warn(f"noticed: {count} x {what}")
    for record in loaded.records:
        encoded = template.encode(record, config.tokens.train)
        length, cutoff = len(encoded.ids), config.tokens.cutoff
        if length > cutoff:
            policy = f"shown up to it; tokens.overlong is {config.tokens.overlong}"
            logs.warn(f"{record.source}: {length} tokens > cutoff {cutoff}, {policy}")
            encoded = Encoded(encoded.ids[:cutoff], encoded.mask[:cutoff])
        if not any(encoded.mask[1:]) or record.label is False:
            logs.warn(f"{record.source}: nothing of it would be trained")
        logs.title(f"{record.source} {record.id}: {len(encoded.ids)} tokens, {sum(encoded.mask)} of them trained (green)")
        logs.console().print(preview(tokenizer, encoded))
