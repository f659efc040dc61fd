"""A chain of run folders as one HTML page that needs nothing else: no network, no second file.

Everything that a user or a model wrote is escaped by the template engine, and the page's own content policy lets no script
run but the one that belle ships (its hash is in the page), so an answer such as `<img onerror=...>` is only text.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from belle import __version__
from belle.evaluation import charts, diagram
from belle.evaluation.comparison import METRICS, Comparison, compare
from belle.evaluation.headline import headline
from belle.evaluation.lineage import RunFolder, gather
from belle.jsonl import write_text

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
    script = (PAGE / "script.js").read_text(encoding="utf-8")
    text = _environment().get_template("page.html.jinja").render(
        title=title, headline=headline(runs, comparison), runs=runs, version=__version__,
        written=max((str(run.info.get("finished") or run.info.get("started") or "") for run in runs), default="")[:10],
        comparison=comparison, metrics={metric.key: metric for metric in METRICS},
        scales=_scales(comparison),
        class_scales={key: charts.line_axis(lines) for key, lines in comparison.by_class.items()} if comparison else {},
        answers=_answers(comparison) if comparison else [],
        trainings=list(zip(trained, curves, strict=True)), lineage=diagram.diagram(runs), commands=_commands(runs),
        box=(diagram.BOX_WIDTH, diagram.BOX_HEIGHT), bars=charts.bars,
        style=Markup((PAGE / "style.css").read_text(encoding="utf-8")), script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        points=embed([curve.points if curve else [] for curve in curves]),
    )  # fmt: skip
    return text.encode("utf-8", "replace").decode("utf-8")  # half a surrogate pair cannot be written


def embed(value: Any) -> Markup:
    """JSON that can stand inside a script element whatever the texts in it: it holds no `<`, `>` or `&`."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def number(value: float | None, share: bool = False) -> str:
    """A metric as the page shows it: a share in percent, anything else with three decimals."""
    if value is None:
        return "–"
    return f"{100 * value:.1f}%" if share else f"{value:.3f}"


def signed(value: float, share: bool = False, unit: bool = True) -> str:
    """A difference, with its sign; of shares in percentage points."""
    text = f"{100 * value:+.1f}{' pt' if unit else ''}" if share else f"{value:+.3f}"
    return text.replace("-", "−")


def count(value: float | None) -> str:
    """A count with thousands apart, shortened from a hundred thousand on."""
    if value is None:
        return "–"
    for unit, size in (("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(value) >= 100 * size or (abs(value) >= size and unit in "BM"):
            return f"{value / size:.1f} {unit}".replace(".0 ", " ")
    return f"{value:,.0f}"


def duration(seconds: float | None) -> str:
    """Seconds as a person says them."""
    if seconds is None:
        return "–"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"


def pretty(value: Any) -> str:
    """Any value of run.json as indented text."""
    return json.dumps(value, ensure_ascii=False, indent=2)


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(PAGE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"number": number, "signed": signed, "count": count, "duration": duration, "pretty": pretty}
    environment.globals["language_name"] = lambda key: {"zh": "中文", "en": "English", "other": "other languages"}.get(key, key)
    environment.globals["class_name"] = lambda key: str(key).replace("_", " ")
    return environment


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
