"""Make a model smaller: weights of 2, 3, 4 or 8 bits in a folder that GPTQModel, transformers, vLLM and belle read.

GPTQ rounds each layer so that its output on a calibration text changes as little as can be; where that would be worse than
rounding to nearest, the latter is taken and counted. `rtn` only rounds, `awq` scales by activations before it does. One block of
layers is in memory at a time; a run that was stopped goes on behind the last block that it had finished.

Examples:
  belle quantize gptq_int4 model.path=runs/demo/merged
  belle quantize gptq_int4 model.path=runs/demo/merged calibration.path=my_texts.jsonl bits=3 output_dir=runs/demo/int3
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from belle import logs
from belle.config import Section
from belle.errors import BelleError
from belle.jsonl import read_json, read_rows, remove, write_json
from belle.runs import Run
from belle.sections import DataSection, ModelSection, Positive

if TYPE_CHECKING:
    import torch

    from belle.data.chat_template import ChatTemplate
    from belle.models.load import Located
    from belle.quantization.blocks import Walk
    from belle.quantization.whole import Recipe

POSITIONAL = "model.path"
CHINESE, ENGLISH = "shipped:instructions_zh.jsonl", "shipped:instructions_en.jsonl"
BLOCKS = "blocks"


class Config(Section):
    """What to quantise, how, and on which text."""

    model: ModelSection
    """A whole model; an adapter is merged first. `dtype` is that of the calibration's arithmetic."""
    method: Literal["gptq", "rtn", "awq"] = "gptq"
    """gptq, plain rounding to nearest, or rounding after scaling by activations."""
    bits: Literal[2, 3, 4, 8] = 4
    """Bits of a weight."""
    average_bits: Annotated[float, Field(gt=0)] | None = None
    """Give layers different bits, so many on average, by how much each one suffers; takes the place of bits."""
    group_size: int = 128
    """Inputs that share a scale; -1 is all inputs of a layer. The last group is shorter where it does not divide them."""
    symmetric: bool = True
    """The zero point in the middle, as the fastest engines want it; false is better with 2 or 3 bits."""
    act_order: bool = True
    """gptq: round the inputs with the largest activations first."""
    static_groups: bool = True
    """gptq with act_order: groups stay neighbours in the weight, which engines read faster."""
    true_sequential: bool = True
    """Each layer is calibrated on what the quantised layers before it in its block give."""
    search: bool = True
    """Search for the range of each group that costs least, clipping the largest weights."""
    damp: Annotated[float, Field(ge=0)] = 0.01
    """gptq: share of the mean of the Hessian's diagonal that is added to it; ten times more as long as it is not enough."""
    keep: tuple[str, ...] = ()
    """Patterns of layers that stay as they are, such as [down_proj, 'layers\\.0\\.']."""
    calibration: DataSection | None = None
    """Conversations or texts like those the model is for; absent means belle's own Chinese instructions for a model whose
    tokenizer is made for Chinese, and Chinese and English ones for others."""
    samples: Positive = 64
    """Calibration windows."""
    length: Positive = 512
    """Tokens of a window."""
    seed: int = 0
    """Seed of the order in which the calibration records are taken."""
    verify: bool = True
    """Refuse a model in which a check of `belle verify` fails, those aside that let it speak. false goes on all the same."""
    output_dir: str | None = None
    """The run folder, the model in `model` there; absent means beside the model, its name with -METHOD-intBITS."""
    overwrite: bool = False
    """Begin anew where output_dir holds another run."""


def plan(config: Config) -> list[str]:
    """What `run` would do."""
    bits = f"{config.average_bits:g} bits on average" if config.average_bits else f"{config.bits} bits"
    size = f"groups of {config.group_size}" if config.group_size > 0 else "one group a row"
    text = config.calibration.path if config.calibration else "belle's own instructions"
    return [
        f"verify {config.model.path}" if config.verify else f"read {config.model.path} without verifying it",
        *([f"calibrate on {config.samples} windows of {config.length} tokens of {text}"] if config.method != "rtn" else []),
        f"quantise its layers by {config.method} to {bits}, {size}",
        f"write the model into {_folder(config)}/model",
    ]


