"""`belle diff` through the real command line: both forms, BELLE's own folders, and kill -9 in the middle."""

from __future__ import annotations

import hashlib
import itertools
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from belle.cli import main

OWN = {"run.json", "recipe.yaml", ".lock"}


def model(folder: Path, seed: int, nested: bool = False) -> Path:
    rng = np.random.default_rng(seed)
    folder.mkdir()
    shared = {"embed": np.ones((40, 8), np.float32)}
    save_file({**shared, "up": rng.normal(size=(30, 9)).astype(np.float32)}, folder / "model.safetensors")
    (folder / "config.json").write_text('{"model_type": "llama"}\n')
    (folder / "分词器.json").write_text('{"词": 1}\n', encoding="utf-8")
    if nested:
        (folder / "sub").mkdir()
        (folder / "sub" / "notes.md").write_text("note\n")
    return folder


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    model(tmp_path / "base", 1)
    model(tmp_path / "tuned", 2, nested=True)
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return {name: content for name, content in found.items() if name not in OWN}


def error_of(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    with pytest.raises(SystemExit) as left:
        main(words)
    assert left.value.code == 2
    return capsys.readouterr().err


@pytest.mark.parametrize("form", ["tensors", "xor"])
def test_there_and_back(form: str, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["diff", "make", "base", "tuned", "out", f"form={form}"])
    main(["diff", "apply", "base", "out", "restored"])
    assert contents(home / "restored") == contents(home / "tuned")
    info = json.loads((home / "restored" / "run.json").read_text())
    assert info["products"] == {"model": "."}
    assert info["parents"][0]["path"] == "out"
    assert info["metrics"]["files"] == 4
    capsys.readouterr()
    stamp = (home / "restored" / "model.safetensors").stat().st_mtime_ns
    main(["diff", "apply", "base", "out", "restored"])
    assert "already finished" in capsys.readouterr().err
    assert (home / "restored" / "model.safetensors").stat().st_mtime_ns == stamp


def test_only_what_changed_is_in_a_diff_of_tensors(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["diff", "make", "base", "tuned", "out"])
    assert "1 tensors are the base's and left out, 1 stored as XOR, 0 stored whole" in capsys.readouterr().err
    assert (home / "out" / "model.delta.safetensors").stat().st_size < (home / "tuned" / "model.safetensors").stat().st_size


def test_a_folder_as_belle_published_it(home: Path) -> None:
    """No manifest, a readme beside the files, the key given by its path."""
    key = bytes(range(1, 8))
    (home / "consolidated.00.pth").write_bytes(key)
    (home / "enc").mkdir()
    for path in (home / "tuned").glob("*.*"):
        plain = path.read_bytes()
        digest = hashlib.sha256(plain)
        payload = bytes(a ^ b for a, b in zip(plain, itertools.cycle(key), strict=False))
        (home / "enc" / f"{path.name}.{digest.hexdigest()}.enc").write_bytes(digest.digest() + payload)
    (home / "enc" / "README.md").write_text("x")
    main(["diff", "apply", "consolidated.00.pth", "enc", "restored"])
    (home / "tuned" / "sub" / "notes.md").unlink()
    assert contents(home / "restored") == contents(home / "tuned")
    info = json.loads((home / "restored" / "run.json").read_text())
    assert info["notes"]["left_out"] == [{"name": "README.md", "reason": "not a .enc file"}]
    one = next((home / "enc").glob("config.json.*"))
    main(["diff", "apply", "consolidated.00.pth", str(one), "single"])
    assert set(contents(home / "single")) == {"config.json"}


def test_a_wrong_base_is_found_before_anything_is_written(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model(home / "other", 3)
    for form, expected in (("tensors", "wrong base: tensor 'up' has sha256"), ("xor", "wrong key: 'other/model.safetensors'")):
        main(["diff", "make", "base", "tuned", form, f"form={form}"])
        assert expected in error_of(["diff", "apply", "other", form, f"restored-{form}"], capsys)
        assert contents(home / f"restored-{form}") == {}
    (home / "xor" / "belle-diff.json").unlink()  # as BELLE's: nothing but the files to tell
    (home / "unlike").write_bytes(b"PK\3\4 quite another file")
    said = error_of(["diff", "apply", "unlike", "xor", "restored-bare"], capsys)
    assert contents(home / "restored-bare") == {}
    assert "does not give 'config.json': the key is wrong: the result is no JSON" in said
    # A base that begins like the right one gives the small files rightly, and no more is claimed of the large one.
    said = error_of(["diff", "apply", "other", "xor", "restored-like"], capsys)
    assert "so the key fits there; bytes further on are damaged, in the file or in the key" in said
    assert contents(home / "restored-like").keys() <= contents(home / "tuned").keys() - {"model.safetensors"}


def test_a_truncated_file_is_named_with_and_without_manifest(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["diff", "make", "base", "tuned", "out", "form=xor", "checksums=true"])
    manifest = home / "out" / "belle-diff.json"
    facts = next(one for one in json.loads(manifest.read_text())["files"] if one["name"] == "model.safetensors")
    enc = home / "out" / facts["file"]
    assert facts["enc_sha256"] == hashlib.sha256(enc.read_bytes()).hexdigest()
    enc.write_bytes(enc.read_bytes()[:-100])
    size = facts["size"]
    said = error_of(["diff", "apply", "base", "out", "first"], capsys)
    assert f"is truncated: it has {size - 68} bytes, {size + 32} were made" in said
    manifest.unlink()
    said = error_of(["diff", "apply", "base", "out", "r"], capsys)
    assert f"the file is truncated: its tensors take {size} bytes, {size - 100} are there; the key fits its beginning" in said
    assert "model.safetensors" not in contents(home / "r")


def test_hostile_names_and_links_write_nothing(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    digest = hashlib.sha256(b"x")
    for name, expected in ((".", "'..' is not taken"), ("run.json", "'run.json' is not taken"), ("..bashrc", "is not taken")):
        folder = home / f"bad{name}"
        folder.mkdir()
        (folder / f"{name if name != '.' else '..'}.{digest.hexdigest()}.enc").write_bytes(digest.digest() + b"y")
        assert expected in error_of(["diff", "apply", "base", str(folder), f"r{name}"], capsys)
        assert contents(home / f"r{name}") == {}
    (home / "linked").mkdir()
    (home / "linked" / f"a.{digest.hexdigest()}.enc").symlink_to(home / "base" / "config.json")
    assert "is a symbolic link" in error_of(["diff", "apply", "base", "linked", "r"], capsys)
    assert contents(home / "r") == {}
    assert sorted(p.name for p in home.iterdir() if p.name not in OWN)[0] == "bad."


def test_output_inside_an_input_is_refused(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "lies in" in error_of(["diff", "make", "base", "tuned", "tuned/out"], capsys)
    assert not (home / "tuned" / "out").exists()


@pytest.mark.parametrize(("status", "products", "expected"), [
    ("running", {}, "the run 'made' has not finished"),
    ("finished", {"adapter": "adapter"}, "the run 'made' made an adapter, no whole model"),
])  # fmt: skip
def test_a_run_without_a_whole_model_is_refused(
    status: str, products: dict[str, str], expected: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["diff", "make", "base", "tuned", "made"])
    (home / "made" / "belle-diff.json").unlink()
    info = json.loads((home / "made" / "run.json").read_text())
    (home / "made" / "run.json").write_text(json.dumps(info | {"status": status, "products": products}))
    assert expected in error_of(["diff", "make", "base", "made", "out", "form=xor"], capsys)
    assert not (home / "out").exists()


def killed(words: list[str], home: Path, delay: float) -> None:
    """Run the verb in a process of its own and kill it `delay` seconds after it begins to write."""
    process = subprocess.Popen([sys.executable, "-m", "belle", *words], cwd=home, stderr=subprocess.DEVNULL)
    out = home / words[4]
    while process.poll() is None and not (out.is_dir() and any("bin" in path.name for path in out.iterdir())):
        time.sleep(0.002)
    time.sleep(delay)
    process.send_signal(signal.SIGKILL)
    process.wait()


def test_kill_9_leaves_whole_files_and_the_same_command_goes_on(home: Path) -> None:
    (home / "key").write_bytes(b"0123456789" * 700_000)
    (home / "big").mkdir()
    for i in range(4):
        with (home / "big" / f"shard-{i}.bin").open("wb") as file:
            file.write(bytes([i]))
            file.truncate(24_000_000 + i)
    wanted = {name: hashlib.sha256(content).hexdigest() for name, content in contents(home / "big").items()}
    for delay in (0.0, 0.03):
        killed(["diff", "make", "key", "big", "enc", "form=xor"], home, delay)
        for path in (home / "enc").glob("[!.]*.enc"):
            assert path.stat().st_size == (home / "big" / path.name[:-69]).stat().st_size + 32
    main(["diff", "make", "key", "big", "enc", "form=xor"])
    assert len(contents(home / "enc")) == 5
    for delay in (0.0, 0.03):
        killed(["diff", "apply", "key", "enc", "back"], home, delay)
        for name, content in contents(home / "back").items():
            assert name.startswith(".") or hashlib.sha256(content).hexdigest() == wanted[name]
    main(["diff", "apply", "key", "enc", "back"])
    assert {name: hashlib.sha256(content).hexdigest() for name, content in contents(home / "back").items()} == wanted
