"""What is done to one shard: the tasks that executors run, in whatever process. A task writes the file of its shard alone."""

from __future__ import annotations

import hashlib
import heapq
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from belle.curation.catalogue import Spec
from belle.curation.items import Drop, Item
from belle.curation.portrait import portrait
from belle.curation.shards import read_kept, read_summary, shard_path, writable_scores, write_array, write_shard
from belle.curation.steps import Context
from belle.curation.texts import Curated
from belle.errors import BelleError
from belle.jsonl import read_rows
from belle.records import Conversation, Document, record_dict


@dataclass(frozen=True)
class Group:
    """Steps that go over a shard in one pass: at most one set step, whose decision comes first, then per-record steps."""

    number: int
    set_step: Spec | None
    steps: tuple[Spec, ...]
    alone: bool = False

    @property
    def specs(self) -> tuple[Spec, ...]:
        """All of them, in order."""
        return ((self.set_step,) if self.set_step else ()) + self.steps

    @property
    def folder(self) -> str:
        """The name of the folder in which its shards stand."""
        return f"{self.number:02d}"


def plan_groups(specs: Sequence[Spec]) -> list[Group]:
    """Cut the steps of a recipe into groups: a new one before every set step, and around steps that run alone."""
    groups = [Group(1, None, ())]
    for spec in specs:
        last = groups[-1]
        if spec.kind == "set step":
            group = Group(len(groups) + 1, spec, ())
            groups = [replace(group, number=1)] if not last.specs else [*groups, group]
        elif spec.alone != last.alone and last.specs:
            groups.append(Group(len(groups) + 1, None, (spec,), spec.alone))
        else:
            groups[-1] = replace(last, steps=(*last.steps, spec), alone=spec.alone)
    return groups


@dataclass(frozen=True)
class Prepare:
    """Prepare one shard for a set step: its array as a file."""

    work: Path
    group: Group
    context: Context

    def path(self, shard: int) -> Path:
        """The file of the array."""
        return self.work / f"{self.group.folder}-prepared" / f"{shard:05d}.npy"

    def __call__(self, shard: int) -> dict[str, Any]:
        """Do it, unless an earlier process did; how many records and seconds."""
        source = shard_path(self.work / f"{self.group.number - 1:02d}", shard)
        if self.path(shard).exists():
            return {"in": read_summary(source)["kept"], "seconds": 0.0}
        assert self.group.set_step is not None
        step = _built(self.work, self.group, self.context)[0]
        records = [item.record for item in read_kept(source)]
        started = time.perf_counter()
        array = step.prepare(records)
        if len(array) != len(records):
            raise BelleError(f"step {self.group.set_step.label}: prepared {len(array)} rows for {len(records)} records")
        write_array(self.path(shard), array)
        return {"in": len(records), "seconds": time.perf_counter() - started}


@dataclass(frozen=True)
class Work:
    """Take one shard through a group: what goes on and what goes, with its reason, as a file."""

    work: Path
    group: Group
    context: Context
    seed: int
    examples: int
    first: bool
    last: bool

    def __call__(self, shard: int) -> dict[str, Any]:
        """Do it, unless an earlier process did; the summary that stands in the file."""
        path = shard_path(self.work / self.group.folder, shard)
        if path.exists():
            return read_summary(path)
        items = list(read_kept(shard_path(self.work / f"{self.group.number - 1:02d}", shard)))
        summary: dict[str, Any] = {"in": len(items), "before": portrait(i.record for i in items) if self.first else None}
        dropped: list[tuple[int, dict[str, Any], int]] = []
        steps = _built(self.work, self.group, self.context)
        summary["steps"] = []
        for spec, step in zip(self.group.specs, steps, strict=True):
            started = time.perf_counter()
            pass_ = _Pass(spec, self.seed, self.examples)
            if spec.kind == "set step":
                items = pass_.carry_out(items, self.work / f"{self.group.folder}-decided" / f"{shard:05d}.jsonl")
            elif spec.kind == "score":
                items = pass_.score(step, items)
            else:
                items = pass_.each(step, items)
            dropped += pass_.dropped
            summary["steps"].append(pass_.facts() | {"out": len(items), "seconds": time.perf_counter() - started})
        summary |= {"kept": len(items), "after": portrait(i.record for i in items) if self.last else None}
        write_shard(path, summary, items, sorted(dropped, key=lambda each: each[0]))
        return summary


