"""Fold a LoRA adapter into its base and prove that the result answers like the pair.

The merged model keeps the base's type, the chat template it was trained with and every end token; it is an ordinary folder
in the Hugging Face layout. An adapter of another base, and a merge that changes nothing, are refused.

Examples:
  belle merge model.path=runs/demo/sft output_dir=runs/demo/merged
  belle merge runs/demo/sft output_dir=runs/demo/merged prompts.path=my.jsonl
"""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from belle import logs
from belle.config import Section
from belle.errors import BelleError
from belle.runs import Run
from belle.sections import DataSection, ModelSection

if TYPE_CHECKING:
    from belle.data.chat_template import ChatTemplate

POSITIONAL = "model.path"
TOLERANCE = {"float32": 1e-3, "bfloat16": 0.5, "float16": 0.1}
"""The largest difference of a logit that rounding alone explains, by the type the merged weights are stored in."""
PROMPTS = 8


class Config(Section):
    """What to merge, and where the model goes."""

    model: ModelSection
    """The run of an SFT, or the folder of an adapter."""
    prompts: DataSection = DataSection(path="shipped:evaluation.jsonl")
    """Conversations whose prompts are put to both, the unmerged pair and the merged model read back from the disk."""
    output_dir: str
    """The merged model, and the run folder."""
    overwrite: bool = False
    """Begin anew if output_dir holds an earlier run."""


def plan(config: Config) -> list[str]:
    """What `run` would do."""
    return [
        f"fold the adapter of {config.model.path} into its base",
        f"compare both on {PROMPTS} prompts of {config.prompts.path}",
        f"write the model into {config.output_dir}",
    ]


def run(config: Config) -> None:
    """Merge, write, read back, compare."""
    import torch

    from belle.data.chat_template import ChatTemplate
    from belle.models.load import load_model, load_tokenizer, locate, note_model
    from belle.models.merge import last_logits, merge_adapter
    from belle.models.save import save_model, stored_dtype

    run = Run.open("merge", config, config.output_dir, config.overwrite)
    if run.finished:
        logs.say(f"already finished: {run.path} (overwrite=true merges anew)")
        _summary(run)
        return
    found = locate(config.model.path)
    if found.adapter is None:
        raise BelleError(f"{config.model.path!r} has no adapter to merge: it is a whole model", "name the run of a LoRA training")
    tokenizer = load_tokenizer(config.model)
    template = ChatTemplate.load(tokenizer, config.model.template)
    prompts = _prompts(config, template)
    plain = config.model.model_copy(update={"path": found.base})
    dtype = stored_dtype(found.base)
    with logs.doing(f"merged into {dtype} weights"):
        pair = load_model(config.model, torch.float32)
        unmerged = last_logits(pair, prompts)
        del pair
        merged, changed = merge_adapter(load_model(plain, torch.float32), found)
        note_model(run, found)  # from here on, the folder is this run's
        template.attach(tokenizer)
        save_model(merged, tokenizer, run.path / PART, dtype, template.end_token_ids)
        del merged
    written = load_model(config.model.model_copy(update={"path": str(run.path / PART)}), torch.float32)
    pairs = list(zip(unmerged, last_logits(written, prompts), strict=True))
    difference = max(float((a - b).abs().max()) for a, b in pairs)
    same = sum(int(a.argmax() == b.argmax()) for a, b in pairs)
    name = str(dtype).removeprefix("torch.")
    if not difference <= TOLERANCE[name]:
        what = f"the merged model differs from the pair by {difference:.3g} in a logit, more than {TOLERANCE[name]} for {name}"
        raise BelleError(what, "merge in float32: set model.dtype=float32")
    _put_in_place(run.path)
    metrics = {"max_logit_difference": difference, "prompts": len(pairs), "same_next_token": same, "changed_tensors": changed}
    run.finish(metrics | {"dtype": name}, {"model": "."})
    _summary(run)


PART = ".merged.part"
"""Where the model waits in the run folder until it is proven."""


def _prompts(config: Config, template: ChatTemplate) -> list[list[int]]:
    """The prompts of the first conversations, spread over the file so that all its classes are met."""
    from belle.data.formats import load_records

    records = load_records(config.prompts).records
    prompts = []
    for record in records[:: max(1, len(records) // PROMPTS)][:PROMPTS]:
        last_user = max(i for i, message in enumerate(record.messages) if message.role != "assistant")
        prompts.append(template.prompt(record.messages[: last_user + 1], record.tools))
    return prompts


def _put_in_place(folder: Path) -> None:
    """Move the proven files up; config.json goes last, so that nothing takes a half-moved folder for a model."""
    part = folder / PART
    for path in sorted(part.iterdir(), key=lambda p: (p.name == "config.json", p.name)):
        path.replace(folder / path.name)
    part.rmdir()


def _summary(run: Run) -> None:
    m = run.info["metrics"]
    logs.say(
        f"merged = unmerged on {m['prompts']} prompts: largest difference of a logit {m['max_logit_difference']:.2g}, "
        f"same next token {m['same_next_token']}/{m['prompts']}; {m['changed_tensors']} tensors changed, stored as {m['dtype']}"
    )
    logs.say(f"next: belle chat {quote(str(run.path))}")
