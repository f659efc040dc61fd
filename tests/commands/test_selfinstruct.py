from __future__ import annotations

import json
import random
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from belle.cli import main
from belle.data.formats import load_records
from belle.sections import DataSection

SERVER = Path(__file__).parents[1] / "generation_server.py"
PRODUCTS = ("generated.jsonl", "rejected.jsonl")


@pytest.fixture
def endpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a faulty endpoint in a process of its own; it takes the key `right`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "right")
    process = subprocess.Popen([sys.executable, str(SERVER), "port", "answered"])
    try:
        while not Path("port").exists():
            assert process.poll() is None
            time.sleep(0.02)
        yield f"http://127.0.0.1:{Path('port').read_text()}/v1"
    finally:
        process.kill()
        process.wait()


def words(url: str, folder: str, count: int | None = 60, concurrency: int = 32, **keys: object) -> list[str]:
    given: dict[str, object] = {
        "seeds.path": "shipped:seed_tasks_zh.jsonl", "count": count, "quotas.each": 0.9, "quotas.task": 0.05,
        "backend.base_url": url,
        "backend.model": "m", "backend.concurrency": concurrency, "backend.timeout": 1.0, "backend.retries": 12,
        "generation.max_new_tokens": 2000, "output_dir": folder,
    }  # fmt: skip
    given |= {key.replace("__", "."): value for key, value in keys.items()}
    return ["selfinstruct", *[f"{key}={value}" for key, value in given.items() if value is not None]]


