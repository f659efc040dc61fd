"""Send a folder to a model hub and fetch one: what goes, what comes, and the hashes of both.

`Hub` is the seam: huggingface_hub and modelscope_hub are thin adapters behind it, and tests have one of their own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from belle.errors import BelleError, need
from belle.jsonl import remove
from belle.release.check_files import PICKLED
from belle.runs import sha256_file

OF_THE_RUN = ("run.json", "recipe.yaml", "metrics.jsonl", "dropped.jsonl", "bits.json", "checkpoints", "blocks")
"""What a run folder holds beside its product: it names paths of this machine, and stays here."""
OTHER_FORMS = (*PICKLED, ".h5", ".msgpack", ".onnx", ".ot", ".tflite")
"""Weights in forms that belle does not read."""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file of a repository. `sha256` of its content, or `git_sha1` as git names it, where the hub says it."""

    path: str
    size: int
    sha256: str = ""
    git_sha1: str = ""

    def fits(self, path: Path) -> bool:
        """Whether a file here is that one, as far as the hub says what it is."""
        if not path.is_file() or path.stat().st_size != self.size:
            return False
        if self.sha256:
            return sha256_file(path) == self.sha256
        return not self.git_sha1 or git_sha1(path) == self.git_sha1


class Hub(Protocol):
    """A model hub. Whatever goes wrong is a `BelleError`."""

    name: str

    def list_files(self, repo: str, revision: str | None) -> tuple[str, list[RemoteFile]]:
        """(the commit that a branch, tag or None stands for, its files)."""
        ...

    def fetch(self, repo: str, commit: str, path: str, folder: Path) -> None:
        """Bring one file to `folder / path`."""
        ...

    def send(self, repo: str, folder: Path, paths: Sequence[str], private: bool, message: str) -> str:
        """Put files into a repository, which is made where it is not there; returns where it is now."""
        ...


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A file that would be sent."""

    path: str
    size: int
    sha256: str


def to_send(folder: Path) -> tuple[list[LocalFile], dict[str, str]]:
    """(what would leave, what stays and why), by paths in the folder."""
    files: list[LocalFile] = []
    stays: dict[str, str] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        first = name.split("/")[0]
        if not path.is_file() or any(part.startswith(".") for part in name.split("/")):
            continue
        if first in OF_THE_RUN:
            stays[first] = "belongs to the run, and names places on this machine"
        elif path.suffix in OTHER_FORMS:
            stays[name] = "is not looked at by verify"
        elif path.suffix == ".gguf" and (folder / "config.json").is_file():
            stays[name] = "stands beside the model: send it from a folder of its own"
        else:
            files.append(LocalFile(name, path.stat().st_size, sha256_file(path)))
    return files, stays


def push(hub: Hub, repo: str, folder: Path, files: Sequence[LocalFile], private: bool, message: str) -> str:
    """Send files, and see that the hub has them as they are here.

    Raises:
        BelleError: the hub refuses, or has something else afterwards.
    """
    place = hub.send(repo, folder, [file.path for file in files], private, message)
    there = {file.path: file for file in hub.list_files(repo, None)[1]}
    for file in files:
        if file.path not in there or not there[file.path].fits(folder / file.path):
            raise BelleError(f"{hub.name} does not have {file.path!r} as it is here", "send it again")
    return place


def to_fetch(files: Sequence[RemoteFile]) -> tuple[list[RemoteFile], dict[str, str]]:
    """(what is fetched, what is left and why).

    Raises:
        BelleError: a path leads out of the folder, or there are no weights that belle reads.
    """
    wanted: list[RemoteFile] = []
    left: dict[str, str] = {}
    for file in files:
        parts = PurePosixPath(file.path)
        if parts.is_absolute() or ".." in parts.parts or "\\" in file.path:
            what = f"the repository has a file of the name {file.path!r}, which leads out of its folder"
            raise BelleError(what, "do not trust it")
        if parts.name.startswith(".git"):
            continue
        if parts.suffix in OTHER_FORMS:
            left[file.path] = "weights in a form that belle does not read"
        else:
            wanted.append(file)
    if not any(file.path.endswith((".safetensors", ".gguf")) for file in wanted):
        found = f" (but {next(iter(left))})" if left else ""
        what = f"the repository holds no safetensors and no GGUF file{found}"
        raise BelleError(what, "name a repository, or a revision, that does")
    return wanted, left


def pull(hub: Hub, repo: str, commit: str, files: Sequence[RemoteFile], folder: Path, progress: Callable[[str], None]) -> None:
    """Fetch files into `folder`, which appears when all are there as the hub says they are.

    A call that was stopped goes on with the files that it has not fetched.

    Raises:
        BelleError: the hub refuses, or a file is not what the hub says it is.
    """
    if folder.is_dir():
        return
    part = folder.with_name(f".{folder.name}.fetching")
    part.mkdir(parents=True, exist_ok=True)
    for file in files:
        if not file.fits(part / file.path):
            hub.fetch(repo, commit, file.path, part)
        if not file.fits(part / file.path):
            remove(part / file.path)
            raise BelleError(f"{file.path!r} is not what {hub.name} says it is", "the same command again fetches it anew")
        progress(file.path)
    known = {file.path for file in files}
    for path in sorted(part.rglob("*"), reverse=True):  # what the hub's own package left there
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()
        elif path.is_file() and path.relative_to(part).as_posix() not in known:
            path.unlink()
    part.replace(folder)


def git_sha1(path: Path) -> str:
    """The name that git gives to a file's content: sha1 of `blob SIZE\\0` and the bytes."""
    digest = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


