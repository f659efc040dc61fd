"""Check this machine and, given a recipe of any verb, say what would go wrong and what to change.

Looks at package versions, processor, accelerator, memory against an estimate for this model and recipe, disk, the data (does
it load, how long are its samples), the template (is the loss mask exact) and the output folder. Nothing is downloaded,
trained or written. Leaves with exit code 2 if something would fail.

Examples:
  belle doctor
  belle doctor recipes/sft/demo.yaml
  belle doctor sft/demo overrides='[data.path=my.jsonl, optim.micro_batch=2]' json=true
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from belle import logs
from belle.config import Section, find_recipe, load, shipped
from belle.errors import BelleError, Finding, nearest
from belle.jsonl import dumps
from belle.runs import cache_dir, earlier_run, read_run

if TYPE_CHECKING:
    from belle.data.chat_template import Encoded
    from belle.models.memory import Size

POSITIONAL = "recipe"

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # `json` is the name of an old method of pydantic's models, which nothing here calls

    class Config(Section):
        """What to check."""

        recipe: str | None = None
        """A recipe of any verb: a file, or VERB/NAME for a shipped one; absent means the machine alone."""
        verb: str | None = None
        """The verb of the recipe, where its folder's name does not tell it."""
        overrides: tuple[str, ...] = ()
        """What would be written behind the recipe on the command line, as key=value."""
        json: bool = False  # type: ignore[assignment]
        """Print the findings as one JSON object on standard output instead of a table."""


def plan(config: Config) -> list[str]:
    """What `run` would do."""
    return ["check this machine", *([f"check the recipe {config.recipe}"] if config.recipe else [])]


def run(config: Config) -> None:
    """Check, print, and raise if anything would fail."""
    from belle.models.machine import check_disk, check_machine

    findings = [*check_machine(), check_disk("cache", cache_dir(), 0)]
    if config.recipe:
        findings += _guarded("recipe", lambda: _check_recipe(config))
    elif config.verb or config.overrides:
        raise BelleError("verb and overrides belong to a recipe, and none is given", "belle doctor RECIPE verb=...")
    if config.json:
        logs.out(dumps({"findings": [{k: getattr(f, k) for k in ("level", "check", "found", "fix")} for f in findings]}))
    else:
        logs.table(["", "check", "found", "what to do"], [[f.level, f.check, f.found, f.fix] for f in findings])
    errors = [finding for finding in findings if finding.level == "error"]
    if errors:
        count = "1 thing" if len(errors) == 1 else f"{len(errors)} things"
        raise BelleError(f"{count} would go wrong; {errors[0].check}: {errors[0].found}", errors[0].fix)
    doubts = sum(finding.level == "warning" for finding in findings)
    logs.say(f"all is well{f', with {doubts} warnings' if doubts > 1 else ', with 1 warning' if doubts else ''}")


def _guarded(check: str, work: Callable[[], Any]) -> list[Finding]:
    """The findings of a check; its BelleError becomes one."""
    findings: list[Finding] = []
    try:
        findings.extend(work())
    except BelleError as error:
        findings.append(Finding("error", check, error.message, error.fix or f"mend the {check}"))
    return findings


def _check_recipe(config: Config) -> Iterator[Finding]:
    from belle.models.machine import check_disk

    verb, file = _find(config)
    module = importlib.import_module(f"belle.commands.{verb}")
    recipe: Any = load(module.Config, file, config.overrides)
    yield Finding("ok", "recipe", f"{file}: a recipe of {verb}, without a mistake")
    need = 0
    if hasattr(recipe, "model") and isinstance(recipe.model, Section):
        found, size = _model(verb, recipe)
        yield from found
        samples: list[Encoded] = []  # filled by `_data`
        if hasattr(recipe, "data") and size is not None:
            yield from _guarded("data", lambda: _data(verb, recipe, samples))
        if size is not None:
            yield _memory(verb, recipe, size, samples)
            need = _disk_need(verb, recipe, size)
    if folder := getattr(recipe, "output_dir", None):
        yield from _guarded("output_dir", lambda: [_output(verb, recipe, folder)])
        yield check_disk("disk", Path(folder), need)


