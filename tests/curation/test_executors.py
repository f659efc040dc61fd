from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cleaning import clean, data_file

from belle.curation.executors import OneProcess, Processes, Ray, open_executor
from belle.errors import BelleError

TEXTS = [f"第{n}句话，{'甲乙丙'[n % 3] * (n % 5 + 2)}" for n in range(40)] + ["bad", "第1句话，乙乙乙", "a"]


def results(folder: Path) -> list[bytes]:
    return [(folder / f"{name}.jsonl").read_bytes() for name in ("kept", "dropped", "scores")]


def double(shard: int) -> dict[str, int]:
    return {"shard": shard, "pid": os.getpid()}


def fails(shard: int) -> dict[str, int]:
    if shard == 3:
        raise BelleError("shard three is bad", "mend it")
    return double(shard)


def dies(shard: int) -> dict[str, int]:
    if shard == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return double(shard)


def test_the_recipe_names_the_executor() -> None:
    assert isinstance(open_executor("one", 4, 9), OneProcess)
    assert isinstance(open_executor("processes", 1, 9), OneProcess)
    assert isinstance(open_executor("processes", 4, 1), OneProcess), "never more workers than shards"
    several = open_executor("processes", 4, 3)
    assert isinstance(several, Processes)
    assert several.workers == 3


def test_one_process_goes_in_order() -> None:
    with OneProcess() as executor:
        assert [row["shard"] for row in executor.run(double, range(5))] == [0, 1, 2, 3, 4]


def test_every_shard_is_done_once_by_other_processes() -> None:
    with Processes(2) as executor:
        found = list(executor.run(double, range(9)))
        again = list(executor.run(double, range(2)))
    assert sorted(row["shard"] for row in found) == list(range(9))
    pids = {row["pid"] for row in found + again}
    assert os.getpid() not in pids
    assert len(pids) <= 2, "they are started once"


def test_an_error_of_a_worker_is_the_users_to_read() -> None:
    with pytest.raises(BelleError, match="shard three is bad") as caught, Processes(2) as executor:
        list(executor.run(fails, range(9)))
    assert caught.value.fix == "mend it"


def test_a_killed_worker_is_one_clear_message() -> None:
    with pytest.raises(BelleError, match="a worker process was killed") as caught, Processes(2) as executor:
        list(executor.run(dies, range(9)))
    assert "goes on from here" in caught.value.fix


def test_several_processes_write_the_same(tmp_path: Path) -> None:
    data = data_file(tmp_path / "d.jsonl", TEXTS)
    clean(data, tmp_path / "one")
    clean(data, tmp_path / "two", executor=Processes(2), shard=3)
    assert results(tmp_path / "two") == results(tmp_path / "one")


def test_workers_end_with_their_main_process(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; sys.path.insert(0, sys.argv[1])\n"
        "from test_executors import double\nfrom belle.curation.executors import Processes\n"
        "if __name__ == '__main__':\n"
        "    executor = Processes(2)\n    pids = {row['pid'] for row in executor.run(double, range(8))}\n"
        "    print(*pids, flush=True)\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    script = tmp_path / "main.py"
    script.write_text(code)
    here = Path(__file__).parent
    known = {**os.environ, "PYTHONPATH": str(here)}
    done = subprocess.run([sys.executable, script, here], capture_output=True, text=True, env=known, check=False)
    assert done.returncode == -signal.SIGKILL
    pids = [int(pid) for pid in done.stdout.split()]
    assert pids
    for _ in range(100):
        if not any(Path(f"/proc/{pid}").exists() for pid in pids):
            break
        time.sleep(0.05)
    assert [pid for pid in pids if Path(f"/proc/{pid}").exists()] == []


@pytest.mark.skipif(importlib.util.find_spec("ray") is not None, reason="ray is installed")
def test_ray_that_is_not_there_is_named_with_its_extra() -> None:
    with pytest.raises(BelleError, match="executor=ray needs the package 'ray'") as caught:
        open_executor("ray", 2, 4)
    assert "belle[ray]" in caught.value.fix


def test_ray_writes_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), *sys.path]))
    data = data_file(tmp_path / "d.jsonl", TEXTS)
    clean(data, tmp_path / "one")
    with pytest.raises(BelleError, match="shard three is bad"), Ray(2) as executor:
        list(executor.run(fails, range(9)))
    clean(data, tmp_path / "ray", executor=Ray(2), shard=3)
    assert results(tmp_path / "ray") == results(tmp_path / "one")
