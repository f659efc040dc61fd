"""A model's folder as `.enc` files: which file is the key, what is checked before anything is written, and the way back."""

from __future__ import annotations

import hashlib
import itertools
import os
from pathlib import Path

import pytest

from belle.errors import BelleError
from belle.release import xor_folder
from belle.release.diff_manifest import MANIFEST, LeftOut, TensorManifest, XorManifest, read_manifest
from belle.release.xor_folder import apply, check_key, check_smallest, few, key_file, make, plan_apply
from belle.runs import sha256_file

KEY = b"the weights of a base"


def put(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def published(folder: Path, name: str, plain: bytes, key: bytes = KEY) -> Path:
    """An `.enc` file as BELLE's, made without belle; the key is longer than nothing and shorter than a chunk."""
    digest = hashlib.sha256(plain)
    payload = bytes(a ^ b for a, b in zip(plain, itertools.cycle(key), strict=False))
    return put(folder / f"{name}.{digest.hexdigest()}.enc", digest.digest() + payload)


def done(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def key(tmp_path: Path) -> Path:
    return put(tmp_path / "base" / "consolidated.00.pth", KEY)


@pytest.fixture
def tuned(tmp_path: Path) -> Path:
    put(tmp_path / "tuned" / "model.bin", bytes(range(256)) * 9)
    put(tmp_path / "tuned" / "配置.json", '{"词": 1}'.encode())
    put(tmp_path / "tuned" / "sub" / "empty", b"")
    put(tmp_path / "tuned" / ".cache", b"x")
    return tmp_path / "tuned"


def made(tuned: Path, key: Path, out: Path, checksums: bool = False) -> XorManifest:
    manifest, _ = make(tuned, key, sha256_file(key), out, checksums=checksums, workers=2, progress=lambda count: None)
    return manifest


def restored(source: Path, key: Path, target: Path) -> dict[str, bytes]:
    manifest = read_manifest(source)
    assert not isinstance(manifest, TensorManifest)
    apply(plan_apply(source, manifest), key, target, workers=2, progress=lambda count: None)
    return done(target)


def test_the_key_is_the_file_itself_or_the_usual_one_of_a_folder(tmp_path: Path) -> None:
    base = tmp_path / "base"
    shard = put(base / "model-00001-of-00002.safetensors", b"1")
    assert key_file(base) == shard
    single = put(base / "model.safetensors", b"2")
    assert key_file(base) == single
    llama = put(base / "consolidated.00.pth", b"3")
    assert key_file(base) == llama
    assert key_file(base, "model.safetensors") == single
    assert key_file(single, "consolidated.00.pth") == single, "a file that was named is not guessed at"
    with pytest.raises(BelleError, match=r"has not the file 'other.bin', which is the key"):
        key_file(base, "other.bin")
    with pytest.raises(BelleError, match="another file that could be the key"):
        key_file(tmp_path)
    with pytest.raises(BelleError, match="no base at"):
        key_file(tmp_path / "nowhere")


def test_a_folder_comes_back_with_its_subfolders(tuned: Path, key: Path, tmp_path: Path) -> None:
    manifest = made(tuned, key, tmp_path / "out", checksums=True)
    assert manifest.left_out == (LeftOut(name=".cache", reason="hidden"),)
    for file in manifest.files:
        plain = (tuned / file.name).read_bytes()
        enc = (tmp_path / "out" / file.file).read_bytes()
        assert (file.size, file.sha256) == (len(plain), hashlib.sha256(plain).hexdigest())
        assert enc[:32] == hashlib.sha256(plain).digest()
        assert file.enc_sha256 == hashlib.sha256(enc).hexdigest()
    assert read_manifest(tmp_path / "out") == manifest
    wanted = {name: content for name, content in done(tuned).items() if name != ".cache"}
    assert restored(tmp_path / "out", key, tmp_path / "back") == wanted


def test_a_folder_as_belle_published_it_has_no_manifest(key: Path, tmp_path: Path) -> None:
    published(tmp_path / "enc", "config.json", b'{"a": 1}')
    published(tmp_path / "enc", "tokenizer.model", b"\0\1\2")
    put(tmp_path / "enc" / "README.md", b"md5 of every file")
    put(tmp_path / "enc" / ".git", b"")
    plan = plan_apply(tmp_path / "enc", None)
    assert [(name, size) for _, name, size in plan.files] == [("tokenizer.model", 3), ("config.json", 8)]
    assert plan.left_out == [LeftOut(name="README.md", reason="not a .enc file")]
    assert restored(tmp_path / "enc", key, tmp_path / "back") == {"config.json": b'{"a": 1}', "tokenizer.model": b"\0\1\2"}


def test_one_enc_file_alone(key: Path, tmp_path: Path) -> None:
    enc = published(tmp_path / "enc", "a.txt", b"text")
    published(tmp_path / "enc", "b.txt", b"more")
    assert restored(enc, key, tmp_path / "back") == {"a.txt": b"text"}


def test_another_key_of_the_same_size_is_known_by_its_hash(tuned: Path, key: Path, tmp_path: Path) -> None:
    manifest = made(tuned, key, tmp_path / "out")
    check_key(manifest, key, sha256_file(key))
    same_size = put(tmp_path / "other.pth", KEY[:-1] + b"!")
    with pytest.raises(BelleError, match=r"wrong key: .*other.pth' has sha256 .*; the diff was made with 'consolidated.00.pth'"):
        check_key(manifest, same_size, sha256_file(same_size))
    shorter = put(tmp_path / "short.pth", KEY[:-1])
    with pytest.raises(BelleError, match=f"wrong key: .*short.pth' has {len(KEY) - 1} bytes, not {len(KEY)}"):
        check_key(manifest, shorter, sha256_file(shorter))


def test_the_key_is_tried_on_a_file_that_tells(key: Path, tmp_path: Path) -> None:
    published(tmp_path / "enc", "empty", b"")
    published(tmp_path / "enc", "one", b"x")
    wrong = put(tmp_path / "wrong", b"quite another base")
    check_smallest(plan_apply(tmp_path / "enc", None), wrong)  # neither can tell
    published(tmp_path / "enc", "config.json", b'{"model_type": "llama"}')
    plan = plan_apply(tmp_path / "enc", None)
    check_smallest(plan, key)
    with pytest.raises(BelleError, match=r"does not give 'config.json': the key is wrong"):
        check_smallest(plan, wrong)


@pytest.mark.parametrize("size", [10, 40])
def test_a_truncated_file_is_seen_before_anything_is_written(size: int, tuned: Path, key: Path, tmp_path: Path) -> None:
    manifest = made(tuned, key, tmp_path / "out")
    enc = tmp_path / "out" / next(file.file for file in manifest.files if file.name == "model.bin")
    os.truncate(enc, size)
    with pytest.raises(BelleError, match=f"is truncated: it has {size} bytes, {256 * 9 + 32} were made"):
        plan_apply(tmp_path / "out", manifest)
    with enc.open("ab") as file:
        file.write(bytes(5000))
    with pytest.raises(BelleError, match="is too long"):
        plan_apply(tmp_path / "out", manifest)
    enc.unlink()
    with pytest.raises(BelleError, match="is missing"):
        plan_apply(tmp_path / "out", manifest)


def test_a_file_without_its_whole_hash_is_seen_without_manifest(tmp_path: Path) -> None:
    enc = published(tmp_path / "enc", "a.json", b"{}")
    os.truncate(enc, 31)
    with pytest.raises(BelleError, match="is truncated: it has 31 bytes, and its hash alone takes 32"):
        plan_apply(tmp_path / "enc", None)


def test_damage_with_the_right_key_is_the_files_and_leaves_no_file(tuned: Path, key: Path, tmp_path: Path) -> None:
    manifest = made(tuned, key, tmp_path / "out")
    enc = tmp_path / "out" / next(file.file for file in manifest.files if file.name == "model.bin")
    content = bytearray(enc.read_bytes())
    content[-1] ^= 1
    enc.write_bytes(content)
    with pytest.raises(BelleError, match=r"the key is the right one .* so the file is damaged"):
        restored(tmp_path / "out", key, tmp_path / "back")
    assert "model.bin" not in done(tmp_path / "back")


def test_two_files_for_one_name_and_links_are_refused(key: Path, tmp_path: Path) -> None:
    published(tmp_path / "enc", "a.json", b"{}")
    published(tmp_path / "enc", "a.json", b"[]")
    with pytest.raises(BelleError, match=r"'a.json' and 'a.json' are one file"):
        plan_apply(tmp_path / "enc", None)
    enc = published(tmp_path / "elsewhere", "b.json", b"{}")
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / enc.name).symlink_to(enc)
    with pytest.raises(BelleError, match="is a symbolic link"):
        plan_apply(tmp_path / "linked", None)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "sub").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BelleError, match="is no diff"):
        plan_apply(tmp_path / "folder", None)


def test_strays_beside_a_manifest_are_named_and_not_used(tuned: Path, key: Path, tmp_path: Path) -> None:
    manifest = made(tuned, key, tmp_path / "out")
    stray = published(tmp_path / "out" / "sub", "evil", b"x")
    plan = plan_apply(tmp_path / "out", manifest)
    assert LeftOut(name=f"sub/{stray.name}", reason="not in the manifest") in plan.left_out
    assert "sub/evil" not in [name for _, name, _ in plan.files]


def test_an_interrupted_make_goes_on_and_has_no_manifest_before_its_end(tuned: Path, key: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"

    def stop(count: int) -> None:
        raise BelleError("stopped")

    with pytest.raises(BelleError, match="stopped"):
        make(tuned, key, "0" * 64, out, checksums=False, workers=1, progress=stop)
    assert not (out / MANIFEST).exists()
    first = made(tuned, key, out)
    stamps = {path: path.stat().st_mtime_ns for path in out.rglob("*.enc")}
    assert made(tuned, key, out) == first
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.enc")} == stamps


def test_few_large_files_hash_in_threads_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    large = xor_folder.SMALL + 1
    assert few([large] * 3 + [1] * 100)
    assert not few([large] * 4)
