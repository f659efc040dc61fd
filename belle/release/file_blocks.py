"""How large files are gone through: in blocks, with their room on the disk reserved before the first is written."""

from __future__ import annotations

import errno
import mmap
import os
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from belle.errors import BelleError

BLOCK = 1024 * 1024
"""Bytes that are handled at a time: what is read, mixed, hashed and written stays near the processor."""
PAGE = 4096
"""What a write that goes past the page cache must be a multiple of, in memory and on the disk."""
_LET_GO = 64 * 1024 * 1024
"""Bytes that are let go at once: each time costs a call."""
Progress = Callable[[int], None]
"""Is told the bytes done since it was last called; what it raises stops the work."""


def reserve(file: BinaryIO, size: int) -> None:
    """Let the file system find the room for a whole file at once, where it can: a disk that is too full shows now.

    Raises:
        OSError: there is not so much room.
    """
    if size and hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS):
                raise


class BlockReader:
    """A file whose parts are seen in the page cache where they lie, without a copy of them; read into memory where it cannot be
    mapped.

    What lies far behind is let go, so that a file does not count as this process's memory. A disk that fails under a mapped file
    ends the process (SIGBUS) instead of raising; files appear whole or not at all, so nothing is lost by it.
    """

    def __init__(self, file: BinaryIO, size: int, block: int, keep: int = 1) -> None:
        """Map the file.

        Args:
            file: open, unbuffered.
            size: of it, in bytes.
            block: the most bytes that `read` is asked for.
            keep: how many calls of `read` what was read stays good.
        """
        self._file, self._size, self._name = file, size, str(file.name)
        self._behind, self._released = (keep + 1) * block + _LET_GO, 0
        self._map: mmap.mmap | None = None
        self._buffers: list[NDArray[np.uint8]] = []
        self._turn = 0
        try:
            self._map = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)
            self._bytes = np.frombuffer(self._map, np.uint8)
        except (OSError, ValueError):  # an empty file, or a file system without
            self._buffers = [np.empty(block, np.uint8) for _ in range(keep + 1)]

    def read(self, position: int, length: int) -> NDArray[np.uint8]:
        """uint8 [length] from `position` on, good for `keep` calls.

        Raises:
            BelleError: the file is shorter than it was, or cannot be read.
        """
        if self._map is None:
            self._turn = (self._turn + 1) % len(self._buffers)
            return self._filled(position, self._buffers[self._turn][:length])
        if os.fstat(self._file.fileno()).st_size < position + length:
            raise self._shorter()
        if position < self._released:
            self._released = 0  # from the beginning again, as a key is read
        if position - self._released > self._behind and hasattr(mmap, "MADV_DONTNEED"):
            until = (position - self._behind // 2) // mmap.PAGESIZE * mmap.PAGESIZE
            self._map.madvise(mmap.MADV_DONTNEED, self._released, until - self._released)
            self._released = until
        return self._bytes[position : position + length]

    def _filled(self, position: int, out: NDArray[np.uint8]) -> NDArray[np.uint8]:
        view = out.data
        try:
            self._file.seek(position)
            while view:
                count = self._file.readinto(view)  # type: ignore[attr-defined]
                if not count:
                    raise self._shorter()
                view = view[count:]
        except OSError as error:
            raise BelleError(f"cannot read {self._name!r}: {error.strerror}", "check the disk it lies on") from error
        return out

    def _shorter(self) -> BelleError:
        return BelleError(f"{self._name!r} became shorter while it was read", "let nothing write to it meanwhile")


class BlockWriter:
    """A new file that is filled block by block, past the page cache where system and file system allow it.

    What is copied into the page cache costs a core as much as XOR does, and pushes out what the user's other programs read.
    Use: `room(n)`, put n bytes there, `push()`; and so on until the end of the `with` block, which writes what is left over.
    """

    def __init__(self, path: Path | None, size: int, block: int, buffers: int = 1) -> None:
        """Create the file, or none where `path` is None.

        Args:
            path: the file.
            size: of it in the end, in bytes.
            block: the most bytes that `room` is asked for.
            buffers: how many calls of `room` it takes until bytes are overwritten.

        Raises:
            OSError: it cannot be created, or there is not so much room.
        """
        self._buffers = [np.frombuffer(mmap.mmap(-1, PAGE + block), np.uint8) for _ in range(buffers)]
        self._turn = self._left = self._length = 0  # `_left` bytes before the room belong to the block before
        self._file, self._direct = -1, False
        if path is None:
            return
        flags = os.O_CREAT | os.O_WRONLY | os.O_TRUNC | getattr(os, "O_BINARY", 0)
        try:
            self._file, self._direct = os.open(path, flags | os.O_DIRECT, 0o666), True
        except (AttributeError, OSError):  # a system or a file system without: what else is wrong shows again
            self._file = os.open(path, flags, 0o666)
        try:
            with open(self._file, "wb", buffering=0, closefd=False) as file:
                reserve(file, size)
        except OSError:
            os.close(self._file)
            raise

    def room(self, length: int) -> NDArray[np.uint8]:
        """uint8 [length]: where the next bytes of the file are to be put."""
        before, self._turn = self._buffers[self._turn], (self._turn + 1) % len(self._buffers)
        start, end = self._length - self._left, self._length
        buffer = self._buffers[self._turn]
        buffer[: self._left] = before[start:end].copy()
        self._length = self._left + length
        return buffer[self._left : self._length]

    def push(self) -> None:
        """Write them."""
        whole = self._length // PAGE * PAGE if self._direct else self._length
        self._left = self._length - whole
        self._write(self._buffers[self._turn][:whole])

    def put_start(self, data: bytes) -> None:
        """Overwrite the first bytes of the file, once all blocks are pushed."""
        self._finish()
        os.lseek(self._file, 0, os.SEEK_SET)
        self._write(np.frombuffer(data, np.uint8))

    def __enter__(self) -> BlockWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            if self._file >= 0:
                os.close(self._file)
                self._file = -1

    def _finish(self) -> None:
        self._through_cache()
        rest, self._left = self._buffers[self._turn][self._length - self._left : self._length], 0
        self._write(rest)

    def _write(self, data: NDArray[np.uint8]) -> None:
        view = data.data
        while len(view) and self._file >= 0:
            try:
                done = os.write(self._file, view)
            except OSError as error:
                if not self._direct or error.errno != errno.EINVAL:
                    raise
                self._through_cache()  # a file system that takes the flag and then refuses
                continue
            view = view[done:]
            if self._direct and done % PAGE:  # a disk that has just become full: what follows does not begin at a page
                self._through_cache()

    def _through_cache(self) -> None:
        if self._direct:
            import fcntl

            flags = fcntl.fcntl(self._file, fcntl.F_GETFL)
            fcntl.fcntl(self._file, fcntl.F_SETFL, flags & ~os.O_DIRECT)
            self._direct = False
