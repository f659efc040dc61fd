from __future__ import annotations

import contextlib
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from generation_server import answer as server_answer

from belle.curation.kinds import Settings, open_kind
from belle.curation.quotas import Quotas
from belle.curation.self_instruct import Outcome, Plan, SelfInstruct
from belle.errors import BelleError
from belle.inference.backend import Answer, Request
from belle.inference.call_log import CallLog
from belle.inference.fake_backend import FakeBackend
from belle.records import Conversation, Message
from belle.sections import BudgetSection, GenerationSection

SEEDS = [
    Conversation((Message("user", text), Message("assistant", "好。")), id=f"s{n}", category=category)
    for n, (text, category) in enumerate([("算一算1+1", "math"), ("写一封信", "generation"), ("译成英文：雨", "translation")])
]


def reply(request: Request) -> Answer:
    text, finish = server_answer(request.messages[-1].content)
    return Answer(text, finish, 10, 20)  # type: ignore[arg-type]


class KilledError(Exception):
    pass


def make(
    folder: Path, count: int | None = 60, script: Any = reply, kind: str = "self_instruct", data: Any = (), budget: Any = None,
    quotas: Quotas | None = None, window: int = 16, novelty: float = 0.7,
) -> tuple[Outcome, FakeBackend]:  # fmt: skip
    made = open_kind(kind, SEEDS, data, Settings(tasks=5))
    plan = Plan(kind, count, novelty, window, 20, 0, GenerationSection(max_new_tokens=1000))
    backend = FakeBackend(script)
    with CallLog(folder / "calls.jsonl", backend, budget=BudgetSection(**(budget or {}))) as log:
        return SelfInstruct(plan, made, SEEDS, [], quotas, folder).run(log), backend


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def texts(folder: Path) -> list[str]:
    return [row["messages"][0]["content"] for row in rows(folder / "generated.jsonl")]


def tasks(*asked: str) -> str:
    return "\n\n".join(f"### {n}\n指令：{text}\n输出：这是回答。" for n, text in enumerate(asked, 1))


def test_it_stops_when_there_is_enough(tmp_path: Path) -> None:
    outcome, backend = make(tmp_path)
    assert (outcome.ended, outcome.accepted, len(texts(tmp_path))) == ("enough", 60, 60)
    assert len(set(texts(tmp_path))) == 60
    assert outcome.answers == len(backend.requests) < 40, "hardly more is asked than is needed"
    assert outcome.candidates == outcome.accepted + sum(
        n for (step, _), n in outcome.counts.items() if step in ("novelty", "quotas", "count")
    )


def test_everything_is_in_one_of_the_two_files(tmp_path: Path) -> None:
    outcome, _ = make(tmp_path)
    rejected = rows(tmp_path / "rejected.jsonl")
    assert Counter((row["step"], row["reason"]) for row in rejected) == outcome.counts
    assert all(row["source"].startswith("calls.jsonl:self_instruct-") for row in rejected)
    assert {row["reason"] for row in rejected} >= {"cut off", "duplicate"}


