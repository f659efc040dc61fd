"""`belle-diff.json`: what a diff holds, made from what, with sizes and hashes; and which names of files are taken at all.

A diff comes from somebody else. A name in it may hold folders, but never leads out of the folder it is joined to, and
nothing in it is reached through a symbolic link.
"""

from __future__ import annotations

import json
import os
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from belle.config import Section
from belle.errors import BelleError
from belle.jsonl import read_json, write_json

MANIFEST = "belle-diff.json"
RESERVED = ("run.json", "recipe.yaml", MANIFEST)
"""What a run folder and a diff write at their top themselves."""
DEVICES = {"CON", "PRN", "AUX", "NUL", *(f"{port}{number}" for port in ("COM", "LPT") for number in range(1, 10))}
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Size = Annotated[int, Field(ge=0)]


class LeftOut(Section):
    """A file of the tuned model that the diff does not hold."""

    name: str
    """Path relative to the model's folder."""
    reason: str
    """Why."""


class KeyFacts(Section):
    """The file of the base that a XOR diff was made with."""

    name: str
    """Its file name."""
    size: Size
    """Bytes."""
    sha256: Sha256
    """Of its bytes."""


class XorFile(Section):
    """A file in a XOR diff."""

    name: str
    """Path in the tuned model."""
    file: str
    """Path of the `.enc` file in the diff."""
    size: Size
    """Bytes of the plain text; the `.enc` file has 32 more."""
    sha256: Sha256
    """Of the plain text."""
    enc_sha256: Sha256 | None = None
    """Of the `.enc` file, where it was asked for."""


class XorManifest(Section):
    """A diff of whole files."""

    format: Literal["belle-diff/1"] = "belle-diff/1"
    """Version of this layout."""
    form: Literal["xor"] = "xor"
    """Which kind of diff."""
    key: KeyFacts
    """What it needs."""
    files: tuple[XorFile, ...]
    """What it holds, by name."""
    left_out: tuple[LeftOut, ...] = ()
    """What it does not hold."""


class CopiedFile(Section):
    """A file that stands in the diff as it is."""

    name: str
    """Path in the diff and in the tuned model."""
    size: Size
    """Bytes."""
    sha256: Sha256
    """Of its bytes."""


class TensorDelta(Section):
    """How one tensor is made from the base."""

    how: Literal["same", "xor", "whole"]
    """The base's own, the base's bits XOR those in the delta, or the delta's as it stands."""
    base_sha256: Sha256 | None = None
    """Of the base's tensor; absent for a whole one."""


class WeightsFile(Section):
    """A safetensors file of the tuned model, and the file of the diff that makes it from the base."""

    name: str
    """Path in the tuned model."""
    size: Size
    """Bytes."""
    sha256: Sha256
    """Of its bytes."""
    header: str
    """Its JSON header, letter by letter, so that it comes back byte for byte."""
    tensors: dict[str, TensorDelta]
    """By name."""
    delta: str
    """Path of the delta in the diff."""
    delta_sha256: Sha256
    """Of the delta's bytes."""


class TensorManifest(Section):
    """A diff of tensors."""

    format: Literal["belle-diff/1"] = "belle-diff/1"
    """Version of this layout."""
    form: Literal["tensors"] = "tensors"
    """Which kind of diff."""
    base: str
    """The base's folder or file name where the diff was made: a hint for people."""
    weights: tuple[WeightsFile, ...]
    """The safetensors files, by name."""
    files: tuple[CopiedFile, ...]
    """Everything else, by name."""
    left_out: tuple[LeftOut, ...] = ()
    """What it does not hold."""


