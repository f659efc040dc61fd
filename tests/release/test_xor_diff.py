"""BELLE's `.enc` files: the published vector, and a slow re-telling of the format as the judge of ours."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from belle.errors import BelleError
from belle.release import xor_diff
from belle.release.xor_diff import CHUNK, decrypt, encrypt, split_name, try_key

VECTOR = "9ccf666c5a6b8d42177eaa58b53ea858dc7ae3b00308ded3fc4746286711c3037a20e7b9a5e3a2bc2039242744424d4e4626780c"


def slow_payload(plain: bytes, key: bytes, chunk: int) -> bytes:
    """Both files read side by side in chunks, the key from its beginning again at its end, byte by byte."""
    out, at = bytearray(), 0
    for start in range(0, len(plain), chunk):
        if at >= len(key):
            at = 0
        part = key[at : at + chunk]
        at += chunk
        for i, byte in enumerate(plain[start : start + chunk]):
            out.append(byte ^ part[i % len(part)])
    return bytes(out)


def put(folder: Path, name: str, content: bytes) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(content)
    return folder / name


def test_the_published_vector_in_both_directions(tmp_path: Path) -> None:
    plain, key = put(tmp_path, "config.json", '{"你好": "BELLE"}\n'.encode()), put(tmp_path, "key", bytes(range(1, 8)))
    done = encrypt(plain, key, tmp_path)
    assert done.path.name == "config.json.9ccf666c5a6b8d42177eaa58b53ea858dc7ae3b00308ded3fc4746286711c303.enc"
    assert done.path.read_bytes().hex() == VECTOR
    again = decrypt(done.path, key, tmp_path / "out" / "config.json")
    assert again.path.read_bytes() == plain.read_bytes()
    assert again.sha256 == VECTOR[:64]


def test_a_key_of_three_bytes_restarts_at_each_chunk_of_ten_mebibytes(tmp_path: Path) -> None:
    done = encrypt(put(tmp_path, "zeros", bytes(CHUNK + 5)), put(tmp_path, "key", b"\1\2\3"), tmp_path)
    assert done.path.read_bytes()[32 + CHUNK :].hex() == "0102030102"


@settings(max_examples=60, deadline=None)
@given(plain=st.binary(max_size=90), key=st.binary(min_size=1, max_size=60), chunk=st.integers(1, 25))
def test_it_agrees_with_the_slow_telling(tmp_path_factory: pytest.TempPathFactory, plain: bytes, key: bytes, chunk: int) -> None:
    folder = tmp_path_factory.mktemp("case")
    source, pad = put(folder, "权重.bin", plain), put(folder, "key", key)
    alone = len(plain) % 2 == 0
    done = encrypt(source, pad, folder, chunk=chunk, alone=alone)
    assert done.path.read_bytes() == hashlib.sha256(plain).digest() + slow_payload(plain, key, chunk)
    assert decrypt(done.path, pad, folder / "out", chunk=chunk, alone=alone).path.read_bytes() == plain
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("block", [7, 64, 100])
def test_blocks_inside_a_chunk_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(xor_diff, "BLOCK", block)
    plain, key = bytes(i * 37 % 251 for i in range(1000)), bytes(i * 91 % 256 for i in range(430))
    done = encrypt(put(tmp_path, "p", plain), put(tmp_path, "key", key), tmp_path, chunk=100)
    assert done.path.read_bytes()[32:] == slow_payload(plain, key, 100)
    assert decrypt(done.path, tmp_path / "key", tmp_path / "out", chunk=100).path.read_bytes() == plain


def test_an_empty_file_is_its_hash_alone(tmp_path: Path) -> None:
    done = encrypt(put(tmp_path, "empty", b""), put(tmp_path, "key", b"k"), tmp_path)
    assert done.path.read_bytes() == hashlib.sha256(b"").digest()
    assert decrypt(done.path, tmp_path / "key", tmp_path / "out").path.read_bytes() == b""


def test_an_empty_key_is_an_error(tmp_path: Path) -> None:
    plain, key = put(tmp_path, "plain", b"x"), put(tmp_path, "key", b"")
    with pytest.raises(BelleError, match="is empty"):
        encrypt(plain, key, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["key", "plain"]


def test_a_wrong_key_and_a_truncated_file_are_told_apart_and_leave_no_file(tmp_path: Path) -> None:
    plain, key = put(tmp_path, "a.json", b'{"a": [1, 2, 3]}'), put(tmp_path, "key", b"a key of the base")
    enc = encrypt(plain, key, tmp_path / "enc").path
    other = put(tmp_path, "other", b"XbaYotherZ")
    with pytest.raises(BelleError, match="the key is wrong: the result is no JSON"):
        decrypt(enc, other, tmp_path / "out" / "a.json")
    with pytest.raises(BelleError, match="the key is wrong"):
        try_key(enc, other)
    enc.write_bytes(enc.read_bytes()[:-4])
    with pytest.raises(BelleError, match="the file is truncated: its JSON breaks off; the key fits its beginning"):
        decrypt(enc, key, tmp_path / "out" / "a.json")
    with pytest.raises(BelleError, match="the file is damaged"):
        decrypt(enc, key, tmp_path / "out" / "a.json", key_is_right=True)
    enc.write_bytes(enc.read_bytes()[:20])
    with pytest.raises(BelleError, match="is truncated: it has 20 bytes, and its hash alone takes 32"):
        decrypt(enc, key, tmp_path / "out" / "a.json")
    assert not list((tmp_path / "out").iterdir())


def test_what_was_there_stays_when_the_key_is_wrong(tmp_path: Path) -> None:
    enc = encrypt(put(tmp_path, "a.json", b"{}"), put(tmp_path, "key", b"k"), tmp_path / "enc").path
    old = put(tmp_path, "out", b"old")
    with pytest.raises(BelleError):
        decrypt(enc, put(tmp_path, "other", b"!"), old)
    assert old.read_bytes() == b"old"


def test_a_renamed_or_damaged_header_is_seen(tmp_path: Path) -> None:
    enc = encrypt(put(tmp_path, "a", b"text"), put(tmp_path, "key", b"k"), tmp_path / "enc").path
    other = enc.rename(enc.with_name(f"a.{'0' * 64}.enc"))
    with pytest.raises(BelleError, match="damaged or was renamed: its name says sha256 000000000000"):
        decrypt(other, tmp_path / "key", tmp_path / "out")
    with pytest.raises(BelleError, match="not named NAME"):
        split_name(Path("model.enc"))


def test_a_pointer_of_git_lfs_is_named(tmp_path: Path) -> None:
    enc = put(tmp_path, f"a.{'0' * 64}.enc", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    with pytest.raises(BelleError, match="pointer of Git LFS"):
        decrypt(enc, put(tmp_path, "key", b"k"), tmp_path / "out")


def test_a_finished_file_is_not_made_again_and_an_outdated_one_goes(tmp_path: Path) -> None:
    plain, key, folder = put(tmp_path, "a", b"one"), put(tmp_path, "key", b"k"), tmp_path / "enc"
    first = encrypt(plain, key, folder)
    assert first.made
    assert not encrypt(plain, key, folder).made
    assert encrypt(plain, put(tmp_path, "other", b"o"), folder).made, "another key: the name is the same, the file is not"
    assert encrypt(put(tmp_path, "a", b"two"), key, folder).made
    assert len(list(folder.iterdir())) == 1
    enc = next(folder.iterdir())
    assert decrypt(enc, key, tmp_path / "out").made
    assert not decrypt(enc, key, tmp_path / "out").made
    (tmp_path / "out").write_bytes(b"owt")
    assert decrypt(enc, key, tmp_path / "out").made
    assert (tmp_path / "out").read_bytes() == b"two"


def test_stopping_in_the_middle_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xor_diff, "BLOCK", 100)
    plain, key = put(tmp_path, "a", bytes(1000)), put(tmp_path, "key", b"k")
    seen: list[int] = []

    def stop(count: int) -> None:
        seen.append(count)
        if len(seen) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        encrypt(plain, key, tmp_path / "enc", stop)
    assert not list((tmp_path / "enc").iterdir())
    assert seen == [100, 100, 100]
