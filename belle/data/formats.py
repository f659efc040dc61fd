"""Any file becomes records here, and nowhere else: `load_records`.

A format is a function from a row to a record. It raises `MisfitError` where the row is of another format, and a plain
`BelleError` where it is of this one but bad. To add one: write the function and a line in `FORMATS`, or name it in a recipe as
`data.format=my_package.my_module:function`.
"""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar, cast, overload

from belle.config import shipped
from belle.data import conversations, multiple_choice, preferences
from belle.data.columns import Columns, suggest
from belle.data.rows import SUFFIXES, Broken, Row, read, read_hub, readable
from belle.data.turns import EmptyTextError, MisfitError
from belle.errors import BelleError, nearest
from belle.jsonl import dumps
from belle.records import Conversation, Document, Preference, Record, Source
from belle.sections import DataSection

Format = Callable[[Row], Record]

FORMATS: dict[str, Format | str] = {
    "openai": conversations.openai,
    "sharegpt": conversations.sharegpt,
    "preference": preferences.preference,
    "preference_turns": preferences.preference_turns,
    "preference_whole": preferences.preference_whole,
    "belle_multiturn": conversations.belle_multiturn,
    "alpaca": conversations.alpaca,
    "seed_task": conversations.seed_task,
    "belle": conversations.belle,
    "completion": conversations.completion,
    "evaluation": conversations.evaluation,
    "multiple_choice": multiple_choice.multiple_choice,
    "text": conversations.plain_text,
    "belle_text": conversations.belle_text,
}
"""name -> function, or `module:function`. Detection tries them in this order."""

_FIX = "mend the row, or leave such rows out: data.on_error=keep"


R = TypeVar("R", Document, Conversation, Preference)


@dataclass(frozen=True)
class Loaded(Generic[R]):
    """What a `data:` section came to; nothing that was read is missing from it."""

    records: list[R]
    dropped: list[dict[str, Any]]
    """Rows that were left out: {"source": "file:line", "reason", "row"}; only with `on_error: keep`."""
    counts: dict[str, int]
    """What was mended, passed over or found twice: "bom", "crlf", "nbsp", "duplicate id", "column 'x' not read", ..."""
    files: list[tuple[str, int]]
    """Each file and how many records came from it."""


@overload
def load_records(section: DataSection) -> Loaded[Conversation]: ...
@overload
def load_records(section: DataSection, kind: type[R]) -> Loaded[R]: ...
def load_records(section: DataSection, kind: type[Any] = Conversation) -> Loaded[Any]:
    """Read every file of a `data:` section into records of one kind (Document, Conversation or Preference).

    Raises:
        BelleError: with file:line for the first bad row (unless `on_error: keep`); a file that is missing, empty or broken;
            or where no record is left.
    """
    stream: RecordStream[Any] = RecordStream(section, kind)
    records: list[Any] = []
    dropped: list[dict[str, Any]] = []
    for found in stream:
        if isinstance(found, dict):
            dropped.append(found)
        else:
            records.append(found)
    counts, files = stream.counts, stream.files
    return Loaded(records, dropped, dict(+counts), files)


class RecordStream(Generic[R]):
    """The records of a `data:` section one by one, for what does not fit in memory; `load_records` is a list of them.

    Going through it gives records and, with `on_error: keep`, for each row left out its `Loaded.dropped` entry, in the order of
    the data; it raises what `load_records` raises. `counts` and `files` are complete when it has come to its end. With
    `empty_texts`, a row whose one fault is an empty turn or text is such an entry too, whatever `on_error` says; it then has
    `"empty": True`.
    """

    def __init__(self, section: DataSection, kind: type[R], empty_texts: bool = False) -> None:
        self.section: DataSection = section
        self.empty_texts: bool = empty_texts
        self.kind: type[R] = kind
        self.counts: Counter[str] = Counter()
        self.files: list[tuple[str, int]] = []

    def __iter__(self) -> Iterator[R | dict[str, Any]]:
        section, counts = self.section, self.counts
        reader = RowReader(section, self.kind, counts)
        ids: set[str] = set()
        waiting: list[dict[str, Any]] = []
        read_already, first_bad = 0, ""

        def drop(error: BelleError, source: Source, row: Any) -> None:
            nonlocal first_bad
            if section.on_error == "stop":
                raise error
            reason = error.message.removeprefix(f"{source}: ")
            first_bad = first_bad or f"{source}: {reason}"
            waiting.append({"source": str(source), "reason": reason, "row": _writable(row)})

        bad = 0
        for name, rows in _sources(section, counts, drop):
            before = read_already
            for row, source in rows:
                bad += len(waiting)
                yield from waiting  # rows that could not even be read
                waiting.clear()
                try:
                    record = replace(reader.record(row), source=source)
                except EmptyTextError as error:
                    if self.empty_texts:
                        first_bad = first_bad or f"{source}: {error.message}"
                        waiting.append({"source": str(source), "reason": error.message, "row": _writable(row), "empty": True})
                    else:
                        drop(BelleError(f"{source}: {error.message}", error.fix or _FIX), source, row)
                    continue
                except BelleError as error:
                    drop(BelleError(f"{source}: {error.message}", error.fix or _FIX), source, row)
                    continue
                counts["duplicate id"] += bool(record.id) and record.id in ids
                ids.add(record.id)
                read_already += 1
                yield cast("R", record)
                if read_already == section.limit:
                    break
            self.files.append((name, read_already - before))
            if read_already == section.limit:
                break
        bad += len(waiting)
        yield from waiting
        if not read_already:
            raise BelleError(f"no record left: all {bad} rows are bad; {first_bad}")
        if missing := reader.columns.missing():
            raise BelleError(f"data.columns names {missing[0]!r}, and no row has that column", "check data.columns")


