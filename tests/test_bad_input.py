"""Everything that a user can get wrong, as one table: each fault is one error that names its place, and harms nothing.

Every case goes through the command line, in this process (and a few in one of their own): exit code 2, one `error:` on standard
error, no traceback, the file, line or key in it, and what an earlier run left in output_dir is there as it was, byte for byte.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from bad_input import CASES
from bad_world import World
from tiny import talk_file, tiny_model_folder

from belle.cli import main

IN_A_PROCESS = ("data: broken JSON", "recipe: an unknown key", "model: torn weights", "adapter: of another base")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> World:
    """The world before anything is wrong with it: made once, copied for each case."""
    w = World(tmp_path_factory.mktemp("world") / "home")
    for name in ("empty", "thesis"):
        (w.home / name).mkdir(parents=True)
    talk_file(w.data)
    tiny_model_folder(w.model)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sys, "argv", ["belle", *w.sft(output_dir=w.tuned)])
        patched.setenv("BELLE_CACHE", str(w.home / "cache"))
        main(sys.argv[1:])
        main(w.infer(backend="fake", model__path="echo"))
    return w


@pytest.fixture
def world(made: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """The same world at the same place (its paths stand in its files), mended after the case before."""
    monkeypatch.setenv("BELLE_CACHE", str(made.home / "cache"))
    kept = made.home.with_name("kept")
    if not kept.exists():
        shutil.copytree(made.home, kept)
    shutil.rmtree(made.home)
    shutil.copytree(kept, made.home)
    monkeypatch.chdir(made.home)
    return replace(made)


def state(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name != ".lock"}


def check(code: int, printed: str, words: tuple[str, ...]) -> None:
    assert code == 2, printed
    assert "Traceback" not in printed
    assert sum(line.startswith("error: ") for line in printed.splitlines()) == 1, printed
    message = printed[printed.index("error: ") :]
    for word in words:
        assert word in message, message


@pytest.mark.parametrize("name", CASES)
def test_one_error_and_nothing_harmed(name: str, world: World, capsys: pytest.CaptureFixture[str]) -> None:
    arrange, expected = CASES[name]
    words = [word.replace("=NEW", f"={world.home / 'new'}") for word in arrange(world)]
    earlier = {folder: state(folder) for folder in (world.out, world.tuned, world.model)}
    capsys.readouterr()
    with pytest.raises(SystemExit) as left:
        main(words)
    check(int(left.value.code or 0), capsys.readouterr().err, expected)
    assert {folder: state(folder) for folder in earlier} == earlier


@pytest.mark.parametrize("name", IN_A_PROCESS)
def test_the_same_in_a_process_of_its_own(name: str, world: World) -> None:
    arrange, expected = CASES[name]
    words = arrange(world)
    earlier = state(world.out)
    done = subprocess.run([sys.executable, "-m", "belle", *words], capture_output=True, text=True, check=False)
    check(done.returncode, done.stderr, expected)
    assert state(world.out) == earlier


def test_the_world_is_sound(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a fault each verb goes through: the cases fail for the reason they name."""
    main(world.sft())
    main(world.infer())
    main(world.merge())
    assert (world.out / "model.safetensors").exists()


def test_there_are_at_least_thirty_kinds() -> None:
    assert len(CASES) >= 30
