"""From rows of answers.jsonl to the metrics of run.json. Needs no model."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from belle.evaluation.intervals import bootstrap, macro
from belle.evaluation.metrics import says_name
from belle.evaluation.tasks import IDENTITY

Row = dict[str, Any]

SHARES = ("chrf", "rouge_l", "exact", "language_match", "language_share", "stopped")
"""Columns of answers.jsonl whose mean over questions is a metric; chrf, rouge_l and exact are null without a reference."""


def summarise(rows: Sequence[Row], name: str, model: str, draws: int = 2000, seed: int = 0) -> dict[str, Any]:
    """The metrics of run.json from the rows of answers.jsonl.

    A mean is {"value", "low", "high", "n"} with its 95 % bootstrap interval, or None where no row has that score. Loss is
    in nats a token over all reference tokens; `bits_per_character` compares models with different tokenizers. `says_name`
    is the share of answers in the category identity that contain `name`. A macro average is the mean over categories
    without identity; those without the score are named under `left_out`.
    """
    groups = _by(rows, "category")
    identity = groups.get(IDENTITY, [])
    return {
        "model": model, "questions": len(rows), "errors": sum(row["finish"] == "error" for row in rows),
        "unscored": sum("loss_error" in row for row in rows),
        **_means(rows, draws, seed),
        "says_name": _mean([says_name(row["answer"], name) for row in identity], None, draws, seed),
        "by_category": {name: {"n": len(group), **_means(group, draws, seed)} for name, group in groups.items()},
        "by_language": {
            key: {
                "n": len(group), **_means(group, draws, seed),
                "says_name": _mean([says_name(r["answer"], name) for r in group if r["category"] == IDENTITY], None, draws, seed),
            }
            for key, group in _by(rows, "language").items()
        },
        "macro": _macro({key: group for key, group in groups.items() if key != IDENTITY}, draws, seed),
    }  # fmt: skip


def values_of(rows: Sequence[Row], metric: str) -> tuple[list[float], list[float] | None]:
    """(values, weights) of one metric for `intervals`, over the rows that have it; only loss metrics carry weights."""
    if metric == "loss":
        scored = [row for row in rows if row["loss_tokens"]]
        return [row["loss_sum"] for row in scored], [float(row["loss_tokens"]) for row in scored]
    if metric == "bits_per_character":
        scored = [row for row in rows if row.get("loss_characters")]
        return [row["loss_sum"] / math.log(2) for row in scored], [float(row["loss_characters"]) for row in scored]
    return [float(row[metric]) for row in rows if row.get(metric) is not None], None


def _means(rows: Sequence[Row], draws: int, seed: int) -> dict[str, Any]:
    loss = _mean(*values_of(rows, "loss"), draws, seed)
    return {
        "loss": loss,
        "perplexity": loss and {key: value if key == "n" else math.exp(min(value, 700.0)) for key, value in loss.items()},
        "bits_per_character": _mean(*values_of(rows, "bits_per_character"), draws, seed),
        **{metric: _mean(*values_of(rows, metric), draws, seed) for metric in SHARES},
    }


def _mean(values: Sequence[float], weights: Sequence[float] | None, draws: int, seed: int) -> dict[str, Any] | None:
    return bootstrap(values, weights, draws, seed).as_dict() if values else None


def _macro(groups: dict[str, list[Row]], draws: int, seed: int) -> dict[str, Any]:
    out: dict[str, Any] = {"categories": list(groups), "left_out": {}}
    for metric in ("loss", "bits_per_character", *SHARES):
        pairs = {key: values_of(group, metric) for key, group in groups.items()}
        have = {key: pair for key, pair in pairs.items() if pair[0]}
        out[metric] = macro(have, draws, seed).as_dict() if have else None
        if missing := [key for key in groups if key not in have]:
            out["left_out"][metric] = missing
    return out


def _by(rows: Sequence[Row], key: str) -> dict[str, list[Row]]:
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        groups[row[key]].append(row)
    return dict(groups)
