"""A chain of run folders as one HTML page: scores, training, answers, data and lineage."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from belle.evaluation import charts, diagram
from belle.evaluation.comparison import METRICS, Comparison, compare
from belle.evaluation.headline import headline
from belle.jsonl import write_text
from belle.lineage import RunFolder, gather
from belle.pages import page

PAGE = Path(__file__).with_name("report_page")


def write_report(paths: Sequence[Path], output: Path, title: str = "") -> list[RunFolder]:
    """Draw the runs at `paths` and all they came from; write the page atomically and return the chain.

    Raises:
        BelleError: a path is no run folder.
    """
    runs = gather(paths)
    write_text(output, render(runs, title or default_title(paths)))
    return runs


def default_title(paths: Sequence[Path]) -> str:
    """The title of a report nobody named: the first folder's path as given."""
    return paths[0].as_posix()


def render(runs: Sequence[RunFolder], title: str) -> str:
    """The page as text."""
    comparison = compare(runs)
    trained = [run for run in runs if run.steps() or (run.metrics.get("tokens") and run.verb != "evaluate")]
    curves = [charts.loss_curve(run.steps()) for run in trained]
    return page.render(
        PAGE, title, headline=headline(runs, comparison), runs=runs,
        written=max((str(run.info.get("finished") or run.info.get("started") or "") for run in runs), default="")[:10],
        comparison=comparison, metrics={metric.key: metric for metric in METRICS},
        scales=_scales(comparison),
        class_scales={key: charts.line_axis(lines) for key, lines in comparison.by_class.items()} if comparison else {},
        answers=_answers(comparison) if comparison else [],
        trainings=list(zip(trained, curves, strict=True)), lineage=diagram.diagram(runs), commands=_commands(runs),
        box=(diagram.BOX_WIDTH, diagram.BOX_HEIGHT), bars=charts.bars,
        points=page.embed([curve.points if curve else [] for curve in curves]),
    )  # fmt: skip


def _scales(comparison: Comparison | None) -> dict[str, charts.Axis]:
    if comparison is None:
        return {}
    keys = {line.metric.key for line in comparison.totals}
    return {key: charts.line_axis([line for line in comparison.totals if line.metric.key == key]) for key in keys}


def _answers(comparison: Comparison) -> list[dict[str, Any]]:
    """One entry a question, in the order of the first evaluation that has it, with the row of each evaluation or None."""
    order = dict.fromkeys(key for rows in comparison.rows for key in rows)
    out = []
    for key in order:
        rows = [mine.get(key) for mine in comparison.rows]
        first = next(row for row in rows if row)
        out.append({"first": first, "rows": rows, "marks": _marks(rows[0], rows[-1]) if len(rows) > 1 else []})
    return out


def _marks(before: dict[str, Any] | None, after: dict[str, Any] | None) -> list[str]:
    """What changed between the first and the last evaluation, as the filter names it."""
    if not before or not after:
        return []
    marks = []
    for key in ("language_match", "stopped"):
        if before[key] != after[key]:
            marks.append(f"{key}:{'gained' if after[key] else 'lost'}")
    if before["chrf"] is not None and after["chrf"] is not None and abs(after["chrf"] - before["chrf"]) >= 0.01:
        marks.append("chrf:better" if after["chrf"] > before["chrf"] else "chrf:worse")
    return marks


def _commands(runs: Sequence[RunFolder]) -> list[tuple[str, str]]:
    """What to type next: (why, command)."""
    done = [run for run in runs if run.finished]
    models = [run for run in done if "model" in run.info["products"] or "adapter" in run.info["products"]]
    out = []
    if models:
        best = models[-1].path.as_posix()
        out.append(("Talk to it", f"belle chat {best}"))
        out.append(("Let it answer a file", f"belle infer model.path={best} data.path=questions.jsonl output_dir=runs/answers"))
    trained = [run for run in done if run.verb == "sft"]
    if trained:
        recipe = (trained[-1].path / "recipe.yaml").as_posix()
        out.append(("Train on your own file", f"belle sft {recipe} data.path=my_instructions.jsonl output_dir=runs/mine"))
        out.append(("Measure that", "belle evaluate demo model.path=runs/mine output_dir=runs/mine-evaluation"))
    last = [run.path.as_posix() for run in runs if not run.lost and not any(run in other.parents for other in runs)]
    out.append(("Draw this page again", f"belle report {' '.join(last)}"))
    return out