def start(arguments: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-m", "belle", *arguments], stderr=subprocess.PIPE, text=True)


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def kill_and_resume(url: str, count: int, kills: int, seed: int) -> None:
    """The run of `count` records, killed so often at random moments, against an undisturbed one."""
    undisturbed = start(words(url, "whole", count))
    assert undisturbed.wait(600) == 0, undisturbed.stderr and undisturbed.stderr.read()
    total = len(rows(Path("whole/calls.jsonl")))
    lot = random.Random(seed)
    calls = Path("killed/calls.jsonl")
    killed = 0
    for left in range(kills, 0, -1):
        before = lines(calls)
        process = start(words(url, "killed", count, concurrency=lot.choice([8, 16, 32])))
        until = before + lot.randrange(1, max(2, 2 * (total - before) // (left + 1)))
        while process.poll() is None and lines(calls) < until:
            time.sleep(0.002)
        time.sleep(lot.random() * 0.03)
        process.send_signal(signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
        for name in PRODUCTS:  # all that is there is the beginning of what will be
            path = Path("killed", name)
            if path.exists():
                whole = path.read_bytes().rpartition(b"\n")[0]
                assert Path("whole", name).read_bytes().startswith(whole)
    assert killed >= kills - 1, "it was killed while it worked"
    last = start(words(url, "killed", count))
    assert last.wait(600) == 0, last.stderr and last.stderr.read()
    for name in PRODUCTS:
        assert Path("killed", name).read_bytes() == Path("whole", name).read_bytes()
    log = rows(calls)
    assert [key for key, n in Counter(row["key"] for row in log).items() if n > 1] == [], "no request is in the log twice"
    assert {row["id"]: row["answer"] for row in log} == {row["id"]: row["answer"] for row in rows(Path("whole/calls.jsonl"))}
    # What was answered and never reached the disk was under way when the process died.
    assert lines(Path("answered")) - total - len(log) <= (killed + 1) * 32
    accepted = [row["messages"][0]["content"] for row in rows(Path("killed/generated.jsonl"))]
    assert (len(accepted), len(set(accepted))) == (count, count)


def test_killed_three_times_against_a_faulty_endpoint(endpoint: str) -> None:
    kill_and_resume(endpoint, 80, 3, 1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_killed_ten_times_against_a_faulty_endpoint(seed: int, endpoint: str) -> None:
    kill_and_resume(endpoint, 600, 10, seed)


def test_what_it_made_is_read_back(endpoint: str, capsys: pytest.CaptureFixture[str]) -> None:
    main(words(endpoint, "out", 30))
    printed = capsys.readouterr()
    assert printed.out == "out/generated.jsonl\n"
    for word in ("not accepted because", "accepted of", "requests", "tokens", "ended: enough"):
        assert word in printed.err
    loaded = load_records(DataSection(path="out/generated.jsonl"))
    assert (len(loaded.records), loaded.counts) == (30, {})
    run = json.loads(Path("out/run.json").read_text(encoding="utf-8"))
    assert run["status"] == "finished"
    assert {entry["role"] for entry in run["inputs"]} == {"seeds", "prompt"}
    assert run["metrics"]["accepted"] + run["metrics"]["rejected"] == 30 + lines(Path("out/rejected.jsonl"))
    main(words(endpoint, "out", 30))
    assert "is finished already" in capsys.readouterr().err


def test_a_budget_is_kept_and_may_be_raised(endpoint: str, capsys: pytest.CaptureFixture[str]) -> None:
    main(words(endpoint, "out", 60, budget__requests=8))
    assert lines(Path("out/calls.jsonl")) == 8
    assert "budget of 8 requests is used up; raise it" in capsys.readouterr().err
    main(words(endpoint, "out", 60, budget__requests=8))
    assert "is finished already" in capsys.readouterr().err
    main(words(endpoint, "out", 60, budget__requests=500, backend__concurrency=3))
    main(words(endpoint, "whole", 60))
    assert Path("out/generated.jsonl").read_bytes() == Path("whole/generated.jsonl").read_bytes()


def test_money_is_counted(endpoint: str) -> None:
    main(words(endpoint, "out", 30, backend__input_price=1000, backend__output_price=2000))
    metrics = json.loads(Path("out/run.json").read_text(encoding="utf-8"))["metrics"]
    log = rows(Path("out/calls.jsonl"))
    assert metrics["requests"] == len(log)
    assert metrics["tokens"] == sum(row["prompt_tokens"] + row["answer_tokens"] for row in log)
    assert metrics["money"] == pytest.approx(sum(row["prompt_tokens"] + 2 * row["answer_tokens"] for row in log) / 1000)


def fails(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 2
    printed = capsys.readouterr().err
    assert "Traceback" not in printed
    assert sum(line.startswith("error: ") for line in printed.splitlines()) == 1
    return printed


def test_a_wrong_key(endpoint: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    main(words(endpoint, "out", 60, budget__requests=5))
    made = Path("out/generated.jsonl").read_bytes()
    monkeypatch.setenv("OPENAI_API_KEY", "wrong-secret")
    printed = fails(words(endpoint, "out", 60, budget__requests=50), capsys)
    assert "key" in printed
    assert "401" in printed
    assert "wrong-secret" not in printed
    assert "so far: " in printed
    assert Path("out/generated.jsonl").read_bytes() == made
    assert "wrong-secret" not in "".join(path.read_text(encoding="utf-8") for path in Path("out").iterdir() if path.is_file())


def test_an_endpoint_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    printed = fails(words("http://127.0.0.1:9/v1", "out", backend__retries=1), capsys)
    assert "http://127.0.0.1:9/v1" in printed


def test_a_disk_that_fills_up(endpoint: str) -> None:
    """Files may grow to 60 kB only: one message, what stands there is sound, and the same command goes on."""

    def small() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))

    arguments = [sys.executable, "-m", "belle", *words(endpoint, "out", 60)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, preexec_fn=small)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert "cannot write 'out/calls.jsonl'" in done.stderr
    assert subprocess.run(arguments, capture_output=True, text=True, check=False).returncode == 0
    main(words(endpoint, "whole", 60))
    assert Path("out/generated.jsonl").read_bytes() == Path("whole/generated.jsonl").read_bytes()


# -- without an endpoint


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    Path("seeds.jsonl").write_text('{"instruction": "一加一？", "output": "二。"}\n', encoding="utf-8")
    return tmp_path


def fake(script: object, **keys: object) -> list[str]:
    Path("script.json").write_text(json.dumps(script, ensure_ascii=False), encoding="utf-8")
    given: dict[str, object] = {
        "backend__base_url": None, "backend__backend": "fake", "backend__model": "script.json", "seeds__path": "seeds.jsonl",
        "backend__concurrency": 1,
    }  # fmt: skip
    return words("", "out", **({"count": 5} | given | keys))  # type: ignore[arg-type]


TASK = "### 1\n指令：讲讲潮汐的成因\n输出：月球的引力拉动海水。"


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"kind": "maths"}, "unknown kind 'maths'. Did you mean 'math'?"),
        ({"count": None}, "count: self_instruct has no end of its own"),
        ({"seeds__path": None}, "seeds: self_instruct needs some to begin with"),
        ({"seeds__path": "none.jsonl"}, "seeds: no file 'none.jsonl'"),
        ({"seeds__path": "empty.jsonl"}, "seeds: empty.jsonl: is empty"),
        ({"data__path": "seeds.jsonl"}, "data: self_instruct works on no given records"),
        ({"kind": "answer"}, "data: answer works on given conversations, and there are none"),
        ({"kind": "from_document", "data__path": "paper.txt"}, "paper.txt: is empty"),
        ({"quotas__each": 0, "quotas__classes": "{math: 0.5}"}, "quotas: 5 records are wanted, and the classes have room for 3"),
        ({"quotas__classes": "{poetry: 0.1}"}, "unknown class 'poetry'"),
        ({"filters": "[emty]"}, "emty"),
        ({"filters": "[near_duplicates]"}, "near_duplicates is no filter but a set step"),
        ({"prompts": "prompts"}, "self_instruct_zh.txt:1: unknown place {{exmaples}}. Did you mean 'examples'?"),
        ({"prompts": "nowhere"}, "prompts: 'nowhere' is no folder"),
        ({"ratio": 2}, "ratio: should be less than or equal to 1"),
    ],
)
def test_a_mistake_is_named_and_leaves_no_run(
    keys: dict[str, Any], message: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("empty.jsonl").write_text("")
    Path("paper.txt").write_text("\n")
    Path("prompts").mkdir()
    Path("prompts/self_instruct_zh.txt").write_text("{{exmaples}}", encoding="utf-8")
    assert message in fails(fake([TASK], **keys), capsys)
    assert not Path("out/run.json").exists()


def test_nothing_but_empty_replies(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    printed = fails(fake([""] * 40, patience=10), capsys)
    assert "nothing was accepted from" in printed
    assert "read, empty answer" in printed
    assert {row["reason"] for row in rows(Path("out/rejected.jsonl"))} <= {"empty answer", "no answer"}


def test_a_reply_of_ten_megabytes(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(fake(["字" * 3_400_000, TASK], count=1, patience=10, generation__max_new_tokens=9_000_000))
    assert "answer too long" in capsys.readouterr().err
    assert len(rows(Path("out/generated.jsonl"))) == 1


def test_questions_from_a_text_file(here: Path) -> None:
    Path("paper.txt").write_text("嘉陵堡的城墙长412米。", encoding="utf-8")
    main(
        fake(
            ["问题：嘉陵堡的城墙多长？\n回答：412米。"],
            kind="from_document",
            data__path="paper.txt",
            count=None,
            seeds__path=None,
        )
    )
    (row,) = rows(Path("out/generated.jsonl"))
    assert [turn["content"] for turn in row["messages"]] == ["嘉陵堡的城墙多长？", "412米。"]
    run = json.loads(Path("out/run.json").read_text(encoding="utf-8"))
    assert {entry["role"]: Path(entry["path"]).name for entry in run["inputs"]} == {
        "data": "paper.txt",
        "prompt": "from_document_zh.txt",
    }


def test_own_prompts_are_used_and_noted(here: Path) -> None:
    Path("mine").mkdir()
    Path("mine/self_instruct_zh.txt").write_text("我的提示 {{number}} {{examples}}", encoding="utf-8")
    main(fake([TASK], count=1, prompts="mine"))
    assert rows(Path("out/calls.jsonl"))[0]["messages"][0]["content"].startswith("我的提示 5 ### 1\n指令：一加一？")
    inputs = json.loads(Path("out/run.json").read_text(encoding="utf-8"))["inputs"]
    assert "mine/self_instruct_zh.txt" in {entry["path"] for entry in inputs}


def test_help_names_kinds_and_dry_run_touches_nothing(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["selfinstruct", "--help"])
    printed = capsys.readouterr().out
    assert "from_document" in printed
    assert "missing_input" in printed
    main([*fake([TASK], budget__money=2.5), "--dry-run"])
    printed = capsys.readouterr().out
    assert "# ask script.json at this process, 1 at once, until 5 records are accepted, and for at most 2.5 money" in printed
    assert not Path("out").exists()


def test_the_shipped_seeds_have_all_classes() -> None:
    from belle.data.categories import CLASSES

    for names, least in ((("seed_tasks_zh", "seed_chats_zh"), 100), (("seed_tasks_en",), 60)):
        found = load_records(DataSection(path=tuple(f"shipped:{name}.jsonl" for name in names))).records
        assert len(found) >= least
        assert {record.category for record in found} == set(CLASSES)
