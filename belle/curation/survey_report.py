"""The figures of a data set as one HTML page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from belle.curation.charts import Histogram, length_chart
from belle.jsonl import write_text
from belle.pages import page

PAGE = Path(__file__).with_name("stats_page")


def write_report(path: Path, figures: Mapping[str, Any], title: str, command: str) -> None:
    """Write the page atomically. `command` is the `belle clean` that would go on from here."""
    write_text(path, render(figures, title, command))


def render(figures: Mapping[str, Any], title: str, command: str) -> str:
    """The page as text."""
    looks = [row for row in figures["looks"] if row["count"]]
    return page.render(
        PAGE, title, figures=figures, headline=headline(figures), command=command, looks=looks,
        failed=[row for row in figures["looks"] if "failed" in row],
        clear=[row["step"] for row in figures["looks"] if not row["count"] and "failed" not in row],
        lengths=[(name, one, _histogram(one["bins"])) for name, one in figures["lengths"].items()],
        bars=_bars(figures), verbs=_verbs(figures), words=_words(figures), whole=figures["sample"] == figures["records"],
        step_name=lambda name: name.replace("_", " "), file_name=lambda source: source.rsplit("/", 1)[-1],
    )  # fmt: skip


def headline(figures: Mapping[str, Any]) -> list[str]:
    """The page in one sentence; every second piece is set off."""
    kind = {"conversation": "conversations", "document": "documents", "preference": "preference pairs"}
    names = " and ".join(kind[name] for name in figures["kinds"])
    found = figures["classes"]["found"]
    what = ""
    if found:
        (name, count), *_ = found.items()
        what = f", {count / sum(found.values()):.0%} of them {name.replace('_', ' ')}"
    languages = list(figures["languages"])
    spoken = {"zh": "Chinese", "zh-hant": "traditional Chinese", "en": "English", "none": "no language"}
    return ["", f"{figures['records']:,}", f" {names}, mostly in {spoken.get(languages[0], languages[0])}{what}."]


def _bars(figures: Mapping[str, Any]) -> list[tuple[str, str, list[tuple[str, int, float, float]]]]:
    groups = [
        ("Kinds of task, as the classifier sees them", "of the sample", figures["classes"]["found"]),
        ("Kinds of task, as the records say", "", figures["classes"]["given"]),
        ("Languages", "of the answers, in the sample", figures["languages"]),
        ("User turns in a record", "", figures["turns"] if len(figures["turns"]) > 1 else {}),
    ]
    out = []
    for name, note, counts in groups:
        if not counts:
            continue
        total, most = sum(counts.values()), max(counts.values())
        rows = [(value, count, count / total, round(100 * count / most, 2)) for value, count in list(counts.items())[:16]]
        if len(counts) > 16:
            rest = sum(list(counts.values())[16:])
            rows.append((f"{len(counts) - 16} others", rest, rest / total, round(100 * min(rest / most, 1.0), 2)))
        out.append((name, note, rows))
    return out


def _verbs(figures: Mapping[str, Any]) -> list[dict[str, Any]]:
    pairs = figures["verb_object"]
    if not pairs or not pairs["table"]:
        return []
    most = pairs["table"][0][1]
    return [
        {"verb": verb, "count": count, "width": round(100 * count / most, 2), "objects": objects}
        for verb, count, objects in pairs["table"]
    ]


def _words(figures: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any], list[tuple[str, int, int, float]]]]:
    out = []
    for name, words in figures["words"].items():
        most = words["frequent"][0][1] if words["frequent"] else 1
        rows = [(word, count, texts, round(0.8 + 1.1 * (count / most) ** 0.5, 2)) for word, count, texts in words["frequent"]]
        out.append((name, words, rows))
    return out


def _histogram(bins: Mapping[str, int]) -> Histogram | None:
    chart = length_chart(bins, {})
    if chart is None:
        return None
    columns = [replace(c, title=c.title.split(":")[0] + ": " + c.title.split(": ")[1].split(" before")[0]) for c in chart.columns]
    return replace(chart, columns=columns)