@pytest.mark.parametrize("seed", range(4))
def test_a_killed_run_ends_with_the_same_records(seed: int, tmp_path: Path) -> None:
    """Broken off at ten places by lot, each time with a torn last line as kill -9 leaves it."""
    make(tmp_path / "whole", quotas=Quotas(60, 0.5, {}, 0.05))
    lot = random.Random(seed)
    asked: list[str] = []
    left = 0

    def script(request: Request) -> Answer:
        nonlocal left
        left -= 1
        if left < 0:
            raise KilledError
        asked.append(request.id)
        return reply(request)

    for _ in range(10):
        left = lot.randrange(1, 6)
        with contextlib.suppress(KilledError):
            make(tmp_path / "killed", script=script, quotas=Quotas(60, 0.5, {}, 0.05))
        for name in ("generated.jsonl", "rejected.jsonl", "calls.jsonl"):
            path = tmp_path / "killed" / name
            if path.exists() and lot.random() < 0.5:
                path.write_bytes(path.read_bytes() + b'{"id": "tor')
    left = 10**6
    make(tmp_path / "killed", script=script, quotas=Quotas(60, 0.5, {}, 0.05))
    for name in ("generated.jsonl", "rejected.jsonl"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert len(asked) == len(set(asked)), "nothing was asked twice"


def test_a_larger_budget_goes_on_where_the_smaller_ended(tmp_path: Path) -> None:
    make(tmp_path / "whole")
    outcome, _ = make(tmp_path / "parts", budget={"requests": 7})
    assert (outcome.ended, outcome.answers) == ("budget of 7 requests", 7)
    early = (tmp_path / "parts" / "generated.jsonl").read_bytes()
    outcome, backend = make(tmp_path / "parts", budget={"requests": 100})
    assert outcome.ended == "enough"
    assert len(backend.requests) == outcome.answers - 7
    whole = (tmp_path / "whole" / "generated.jsonl").read_bytes()
    assert whole.startswith(early)
    assert (tmp_path / "parts" / "generated.jsonl").read_bytes() == whole


def test_seeds_and_accepted_ones_never_enter_again(tmp_path: Path) -> None:
    script = lambda request: tasks("算一算 1+1。", "写一首春天的诗", "写一首 春天 的诗！", "请写一首春天的诗", "讲讲潮汐的成因")  # noqa: E731
    outcome, _ = make(tmp_path, count=5, script=script)
    assert texts(tmp_path) == ["写一首春天的诗", "讲讲潮汐的成因"]
    details = [row["detail"] for row in rows(tmp_path / "rejected.jsonl")[:3]]
    assert details[0] == "1.000 with s0"
    assert details[1].startswith("1.000 with self_instruct-000000")
    assert details[2].startswith("0.8")
    assert outcome.ended == "nothing accepted from 20 answers in a row"


def test_poems_do_not_drown_the_rest(tmp_path: Path) -> None:
    def script(request: Request) -> str:
        lot = random.Random(request.id)
        return tasks(
            *[f"写一首关于{lot.choice('山川湖海风云雨雪')}{lot.randrange(10**6)}的诗" for _ in range(4)],
            f"译成英文：{lot.random()}",
        )

    outcome, _ = make(tmp_path, count=40, script=script, quotas=Quotas(40, None, {}, 0.1))
    poems = sum("的诗" in text for text in texts(tmp_path))
    assert poems == 4
    assert outcome.counts["quotas", "task is full"] > 10


def test_an_error_of_one_request_is_kept_and_the_rest_goes_on(tmp_path: Path) -> None:
    script = lambda request: BelleError("too long") if request.id.endswith("1") else reply(request)  # noqa: E731
    outcome, _ = make(tmp_path, script=script)
    assert outcome.ended == "enough"
    assert outcome.counts["answer", "no answer"] >= 1
    assert any(row["detail"] == "too long" for row in rows(tmp_path / "rejected.jsonl"))


def test_an_answer_of_ten_megabytes_is_one_row(tmp_path: Path) -> None:
    script = lambda request: Answer("字" * 3_400_000, "stop", 1, 1) if request.id.endswith("00") else reply(request)  # noqa: E731
    outcome, _ = make(tmp_path, script=script)
    assert outcome.counts["answer", "answer too long"] == 1
    assert (tmp_path / "rejected.jsonl").stat().st_size < 1_000_000


def test_given_records_are_answered_one_by_one(tmp_path: Path) -> None:
    data = [Conversation((Message("user", f"第{n}问"),), id=f"q{n}") for n in range(30)]
    script = lambda request: Answer("答" + request.messages[-1].content, "length" if request.id.endswith("3") else "stop", 1, 1)  # noqa: E731
    outcome, _ = make(tmp_path, count=None, script=script, kind="answer", data=data, novelty=1.0)
    assert outcome.ended == "all requests are answered"
    assert [row["id"] for row in rows(tmp_path / "generated.jsonl")] == [f"q{n}" for n in range(30) if n % 10 != 3]
    assert outcome.counts == {("read", "cut off"): 3}


def test_files_that_were_changed_are_noticed(tmp_path: Path) -> None:
    make(tmp_path)
    path = tmp_path / "generated.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join([*lines[:3], lines[4], *lines[3:]]), encoding="utf-8")
    with pytest.raises(BelleError, match=r"generated.jsonl:4: not what this run would write there"):
        make(tmp_path)
