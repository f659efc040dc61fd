"""What reaches the disk is whole: under a kill, under a full disk, under a second opening."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from belle import jsonl
from belle.errors import BelleError
from belle.jsonl import Appender, atomic_path, dumps, read_json, read_rows, remove, settle, write_json, write_rows, write_text

Json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


def killed(code: str, *words: Path | str) -> None:
    """Run Python code that ends itself with SIGKILL."""
    head = "import os, sys; from pathlib import Path; from belle.jsonl import *; die = lambda *a, **k: os.kill(os.getpid(), 9)\n"
    done = subprocess.run([sys.executable, "-c", head + code, *map(str, words)], capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def no_space(*args: Any, **kwargs: Any) -> Any:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a file system of 64 kB, full but for a part of the last page."""
    if os.name != "posix" or sys.platform == "darwin" or os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root on Linux")
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting is not allowed here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


# -- rows ------------------------------------------------------------------------------------------------------------


def test_a_line_of_json_is_readable_and_strict() -> None:
    assert dumps({"b": "你好\n", "a": [1, None, True]}) == '{"b": "你好\\n", "a": [1, null, true]}'
    for bad in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="not JSON compliant"):
            dumps({"x": bad})


@given(st.lists(Json, max_size=4))
def test_rows_read_back_equal(tmp_path_factory: pytest.TempPathFactory, rows: list[Any]) -> None:
    file = tmp_path_factory.getbasetemp() / "rows.jsonl"
    assert write_rows(file, rows) == len(rows)
    assert list(read_rows(file)) == rows
    assert file.read_bytes().count(b"\n") == len(rows)
    remove(file)
    with Appender(file) as out:
        for row in rows:
            out.write(row)
    with Appender(file):
        pass  # opening again changes nothing
    assert list(read_rows(file)) == rows


def test_rows_end_with_a_line_feed_alone(tmp_path: Path) -> None:
    write_rows(tmp_path / "a.jsonl", [{"a": "x\r\ny"}])
    write_text(tmp_path / "a.txt", "x\ny\r\n")
    assert (tmp_path / "a.jsonl").read_bytes() == b'{"a": "x\\r\\ny"}\n'
    assert (tmp_path / "a.txt").read_bytes() == b"x\ny\r\n"


def test_a_torn_last_line_is_passed_over_and_a_broken_one_is_named(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(b'{"a": 1}\n{"a": "\xe4\xbd')
    assert list(read_rows(file)) == [{"a": 1}]
    for broken in (b"{'a'}", b"\xff", b""):
        file.write_bytes(b'{"a": 1}\n' + broken + b'\n{"a": 3}\n')
        with pytest.raises(BelleError, match=r"a\.jsonl:2: broken JSON line"):
            list(read_rows(file))


def test_read_json_names_what_it_cannot_read(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"a": "文"})
    assert (tmp_path / "a.json").read_text(encoding="utf-8") == '{\n  "a": "文"\n}\n'
    assert read_json(tmp_path / "a.json") == {"a": "文"}
    (tmp_path / "b.json").write_bytes(b'{"a": 1')
    for name in ("b.json", "missing.json"):
        with pytest.raises(BelleError, match=f"cannot read .*{name}"):
            read_json(tmp_path / name)


# -- whole files and folders -----------------------------------------------------------------------------------------


def test_a_file_takes_its_place_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "new/deep/a.txt"
    with atomic_path(path) as part:
        part.write_text("new")
        assert not path.exists()
        assert part.parent == path.parent  # the same file system, so that renaming is one step
    assert path.read_text() == "new"
    assert names(path.parent) == ["a.txt"]


