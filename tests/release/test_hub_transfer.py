from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fake_hub import FakeHub

from belle.errors import BelleError
from belle.release.hub import HuggingFace, ModelScope, RemoteFile, git_sha1, pull, push, to_fetch, to_send


def files(folder: Path, **contents: str) -> Path:
    for name, text in contents.items():
        path = folder / name.replace("__", "/").replace("_DOT_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_what_belongs_to_the_run_stays_here(tmp_path: Path) -> None:
    files(tmp_path, config_DOT_json="{}", model_DOT_safetensors="w", run_DOT_json="{}", recipe_DOT_yaml="x", _DOT_lock="",
          checkpoints__a_DOT_json="x", pytorch_model_DOT_bin="p", old_DOT_gguf="g", sub__x_DOT_json="s",
          README_DOT_md="你好")  # fmt: skip
    leaves, stays = to_send(tmp_path)
    assert [file.path for file in leaves] == ["README.md", "config.json", "model.safetensors", "sub/x.json"]
    assert (leaves[0].size, leaves[0].sha256) == (6, sha256("你好"))
    assert stays.keys() == {"run.json", "recipe.yaml", "checkpoints", "pytorch_model.bin", "old.gguf"}
    (tmp_path / "config.json").unlink()
    assert "old.gguf" in {file.path for file in to_send(tmp_path)[0]}, "a folder of GGUF files is what leaves"


def test_gits_name_of_a_file_is_gits(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"what is up, doc?")
    assert git_sha1(path) == "bd9dbf5aae1a3862dd1526723246b20206e5fc37"  # the example of the book Pro Git
    done = subprocess.run(["git", "hash-object", str(path)], capture_output=True, text=True, check=False)
    assert done.returncode != 0 or done.stdout.strip() == git_sha1(path)


def test_a_file_fits_by_size_and_hash(tmp_path: Path) -> None:
    path = files(tmp_path, a="12").joinpath("a")
    assert RemoteFile("a", 2).fits(path)
    assert RemoteFile("a", 2, sha256=sha256("12")).fits(path)
    assert RemoteFile("a", 2, git_sha1=git_sha1(path)).fits(path)
    assert not RemoteFile("a", 3).fits(path)
    assert not RemoteFile("a", 2, sha256=sha256("13")).fits(path)
    assert not RemoteFile("a", 2, git_sha1="0" * 40).fits(path)
    assert not RemoteFile("a", 2).fits(tmp_path / "b")


@pytest.mark.parametrize("name", ["../evil", "/etc/passwd", "a/../../b", "a\\b"])
def test_a_name_that_leads_elsewhere_is_refused(name: str) -> None:
    with pytest.raises(BelleError, match="leads out of its folder"):
        to_fetch([RemoteFile("model.safetensors", 1), RemoteFile(name, 1)])


def test_other_forms_of_weights_are_left_there() -> None:
    names = ("config.json", "a.safetensors", "a.bin", ".gitattributes", "a.onnx")
    wanted, left = to_fetch([RemoteFile(name, 1) for name in names])
    assert [file.path for file in wanted] == ["config.json", "a.safetensors"]
    assert set(left) == {"a.bin", "a.onnx"}
    with pytest.raises(BelleError, match=r"holds no safetensors and no GGUF file \(but pytorch_model.bin\)"):
        to_fetch([RemoteFile("pytorch_model.bin", 1)])


def test_what_was_sent_is_compared(tmp_path: Path) -> None:
    hub = FakeHub()
    leaves, _ = to_send(files(tmp_path, config_DOT_json="{}", model_DOT_safetensors="w"))
    assert push(hub, "me/m", tmp_path, leaves, True, "hello") == "fake/me/m"
    assert hub.repos["me/m"] == {"config.json": b"{}", "model.safetensors": b"w"}
    hub.spoil = "model.safetensors"
    with pytest.raises(BelleError, match=r"Fake does not have 'model\.safetensors' as it is here"):
        push(hub, "me/m", tmp_path, leaves, True, "hello")


def test_a_stopped_fetch_goes_on_with_what_it_lacks(tmp_path: Path) -> None:
    hub = FakeHub({"a/b": {"config.json": b"{}", "sub/model.safetensors": b"weights"}})
    commit, found = hub.list_files("a/b", None)
    hub.fail_on = "sub/model.safetensors"
    with pytest.raises(BelleError, match="no network"):
        pull(hub, "a/b", commit, found, tmp_path / "model", lambda _: None)
    assert not (tmp_path / "model").exists()
    hub.fail_on, hub.fetched = "", []
    told: list[str] = []
    pull(hub, "a/b", commit, found, tmp_path / "model", told.append)
    assert hub.fetched == ["sub/model.safetensors"]
    assert told == ["config.json", "sub/model.safetensors"]
    assert sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()) == [
        "model/config.json", "model/sub/model.safetensors",
    ]  # fmt: skip
    pull(hub, "a/b", commit, found, tmp_path / "model", told.append)
    assert hub.fetched == ["sub/model.safetensors"], "what is there is not fetched again"


