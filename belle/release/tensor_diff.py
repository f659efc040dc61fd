"""A model as what changed in its tensors, for holders of the base: bits XOR bits, and nothing for what stayed the same.

For every safetensors file of the tuned model there is one delta, itself a safetensors file: a tensor that the base has in the
same type and shape is stored as the XOR of the two (as unsigned integers of its width), one that equals the base's is left out,
and a new or reshaped one is stored whole. Whole tensors and the files beside the weights can be read by everyone.

The manifest holds the header of each result, so that it comes back byte for byte, the hash of each of the base's tensors, which
is checked before anything is written, and the hash of each result, which is checked before it appears. How the base is cut
into files does not matter.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from belle.errors import BelleError
from belle.jsonl import atomic_path
from belle.models.weights import BITS, Entry, Weights, WeightsFile, parse_header
from belle.release import diff_manifest
from belle.release.diff_manifest import CopiedFile, LeftOut, TensorDelta, TensorManifest, model_files, plain_file, write_manifest
from belle.release.file_blocks import BLOCK, Progress, reserve
from belle.release.parallel import in_threads
from belle.runs import sha256_file, sha256_text

UNSIGNED = {8: "U8", 16: "U16", 32: "U32", 64: "U64"}
FORMAT = "belle-tensor-delta/1"
PICKLES = (".bin", ".pth", ".pt", ".ckpt", ".h5", ".msgpack", ".onnx", ".gguf")
"""Files that can hold all the weights once more: copying them would give the model away."""
_OTHER = "give the base that the diff was made with"
_AGAIN = "the diff is damaged: get that file again"


@dataclass(frozen=True)
class Made:
    """Counts of a `make`: tensors by how they are stored, bytes of the deltas, deltas that an earlier call had made."""

    same: int
    xor: int
    whole: int
    bytes: int
    kept: int


class Comparison:
    """A tuned model beside its base: both opened and found sound, nothing written yet."""

    def __init__(self, base: Path, tuned: Path) -> None:
        """Open both.

        Raises:
            BelleError: a file is no sound safetensors file, or base and model have no tensor in common.
        """
        names, left_out = model_files(tuned)
        self.names = [name for name in names if name.endswith(".safetensors")]
        if not self.names:
            raise BelleError(f"{str(tuned)!r} holds no safetensors file", "give form=xor: it takes files of any kind")
        unread = [name for name in names if name.lower().endswith(PICKLES)]
        self.left_out = left_out + [LeftOut(name=name, reason="may hold weights in a form without delta") for name in unread]
        self.copied = [name for name in names if name not in self.names and name not in unread]
        self.base, self.tuned, self.held = base, tuned, Weights(base)
        self.files = [WeightsFile(tuned / name) for name in self.names]
        self.size = sum(entry.size for file in self.files for entry in file.entries.values())
        if not any(_fits(self.held, name, entry) for file in self.files for name, entry in file.entries.items()):
            what = f"{str(tuned)!r} has no tensor in common with the base {str(base)!r}: all of it would be stored as it is"
            raise BelleError(what, "give the model it was trained from")

    def write(self, folder: Path, workers: int | None, progress: Progress) -> tuple[TensorManifest, Made]:
        """Write the deltas, copies of the other files, and the manifest last; `progress` adds up to 2 x `size` bytes."""
        copies = [_copy(self.tuned / name, folder / name, name) for name in self.copied]
        jobs = [_delta_job(self.held, file, name, folder) for file, name in zip(self.files, self.names, strict=True)]
        done = in_threads(jobs, workers, progress)
        manifest = TensorManifest(
            base=self.base.name, weights=tuple(entry for entry, _ in done), files=tuple(copies), left_out=tuple(self.left_out)
        )
        write_manifest(folder, manifest)
        hows = [tensor.how for entry, _ in done for tensor in entry.tensors.values()]
        stored = sum((folder / entry.delta).stat().st_size for entry, _ in done)
        kept = sum(not made for _, made in done)
        return manifest, Made(hows.count("same"), hows.count("xor"), hows.count("whole"), stored, kept)


class Restoration:
    """A base and a diff: opened and found to belong together in names, types and shapes; nothing written yet."""

    def __init__(self, manifest: TensorManifest, base: Path, source: Path) -> None:
        """Open both.

        Raises:
            BelleError: a file is missing, or base, deltas and manifest do not fit each other.
        """
        self.manifest, self.source, self.held = manifest, source, Weights(base)
        self.plans = [_Result(file, source) for file in manifest.weights]
        for file in manifest.files:
            if (have := plain_file(source, file.name).stat().st_size) != file.size:
                raise BelleError(f"{str(source / file.name)!r} has {have} bytes, the manifest says {file.size}", _AGAIN)
        self.size = sum(plan.size for plan in self.plans)

    def check_base(self, workers: int | None, progress: Progress) -> None:
        """Hash every tensor that is needed; `progress` adds up to at most `size` bytes.

        Raises:
            BelleError: the base is another; a tensor that shows it is named.
        """
        checks = [_base_check(self.held, name, entry, delta) for plan in self.plans for name, entry, delta in plan.needs()]
        in_threads(checks, workers, progress)

    def write(self, folder: Path, workers: int | None, progress: Progress) -> tuple[int, int]:
        """Make the tuned model again; `progress` adds up to `size` bytes.

        Returns:
            Weights files made by this call, and those that an earlier call had made.

        Raises:
            BelleError: a file of the diff is damaged. Files that came out right before stay.
        """
        for file in self.manifest.files:
            if sha256_file(self.source / file.name) != file.sha256:
                raise BelleError(f"{str(self.source / file.name)!r} has another sha256 than the manifest says", _AGAIN)
            _copy(self.source / file.name, folder / file.name, file.name)
        made = in_threads([_apply_job(plan, self.held, folder) for plan in self.plans], workers, progress)
        return sum(made), len(made) - sum(made)


def delta_name(name: str) -> str:
    """`model.safetensors` -> `model.delta.safetensors`."""
    return name.removesuffix(".safetensors") + ".delta.safetensors"


def _fits(held: Weights, name: str, entry: Entry) -> bool:
    return name in held and (held.entry(name).dtype, held.entry(name).shape) == (entry.dtype, entry.shape)


def _delta_job(
    held: Weights, file: WeightsFile, name: str, folder: Path
) -> Callable[[Progress], tuple[diff_manifest.WeightsFile, bool]]:
    def work(progress: Progress) -> tuple[diff_manifest.WeightsFile, bool]:
        tensors, result_sha256 = _compare(held, file, progress)
        facts = json.dumps([result_sha256, {key: tensor.model_dump() for key, tensor in tensors.items()}])
        metadata = {"format": FORMAT, "entry": sha256_text(facts)}
        target = folder / delta_name(name)
        made = not _has_metadata(target, metadata)
        if made:
            stored = {key: file.entries[key] for key, tensor in tensors.items() if tensor.how != "same"}
            with atomic_path(target) as part, part.open("wb") as out:
                start = _delta_header(stored, tensors, metadata)
                reserve(out, len(start) + sum(entry.size for entry in stored.values()))
                out.write(start)
                for key in stored:
                    ours = file.raw(key)
                    theirs = held.raw(key) if tensors[key].how == "xor" else None
                    for block in _mixed(ours, theirs):
                        out.write(block.data)
                        progress(len(block))
        progress(sum(entry.size for key, entry in file.entries.items() if not made or tensors[key].how == "same"))
        entry = diff_manifest.WeightsFile(
            name=name, size=file.path.stat().st_size, sha256=result_sha256, header=file.header.decode("utf-8"), tensors=tensors,
            delta=delta_name(name), delta_sha256=sha256_file(target),
        )  # fmt: skip
        return entry, made

    return work


def _compare(held: Weights, file: WeightsFile, progress: Progress) -> tuple[dict[str, TensorDelta], str]:
    """How each tensor of a file is stored, and the sha256 of the whole file."""
    whole = hashlib.sha256(len(file.header).to_bytes(8, "little") + file.header)
    tensors = {}
    for name, entry in file.entries.items():
        fits, same = _fits(held, name, entry), True
        ours, base = file.raw(name), hashlib.sha256()
        theirs = held.raw(name) if fits else ours
        for start in range(0, entry.size, BLOCK):
            block, other = ours[start : start + BLOCK], theirs[start : start + BLOCK]
            whole.update(block.data)
            if fits:
                base.update(other.data)
                same = same and np.array_equal(block, other)
            progress(len(block))
        how = "whole" if not fits else "same" if same else "xor"
        tensors[name] = TensorDelta.model_validate({"how": how, "base_sha256": base.hexdigest() if fits else None})
    return tensors, whole.hexdigest()


def _delta_header(stored: dict[str, Entry], tensors: dict[str, TensorDelta], metadata: dict[str, str]) -> bytes:
    """The first bytes of a delta: length and JSON, padded so that the tensors begin at a multiple of 8."""
    header: dict[str, object] = {"__metadata__": metadata}
    end = 0
    for name, entry in stored.items():
        dtype, shape = _stored_form(entry, tensors[name].how)
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [end, end + entry.size]}
        end += entry.size
    text = json.dumps(header, ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _stored_form(entry: Entry, how: str) -> tuple[str, tuple[int, ...]]:
    if how == "whole":
        return entry.dtype, entry.shape
    bits = BITS[entry.dtype]
    return (UNSIGNED[bits], entry.shape) if bits in UNSIGNED else ("U8", (entry.size,))


def _has_metadata(path: Path, metadata: dict[str, str]) -> bool:
    """Whether an earlier call made this very delta."""
    try:
        return path.is_file() and WeightsFile(path).metadata == metadata
    except BelleError:
        return False


def _mixed(ours: NDArray[np.uint8], theirs: NDArray[np.uint8] | None) -> Iterator[NDArray[np.uint8]]:
    for start in range(0, len(ours), BLOCK):
        block = ours[start : start + BLOCK]
        yield np.ascontiguousarray(block if theirs is None else block ^ theirs[start : start + BLOCK])


class _Result:
    """A file to make: its header checked, its delta opened and found to hold what the manifest says."""

    def __init__(self, facts: diff_manifest.WeightsFile, source: Path) -> None:
        self.facts, self.header = facts, facts.header.encode("utf-8", "surrogatepass")
        size = facts.size - 8 - len(self.header)
        where = f"{str(source / diff_manifest.MANIFEST)!r}, header of {facts.name!r}"
        self.entries, _ = parse_header(self.header, size, where)
        self.delta = WeightsFile(plain_file(source, facts.delta))
        if self.entries.keys() != facts.tensors.keys():
            name = sorted(self.entries.keys() ^ facts.tensors.keys())[0]
            raise BelleError(f"{where} and its list of tensors disagree about {name!r}", "get the diff again")
        for name, entry in self.entries.items():
            how = facts.tensors[name].how
            have = self.delta.entries.get(name)
            if how != "same" and (have is None or (have.dtype, have.shape) != _stored_form(entry, how)):
                raise BelleError(f"{str(self.delta.path)!r} does not hold tensor {name!r} as the manifest says", _AGAIN)

    @property
    def size(self) -> int:
        """Bytes of its tensors."""
        return sum(entry.size for entry in self.entries.values())

    def needs(self) -> Iterator[tuple[str, Entry, TensorDelta]]:
        """The tensors that the base must have."""
        return ((name, entry, self.facts.tensors[name]) for name, entry in self.entries.items()
                if self.facts.tensors[name].how != "whole")  # fmt: skip


def _base_check(held: Weights, name: str, entry: Entry, delta: TensorDelta) -> Callable[[Progress], None]:
    def work(progress: Progress) -> None:
        if not _fits(held, name, entry):
            has = f"{held.entry(name).dtype} {list(held.entry(name).shape)}" if name in held else "none of that name"
            raise BelleError(f"wrong base: tensor {name!r} is {entry.dtype} {list(entry.shape)} in the diff, here {has}", _OTHER)
        digest, data = hashlib.sha256(), held.raw(name)
        for start in range(0, len(data), BLOCK):
            digest.update(data[start : start + BLOCK].data)
            progress(min(BLOCK, len(data) - start))
        if digest.hexdigest() != delta.base_sha256:
            what = f"wrong base: tensor {name!r} has sha256 {digest.hexdigest()[:12]}..., the diff was made from one with"
            raise BelleError(f"{what} {str(delta.base_sha256)[:12]}...", _OTHER)

    return work


def _apply_job(plan: _Result, held: Weights, folder: Path) -> Callable[[Progress], bool]:
    def work(progress: Progress) -> bool:
        facts, target = plan.facts, folder / plan.facts.name
        if target.is_file() and target.stat().st_size == facts.size and sha256_file(target) == facts.sha256:
            progress(plan.size)
            return False
        if sha256_file(plan.delta.path) != facts.delta_sha256:
            raise BelleError(f"{str(plan.delta.path)!r} has another sha256 than the manifest says", _AGAIN)
        with atomic_path(target) as part:
            with part.open("wb") as out:
                reserve(out, facts.size)
                digest = _write_result(plan, held, out, progress)
            if digest != facts.sha256:
                what = f"{facts.name!r} came out with sha256 {digest[:12]}..., not {facts.sha256[:12]}..."
                raise BelleError(f"{what}, though base and delta are right: the manifest is damaged", "get the diff again")
        return True

    return work


def _write_result(plan: _Result, held: Weights, out: BinaryIO, progress: Progress) -> str:
    start = len(plan.header).to_bytes(8, "little") + plan.header
    digest = hashlib.sha256(start)
    out.write(start)
    for name in plan.entries:
        how = plan.facts.tensors[name].how
        first = held.raw(name) if how == "same" else plan.delta.raw(name)
        for block in _mixed(first, held.raw(name) if how == "xor" else None):
            digest.update(block.data)
            out.write(block.data)
            progress(len(block))
    return digest.hexdigest()


def _copy(path: Path, target: Path, name: str) -> CopiedFile:
    """Copy a file in blocks, whole or not at all, and return its facts."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file, atomic_path(target) as part, part.open("wb") as out:
        while block := file.read(BLOCK):
            digest.update(block)
            out.write(block)
            size += len(block)
    return CopiedFile(name=name, size=size, sha256=digest.hexdigest())
