"""Evaluations side by side: every metric with its interval, the paired difference to the first, and a verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from belle.errors import BelleError
from belle.evaluation.intervals import Interval, paired_bootstrap
from belle.evaluation.metrics import says_name
from belle.evaluation.summary import values_of
from belle.evaluation.tasks import IDENTITY
from belle.lineage import RunFolder

Row = dict[str, Any]
Verdict = Literal["better", "worse", "open", "unlike", ""]
_FEWEST = 5  # questions below which no verdict is given


@dataclass(frozen=True)
class Metric:
    """How a metric is shown: `share` in percent, else with three decimals."""

    key: str
    title: str
    meaning: str
    higher: bool = True
    share: bool = True


METRICS = (
    Metric("loss", "Answer loss", "nats for each token of the reference answers", higher=False, share=False),
    Metric("bits_per_character", "Bits per character", "the same loss, comparable between tokenizers", higher=False, share=False),
    Metric("language_match", "In the asked language", "answers written in the language that was asked for"),
    Metric("stopped", "Stops by itself", "answers that end before the token limit"),
    Metric("says_name", "Says its name", "answers to questions about itself that contain the name"),
    Metric("chrf", "chrF", "overlap of character n-grams with the reference"),
    Metric("rouge_l", "ROUGE-L", "longest common subsequence with the reference, F1"),
    Metric("exact", "Exact match", "equal to the reference after normalisation"),
)


@dataclass(frozen=True)
class Line:
    """One metric over one group of questions (all, a language, a class) for each evaluation."""

    metric: Metric
    group: str
    cells: tuple[Interval | None, ...]
    differences: tuple[Interval | None, ...]
    """To the first evaluation; None for itself and where the questions are not the same."""
    verdicts: tuple[Verdict, ...]
    apart: tuple[bool, ...]
    """Whether its interval and that of the first do not touch."""


@dataclass(frozen=True)
class Comparison:
    """Everything the report says about its evaluations, the first being the base."""

    runs: tuple[RunFolder, ...]
    rows: tuple[dict[str, Row], ...]
    totals: list[Line]
    by_class: dict[str, list[Line]]
    shared: int
    warnings: list[str]


def compare(runs: Sequence[RunFolder], draws: int = 2000, seed: int = 0) -> Comparison | None:
    """Compare finished evaluations; None where there are none."""
    runs = tuple(run for run in runs if run.verb == "evaluate" and run.finished)
    if not runs:
        return None
    rows = tuple(_answers(run) for run in runs)
    same = [
        [i for i in rows[0] if i in mine and all(mine[i][k] == rows[0][i][k] for k in ("question", "reference"))] for mine in rows
    ]
    # The same reference in another number of tokens: another tokenizer.
    unlike = [
        any(mine[i].get("loss_tokens") != rows[0][i].get("loss_tokens") for i in ids)
        for mine, ids in zip(rows, same, strict=True)
    ]
    names = [str((run.info.get("recipe") or {}).get("name_to_say") or "") for run in runs]
    context = _Context(runs, rows, same, unlike, names, draws, seed)
    languages = sorted({row["language"] for mine in rows for row in mine.values()}, reverse=True)
    totals = []
    for metric in METRICS:
        if metric.key == "bits_per_character" and not any(unlike):
            continue
        totals.append(context.line(metric, "", [run.metrics.get(metric.key) for run in runs], {}))
        if metric.key in ("language_match", "says_name"):
            for language in languages:
                cells = [run.metrics.get("by_language", {}).get(language, {}).get(metric.key) for run in runs]
                totals.append(context.line(metric, language, cells, {"language": language}))
    classes = list(dict.fromkeys(row["category"] for mine in rows for row in mine.values()))
    by_class: dict[str, list[Line]] = {}
    for metric in METRICS:
        if metric.key in ("bits_per_character", "says_name"):
            continue
        for name in classes:
            cells = [run.metrics.get("by_category", {}).get(name, {}).get(metric.key) for run in runs]
            if any(cells):
                by_class.setdefault(metric.key, []).append(context.line(metric, name, cells, {"category": name}))
    shown = [line for line in totals if any(line.cells)]
    return Comparison(runs, rows, shown, by_class, min(map(len, same)), _warnings(runs, rows, same, unlike))


@dataclass(frozen=True)
class _Context:
    runs: tuple[RunFolder, ...]
    rows: tuple[dict[str, Row], ...]
    same: list[list[str]]
    unlike: list[bool]
    names: list[str]
    draws: int
    seed: int

    def line(self, metric: Metric, group: str, found: Sequence[Any], only: dict[str, str]) -> Line:
        cells = tuple(Interval(**cell) if cell else None for cell in found)
        differences = tuple(self._difference(metric.key, i, only) for i in range(len(cells)))
        apart = tuple(_apart(cells[0], cell) for cell in cells)
        unlike = [flag and metric.key == "loss" for flag in self.unlike]
        verdicts = tuple(_verdict(metric, cells[0], cells[i], differences[i], unlike[i]) if i else "" for i in range(len(cells)))
        return Line(metric, group, cells, differences, verdicts, apart)

    def _difference(self, key: str, i: int, only: dict[str, str]) -> Interval | None:
        if i == 0:
            return None
        ids = [k for k in self.same[i] if all(self.rows[0][k][name] == value for name, value in only.items())]
        before, before_weights = self._values(0, key, ids)
        after, after_weights = self._values(i, key, ids)
        if not before or len(before) != len(after):
            return None
        return paired_bootstrap(before, after, before_weights, after_weights, self.draws, self.seed)

    def _values(self, i: int, key: str, ids: list[str]) -> tuple[list[float], list[float] | None]:
        rows = [self.rows[i][k] for k in ids]
        if key == "says_name":
            return [float(says_name(row["answer"], self.names[i])) for row in rows if row["category"] == IDENTITY], None
        return values_of(rows, key)


def _apart(a: Interval | None, b: Interval | None) -> bool:
    return a is not None and b is not None and min(a.n, b.n) >= _FEWEST and (a.high < b.low or b.high < a.low)


def _verdict(metric: Metric, base: Interval | None, cell: Interval | None, difference: Interval | None, unlike: bool) -> Verdict:
    if base is None or cell is None:
        return ""
    if unlike:
        return "unlike"
    moved = _apart(base, cell) if difference is None else (difference.low > 0 or difference.high < 0) and cell.n >= _FEWEST
    if not moved:
        return "open"
    return "better" if (cell.value > base.value) == metric.higher else "worse"


def _warnings(runs: Sequence[RunFolder], rows: Sequence[dict[str, Row]], same: list[list[str]], unlike: list[bool]) -> list[str]:
    out = []
    for run, mine, shared, other in zip(runs, rows, same, unlike, strict=True):
        if len(shared) != len(mine) or len(shared) != len(rows[0]):
            out.append(
                f"{run.name} answered {len(mine)} questions and {runs[0].name} {len(rows[0])}; "
                f"differences are over the {len(shared)} that both have."
            )
        if other:
            out.append(f"{run.name} and {runs[0].name} have different tokenizers: compare bits per character, not loss.")
        ours, first = (r.info.get("notes", {}).get("template_sha256") for r in (run, runs[0]))
        if ours != first:
            out.append(f"{run.name} and {runs[0].name} were asked through different chat templates, each its own.")
        ours, first = ((r.info.get("recipe") or {}).get("generation") for r in (run, runs[0]))
        if ours != first:
            out.append(f"{run.name} and {runs[0].name} generated with different settings; see their recipes.")
    return out


def _answers(run: RunFolder) -> dict[str, dict[str, Any]]:
    """The rows of a run's answers.jsonl by id; all that its metrics were computed from, or an error."""
    found = {row["id"]: row for row in run.rows("answers.jsonl")}
    expected = run.metrics.get("questions")
    if run.finished and expected is not None and len(found) != expected:
        what = f"{run.path / 'answers.jsonl'} has {len(found)} whole rows, and the run answered {expected} questions"
        raise BelleError(what, "the file was damaged after the run: evaluate again with overwrite=true")
    return found