def read_manifest(folder: Path) -> XorManifest | TensorManifest | None:
    """The manifest of a diff; None where it has none, as BELLE's own.

    Raises:
        BelleError: it is broken, or a name in it leads out of the folder or stands there twice.
    """
    path = folder / MANIFEST
    if not path.exists() and not path.is_symlink():
        return None
    try:
        value = read_json(plain_file(folder, MANIFEST))
    except RecursionError as error:
        raise BelleError(f"{str(path)!r} is no manifest: it is nested too deep", "get the diff again") from error
    form = value.get("form") if isinstance(value, dict) else None
    if form not in ("xor", "tensors"):
        raise BelleError(f"{str(path)!r}: form is {form!r}, not 'xor' or 'tensors'", "get the diff again, or a newer belle")
    try:
        manifest = XorManifest.model_validate(value) if form == "xor" else TensorManifest.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        what = f"{str(path)!r} is broken at {place!r}: {first['msg']}"
        raise BelleError(what, "get the diff again, or a newer belle") from error
    if not (manifest.weights if isinstance(manifest, TensorManifest) else manifest.files):
        raise BelleError(f"{str(path)!r} lists no file", "get the diff again")
    made = [file.name for file in manifest.files]
    kept = [file.file for file in manifest.files if isinstance(file, XorFile)]
    if isinstance(manifest, XorManifest):
        check_names([manifest.key.name], str(path))
    if isinstance(manifest, TensorManifest):
        made += [file.name for file in manifest.weights]
        kept = [file.delta for file in manifest.weights]
    check_names(made, str(path))
    check_names(kept, str(path))
    return manifest


def write_manifest(folder: Path, manifest: XorManifest | TensorManifest) -> Path:
    """Write it; the diff is complete from then on."""
    write_json(folder / MANIFEST, json.loads(manifest.model_dump_json()))
    return folder / MANIFEST


def check_names(names: Sequence[str], where: str) -> None:
    """Refuse names that lead out of a folder, that belle writes itself, or that are the same file on some machine.

    Raises:
        BelleError: the first such name.
    """
    seen: dict[str, str] = {}
    for name in names:
        parts = name.split("/")
        bad = re.search(r'[\\:*?"<>|\x00-\x1f\x7f\ud800-\udfff]', name) or any(map(_is_no_name, parts))
        if bad or parts[0].casefold() in RESERVED or len(name.encode("utf-8", "replace")) > 1000:
            raise BelleError(f"{where}: the name {name!r} is not taken: it could lead elsewhere or replace another file",
                             "do not use this diff unless you trust who made it; rename the file in it")  # fmt: skip
        other = seen.get(folded := unicodedata.normalize("NFC", name).casefold())
        if other is not None:
            raise BelleError(f"{where}: {name!r} and {other!r} are one file on some machines", "rename one")
        seen[folded] = name


def _is_no_name(part: str) -> bool:
    """Whether a part of a path is hidden, leads elsewhere, or is a device on Windows."""
    return not part or part[0] == "." or part[-1] in ". " or part.split(".")[0].rstrip().upper() in DEVICES


def plain_file(folder: Path, name: str) -> Path:
    """The path of a file of a diff, which is a regular file and not reached through a symbolic link.

    Raises:
        BelleError: it is missing or something else.
    """
    path = folder
    for part in name.split("/"):
        path = path / part
        if path.is_symlink():
            raise BelleError(f"{str(path)!r} is a symbolic link", "get the diff as plain files")
    if not path.is_file():
        raise BelleError(f"{str(path)!r} is missing", "the diff is incomplete: get it again")
    return path


def model_files(folder: Path) -> tuple[list[str], list[LeftOut]]:
    """(names of the files of a model's folder, sorted, and what is left out with its reason).

    Links to files are followed: the hub's cache is made of them. Names are relative, with `/`.
    """
    names, left = [], []
    for place, folders, files in os.walk(folder):
        here = Path(place)
        for name in sorted(folders):
            path = here / name
            if name.startswith(".") or path.is_symlink():
                left.append(LeftOut(name=path.relative_to(folder).as_posix() + "/", reason="a hidden or linked folder"))
        folders[:] = sorted(name for name in folders if not name.startswith(".") and not (here / name).is_symlink())
        for name in files:
            path = here / name
            relative = path.relative_to(folder).as_posix()
            reason = "hidden" if name.startswith(".") else "" if path.is_file() else "not a file"
            if relative in RESERVED:
                reason = "belongs to the run, not to the model"
            if reason:
                left.append(LeftOut(name=relative, reason=reason))
            else:
                names.append(relative)
    check_names(sorted(names), str(folder))
    return sorted(names), sorted(left, key=lambda one: one.name)
