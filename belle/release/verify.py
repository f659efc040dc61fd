"""Everything that must hold before a model leaves the house, check by check.

`verify` gives all findings. `require_sound` is for verbs that make something of a model: it lets a sound one pass, and stops at
an unsound one before anything is written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from belle import logs
from belle.errors import BelleError, Finding
from belle.release import check_behaviour, check_files, check_lineage, check_rows, check_tokens
from belle.release.subject import Subject
from belle.sections import ModelSection

Check = Callable[[Subject], Iterable[Finding]]

CHECKS: dict[str, Check] = {
    "files": check_files.files,
    "tensors": check_files.tensors,
    "shapes": check_files.shapes,
    "types": check_files.types,
    "tied": check_files.tied,
    "vocabulary": check_tokens.vocabulary,
    "special ids": check_tokens.special_ids,
    "special tokens": check_tokens.special_tokens,
    "template": check_tokens.template,
    "ends": check_tokens.ends,
    "change": check_lineage.change,
    "rows": check_rows.rows,
    "hashes": check_lineage.hashes,
    "lineage": check_lineage.lineage,
    "licence": check_lineage.licence,
    "language": check_behaviour.language,
    "end token": check_behaviour.end_token,
    "stops": check_behaviour.stops,
}
"""name -> check, in the order in which they are made. Each gives findings under its own name."""

ASKS_THE_MODEL = ("language", "end token", "stops")
"""Checks that load the model and let it speak."""
QUICK = tuple(name for name in CHECKS if name not in ASKS_THE_MODEL)
"""Those that only read files."""
NEEDS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("tensors", "shapes", "types", "tied", "vocabulary", "change", "ends"), ("files",)),
    "rows": ("files", "tensors"),
    **dict.fromkeys(ASKS_THE_MODEL, ("files", "tensors", "shapes", "vocabulary", "template")),
}
"""name -> the checks after whose errors this one could say nothing."""


def verify(subject: Subject, names: Iterable[str] = tuple(CHECKS)) -> Iterator[Finding]:
    """Run the named checks one after the other. A check that cannot even read what it looks at gives one error."""
    yield from run_checks(subject, {name: CHECKS[name] for name in names}, NEEDS)


def run_checks(
    subject: Any, checks: Mapping[str, Callable[[Any], Iterable[Finding]]], needs: Mapping[str, tuple[str, ...]]
) -> Iterator[Finding]:
    """The findings of a table of checks; those that an earlier error makes idle are named in one last warning."""
    wrong: set[str] = set()
    left_out: list[str] = []
    blamed: set[str] = set()
    for name, check in checks.items():
        if broken := wrong.intersection(needs.get(name, ())):
            left_out.append(name)
            blamed |= broken
            continue
        for finding in _guarded(name, check, subject):
            if finding.level == "error":
                wrong.add(name)
            yield finding
    if left_out:
        yield Finding("warning", "left out", ", ".join(left_out), f"mend {', '.join(sorted(blamed))} first, and verify again")


def require_sound(section: ModelSection, wanted: bool = True) -> dict[str, Any]:
    """Make the quick checks on a model that something is about to be made of; warnings are printed.

    Args:
        section: the model, as the recipe names it.
        wanted: the recipe's key `verify`. False looks at nothing, and says so loudly.

    Returns:
        What is to be noted of it in the new run: `run.note(**require_sound(...))`.

    Raises:
        BelleError: a check failed. It names the check, and the key that goes on all the same.
    """
    if not wanted:
        logs.warn(f"{section.path} is not verified (verify=false): whatever is wrong with it goes along")
        return {"verify": {"checked": False, "reason": "verify=false"}}
    with logs.doing(f"verified {section.path}"):
        findings = list(verify(Subject.open(section), QUICK))
    errors = [finding for finding in findings if finding.level == "error"]
    if errors:
        more = f" ({len(errors) - 1} more: belle verify {section.path})" if len(errors) > 1 else ""
        what = f"{section.path!r} must not leave as it is; {errors[0].check}: {errors[0].found}{more}"
        raise BelleError(what, f"{errors[0].fix}; verify=false goes on all the same")
    warnings = [f"{finding.check}: {finding.found}" for finding in findings if finding.level == "warning"]
    for warning in warnings:
        logs.warn(warning)
    return {"verify": {"checked": True, "checks": list(QUICK), "warnings": warnings}}


def _guarded(name: str, check: Callable[[Any], Iterable[Finding]], subject: Any) -> Iterator[Finding]:
    try:
        yield from check(subject)
    except BelleError as error:
        yield Finding("error", name, error.message, error.fix or "mend it, and verify again")
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, OSError, RuntimeError) as error:
        # A file may be broken in more ways than anyone foresees; the other checks still have something to say.
        what = f"cannot be looked at: {type(error).__name__}: {str(error).splitlines()[0][:200] if str(error) else ''}"
        yield Finding("error", name, what, "get the model's files again; if they are sound, report this as a fault of belle")
