"""A whole model as `.enc` files and back: BELLE's folders, and belle's own with a manifest beside the files."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from belle.errors import BelleError
from belle.release.diff_manifest import (
    KeyFacts,
    LeftOut,
    XorFile,
    XorManifest,
    check_names,
    model_files,
    plain_file,
    write_manifest,
)
from belle.release.file_blocks import Progress
from belle.release.parallel import in_threads
from belle.release.xor_diff import HASH, NAME, Written, decrypt, encrypt, header_of, split_name, try_key
from belle.runs import sha256_file

KEY_NAMES = ("consolidated.00.pth", "model.safetensors", "pytorch_model.bin")
"""Which file of a base's folder is its key, in this order; behind them the first shard of several."""
SMALL = 64_000_000
"""Bytes that are decrypted twice without a thought."""
TELLING = 16
"""Bytes: one of two or three bytes can come out right with a wrong key, and an empty one always does."""
SHARDS = ("model-00001-of-*.safetensors", "pytorch_model-00001-of-*.bin")


@dataclass(frozen=True)
class Plan:
    """What `apply` will do: (`.enc` file, name of the result, size of the plain text in bytes), the smallest first."""

    files: list[tuple[Path, str, int]]
    left_out: list[LeftOut]
    manifest: XorManifest | None


def key_file(base: Path, name: str | None = None) -> Path:
    """The file of a base that is the key: `base` itself, or the file of that name, or of a usual one, in its folder.

    Raises:
        BelleError: there is none.
    """
    if base.is_file():
        return base
    if not base.is_dir():
        raise BelleError(f"no base at {str(base)!r}", "give the folder of the base, or the very file that is the key")
    shards = sorted(p.name for pattern in SHARDS for p in base.glob(pattern))
    wanted = [name] if name else [*KEY_NAMES, *shards]
    found = [one for one in wanted if (base / one).is_file()]
    if not found:
        known = f"the file {name!r}, which is the key" if name else "consolidated.00.pth, nor another file that could be the key"
        raise BelleError(f"{str(base)!r} has not {known}", "name the key file itself instead of the folder")
    return base / found[0]


def make(
    tuned: Path, key: Path, key_sha256: str, folder: Path, *, checksums: bool, workers: int | None, progress: Progress
) -> tuple[XorManifest, list[Written]]:
    """Encrypt every file of a model's folder into `folder`, and write the manifest last.

    `checksums` also notes the hash of each `.enc` file, which costs a second reading.

    Raises:
        BelleError: see `encrypt`.
    """
    names, left_out = model_files(tuned)
    if not names:
        raise BelleError(f"{str(tuned)!r} holds no file", "name the folder of the tuned model")

    alone = few([(tuned / name).stat().st_size for name in names])

    def job(name: str) -> Callable[[Progress], tuple[Written, str | None]]:
        def work(counted: Progress) -> tuple[Written, str | None]:
            place = (folder / name).parent
            place.mkdir(parents=True, exist_ok=True)
            done = encrypt(tuned / name, key, place, counted, alone=alone)
            return done, sha256_file(done.path) if checksums else None

        return work

    done = in_threads([job(name) for name in names], workers, progress)
    files = tuple(
        XorFile(name=name, file=one.path.relative_to(folder).as_posix(), size=one.size, sha256=one.sha256, enc_sha256=enc_sha256)
        for name, (one, enc_sha256) in zip(names, done, strict=True)
    )
    facts = KeyFacts(name=key.name, size=key.stat().st_size, sha256=key_sha256)
    manifest = XorManifest(key=facts, files=files, left_out=tuple(left_out))
    write_manifest(folder, manifest)
    return manifest, [one for one, _ in done]