class HuggingFace:
    """The Hugging Face hub, or another endpoint that speaks as it does."""

    name = "Hugging Face"

    def __init__(self, token: str | None, endpoint: str | None = None) -> None:
        from huggingface_hub import HfApi

        self._api: Any = HfApi(endpoint=endpoint, token=token or False)
        self._token, self._endpoint = token or False, endpoint

    def list_files(self, repo: str, revision: str | None) -> tuple[str, list[RemoteFile]]:
        """See `Hub`."""
        with _plain(self.name, repo):
            info = self._api.model_info(repo, revision=revision, files_metadata=True)
        return str(info.sha), [
            RemoteFile(file.rfilename, file.size or 0, sha256=file.lfs.sha256) if file.lfs
            else RemoteFile(file.rfilename, file.size or 0, git_sha1=file.blob_id or "")
            for file in info.siblings or ()
        ]  # fmt: skip

    def fetch(self, repo: str, commit: str, path: str, folder: Path) -> None:
        """See `Hub`."""
        from huggingface_hub import hf_hub_download

        with _plain(self.name, f"{repo}/{path}"):
            hf_hub_download(repo, path, revision=commit, local_dir=folder, token=self._token, endpoint=self._endpoint)

    def send(self, repo: str, folder: Path, paths: Sequence[str], private: bool, message: str) -> str:
        """See `Hub`; one commit, so that nobody sees half of it."""
        from huggingface_hub import CommitOperationAdd

        with _plain(self.name, repo):
            self._api.create_repo(repo, private=private, exist_ok=True)
            adds = [CommitOperationAdd(path_in_repo=path, path_or_fileobj=folder / path) for path in paths]
            return str(self._api.create_commit(repo, adds, commit_message=message).commit_url)


class ModelScope:
    """ModelScope (魔搭), through its package modelscope-hub."""

    name = "ModelScope"

    def __init__(self, token: str | None, endpoint: str | None = None) -> None:
        try:
            from modelscope_hub.api import HubApi
        except ImportError as error:
            raise need("modelscope-hub", "modelscope", "ModelScope") from error
        self._api: Any = HubApi(endpoint=endpoint, token=token)

    def list_files(self, repo: str, revision: str | None) -> tuple[str, list[RemoteFile]]:
        """See `Hub`. A branch or tag stands for itself: this hub does not say its commit."""
        with _plain(self.name, repo):
            found = self._api.list_repo_files(repo, "model", revision=revision, recursive=True)
        files = [RemoteFile(file.path, file.size, file.sha256 or "") for file in found if file.type != "tree"]
        return revision or "master", files

    def fetch(self, repo: str, commit: str, path: str, folder: Path) -> None:
        """See `Hub`."""
        with _plain(self.name, f"{repo}/{path}"):
            self._api.download_file(repo, "model", path, revision=commit, local_dir=folder)

    def send(self, repo: str, folder: Path, paths: Sequence[str], private: bool, message: str) -> str:
        """See `Hub`; the card goes last, as this hub takes one file a commit."""
        with _plain(self.name, repo):
            try:
                self._api.create_repo(repo, "model", visibility="private" if private else "public")
            except Exception as error:  # its own classes stand in a package that may not be there
                if type(error).__name__ != "AlreadyExistsError":
                    raise
            for path in sorted(paths, key=lambda name: name == "README.md"):
                self._api.upload_file(repo, "model", folder / path, path, commit_message=message)
        return repo


HUBS: dict[str, Callable[[str | None, str | None], Hub]] = {"huggingface": HuggingFace, "modelscope": ModelScope}
"""name -> adapter."""


@contextmanager
def _plain(hub: str, what: str) -> Iterator[None]:
    """Whatever a hub's package raises, as one error of ours: the network, a missing repository, a token that is not enough."""
    try:
        yield
    except BelleError:
        raise
    except Exception as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        said = f"{type(error).__name__}: {lines[0][:200]}"
        raise BelleError(f"{hub} refuses {what!r}: {said}", "check the name, the network and the token") from error
