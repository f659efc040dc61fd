"""What a chain of runs came to, in one sentence with numbers."""

from __future__ import annotations

from collections.abc import Sequence

from belle.evaluation.comparison import Comparison, Line
from belle.lineage import RunFolder

_STRESS = "\u2063"  # an invisible separator, which no number and no name of a run holds
_WORDS = {
    "language_match": "{0} of answers are in the asked language instead of {1}",
    "loss": "the loss on reference answers is {0} instead of {1}",
    "says_name": "the model says its name in {0} of answers about itself instead of {1}",
    "stopped": "{0} of answers end by themselves instead of {1}",
    "chrf": "chrF is {0} instead of {1}",
}


def headline(runs: Sequence[RunFolder], comparison: Comparison | None) -> list[str]:
    """The sentence, cut where what it stresses begins and ends: every second part is a new value.

    Only what changed beyond chance is in it; a change for the worse is said as plainly as one for the better.
    """
    return _sentence(runs, comparison).split(_STRESS)


def _sentence(runs: Sequence[RunFolder], comparison: Comparison | None) -> str:
    if comparison is None:
        return _of_training(runs)
    lines = {line.metric.key: line for line in comparison.totals if not line.group}
    if len(comparison.runs) == 1:
        return _of_one(comparison, lines)
    first, last = comparison.runs[0], comparison.runs[-1]
    trained = _ancestors(last) - _ancestors(first)
    begin = "After training" if any(verb == "sft" for verb, _ in trained) else f"{last.name} against {first.name}"
    moved = [key for key in _WORDS if key in lines and lines[key].verdicts[-1] in ("better", "worse")][:3]
    if not moved:
        return f"{begin}, no score moved beyond chance over {comparison.shared} questions."
    clauses = [_WORDS[key].format(f"{_STRESS}{_value(lines[key], -1)}{_STRESS}", _value(lines[key], 0)) for key in moved]
    return f"{begin}, {_listed(clauses)}."


def _of_training(runs: Sequence[RunFolder]) -> str:
    trained = [run for run in runs if "loss_first" in run.metrics and "loss_last" in run.metrics]
    if not trained:
        return f"{len(runs)} {'run' if len(runs) == 1 else 'runs'}, and no evaluation yet."
    found = trained[-1].metrics
    word = "fell" if found["loss_last"] < found["loss_first"] else "rose"
    return f"Training loss {word} from {found['loss_first']:.3f} to {found['loss_last']:.3f} in {found['steps']:,} steps."


def _of_one(comparison: Comparison, lines: dict[str, Line]) -> str:
    clauses = []
    if line := lines.get("language_match"):
        clauses.append(f"{_value(line, 0)} of {comparison.shared} answers are in the asked language")
    if line := lines.get("loss"):
        clauses.append(f"the loss on reference answers is {_value(line, 0)}")
    return f"{comparison.runs[0].name}: {_listed(clauses)}."


def _value(line: Line, index: int) -> str:
    cell = line.cells[index]
    assert cell is not None  # a verdict stands only where both values do
    return f"{100 * cell.value:.0f}%" if line.metric.share else f"{cell.value:.2f}"


def _listed(clauses: Sequence[str]) -> str:
    return clauses[0] if len(clauses) == 1 else f"{', '.join(clauses[:-1])} and {clauses[-1]}"


def _ancestors(run: RunFolder) -> set[tuple[str, str]]:
    out = {(run.verb, str(run.info["id"]))}
    for parent in run.parents:
        out |= _ancestors(parent)
    return out
