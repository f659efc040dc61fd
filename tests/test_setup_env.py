"""The set-up without running it: which torch is chosen where, and when it is done again."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[1] / "scripts" / "setup_env.py"
CPU = ["--no-deps", "--index-url", "https://download.pytorch.org/whl/cpu"]


@pytest.fixture
def setup(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.delenv("BELLE_TORCH_INDEX", raising=False)
    spec = importlib.util.spec_from_file_location("setup_env", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Recorder:
    """Stands in for `Steps`: notes what would be installed; a command that holds one of `failing` fails."""

    def __init__(self, needs: str = "", failing: tuple[str, ...] = ()) -> None:
        self.needs, self.failing = needs, failing
        self.tried: list[list[str]] = []

    def pip(self, *words: str) -> list[str]:
        return list(words)

    def attempt(self, name: str, command: list[str]) -> bool:
        self.tried.append(command)
        return not any(word in self.failing for word in command)

    def run(self, name: str, command: list[str], fix: str = "") -> None:
        assert self.attempt(name, command)

    def cuda_needs(self, package: str) -> str:
        return self.needs


@pytest.mark.parametrize(
    ("platform", "gpu", "needs", "failing", "expected"),
    [
        # Linux with a GPU: whatever pip takes.
        ("linux", True, "", (), [["torch>=2.6"]]),
        # Linux without: a wheel that asks for no CUDA (ARM, or one at hand) as it is.
        ("linux", False, "", (), [["torch==2.13.0"]]),
        # The usual wheel brings CUDA: the index of CPU wheels, for torch alone.
        ("linux", False, "nvidia-cublas cuda-bindings triton", (), [[*CPU, "torch==2.13.0"]]),
        # A Python that this release has no wheel for: never the usual index, where older ones bring CUDA.
        ("linux", False, "unknown", ("torch==2.13.0",), [[*CPU, "torch==2.13.0"], [*CPU, "torch>=2.6"]]),
        ("darwin", False, "unknown", (), [["torch==2.13.0"]]),
        ("darwin", False, "unknown", ("torch==2.13.0",), [["torch==2.13.0"], ["torch>=2.6"]]),
    ],
)
def test_which_torch(
    setup: Any, monkeypatch: pytest.MonkeyPatch, platform: str, gpu: bool, needs: str, failing: tuple[str, ...],
    expected: list[list[str]],
) -> None:  # fmt: skip
    monkeypatch.setattr(sys, "platform", platform)
    steps = Recorder(needs, failing)
    setup.install_torch(steps, gpu)
    assert steps.tried == expected


@pytest.mark.parametrize("gpu", [True, False])
def test_an_index_that_is_named_is_taken(setup: Any, monkeypatch: pytest.MonkeyPatch, gpu: bool) -> None:
    monkeypatch.setenv("BELLE_TORCH_INDEX", "https://mirror.example.com/cpu")
    steps = Recorder("nvidia-cublas")
    setup.install_torch(steps, gpu)
    assert steps.tried == [["--no-deps", "--index-url", "https://mirror.example.com/cpu", "torch==2.13.0"]]


def test_cuda_is_seen_in_what_pip_would_install(setup: Any) -> None:
    pytest.importorskip("pip")

    def needs(*requires: str) -> str:
        report = json.dumps({"install": [{"metadata": {"requires_dist": list(requires)}}]})
        command = [sys.executable, "-c", setup.CUDA_NEEDS]
        return subprocess.run(command, input=report, capture_output=True, text=True, check=True).stdout.strip()

    assert needs("filelock", "sympy>=1.13.3", 'optree>=0.13.0; extra == "optree"') == ""
    here = f'sys_platform == "{sys.platform}"'
    assert needs("filelock", f"nvidia-cublas==13; {here}", f"cuda-bindings<14; {here}", "triton==3.5") == (
        "nvidia-cublas cuda-bindings triton"
    )
    assert needs('nvidia-cublas==13; platform_machine == "no such machine"') == ""


def test_ready_only_when_nothing_has_changed(setup: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("PYTHON", "STAMP", "UNFINISHED"):
        monkeypatch.setattr(setup, name, tmp_path / name)
    (tmp_path / "PYTHON").touch()
    assert not setup.is_ready(False)
    (tmp_path / "STAMP").write_text(json.dumps({"key": setup.key(), "dev": False}))
    assert (setup.is_ready(False), setup.is_ready(True)) == (True, False)
    (tmp_path / "UNFINISHED").touch()
    assert not setup.is_ready(False), "killed in the middle"
    (tmp_path / "UNFINISHED").unlink()
    (tmp_path / "STAMP").write_text(json.dumps({"key": "of an older pyproject.toml", "dev": True}))
    assert not setup.is_ready(False)
    (tmp_path / "STAMP").write_text('{"key": "half a st')
    assert not setup.is_ready(False)


def test_old_pythons_can_read_it() -> None:
    source = SCRIPT.read_text(encoding="utf-8")
    ast.parse(source, feature_version=(3, 7))
    assert "from __future__ import annotations" not in source, "3.6 has no such thing"
    head = source.index("if sys.version_info < (3, 10):")
    assert not any(word in source[:head] for word in ("def ", "class ")), "the check stands before anything newer"


def test_one_at_a_time(setup: Any) -> None:
    fcntl = pytest.importorskip("fcntl")
    with setup.one_at_a_time() as held, (setup.ROOT / "pyproject.toml").open("r+b") as other:
        assert os.fstat(held)
        with pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
