"""Which names a diff may hold, and how a broken or hostile manifest is met."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from belle.errors import BelleError
from belle.release.diff_manifest import (
    MANIFEST,
    KeyFacts,
    XorFile,
    XorManifest,
    check_names,
    model_files,
    plain_file,
    read_manifest,
    write_manifest,
)

SHA = "0" * 64
FILE = XorFile(name="a/配置.json", file=f"a/配置.json.{SHA}.enc", size=3, sha256=SHA)
MANIFEST_OF_ONE = XorManifest(key=KeyFacts(name="key.pth", size=9, sha256=SHA), files=(FILE,))


def test_it_comes_back_as_it_was(tmp_path: Path) -> None:
    write_manifest(tmp_path, MANIFEST_OF_ONE)
    assert read_manifest(tmp_path) == MANIFEST_OF_ONE
    assert read_manifest(tmp_path / "elsewhere") is None


@pytest.mark.parametrize("name", [
    "../x", "a/../../x", "/etc/passwd", "..", ".", "", "a//b", ".bashrc", "a/.git/config", "C:x", "a\\b", "x\n", "x\0",
    "run.json", "RUN.json", "run.json/x", "recipe.yaml", MANIFEST, "x.", "x ", "a" * 2000, "a/CON", "nul.json", "\ud800",
])  # fmt: skip
def test_names_that_lead_elsewhere_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(BelleError, match="is not taken"):
        check_names(["fine.json", name], "diff")
    for key in ("name", "file"):
        value: dict[str, Any] = MANIFEST_OF_ONE.model_dump(mode="json")
        value["files"][0][key] = name
        (tmp_path / MANIFEST).write_text(json.dumps(value), encoding="utf-8")
        with pytest.raises(BelleError, match="is not taken"):
            read_manifest(tmp_path)


def test_two_names_for_one_file_are_refused() -> None:
    with pytest.raises(BelleError, match="are one file on some machines"):
        check_names(["Config.json", "config.json"], "diff")
    with pytest.raises(BelleError, match="are one file"):
        check_names(["config.json", "config.json"], "diff")
    with pytest.raises(BelleError, match="are one file"):
        check_names(["caf\u00e9", "cafe\u0301"], "diff")
    check_names(["a/config.json", "b/config.json", "模型-00001.safetensors"], "diff")


@pytest.mark.parametrize(("change", "expected"), [
    ({"files": []}, "lists no file"),
    ({"form": "zip"}, "form is 'zip'"), ({"format": "belle-diff/2"}, "broken at 'format'"), ({"files": 3}, "broken at 'files'"),
    ({"extra": 1}, "broken at 'extra'"), ({"key": {"name": "k", "size": -1, "sha256": SHA}}, "broken at 'key.size'"),
    ({"key": {"name": "../k", "size": 1, "sha256": SHA}}, "is not taken"),
    ({"key": {"name": "k", "size": 1, "sha256": "f"}}, "key.sha256"),
])  # fmt: skip
def test_a_broken_manifest_names_its_place(change: dict[str, Any], expected: str, tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_text(json.dumps(MANIFEST_OF_ONE.model_dump(mode="json") | change), encoding="utf-8")
    with pytest.raises(BelleError, match=expected):
        read_manifest(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{", "null", "[" * 100_000])
def test_no_manifest_at_all(text: str, tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(BelleError, match=MANIFEST):
        read_manifest(tmp_path)


def test_links_are_refused_in_a_diff_and_followed_in_a_model(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("x")
    (tmp_path / "diff").mkdir()
    (tmp_path / "diff" / "link").symlink_to(tmp_path / "real")
    (tmp_path / "diff" / "folder").symlink_to(tmp_path)
    (tmp_path / "diff" / MANIFEST).symlink_to(tmp_path / "nowhere")
    for name in ("link", "folder/real"):
        with pytest.raises(BelleError, match="is a symbolic link"):
            plain_file(tmp_path / "diff", name)
    with pytest.raises(BelleError, match="is a symbolic link"):
        read_manifest(tmp_path / "diff")
    assert model_files(tmp_path / "diff")[0] == ["link"]


def test_a_model_is_all_files_but_hidden_ones_and_the_runs_own(tmp_path: Path) -> None:
    for name in ("config.json", "run.json", ".lock", "1_Pooling/config.json", "1_Pooling/run.json", ".git/config"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    names, left_out = model_files(tmp_path)
    assert names == ["1_Pooling/config.json", "1_Pooling/run.json", "config.json"]
    assert {one.name for one in left_out} == {"run.json", ".lock", ".git/"}
