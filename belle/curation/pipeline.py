"""Steps over records of any number: read into shards, taken through groups of steps shard by shard, gathered at the end.

Everything between reading and gathering is a file in the `work` folder that appears whole and is never changed: a killed run goes
on with the shards that are missing. What comes out does not depend on the size of shards, the number of workers or the
executor, because a shard's file depends on its records and on the decision of set steps alone, and decisions are made once.
"""

from __future__ import annotations

import heapq
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from belle import logs
from belle.curation import portrait, variety
from belle.curation.catalogue import Spec
from belle.curation.executors import Executor, OneProcess, Task
from belle.curation.items import Drop, Item
from belle.curation.shard_work import Group, Prepare, Work, forget_steps, lot, plan_groups, step_context
from belle.curation.shards import (
    Prepared,
    ShardItems,
    read_dropped,
    read_kept,
    read_summary,
    shard_count,
    shard_path,
    writable_scores,
    write_shard,
)
from belle.curation.steps import Context, Duplicate
from belle.data.formats import RecordStream
from belle.errors import BelleError
from belle.jsonl import atomic_path, read_json, remove, write_json, write_rows
from belle.records import record_dict

READ = "00"
"""The folder of what was read; the groups of steps follow."""


@dataclass
class Stage:
    """What one step did, as it stands in run.json and in the report."""

    step: str
    kind: str
    before: int = 0
    after: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    changed: int = 0
    seconds: float = 0.0
    """Time of all workers together."""
    values: dict[str, int] = field(default_factory=dict)
    """Of a score: value (to three digits) -> records."""
    edits: list[dict[str, str]] = field(default_factory=list)
    """Of an edit: a few {source, before, after}."""
    dropped: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """By reason: a few rows of dropped.jsonl; where another record is named, with it under `of_row`."""

    def counts(self) -> dict[str, Any]:
        """The numbers, for run.json."""
        pace = round(self.before / self.seconds) if self.seconds else None
        return {
            "step": self.step, "kind": self.kind, "before": self.before, "after": self.after, "reasons": self.reasons,
            "changed": self.changed, "seconds": round(self.seconds, 2), "records_per_second": pace,
        }  # fmt: skip


@dataclass
class Outcome:
    """All that a cleaning came to, apart from the records themselves."""

    stages: list[Stage]
    """Reading first, then a stage for every step."""
    before: portrait.Portrait
    after: portrait.Portrait
    files: list[tuple[str, int]]
    noticed: dict[str, int]
    """What reading mended or passed over."""
    variety: dict[str, Any] = field(default_factory=dict)
    """Of `variety.compare`; empty where nothing is left."""


def read_into_shards(stream: RecordStream[Any], folder: Path, size: int) -> None:
    """Read records into shards of `size` rows each; `folder` appears when all is read.

    Raises:
        BelleError: as `load_records`; `folder` is then not there.
    """
    with atomic_path(folder) as part:
        part.mkdir()
        kept: list[Item] = []
        dropped: list[tuple[int, dict[str, Any], int]] = []
        reasons: Counter[str] = Counter()
        shards = 0

        def close() -> None:
            nonlocal shards
            summary = {"in": len(kept) + len(dropped), "kept": len(kept), "reasons": dict(reasons)}
            write_shard(shard_path(part, shards), summary, kept, dropped)
            shards += 1
            for each in (kept, dropped, reasons):
                each.clear()

        started = time.perf_counter()
        for index, found in enumerate(stream):
            if isinstance(found, dict):
                why = "empty" if found.get("empty") else "malformed"
                reasons[why] += 1
                row = {"source": found["source"], "step": "read", "reason": why, "detail": found["reason"]}
                dropped.append((index, row | {"row": found["row"]}, -1))
            else:
                kept.append(Item(index, found))
            if len(kept) + len(dropped) == size:
                close()
        if kept or dropped:
            close()
        seconds = time.perf_counter() - started
        write_json(part / "read.json", {"files": stream.files, "counts": dict(+stream.counts), "seconds": seconds})


