"""A file that a resumed run writes from its beginning again: what stands there already must be what comes."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any

from belle.errors import BelleError
from belle.jsonl import Appender, dumps


class Replayed:
    """JSON lines that grow. The first rows that are written are compared with those of an earlier run, the others are added.

    So what is on the disk is never less than it was, whenever the process is killed.

    Attributes:
        rows: rows that were written, earlier ones as well.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.rows = path, 0
        self._appender = Appender(path)
        self._left = path.stat().st_size
        self._file = path.open("rb")

    def write(self, row: Any) -> None:
        """Add a row, or see that it stands there.

        Raises:
            BelleError: another row stands there; or the disk is full.
        """
        self.rows += 1
        if not self._left:
            self._appender.write(row)
            return
        line = self._file.readline()
        self._left -= len(line)
        if line != (dumps(row) + "\n").encode():
            raise BelleError(
                f"{self.path}:{self.rows}: not what this run would write there: the file, the log or belle has changed",
                "choose another output_dir, or pass overwrite=true to begin anew (it pays again)",
            )

    def check_end(self) -> None:
        """See that no rows of the earlier run are left over.

        Raises:
            BelleError: there are.
        """
        if self._left:
            raise BelleError(f"{self.path}:{self.rows + 1}: this run would not write what stands there", "pass overwrite=true")

    def close(self) -> None:
        """No more rows."""
        self._file.close()
        self._appender.close()

    def __enter__(self) -> Replayed:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
