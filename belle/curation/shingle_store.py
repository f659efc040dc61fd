"""The shingle sets of the texts that need a close look, read when they are asked for and held in bounded memory."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from typing import IO

import numpy as np
from numpy.typing import NDArray

from belle.curation.shingles import Hashes, Numbers, jaccard

SPILL = 1 << 27
"""Hashes of shingle sets held in memory: 1 GiB."""
_AT_ONCE = 8192


class Sets:
    """Shingle sets by number, loaded when they are first asked for, in rising order.

    Above `SPILL` hashes they lie in a file without a name, which the system reads and forgets as memory allows.
    """

    def __init__(self, load: Callable[[Numbers], list[Hashes]]) -> None:
        self._load = load
        self._known: dict[int, Hashes] = {}
        self._count = 0
        self._file: IO[bytes] | None = None

    def get(self, numbers: Numbers) -> list[Hashes]:
        """The sets of these numbers."""
        self._need(numbers)
        return [self._known[number] for number in numbers.tolist()]

    def similarities(self, a: Numbers, b: Numbers) -> NDArray[np.float64]:
        """[m] the exact Jaccard similarity of the pairs (a[i], b[i])."""
        self._need(np.concatenate((a, b)))
        out = np.empty(len(a), dtype=np.float64)
        for i in range(0, len(a), _AT_ONCE):
            some = slice(i, i + _AT_ONCE)
            pairs = zip(a[some].tolist(), b[some].tolist(), strict=True)
            out[some] = [jaccard(self._known[x], self._known[y]) for x, y in pairs]
        return out

    def _need(self, numbers: Numbers) -> None:
        new = np.array([number for number in np.unique(numbers).tolist() if number not in self._known], dtype=np.int64)
        for i in range(0, len(new), _AT_ONCE):
            some = new[i : i + _AT_ONCE]
            loaded = self._load(some)
            flat = self._put(np.concatenate(loaded))
            end = 0
            for number, one in zip(some.tolist(), loaded, strict=True):
                begin, end = end, end + len(one)
                self._known[number] = flat[begin:end]

    def _put(self, flat: Hashes) -> Hashes:
        self._count += len(flat)
        if self._count <= SPILL or not len(flat):
            return flat
        if self._file is None:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the sets
        begin = self._file.seek(0, 2)
        self._file.write(flat.tobytes())
        self._file.flush()
        return np.asarray(np.memmap(self._file, dtype=np.uint64, mode="r", offset=begin, shape=flat.shape))