class Cleaning:
    """The steps of one recipe over what `read_into_shards` left in `work / READ`."""

    def __init__(self, work: Path, specs: Sequence[Spec], context: Context, seed: int, examples: int) -> None:
        """`examples` is how many removed records and edits are kept to show, for each reason."""
        self.work, self.specs, self.context, self.seed, self.examples = work, specs, context, seed, examples
        self.groups = plan_groups(specs)
        self.shards = shard_count(work / READ)

    def run(self, executor: Executor) -> list[Stage]:
        """Take every shard through every group that it has not yet been through.

        Raises:
            BelleError: a step says so; what is done until then stays and is not done again.
        """
        kinds = {spec.label: spec.kind for spec in self.specs}
        stages = [self._read_stage()]
        for group in self.groups:
            seconds = self._decide(group, executor)
            work = Work(
                self.work, group, self.context, self.seed, self.examples,
                first=group is self.groups[0], last=group is self.groups[-1],
            )  # fmt: skip
            summaries = self._over_shards(executor if not group.alone else OneProcess(), work, stages[-1].after, _name(group))
            for position, spec in enumerate(group.specs):
                stages.append(_stage(spec.label, kinds[spec.label], [s["steps"][position] for s in summaries], self.examples))
            if group.set_step:
                stages[-len(group.specs)].seconds += seconds
            forget_steps()
        return stages

    def outcome(self, stages: list[Stage]) -> Outcome:
        """The whole, once `run` has come to its end."""
        first, last = (
            [read_summary(shard_path(self.work / group.folder, shard)) for shard in range(self.shards)]
            for group in (self.groups[0], self.groups[-1])
        )
        noticed = read_json(self.work / READ / "read.json")["counts"]
        before, after = portrait.add(s["before"] for s in first), portrait.add(s["after"] for s in last)
        came, left = ShardItems(self.work / READ), ShardItems(self.work / self.groups[-1].folder)
        with logs.doing("compared the diversity"):
            varied = variety.compare(came, left, self.seed)
        came.close()
        left.close()
        return Outcome(stages, before, after, self.files(), noticed, varied)

    def files(self) -> list[tuple[str, int]]:
        """What was read: each file and how many records came from it."""
        return [(name, count) for name, count in read_json(self.work / READ / "read.json")["files"]]

    def kept(self) -> Iterator[Item]:
        """What is left, in the order of the input."""
        for shard in range(self.shards):
            yield from read_kept(shard_path(self.work / self.groups[-1].folder, shard))

    def dropped(self, stages: Sequence[Stage] = ()) -> Iterator[dict[str, Any]]:
        """What went, in the order of the input, each with its reason. A few of each reason are kept in `stages`."""
        by_name = {stage.step: stage for stage in stages}
        chosen: dict[tuple[str, str], list[tuple[int, int, int, int, dict[str, Any]]]] = {}
        folders = [READ, *(group.folder for group in self.groups)]
        streams = [self._dropped_in(number, folder) for number, folder in enumerate(folders)]
        for index, number, row, of in heapq.merge(*streams, key=lambda each: each[0]):
            heap = chosen.setdefault((row["step"], row["reason"]), [])
            entry = (-lot(self.seed, row["step"], index), index, number, of, row)
            if len(heap) < self.examples:
                heapq.heappush(heap, entry)
            elif heap and heap[0] < entry:
                heapq.heapreplace(heap, entry)
            yield row
        for (step, reason), heap in chosen.items():
            if step in by_name:
                ordered = sorted(heap, key=lambda entry: entry[1])
                by_name[step].dropped[reason] = [self._with_other(row, number, of) for _, _, number, of, row in ordered]

    def _dropped_in(self, number: int, folder: str) -> Iterator[tuple[int, int, dict[str, Any], int]]:
        for shard in range(self.shards):
            for index, row, of in read_dropped(shard_path(self.work / folder, shard)):
                yield index, number, row, of

    def _with_other(self, row: dict[str, Any], number: int, of: int) -> dict[str, Any]:
        if of < 0:
            return row
        items = ShardItems(self.work / f"{number - 1:02d}")
        other = items[of].record
        items.close()
        return row | {"of_row": record_dict(other)}

    def _read_stage(self) -> Stage:
        sizes = [read_summary(shard_path(self.work / READ, shard)) for shard in range(self.shards)]
        before, after = sum(s["in"] for s in sizes), sum(s["kept"] for s in sizes)
        reasons: Counter[str] = Counter()
        for size in sizes:
            reasons.update(size["reasons"])
        seconds = read_json(self.work / READ / "read.json")["seconds"]
        return Stage("read", "read", before, after, dict(sorted(reasons.items())), seconds=seconds)

    def _over_shards(self, executor: Executor, task: Task, records: int, name: str) -> list[dict[str, Any]]:
        found = []
        with logs.Bar(name, records) as bar:
            for summary in executor.run(task, range(self.shards)):
                found.append(summary)
                bar.step(summary["in"])
        return found

    def _decide(self, group: Group, executor: Executor) -> float:
        """Let the group's set step decide, unless it has; the seconds that it took."""
        spec, folder = group.set_step, self.work / f"{group.folder}-decided"
        if spec is None:
            return 0.0
        if not folder.is_dir():
            prepare = Prepare(self.work, group, self.context)
            items = ShardItems(self.work / f"{group.number - 1:02d}")
            done = self._over_shards(executor if not spec.alone else OneProcess(), prepare, len(items), f"preparing {spec.label}")
            started = time.perf_counter()
            step = spec.build(step_context(self.context, spec))
            prepared = Prepared([prepare.path(shard) for shard in range(self.shards)])
            rows = _checked(spec, step.decide(prepared, items), items)
            seconds = sum(one["seconds"] for one in done) + time.perf_counter() - started
            with atomic_path(folder) as part:
                part.mkdir()
                _write_decision(part, rows, items.starts.tolist())
                write_json(part / "seconds.json", seconds)
            items.close()
            remove(prepare.path(0).parent)
        return float(read_json(folder / "seconds.json"))


