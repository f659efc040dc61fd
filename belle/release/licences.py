"""Under which licences a model's base and data stand, as far as anything on the disk says."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from belle.config import shipped
from belle.lineage import RunFolder
from belle.models.embedded import MODELS
from belle.runs import sha256_file

OURS = "Apache-2.0"
"""Of the data that belle ships."""
_FRONT = re.compile(r"\A---\s*\n(?P<front>.*?)\n---", re.DOTALL)
_LICENCE = re.compile(r"^licen[sc]e:\s*[\"']?(?P<name>[^\s\"'#]+)", re.MULTILINE | re.IGNORECASE)
_NOT_LEARNED = ("questions", "calibration", "held out", "evaluation")
"""Roles of inputs of which nothing goes into the weights but through a choice of ours."""


def licences(chain: Sequence[RunFolder], base: Path | None, named: Mapping[str, str]) -> dict[str, str]:
    """What the model came from -> its licence, empty where nothing says it.

    Args:
        chain: the runs that made it. What one of them made itself is left out: it came from what that run read.
        base: where there are no runs.
        named: the user's own words: `base`, a path as the runs noted it, or its last part -> licence.
    """
    made = [run.path.resolve() for run in chain]
    found: dict[str, str] = {}
    for run in chain:
        for entry in run.info.get("inputs", ()):
            path, role = Path(entry["path"]), entry["role"]
            inside = any(path.resolve().is_relative_to(folder) for folder in made)
            if inside or role == "adapter" or role in _NOT_LEARNED:
                continue
            own = named.get(str(path)) or named.get(path.name) or named.get(role, "")
            found[f"{role} {path.name}"] = own or licence_of(path, entry["sha256"])
    if not chain and base is not None:
        found[f"base {base.name}"] = named.get(str(base)) or named.get("base", "") or licence_of(base)
    return found


def licence_of(path: Path, digest: str = "") -> str:
    """The licence of a model folder or a data file; empty where nothing on the disk names it.

    Args:
        digest: sha256 of a file. It tells shipped data that was read from another place.
    """
    if path.parent == shipped("data") or (digest and digest in _shipped_hashes()):
        return OURS
    if path.name in MODELS:
        return MODELS[path.name].licence
    readme = (path if path.is_dir() else path.parent) / "README.md"
    if readme.is_file():
        front = _FRONT.search(readme.read_text(encoding="utf-8", errors="replace"))
        name = _LICENCE.search(front["front"]) if front else None
        if name:
            return name["name"]
    return ""


@lru_cache(maxsize=1)
def _shipped_hashes() -> frozenset[str]:
    return frozenset(sha256_file(path) for path in shipped("data").iterdir() if path.is_file())