class _Pass:
    """One step over the records of one shard."""

    def __init__(self, spec: Spec, seed: int, examples: int) -> None:
        self.spec, self.seed, self.examples = spec, seed, examples
        self.dropped: list[tuple[int, dict[str, Any], int]] = []
        self.came = self.changed = 0
        self.reasons: Counter[str] = Counter()
        self.values: Counter[str] = Counter()
        self.edits: list[tuple[int, int, dict[str, str]]] = []

    def facts(self) -> dict[str, Any]:
        """Counts, and what the report shows of edits and scores."""
        return {
            "step": self.spec.label, "in": self.came, "reasons": dict(self.reasons), "changed": self.changed,
            "values": dict(self.values), "edits": [list(edit) for edit in self.edits],
        }  # fmt: skip

    def each(self, step: Any, items: Sequence[Item]) -> list[Item]:
        """A filter or an edit."""
        kept = []
        for item in items:
            self.came += 1
            result = self._call(step, item.record, item.record)
            if result is None or result is item.record:
                kept.append(item)
            elif isinstance(result, Conversation | Document):
                if result != item.record:
                    self._note_edit(item, result)
                    item = replace(item, record=result)
                kept.append(item)
            elif isinstance(result, Drop) or (isinstance(result, str) and result):
                self._drop(item, Drop(result) if isinstance(result, str) else result)
            else:
                wanted = "a filter returns a reason, a Drop or None, an edit a record or a Drop"
                raise BelleError(f"{item.record.source}: step {self.spec.label} returned {result!r}", wanted)
        return kept

    def score(self, step: Any, items: Sequence[Item]) -> list[Item]:
        """A score, and the limits that the recipe sets to it."""
        self.came = len(items)
        records = [item.record for item in items]
        scores = self._call(step, records, records[0]) if records else []
        if len(scores) != len(items):
            raise BelleError(f"step {self.spec.label}: {len(scores)} scores for {len(items)} records", "give each its own score")
        kept = []
        for item, score in zip(items, scores, strict=True):
            number = score if isinstance(score, str) else float(score)
            self.values[number if isinstance(number, str) else f"{number:.3g}"] += 1
            item = replace(item, scores={**item.scores, self.spec.name: number})
            drop = self.spec.limits.outside(number, self.spec.name)
            if drop is None:
                kept.append(item)
            else:
                self._drop(item, drop)
        return kept

    def carry_out(self, items: Sequence[Item], decided: Path) -> list[Item]:
        """What a set step decided about this shard."""
        self.came = len(items)
        goes = {row["at"]: row for row in read_rows(decided)}
        for at, row in goes.items():
            self._drop(items[at], Drop(row["reason"], row["detail"]), row["of"], row["of_source"])
        return [item for at, item in enumerate(items) if at not in goes]

    def _call(self, step: Any, argument: Any, record: Curated) -> Any:
        try:
            return step(argument)
        except BelleError as error:
            raise BelleError(f"{record.source}: step {self.spec.label}: {error.message}", error.fix) from error
        except Exception as error:
            if not self.spec.own:
                raise
            where = f"{record.source}: step {self.spec.label} failed"
            raise BelleError(f"{where}: {type(error).__name__}: {error}", "mend the step, or take it out") from error

    def _drop(self, item: Item, drop: Drop, of: int = -1, of_source: str = "") -> None:
        self.reasons[drop.reason] += 1
        row: dict[str, Any] = {
            "source": str(item.record.source), "step": self.spec.label, "reason": drop.reason, "detail": drop.detail,
        }  # fmt: skip
        row |= {"of": of_source} if of_source else {}
        row |= {"scores": writable_scores(item.scores)} if item.scores else {}
        self.dropped.append((item.index, row | {"row": record_dict(item.record)}, of))

    def _note_edit(self, item: Item, after: Curated) -> None:
        """Keep a few edits to show: those whose chance number is smallest, whatever the shards."""
        self.changed += 1
        chance = lot(self.seed, self.spec.label, item.index)
        if self.examples and (len(self.edits) < self.examples or -self.edits[0][0] > chance):
            old, new = _first_difference(item.record, after)
            shown = (-chance, item.index, {"source": str(item.record.source), "before": old, "after": new})
            (heapq.heappush if len(self.edits) < self.examples else heapq.heapreplace)(self.edits, shown)


def lot(seed: int, step: str, index: int) -> int:
    """A number that chance gives a record in a step: the same in every process, 48 bits."""
    return int.from_bytes(hashlib.blake2b(f"{seed}\0{step}\0{index}".encode(), digest_size=6).digest(), "big")


def _first_difference(before: Curated, after: Curated) -> tuple[str, str]:
    """The texts of the first turn that is not what it was; where turns came or went, all of them."""
    if isinstance(before, Document) or isinstance(after, Document):
        assert isinstance(before, Document)
        assert isinstance(after, Document)
        return before.text, after.text
    if len(before.messages) == len(after.messages):
        for old, new in zip(before.messages, after.messages, strict=True):
            if old.content != new.content:
                return old.content, new.content
    texts = ["\n".join(f"{m.role}: {m.content}" for m in record.messages) for record in (before, after)]
    return texts[0], texts[1]


_cache: dict[tuple[str, int], list[Any]] = {}
"""The built steps of the group that this process works on: a step's model or word list is loaded once."""


def _built(work: Path, group: Group, context: Context) -> list[Any]:
    key = (str(work), group.number)
    if key not in _cache:
        _cache.clear()
        _cache[key] = [spec.build(step_context(context, spec)) for spec in group.specs]
    return _cache[key]


def forget_steps() -> None:
    """Let go of the built steps of this process."""
    _cache.clear()


def step_context(context: Context, spec: Spec) -> Context:
    """The context of one step: its own folder inside the folder of all."""
    return replace(context, folder=context.folder / f"{spec.number:02d}-{spec.name.split(':')[-1]}" if context.folder else None)