def write_products(cleaning: Cleaning, stages: Sequence[Stage], folder: Path) -> dict[str, str]:
    """Write kept.jsonl, dropped.jsonl and, where records were scored, scores.jsonl (a line for each of kept.jsonl)."""
    names = [spec.name for spec in cleaning.specs if spec.kind == "score"]
    products = {"kept": "kept.jsonl", "dropped": "dropped.jsonl"}
    write_rows(folder / "dropped.jsonl", cleaning.dropped(stages))
    write_rows(folder / "kept.jsonl", (record_dict(item.record) for item in cleaning.kept()))
    if names:
        products["scores"] = "scores.jsonl"
        rows = ({"source": str(i.record.source), "id": i.record.id, **writable_scores(i.scores)} for i in cleaning.kept())
        write_rows(folder / "scores.jsonl", rows)
    return products


def _name(group: Group) -> str:
    """A group as the progress bar calls it."""
    labels = [spec.label for spec in group.specs] or ["reading again"]
    return labels[0] if len(labels) == 1 else f"{labels[0]} to {labels[-1]} ({len(labels)} steps)"


def _stage(label: str, kind: str, parts: Sequence[dict[str, Any]], examples: int) -> Stage:
    stage = Stage(label, kind)
    reasons: Counter[str] = Counter()
    values: Counter[str] = Counter()
    edits: list[list[Any]] = []
    for part in parts:
        stage.before += part["in"]
        stage.after += part["out"]
        stage.changed += part["changed"]
        stage.seconds += part["seconds"]
        reasons.update(part["reasons"])
        values.update(part["values"])
        edits += part["edits"]
    stage.reasons = dict(sorted(reasons.items(), key=lambda each: (-each[1], each[0])))
    stage.values = dict(sorted(values.items()))
    chosen = sorted(edits, key=lambda edit: (-edit[0], edit[1]))[:examples]
    stage.edits = [shown for _, _, shown in sorted(chosen, key=lambda edit: edit[1])]
    return stage


def _checked(spec: Spec, decided: Iterable[tuple[int, Drop]], items: ShardItems) -> list[tuple[int, Drop, str]]:
    """The decision by position, each with the source of the other record; what a set step must not do is an error."""

    def need(true: bool, message: str) -> None:
        if not true:
            raise BelleError(f"step {spec.label}: {message}", "see SetStep.decide in belle/curation/steps.py")

    rows = sorted(((int(position), drop) for position, drop in decided), key=lambda each: each[0])
    gone = {position for position, _ in rows}
    need(len(gone) == len(rows), "a position was decided twice")
    need(not gone or (min(gone) >= 0 and max(gone) < len(items)), f"a position is none of 0 .. {len(items) - 1}")
    found = []
    for position, drop in rows:
        need(isinstance(drop, Drop), f"position {position} has {drop!r}, not a Drop")
        source = ""
        if isinstance(drop, Duplicate):
            need(0 <= drop.of < len(items) and drop.of not in gone, f"position {position} goes because of {drop.of}, which is no "
                 "record that stays")  # fmt: skip
            source = str(items[drop.of].record.source)
        found.append((position, drop, source))
    return found


def _write_decision(folder: Path, rows: Sequence[tuple[int, Drop, str]], starts: Sequence[int]) -> None:
    """One file a shard: which of its records go, by their place in it."""
    at = 0
    for shard, (start, end) in enumerate(pairwise(starts)):
        mine = []
        while at < len(rows) and rows[at][0] < end:
            position, drop, source = rows[at]
            of = drop.of if isinstance(drop, Duplicate) else -1
            mine.append({"at": position - start, "reason": drop.reason, "detail": drop.detail, "of": of, "of_source": source})
            at += 1
        write_rows(folder / f"{shard:05d}.jsonl", mine)
