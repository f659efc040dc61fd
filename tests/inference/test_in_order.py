from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from belle.errors import BelleError
from belle.inference.backend import Answer, Request
from belle.inference.call_log import CallLog
from belle.inference.fake_backend import FakeBackend
from belle.inference.in_order import DONE, ask_in_order
from belle.records import Message
from belle.sections import BudgetSection, GenerationSection

OPTIONS = GenerationSection(max_new_tokens=20)


class KilledError(Exception):
    pass


class Shuffled(FakeBackend):
    """Many at once, each after a wait by lot: they come in any order. Dies for good at the given request."""

    def __init__(self, script: Any, seed: int, dies_at: int | None = None) -> None:
        super().__init__(script)
        self._random, self._dies_at, self.at_once, self.most = random.Random(seed), dies_at, 0, 0
        self._lock = threading.Lock()

    def submit(self, request: Request, options: GenerationSection) -> Future[Answer]:
        future: Future[Answer] = Future()
        if self._dies_at is not None and len(self.requests) >= self._dies_at:
            raise KilledError
        with self._lock:
            self.at_once += 1
            self.most = max(self.most, self.at_once)
        answer = self.generate([request], options)[0]
        wait = self._random.random() * 0.004

        def come() -> None:
            time.sleep(wait)
            with self._lock:
                self.at_once -= 1
            if future.set_running_or_notify_cancel():
                future.set_result(answer)

        threading.Thread(target=come, daemon=True).start()
        return future


class Chain:
    """Each request is made of the answers that were handed out before: any difference in order shows in all that follows."""

    def __init__(self, count: int) -> None:
        self.count, self.state, self.events = count, 0, []  # type: ignore[var-annotated]

    def compose(self, i: int) -> Request | None:
        if i >= self.count:
            return None
        self.events.append(("compose", i, self.state))
        return Request((Message("user", f"{i} {self.state}"),), id=str(i))

    def on_answer(self, i: int, request: Request, answer: Answer) -> None:
        assert request.id == str(i)
        self.events.append(("answer", i, answer.text))
        self.state = hash((self.state, answer.text)) % 1000


def script(request: Request) -> Answer:
    text = request.messages[-1].content
    length = len(text) * 7 % 11 + 1
    return Answer(text[::-1], "error" if length == 3 else "stop", 5, length)


def run(folder: Path, backend: Any, count: int = 30, window: int = 4, **budget: Any) -> tuple[str, list[Any]]:
    chain = Chain(count)
    with CallLog(folder / "calls.jsonl", backend, budget=BudgetSection(**budget)) as log:
        ended = ask_in_order(log, chain.compose, OPTIONS, window, chain.on_answer)
    return ended, chain.events


def test_the_events_stand_in_one_order(tmp_path: Path) -> None:
    ended, events = run(tmp_path, Shuffled(script, 1), count=6, window=3)
    assert ended == DONE
    assert [f"{kind[0]}{i}" for kind, i, _ in events] == [
        "c0", "c1", "c2", "a0", "c3", "a1", "c4", "a2", "c5", "a3", "a4", "a5",
    ]  # fmt: skip


@pytest.mark.parametrize("budget", [{}, {"requests": 13}, {"tokens": 200}])
def test_what_comes_first_changes_nothing(budget: dict[str, int], tmp_path: Path) -> None:
    results = []
    for seed, backend in enumerate([FakeBackend(script), Shuffled(script, 1), Shuffled(script, 2)]):
        results.append(run(tmp_path / str(seed), backend, **budget))
    assert results[0] == results[1] == results[2]


def test_many_are_under_way_at_once(tmp_path: Path) -> None:
    backend = Shuffled(script, 1)
    run(tmp_path, backend, window=8)
    assert backend.most > 4


def test_a_backend_that_takes_batches_gets_them(tmp_path: Path) -> None:
    sizes: list[int] = []

    class Batched(FakeBackend):
        def generate(self, requests: Any, options: Any, on_answer: Any = None) -> list[Answer]:
            sizes.append(len(requests))
            return super().generate(requests, options, on_answer)

    run(tmp_path, Batched(script), count=10, window=4)
    assert sizes == [4, 4, 2]


@settings(max_examples=25, deadline=None)
@given(
    kills=st.lists(st.integers(0, 30), max_size=4), window=st.integers(1, 9), seed=st.integers(0, 99),
    budget=st.sampled_from([{}, {"requests": 17}, {"tokens": 230}]),
)  # fmt: skip
def test_killed_and_resumed_it_ends_the_same(
    tmp_path_factory: pytest.TempPathFactory, kills: list[int], window: int, seed: int, budget: dict[str, int]
) -> None:
    whole = run(tmp_path_factory.mktemp("whole"), Shuffled(script, seed), window=window, **budget)
    folder = tmp_path_factory.mktemp("killed")
    for kill in kills:
        try:
            run(folder, Shuffled(script, seed + kill, dies_at=kill), window=window, **budget)
        except KilledError:
            calls = folder / "calls.jsonl"
            calls.write_bytes(calls.read_bytes()[: -kill or None])  # the last line may be torn
    last = Shuffled(script, seed + 1)
    assert run(folder, last, window=window, **budget) == whole
    answered = sum(kind == "answer" for kind, _, _ in whole[1])
    assert len((folder / "calls.jsonl").read_bytes().splitlines()) == answered, "no loss, no double"


@pytest.mark.parametrize(
    ("budget", "answers", "ended"),
    [
        ({"requests": 7}, 7, "budget of 7 requests"),
        ({"tokens": 26}, 1, "budget of 26 tokens"),
        ({"tokens": 10}, 0, "budget of 10 tokens"),
    ],
)
def test_it_ends_before_the_budget_is_passed(budget: dict[str, int], answers: int, ended: str, tmp_path: Path) -> None:
    """A request has 3 prompt tokens and may have 20 more."""
    result = run(tmp_path, Shuffled(lambda request: Answer("x", "stop", 3, 20), 1), **budget)
    assert result[0] == ended
    assert sum(kind == "answer" for kind, _, _ in result[1]) == answers


def test_a_larger_budget_goes_on_where_the_smaller_ended(tmp_path: Path) -> None:
    run(tmp_path / "a", FakeBackend(script), requests=9)
    more = FakeBackend(script)
    assert run(tmp_path / "a", more, requests=20) == run(tmp_path / "b", FakeBackend(script), requests=20)
    assert len(more.requests) == 11


def test_trouble_stops_it_and_what_came_is_kept(tmp_path: Path) -> None:
    def failing(request: Request) -> Any:
        return RuntimeError("endpoint") if request.id == "9" else script(request)

    with pytest.raises(RuntimeError, match="endpoint"):
        run(tmp_path, Shuffled(failing, 1))
    kept = len((tmp_path / "calls.jsonl").read_bytes().splitlines())
    last = Shuffled(script, 1)
    assert run(tmp_path, last) == run(tmp_path / "whole", Shuffled(script, 2))
    assert 0 < kept <= 9
    assert len(last.requests) == 30 - kept


def test_an_error_of_the_caller_is_not_swallowed(tmp_path: Path) -> None:
    def broken(i: int, request: Request, answer: Answer) -> None:
        raise BelleError("disk is full")

    chain: Callable[[int], Request | None] = Chain(5).compose
    with CallLog(tmp_path / "calls.jsonl", Shuffled(script, 1)) as log, pytest.raises(BelleError, match="disk is full"):
        ask_in_order(log, chain, OPTIONS, 2, broken)
