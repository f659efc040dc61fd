"""Chains of run folders: a run, the runs it came from, and theirs, in the order in which they were made."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from belle.errors import BelleError
from belle.jsonl import read_rows
from belle.runs import read_run


@dataclass
class RunFolder:
    """One run of a chain. `depth` counts the runs before it on the longest way; `lost` says why it cannot be read."""

    path: Path
    info: dict[str, Any]
    lost: str = ""
    name: str = ""
    depth: int = 0
    parents: list[RunFolder] = field(default_factory=list)

    @property
    def verb(self) -> str:
        """The verb that made it."""
        return str(self.info["verb"])

    @property
    def finished(self) -> bool:
        """Whether it ran to its end."""
        return bool(self.info.get("status") == "finished")

    @property
    def metrics(self) -> dict[str, Any]:
        """The metrics of run.json; empty while it runs."""
        return dict(self.info.get("metrics") or {})

    @property
    def recipe(self) -> str:
        """The resolved recipe as written, or nothing where it is gone."""
        path = self.path / "recipe.yaml"
        return path.read_text(encoding="utf-8") if path.is_file() else ""

    def rows(self, name: str) -> list[dict[str, Any]]:
        """The rows of one of its files; none where there is no such file."""
        path = self.path / name
        return list(read_rows(path)) if path.is_file() else []

    def steps(self) -> list[dict[str, Any]]:
        """The rows of metrics.jsonl.

        Raises:
            BelleError: a finished training whose rows are no longer all there.
        """
        rows = self.rows("metrics.jsonl")
        expected, found = self.metrics.get("steps"), sum("loss" in row for row in rows)
        if self.finished and expected is not None and found != expected:
            what = f"{self.path / 'metrics.jsonl'} has {found} steps, and the run made {expected}"
            raise BelleError(what, "the file was damaged after the run: train again with overwrite=true")
        return rows


def gather(paths: Sequence[Path]) -> list[RunFolder]:
    """The runs at `paths` and all they came from, parents first. A folder that holds run folders stands for all of them.

    A parent that is gone, or whose folder holds another run by now, stays in the chain with the reason in `lost`.

    Raises:
        BelleError: a path is no run folder and holds none.
    """
    found: dict[str, RunFolder] = {}
    for path in paths:
        for folder in _run_folders(path):
            _follow(folder, read_run(folder), found)
    _name(list(found.values()))
    return sorted(found.values(), key=lambda run: (run.depth, str(run.info.get("started", "")), run.name))


def _run_folders(path: Path) -> list[Path]:
    if (path / "run.json").is_file():
        return [path]
    inside = sorted(file.parent for file in path.glob("*/run.json"))
    if not inside:
        what = "is not a run folder and holds none" if path.is_dir() else "is no folder"
        raise BelleError(f"{str(path)!r} {what}", "name the output_dir of an earlier run, or the folder that holds several")
    return inside


def _follow(path: Path, info: dict[str, Any], found: dict[str, RunFolder]) -> RunFolder:
    if info["id"] in found:
        return found[info["id"]]
    run = found[info["id"]] = RunFolder(path, info)
    for entry in info.get("parents", []):
        run.parents.append(_parent(path, entry, found))
    run.depth = 1 + max((parent.depth for parent in run.parents), default=-1)
    return run


def _parent(child: Path, entry: dict[str, str], found: dict[str, RunFolder]) -> RunFolder:
    """The parent by its path as noted, or beside the child where all folders were moved together."""
    if entry["id"] in found:
        return found[entry["id"]]
    lost = "its folder is gone"
    for path in (Path(entry["path"]), child.parent / Path(entry["path"]).name):
        if (path / "run.json").is_file():
            info = read_run(path)
            if info["id"] == entry["id"]:
                return _follow(path, info, found)
            lost = "its folder holds another run by now"
    gone = {"id": entry["id"], "verb": "run", "status": "lost"}
    found[entry["id"]] = RunFolder(Path(entry["path"]), gone, lost)
    return found[entry["id"]]


def _name(runs: list[RunFolder]) -> None:
    """Call each run by the part of its path in which it differs from the others."""
    paths = {id(run): os.path.abspath(run.path) for run in runs}
    parents = [os.path.dirname(path) for path in paths.values()]
    try:
        common = os.path.commonpath(parents)
    except ValueError:  # different drives
        common = ""
    for run in runs:
        run.name = Path(os.path.relpath(paths[id(run)], common)).as_posix() if common else run.path.name
