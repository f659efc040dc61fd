"""Clean, deduplicate and select records by a list of steps.

In: any format that belle reads, conversations or documents. Out: kept.jsonl, which every verb reads; dropped.jsonl, every record
that went with its step and reason; report.html, what each step removed, with examples. Records wait on the disk, so their number
is not bounded by memory; a killed run goes on where it stopped, with the same result whatever the workers and shards.

Examples:
    belle clean open_clean data.path=raw.jsonl output_dir=runs/clean
    belle clean data.path='[a.json, b.json]' steps='[empty, {near_duplicates: {threshold: 0.8}}]' output_dir=runs/clean
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from belle import logs
from belle.config import Section
from belle.errors import BelleError
from belle.jsonl import remove
from belle.runs import Run
from belle.sections import DataSection, Positive

READING = ".reading"
"""What is being read, until the run takes the folder: a mistake in the data leaves the folder as it was."""


class Config(Section):
    """What to clean, how, where."""

    data: DataSection
    records: Literal["conversations", "documents"] = "conversations"
    """What the rows are: conversations to train and ask with, or plain documents."""
    seed: int = 0
    """Seed of steps that draw lots, and of the examples in the report."""
    steps: tuple[str | dict[str, Any], ...]
    """What is done, in order: names, or names with options under them."""
    executor: Literal["processes", "one", "ray"] = "processes"
    """Where steps run: in several processes, in this one, or on a Ray cluster that shares this disk."""
    workers: Annotated[int, Field(ge=0)] = 0
    """How many; 0 is one for each core."""
    shard: Positive = 2_000
    """Records in one piece of work. Fewer need less memory and lose less when the run is killed."""
    examples: Annotated[int, Field(ge=0)] = 5
    """Records to show in the report for each reason."""
    output_dir: str
    """The run folder."""
    overwrite: bool = False
    """Begin anew where output_dir holds another run."""

    @field_validator("steps")
    @classmethod
    def _known_steps(cls, steps: tuple[Any, ...], info: ValidationInfo) -> tuple[Any, ...]:
        from belle.curation.catalogue import read_steps

        try:
            read_steps(steps, int(info.data.get("seed") or 0))
        except BelleError as error:
            lines = error.message.split("\n")
            joined = lines[0] if len(lines) == 1 else f"{len(lines)} mistakes" + "".join(f"\n    {line}" for line in lines)
            raise ValueError(joined) from error
        return steps


def run(config: Config) -> None:
    """Clean; a finished run only prints its table again."""
    from belle.curation.catalogue import read_steps
    from belle.curation.executors import open_executor
    from belle.curation.pipeline import READ, Cleaning, read_into_shards, write_products
    from belle.curation.report import write_report
    from belle.curation.steps import Context
    from belle.data.formats import RecordStream
    from belle.records import Conversation, Document

    run = Run.open("clean", config, config.output_dir, config.overwrite)
    work = run.path / "work"
    if run.finished:
        remove(work)
        logs.say(f"{run.path} is finished already")
        show(run.info["metrics"]["stages"], run.path)
        return
    if config.overwrite or not (work / READ).is_dir():
        kind: type[Any] = Document if config.records == "documents" else Conversation
        with logs.doing("read the data"):
            read_into_shards(RecordStream(config.data, kind, empty_texts=True), run.path / READING, config.shard)
        run.note(records=config.records)  # from here on, the folder is this run's
        work.mkdir(exist_ok=True)
        remove(work / READ)
        (run.path / READING).rename(work / READ)
    context = Context(run.path / "steps", dict(os.environ))
    cleaning = Cleaning(work, read_steps(config.steps, config.seed), context, config.seed, config.examples)
    _note_inputs(run, cleaning.files())
    with open_executor(config.executor, config.workers, cleaning.shards) as executor:
        stages = cleaning.run(executor)
    with logs.doing("wrote the records"):
        products = write_products(cleaning, stages, run.path)
    outcome = cleaning.outcome(stages)
    run.note(normalised=outcome.noticed, before=outcome.before, after=outcome.after, diversity=outcome.variety)
    write_report(run.path / "report.html", outcome, run.info, config.output_dir)
    counts = [stage.counts() for stage in stages]
    if not stages[-1].after:
        show(counts, run.path)
        fix = f"see {run.path / 'report.html'} for what each step removed, and loosen the steps; then overwrite=true"
        raise BelleError(f"nothing is left of {stages[0].before} records", fix)
    metrics = {"records": stages[0].before, "kept": stages[-1].after, "stages": counts}
    run.finish(metrics, products | {"report": "report.html"})
    remove(work)
    show(counts, run.path)


def plan(config: Config) -> list[str]:
    """What `run` would do."""
    paths = config.data.path if isinstance(config.data.path, tuple) else (config.data.path,)
    names = [step if isinstance(step, str) else next(iter(step)) for step in config.steps]
    return [
        f"read {config.records} from {', '.join(paths)}",
        *[f"step {number}: {name}" for number, name in enumerate(names, 1)],
        f"write kept.jsonl, dropped.jsonl, report.html and run.json to {config.output_dir}",
    ]


def help_lines() -> list[str]:
    """The steps, for `belle clean --help`."""
    import textwrap

    from belle.curation.catalogue import known_steps
    from belle.curation.outline import describe

    lines = ["Steps (key `steps`; options stand under the name; a step of your own is my_package.module:name):"]
    headings = {
        "edit": "Edits rewrite a record", "filter": "Filters drop it with a reason",
        "score": "Scores are columns; with at_least, at_most or only they drop what lies outside",
        "set step": "Set steps compare all records with each other",
    }  # fmt: skip
    before = ""
    for name, (kind, target) in known_steps().items():
        if kind != before:
            lines += ["", f"  {headings[kind]}:"]
            before = kind
        summary, options = describe(target)
        lines += textwrap.wrap(f"{name}: {summary}", 124, initial_indent="  ", subsequent_indent=" " * 6)
        lines += [f"      {option}  ({kind_of} = {default})" for option, kind_of, default in options]
    return lines


def show(counts: Sequence[dict[str, Any]], path: Path) -> None:
    """Print what each step did, and say loudly where much went."""
    rows = []
    for stage in counts:
        reasons = ", ".join(f"{reason} {count}" for reason, count in stage["reasons"].items())
        changed = f"changed {stage['changed']}" if stage["changed"] else ""
        gone = stage["before"] - stage["after"]
        rows.append([stage["step"], stage["before"], stage["after"], gone, "; ".join(filter(None, (changed, reasons)))])
    logs.table(["step", "before", "after", "gone", "why"], rows)
    for stage in counts:
        if 2 * stage["after"] < stage["before"]:
            gone = stage["before"] - stage["after"]
            logs.warn(f"{stage['step']} removed {gone} of {stage['before']} records, more than half: look at report.html")
    logs.out(str(path / "kept.jsonl"))


def _note_inputs(run: Run, files: Sequence[tuple[str, int]]) -> None:
    for name, records in files:
        if Path(name).is_file():
            run.add_input("data", Path(name), records=records)
