"""Room on the disk is reserved whole, or not at all."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from belle.errors import BelleError
from belle.release.file_blocks import BLOCK, BlockReader, BlockWriter, reserve


def test_a_file_has_its_size_at_once(tmp_path: Path) -> None:
    with (tmp_path / "a").open("wb") as file:
        reserve(file, 0)
        reserve(file, 5000)
    if hasattr(os, "posix_fallocate"):
        assert (tmp_path / "a").stat().st_size == 5000


@pytest.mark.parametrize(("number", "raised"), [(errno.ENOSPC, True), (errno.EFBIG, True), (errno.EOPNOTSUPP, False)])
def test_a_full_disk_is_said_and_a_lack_of_the_call_is_not(
    number: int, raised: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*unused: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "posix_fallocate", refuse, raising=False)
    with (tmp_path / "a").open("wb") as file:
        if raised:
            with pytest.raises(OSError, match=os.strerror(number)):
                reserve(file, 10)
        else:
            reserve(file, 10)


@pytest.mark.parametrize("direct", [True, False])
@pytest.mark.parametrize("sizes", [[], [1], [4096], [32, 5000, 5000, 5000, 7], [32] + [8192] * 4, [3] * 3000, [5000, 0, 9000]])
def test_blocks_of_any_size_make_the_file(
    sizes: list[int], direct: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not direct:
        monkeypatch.delattr(os, "O_DIRECT", raising=False)
    parts = [bytes([i % 251]) * size for i, size in enumerate(sizes)]
    for buffers in (1, 3):
        with BlockWriter(tmp_path / "a", sum(sizes), 10_000, buffers) as out:
            for part in parts:
                out.room(len(part))[:] = np.frombuffer(part, np.uint8)
                out.push()
            out.put_start(b"" if not sizes else b"\xff")
        whole = b"".join(parts)
        assert (tmp_path / "a").read_bytes() == (b"\xff" + whole[1:] if sizes else b"")


def test_a_room_stays_until_as_many_more_were_asked_for(tmp_path: Path) -> None:
    with BlockWriter(tmp_path / "a", 30_000, 10_000, 3) as out:
        rooms = []
        for value in range(3):
            rooms.append(out.room(10_000))
            rooms[-1][:] = value
            out.push()
        assert [set(room.tolist()) for room in rooms] == [{0}, {1}, {2}]


def test_a_file_system_that_takes_the_flag_and_refuses_the_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write

    def refuse(file: int, data: memoryview) -> int:
        import fcntl

        if fcntl.fcntl(file, fcntl.F_GETFL) & getattr(os, "O_DIRECT", 0):
            raise OSError(errno.EINVAL, "no such writes here")
        return real(file, data[:1000])

    monkeypatch.setattr(os, "write", refuse)
    with BlockWriter(tmp_path / "a", 9000, 9000) as out:
        out.room(9000)[:] = 7
        out.push()
    assert (tmp_path / "a").read_bytes() == b"\7" * 9000


def test_nothing_is_written_where_no_path_is_given() -> None:
    with BlockWriter(None, 0, 100) as out:
        out.room(100)[:] = 1
        out.push()


def test_a_full_disk_stops_a_file_before_its_first_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*unused: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    with pytest.raises(OSError, match="No space left"):
        BlockWriter(tmp_path / "a", 10, 10)


@pytest.mark.parametrize("mapped", [True, False])
def test_a_file_is_read_from_anywhere_and_its_shrinking_is_said(
    mapped: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, data = tmp_path / "a.bin", bytes(range(256)) * 300_000
    path.write_bytes(data)
    if not mapped:
        monkeypatch.setattr("mmap.mmap", lambda *args, **named: (_ for _ in ()).throw(OSError(19, "no such device")))
    with path.open("rb", buffering=0) as file:
        blocks = BlockReader(file, len(data), BLOCK)
        for start in [*range(0, len(data) - BLOCK, BLOCK), 5, len(data) - 7]:  # through the whole, then back to the beginning
            length = min(BLOCK, len(data) - start)
            assert blocks.read(start, length).tobytes() == data[start : start + length]
        os.truncate(path, 1000)
        assert blocks.read(900, 100).tobytes() == data[900:1000]
        with pytest.raises(BelleError, match="became shorter while it was read"):
            blocks.read(990, 20)
