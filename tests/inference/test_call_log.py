from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from openai_server import Reply, Seen, chat, serving

from belle.errors import BelleError
from belle.inference.backend import Answer, Request
from belle.inference.call_log import BudgetError, CallLog, Price, Spent
from belle.inference.fake_backend import FakeBackend
from belle.inference.openai_backend import OpenAIBackend
from belle.records import Message
from belle.sections import BackendSection, BudgetSection, GenerationSection

OPTIONS = GenerationSection(max_new_tokens=10)


def asking(*texts: str, id: str = "t") -> list[Request]:
    return [Request((Message("user", text),), id=f"{id}{n}") for n, text in enumerate(texts)]


def echo(request: Request) -> Answer:
    return Answer(f"答{request.messages[-1].content}", "stop", 3, 4)


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def open_log(tmp_path: Path, script: Any = echo, **keys: Any) -> CallLog:
    return CallLog(tmp_path / "calls.jsonl", FakeBackend(script), **keys)


def test_what_was_answered_is_not_asked_again(tmp_path: Path) -> None:
    with open_log(tmp_path) as log:
        first = log.ask(asking("一", "二"), OPTIONS)
        assert (log.asked, log.replayed) == (2, 0)
    with open_log(tmp_path) as log:
        assert log.ask(asking("一", "二", "三"), OPTIONS)[:2] == first
        assert (log.asked, log.replayed) == (1, 2)
    assert [row["answer"] for row in rows(tmp_path / "calls.jsonl")] == ["答一", "答二", "答三"]


def test_another_id_other_options_or_another_model_is_another_request(tmp_path: Path) -> None:
    with open_log(tmp_path) as log:
        log.ask(asking("一"), OPTIONS)
        log.ask(asking("一", id="other"), OPTIONS)
        log.ask(asking("一"), GenerationSection(max_new_tokens=11))
        assert log.asked == 3
    with open_log(tmp_path, model="another") as log:
        log.ask(asking("一"), OPTIONS)
        assert log.asked == 1


def test_a_row_holds_the_request_and_the_raw_answer(tmp_path: Path) -> None:
    with open_log(tmp_path, lambda request: Answer("答", "length", 3, 4, estimated=True, tries=2)) as log:
        log.ask(asking("一"), OPTIONS)
    (row,) = rows(tmp_path / "calls.jsonl")
    assert row.pop("seconds") >= 0
    assert len(row.pop("key")) == 64
    assert row == {
        "id": "t0", "model": "fake", "messages": [{"role": "user", "content": "一"}], "tools": [],
        "options": OPTIONS.model_dump(mode="json"), "answer": "答", "finish": "length", "error": "", "prompt_tokens": 3,
        "answer_tokens": 4, "estimated": True, "tries": 2,
    }  # fmt: skip


def test_a_torn_last_line_is_cut_off_and_asked_again(tmp_path: Path) -> None:
    with open_log(tmp_path) as log:
        log.ask(asking("一", "二"), OPTIONS)
    path = tmp_path / "calls.jsonl"
    path.write_bytes(path.read_bytes()[:-5])
    with open_log(tmp_path) as log:
        log.ask(asking("一", "二"), OPTIONS)
        assert log.asked == 1
    assert [row["id"] for row in rows(path)] == ["t0", "t1"]


@pytest.mark.parametrize("line", ["[]", '{"key": "x"}', "{"])
def test_a_file_that_is_no_log_is_named(line: str, tmp_path: Path) -> None:
    (tmp_path / "calls.jsonl").write_text(line + "\n")
    with pytest.raises(BelleError, match=r"calls\.jsonl:1"):
        open_log(tmp_path)


def test_half_a_character_is_mended_now_as_later(tmp_path: Path) -> None:
    with open_log(tmp_path, ["雨\ud83d"]) as log:
        now = log.ask(asking("一\ud83d"), OPTIONS)
    with open_log(tmp_path, []) as log:
        assert log.ask(asking("一\ud83d"), OPTIONS) == now
    assert now[0].text == "雨\ufffd"


def test_the_same_question_twice_is_asked_once(tmp_path: Path) -> None:
    request = asking("一")[0]
    with open_log(tmp_path) as log:
        assert [answer.text for answer in log.ask([request, request], OPTIONS)] == ["答一", "答一"]
        assert (log.asked, log.replayed, log.spent) == (1, 1, Spent(1, 7, 0))


