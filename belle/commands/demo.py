"""From a few hundred instructions to a model of your own: data, SFT, merge, evaluation, chat and report in one go.

The instructions that come with belle are cleaned; a small base model (SmolLM2, 135M) is fetched, fine-tuned on them, merged,
measured before and after on questions it never saw, and shown in runs/demo/report.html. Every stage is an ordinary verb with
a shipped recipe; a finished stage is not repeated and an interrupted one goes on.

Examples:
  belle demo
  belle demo output_dir=runs/other sft='[optim.epochs=1, lora.rank=8]'
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from belle import logs
from belle.commands import clean, evaluate, merge, report, sft
from belle.config import Section, find_recipe, load
from belle.jsonl import read_rows
from belle.runs import read_run

SHOWN = ("eval-zh-identity-01", "eval-en-identity-01", "eval-zh-open_qa-01", "eval-zh-math-01", "eval-en-open_qa-01")
"""Questions whose answers are printed side by side."""


class Config(Section):
    """Where the stages go, and what is changed in them."""

    output_dir: str = "runs/demo"
    """The folder of all stages and of the report."""
    model: str = "embedded:smollm2-135m-instruct"
    """The base model."""
    sft: tuple[str, ...] = ()
    """Overrides for the SFT stage, as key=value; those of `data` are the cleaning stage's, whose kept.jsonl is trained on."""
    clean: tuple[str, ...] = ()
    """Overrides for the cleaning stage, as key=value."""
    evaluate: tuple[str, ...] = ()
    """Overrides for both evaluations, as key=value."""


def stages(config: Config) -> list[tuple[str, ModuleType, Any]]:
    """(heading, command, its recipe) in the order in which they run."""
    out = config.output_dir

    def stage(heading: str, command: ModuleType, recipe: str | None, *overrides: str) -> tuple[str, ModuleType, Any]:
        verb = command.__name__.rsplit(".", 1)[-1]
        return heading, command, load(command.Config, find_recipe(verb, recipe) if recipe else None, overrides)

    tuned, base = f"model.path={out}/merged", f"model.path={config.model}"
    data = [each for each in config.sft if each.startswith("data.")]
    others = [each for each in config.sft if each not in data]
    if _older(out):
        cleaning, training = [], [*data, *others]
    else:
        cleaning = [stage("cleaning the data", clean, "demo", f"output_dir={out}/clean", *data, *config.clean)]
        training = [f"data.path={out}/clean/kept.jsonl", *others]
    return [
        *cleaning,
        stage("fine-tuning with LoRA", sft, "demo", base, f"output_dir={out}/sft", *training),
        stage("merging the adapter", merge, None, f"model.path={out}/sft", f"output_dir={out}/merged"),
        stage("measuring the base model", evaluate, "demo", base, f"output_dir={out}/base", *config.evaluate),
        stage("measuring your model", evaluate, "demo", tuned, f"output_dir={out}/tuned", *config.evaluate),
        stage("drawing the report", report, None, f"runs=[{out}/base, {out}/tuned]", f"output={out}/report.html",
              "title=From base model to your own"),
    ]  # fmt: skip


def plan(config: Config) -> list[str]:
    """What `run` would do."""
    return [f"{command.__name__.rsplit('.', 1)[-1]}: {heading}" for heading, command, _ in stages(config)]


def run(config: Config) -> None:
    """Run the stages, each where the last run left it."""
    from belle.models.load import locate

    started = time.monotonic()
    todo = stages(config)
    for number, (heading, command, recipe) in enumerate(todo, 1):
        if command is sft:
            logs.title("fetching the base model")
            logs.say(f"{config.model}: {locate(config.model).base}")
            logs.title("looking at the data")
            _show_data(recipe)
        logs.title(f"{number} of {len(todo)}: {heading}")
        command.run(recipe)
    out = Path(config.output_dir)
    logs.title("side by side")
    _side_by_side(out)
    logs.title(f"done in {time.monotonic() - started:.0f} s; what next?")
    logs.say(f"talk to it           belle chat {out}/merged")
    logs.say("train on your file   belle sft demo data.path=my.jsonl output_dir=runs/mine")
    logs.say(f"see what changed     open {out}/report.html in a browser")
    if (out / "clean" / "report.html").is_file():
        logs.say(f"see what was cleaned open {out}/clean/report.html")


def _older(out: str) -> bool:
    """Whether the folder holds a demo from before there was a cleaning stage: it goes on as it began."""
    if not (Path(out) / "sft" / "run.json").is_file():
        return False
    data = read_run(Path(out) / "sft")["recipe"].get("data", {})
    return bool(data.get("path") != f"{out}/clean/kept.jsonl")


def _show_data(config: sft.Config) -> None:
    from collections import Counter

    from belle.data.formats import load_records

    records = load_records(config.data).records
    classes, characters = Counter(r.category for r in records), Counter[str]()
    for record in records:
        characters[record.category] += sum(len(m.content) for m in record.messages if m.role == "assistant")
    rows = [[name, count, f"{characters[name] / count:.0f}"] for name, count in classes.most_common()]
    logs.table(["class", "conversations", "characters of the answers"], rows)
    languages = ", ".join(f"{count} {name}" for name, count in Counter(r.language for r in records).most_common())
    logs.say(f"{len(records)} conversations; language of the answers: {languages}")
    sft.run(config.model_copy(update={"preview": 1}))


def _side_by_side(out: Path) -> None:
    answers: dict[str, Sequence[Any]] = {}
    for name in ("base", "tuned"):
        for row in read_rows(out / name / "answers.jsonl"):
            answers[row["id"]] = [*answers.get(row["id"], [row["question"]]), row["answer"]]
    short = [[cell if len(cell) <= 160 else cell[:157] + "..." for cell in answers[key]] for key in SHOWN if key in answers]
    logs.table(["question", "base", "yours"], short)
    before, after = (read_run(out / name)["metrics"] for name in ("base", "tuned"))
    labels = {"loss": "answer loss", "language_match": "answers in the asked language", "says_name": "says its name"}
    for key, label in labels.items():
        logs.say(f"{label}: {_interval(before[key])} -> {_interval(after[key])}")


def _interval(found: Any) -> str:
    return f"{found['value']:.3f} [{found['low']:.3f}, {found['high']:.3f}]"
