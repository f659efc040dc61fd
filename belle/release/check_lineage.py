"""What can be wrong between a model and what it came from: no change, another base, changed files, lost runs, no licence."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from belle.errors import Finding
from belle.lineage import RunFolder
from belle.models.load import BELONGS, check_base
from belle.release.licences import licences
from belle.release.subject import Subject
from belle.runs import product_hashes, sha256_file, sha256_weights

WEIGHTS = (".safetensors", ".gguf")


def change(subject: Subject) -> Iterator[Finding]:
    """An adapter, a merge or a training made a difference, and to the base that it names."""
    yield from _whole(subject) if subject.whole else _adapter(subject)


def _adapter(subject: Subject) -> Iterator[Finding]:
    check_base(subject.found)
    if not (subject.folder / BELONGS).is_file():
        what = f"no {BELONGS} says to which base's weights the adapter belongs"
        yield Finding("warning", "change", what, "see that it answers as it should on this base")
    ups = [name for name in subject.weights if ".lora_B." in name or "lora_embedding_B" in name]
    dead = [name for name in ups if not subject.weights.values(name).any()]
    if not ups or len(dead) == len(ups):
        yield Finding("error", "change", "the adapter changes nothing: all its B matrices are zero", "train it first")
    else:
        yield Finding("ok", "change", f"{len(ups) - len(dead)} of {len(ups)} adapted layers change the base")


def _whole(subject: Subject) -> Iterator[Finding]:
    if subject.base is None or subject.base_weights is None:
        yield Finding("warning", "change", "no base is known to compare with", "name it: base=path/to/base")
        return
    ours, base = subject.weights, subject.base_weights
    both = [name for name in ours if name in base]
    if not both:
        yield Finding("error", "change", f"no tensor has a name that the base {str(subject.base)!r} has", "name the right base")
        return
    same = sum(ours.entry(n).dtype == base.entry(n).dtype and np.array_equal(ours.raw(n), base.raw(n)) for n in both)
    if same == len(both) == len(ours):
        yield Finding("error", "change", f"all {same} tensors are those of the base: nothing was merged or trained",
                      "merge the adapter again, and release the result")  # fmt: skip
    else:
        yield Finding("ok", "change", f"{len(ours) - same} of {len(ours)} tensors differ from the base")


def hashes(subject: Subject) -> Iterator[Finding]:
    """The files are those that the run wrote that made them."""
    run = next((found for found in subject.chain if found.path == subject.found.run), None)
    if run is not None:
        yield from product_changes(run)


def product_changes(run: RunFolder) -> Iterator[Finding]:
    """What a run made, against the hashes that it noted when it was done."""
    noted = run.info.get("hashes")
    if noted is None:
        what = f"{run.name}: its run.json has no hashes of what it made"
        yield Finding("warning", "hashes", what, "make it again with this version of belle")
        return
    now = product_hashes(run.path, run.info["products"])
    changed = [name for name in sorted(noted) if now.get(name) != noted[name]]
    for name in changed:
        if name not in now:
            yield Finding("error", "hashes", f"{name} is gone, which {run.verb} wrote", "make the model again")
        elif name.endswith(WEIGHTS):
            yield Finding("error", "hashes", f"{name} is not what {run.verb} wrote", "make the model again")
        else:
            yield Finding("warning", "hashes", f"{name} is not what {run.verb} wrote", "see that you meant to change it")
    if strange := sorted(name for name in now.keys() - noted.keys() if name.endswith(WEIGHTS)):
        yield Finding("error", "hashes", f"{strange[0]} was not written by {run.verb}", "take it away, or make the model again")
    if not changed and not strange:
        yield Finding("ok", "hashes", f"{len(noted)} files as {run.verb} wrote them")


def lineage(subject: Subject) -> Iterator[Finding]:
    """The runs that made the model are there, and what they read is what is there now."""
    yield from chain_changes(subject.chain)


def chain_changes(chain: list[RunFolder]) -> Iterator[Finding]:
    """Runs that are lost, and inputs that are gone or are no longer what was read."""
    if not chain:
        yield Finding("warning", "lineage", "no run folder says how the model was made", "release the run's own folder")
        return
    faults = []
    for run in chain:
        if run.lost:
            fix = "keep the folders of all runs together"
            faults.append(Finding("warning", "lineage", f"{str(run.path)!r}: {run.lost}", fix))
        elif not run.finished:
            faults.append(Finding("error", "lineage", f"{run.name} ({run.verb}) has not finished", "run it to its end"))
    checked: dict[tuple[str, str], bool] = {}
    for run in chain:
        for entry in run.info.get("inputs", ()):
            path, then = Path(entry["path"]), entry["sha256"]
            if not path.exists():
                what = f"{run.name}: {entry['role']} {str(path)!r} is gone"
                faults.append(Finding("warning", "lineage", what, "keep what the model was made from"))
                continue
            if (entry["path"], then) in checked:  # a base is read by every run of a chain
                continue
            now = sha256_weights(path) if path.is_dir() else sha256_file(path)
            checked[entry["path"], then] = now == then
            if now != then:
                what = f"{run.name}: {entry['role']} {str(path)!r} is no longer what was read"
                what += f" (sha256 {now[:12]}, then {then[:12]})"
                faults.append(Finding("error", "lineage", what, "restore it, or make the model again from what is there"))
    told = f"{len(chain)} {'run' if len(chain) == 1 else 'runs'}, {len(checked)} inputs with the hashes that were noted"
    yield from faults or [Finding("ok", "lineage", told)]


def licence(subject: Subject) -> Iterator[Finding]:
    """The licences of base and data are named."""
    yield from licence_findings(licences(subject.chain, subject.base, subject.licences))


def licence_findings(found: dict[str, str]) -> Iterator[Finding]:
    """What of a table of licences is not named."""
    lacking = [what for what, name in found.items() if not name]
    if lacking:
        yield Finding("warning", "licence", f"no licence is named for {', '.join(lacking)}", "say it: licences='{name: licence}'")
    elif found:
        yield Finding("ok", "licence", "; ".join(f"{what}: {name}" for what, name in found.items()))
    else:
        yield Finding("warning", "licence", "nothing says what the model came from", "name the base: base=path/to/base")
