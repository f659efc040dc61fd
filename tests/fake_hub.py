"""A model hub in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from belle.errors import BelleError
from belle.release.hub import RemoteFile


class FakeHub:
    """`repos` are its files; `fail_on` names one that the network loses, `spoil` one that arrives changed."""

    name = "Fake"

    def __init__(self, repos: dict[str, dict[str, bytes]] | None = None) -> None:
        self.repos = repos or {}
        self.fail_on = self.spoil = ""
        self.fetched: list[str] = []
        self.token: str | None = None
        self.private: bool | None = None

    def list_files(self, repo: str, revision: str | None) -> tuple[str, list[RemoteFile]]:
        if repo not in self.repos:
            raise BelleError(f"Fake refuses {repo!r}: there is none", "check the name, the network and the token")
        files = self.repos[repo]
        return f"commit-of-{revision or 'main'}", [
            RemoteFile(path, len(data), hashlib.sha256(data).hexdigest()) for path, data in files.items()
        ]

    def fetch(self, repo: str, commit: str, path: str, folder: Path) -> None:
        if path == self.fail_on:
            raise BelleError("no network", "try again")
        self.fetched.append(path)
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        data = self.repos[repo][path]
        (folder / path).write_bytes(data[::-1] if path == self.spoil else data)
        (folder / ".cache").mkdir(exist_ok=True)
        (folder / ".cache/lock").write_bytes(b"")

    def send(self, repo: str, folder: Path, paths: Sequence[str], private: bool, message: str) -> str:
        self.private = private
        data = {path: (folder / path).read_bytes() for path in paths}
        self.repos[repo] = {path: b"x" if path == self.spoil else content for path, content in data.items()}
        return f"fake/{repo}"
