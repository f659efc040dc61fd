"""Publish a tuned model for holders of its base only, and restore it: a diff of tensors, or BELLE's XOR of whole files.

`make` compares the tuned model with its base; `apply` puts base and diff together again and checks every hash. What `apply`
is given tells which form it is; BELLE's own folders of `.enc` files are read as well. A wrong base and a damaged file are told
apart as far as that can be known, and then no file is written. The same command again goes on where it was stopped.

The tensor form leaves out what did not change, and stores files beside the weights as they are. The XOR form takes files of any
kind. Neither is encryption: both answer a licence that lets only holders of the base have the model.

Examples:
  belle diff make base/ tuned/ out/
  belle diff apply base/ out/ restored/
  belle diff apply llama-7b/consolidated.00.pth BELLE-LLaMA-7B-2M-enc/ belle-7b/
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from belle import logs
from belle.config import Section
from belle.errors import BelleError, nearest
from belle.runs import Run, read_run, sha256_file

if TYPE_CHECKING:
    from belle.release.diff_manifest import LeftOut, TensorManifest, XorManifest

POSITIONAL = ("action", "base", "source", "output_dir")
MEGA = 1_000_000


class Config(Section):
    """What is compared with what, and where the result goes."""

    action: Literal["make", "apply"]
    """`make` a diff of a tuned model, or `apply` one to get the model back."""
    base: str
    """Folder of the base, `embedded:NAME`, or the very file that is the key of a XOR diff (for LLaMA consolidated.00.pth)."""
    source: str
    """make: the folder of the tuned model, or the run that made it. apply: the folder of the diff, or one `.enc` file."""
    output_dir: str
    """The diff or the restored model, and the run folder."""
    form: Literal["tensors", "xor"] = "tensors"
    """What `make` writes: tensors (safetensors only, leaves out what is unchanged) or xor (BELLE's `.enc`, any files)."""
    checksums: bool = False
    """Note the sha256 of every `.enc` file in the manifest too, for mirrors that lack the base; costs a second reading."""
    workers: int | None = Field(None, ge=1)
    """Files worked on at a time; absent is four times the cores, as they also wait for the disk."""
    overwrite: bool = False
    """Begin anew if output_dir holds an earlier run."""


def plan(config: Config) -> list[str]:
    """What `run` would do."""
    if config.action == "apply":
        first = f"find out the form of the diff {config.source} and check it"
        return [first, f"put it together with {config.base}", f"write the model into {config.output_dir}, file by file, by hash"]
    return [
        f"compare {config.source} with {config.base}" if config.form == "tensors" else f"XOR {config.source} with {config.base}",
        f"write a diff ({config.form}) and its manifest belle-diff.json into {config.output_dir}",
    ]


def run(config: Config) -> None:
    """Make or apply."""
    from belle.release.diff_manifest import TensorManifest, read_manifest

    base, source = _place(config.base, "base"), _place(config.source, "source")
    target = Path(config.output_dir).resolve()
    for path in (base.resolve(), source.resolve()):
        if target == path or path in target.parents:
            raise BelleError(f"output_dir {config.output_dir!r} lies in {str(path)!r}", "choose a folder of its own")
    run = Run.open("diff", config, config.output_dir, config.overwrite)
    if run.finished:
        logs.say(f"already finished: {run.path} (overwrite=true begins anew)")
        logs.say(run.info["notes"]["summary"])
        return
    if config.action == "make":
        if not source.is_dir():
            raise BelleError(f"{config.source!r} is no folder", "name the folder of the tuned model")
        (_make_tensors if config.form == "tensors" else _make_xor)(config, run, base, source)
    else:
        manifest = read_manifest(source) if source.is_dir() else None
        if isinstance(manifest, TensorManifest):
            _apply_tensors(config, run, base, source, manifest)
        else:
            _apply_xor(config, run, base, source, manifest)
    logs.say(run.info["notes"]["summary"])
    if config.action == "make":
        logs.say(f"next: belle diff apply {quote(config.base)} {quote(config.output_dir)} restored/")


def _make_tensors(config: Config, run: Run, base: Path, source: Path) -> None:
    from belle.release.tensor_diff import Comparison

    both = Comparison(base, source)
    with logs.doing("hashed base and tuned model"):
        run.add_input("base", base)
        run.add_input("tuned", source)
    _add_parents(run, config)
    with _Meter("compared and stored", 2 * both.size) as meter:
        manifest, made = both.write(run.path, config.workers, meter.add)
    line = f"{made.same} tensors are the base's and left out, {made.xor} stored as XOR, {made.whole} stored whole: "
    line += f"{made.bytes / MEGA:.1f} MB for {both.size / MEGA:.1f} MB of weights; {len(manifest.files)} other files as they are"
    _note(run, manifest.left_out, line + _kept(made.kept))
    counts = {"same": made.same, "xor": made.xor, "whole": made.whole, "bytes": made.bytes, "kept": made.kept}
    run.finish(counts | {"seconds": meter.seconds}, {"diff": "."})


def _make_xor(config: Config, run: Run, base: Path, source: Path) -> None:
    from belle.release import xor_folder
    from belle.release.diff_manifest import model_files

    key, (names, _) = xor_folder.key_file(base), model_files(source)
    total = sum((source / name).stat().st_size for name in names)
    sha256 = _hashed(key)
    run.add_input("base", key, sha256)
    _add_parents(run, config)
    with _Meter("encrypted", total) as meter:
        manifest, written = xor_folder.make(
            source, key, sha256, run.path, checksums=config.checksums, workers=config.workers, progress=meter.add
        )
    for one, file in zip(written, manifest.files, strict=True):
        run.add_input("tuned", source / file.name, one.sha256)
    kept = sum(not one.made for one in written)
    line = f"{len(written)} files encrypted with {key.name}, {total / MEGA:.1f} MB at {meter.rate:.0f} MB/s"
    _note(run, manifest.left_out, line + _kept(kept))
    run.finish({"files": len(written), "bytes": total, "kept": kept, "seconds": meter.seconds}, {"diff": "."})


def _apply_tensors(config: Config, run: Run, base: Path, source: Path, manifest: TensorManifest) -> None:
    from belle.release.diff_manifest import MANIFEST
    from belle.release.tensor_diff import Restoration

    both = Restoration(manifest, base, source)
    with _Meter("checked the base", both.size) as meter:
        both.check_base(config.workers, meter.add)
    run.add_input("diff", source / MANIFEST)
    run.add_input("base", base)
    _add_parents(run, config)
    with _Meter("restored", both.size) as meter:
        made, kept = both.write(run.path, config.workers, meter.add)
    _finish_apply(run, made + kept + len(manifest.files), both.size, kept, meter, manifest.left_out)


def _apply_xor(config: Config, run: Run, base: Path, source: Path, manifest: XorManifest | None) -> None:
    from belle.release import xor_folder
    from belle.release.diff_manifest import MANIFEST

    plan = xor_folder.plan_apply(source, manifest)
    key = xor_folder.key_file(base, manifest.key.name if manifest else None)
    sha256 = _hashed(key)
    if manifest is not None:
        xor_folder.check_key(manifest, key, sha256)
    xor_folder.check_smallest(plan, key)
    run.add_input("base", key, sha256)
    if manifest is not None:
        run.add_input("diff", source / MANIFEST)
    else:  # their names hold the hashes of what they become
        run.note(diff=[str(enc) for enc, _, _ in plan.files])
    _add_parents(run, config)
    size = sum(one for _, _, one in plan.files)
    with _Meter("decrypted", size) as meter:
        written = xor_folder.apply(plan, key, run.path, workers=config.workers, progress=meter.add)
    kept = sum(not one.made for one in written)
    _finish_apply(run, len(written), size, kept, meter, plan.left_out)


def _finish_apply(run: Run, files: int, size: int, kept: int, meter: _Meter, left_out: Sequence[LeftOut]) -> None:
    line = f"{files} files restored, each with the hash it was made with; {size / MEGA:.1f} MB at {meter.rate:.0f} MB/s"
    _note(run, left_out, line + _kept(kept))
    product = {"model": "."} if (run.path / "config.json").is_file() else {"files": "."}
    run.finish({"files": files, "bytes": size, "kept": kept, "seconds": meter.seconds}, product)


def _note(run: Run, left_out: Sequence[LeftOut], line: str) -> None:
    """Keep the summary, and what the diff does not hold."""
    rows = [one.model_dump() for one in left_out]
    if rows:
        named = ", ".join(f"{one.name} ({one.reason})" for one in left_out[:4])
        line += f"\n{len(rows)} files left out: {named}" + (", ..." if len(rows) > 4 else "")
    run.note(summary=line, left_out=rows)


def _kept(count: int) -> str:
    return f"; {count} of them were there already" if count else ""


def _hashed(key: Path) -> str:
    if not key.stat().st_size:
        raise BelleError(f"the key {str(key)!r} is empty", "name the file of the base that the diff is made with")
    with logs.doing(f"hashed the key {key.name}"):
        return sha256_file(key)


def _place(path: str, name: str) -> Path:
    """The folder or file that a key stands for: an embedded model, a run's product, or the path itself."""
    from belle.release.diff_manifest import MANIFEST

    if path.startswith("embedded:"):
        from belle.models.load import locate

        return Path(locate(path).base)
    found = Path(path).expanduser()
    if not found.exists():
        others = [p.name for p in found.parent.iterdir()] if found.parent.is_dir() else []
        raise BelleError(f"{name}: nothing at {path!r}.{nearest(found.name, others)}", "give an existing folder or file")
    if (found / "run.json").is_file() and not (found / MANIFEST).exists():
        return _product(found, path)
    return found


def _product(found: Path, path: str) -> Path:
    """The model that a run made; its folder where it made something else."""
    info = read_run(found)
    if info["status"] != "finished":
        raise BelleError(f"the run {path!r} has not finished", "give its command again: it goes on where it was stopped")
    if "model" not in info["products"] and "adapter" in info["products"]:
        fix = f"merge it first (belle merge {quote(path)}), or name {quote(str(found / info['products']['adapter']))} itself"
        raise BelleError(f"the run {path!r} made an adapter, no whole model", fix)
    return found / str(info["products"].get("model", "."))


def _add_parents(run: Run, config: Config) -> None:
    for path in (config.base, config.source):
        if (Path(path).expanduser() / "run.json").is_file():
            run.add_parent(Path(path).expanduser())


class _Meter:
    """A bar of megabytes with their rate behind it."""

    def __init__(self, name: str, total: int) -> None:
        self._bar, self._total, self._done = logs.Bar(f"{name}, MB", round(total / MEGA)), total, 0
        self._started = time.monotonic()
        self.seconds = 0.0

    def __enter__(self) -> _Meter:
        self._bar.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self.seconds = round(time.monotonic() - self._started, 3)
        if exc[0] is None:
            self._bar.step(self._bar.total - self._bar.done)
        self._bar.__exit__(*exc)

    def add(self, count: int) -> None:
        """So many more bytes are done."""
        self._done += count
        whole = min(self._done // MEGA, self._bar.total) - self._bar.done
        if whole > 0:
            self._bar.step(whole, f"{self.rate:.0f} MB/s")

    @property
    def rate(self) -> float:
        """Million bytes a second."""
        return self._done / MEGA / max(self.seconds or time.monotonic() - self._started, 1e-9)
