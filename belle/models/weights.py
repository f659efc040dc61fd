"""safetensors files without torch: headers checked before they are believed, tensors as views of the file.

The layout (huggingface/safetensors): 8 bytes little-endian N, N bytes of JSON, then the tensors. The JSON maps a name to
`{"dtype", "shape", "data_offsets": [start, end]}`, offsets from the end of the JSON; `__metadata__` maps text to text. The
tensors fill the rest of the file without a hole and without touching each other.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from belle.errors import BelleError

BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "U16": 16, "I16": 16, "U32": 32, "I32": 32, "U64": 64, "I64": 64, "F16": 16, "BF16": 16,
    "F32": 32, "F64": 64, "C64": 64, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "F8_E8M0": 8,
    "F6_E2M3": 6, "F6_E3M2": 6, "F4": 4,
}  # fmt: skip
"""Bits of one element."""
NUMPY = {
    "BOOL": np.bool_, "U8": np.uint8, "I8": np.int8, "U16": np.uint16, "I16": np.int16, "U32": np.uint32, "I32": np.int32,
    "U64": np.uint64, "I64": np.int64, "F16": np.float16, "F32": np.float32, "F64": np.float64, "C64": np.complex64,
}  # fmt: skip
LONGEST_HEADER = 100_000_000
"""Bytes; what the format's own reader takes."""
_AGAIN = "get the file again from where it came"


@dataclass(frozen=True, slots=True)
class Entry:
    """A tensor's place: bytes `start` to `end` behind the header."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int

    @property
    def size(self) -> int:
        """Bytes."""
        return self.end - self.start


class WeightsFile:
    """One safetensors file, open for reading.

    `header` is its JSON as it stands; `entries` maps names to places, in the order of the data; `metadata` is its texts.
    """

    def __init__(self, path: Path) -> None:
        """Read and check the header.

        Raises:
            BelleError: the file cannot be read, is truncated, or its header contradicts itself or the file's size.
        """
        self.path = path
        try:
            with path.open("rb") as file:
                size = file.seek(0, 2)
                file.seek(0)
                start = file.read(8)
                length = int.from_bytes(start, "little")
                if start and b"version ".startswith(start[:8]) and file.read(64).startswith(b"https://git-lfs"):
                    raise BelleError(f"{str(path)!r} is a pointer of Git LFS, not the file", "fetch it with `git lfs pull`")
                if len(start) < 8 or (8 + length > size and length <= LONGEST_HEADER):
                    raise BelleError(f"{str(path)!r} is truncated: it ends within its header, after {size} bytes", _AGAIN)
                if length > LONGEST_HEADER:
                    raise BelleError(f"{str(path)!r} is no safetensors file: its header would take {length} bytes", _AGAIN)
                file.seek(8)
                self.header = file.read(length)
        except OSError as error:
            raise BelleError(f"cannot read {str(path)!r}: {error.strerror}", "check that it is there and may be read") from error
        self.entries, self.metadata = parse_header(self.header, size - 8 - length, str(path))
        self._data: NDArray[np.uint8] = np.empty(0, np.uint8)
        if size > 8 + length:  # an empty part of a file cannot be mapped
            self._data = np.memmap(path, np.uint8, "r", offset=8 + length)

    def raw(self, name: str) -> NDArray[np.uint8]:
        """uint8 [bytes]: a tensor's bits, read from the file as they are looked at."""
        entry = self.entries[name]
        return self._data[entry.start : entry.end]

    def values(self, name: str) -> NDArray[Any]:
        """A tensor in its shape: in its own type where numpy has it, bfloat16 widened to float32 (which is exact).

        Raises:
            BelleError: numpy has no such type.
        """
        entry = self.entries[name]
        if entry.dtype == "BF16":
            wide = self.raw(name).view("<u2").astype(np.uint32) << np.uint32(16)
            floats: NDArray[Any] = wide.view(np.float32).reshape(entry.shape)
            return floats
        if entry.dtype not in NUMPY:
            raise BelleError(f"{str(self.path)!r}: tensor {name!r} has the type {entry.dtype}, which numpy does not know")
        values: NDArray[Any] = self.raw(name).view(np.dtype(NUMPY[entry.dtype]).newbyteorder("<")).reshape(entry.shape)
        return values


