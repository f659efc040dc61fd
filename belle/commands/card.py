"""Write the model card of a model: README.md in English and Chinese, from the runs that made and measured it.

Data with counts and licences, recipe, scores with intervals beside those of the base, contamination, limits, and how to run it
in five tools. Nothing is in it that was not measured; what is missing is called missing. Evaluations and GGUF files are looked
for in the runs beside the model's own. A README.md that someone wrote or changed is not replaced without `overwrite`.

Examples:
  belle card runs/demo/merged
  belle card runs/mine/merged repo=me/my-model licence=Apache-2.0 evaluations='[runs/mine-evaluation, runs/base-evaluation]'
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from belle import logs
from belle.config import Section
from belle.errors import BelleError
from belle.sections import ModelSection

if TYPE_CHECKING:
    from belle.lineage import RunFolder

POSITIONAL = "model.path"


class Config(Section):
    """Which model, and what its files do not say."""

    model: ModelSection
    """The model or adapter: a run, or a folder."""
    evaluations: tuple[str, ...] | None = None
    """Runs of `belle evaluate` on it and on its base; absent looks beside the model's run, an empty list at none."""
    name: str | None = None
    """What the card calls it; absent means like its folder."""
    repo: str | None = None
    """owner/name on a hub, for the commands that run it; absent means its folder."""
    licence: str | None = None
    """The licence that it is published under; absent means that of base and data, where they are named and agree."""
    licences: dict[str, str] = {}
    """Licences of what it came from that no file names: `base` or the name of a data file -> licence."""
    verify: bool = True
    """Refuse a model in which a check of `belle verify` fails, those aside that let it speak. false goes on all the same."""
    output: str | None = None
    """The file; absent means README.md in the model's folder."""
    overwrite: bool = False
    """Replace a README.md that belle did not write, or that was changed since."""


def plan(config: Config) -> list[str]:
    """What `run` would do."""
    evaluations = "the evaluations beside it" if config.evaluations is None else ", ".join(config.evaluations) or "no evaluation"
    return [
        f"verify {config.model.path}" if config.verify else f"read {config.model.path} without verifying it",
        f"read the runs that made it, and {evaluations}",
        "count the evaluation's questions that stand in its training data",
        f"write {config.output or 'README.md in its folder'}",
    ]


def run(config: Config) -> None:
    """Collect, write, say what is missing."""
    from belle.release.card import write_card
    from belle.release.subject import Subject
    from belle.release.verify import require_sound

    subject = Subject.open(config.model, None, config.licences)
    path = Path(config.output) if config.output else subject.folder / "README.md"
    if not config.output and config.model.path.startswith("embedded:"):
        raise BelleError(f"{config.model.path!r} lies in belle's own cache", "set output")
    facts = _facts(config, subject, require_sound(config.model, config.verify)["verify"])
    replaced = write_card(facts, path, config.overwrite)
    for what in _missing(facts):
        logs.warn(f"missing in the card: {what}")
    logs.say(f"{'replaced' if replaced else 'wrote'} {path}")
    logs.out(str(path))


def _facts(config: Config, subject: Any, verified: dict[str, Any]) -> dict[str, Any]:
    from belle.release import card_facts

    name = config.name or config.repo or str((subject.found.run or subject.folder).resolve())
    evaluation, base = card_facts.find_evaluations(subject, config.evaluations)
    trainings = card_facts.data_facts(subject.chain)
    scores = card_facts.score_facts(evaluation)
    with logs.doing("looked for the evaluation's questions in the training data"):
        contamination = card_facts.contamination_facts(subject.chain, evaluation)
    languages = {language for training in trainings for language in training["data"].get("languages", {})}
    short = Path(name).name
    return {
        "name": config.name or short, "short": short.lower(), "place": config.repo or short,
        "model": card_facts.model_facts(subject), "base": card_facts.base_facts(subject), "trainings": trainings,
        "chain": card_facts.chain_facts(subject.chain), "licence": card_facts.licence_facts(subject, config.licence),
        "evaluation": scores, "base_evaluation": card_facts.score_facts(base), "differences": _differences(base, evaluation),
        "contamination": contamination, "exports": card_facts.find_exports(subject), "verified": verified,
        "languages": languages or set((scores or {}).get("languages", {})),
    }  # fmt: skip


def _differences(base: RunFolder | None, evaluation: RunFolder | None) -> dict[str, str]:
    """Metric -> the paired difference to the base with its interval; only where both answered the same questions."""
    if base is None or evaluation is None:
        return {}
    from belle.evaluation.comparison import compare

    compared = compare([base, evaluation])
    out: dict[str, str] = {}
    for line in compared.totals if compared is not None else ():
        moved = line.differences[-1]
        if line.group or moved is None or line.verdicts[-1] == "unlike":
            continue
        scale, unit = (100, " pt") if line.metric.share else (1, "")
        digits = 1 if line.metric.share else 3
        ends = ", ".join(f"{scale * value:+.{digits}f}" for value in (moved.low, moved.high))
        out[line.metric.key] = f"{scale * moved.value:+.{digits}f}{unit} [{ends}]"
    return out


def _missing(facts: dict[str, Any]) -> list[str]:
    """What a reader will look for in vain, and the command that would measure it."""
    out = []
    if not facts["licence"]["model"]:
        out.append("the licence of the model (licence=...)")
    if lacking := [what for what, name in facts["licence"]["parts"].items() if not name]:
        out.append(f"the licence of {', '.join(lacking)} (licences='{{name: licence}}')")
    if not facts["trainings"]:
        out.append("data and recipe: no training run stands behind the model")
    if facts["evaluation"] is None:
        out.append("scores (belle evaluate demo model.path=... output_dir=...)")
    elif facts["base_evaluation"] is None:
        out.append("the scores of its base (belle evaluate demo model.path=BASE output_dir=...)")
    if "reason" in facts["contamination"]:
        out.append(f"contamination: {facts['contamination']['reason']}")
    return out
