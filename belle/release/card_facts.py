"""What a model card may say: collected from the runs that made a model and measured it. What no run measured is None."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from belle.data.formats import load_records
from belle.data.overlap import Question, overlap, read_questions
from belle.errors import BelleError
from belle.jsonl import read_json
from belle.lineage import RunFolder
from belle.release.licences import licences
from belle.release.subject import MADE_FROM_ONE, Subject
from belle.runs import read_run, sha256_file, sha256_weights
from belle.sections import DataSection

Facts = dict[str, Any]

SCORES = ("loss", "perplexity", "bits_per_character", "language_match", "stopped", "says_name", "chrf", "rouge_l", "exact")
"""Metrics of an evaluation that a card shows, in this order; see `evaluation/summary.py`."""
FEWEST = 5
"""Questions below which a class is not called weak."""


def model_facts(subject: Subject) -> Facts:
    """Size and shape, from the files themselves."""
    weights = subject.weights
    packed = any(name.endswith(".qweight") for name in weights)
    config = subject.skeleton.config.get_text_config()
    return {
        "whole": subject.whole, "type": subject.config.get("model_type", ""), "packed": packed,
        "parameters": None if packed else sum(math.prod(weights.entry(name).shape) for name in weights),
        "model_parameters": sum(p.numel() for p in subject.skeleton.parameters()),
        "bytes": sum(weights.entry(name).size for name in weights),
        "dtypes": sorted({weights.entry(name).dtype for name in weights}),
        "context": getattr(config, "max_position_embeddings", None), "vocabulary": config.vocab_size,
        "template": subject.talks, "sha256": sha256_weights(subject.folder),
    }  # fmt: skip


def base_facts(subject: Subject) -> Facts | None:
    """The base that the first training began with: as its recipe names it, and the hash of its weights."""
    for run in subject.chain:
        entry = next((entry for entry in run.info.get("inputs", ()) if entry["role"] == "base"), None)
        name = (run.info.get("recipe") or {}).get("model", {}).get("path")
        if entry is not None and name:
            shown = name if name.startswith("embedded:") or not Path(name).exists() else Path(name).name
            return {"name": shown, "sha256": entry["sha256"], "hub": "/" in name and not Path(name).exists()}
    return {"name": subject.base.name, "sha256": sha256_weights(subject.base), "hub": False} if subject.base else None


def data_facts(chain: Sequence[RunFolder]) -> list[Facts]:
    """Each training, with its data, counts, recipe and how it went."""
    return [_training(run) for run in chain if is_training(run)]


def is_training(run: RunFolder) -> bool:
    """Whether a run learned from data."""
    return run.verb not in MADE_FROM_ONE and {"adapter", "model"} & run.info.get("products", {}).keys() != set()


def _training(run: RunFolder) -> Facts:
    info, recipe = run.info, run.info.get("recipe") or {}
    notes = info.get("notes") or {}
    read = [entry for entry in info.get("inputs", ()) if entry["role"] not in ("base", "adapter")]
    return {
        "name": run.name, "verb": run.verb, "id": info["id"], "finished": info.get("finished"), "seconds": info.get("seconds"),
        "belle": info.get("belle"), "versions": info.get("versions") or {}, "platform": info.get("platform"),
        "files": [
            {"name": Path(entry["path"]).name, "role": entry["role"], "records": entry.get("records"), "sha256": entry["sha256"]}
            for entry in read
        ],
        "data": notes.get("data") or {}, "template": notes.get("template"), "dtype": notes.get("dtype"),
        "lora": recipe.get("lora"), "optim": recipe.get("optim") or {}, "tokens": recipe.get("tokens") or {},
        "held_out": recipe.get("held_out"), "seed": recipe.get("seed"), "metrics": run.metrics,
    }  # fmt: skip


def chain_facts(chain: Sequence[RunFolder]) -> list[Facts]:
    """One row for each run behind the model."""
    return [
        {"name": run.name, "verb": run.verb, "id": run.info["id"], "finished": run.info.get("finished"),
         "seconds": run.info.get("seconds"), "lost": run.lost, "metrics": run.metrics}
        for run in chain
    ]  # fmt: skip


def find_evaluations(subject: Subject, named: Sequence[str] | None) -> tuple[RunFolder | None, RunFolder | None]:
    """(the evaluation of the model, that of its base), None where there is none.

    Args:
        named: run folders; None looks at those beside the model's own run.

    Raises:
        BelleError: a named one is unfinished, is no evaluation, or measured another model.
    """
    folders = [Path(name) for name in named] if named is not None else _beside(subject.found.run)
    base = base_facts(subject)
    own: list[RunFolder] = []
    theirs: list[RunFolder] = []
    for folder in folders:
        run = RunFolder(folder, read_run(folder), name=folder.name)
        good = run.verb == "evaluate" and run.finished
        if good and _measured(run, subject):
            own.append(run)
        elif good and base is not None and _weights(run) == (base["sha256"], None):
            theirs.append(run)
        elif named is not None:
            what = f"{str(folder)!r} is {'an evaluation of another model' if good else 'no finished evaluation'}"
            raise BelleError(what, "evaluate this model and its base: belle evaluate demo model.path=...")
    newest = [max(runs, key=lambda run: str(run.info.get("finished"))) if runs else None for runs in (own, theirs)]
    return newest[0], newest[1]


def _beside(run: Path | None) -> list[Path]:
    return sorted(path.parent for path in run.resolve().parent.glob("*/run.json")) if run is not None else []


def _weights(run: RunFolder) -> tuple[str | None, str | None]:
    """sha256 of the base and of the adapter that a run loaded."""
    found = {entry["role"]: entry["sha256"] for entry in run.info.get("inputs", ())}
    return found.get("base"), found.get("adapter")


def _measured(run: RunFolder, subject: Subject) -> bool:
    base, adapter = _weights(run)
    return sha256_weights(subject.folder) == (base if subject.whole else adapter) and (adapter is None) == subject.whole


def score_facts(run: RunFolder | None) -> Facts | None:
    """The scores of an evaluation, each {"value", "low", "high", "n"} or None; its questions and settings."""
    if run is None:
        return None
    m = run.metrics
    weak = sorted(
        (row["chrf"]["value"], name, row["chrf"]["n"]) for name, row in m.get("by_category", {}).items()
        if row.get("chrf") and row["chrf"]["n"] >= FEWEST
    )  # fmt: skip
    files = [entry for entry in run.info.get("inputs", ()) if entry["role"] == "questions"]
    return {
        "name": run.name, "finished": run.info.get("finished"), "questions": m.get("questions"), "errors": m.get("errors"),
        "scores": {key: m.get(key) for key in SCORES},
        "languages": {
            name: {key: row.get(key) for key in SCORES} | {"n": row["n"]} for name, row in m.get("by_language", {}).items()
        },
        "weakest": [{"name": name, "chrf": value, "n": n} for value, name, n in weak[:3]],
        "generation": (run.info.get("recipe") or {}).get("generation") or {},
        "backend": (run.info.get("recipe") or {}).get("backend"),
        "name_to_say": (run.info.get("recipe") or {}).get("name_to_say"),
        "files": [{"name": Path(entry["path"]).name, "sha256": entry["sha256"]} for entry in files],
    }  # fmt: skip


def contamination_facts(chain: Sequence[RunFolder], evaluation: RunFolder | None) -> Facts:
    """How many questions of the evaluation stand in what the model was trained on, counted now from the files themselves.

    Returns:
        `Overlap.as_dict()`, or {"reason"} why it was not counted.
    """
    trainings = [run for run in chain if is_training(run)]
    if evaluation is None or not trainings:
        return {"reason": "no evaluation" if evaluation is None else "no training run"}
    runs = [evaluation, *trainings]
    roles = ("questions", "data")
    for run in runs:
        for entry in run.info.get("inputs", ()):
            path = Path(entry["path"])
            if entry["role"] in roles and (not path.is_file() or sha256_file(path) != entry["sha256"]):
                return {"reason": f"{path.name} is no longer what was read"}
    try:
        questions: list[Question] = read_questions(_section(evaluation))
        records = [record for run in trainings for record in load_records(_section(run)).records]
        return overlap(records, questions).as_dict()
    except BelleError as error:
        return {"reason": error.message}


def _section(run: RunFolder) -> DataSection:
    recipe: Mapping[str, Any] = run.info["recipe"]
    return DataSection(**{key: value for key, value in recipe["data"].items() if key in DataSection.model_fields})


def find_exports(subject: Subject) -> list[Facts]:
    """The GGUF files that were made of the model, in runs beside its own."""
    out = []
    for folder in _beside(subject.found.run):
        info = read_run(folder)
        parents = [entry["id"] for entry in info.get("parents", ())]
        own = read_json(subject.found.run / "run.json")["id"] if subject.found.run is not None else None
        if info["verb"] == "export" and info["status"] == "finished" and own in parents:
            for kind, facts in info["metrics"].get("files", {}).items():
                out.append({"folder": folder.name, "type": kind, "modelfile": (folder / "Modelfile").is_file(), **facts})
    return out


def licence_facts(subject: Subject, own: str | None) -> Facts:
    """The model's licence, and those of what it came from; the model's is that of all the rest where they agree."""
    found = licences(subject.chain, subject.base, subject.licences)
    names = {name for name in found.values() if name}
    agreed = next(iter(names)) if len(names) == 1 and all(found.values()) else None
    return {"model": own or agreed, "said": own is not None, "parts": found}