class RowReader:
    """Turns rows into records of one kind: with the format that is named, or the first that fits.

    Rows with the same columns (and the same of them null) are taken for the same format, until one does not fit.
    """

    def __init__(self, section: DataSection, kind: type[Any], counts: Counter[str]) -> None:
        self.kind = kind
        self.columns = Columns(section.columns, counts)
        names = list(FORMATS) if section.format == "auto" else [section.format]
        self.formats = {name: _function(name) for name in names}
        self._fitting: dict[tuple[str, ...], Format] = {}

    def record(self, row: Row) -> Record:
        """The record of a row, without its source.

        Raises:
            BelleError: no format fits, or one does and the row is bad.
        """
        cleaned = self.columns.clean(row)
        key = (*cleaned, *[column for column, value in cleaned.items() if value is None])
        convert = self._fitting.get(key)
        record: Record | None
        if convert is not None:
            try:
                record = convert(cleaned)
            except MisfitError:
                record = None
            if record is not None and isinstance(record, self.kind):
                return record
        self._fitting[key], record = self._detect(cleaned, row)
        return record

    def _detect(self, row: Row, original: Row) -> tuple[Format, Record]:
        tried = []
        other = ""
        for name, convert in self.formats.items():
            try:
                record = convert(row)
            except MisfitError as error:
                tried.append(f"{name}: {error.message}")
                continue
            if isinstance(record, self.kind):
                return convert, record
            other = other or f"this is a {type(record).__name__} (format {name}), where a {self.kind.__name__} is needed"
        if other:
            raise BelleError(other, "give a file of the right kind, or set data.format (docs/formats.md)")
        found = ", ".join(map(repr, original)) or "none"
        lines = "".join(f"\n    {line}" for line in tried)
        fix = suggest(original, self.kind.__name__, self.columns.mapping)
        raise BelleError(f"no format fits this row. Columns found: {found}. Formats tried:{lines}", fix)


def _sources(section: DataSection, counts: Counter[str], broken: Broken) -> Iterator[tuple[str, Iterator[tuple[Row, Source]]]]:
    """Each file or hub dataset that `data.path` names, in order, with its rows."""
    for name in [section.path] if isinstance(section.path, str) else section.path:
        if name.startswith("hf:"):
            yield name, read_hub(name.removeprefix("hf:"))
            continue
        for path in _files(name, counts):
            yield str(path), read(path, counts, broken)


def _files(name: str, counts: Counter[str]) -> list[Path]:
    """The files that one entry of `data.path` stands for: itself, or the readable ones of a folder, sorted by name."""
    if name.startswith("shipped:"):
        folder = shipped("data")
        path = folder / name.removeprefix("shipped:")
        if not path.is_file():
            names = sorted(p.name for p in folder.glob("*") if readable(p))
            raise BelleError(f"belle ships no data {name!r}.{nearest(path.name, names)}", f"one of: {', '.join(names)}")
        return [path]
    path = Path(name)
    if not path.is_dir():
        return [path]
    inside = sorted(p for p in path.iterdir() if not p.name.startswith("."))
    files = [p for p in inside if p.is_file() and readable(p)]
    if not files:
        raise BelleError(f"folder {name!r} holds no file that can be read", "files end in " + " ".join([*SUFFIXES, "(.gz)"]))
    counts["file not read"] += sum(p.is_file() for p in inside) - len(files)
    counts["folder not read"] += sum(p.is_dir() for p in inside)
    return files


def _function(name: str) -> Format:
    """The function of a format, by its name in `FORMATS` or as `module:function`."""
    entry = FORMATS.get(name, name)
    if callable(entry):
        return entry
    module, colon, attribute = entry.partition(":")
    if not colon:
        fix = f"one of: auto, {', '.join(FORMATS)}; or my_module:function"
        raise BelleError(f"unknown data.format {name!r}.{nearest(name, list(FORMATS))}", fix)
    try:
        function: Format = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise BelleError(f"data.format {name!r} cannot be imported: {error}", "name it module:function") from error
    if not callable(function):
        raise BelleError(f"data.format {name!r} is not a function", "name a function from a row to a record")
    return function


def _writable(row: Any) -> Any:
    """The row as it can stand in dropped.jsonl: as it is, or as text where it holds what JSON or UTF-8 cannot."""
    try:
        dumps(row).encode()
    except (TypeError, ValueError, RecursionError):
        return ascii(row)
    return row