def test_a_folder_takes_the_place_of_a_full_one(tmp_path: Path) -> None:
    path = tmp_path / "model"
    for content in ("old", "new"):
        with atomic_path(path) as part:
            part.mkdir()
            (part / content).write_text(content)
    assert names(path) == ["new"]
    assert names(tmp_path) == ["model"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_in_the_block_leaves_the_earlier_state(tmp_path: Path, error: type[BaseException]) -> None:
    write_text(tmp_path / "a.txt", "old")
    with pytest.raises(error), atomic_path(tmp_path / "a.txt") as part:  # noqa: PT012
        part.write_text("half")
        raise error
    assert (tmp_path / "a.txt").read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


KILLS = {
    "in the block": "with atomic_path(Path(sys.argv[1])) as part:\n    make(part)\n    die()",
    "before the sync": "import belle.jsonl; belle.jsonl._sync = die\nwith atomic_path(Path(sys.argv[1])) as part: make(part)",
    "before the rename": "Path.rename = Path.replace = die\nwith atomic_path(Path(sys.argv[1])) as part: make(part)",
}


@pytest.mark.parametrize("kind", ["file", "folder"])
@pytest.mark.parametrize("moment", KILLS)
def test_a_kill_leaves_the_old_state_and_the_next_write_clears_up(tmp_path: Path, moment: str, kind: str) -> None:
    path = tmp_path / "a"
    make = {
        "file": "make = lambda part: part.write_text('new')\n",
        "folder": "make = lambda part: (part.mkdir(), (part / 'x').write_text('new'))\n",
    }[kind]
    inside = path / "x" if kind == "folder" else path
    inside.parent.mkdir(exist_ok=True)
    inside.write_text("old")
    killed(make + KILLS[moment], path)
    assert inside.read_text() == "old"
    with atomic_path(path) as part:
        if kind == "folder":
            part.mkdir()
        (part / "x" if kind == "folder" else part).write_text("newer")
    assert inside.read_text() == "newer"
    assert names(tmp_path) == ["a"]


def test_a_kill_between_the_two_renames_of_a_folder_is_mended(tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.mkdir()
    (path / "x").write_text("old")
    killed(
        "rename = Path.rename\n"
        "Path.rename = lambda self, to: die() if self.name == '.model.part' else rename(self, to)\n"
        "with atomic_path(Path(sys.argv[1])) as part:\n    part.mkdir()\n    (part / 'x').write_text('new')",
        path,
    )
    assert not path.exists()  # the one moment in which there is neither
    settle(path)
    assert (path / "x").read_text() == "old"
    assert names(tmp_path) == ["model"]


def test_a_folder_that_cannot_take_its_place_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model"
    path.mkdir()
    (path / "x").write_text("old")
    rename = Path.rename
    monkeypatch.setattr(Path, "rename", lambda self, to: no_space() if self.name == ".model.part" else rename(self, to))
    with pytest.raises(BelleError, match="No space left"), atomic_path(path) as part:
        part.mkdir()
    assert (path / "x").read_text() == "old"
    assert names(tmp_path) == ["model"]


def test_a_full_disk_is_the_users_to_mend_and_harms_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.json"
    write_json(file, {"a": 1})
    monkeypatch.setattr(jsonl.os, "fsync", no_space)
    with pytest.raises(BelleError) as caught:
        write_json(file, {"a": 2})
    assert caught.value.message == f"cannot write {str(file)!r}: No space left on device"
    assert caught.value.fix == "free some space or choose another place"
    assert read_json(file) == {"a": 1}
    assert names(tmp_path) == ["a.json"]


def test_a_full_disk_met_by_a_library_in_rust_is_one_too(tmp_path: Path) -> None:
    with pytest.raises(BelleError, match=r"cannot write .*model.*No space left"), atomic_path(tmp_path / "model"):
        raise Exception("Error while serializing: I/O error: No space left on device (os error 28)")
    with pytest.raises(Exception, match="shapes") as caught, atomic_path(tmp_path / "model"):
        raise Exception("shapes differ")
    assert not isinstance(caught.value, BelleError)


def test_a_really_full_disk(full_disk: Path) -> None:
    write_text(full_disk / "a.txt", "old")
    with pytest.raises(BelleError, match="No space left"):
        write_text(full_disk / "a.txt", "x" * 200_000)
    assert (full_disk / "a.txt").read_text() == "old"
    assert names(full_disk) == ["a.txt"]
    rows = Appender(full_disk / "rows.jsonl")
    with pytest.raises(BelleError, match=r"rows\.jsonl.*No space left"):  # noqa: PT012
        for number in range(100_000):
            rows.write({"number": number, "text": "x" * 1000})
    rows.close()
    kept = list(read_rows(full_disk / "rows.jsonl"))
    assert [row["number"] for row in kept] == list(range(len(kept)))
    assert 0 < len(kept) < 64


def test_safetensors_on_a_really_full_disk(full_disk: Path) -> None:
    numpy = pytest.importorskip("numpy")
    from safetensors.numpy import save_file

    with pytest.raises(BelleError, match="No space left"), atomic_path(full_disk / "w.safetensors") as part:
        save_file({"w": numpy.zeros(100_000, numpy.float32)}, part)
    assert names(full_disk) == []


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(BelleError, match=r"cannot write .*b\.txt"):
        write_text(tmp_path / "file/b.txt", "x")
    with pytest.raises(BelleError, match=r"cannot write .*b\.jsonl"):
        Appender(tmp_path / "file/b.jsonl")


# -- growing files ---------------------------------------------------------------------------------------------------


def test_each_row_is_on_the_disk_when_write_returns(tmp_path: Path) -> None:
    killed("out = Appender(Path(sys.argv[1])); out.write({'a': 1}); out.write({'a': 2}); die()", tmp_path / "a.jsonl")
    assert (tmp_path / "a.jsonl").read_bytes() == b'{"a": 1}\n{"a": 2}\n'


@pytest.mark.parametrize("torn", [b"{", b'{"a": 2', b'{"a": 2}', b'{"a": "\xe4'])
def test_opening_cuts_a_torn_line(tmp_path: Path, torn: bytes) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(b'{"a": 1}\n' + torn)
    with Appender(file) as out:
        out.write({"a": 3})
    assert list(read_rows(file)) == [{"a": 1}, {"a": 3}]


def test_opening_may_leave_rows_out(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    write_rows(file, [{"step": n} for n in range(5)])
    with Appender(file, keep=lambda row: row["step"] <= 2) as out:
        out.write({"step": 9})
    assert [row["step"] for row in read_rows(file)] == [0, 1, 2, 9]


def test_opening_a_broken_file_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(b'{"a": 1}\nbroken\n{"a": 2}\n{"a"')
    with pytest.raises(BelleError, match=r"a\.jsonl:2"):
        Appender(file)
    assert file.read_bytes() == b'{"a": 1}\nbroken\n{"a": 2}\n{"a"'


def test_a_row_that_cannot_be_written_as_json_leaves_no_half_line(tmp_path: Path) -> None:
    with Appender(tmp_path / "a.jsonl") as out:
        with pytest.raises(ValueError):
            out.write({"loss": float("nan")})
        with pytest.raises(UnicodeEncodeError):
            out.write({"text": "\ud800"})
        out.write({"loss": 1})
    assert json.loads((tmp_path / "a.jsonl").read_text()) == {"loss": 1}


def test_remove_takes_files_folders_links_and_nothing(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept/a").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "kept")
    (tmp_path / "folder/deep").mkdir(parents=True)
    (tmp_path / "file").write_text("x")
    for name in ("link", "folder", "file", "missing"):
        remove(tmp_path / name)
    assert names(tmp_path) == ["kept"]
    assert names(tmp_path / "kept") == ["a"]
