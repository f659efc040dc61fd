"""What a person sees: lines, warnings, tables and progress bars, on a terminal or in a log file alike.

Results go to standard output, everything about the work to standard error.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console


@lru_cache(maxsize=1)
def console() -> Console:
    """The one rich console, on standard error. Imported late: `belle --help` has no need of it."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)


def say(text: str = "") -> None:
    """A line about the work. `text` is shown as it is; brackets in it are not markup."""
    console().print(text, markup=False)


def title(text: str) -> None:
    """The heading of a stage."""
    from rich.text import Text

    console().print(Text.assemble("\n", ("==", "bold cyan"), " ", (text, "bold")))


def warn(text: str) -> None:
    """Something that the user should know and that does not stop the work."""
    from rich.text import Text

    console().print(Text.assemble(("warning:", "yellow"), " ", text))


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], caption: str = "") -> None:
    """A table; numbers are right-aligned, wide characters are counted as two cells."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    rows = [[str(cell) for cell in row] for row in rows]
    out = Table(box=box.SIMPLE_HEAD, title=Text(caption) if caption else None, title_justify="left")
    for i, name in enumerate(columns):
        numeric = all(not row[i] or row[i][0].isdigit() or row[i][0] in "-+." for row in rows)
        out.add_column(Text(name), justify="right" if numeric and i else "left", overflow="fold")
    for row in rows:
        out.add_row(*map(Text, row))
    console().print(out, soft_wrap=False)


class Bar:
    """A progress bar that is live on a terminal and one plain line every ten seconds elsewhere."""

    def __init__(self, name: str, total: int) -> None:
        self.name, self.total, self.done = name, total, 0
        self._live: Any = None
        self._task: Any = None
        self._started = self._printed = time.monotonic()
        self._skipped = 0

    def __enter__(self) -> Bar:
        if console().is_terminal:
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

            self._live = Progress(
                TextColumn("{task.description}", markup=False), BarColumn(bar_width=24), MofNCompleteColumn(),
                TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
                TextColumn("{task.fields[note]}", markup=False), console=console(),
            )  # fmt: skip
            self._live.start()
            self._task = self._live.add_task(self.name, total=self.total, note="")
        return self

    def __exit__(self, *exc: object) -> None:
        if self._live:
            self._live.stop()
        elif exc[0] is None:
            say(f"{self.name}: {self.done}/{self.total} in {time.monotonic() - self._started:.1f} s")

    def skip(self, count: int) -> None:
        """Count work that an earlier run did, without letting it into the estimate of the time left."""
        self._skipped = self.done = count
        if self._live:
            self._live.update(self._task, completed=count)

    def step(self, count: int = 1, note: str = "") -> None:
        """So many more are done; `note` stands behind the bar."""
        self.done += count
        if self._live:
            self._live.update(self._task, completed=self.done, note=note)
        elif time.monotonic() - self._printed > 10:
            self._printed = time.monotonic()
            pace = (self._printed - self._started) / max(self.done - self._skipped, 1)
            say(f"{self.name}: {self.done}/{self.total}, {pace * (self.total - self.done):.0f} s left  {note}")


@contextmanager
def doing(text: str) -> Iterator[None]:
    """`text ... 1.2 s` around a step that has no progress of its own."""
    started = time.monotonic()
    yield
    say(f"{text} ({time.monotonic() - started:.1f} s)")


def out(text: str = "") -> None:
    """A line of the result itself, on standard output."""
    print(text, file=sys.stdout, flush=True)
