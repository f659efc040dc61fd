"""BELLE's `.enc` files: a model that only holders of its base can read. Byte-compatible in both directions.

    file    = sha256(plain), 32 raw bytes, then the payload; its name is NAME.SHA256HEX.enc
    payload = plain XOR key, where the key is a file of the base (for LLaMA consolidated.00.pth)

Both are cut into chunks of 10 MiB. Chunk k of the plain text goes with chunk k of the key, from the key's beginning again
when its chunks are used up; a chunk of the key that is shorter than that of the text is repeated within it.

XOR with a public key hides nothing from a holder of the base and is no secret from anyone who guesses parts of the text:
it answers a licence, it is no encryption.

Memory stays at a few blocks whatever a file's size. A file that is worked on alone has its hash made in a thread of its own, and
costs the slower of the two; where every core has a file of its own, hashing a block where it was mixed is cheaper.
"""

from __future__ import annotations

import hashlib
import re
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from belle.errors import BelleError
from belle.jsonl import atomic_path
from belle.release.file_blocks import BLOCK, BlockReader, BlockWriter, Progress
from belle.release.xor_diagnosis import why_it_differs
from belle.runs import sha256_file

CHUNK = 10 * 1024 * 1024
HASH = 32
SLOTS = 3
"""Blocks under way at a time where hashing has a thread of its own."""
NAME = re.compile(r"(?P<name>.+)\.(?P<sha256>[0-9a-f]{64})\.enc", re.DOTALL)


@dataclass(frozen=True)
class Written:
    """A file that is there: where, the sha256 and size of the plain text, and whether this call made it."""

    path: Path
    sha256: str
    size: int
    made: bool


def encrypt(
    plain: Path, key: Path, folder: Path, progress: Progress | None = None, chunk: int = CHUNK, alone: bool = True
) -> Written:
    """Write `NAME.SHA256HEX.enc` for a file; it appears when it is complete.

    An earlier one that is whole and was made with this key is kept; one of another plain text under this name is removed.

    Args:
        plain: the file to encrypt.
        key: a file of the base.
        folder: where the result goes.
        progress: is told the bytes done since it was last called; what it raises stops the work.
        chunk: 10 MiB in BELLE's files.
        alone: no other file is worked on meanwhile: hash in another thread.

    Raises:
        BelleError: the key is empty, a file cannot be read or written, or it changed meanwhile.
    """
    earlier = [p for p in folder.glob("*.enc") if (found := NAME.fullmatch(p.name)) and found["name"] == plain.name]
    with _Key(key, chunk) as pad:
        for path in earlier:
            if _is_whole(path, plain, pad):
                return Written(path, split_name(path)[1], plain.stat().st_size, made=False)
            path.unlink()
        # The name holds the hash, which is known only at the end: until then the file has a hidden name.
        unnamed = folder / f".{plain.name}.enc"
        with _open(plain) as source:
            size = _size(source)
            with atomic_path(unnamed) as part, _writer(part, HASH + size, pad, alone) as target:
                target.room(HASH)[:] = 0
                target.push()
                digest = _pump(source, size, pad, target, of_result=False, progress=progress, alone=alone)
                target.put_start(digest)
    done = unnamed.replace(folder / f"{plain.name}.{digest.hex()}.enc")
    return Written(done, digest.hex(), size, made=True)


def decrypt(
    enc: Path,
    key: Path,
    target: Path,
    progress: Progress | None = None,
    chunk: int = CHUNK,
    key_is_right: bool = False,
    alone: bool = True,
) -> Written:
    """Write the plain text of a `.enc` file to `target`; it appears when its hash has been found right.

    Args:
        enc: `NAME.SHA256HEX.enc`.
        key: a file of the base.
        target: the file to write; one that has the right content already is kept.
        progress: see `encrypt`.
        chunk: 10 MiB in BELLE's files.
        key_is_right: the key's own hash is known to be right, so that a difference is the file's fault.
        alone: see `encrypt`.

    Raises:
        BelleError: the key is wrong or the file is truncated or damaged (it says which, as far as it can be known), the key
            is empty, or a file cannot be read or written. Then `target` is as it was.
    """
    with _open(enc) as source, _Key(key, chunk) as pad:
        size, header = header_of(enc, source)
        if target.is_file() and target.stat().st_size == size and sha256_file(target) == header.hex():
            return Written(target, header.hex(), size, made=False)
        with atomic_path(target) as part:
            with _writer(part, size, pad, alone) as out:
                digest = _pump(source, size, pad, out, of_result=True, progress=progress, alone=alone)
            if digest != header:
                raise _differs(enc, key, size, source, pad, key_is_right)
    return Written(target, header.hex(), size, made=True)


def try_key(enc: Path, key: Path, chunk: int = CHUNK) -> None:
    """Decrypt a file into nothing.

    Raises:
        BelleError: as `decrypt` would.
    """
    with _open(enc) as source, _Key(key, chunk) as pad:
        size, header = header_of(enc, source)
        if _mixed_sha256(source, size, pad) != header:
            raise _differs(enc, key, size, source, pad, key_is_right=False)


def split_name(enc: Path) -> tuple[str, str]:
    """(name, sha256 as hex) from `NAME.SHA256HEX.enc`.

    Raises:
        BelleError: the name has another form.
    """
    found = NAME.fullmatch(enc.name)
    if not found:
        raise BelleError(f"{str(enc)!r} is not named NAME.SHA256.enc (64 hex digits)", "give it its published name back")
    return found["name"], found["sha256"]