def _find(config: Config) -> tuple[str, Path]:
    """The verb and the file of the recipe."""
    verbs = sorted(path.stem for path in Path(__file__).parent.glob("[a-z]*.py"))  # a file of this folder is a verb
    name = Path(config.recipe or "")
    if config.verb and config.verb not in verbs:
        raise BelleError(f"unknown verb {config.verb!r}.{nearest(config.verb, verbs)}", "`belle --help` lists the verbs")
    if (name.parent / "run.json").is_file():
        verb = str(read_run(name.parent)["verb"])  # the recipe.yaml of a run
    else:
        verb = config.verb or name.absolute().parent.name
    if verb in verbs:
        return verb, find_recipe(verb, str(name) if name.is_file() else name.name)
    known = [f"{path.parent.name}/{path.stem}" for path in sorted(shipped("recipes").glob("*/*.yaml"))]
    if not name.is_file():
        hint = nearest(str(config.recipe), known)
        raise BelleError(f"no recipe {config.recipe!r}.{hint}", f"name a file, or one of {', '.join(known)}")
    raise BelleError(f"{config.recipe}: the folder's name is no verb, so the recipe's is not known", "name it: verb=sft")


def _model(verb: str, recipe: Any) -> tuple[list[Finding], Size | None]:
    """What the model is, and its size where its files are here."""
    from transformers import AutoConfig

    from belle.models.embedded import MODELS
    from belle.models.load import locate
    from belle.models.memory import size_of

    name = recipe.model.path.removeprefix("embedded:")
    if name in MODELS and recipe.model.path != name and not (cache_dir() / "models" / name / "model.safetensors").exists():
        found = f"{recipe.model.path} is fetched at its first use (100 MB, then 0.6 GB in {cache_dir()}); not checked further"
        return [Finding("warning", "model", found, "run any verb with it once, then this again")], None
    try:
        located = locate(recipe.model.path)
        config = AutoConfig.from_pretrained(located.base, revision=recipe.model.revision)
        size = size_of(config)
    except BelleError as error:
        return [Finding("error", "model", error.message, error.fix)], None
    except Exception as error:  # of the libraries: a broken config.json, an unknown architecture, no network
        return [Finding("error", "model", f"{recipe.model.path}: {str(error).splitlines()[0][:200]}", "check model.path")], None
    what = f"{config.model_type}, {size.parameters / 1e6:,.1f} million weights, context {size.context or 'unlimited'}"
    adapter = f", with the adapter {located.adapter}" if located.adapter else ""
    return [Finding("ok", "model", f"{located.base}: {what}{adapter}"), *_fits(verb, recipe, located.adapter, size)], size


def _fits(verb: str, recipe: Any, adapter: Path | None, size: Size) -> Iterator[Finding]:
    """What this verb cannot do with this model."""
    from belle.models.load import model_dtype

    path = recipe.model.path
    if verb == "merge" and adapter is None:
        found = f"{path!r} has no adapter to merge: it is a whole model"
        yield Finding("error", "model", found, "name the run of a LoRA training")
    if verb != "sft":
        return
    if adapter is not None:
        yield Finding("error", "model", f"{path!r} is an adapter", f"first: belle merge model.path={path} output_dir=...")
    if str(model_dtype(recipe.model.dtype)) == "torch.float16":
        found = "training in float16 overflows without loss scaling"
        yield Finding("error", "arithmetic", found, "set model.dtype to bfloat16 or float32")
    names = sorted({name for name, _, _ in size.linear})
    targets = () if recipe.lora is None or recipe.lora.targets == "all-linear" else recipe.lora.targets
    for target in (targets,) if isinstance(targets, str) else targets:
        if target not in names:
            found = f"lora.targets: no linear layer {target!r}.{nearest(target, names)}"
            yield Finding("error", "model", found, f"choose from [{', '.join(names)}]")