def run(config: Config) -> None:
    """Check, quantise block by block, write."""
    from belle.models.load import load_tokenizer, locate, note_model
    from belle.release.verify import require_sound

    _check_keys(config)
    run = Run.open("quantize", config, _folder(config), config.overwrite)
    if run.finished:
        logs.say(f"already finished: {run.path} (overwrite=true quantises anew)")
        _summary(run)
        return
    found = locate(config.model.path)
    _check_model(config, found)
    sound = require_sound(config.model, config.verify)
    tokenizer = load_tokenizer(config.model)
    template = _template(config, tokenizer)
    samples, notes = _samples(config, tokenizer, template)
    walk = _walk(config, Path(found.base), samples)
    _warn_of_short_groups(config.group_size, walk)
    note_model(run, found)
    for path in notes.pop("files", ()):
        run.add_input("calibration", path)
    run.note(**notes, **sound)
    if config.method != "rtn":
        with logs.doing(f"read {samples.numel()} calibration tokens into the first of {len(walk.names)} blocks"):
            walk.start()
    recipe = _recipe(config, run, walk)
    layers, wide = _quantise(run, walk, recipe)
    size = _write(config, run, walk, recipe, tokenizer, template, wide)
    run.finish(_metrics(layers, wide, size, Path(found.base), config.damp), {"model": "model"})
    remove(run.path / BLOCKS)
    _summary(run)


def _folder(config: Config) -> str:
    if config.output_dir:
        return config.output_dir
    if config.model.path.startswith("embedded:"):
        raise BelleError(f"{config.model.path!r} is no folder to write beside", "set output_dir")
    bits = "mixed" if config.average_bits is not None else f"int{config.bits}"
    return f"{config.model.path.rstrip('/')}-{config.method}-{bits}"


def _check_keys(config: Config) -> None:
    if config.group_size != -1 and config.group_size < 8:
        raise BelleError(f"group_size={config.group_size} is too small: each group has a scale of 16 bits", "group_size=128")
    if config.average_bits is not None and not 2 <= config.average_bits <= 8:
        raise BelleError(f"average_bits={config.average_bits:g} is not from 2 to 8", "average_bits=3.5")
    if config.average_bits is not None and config.method != "gptq":
        raise BelleError("average_bits goes with method=gptq", "method=gptq")


def _check_model(config: Config, found: Located) -> None:
    """Refuse what cannot be quantised."""
    from belle.models.packed_load import packed_form

    if found.adapter is not None:
        fix = f"belle merge {quote(config.model.path)} first"
        raise BelleError(f"{config.model.path!r} is an adapter on {found.base!r}", fix)
    if not Path(found.base).is_dir():
        raise BelleError(f"{config.model.path!r} is not on this machine", "download it, and give its folder")
    if packed_form(found.base) is not None:
        raise BelleError(f"{config.model.path!r} is quantised already", "quantise the model that it came from")


def _template(config: Config, tokenizer: Any) -> ChatTemplate | None:
    from belle.data.chat_template import ChatTemplate

    if not (tokenizer.chat_template or config.model.template):
        logs.warn("the model has no chat template: the result is good for going on with texts, not for talking")
        return None
    template = ChatTemplate.load(tokenizer, config.model.template)
    template.attach(tokenizer)
    return template


def _samples(config: Config, tokenizer: Any, template: ChatTemplate | None) -> tuple[torch.Tensor, dict[str, Any]]:
    """The calibration windows, and what is to be noted of them."""
    import torch

    from belle.data.formats import load_records
    from belle.quantization.calibration import windows
    from belle.records import Conversation, Document

    if config.method == "rtn":
        return torch.zeros(0, config.length, dtype=torch.int64), {}
    section = config.calibration or _own_text(tokenizer, template is None)
    try:
        loaded: Any = load_records(section, Conversation)
    except BelleError as error:
        try:
            loaded = load_records(section, Document)
        except BelleError:
            raise error from None
    if template is None and config.calibration is None:
        loaded.records[:] = [Document(text=_text(record)) for record in loaded.records]
    samples = windows(loaded.records, tokenizer, template, config.samples, config.length, config.seed)
    if len(samples) < config.samples:
        logs.warn(f"the calibration text has {len(samples)} windows of {config.length} tokens, not {config.samples}")
    for drop in loaded.dropped[:3]:
        logs.warn(f"left out of the calibration: {drop['source']}: {drop['reason']}")
    files = [Path(path) for path, _ in loaded.files if Path(path).is_file()]
    paths = section.path if isinstance(section.path, tuple) else (section.path,)
    facts = {"text": list(paths), "samples": len(samples), "tokens": samples.numel(), "dropped": len(loaded.dropped)}
    return samples, {"calibration": facts, "files": files}


