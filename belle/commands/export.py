"""Export a model for other engines: GGUF files for llama.cpp, LM Studio and Ollama, with a Modelfile.

Weights, tokenizer, chat template and every end token are inside. Types from F32 to Q8_0 are written by belle, smaller ones
(Q4_K_M and the like) by llama.cpp's own quantiser. Where llama-cpp-python is installed, each file is loaded before it counts
as done: it must cut texts into the same tokens as the model it came from, and answer prompts alike.

Examples:
  belle export gguf runs/demo/merged type=Q4_K_M
  belle export gguf runs/demo/merged type='[F16, Q8_0, Q4_K_M]' importance.path=my_texts.jsonl output_dir=runs/demo/gguf
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any, Literal

from belle import logs
from belle.config import Section
from belle.errors import BelleError, nearest
from belle.jsonl import remove, write_text
from belle.runs import Run
from belle.sections import DataSection, ModelSection, Positive

if TYPE_CHECKING:
    from belle.data.chat_template import ChatTemplate
    from belle.models.load import Located
    from belle.quantization.gguf_file import Written
    from belle.quantization.gguf_small import Importance
    from belle.quantization.gguf_vocabulary import Vocabulary

POSITIONAL = ("form", "model.path")
WIDE = ("F32", "F16", "BF16", "Q8_0")
EXACT, TOLERANCE = ("F32", "F16"), 0.5
"""The largest difference of a logit that the other engine's arithmetic explains, for types that keep the weights as they are."""


class Config(Section):
    """What to export, in which types, and where to."""

    form: Literal["gguf"] = "gguf"
    """The kind of file."""
    model: ModelSection
    """The model: a folder, a run, or with `adapter=true` an adapter."""
    type: str | tuple[str, ...] = "Q4_K_M"
    """One or several of F32, F16, BF16, Q8_0, Q6_K, Q5_K_M, Q4_K_M, Q3_K_M, Q2_K and llama.cpp's others."""
    importance: DataSection | None = None
    """Texts or conversations that say which columns of the weights matter, for the small types; best what the model is for."""
    importance_tokens: Positive = 20000
    """Use about so many tokens of them."""
    adapter: bool = False
    """Export the adapter alone; it goes onto its base's GGUF file."""
    verify: bool = True
    """Refuse a model in which a check of `belle verify` fails, those aside that let it speak. false goes on all the same."""
    check: Literal["answers", "tokens", "nothing"] = "answers"
    """What to compare each file in with the model it came from; tokens needs no memory for the model."""
    modelfile: bool = True
    """Write a Modelfile for Ollama beside it."""
    name: str | None = None
    """What the files are called; absent means like the model's folder."""
    output_dir: str | None = None
    """The run folder; absent means beside the model, with -gguf at the end of its name."""
    overwrite: bool = False
    """Begin anew where output_dir holds another run."""


def plan(config: Config) -> list[str]:
    """What `run` would do."""
    what = "the adapter" if config.adapter else f"{', '.join(_types(config))}"
    return [
        f"verify {config.model.path}" if config.verify else f"read {config.model.path} without verifying it",
        *([f"measure which columns matter on {config.importance.path}"] if config.importance else []),
        f"write {what} as {_name(config)}-TYPE.gguf into {_folder(config)}",
        "load each file with llama.cpp, where it is installed, and compare tokens and answers",
        *(["write a Modelfile for Ollama"] if config.modelfile and not config.adapter else []),
    ]


def run(config: Config) -> None:
    """Write each file, load it, compare."""
    from belle.data.chat_template import ChatTemplate
    from belle.models.load import load_tokenizer, locate, note_model
    from belle.release.gguf_check import installed
    from belle.release.verify import require_sound

    types = _types(config)
    if config.adapter and "type" in config.model_fields_set:
        logs.warn("the matrices of an adapter are written as F32: `type` does nothing with adapter=true")
    run = Run.open("export", config, _folder(config), config.overwrite)
    if run.finished:
        logs.say(f"already finished: {run.path} (overwrite=true exports anew)")
        _summary(run)
        return
    found = locate(config.model.path)
    if found.adapter is not None and not config.adapter:
        fix = f"belle merge {quote(config.model.path)}, or adapter=true for the adapter alone"
        raise BelleError(f"{config.model.path!r} is an adapter on {found.base!r}, not a whole model", fix)
    if found.adapter is None and config.adapter:
        raise BelleError(f"{config.model.path!r} is a whole model, not an adapter", "leave adapter=true away")
    verified = require_sound(config.model, config.verify)
    tokenizer = load_tokenizer(config.model)
    template = ChatTemplate.load(tokenizer, config.model.template) if tokenizer.chat_template or config.model.template else None
    if config.adapter:
        _adapter(config, run, found, verified)
        return
    vocabulary = _vocabulary(config, found, tokenizer, template)
    importance = _importance(config, template, tokenizer)
    note_model(run, found)
    run.note(**verified)
    modelfile = _modelfile(config, types[0], Path(found.base), template, vocabulary) if config.modelfile else ""
    files: dict[str, dict[str, Any]] = {}
    for kind, written in _write(config, run.path, Path(found.base), vocabulary, types, importance):
        files[kind] = {"file": written.path.name, "bytes": written.size, "tensors": dict(written.types),
                       "kept_wide": list(written.kept_wide)} | _check(config, kind, written, tokenizer, template)  # fmt: skip
    if modelfile:
        write_text(run.path / "Modelfile", modelfile)
    products = {kind: facts["file"] for kind, facts in files.items()}
    run.finish({"files": files}, products | ({"modelfile": "Modelfile"} if modelfile else {}))
    if not installed() and config.check != "nothing":
        logs.warn("the files were not loaded to see whether they are right: pip install 'belle[gguf]' brings llama.cpp")
    _summary(run)


