from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from itertools import count
from typing import Any

import pytest
from openai_server import Reply, Seen, chat, serving

import belle.inference.endpoint as module
from belle.errors import BelleError
from belle.inference.endpoint import AgainError, Endpoint, RequestError

GOOD = chat("好")


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Waits take no time and are noted here."""
    waits: list[float] = []
    sleep = Endpoint._sleep

    def at_once(self: Endpoint, seconds: float) -> None:
        if seconds > 0:
            waits.append(seconds)
        with self._lock:
            self._paused_until = 0.0
        sleep(self, 0.0)

    monkeypatch.setattr(Endpoint, "_sleep", at_once)
    return waits


def connect(url: str, key: str | None = None, rate: int | None = None, timeout: float = 5.0, retries: int = 4) -> Endpoint:
    return Endpoint(url, key, "MY_KEY", "qwen", rate, timeout, retries)


def text_of(reply: Any) -> str:
    try:
        return str(reply["choices"][0]["message"]["content"])
    except (TypeError, LookupError) as error:
        raise AgainError("the reply is odd") from error


def post(endpoint: Endpoint) -> tuple[str, int]:
    return endpoint.post("/chat/completions", {"x": "你"}, text_of)


def first(*replies: Reply) -> Callable[[Seen], Reply]:
    """These first, then a good one."""
    number = count()

    def reply(seen: Seen) -> Reply:
        place = next(number)
        return replies[place] if place < len(replies) else GOOD

    return reply


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (Reply(429, b"busy"), "HTTP 429"),
        (Reply(500, b"<html>" * 1000), "HTTP 500"),
        (Reply(503), "HTTP 503"),
        (Reply(408), "HTTP 408"),
        (Reply(body=b'{"choices": ['), "the reply is no JSON"),
        (Reply(body=b"[" * 100_000), "the reply is no JSON"),
        (Reply(body=b"[]"), "the reply is odd"),
        (Reply(body=b'{"a": 1}', cut=3), "connection lost"),
        (Reply(body=b"\x1f\x8b not gzip", headers={"Content-Encoding": "gzip"}), "connection lost"),
    ],
)
def test_what_may_pass_is_tried_again_and_counted(bad: Reply, reason: str, slept: list[float]) -> None:
    with serving(first(bad, bad)) as (url, seen):
        endpoint = connect(url)
        assert post(endpoint) == ("好", 3)
    assert len(seen) == 3
    assert endpoint.retries == {reason: 2}
    assert 0.25 <= slept[0] <= 0.5 <= slept[1] <= 1, "each wait is longer"


def test_a_silent_endpoint_is_given_up_and_tried_again(slept: list[float]) -> None:
    with serving(first(Reply(wait=2.0))) as (url, _):
        endpoint = connect(url, timeout=0.1)
        assert post(endpoint) == ("好", 2)
    assert endpoint.retries == {"timed out": 1}


def test_a_reply_that_drips_for_ever_is_given_up(slept: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("httpx.Response.iter_bytes", lambda self: (time.sleep(0.02) or b" " for _ in count()))
    with (
        serving(lambda seen: GOOD) as (url, _),
        pytest.raises(BelleError, match=r"timed out, 2 times in a row: no end after 0\.1 s"),
    ):
        post(connect(url, timeout=0.1, retries=1))


def test_it_waits_as_long_as_the_endpoint_says(slept: list[float]) -> None:
    date = format_datetime(datetime.now(timezone.utc) + timedelta(seconds=90), usegmt=True)
    bad = [Reply(429, headers={"Retry-After": value}) for value in ("7", date, "soon", "-3", "nan")]
    with serving(first(*bad)) as (url, _):
        post(connect(url, retries=5))
    assert 7 <= slept[0] <= 7.25
    assert 88 <= slept[1] <= 90.25
    assert 1 <= slept[2] <= 2, "nothing that is a time: the usual wait"
    assert all(wait < 9 for wait in slept[3:])


def test_all_wait_when_the_endpoint_asks_one_to() -> None:
    with serving(first(Reply(429, headers={"Retry-After": "0.3"}))) as (url, seen):
        endpoint = connect(url)
        started = time.monotonic()
        one = threading.Thread(target=post, args=(endpoint,))
        one.start()
        while not endpoint.retries:
            time.sleep(0.005)
        post(endpoint)
        assert time.monotonic() - started >= 0.3
        one.join()
    assert len(seen) == 3


def test_it_does_not_wait_for_an_hour() -> None:
    with serving(lambda seen: Reply(429, headers={"Retry-After": "3600"})) as (url, _), pytest.raises(BelleError, match="3600 s"):
        post(connect(url))


def test_the_rate_limit_is_kept() -> None:
    with serving(lambda seen: GOOD) as (url, seen):
        endpoint = connect(url, rate=1200)
        started = time.monotonic()
        threads = [threading.Thread(target=post, args=(endpoint,)) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert time.monotonic() - started >= 5 * 60 / 1200
    assert len(seen) == 6


@pytest.mark.parametrize(
    ("reply", "message", "fix"),
    [
        (Reply(401, b'{"error": {"message": "Incorrect key: top-secret"}}'), r"HTTP 401: 'Incorrect key: \*\*\*'", "MY_KEY"),
        (Reply(403, b"no"), "HTTP 403: 'no'", "MY_KEY"),
        (Reply(404, b'{"detail": "Not Found"}'), "HTTP 404: 'Not Found'", "'qwen'"),
        (Reply(402, b"pay"), "HTTP 402", "no money or quota"),
        (Reply(429, b'{"error": {"code": "insufficient_quota", "message": "quota"}}'), "HTTP 429: 'quota'", "no money or quota"),
        (Reply(301, headers={"Location": "https://new/v1"}), "moved to 'https://new/v1'", "base_url"),
        (Reply(418, b"teapot"), "HTTP 418: 'teapot'", "base_url"),
    ],
)
def test_what_cannot_pass_is_one_clear_error(reply: Reply, message: str, fix: str) -> None:
    with serving(lambda seen: reply) as (url, seen), pytest.raises(BelleError, match=message) as error:
        post(connect(url, "top-secret"))
    assert len(seen) == 1
    assert url in error.value.message
    assert "model 'qwen'" in error.value.message
    assert "top-secret" not in str(error.value)
    assert fix in error.value.fix


def test_a_missing_key_is_told_from_a_wrong_one() -> None:
    with serving(lambda seen: Reply(401)) as (url, _), pytest.raises(BelleError) as error:
        post(connect(url))
    assert "is not set" in error.value.fix


def test_a_key_that_cannot_be_one_is_refused() -> None:
    with pytest.raises(BelleError, match="the key in MY_KEY"):
        connect("http://x/v1", "钥匙")
    with pytest.raises(BelleError, match="the key in MY_KEY"):
        connect("http://x/v1", "a\nb")


def test_an_endpoint_that_never_answered_is_soon_given_up(slept: list[float]) -> None:
    with pytest.raises(BelleError, match="unreachable, 3 times in a row") as error:
        post(connect("http://127.0.0.1:9/v1", retries=50))
    assert "start the endpoint, or mend backend.base_url" in error.value.fix


def test_the_fault_is_the_endpoints_where_nothing_is_answered(slept: list[float]) -> None:
    with serving(lambda seen: Reply(500, b"out of memory")) as (url, seen):
        with pytest.raises(BelleError, match="HTTP 500, 5 times in a row: 'out of memory'"):
            post(connect(url))
        assert len(seen) == 5


def test_the_fault_is_the_requests_where_others_are_answered_meanwhile(slept: list[float]) -> None:
    other = threading.Event()

    def reply(seen: Seen) -> Reply:
        if seen.path.endswith("bad"):
            other.wait(5)
            return Reply(500, b"out of memory")
        return GOOD

    with serving(reply) as (url, _):
        endpoint = connect(url)
        failures: list[Exception] = []

        def ask_the_bad() -> None:
            try:
                endpoint.post("/bad", {}, text_of)
            except RequestError as error:
                failures.append(error)

        thread = threading.Thread(target=ask_the_bad)
        thread.start()
        while not endpoint._under_way:
            time.sleep(0.001)
        time.sleep(0.02)
        post(endpoint)
        other.set()
        thread.join(5)
    assert [str(error) for error in failures] == ["HTTP 500, 5 times in a row: 'out of memory'"]


def test_when_one_meets_trouble_the_others_give_up_as_well() -> None:
    busy = threading.Event()

    def reply(seen: Seen) -> Reply:
        if seen.path.endswith("busy"):
            busy.set()
            return Reply(429, headers={"Retry-After": "500"})
        return Reply(401)

    failures: list[BelleError] = []

    def wait_long() -> None:
        try:
            endpoint.post("/busy", {}, text_of)
        except BelleError as error:
            failures.append(error)

    with serving(reply) as (url, _):
        endpoint = connect(url)
        thread = threading.Thread(target=wait_long)
        thread.start()
        busy.wait(5)
        while not endpoint.retries:
            time.sleep(0.005)
        endpoint._paused_until = 0.0  # or this one would wait as well
        with pytest.raises(BelleError, match="HTTP 401"):
            endpoint.post("/key", {}, text_of)
        thread.join(5)
        assert [error.message for error in failures] == [f"the endpoint {url} (model 'qwen'): HTTP 401: ''"]


def test_a_packed_reply_is_unpacked_and_its_size_limited() -> None:
    packed = Reply(body=gzip.compress(GOOD.body), headers={"Content-Encoding": "gzip"})
    bomb = Reply(body=gzip.compress(b" " * (module.MOST_BYTES + 1)), headers={"Content-Encoding": "gzip"})
    with serving(first(packed, bomb)) as (url, _):
        endpoint = connect(url)
        assert post(endpoint) == ("好", 1)
        with pytest.raises(RequestError, match="larger than 10 MB"):
            post(endpoint)


@pytest.mark.parametrize("url", ["", "127.0.0.1:8000/v1", "ftp://x/v1", "http://", "http://[::1", "http://x/v1?key=1"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(BelleError, match="base_url"):
        connect(url)


def test_the_address_of_a_method_is_refused() -> None:
    with pytest.raises(BelleError, match="the address of one method"):
        connect("http://x/v1/chat/completions")


def test_half_characters_in_a_request_are_mended() -> None:
    with serving(lambda seen: GOOD) as (url, seen):
        connect(url).post("/x", {"text": "雨\ud83d"}, text_of)
    assert seen[0].body == {"text": "雨\ufffd"}
