"""Rows of a file, whatever it is: JSON, JSON Lines, CSV, TSV, Parquet, gzipped or not, or a dataset of the hub.

What a file may have wrong as a file is settled here: BOM and CRLF are taken away and counted, bytes that are not UTF-8,
broken JSON and ragged tables are errors with file:line. What the rows mean is settled in `formats.py`.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, cast

from belle.errors import BelleError, nearest, need
from belle.records import Source

Row = dict[str, Any]
Broken = Callable[[BelleError, Source, str], None]
"""What to do with a row that cannot be read: (error, where it stands, its text)."""

BOM = "\ufeff"
_ONE_A_LINE = "write one JSON object a line, or one array of objects"


def read(path: Path, counts: Counter[str] | None = None, broken: Broken | None = None) -> Iterator[tuple[Row, Source]]:
    """The rows of one file, each with its file and line (in Parquet its row number).

    Args:
        path: a file whose name ends in one of `SUFFIXES`, perhaps with `.gz` behind.
        counts: where to count what was normalised: "bom", "crlf".
        broken: called for a row that cannot be read; reading goes on after it. Without it the error is raised.

    Raises:
        BelleError: the file is missing, empty, of an unknown kind, not UTF-8, or broken beyond one row.
    """
    if not path.is_file():
        names = sorted(p.name for p in path.parent.iterdir()) if path.parent.is_dir() else []
        raise BelleError(f"no file {str(path)!r}.{nearest(path.name, names)}", "check data.path")
    if not readable(path):
        raise BelleError(f"{path}: files of this kind are not read", "use one of " + " ".join([*SUFFIXES, "(.gz)"]))
    counts = Counter() if counts is None else counts
    empty = True
    try:
        _check_kind(path)
        for value, line in SUFFIXES[_suffix(path)](path, counts):
            empty = False
            source = Source(str(path), line)
            if isinstance(value, dict):
                yield value, source
                continue
            error, text = value if isinstance(value, tuple) else (_no_object(value, source), str(value))
            if broken is None:
                raise error
            broken(error, source, text)
    except (EOFError, OSError, zlib.error) as error:
        raise BelleError(f"cannot read {str(path)!r}: {error}", "check that the file is whole") from error
    if empty:
        raise BelleError(f"{path}: is empty, it holds no rows")


_OTHER_KINDS = {b"PK\x03\x04": "a zip or an Excel file", b"\x1f\x8b": "gzipped", b"PAR1": "Parquet", b"%PDF": "a PDF"}


def _check_kind(path: Path) -> None:
    """Say so where the first bytes belong to another kind of file than the name."""
    with path.open("rb") as file:
        start = file.read(4)
    for magic, what in _OTHER_KINDS.items():
        if start.startswith(magic) and not (magic == b"\x1f\x8b" and path.suffix == ".gz") and _suffix(path) != ".parquet":
            fix = "give it the right name" if what in ("gzipped", "Parquet") else "save it as CSV or JSON Lines in UTF-8"
            raise BelleError(f"{path}: the name says {path.suffix}, but it is {what}", fix)


def readable(path: Path) -> bool:
    """Whether the file's name says that `read` can read it."""
    return _suffix(path) in SUFFIXES and not (_suffix(path) == ".parquet" and path.suffix == ".gz")


def read_hub(name: str) -> Iterator[tuple[Row, Source]]:
    """The rows of `NAME[:split]` as the package `datasets` loads it; the split is `train` when none is named."""
    try:
        from datasets import load_dataset
    except ImportError as error:
        raise need("datasets", "hub", f"data.path=hf:{name}") from error
    name, _, split = name.partition(":")
    try:
        dataset = load_dataset(name, split=split or "train")
    except Exception as error:  # of many libraries: no network, no such name, no such split, no access
        raise BelleError(f"cannot load hf:{name}: {type(error).__name__}: {error}", "write hf:NAME or hf:NAME:split") from error
    for number, row in enumerate(dataset, 1):
        yield dict(row), Source(f"hf:{name}", number)


def kind(value: Any) -> str:
    """What JSON calls this value, for an error message."""
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false", int: "a number", float: "a number"}
    return "null" if value is None else names.get(type(value), f"a {type(value).__name__}")


# A reader yields (row, line), or ((error, text), line) where one row is broken and the next may be sound.
Rows = Iterator[tuple[Any, int]]


def _json(path: Path, counts: Counter[str]) -> Rows:
    with _open(path) as file:
        while (block := file.read(4096)) and not (start := block.removeprefix(BOM.encode()).lstrip()):
            pass
    if block and re.match(rb"\{\s*\n", start):
        fix = f"{_ONE_A_LINE}; if the rows stand in a list under one of its keys, write that list alone"
        raise BelleError(f"{path}:1: one JSON object over several lines is not a file of rows", fix)
    return _array(path, counts) if block and start.startswith(b"[") else _lines(path, counts)


def _lines(path: Path, counts: Counter[str]) -> Rows:
    """JSON Lines. Only \\n ends a line: U+2028 and its like are content."""
    with _open(path) as file:
        for number, raw in enumerate(file, 1):
            counts["crlf"] += raw.endswith(b"\r\n")
            try:
                text = _decode(raw, path, number, counts)
                if not text or text.isspace():
                    continue
                yield _DECODER.decode(text), number
            except BelleError as error:
                yield (error, raw.decode("utf-8", "backslashreplace")), number
            except (ValueError, RecursionError) as error:
                yield (_broken_json(error, path, number), text), number