def test_a_file_that_is_not_what_the_hub_says_is_not_kept(tmp_path: Path) -> None:
    hub = FakeHub({"a/b": {"model.safetensors": b"weights"}})
    commit, found = hub.list_files("a/b", None)
    hub.spoil = "model.safetensors"
    with pytest.raises(BelleError, match=r"'model\.safetensors' is not what Fake says it is"):
        pull(hub, "a/b", commit, found, tmp_path / "model", lambda _: None)
    assert list(tmp_path.rglob("*.safetensors")) == []


def test_the_adapter_of_hugging_face_asks_what_it_should(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    asked: list[Any] = []

    class Api:
        def __init__(self, endpoint: str | None, token: Any) -> None:
            asked.append(("open", endpoint, token))

        def model_info(self, repo: str, revision: str | None, files_metadata: bool) -> Any:
            if repo == "no/repo":
                raise RuntimeError("404 not found\nmore")
            lfs = SimpleNamespace(sha256="ab")
            return SimpleNamespace(sha="c0ffee", siblings=[
                SimpleNamespace(rfilename="m.safetensors", size=5, lfs=lfs, blob_id="x"),
                SimpleNamespace(rfilename="config.json", size=2, lfs=None, blob_id="cd"),
            ])  # fmt: skip

        def create_repo(self, repo: str, private: bool, exist_ok: bool) -> None:
            asked.append(("repo", repo, private, exist_ok))

        def create_commit(self, repo: str, adds: list[Any], commit_message: str) -> Any:
            asked.append(("commit", repo, [add.path_in_repo for add in adds], commit_message))
            return SimpleNamespace(commit_url="url")

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda *a, **k: asked.append((a, k["revision"], k["token"])))
    hub = HuggingFace("secret", "https://mirror")
    assert hub.list_files("a/b", "main") == ("c0ffee", [
        RemoteFile("m.safetensors", 5, sha256="ab"), RemoteFile("config.json", 2, git_sha1="cd"),
    ])  # fmt: skip
    files(tmp_path, config_DOT_json="{}")
    assert hub.send("a/b", tmp_path, ["config.json"], True, "hi") == "url"
    hub.fetch("a/b", "c0ffee", "config.json", tmp_path)
    assert asked == [
        ("open", "https://mirror", "secret"), ("repo", "a/b", True, True), ("commit", "a/b", ["config.json"], "hi"),
        (("a/b", "config.json"), "c0ffee", "secret"),
    ]  # fmt: skip
    with pytest.raises(BelleError, match=r"Hugging Face refuses 'no/repo': RuntimeError: 404 not found\n"):
        hub.list_files("no/repo", None)


def test_without_a_token_none_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    tokens: list[Any] = []
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda endpoint, token: tokens.append(token))
    HuggingFace(None)
    assert tokens == [False], "not the one that lies in the user's home"


def test_modelscope_is_asked_through_its_own_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    asked: list[Any] = []

    class AlreadyExistsError(Exception):
        pass

    class HubApi:
        def __init__(self, endpoint: str | None, token: str | None) -> None:
            asked.append(("open", token))

        def list_repo_files(self, repo: str, kind: str, revision: str | None, recursive: bool) -> list[Any]:
            return [SimpleNamespace(path=path, size=1, sha256=None, type=kind) for path, kind in (("a", "blob"), ("d", "tree"))]

        def create_repo(self, repo: str, kind: str, visibility: str) -> None:
            raise AlreadyExistsError("there")

        def upload_file(self, repo: str, kind: str, path: Path, name: str, commit_message: str) -> None:
            asked.append(name)

        def download_file(self, repo: str, kind: str, path: str, revision: str, local_dir: Path) -> None:
            asked.append((path, revision))

    monkeypatch.setitem(sys.modules, "modelscope_hub", SimpleNamespace())  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "modelscope_hub.api", SimpleNamespace(HubApi=HubApi))  # type: ignore[arg-type]
    hub = ModelScope("t")
    assert hub.list_files("a/b", None) == ("master", [RemoteFile("a", 1)])
    assert hub.send("a/b", tmp_path, ["README.md", "config.json"], False, "x") == "a/b"
    hub.fetch("a/b", "master", "a", tmp_path)
    assert asked == [("open", "t"), "config.json", "README.md", ("a", "master")]


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "modelscope_hub", None)
    monkeypatch.setitem(sys.modules, "modelscope_hub.api", None)
    with pytest.raises(BelleError, match="ModelScope needs the package 'modelscope-hub'") as caught:
        ModelScope(None)
    assert caught.value.fix == "pip install 'belle[modelscope]'"