def _data(verb: str, recipe: Any, samples: list[Encoded]) -> Iterator[Finding]:
    """Data and template; the encoded conversations are left in `samples`."""
    from belle.data import checks
    from belle.data.chat_template import ChatTemplate
    from belle.data.formats import load_records
    from belle.models.load import load_tokenizer
    from belle.sections import DataSection, TokensSection

    loaded = load_records(recipe.data)
    records: Any = loaded.records
    yield from checks.check_loaded(loaded)
    tokenizer = load_tokenizer(recipe.model)
    template = ChatTemplate.load(tokenizer, recipe.model.template)
    yield checks.check_template(records, template, tokenizer)
    tokens = getattr(recipe, "tokens", TokensSection())
    samples.extend(template.encode(record, tokens.train) for record in records[: checks.MEASURED])
    if verb != "sft":
        return
    yield checks.check_lengths(samples, tokens, len(records))
    held_out = recipe.held_out
    if held_out is not None and held_out.path:
        yield checks.check_overlap(records, _conversations(load_records(DataSection(path=held_out.path))), held_out.path)
    elif held_out is not None:
        yield checks.check_twins(records)
    questions = "shipped:evaluation.jsonl"
    yield checks.check_overlap(records, _conversations(load_records(DataSection(path=questions))), questions)


def _conversations(loaded: Any) -> Any:
    return loaded.records


def _memory(verb: str, recipe: Any, size: Size, samples: list[Encoded]) -> Finding:
    """The estimate of this verb, with what the data really holds where it could be read."""
    from belle.data.checks import largest_pass
    from belle.data.packing import micro_batches, step_indices
    from belle.models import memory
    from belle.models.load import model_dtype
    from belle.models.machine import check_memory, free_memory

    width = model_dtype(recipe.model.dtype).itemsize
    if verb == "merge":
        estimate, fix = memory.merging_memory(size), "merge on a machine with more memory"
    elif verb == "sft":
        rows = min(recipe.optim.micro_batch or recipe.optim.batch_size, recipe.optim.batch_size)
        tokens, supervised = (rows * recipe.tokens.cutoff,) * 2  # nothing is known: full rows
        kept = [sample for sample in samples if len(sample.ids) <= recipe.tokens.cutoff]
        if kept:
            steps = step_indices(len(kept), recipe.optim.batch_size, -(-len(kept) // recipe.optim.batch_size), recipe.seed)
            groups = [
                [step[i] for i in group]
                for step in steps
                for group in micro_batches([len(kept[i].ids) for i in step], recipe.optim.micro_batch)
            ]
            tokens, supervised = largest_pass(kept, groups)
        estimate = memory.training_memory(size, recipe.lora, width, tokens, supervised)
        fix = f"optim.micro_batch={max(1, rows // 2)} halves the activations" if rows > 1 else "lower tokens.cutoff"
        fix += "" if recipe.lora else "; or train an adapter: lora.rank=16"
    else:
        rows = getattr(recipe, "batch_size", 1)
        longest = max((len(sample.ids) for sample in samples), default=size.context or 1024)
        estimate = memory.generation_memory(size, width, rows * (longest + recipe.generation.max_new_tokens), rows)
        fix = "lower batch_size" if rows > 1 else "choose a smaller model"
    return check_memory(estimate.total, str(estimate), free_memory(), fix)


def _disk_need(verb: str, recipe: Any, size: Size) -> int:
    """Bytes that the run folder may come to hold at once: product, checkpoints with moments, the best weights."""
    from belle.models.memory import lora_parameters

    if verb == "sft":
        trained = lora_parameters(size, recipe.lora) if recipe.lora else size.parameters
        return 4 * trained * (3 * 3 + 2)  # two checkpoints and one being written, of weights and two moments; best; product
    return 4 * size.parameters if verb == "merge" else 10_000_000


def _output(verb: str, recipe: Any, folder: str) -> Finding:
    info = earlier_run(verb, recipe, folder, getattr(recipe, "overwrite", False))
    if info is None:
        return Finding("ok", "output_dir", f"{folder}: a new run")
    done = info["status"] == "finished"
    return Finding("ok", "output_dir", f"{folder}: {'finished already' if done else 'an interrupted run, which goes on'}")