def _array(path: Path, counts: Counter[str]) -> Rows:
    """An array of objects, read one by one so that each has its line."""
    with _open(path) as file:
        text = _decode(file.read(), path, 1, counts)
    counts["crlf"] += text.count("\r\n")
    at = _skip(text, _skip(text, 0) + 1)
    line, counted = 1, 0
    more = not text.startswith("]", at)
    while more:
        line += text.count("\n", counted, at)
        counted = at
        try:
            value, at = _DECODER.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            raise _broken_json(error, path, getattr(error, "lineno", line)) from error
        yield value, line
        at = _skip(text, at)
        more = text.startswith(",", at)
        if not more and not text.startswith("]", at):
            wrong = line + text.count("\n", counted, at)
            raise BelleError(f"{path}:{wrong}: broken JSON: ',' or ']' expected after the row of line {line}", _ONE_A_LINE)
        at = _skip(text, at + 1) if more else at
    if (rest := _skip(text, at + 1)) < len(text):
        raise BelleError(f"{path}:{text.count(chr(10), 0, rest) + 1}: broken JSON: more text after the array", _ONE_A_LINE)


def _table(path: Path, counts: Counter[str], delimiter: str) -> Rows:
    with _open(path) as file:
        text = _decode(file.read(), path, 1, counts)
    counts["crlf"] += text.count("\r\n")
    csv.field_size_limit(1 << 30)  # the default of 128 kB is less than a long document
    reader = csv.reader(io.StringIO(text.replace("\r\n", "\n"), newline="\n"), delimiter=delimiter, strict=True)
    header: list[str] | None = None
    line = 1
    try:
        for cells in reader:
            start, line = line, reader.line_num + 1
            if not cells:
                continue
            if header is None:
                header = cells
                for other in ";\t" if len(cells) == 1 else "":
                    if other in cells[0]:
                        fix = "save it with commas" if other == ";" else "name it .tsv"
                        raise BelleError(f"{path}:{start}: the columns are parted by {other!r}, not by ','", fix)
                if twice := [name for name, n in Counter(header).items() if n > 1]:
                    raise BelleError(f"{path}:{start}: column {twice[0]!r} is named twice", "give each column its own name")
            elif len(cells) != len(header):
                message = f"{path}:{start}: {len(cells)} fields, but the first line names {len(header)} columns"
                fix = "put fields that hold a delimiter or a line break in double quotes"
                yield (BelleError(message, fix), delimiter.join(cells)), start
            else:
                yield dict(zip(header, cells, strict=True)), start
    except csv.Error as error:
        raise BelleError(f"{path}:{line}: broken table: {error}", "check the double quotes of that row") from error


def _csv(path: Path, counts: Counter[str]) -> Rows:
    return _table(path, counts, ",")


def _tsv(path: Path, counts: Counter[str]) -> Rows:
    return _table(path, counts, "\t")


def _parquet(path: Path, counts: Counter[str]) -> Rows:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise need("pyarrow", "parquet", f"reading {path}") from error
    number = 0
    try:
        for batch in parquet.ParquetFile(path).iter_batches(batch_size=1024):
            for row in batch.to_pylist():
                number += 1
                yield row, number
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise BelleError(f"{path}: not a sound Parquet file: {error}", "write it again, or use JSON Lines") from error


SUFFIXES: dict[str, Callable[[Path, Counter[str]], Rows]] = {
    ".json": _json,
    ".jsonl": _json,
    ".ndjson": _json,
    ".csv": _csv,
    ".tsv": _tsv,
    ".parquet": _parquet,
}


def _suffix(path: Path) -> str:
    name = path.name.lower()
    return Path(name.removesuffix(".gz")).suffix


def _open(path: Path) -> IO[bytes]:
    return cast("IO[bytes]", gzip.open(path)) if path.suffix.lower() == ".gz" else path.open("rb")


def _decode(data: bytes, path: Path, line: int, counts: Counter[str]) -> str:
    """UTF-8 without its BOM. Files joined with `cat` have one in the middle, so every line is looked at."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        at = line + data.count(b"\n", 0, error.start)
        raise BelleError(f"{path}:{at}: not UTF-8: {error.reason} at byte {error.start}", _encoding(data)) from error
    if text.startswith(BOM):
        counts["bom"] += 1
        return text[1:]
    return text


def _encoding(data: bytes) -> str:
    """The fix for bytes that are not UTF-8: the two encodings that such files usually have can be told."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "it is UTF-16: iconv -f UTF-16 -t UTF-8 OLD > NEW"
    try:
        data.decode("gb18030")
    except UnicodeDecodeError:
        return "save the file as UTF-8"
    return "it may be GB18030: iconv -f GB18030 -t UTF-8 OLD > NEW"


def _broken_json(error: Exception, path: Path, line: int) -> BelleError:
    reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
    return BelleError(f"{path}:{line}: broken JSON: {reason}", _ONE_A_LINE)


def _no_object(value: Any, source: Source) -> BelleError:
    return BelleError(f"{source}: a row is an object with columns, this is {kind(value)}", _ONE_A_LINE)


def _object(pairs: list[tuple[str, Any]]) -> Row:
    row = dict(pairs)
    if len(row) != len(pairs):
        twice = next(key for key, n in Counter(key for key, _ in pairs).items() if n > 1)
        raise ValueError(f"key {twice!r} is written twice")
    return row


_DECODER = json.JSONDecoder(object_pairs_hook=_object)
_SPACE = re.compile(r"[ \t\n\r]*")


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at