def _types(config: Config) -> list[str]:
    """The asked types in llama.cpp's spelling.

    Raises:
        BelleError: there is no such type, or none.
    """
    asked = [config.type] if isinstance(config.type, str) else list(config.type)
    asked = list(dict.fromkeys(kind.upper() for kind in asked))
    if not asked:
        raise BelleError("type is empty: there is nothing to write", "type=Q4_K_M")
    if small := [kind for kind in asked if kind not in WIDE]:
        from belle.quantization.gguf_small import NEED_IMPORTANCE, need_llama_cpp, small_types

        known = [*WIDE, *small_types()]
        for kind in small:
            if kind not in known:
                raise BelleError(f"no GGUF type {kind!r}.{nearest(kind, known)}", f"one of: {', '.join(known)}")
            if kind in NEED_IMPORTANCE and config.importance is None:
                what = f"{kind} keeps so few bits that it needs to know which matter"
                raise BelleError(what, "set importance.path=your_texts.jsonl")
        if not config.adapter:
            need_llama_cpp()
    return asked


def _name(config: Config) -> str:
    return config.name or Path(config.model.path.removeprefix("embedded:")).name


def _folder(config: Config) -> str:
    if config.output_dir:
        return config.output_dir
    if not Path(config.model.path).is_dir():
        raise BelleError(f"{config.model.path!r} is no folder to write beside", "set output_dir")
    return str(Path(config.model.path).resolve()) + "-gguf"


def _vocabulary(config: Config, found: Located, tokenizer: Any, template: ChatTemplate | None) -> Vocabulary:
    from belle.data.rendering import portable
    from belle.jsonl import read_json
    from belle.quantization.gguf_vocabulary import read_vocabulary

    folder = Path(found.base)
    generation = read_json(folder / "generation_config.json") if (folder / "generation_config.json").is_file() else {}
    old = generation.get("eos_token_id", tokenizer.eos_token_id)
    before = old if isinstance(old, list) else [] if old is None else [old]
    ends = list(dict.fromkeys([*(template.end_token_ids if template else ()), *before]))
    if not ends:
        raise BelleError(f"{config.model.path!r} has no end token: what leaves would never stop", "set model.template=chatml")
    if template is None:
        logs.warn("the model has no chat template: the file is good for going on with texts, not for talking")
    tokenizer.chat_template = portable(template.jinja) if template else None
    return read_vocabulary(tokenizer, read_json(folder / "config.json")["vocab_size"], ends)


def _write(
    config: Config, folder: Path, base: Path, vocabulary: Vocabulary, types: Sequence[str], importance: Importance | None
) -> Sequence[tuple[str, Written]]:
    from belle.models.weights import Weights
    from belle.quantization.gguf_file import write_gguf
    from belle.quantization.gguf_small import quantise_gguf

    tensors = len(Weights(base))
    done: list[tuple[str, Written]] = []

    def wide(kind: str, path: Path) -> Written:
        with logs.Bar(kind, tensors) as bar:
            return write_gguf(base, path, kind, vocabulary, _name(config), bar.step)

    source = folder / ".wide.gguf"
    for kind in types:
        path = folder / f"{_name(config)}-{kind}.gguf"
        if kind in WIDE:
            done.append((kind, wide(kind, path)))
            continue
        if not source.exists():
            wide("F32", source)  # whatever the model is stored in, nothing is lost
        with logs.doing(f"{kind} by llama.cpp"):
            done.append((kind, quantise_gguf(source, path, kind, importance)))
    remove(source)
    return done