def header_of(enc: Path, source: BinaryIO) -> tuple[int, bytes]:
    """(size of the plain text in bytes, its sha256 as 32 bytes); leaves `source` at the payload."""
    size, again = _size(source) - HASH, "download it again"
    source.seek(0)
    header = source.read(HASH)
    if header.startswith(b"version https://git-lfs"):
        raise BelleError(f"{str(enc)!r} is a pointer of Git LFS, not the file itself", "fetch it with `git lfs pull`")
    if size < 0:
        raise BelleError(f"{str(enc)!r} is truncated: it has {size + HASH} bytes, and its hash alone takes {HASH}", again)
    if header.hex() != split_name(enc)[1]:
        what = f"{str(enc)!r} is damaged or was renamed: its name says sha256 {split_name(enc)[1][:12]}..."
        raise BelleError(f"{what}, its first {HASH} bytes say {header.hex()[:12]}...", again)
    return size, header


class _Key:
    """A key file as an endless pad: `read(position, length)` gives the bytes for that part of a payload."""

    def __init__(self, path: Path, chunk: int) -> None:
        self._file = _open(path)
        self.chunk, self._size = chunk, _size(self._file)
        if not self._size:
            self._file.close()
            raise BelleError(f"the key {str(path)!r} is empty", "name the file of the base that the diff was made with")
        self._chunks = -(-self._size // chunk)
        self._blocks = BlockReader(self._file, self._size, min(BLOCK, chunk))
        self._short: NDArray[np.uint8] | None = None

    def read(self, position: int, length: int) -> NDArray[np.uint8]:
        """uint8 [length], valid until the next call; it does not reach over the end of a chunk."""
        number, within = divmod(position, self.chunk)
        start = number % self._chunks * self.chunk
        have = min(self.chunk, self._size - start)
        if have == self.chunk:
            return self._blocks.read(start + within, length)
        if self._short is None:
            blocks = BlockReader(self._file, self._size, have)
            self._short = np.resize(blocks.read(start, have), have + min(BLOCK, self.chunk))  # repeats it
        return self._short[within % have :][:length]

    def __enter__(self) -> _Key:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()


def _writer(path: Path | None, size: int, pad: _Key, alone: bool) -> BlockWriter:
    return BlockWriter(path, size, max(HASH, min(BLOCK, pad.chunk)), SLOTS if alone else 1)


def _mixed_sha256(source: BinaryIO, size: int, pad: _Key) -> bytes:
    """The sha256 of what `source` gives from where it stands, with nothing written."""
    with _writer(None, 0, pad, alone=True) as nowhere:
        return _pump(source, size, pad, nowhere, of_result=True)


def _pump(
    source: BinaryIO,
    size: int,
    pad: _Key,
    target: BlockWriter,
    of_result: bool,
    progress: Progress | None = None,
    alone: bool = True,
) -> bytes:
    """XOR `size` bytes from where `source` stands, write them, and return the sha256 of what went in or of what came out."""
    digest = hashlib.sha256()
    block, first = min(BLOCK, pad.chunk), source.tell()
    blocks = BlockReader(source, first + size, block, keep=SLOTS)
    hashing: list[Future[None] | None] = [None] * (SLOTS if alone else 1)
    position = turn = 0
    with ThreadPoolExecutor(1) if alone else nullcontext() as hasher:
        while position < size:
            length = min(block, pad.chunk - position % pad.chunk, size - position)
            before = hashing[turn]
            if before is not None:
                before.result()  # what was mixed into the room that comes next is hashed: it is free
            taken = blocks.read(first + position, length)
            mixed = np.bitwise_xor(taken, pad.read(position, length), out=target.room(length))
            hashed = (mixed if of_result else taken).data
            if hasher is None:
                digest.update(hashed)
            else:
                hashing[turn] = hasher.submit(digest.update, hashed)
            target.push()
            if progress is not None:
                progress(length)
            position, turn = position + length, (turn + 1) % len(hashing)
    return digest.digest()


def _is_whole(enc: Path, plain: Path, pad: _Key) -> bool:
    """Whether `enc` is what encrypting `plain` would give."""
    if enc.is_symlink() or not enc.is_file() or enc.stat().st_size != plain.stat().st_size + HASH:
        return False
    with _open(enc) as source:
        header = source.read(HASH)
        if header.hex() != split_name(enc)[1] or header.hex() != sha256_file(plain):
            return False
        return _mixed_sha256(source, _size(source) - HASH, pad) == header


def _differs(enc: Path, key: Path, size: int, source: BinaryIO, pad: _Key, key_is_right: bool) -> BelleError:
    name = split_name(enc)[0]
    why, fix = why_it_differs(name, size, lambda start, length: _peek(source, pad, start, length), key_is_right)
    return BelleError(f"{str(enc)!r} with the key {str(key)!r} does not give {name!r}: {why}", fix)


def _peek(source: BinaryIO, pad: _Key, start: int, length: int) -> bytes:
    """A part of the plain text."""
    out = bytearray()
    block = min(BLOCK, pad.chunk)
    blocks = BlockReader(source, _size(source), block)
    while len(out) < length:
        position = start + len(out)
        step = min(block, pad.chunk - position % pad.chunk, length - len(out))
        taken = blocks.read(HASH + position, step)
        out += (taken ^ pad.read(position, step)).tobytes()
    return bytes(out)


def _open(path: Path) -> BinaryIO:
    try:
        return path.open("rb", buffering=0)
    except OSError as error:
        raise BelleError(f"cannot read {str(path)!r}: {error.strerror}", "check that it is there and may be read") from error


def _size(file: BinaryIO) -> int:
    here = file.tell()
    end = file.seek(0, 2)
    file.seek(here)
    return end
