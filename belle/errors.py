"""What the user can mend: the one exception that says so, and the findings of a check that says so beforehand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


class BelleError(Exception):
    """A fault in what the user gave us: a recipe, a file, a checkpoint, a machine too small.

    The command line prints it as `error: ...` with its fix and leaves with exit code 2, without a traceback.
    Anything else that is raised is a fault of belle and keeps its traceback.

    Args:
        message: what is wrong, with file, line and key where there are any, and the user's own words quoted.
        fix: what to do about it, as an imperative sentence.
    """

    def __init__(self, message: str, fix: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.message}\n  fix: {self.fix}" if self.fix else self.message


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of `belle doctor`: what was looked at, what was found and, unless all is well, what to change."""

    level: Literal["ok", "warning", "error"]
    check: str
    found: str
    fix: str = ""


def nearest(word: str, candidates: Sequence[str]) -> str:
    """` Did you mean 'x'?` for the candidate that looks most like `word`, or an empty string when none does."""
    import difflib

    close = difflib.get_close_matches(word, candidates, n=1, cutoff=0.5)
    return f" Did you mean {close[0]!r}?" if close else ""


def need(package: str, extra: str, why: str) -> BelleError:
    """The error for a missing optional package, raised where the import failed."""
    return BelleError(f"{why} needs the package {package!r}, which is not installed", f"pip install 'belle[{extra}]'")