def _importance(config: Config, template: ChatTemplate | None, tokenizer: Any) -> Importance | None:
    if config.importance is None:
        return None
    import gguf

    from belle.data.formats import load_records
    from belle.models.load import load_model
    from belle.quantization.gguf_file import ARCHITECTURES
    from belle.quantization.importance import column_importance
    from belle.records import Conversation, Document

    try:
        records: Sequence[Any] = load_records(config.importance, Conversation).records
    except BelleError:
        records = load_records(config.importance, Document).records
    samples: list[list[int]] = []
    left = config.importance_tokens
    for record in records:
        if left <= 0:
            break
        if isinstance(record, Document):
            ids = tokenizer(record.text, add_special_tokens=False)["input_ids"]
        elif template is None:
            raise BelleError("importance.path has conversations, and the model has no chat template", "set model.template")
        else:
            ids = template.encode(record).ids
        samples.append(ids[: min(left, 2048)])
        left -= len(samples[-1])
    model = load_model(config.model)
    with logs.Bar("measuring columns", len(samples)) as bar:
        measured = column_importance(model, samples, bar.step)
    names = gguf.get_tensor_name_map(ARCHITECTURES[model.config.architectures[0]].name, model.config.num_hidden_layers)
    return {f"{names.get_name(name)}.weight": values for name, values in measured.items()}


def _modelfile(config: Config, kind: str, base: Path, template: ChatTemplate | None, vocabulary: Vocabulary) -> str:
    from belle.jsonl import read_json
    from belle.release.ollama import find_pieces, modelfile

    if template is None:
        return ""
    pieces = find_pieces(template.text)
    bos = vocabulary.tokens[vocabulary.special["bos"]] if vocabulary.adds_bos else ""
    stops = [vocabulary.tokens[vocabulary.special[end]] for end in ("eos", "eot", "eom") if end in vocabulary.special]
    parameters: dict[str, Any] = {"num_ctx": min(8192, read_json(base / "config.json")["max_position_embeddings"])}
    return modelfile(f"{_name(config)}-{kind}.gguf", pieces, bos, stops, parameters)


def _check(config: Config, kind: str, written: Written, tokenizer: Any, template: ChatTemplate | None) -> dict[str, Any]:
    """Load a file with llama.cpp and hold it against the model it came from."""
    from belle.release.gguf_check import compare_answers, compare_tokens, installed

    if config.check == "nothing" or not installed():
        return {"same_tokens": None, "same_next_token": None}
    facts: dict[str, Any] = {"same_tokens": compare_tokens(written.path, tokenizer), "same_next_token": None}
    if config.check == "answers" and template is not None:
        prompts = _prompts(template)
        with logs.doing(f"compared {len(prompts)} next tokens of {kind} with the model"):
            same, difference = compare_answers(written.path, config.model, prompts)
        facts |= {"same_next_token": same, "prompts": len(prompts), "max_logit_difference": difference}
        if kind in EXACT and not difference <= TOLERANCE:
            what = f"{written.path.name} differs from the model by {difference:.3g} in a logit, more than {TOLERANCE} for {kind}"
            raise BelleError(what, "this is a fault of belle: please report it with the model's config.json")
    return facts


def _prompts(template: ChatTemplate) -> list[list[int]]:
    from belle.data.formats import load_records

    records = load_records(DataSection(path="shipped:evaluation.jsonl")).records
    return [template.prompt(record.messages[:1]) for record in records[:: max(1, len(records) // 8)][:8]]


def _adapter(config: Config, run: Run, found: Located, verified: dict[str, Any]) -> None:
    from belle.models.load import check_base, note_model
    from belle.quantization.gguf_adapter import write_gguf_adapter

    assert found.adapter is not None
    check_base(found)
    note_model(run, found)
    run.note(**verified)
    written = write_gguf_adapter(found.adapter, Path(found.base), run.path / f"{_name(config)}-adapter.gguf", _name(config))
    facts = {"file": written.path.name, "bytes": written.size, "tensors": dict(written.types), "kept_wide": [],
             "same_tokens": None, "same_next_token": None}  # fmt: skip
    run.finish({"files": {"adapter": facts}}, {"adapter_gguf": written.path.name})
    _summary(run)


def _summary(run: Run) -> None:
    rows = []
    for kind, facts in run.info["metrics"]["files"].items():
        tensors = ", ".join(f"{count} {name}" for name, count in facts["tensors"].items())
        checked = "not loaded" if facts["same_tokens"] is None else f"same tokens in {facts['same_tokens']} texts"
        if facts["same_next_token"] is not None:
            checked += f", same next token {facts['same_next_token']}/{facts['prompts']}"
        rows.append([kind, facts["file"], f"{facts['bytes'] / 1e6:.1f} MB", tensors, checked])
        if facts["kept_wide"]:
            logs.warn(f"{kind}: {len(facts['kept_wide'])} tensors are of a larger type, such as {facts['kept_wide'][0]}")
    logs.table(["type", "file", "size", "tensors", "llama.cpp"], rows)
    if "modelfile" in run.info["products"]:
        logs.say(f"next: ollama create my-model -f {quote(str(run.path / 'Modelfile'))}")
    logs.out(str(run.path))