def test_many_threads_ask_each_request_once(tmp_path: Path) -> None:
    requests = asking(*"一二三四五六七八九十")
    got: list[list[str]] = []
    with open_log(tmp_path) as log:
        threads = [threading.Thread(target=lambda: got.append([a.text for a in log.ask(requests, OPTIONS)])) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        assert log.asked == 10
    assert got == [[f"答{text}" for text in "一二三四五六七八九十"]] * 8
    assert len(rows(tmp_path / "calls.jsonl")) == 10


def test_what_is_spent_counts_replayed_answers_as_well(tmp_path: Path) -> None:
    price = Price(prompt=1e6, answer=2e6)
    for _ in range(2):
        with open_log(tmp_path, price=price) as log:
            log.ask(asking("一", "二"), OPTIONS)
            assert log.spent == Spent(2, 14, 2 * (3 + 8))


@pytest.mark.parametrize(
    ("budget", "answered"),
    [({"requests": 2}, 2), ({"tokens": 30}, 3), ({"tokens": 11}, 1), ({"tokens": 10}, 0), ({"money": 25.0}, 1)],
)
def test_a_budget_is_not_passed(budget: dict[str, Any], answered: int, tmp_path: Path) -> None:
    """A request has 1 prompt token and may have 10 more; it really costs 3 + 4 tokens and 11 money."""
    with open_log(tmp_path, price=Price(1e6, 2e6), budget=BudgetSection(**budget)) as log:
        with pytest.raises(BudgetError, match=f"budget of {next(iter(budget.values())):g}"):
            log.ask(asking(*"一二三四五六"), OPTIONS)
        assert log.asked == answered
    assert len(rows(tmp_path / "calls.jsonl")) == answered


def test_the_endpoints_trouble_leaves_what_was_answered(tmp_path: Path) -> None:
    def script(request: Request) -> Any:
        return echo(request) if request.id != "t2" else RuntimeError("endpoint")

    with open_log(tmp_path, script) as log, pytest.raises(RuntimeError):
        log.ask(asking(*"一二三四"), OPTIONS)
    with open_log(tmp_path) as log:
        log.ask(asking(*"一二三四"), OPTIONS)
        assert (log.asked, log.replayed) == (2, 2)


def test_a_failed_request_is_not_asked_again(tmp_path: Path) -> None:
    with open_log(tmp_path, [BelleError("too long")]) as log:
        failed = log.ask(asking("一"), OPTIONS)
    with open_log(tmp_path, []) as log:
        assert log.ask(asking("一"), OPTIONS) == failed
    assert failed[0].error == "too long"


class Slow:
    """Hands out futures that the test completes."""

    name, context, model = "slow", None, "slow"

    def __init__(self) -> None:
        self.futures: list[Future[Answer]] = []

    def submit(self, request: Request, options: GenerationSection) -> Future[Answer]:
        self.futures.append(Future())
        return self.futures[-1]

    def generate(self, requests: Sequence[Request], options: GenerationSection, on_answer: Callable[..., None]) -> list[Answer]:
        raise NotImplementedError

    def stream(self, request: Request, options: GenerationSection) -> Any:
        raise NotImplementedError

    def count(self, request: Request) -> int:
        return 1


def test_an_answer_is_on_the_disk_when_its_future_has_it(tmp_path: Path) -> None:
    backend = Slow()
    one, two = asking("一", "二")
    with CallLog(tmp_path / "calls.jsonl", backend) as log:
        first, again, second = (log.submit(request, OPTIONS) for request in (one, one, two))
        assert first is again
        assert len(backend.futures) == 2
        backend.futures[1].set_result(Answer("二", "stop", 1, 1))
        assert second.result(1).text == "二"
        assert [row["id"] for row in rows(tmp_path / "calls.jsonl")] == ["t1"]
        backend.futures[0].set_exception(BelleError("endpoint is down"))
        with pytest.raises(BelleError, match="endpoint is down"):
            first.result(1)
        log.submit(one, OPTIONS)
        assert len(backend.futures) == 3, "what failed because of the endpoint is asked again"
        assert log.submit(two, OPTIONS).result(1).text == "二"
        assert (log.asked, log.replayed) == (3, 1)


def test_giving_up_cancels_what_waits_and_keeps_what_comes_soon(tmp_path: Path) -> None:
    backend = Slow()
    with CallLog(tmp_path / "calls.jsonl", backend) as log:
        waiting, under_way = (log.submit(request, OPTIONS) for request in asking("一", "二"))
        backend.futures[1].set_running_or_notify_cancel()
        threading.Timer(0.1, lambda: backend.futures[1].set_result(Answer("二", "stop", 1, 1))).start()
        log.give_up()
        assert under_way.result(0).text == "二"
        assert isinstance(waiting.exception(0), BaseException)
    assert [row["id"] for row in rows(tmp_path / "calls.jsonl")] == ["t1"]


def test_a_full_disk_is_one_clear_error_and_no_answer_is_lost_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = open_log(tmp_path)
    log.ask(asking("一"), OPTIONS)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(BelleError, match="No space left on device"):
        log.ask(asking("一", "二"), OPTIONS)
    monkeypatch.undo()
    log.close()
    with open_log(tmp_path) as log:
        assert log.ask(asking("一"), OPTIONS)[0].text == "答一"
        assert log.replayed == 1


def test_the_recipe_gives_name_and_price(tmp_path: Path) -> None:
    section = BackendSection(model="qwen", input_price=2.0, output_price=4.0)
    with CallLog.open(tmp_path / "calls.jsonl", FakeBackend(echo), section) as log:
        log.ask(asking("一"), OPTIONS)
        assert log.spent.money == pytest.approx((3 * 2 + 4 * 4) / 1e6)
    assert rows(tmp_path / "calls.jsonl")[0]["model"] == "qwen"


def test_retries_of_an_endpoint_are_counted(tmp_path: Path) -> None:
    replies = iter([Reply(500), chat("好")])

    def reply(seen: Seen) -> Reply:
        return next(replies)

    with serving(reply) as (url, _), CallLog(tmp_path / "calls.jsonl", OpenAIBackend(url, "m")) as log:
        (answer,) = log.ask(asking("一"), OPTIONS)
        assert (answer.text, answer.tries, log.retries) == ("好", 2, 1)
    assert rows(tmp_path / "calls.jsonl")[0]["tries"] == 2