def _own_text(tokenizer: Any, plain: bool) -> DataSection:
    from belle.data.formats import load_records
    from belle.quantization.calibration import made_for_chinese

    texts = [_text(record) for record in load_records(DataSection(path=CHINESE)).records]
    chinese = made_for_chinese(tokenizer, texts)
    which = "Chinese" if chinese else "Chinese and English"
    logs.say(f"calibrating on belle's own {which} instructions; texts like those the model is for are better: calibration.path")
    return DataSection(path=CHINESE if chinese else (CHINESE, ENGLISH))


def _text(record: Any) -> str:
    return "\n".join(message.content for message in record.messages)


def _walk(config: Config, folder: Path, samples: torch.Tensor) -> Walk:
    from belle.models.load import device, model_dtype
    from belle.quantization.blocks import Walk

    return Walk(folder, samples, model_dtype(config.model.dtype), device(), config.model.trust_remote_code)


def _warn_of_short_groups(size: int, walk: Walk) -> None:
    from belle.quantization.blocks import linears

    inputs = sorted({linear.in_features for linear in linears(walk.block(0)).values()})
    short = [count for count in inputs if size > 0 and count % size]
    if not short:
        return
    fits = next((str(less) for less in (128, 64, 32, 16, 8) if less < size and not any(count % less for count in inputs)), "-1")
    logs.warn(
        f"layers with {short[0]} inputs end in a group that is shorter than {size}: belle reads that, some engines refuse it; "
        f"group_size={fits} fits"
    )


def _recipe(config: Config, run: Run, walk: Walk) -> Recipe:
    from belle.quantization.gptq import Options
    from belle.quantization.grids import Grid
    from belle.quantization.whole import Recipe

    bits_of = _mixed(config, run, walk) if config.average_bits is not None else {}
    bits = min(bits_of.values(), key=lambda b: -list(bits_of.values()).count(b)) if bits_of else config.bits
    options = Options(config.group_size, config.act_order, config.static_groups, config.damp)
    grid = Grid(bits, config.symmetric, config.search)
    return Recipe(config.method, grid, options, config.true_sequential, bits_of, config.keep)


def _mixed(config: Config, run: Run, walk: Walk) -> dict[str, int]:
    """The bits of each layer; kept in the run folder, as measuring takes a walk of its own."""
    from belle.quantization.mixed import Sensitivity, allocate, block_sensitivities

    path = run.path / "bits.json"
    if path.is_file():
        return dict(read_json(path)["bits"])
    found: dict[str, Sensitivity] = {}
    with logs.Bar("measuring layers", len(walk.names)) as bar:
        for number in range(len(walk.names)):
            walk.load(number)
            found |= block_sensitivities(walk, number, config.symmetric, config.group_size)
            walk.carry(number)
            walk.unload(number)
            bar.step()
    walk.restart()
    assert config.average_bits is not None
    chosen = allocate(found, config.average_bits)
    spent = sum(layer.size * chosen[name] for name, layer in found.items()) / sum(layer.size for layer in found.values())
    errors = {name: {str(bits): error for bits, error in layer.errors.items()} for name, layer in found.items()}
    write_json(path, {"average": spent, "bits": chosen, "errors": errors})
    return chosen


