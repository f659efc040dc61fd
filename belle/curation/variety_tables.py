"""The diversity check as the tables of the cleaning report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from belle.curation.charts import shares
from belle.pages import page

CROWDED = 0.5
"""The share of a kind of task from which on the report warns."""
VERBS = 12


def tables(variety: Mapping[str, Any], records: int) -> dict[str, Any]:
    """What the template `diversity.html.jinja` is given; `records` is how many there were before."""
    if not variety:
        return {"diversity": None}
    before, after = variety["before"], variety["after"]
    total = sum(after["classes"].values())
    return {
        "diversity": variety, "whole": variety["sample"] == records, "kinds": shares(before["classes"], after["classes"]),
        "crowded": [(name, count / total) for name, count in after["classes"].items() if count / total > CROWDED],
        "measures": measures(before, after), "verbs": _verbs(after["verb_object"]),
        "frequent": [(name, _cloud(words["frequent"])) for name, words in after["words"].items() if words["frequent"]],
    }  # fmt: skip


def measures(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(what is measured, before, after), as the page shows it."""
    rows = []
    if before["verb_object"] and after["verb_object"]:
        for name, key, share in (
            ("different verbs", "different_verbs", False), ("different verb-object pairs", "different_pairs", False),
            ("different ones of all pairs", "pair_share", True),
        ):  # fmt: skip
            rows.append((name, _shown(before["verb_object"][key], share), _shown(after["verb_object"][key], share)))
    for part in ("instruction", "answer"):
        old, new = (side["words"].get(part) for side in (before, after))
        if old and new:
            ratio, pairs = "type_token_per_1000", "distinct"
            rows.append((f"{part}: different words in 1,000", _shown(old[ratio], True), _shown(new[ratio], True)))
            rows.append((f"{part}: different pairs of words", _shown(old[pairs]["2"], True), _shown(new[pairs]["2"], True)))
    return rows


def _verbs(found: Mapping[str, Any] | None) -> list[tuple[str, int, float, list[str]]]:
    table = found["table"][:VERBS] if found else []
    most = max((count for _, count, _ in table), default=1)
    return [(verb, count, round(100 * count / most, 1), [noun for noun, _ in objects]) for verb, count, objects in table]


def _cloud(frequent: list[list[Any]]) -> list[tuple[str, int, float]]:
    most = max(count for _, count, _ in frequent)
    return [(word, count, round(0.85 + 0.9 * (count / most) ** 0.5, 2)) for word, count, _ in frequent]


def _shown(value: float | None, share: bool) -> str:
    return page.number(value, True) if share or value is None else f"{value:,}"
