"""What a cleaning did as one HTML page: how many went where and why, with the records themselves as examples."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from belle.curation.charts import Histogram, length_chart, score_chart, shares
from belle.curation.differences import left_out, marked, plain, visible
from belle.curation.pipeline import Outcome, Stage
from belle.curation.variety_tables import tables
from belle.jsonl import write_text
from belle.pages import page

PAGE = Path(__file__).with_name("report_page")


def write_report(path: Path, outcome: Outcome, info: Mapping[str, Any], title: str) -> None:
    """Write the page of a cleaning atomically; `info` is the content of run.json."""
    write_text(path, render(outcome, info, title))


def render(outcome: Outcome, info: Mapping[str, Any], title: str) -> str:
    """The page as text."""
    stages = outcome.stages
    scores = [(stage, chart) for stage in stages if (chart := _score(stage, info)) is not None]
    return page.render(
        PAGE, title, headline=headline(stages), written=str(info.get("finished") or info.get("started") or "")[:10],
        stages=stages, rows=_rows(stages, info),
        removed=[(stage, _reasons(stage)) for stage in stages if stage.reasons],
        edited=[(stage, [_edit(edit) for edit in stage.edits]) for stage in stages if stage.changed],
        scores=scores, before=outcome.before, after=outcome.after,
        lengths=[(name, chart) for name in ("instruction", "answer")
                 if (chart := length_chart(outcome.before[name], outcome.after[name])) is not None],
        shares={name: shares(outcome.before[name], outcome.after[name]) for name in ("categories", "languages", "turns")},
        files=outcome.files, noticed=outcome.noticed, info=info, recipe=_recipe(info), again=_again(info, title),
        seconds=sum(stage.seconds for stage in stages), step_name=step_name, file_name=file_name,
        **tables(outcome.variety, stages[0].before),
    )  # fmt: skip


def headline(stages: list[Stage]) -> list[str]:
    """The page in one sentence; every second piece is set off."""
    came, left = stages[0].before, stages[-1].after
    if left == came:
        changed = max((stage.changed for stage in stages), default=0)
        return ["All ", f"{came:,}", " records stayed" + (f"; one step rewrote {changed:,} of them." if changed else ".")]
    worst = sorted((stage for stage in stages if stage.before > stage.after), key=lambda s: s.after - s.before)[:2]
    why = " and ".join(f"{stage.before - stage.after:,} to {step_name(stage.step)}" for stage in worst)
    lost = "Most went" if len(worst) > 1 else "The rest went"
    return ["Of ", f"{came:,}", " records ", f"{left:,}", f" stayed. {lost}: {why}."]


def _rows(stages: list[Stage], info: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The waterfall; after reading, each stage is an entry of the recipe's steps."""
    most = max(stages[0].before, 1)
    entries = ["read", *info["recipe"]["steps"]]
    return [
        {
            "stage": stage, "gone": stage.before - stage.after, "kept_width": round(100 * stage.after / most, 3),
            "gone_width": round(100 * (stage.before - stage.after) / most, 3), "pace": stage.counts()["records_per_second"],
            "half": 2 * stage.after < stage.before, "options": _options(entry),
        }
        for stage, entry in zip(stages, entries, strict=True)
    ]  # fmt: skip


def _options(entry: Any) -> str:
    """What the recipe says about a step, in short."""
    options = next(iter(entry.values())) if isinstance(entry, Mapping) else None
    text = ", ".join(f"{key} {value}" for key, value in (options or {}).items())
    return text if len(text) <= 90 else text[:88] + " …"


def _reasons(stage: Stage) -> list[dict[str, Any]]:
    most = max(stage.reasons.values())
    return [
        {"reason": reason, "count": count, "width": round(100 * count / most, 2) if len(stage.reasons) > 1 else None,
         "share": count / stage.before,
         "examples": [_example(row) for row in stage.dropped.get(reason, ())]}
        for reason, count in stage.reasons.items()
    ]  # fmt: skip


def _example(row: Mapping[str, Any]) -> dict[str, Any]:
    text = transcript(row["row"])
    shown = {"source": row["source"], "detail": row["detail"], "scores": row.get("scores", {}), "of": "", "other": []}
    if "of_row" not in row:
        return shown | {"text": plain(text), "more": left_out(text)}
    other = transcript(row["of_row"])
    mine, theirs = marked(text, other)
    shown["detail"] = "" if text == other else row["detail"].removesuffix(f" with {row['of']}")
    return shown | {
        "text": visible(mine), "other": visible(theirs), "of": row["of"], "more": left_out(text),
        "more_other": left_out(other), "same": text == other,
    }  # fmt: skip


def _edit(edit: Mapping[str, str]) -> dict[str, Any]:
    start = _start_of_difference(edit["before"], edit["after"])
    before, after = marked(edit["before"][start:], edit["after"][start:])
    return {
        "source": edit["source"], "skipped": start, "before": visible(before), "after": visible(after),
        "more": left_out(edit["before"][start:]), "more_after": left_out(edit["after"][start:]),
    }  # fmt: skip


def _start_of_difference(before: str, after: str) -> int:
    """Where to begin showing two long texts: a little before they part, 0 where that is near the start."""
    same = next((i for i, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), min(len(before), len(after)))
    return same - 60 if same > 200 else 0


def transcript(row: Any) -> str:
    """A row of dropped.jsonl as a person reads it: turns with their roles, the text of a document, anything else as JSON."""
    if isinstance(row, Mapping) and isinstance(row.get("text"), str) and "messages" not in row:
        return str(row["text"])
    if not isinstance(row, Mapping) or not isinstance(row.get("messages"), list):
        return row if isinstance(row, str) else page.pretty(row)
    turns = []
    for message in row["messages"]:
        calls = [f"[calls {call['function']['name']} {call['function']['arguments']}]" for call in message.get("tool_calls", ())]
        turns.append(f"{message['role']}: " + " ".join(filter(None, (message["content"], *calls))))
    return "\n".join(turns)


def _score(stage: Stage, info: Mapping[str, Any]) -> Histogram | None:
    if not stage.values:
        return None
    limits = {}
    for entry in info["recipe"]["steps"]:
        if isinstance(entry, Mapping) and stage.step.split(" (")[0] in entry:
            options = entry[stage.step.split(" (")[0]] or {}
            limits = {name: options[name] for name in ("at_least", "at_most") if name in options}
    return score_chart(stage.values, limits)


def step_name(label: str) -> str:
    """A step as the page calls it; one of the user's own keeps its name."""
    return label if ":" in label.split(" (")[0] else label.replace("_", " ")


def file_name(source: str) -> str:
    """The last part of a `file:line`; the whole of it is shown on pointing."""
    return source.rsplit("/", 1)[-1]


def _recipe(info: Mapping[str, Any]) -> str:
    import yaml

    return yaml.safe_dump(dict(info["recipe"]), sort_keys=False, allow_unicode=True, width=100)


def _again(info: Mapping[str, Any], folder: str) -> list[tuple[str, str]]:
    """What to type next: (why, command)."""
    return [
        ("Do it again", f"belle clean {folder}/recipe.yaml output_dir={folder}-again"),
        ("On other data", f"belle clean {folder}/recipe.yaml data.path=other.jsonl output_dir={folder}-other"),
        *([("Train on what stayed", f"belle sft demo data.path={folder}/kept.jsonl output_dir=runs/mine")]
          if info["recipe"]["records"] == "conversations" else []),
    ]  # fmt: skip