class Weights:
    """All tensors of a model: a safetensors file, or a folder of them with or without an index; iterates over their names."""

    def __init__(self, path: Path) -> None:
        """Open every file and check that each tensor stands in exactly one.

        Raises:
            BelleError: there is no file, a shard is missing or truncated, or index and shards disagree.
        """
        index = path / "model.safetensors.index.json"
        listed = _weight_map(index) if index.is_file() else None
        if path.is_dir():
            names = sorted(set(listed.values())) if listed is not None else sorted(p.name for p in path.glob("*.safetensors"))
            paths = [path / name for name in names]
        else:
            paths = [path]
        missing = [one for one in paths if not one.is_file()]
        if missing or not paths:
            what = f"{str(missing[0])!r} is missing" if missing else f"{str(path)!r} holds no safetensors file"
            raise BelleError(what, "give a complete folder or a .safetensors file")
        self.files = [WeightsFile(one) for one in paths]
        self._home: dict[str, WeightsFile] = {}
        for file in self.files:
            for name in file.entries:
                if name in self._home:
                    both = f"{str(self._home[name].path)!r} and {str(file.path)!r}"
                    raise BelleError(f"tensor {name!r} stands in {both}", "keep one of these files, or the index that says which")
                if listed is not None and listed.get(name) != file.path.name:
                    said = listed.get(name, "nowhere")
                    raise BelleError(f"{str(index)!r} puts tensor {name!r} in {said}, and it stands in {file.path.name}", _AGAIN)
                self._home[name] = file
        lost = sorted(listed.keys() - self._home.keys()) if listed is not None else []
        if listed is not None and lost:
            raise BelleError(f"{str(path / listed[lost[0]])!r} lacks tensor {lost[0]!r}, which the index puts there", _AGAIN)

    def entry(self, name: str) -> Entry:
        """Type, shape and place of a tensor."""
        return self._home[name].entries[name]

    def raw(self, name: str) -> NDArray[np.uint8]:
        """uint8 [bytes]: a tensor's bits."""
        return self._home[name].raw(name)

    def values(self, name: str) -> NDArray[Any]:
        """A tensor in its shape; see `WeightsFile.values`."""
        return self._home[name].values(name)

    def __contains__(self, name: str) -> bool:
        return name in self._home

    def __iter__(self) -> Iterator[str]:
        return iter(self._home)

    def __len__(self) -> int:
        return len(self._home)


def parse_header(header: bytes, data_size: int, where: str) -> tuple[dict[str, Entry], dict[str, str]]:
    """(tensors by name, in the order of their data; metadata) of a header that `data_size` bytes stand behind.

    Raises:
        BelleError: it is no such JSON, types and shapes do not fit the offsets, or the tensors overlap, leave a hole, or do
            not end where the data ends.
    """
    try:
        value = json.loads(header.decode("utf-8"), object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise BelleError(f"{where}: its header is broken: {error}", _AGAIN) from error
    if not isinstance(value, dict) or not header.startswith(b"{"):
        raise BelleError(f"{where}: its header is no object", _AGAIN)
    metadata = value.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(text, str) for text in metadata.values()):
        raise BelleError(f"{where}: __metadata__ does not map text to text", _AGAIN)
    entries = {name: _entry(name, fields, where) for name, fields in value.items()}
    entries = dict(sorted(entries.items(), key=lambda item: (item[1].start, item[1].end)))
    end = 0
    for name, entry in entries.items():
        if entry.start != end:
            what = "overlaps the tensor before it" if entry.start < end else "stands behind a hole that belongs to no tensor"
            raise BelleError(f"{where}: tensor {name!r} {what} (byte {entry.start}, not {end})", _AGAIN)
        end = entry.end
    if end > data_size:
        raise BelleError(f"{where} is truncated: its tensors take {end} bytes, {data_size} are there", _AGAIN)
    if end < data_size:
        raise BelleError(f"{where}: {data_size - end} bytes at its end belong to no tensor", _AGAIN)
    return entries, metadata


def _entry(name: str, fields: Any, where: str) -> Entry:
    place = f"{where}: tensor {name!r}"
    if any("\ud800" <= char <= "\udfff" for char in name):
        raise BelleError(f"{place}: its name is no text (a lone surrogate)", _AGAIN)
    if not isinstance(fields, dict) or fields.keys() != {"dtype", "shape", "data_offsets"}:
        raise BelleError(f"{place} does not have exactly dtype, shape and data_offsets", _AGAIN)
    dtype, shape, offsets = fields["dtype"], fields["shape"], fields["data_offsets"]
    if not isinstance(dtype, str) or dtype not in BITS:
        raise BelleError(f"{place} has the unknown type {dtype!r}", "a newer belle may know it")
    for numbers in (shape, offsets):
        if not isinstance(numbers, list) or not all(type(n) is int and 0 <= n < 1 << 63 for n in numbers):
            raise BelleError(f"{place}: {numbers!r} is no list of sizes", _AGAIN)
    if len(offsets) != 2 or len(shape) > 64:
        raise BelleError(f"{place}: {offsets!r} and {shape!r} are no offsets and no shape", _AGAIN)
    bits = math.prod(shape) * BITS[dtype]
    if offsets[1] - offsets[0] != bits // 8 or bits % 8:
        raise BelleError(f"{place}: {dtype} {shape} takes {bits / 8:g} bytes, its offsets span {offsets[1] - offsets[0]}", _AGAIN)
    return Entry(dtype, tuple(shape), offsets[0], offsets[1])


def _weight_map(index: Path) -> dict[str, str]:
    try:
        value = json.loads(index.read_text(encoding="utf-8"), object_pairs_hook=_once)
    except (OSError, ValueError, RecursionError) as error:
        raise BelleError(f"{str(index)!r} cannot be read: {error}", _AGAIN) from error
    found = value.get("weight_map") if isinstance(value, dict) else None
    if not isinstance(found, dict) or not found or not all(isinstance(name, str) for name in found.values()):
        raise BelleError(f"{str(index)!r} has no weight_map of names to files", _AGAIN)
    wild = [name for name in found.values() if Path(name).name != name or "\\" in name or name.startswith(".")]
    if wild:
        raise BelleError(f"{str(index)!r} names the file {wild[0]!r}, which is not in its folder", "do not use this checkpoint")
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) != len(pairs):
        twice = next(name for i, (name, _) in enumerate(pairs) if name in {other for other, _ in pairs[:i]})
        raise ValueError(f"{twice!r} stands there twice")
    return out
