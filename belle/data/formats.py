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
from typing import Any, Generic, TypeVar, overload

from belle.config import shipped
from belle.data import conversations, preferences
from belle.data.columns import Columns, suggest
from belle.data.rows import SUFFIXES, Broken, Row, read, read_hub, readable
from belle.data.turns import MisfitError
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
    counts: Counter[str] = Counter()
    reader = RowReader(section, kind, counts)
    records: list[Any] = []
    dropped: list[dict[str, Any]] = []
    files: list[tuple[str, int]] = []
    ids: set[str] = set()

    def drop(error: BelleError, source: Source, row: Any) -> None:
        if section.on_error == "stop":
            raise error
        reason = error.message.removeprefix(f"{source}: ")
        dropped.append({"source": str(source), "reason": reason, "row": _writable(row)})

    for name, rows in _sources(section, counts, drop):
        before = len(records)
        for row, source in rows:
            try:
                record = replace(reader.record(row), source=source)
            except BelleError as error:
                drop(BelleError(f"{source}: {error.message}", error.fix or _FIX), source, row)
                continue
            counts["duplicate id"] += bool(record.id) and record.id in ids
            ids.add(record.id)
            records.append(record)
            if len(records) == section.limit:
                break
        files.append((name, len(records) - before))
        if len(records) == section.limit:
            break
    if not records:
        raise BelleError(f"no record left: all {len(dropped)} rows are bad; {dropped[0]['source']}: {dropped[0]['reason']}")
    if missing := reader.columns.missing():
        raise BelleError(f"data.columns names {missing[0]!r}, and no row has that column", "check data.columns")
    return Loaded(records, dropped, dict(+counts), files)


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
