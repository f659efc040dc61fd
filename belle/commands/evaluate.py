"""Measure a model on questions with reference answers.

Every question is answered, and the loss of its reference answer is measured. Per class and in all: loss and perplexity,
character-level chrF and ROUGE-L, exact match, the share of answers in the asked language and of answers that stop by
themselves, each with a 95 % interval. Answers are kept in answers.jsonl; a run that was stopped goes on from there.

Examples:
    belle evaluate demo model.path=runs/sft output_dir=runs/sft-evaluation
    belle evaluate model.path=Qwen/Qwen3-0.6B data.path=my_questions.jsonl output_dir=runs/qwen-evaluation
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from belle import logs
from belle.config import Section
from belle.runs import Run, sha256_text
from belle.sections import DataSection, GenerationSection, ModelSection, Positive


class Config(Section):
    """What to measure, on which questions, how."""

    model: ModelSection
    data: DataSection = DataSection(path="shipped:evaluation.jsonl")
    """Rows of question and reference, or conversations whose last answer is the reference."""
    backend: str = "transformers"
    """A row of BACKENDS, or module:Class."""
    generation: GenerationSection = GenerationSection()
    batch_size: Positive = 16
    """Questions answered at once."""
    name_to_say: str = "Belle"
    """The name that answers to questions of the class identity should contain."""
    bootstrap: Positive = 2000
    """Times the questions are resampled for the intervals."""
    seed: int = 0
    """Seed of the resampling."""
    output_dir: str
    """The run folder."""
    overwrite: bool = False
    """Begin anew where output_dir holds another run."""


COLUMNS = {
    "loss": "loss", "chrf": "chrF", "rouge_l": "ROUGE-L", "exact": "exact", "language_match": "language", "stopped": "stopped",
}  # fmt: skip


def run(config: Config) -> None:
    """Answer, score and sum up; a finished run only prints its table again."""
    run = Run.open("evaluate", config, config.output_dir, config.overwrite)
    if run.finished:
        logs.say(f"{run.path} is finished already")
        show(run.info["metrics"])
        return
    from belle.evaluation.runner import evaluate
    from belle.evaluation.summary import summarise
    from belle.evaluation.tasks import load_questions
    from belle.inference.backend import open_backend
    from belle.models.load import locate, note_model

    mended: Counter[str] = Counter()
    questions = load_questions(config.data, mended)
    with logs.doing(f"loaded {config.model.path}"):
        backend = open_backend(config.backend, config.model, config.batch_size)
    run.note(model=config.model.path, mended=dict(mended))  # from here on, the folder is this run's
    for path in dict.fromkeys(question.source.path for question in questions):
        if Path(path).is_file():
            run.add_input("questions", Path(path))
    if config.backend == "transformers":
        located = locate(config.model.path)
        note_model(run, located)
        run.note(base=located.base)
    if template := getattr(backend, "template", None):
        run.note(template=template.name, template_sha256=sha256_text(template.jinja))
    with logs.Bar("evaluating", len(questions) + sum(bool(q.reference) for q in questions)) as bar:
        skipped = False

        def progress(done: int, total: int) -> None:
            nonlocal skipped
            if skipped:
                bar.step(done - bar.done)
            else:
                bar.skip(done)  # what a stopped run had done
                skipped = True

        rows = evaluate(backend, questions, config.generation, run.path / "answers.jsonl", progress)
    metrics = summarise(rows, config.name_to_say, config.model.path, config.bootstrap, config.seed)
    if metrics["errors"]:
        first = next(row for row in rows if row["finish"] == "error")
        failed = f"{metrics['errors']} of {len(rows)} questions got no answer and count as wrong"
        logs.warn(f"{failed}; first {first['id']!r}: {first['error']}")
    if metrics["unscored"]:
        first = next(row["loss_error"] for row in rows if "loss_error" in row)
        logs.warn(f"{metrics['unscored']} references have no loss and are left out of it; the first: {first}")
    run.finish(metrics, {"answers": "answers.jsonl"})
    show(metrics)


def plan(config: Config) -> list[str]:
    """What `run` would do."""
    paths = config.data.path if isinstance(config.data.path, tuple) else (config.data.path,)
    return [
        f"read questions from {', '.join(paths)}",
        f"load {config.model.path} and measure the loss of each reference answer",
        f"answer each question with at most {config.generation.max_new_tokens} tokens, {config.batch_size} at once",
        f"write answers.jsonl, run.json and the table of classes to {config.output_dir}",
    ]


def show(metrics: Mapping[str, Any]) -> None:
    """Print the table of classes, languages and totals, and the totals with their intervals."""
    header = ["class", "n", *COLUMNS.values()]
    groups = [*metrics["by_category"].items(), *((f"all {key}", group) for key, group in metrics["by_language"].items())]
    rows = [[name, group["n"], *(_cell(key, group[key]) for key in COLUMNS)] for name, group in groups]
    macro = metrics["macro"]
    rows.append([f"macro of {len(macro['categories'])}", "", *(_cell(key, macro[key]) for key in COLUMNS)])
    rows.append(["all", metrics["questions"], *(_cell(key, metrics[key]) for key in COLUMNS)])
    logs.table(header, rows, caption=f"{metrics['model']}\nloss in nats a token, the rest in percent")
    names = ("loss", "perplexity", "bits_per_character", *list(COLUMNS)[1:], "says_name")
    totals = [
        [name.replace("_", " "), *(_number(name, found[key]) for key in ("value", "low", "high")), found["n"]]
        for name in names
        if (found := metrics[name])
    ]
    logs.table(["", "value", "low", "high", "questions"], totals, caption="all, with 95 % intervals")
    for metric, categories in macro["left_out"].items():
        logs.say(f"macro {metric.replace('_', ' ')} is without {', '.join(categories)}: no question there has one")


def _cell(metric: str, found: Mapping[str, Any] | None) -> str:
    return "" if found is None else _number(metric, found["value"])


def _number(metric: str, value: float) -> str:
    return f"{value:.3f}" if metric in ("loss", "perplexity", "bits_per_character") else f"{100 * value:.1f}"
