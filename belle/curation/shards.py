"""Shards: the files between two groups of steps, in which records wait on the disk instead of in memory.

A shard file is written at once and never changed: its first line is the summary of what was done to the shard, each other line a
record that goes on or one that went. All files of one group stand in one folder, `00000.jsonl` on.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from belle.curation.items import Item, Score
from belle.curation.texts import Curated
from belle.errors import BelleError
from belle.jsonl import atomic_path, write_rows
from belle.records import Conversation, Document, Message, Source, ToolCall, record_dict

OPEN_FILES = 64


def shard_path(folder: Path, shard: int) -> Path:
    """The file of a shard."""
    return folder / f"{shard:05d}.jsonl"


def shard_count(folder: Path) -> int:
    """How many shards stand in a folder."""
    return sum(1 for _ in folder.glob("[0-9]*.jsonl"))


def write_shard(
    path: Path, summary: Mapping[str, Any], kept: Iterable[Item], dropped: Iterable[tuple[int, dict[str, Any], int]] = ()
) -> None:
    """Write a shard: records that go on and (index, row of dropped.jsonl, position of the other record or -1), each by index."""

    def rows() -> Iterator[Any]:
        yield ["summary", summary]
        for item in kept:
            source, record = item.record.source, item.record
            kind = "d" if isinstance(record, Document) else "c"
            yield ["kept", item.index, source.path, source.line, writable_scores(item.scores), kind, record_dict(record)]
        for index, row, of in dropped:
            yield ["dropped", index, row, of]

    write_rows(path, rows())


def read_summary(path: Path) -> dict[str, Any]:
    """The first line of a shard."""
    with path.open("rb") as file:
        summary: dict[str, Any] = json.loads(file.readline())[1]
    return summary


def read_kept(path: Path) -> Iterator[Item]:
    """The records of a shard that go on, by index."""
    with path.open("rb") as file:
        for line in file:
            if line.startswith(b'["kept"'):
                yield _item(line)


def read_dropped(path: Path) -> Iterator[tuple[int, dict[str, Any], int]]:
    """(index, row, position of the other record or -1) of the records of a shard that went, by index."""
    with path.open("rb") as file:
        for line in file:
            if line.startswith(b'["dropped"'):
                _, index, row, of = json.loads(line)
                yield index, row, of


class ShardItems:
    """The records of all shards in a folder by position, as `steps.Items` promises; only places in files are in memory."""

    def __init__(self, folder: Path) -> None:
        paths = [shard_path(folder, n) for n in range(shard_count(folder))]
        self.paths = paths
        self.sizes = [int(read_summary(path)["kept"]) for path in paths]
        self.starts = np.concatenate([[0], np.cumsum(self.sizes)]).astype(np.int64)
        self._lines: dict[int, np.ndarray] = {}
        self._files: OrderedDict[int, IO[bytes]] = OrderedDict()

    def __len__(self) -> int:
        return int(self.starts[-1])

    def __iter__(self) -> Iterator[Item]:
        for path in self.paths:
            yield from read_kept(path)

    def __getitem__(self, position: int) -> Item:
        if not -len(self) <= position < len(self):
            raise IndexError(f"position {position} of {len(self)} records")
        position %= len(self)
        shard = int(np.searchsorted(self.starts, position, side="right")) - 1
        file = self._file(shard)
        file.seek(int(self._lines[shard][position - self.starts[shard]]))
        return _item(file.readline())

    def column(self, name: str) -> list[Score]:
        """[n] a score of every record.

        Raises:
            BelleError: no step before has made such a column.
        """
        found = []
        for item in self:
            if name not in item.scores:
                known = ", ".join(item.scores) or "none"
                raise BelleError(f"no score {name!r} at this point of the steps", f"score before; columns there: {known}")
            found.append(item.scores[name])
        return found

    def close(self) -> None:
        """Close the files; they open again when they are needed."""
        while self._files:
            self._files.popitem()[1].close()

    def _file(self, shard: int) -> IO[bytes]:
        if shard in self._files:
            self._files.move_to_end(shard)
            return self._files[shard]
        if len(self._files) >= OPEN_FILES:
            self._files.popitem(last=False)[1].close()
        file = self.paths[shard].open("rb")
        self._files[shard] = file
        if shard not in self._lines:
            places, at = [], 0
            for line in file:
                if line.startswith(b'["kept"'):
                    places.append(at)
                at += len(line)
            self._lines[shard] = np.array(places, np.int64)
        return file


class Prepared:
    """What a set step prepared: array after array, read anew each time it is gone through."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = paths

    def __iter__(self) -> Iterator[np.ndarray]:
        for path in self.paths:
            yield np.load(path, allow_pickle=False)


def write_array(path: Path, array: np.ndarray) -> None:
    """Write an array atomically, without pickle."""
    with atomic_path(path) as part, part.open("wb") as file:
        np.save(file, array, allow_pickle=False)


def decode_record(kind: str, row: Mapping[str, Any], source: Source) -> Curated:
    """The record that `record_dict` wrote; `kind` is d for a Document, c for a Conversation."""
    if kind == "d":
        return Document(row["text"], row.get("id", ""), row.get("category", ""), source)
    messages = tuple(
        Message(
            m["role"], m["content"],
            tuple(ToolCall(c["function"]["name"], c["function"]["arguments"], c["id"]) for c in m.get("tool_calls", ())),
            m.get("train"),
        )
        for m in row["messages"]
    )  # fmt: skip
    return Conversation(
        messages, tuple(row.get("tools", ())), row.get("id", ""), row.get("category", ""), row.get("language", ""),
        row.get("label"), source,
    )  # fmt: skip


def _item(line: bytes) -> Item:
    _, index, path, number, scores, kind, row = json.loads(line)
    # JSON has no nan: a score that could not be given is null.
    read = {name: float("nan") if value is None else value for name, value in scores.items()}
    return Item(index, decode_record(kind, row, Source(path, number)), read)


def writable_scores(scores: Mapping[str, Score]) -> dict[str, Score | None]:
    """Scores as JSON can hold them: nan is null."""
    return {name: None if value != value else value for name, value in scores.items()}