def plan_apply(source: Path, manifest: XorManifest | None) -> Plan:
    """Look at a folder of `.enc` files, or one such file, before anything is written.

    Raises:
        BelleError: a file is missing, truncated or a link, two give one name, or a name leads elsewhere.
    """
    if manifest is not None:
        files = [(plain_file(source, one.file), one.name, one.size) for one in manifest.files]
        for (path, _, size), one in zip(files, manifest.files, strict=True):
            have = path.stat().st_size
            if have != size + HASH:
                word = "truncated" if have < size + HASH else "too long"
                raise BelleError(f"{str(path)!r} is {word}: it has {have} bytes, {size + HASH} were made", "get that file again")
            if split_name(path)[1] != one.sha256:
                raise BelleError(f"{str(path)!r} has another hash in its name than in the manifest", "get the diff again")
        listed = {one.file for one in manifest.files}
        others = sorted(path.relative_to(source).as_posix() for path in source.rglob("[!.]*.enc"))
        strays = [LeftOut(name=name, reason="not in the manifest") for name in others if name not in listed]
        return Plan(sorted(files, key=lambda file: file[2]), [*manifest.left_out, *strays], manifest)
    folder = source if source.is_dir() else source.parent
    paths = [source] if source.is_file() else sorted(source.rglob("*"))
    files, left_out = [], []
    for path in paths:
        relative = path.relative_to(folder)
        if path.suffix == ".enc" and (NAME.fullmatch(path.name) or not path.name.startswith(".")):
            place = relative.parent.as_posix()
            name = split_name(path)[0] if place == "." else f"{place}/{split_name(path)[0]}"
            files.append((plain_file(folder, relative.as_posix()), name, path.stat().st_size - HASH))
        elif path.is_file() and not path.name.startswith("."):
            left_out.append(LeftOut(name=relative.as_posix(), reason="not a .enc file"))
    if not files:
        what = f"{str(source)!r} is no diff: it holds neither belle-diff.json nor a .enc file"
        raise BelleError(what, "name the diff's folder")
    check_names([name for _, name, _ in files], str(source))
    for path, _, _ in files:
        with path.open("rb") as file:
            header_of(path, file)
    return Plan(sorted(files, key=lambda file: file[2]), left_out, None)


def few(sizes: Sequence[int]) -> bool:
    """Whether there are fewer large files than cores, so that some would idle if each file had one thread."""
    return sum(size > SMALL for size in sizes) < (os.cpu_count() or 1)


def check_key(manifest: XorManifest, key: Path, key_sha256: str) -> None:
    """Compare a key with the one that the diff was made with.

    Raises:
        BelleError: it is another.
    """
    size, wanted = key.stat().st_size, manifest.key
    if (size, key_sha256) != (wanted.size, wanted.sha256):
        has = f"has {size} bytes, not {wanted.size}" if size != wanted.size else f"has sha256 {key_sha256[:12]}..."
        what = f"wrong key: {str(key)!r} {has}; the diff was made with {wanted.name!r}, sha256 {wanted.sha256[:12]}..."
        raise BelleError(what, "name the file of the base that the diff was made with")


def check_smallest(plan: Plan, key: Path) -> None:
    """Try the key on the smallest file that tells something, where that costs little, before anything is written.

    Raises:
        BelleError: it does not fit.
    """
    telling = [file for file in plan.files if TELLING <= file[2] <= SMALL]
    if telling:
        try_key(telling[0][0], key)


def apply(plan: Plan, key: Path, folder: Path, *, workers: int | None, progress: Progress) -> list[Written]:
    """Decrypt every file into `folder`: the smallest first, so that a wrong key is met at once.

    Raises:
        BelleError: see `decrypt`; files that came out right before stay.
    """

    alone = few([size for _, _, size in plan.files])

    def job(enc: Path, name: str) -> Callable[[Progress], Written]:
        def work(counted: Progress) -> Written:
            return decrypt(enc, key, folder / name, counted, key_is_right=plan.manifest is not None, alone=alone)

        return work

    return in_threads([job(enc, name) for enc, name, _ in plan.files], workers, progress)
