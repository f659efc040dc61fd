"""JSON lines and atomic files: how every byte that belle writes reaches the disk.

A file that exists is complete: it was written beside its place, flushed to the disk and renamed. A file that grows
(`Appender`) may lose its last, half-written line to a `kill -9`; opening it again cuts that line off.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from belle.errors import BelleError


def dumps(row: Any) -> str:
    """One line of JSON: Chinese stays readable, NaN is refused, key order is kept."""
    return json.dumps(row, ensure_ascii=False, allow_nan=False, separators=(", ", ": "))


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A path beside `path` to write a file or a folder to; moved over `path` when the block ends without an error."""
    part, old = path.with_name(f".{path.name}.part"), path.with_name(f".{path.name}.old.part")
    with _writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        settle(path)
        try:
            yield part
            _sync(part)
            if path.is_dir():
                # A folder cannot be renamed over a full one: the old one steps aside, and `settle` brings it back if we die here.
                path.rename(old)
                part.rename(path)
            else:
                part.replace(path)
            _sync_folder(path.parent)
        finally:
            settle(path)


def settle(path: Path) -> None:
    """Clear away what a process left that was killed while it wrote `path`; an old folder that had stepped aside is put back."""
    part, old = path.with_name(f".{path.name}.part"), path.with_name(f".{path.name}.old.part")
    remove(part)
    if old.exists() and not path.exists():
        old.rename(path)
    remove(old)


def write_text(path: Path, text: str) -> None:
    """Write a whole text file atomically."""
    with atomic_path(path) as part:
        part.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, value: Any) -> None:
    """Write one JSON value, indented, atomically."""
    write_text(path, json.dumps(value, ensure_ascii=False, allow_nan=False, indent=2) + "\n")


def write_rows(path: Path, rows: Iterable[Any]) -> int:
    """Write JSON lines atomically and return how many."""
    count = 0
    with atomic_path(path) as part, part.open("w", encoding="utf-8", newline="\n") as file:
        for row in rows:
            file.write(dumps(row) + "\n")
            count += 1
    return count


def read_json(path: Path) -> Any:
    """Read a JSON file that belle wrote; a broken one is an error that names it."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BelleError(f"cannot read {str(path)!r}: {error}") from error


def read_rows(path: Path) -> Iterator[Any]:
    """The rows of a file that `Appender` wrote: a torn last line is passed over, a broken line before it is an error."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                return
            try:
                yield json.loads(line)
            except ValueError as error:
                raise BelleError(f"{path}:{number}: broken JSON line: {error}", "delete that line or the file") from error


class Appender:
    """A JSON-lines file that grows; each row is on the disk when `write` returns.

    Opening it cuts off a last line without newline, which only a killed process leaves behind.
    """

    def __init__(self, path: Path, keep: Callable[[Any], bool] | None = None) -> None:
        """`keep` chooses which earlier rows stay, e.g. `lambda row: row["step"] <= resumed_step`."""
        self.path = path
        if path.exists():
            rows = [row for row in read_rows(path) if keep is None or keep(row)]
            write_rows(path, rows)
        with _writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("ab", buffering=0)

    def write(self, row: Any) -> None:
        """Put one row on the disk.

        Raises:
            BelleError: the disk is full; a part of the row may then stand at the end, and the next opening cuts it off.
        """
        line = memoryview((dumps(row) + "\n").encode())
        with _writing(self.path):
            while line:
                line = line[self._file.write(line) :]
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """No more rows."""
        self._file.close()

    def __enter__(self) -> Appender:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def remove(path: Path) -> None:
    """Remove a file or a folder tree if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """A full disk, a folder without permission: the user's to mend, whichever library met it."""
    try:
        yield
    except BelleError:
        raise
    except Exception as error:
        # safetensors and tokenizers are written in Rust and say it so: "I/O error: No space left on device (os error 28)".
        reason = error.strerror if isinstance(error, OSError) else None
        if not isinstance(error, OSError) and not re.search(r"\(os error \d+\)", str(error)):
            raise
        fix = "free some space or choose another place"
        raise BelleError(f"cannot write {str(path)!r}: {reason or error}", fix) from error


def _sync(path: Path) -> None:
    for file in [p for p in path.rglob("*") if p.is_file()] if path.is_dir() else [path]:
        with file.open("rb") as handle:
            os.fsync(handle.fileno())


def _sync_folder(path: Path) -> None:
    if os.name == "posix":
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
