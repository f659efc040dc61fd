"""Look at a data set: how much of what is in it, and what should be cleaned.

In: files of any format, conversations, preference pairs or documents. Out: tables on the terminal, stats.html to read and
stats.json to compute with: counts, lengths, languages, kinds of task (a classifier's and the records' own), turns, verbs and
what they are about, frequent words, distinct n-grams, exact and near duplicates, and what the filters of `belle clean` would
drop, with examples. Nothing is changed.

Examples:
    belle stats my.jsonl
    belle stats a.json b.json output_dir=runs/stats data.on_error=keep
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from belle import logs
from belle.config import Section
from belle.errors import BelleError
from belle.jsonl import write_json
from belle.sections import DataSection, Positive

POSITIONAL = "data.path[]"


class Config(Section):
    """What to look at."""

    data: DataSection
    records: Literal["auto", "conversations", "preferences", "documents"] = "auto"
    """What the rows are; auto takes the first of the three as which the first row can be read."""
    sample: Positive = 20_000
    """Records that the slower figures are of, a random choice; counts, lengths and exact duplicates are of all."""
    seed: int = 0
    """Seed of the sample."""
    output_dir: str | None = None
    """Where stats.html and stats.json go; absent means runs/stats-NAME after the first file."""


def run(config: Config) -> None:
    """Read everything once, then look closer at the sample."""
    from belle.curation.survey import Survey
    from belle.curation.survey_report import write_report
    from belle.data.formats import RecordStream

    kind = _kind(config)
    stream = RecordStream(config.data, kind, empty_texts=True)
    survey = Survey(config.sample, config.seed)
    left_out: list[dict[str, Any]] = []
    with logs.doing("read the data"):
        for found in stream:
            if isinstance(found, dict):
                left_out.append(found)
            else:
                survey.add(found)
    with logs.doing("looked closer"):
        figures = survey.result()
    figures |= {
        "files": [list(each) for each in stream.files], "noticed": dict(+stream.counts),
        "left_out": [{"source": row["source"], "reason": row["reason"]} for row in left_out],
    }  # fmt: skip
    folder = _folder(config)
    write_json(folder / "stats.json", figures)
    write_report(folder / "stats.html", figures, ", ".join(_paths(config)), _clean(config, kind.__name__))
    show(figures)
    if left_out:
        logs.warn(f"{len(left_out)} rows were left out, such as {left_out[0]['source']}: {left_out[0]['reason']}; see stats.json")
    logs.out(str(folder / "stats.html"))


def plan(config: Config) -> list[str]:
    """What `run` would do."""
    return [f"read {', '.join(_paths(config))}", f"write stats.html and stats.json to {_folder(config)}"]


def show(figures: dict[str, Any]) -> None:
    """Print the tables."""
    sample = figures["sample"]
    of = "" if sample == figures["records"] else f", of a sample of {sample}"
    lengths = [[name, *one["quantiles"].values(), one["mean"]] for name, one in figures["lengths"].items()]
    logs.table([f"{figures['records']} records", "shortest", "25 %", "median", "75 %", "95 %", "longest", "mean"], lengths,
               "Lengths in characters")  # fmt: skip
    classes, total = figures["classes"]["found"], max(1, sum(figures["classes"]["found"].values()))
    if classes:
        given = figures["classes"]["given"]
        rows = [[name, count, f"{count / total:.1%}", given.get(name, 0)] for name, count in classes.items()]
        rows += [[name, 0, "0.0%", count] for name, count in given.items() if name not in classes]
        logs.table(["kind of task", "found", "share", "given"], rows, f"Kinds of task{of}")
    logs.table(["language", "records"], list(figures["languages"].items())[:8], f"Languages{of}")
    if figures["verb_object"]:
        verbs = figures["verb_object"]["table"][:10]
        rows = [[verb, count, ", ".join(f"{noun} {n}" for noun, n in nouns)] for verb, count, nouns in verbs]
        logs.table(["verb", "records", "what it is about"], rows, f"What is asked{of}")
    for name, words in figures["words"].items():
        frequent = " ".join(word for word, _, _ in words["frequent"][:20])
        logs.say(f"  words of the {name}: {words['words']}, {words['types']} different; {frequent}")
    twice = figures["duplicates"]
    logs.table(["there twice", "records"], [
        ["the same record", twice["same_record"]], ["the same instruction", twice["same_instruction"]],
        [f"nearly the same record{of}", twice["near"]["count"]],
    ])  # fmt: skip
    looks = [row for row in figures["looks"] if row["count"]]
    if looks:
        rows = [[row["step"], row["count"], f"{row['count'] / sample:.1%}", ", ".join(row["reasons"])] for row in looks]
        logs.table(["filter", "would drop", "share", "why"], rows, f"What belle clean would look at{of}")
    for row in figures["looks"]:
        if "failed" in row:
            logs.warn(f"{row['step']} could not be used: {row['failed']}")


def _kind(config: Config) -> type[Any]:
    from belle.data.formats import RecordStream
    from belle.records import Conversation, Document, Preference

    kinds: dict[str, type[Any]] = {"conversations": Conversation, "preferences": Preference, "documents": Document}
    if config.records != "auto":
        return kinds[config.records]
    first_error: BelleError | None = None
    one = config.data.model_copy(update={"on_error": "stop", "limit": 1})
    for kind in kinds.values():
        try:
            next(iter(RecordStream(one, kind, empty_texts=True)))
        except (BelleError, StopIteration) as error:
            first_error = first_error or (error if isinstance(error, BelleError) else None)
        else:
            return kind
    if config.data.on_error == "keep" or first_error is None:
        return Conversation  # the first row is bad, or there is none: read as usual, that tells
    raise first_error


def _paths(config: Config) -> list[str]:
    return [config.data.path] if isinstance(config.data.path, str) else list(config.data.path)


def _folder(config: Config) -> Path:
    if config.output_dir is not None:
        return Path(config.output_dir)
    name = _paths(config)[0].removeprefix("shipped:").removeprefix("hf:").rstrip("/")
    return Path("runs") / f"stats-{Path(name).name.split('.')[0] or 'data'}"


def _clean(config: Config, kind: str) -> str:
    paths = _paths(config)
    path = paths[0] if len(paths) == 1 else f"'[{', '.join(paths)}]'"
    records = " records=documents" if kind == "Document" else ""
    return f"belle clean open_clean data.path={path}{records} output_dir=runs/clean"