def _quantise(run: Run, walk: Walk, recipe: Recipe) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Quantise each block that an earlier run has not; rows of metrics.jsonl, and the layers left as they were."""
    from dataclasses import asdict

    from belle.quantization.whole import BlockReport, quantise_block, restore_block

    earlier = _finished_blocks(run)
    rows, wide = list(earlier), dict[str, str]()
    with run.metrics_file(earlier[-1]["step"] if earlier else 0) as metrics, logs.Bar("quantising", len(walk.names)) as bar:
        done = len({row["step"] for row in earlier})
        for number in range(len(walk.names)):
            path = _block_path(run, number)
            if number < done:
                restore_block(walk, number, recipe, path)
                bar.skip(number + 1)
                continue
            mine: list[dict[str, Any]] = []
            for report in quantise_block(walk, number, recipe, path):
                if isinstance(report, BlockReport):
                    mine.append({"step": number + 1, "wide": report.wide, "alphas": report.alphas})
                    continue
                mine.append({"step": number + 1, **asdict(report)})
                bar.step(0, f"{report.name} error {100 * report.error:.3f} % in {report.seconds:.2f} s")
            for row in mine:
                metrics.write(row)
            rows += mine
            bar.step(1)
    for row in rows:
        wide |= row.get("wide", {})
    return [row for row in rows if "name" in row], wide


def _finished_blocks(run: Run) -> list[dict[str, Any]]:
    """The rows of the blocks that are whole: their file is there, and their last row is."""
    path = run.path / "metrics.jsonl"
    rows = list(read_rows(path)) if path.is_file() else []
    kept: list[dict[str, Any]] = []
    for number in range(1, 1 + max((row["step"] for row in rows), default=0)):
        mine = [row for row in rows if row["step"] == number]
        if not (mine and "wide" in mine[-1] and _block_path(run, number - 1).is_file()):
            break
        kept += mine
    return kept


def _block_path(run: Run, number: int) -> Path:
    return run.path / BLOCKS / f"{number:04d}.safetensors"


def _write(
    config: Config, run: Run, walk: Walk, recipe: Recipe, tokenizer: Any, template: ChatTemplate | None, wide: dict[str, str]
) -> int:
    from belle.quantization.packed_write import PackedFacts, write_packed

    facts = PackedFacts(
        config.method, recipe.grid.bits, config.group_size, config.symmetric, config.act_order and config.method == "gptq",
        config.static_groups, config.true_sequential, config.damp, recipe.bits_of, sorted(wide),
    )  # fmt: skip
    paths = [_block_path(run, number) for number in range(len(walk.names))]
    ends = template.end_token_ids if template else ()
    with logs.doing(f"wrote {run.path / 'model'}"):
        return write_packed(run.path / "model", walk.tensors.folder, paths, facts, tokenizer, ends)


def _metrics(layers: Sequence[dict[str, Any]], wide: dict[str, str], size: int, source: Path, damp: float) -> dict[str, Any]:
    before = sum(path.stat().st_size for path in source.glob("*.safetensors"))
    return {
        "layers": len(layers), "left_wide": wide, "bytes": size, "bytes_before": before,
        "mean_error": sum(row["error"] for row in layers) / max(len(layers), 1),
        "mean_error_nearest": sum(row["nearest"] for row in layers) / max(len(layers), 1),
        "kept_nearest": [row["name"] for row in layers if row["kept_nearest"]],
        "dead_inputs": sum(row["dead"] for row in layers),
        "more_damping": {row["name"]: row["damping"] for row in layers if row["damping"] > damp},
        "bits": {str(b): sum(row["bits"] == b for row in layers) for b in sorted({row["bits"] for row in layers})},
        "by_kind": _by_kind(layers),
    }  # fmt: skip


def _by_kind(layers: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Mean error and seconds of layers with the same last part of their name."""
    kinds: dict[str, list[dict[str, Any]]] = {}
    for row in layers:
        kinds.setdefault(row["name"].rsplit(".", 1)[-1], []).append(row)
    return {
        kind: {"layers": len(rows), **{key: sum(row[key] for row in rows) / len(rows) for key in ("error", "nearest", "seconds")}}
        for kind, rows in kinds.items()
    }


def _summary(run: Run) -> None:
    m = run.info["metrics"]
    rows = [
        [kind, int(facts["layers"]), f"{100 * facts['error']:.3f}", f"{100 * facts['nearest']:.3f}", f"{facts['seconds']:.2f}"]
        for kind, facts in m["by_kind"].items()
    ]
    rows.append(["all", m["layers"], f"{100 * m['mean_error']:.3f}", f"{100 * m['mean_error_nearest']:.3f}", ""])
    logs.table(["layers", "n", "error", "rounded to nearest", "s each"], rows, caption="error of the output, in percent of it")
    if m["kept_nearest"]:
        first = m["kept_nearest"][0]
        logs.warn(f"{len(m['kept_nearest'])} layers are rounded to nearest, as GPTQ would have been worse; the first is {first}")
    if m["more_damping"]:
        logs.warn(f"{len(m['more_damping'])} layers needed more damping, such as {next(iter(m['more_damping']))}")
    if m["dead_inputs"]:
        logs.warn(f"{m['dead_inputs']} inputs were 0 in the whole calibration text; their weights are rounded to nearest")
    for name, reason in list(m["left_wide"].items())[:3]:
        logs.warn(f"{name} stays as it is: {reason} ({len(m['left_wide'])} such layers)")
    bits = ", ".join(f"{count} layers of {b} bits" for b, count in m["bits"].items())
    logs.say(f"{bits}; {m['bytes_before'] / 1e6:.1f} MB -> {m['bytes'] / 1e6:.1f} MB")
    logs.say(f"next: belle evaluate demo model.path={quote(str(run.path))} output_dir={quote(str(run.path) + '-evaluation')}")
    logs.out(str(run.path))
