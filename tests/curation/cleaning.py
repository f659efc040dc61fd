"""Run steps over a few records in a folder, as the verb does, for the tests of the pipeline."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from belle.curation import catalogue
from belle.curation.executors import Executor, OneProcess
from belle.curation.pipeline import READ, Cleaning, Stage, read_into_shards, write_products
from belle.curation.steps import Context
from belle.data.formats import RecordStream
from belle.records import Conversation
from belle.sections import DataSection

STEPS: tuple[Any, ...] = (
    {"own_steps:too_short": {"least": 3}}, "own_steps:single_spaces", {"own_steps:Length": {"at_most": 60}},
    "own_steps:SameText", {"own_steps:Forbidden": {"words": ["坏", "bad"]}}, "own_steps:Script",
    {"own_steps:Longest": {"most": 5}},
)  # fmt: skip
"""Every kind of step, in an order that makes several groups."""


def data_file(path: Path, texts: Sequence[str]) -> Path:
    """One conversation a line: the text is asked, and answered by its first half."""
    halves = [text[: len(text) // 2] for text in texts]
    rows = [
        {"messages": [{"role": "user", "content": text}, {"role": "assistant", "content": half if half.strip() else "-"}]}
        for text, half in zip(texts, halves, strict=True)
    ]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def clean(
    data: Path, folder: Path, steps: Sequence[Any] = STEPS, shard: int = 4, executor: Executor | None = None, **options: Any
) -> tuple[Cleaning, list[Stage]]:
    """Read, run and write; the products stand in `folder`."""
    work = folder / "work"
    kind = options.pop("kind", Conversation)
    if not (work / READ).is_dir():
        work.mkdir(parents=True, exist_ok=True)
        read_into_shards(RecordStream(DataSection(path=str(data), **options), kind, empty_texts=True), work / READ, shard)
    cleaning = Cleaning(work, specs_of(steps), Context(folder / "steps"), 0, 2)
    with executor or OneProcess() as chosen:
        stages = cleaning.run(chosen)
    write_products(cleaning, stages, folder)
    return cleaning, stages


def specs_of(steps: Sequence[Any]) -> tuple[catalogue.Spec, ...]:
    """Specs of steps that are all of one's own: no table is looked into."""
    return catalogue.read_steps(steps)


def rows(path: Path) -> list[Mapping[str, Any]]:
    """The rows of a JSON-lines file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
