"""An HTTP endpoint that may be busy, slow, broken or hostile: what is asked again, for how long, and whose fault it is."""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any, NoReturn, TypeVar

import httpx

from belle import logs
from belle.errors import BelleError
from belle.inference.characters import whole
from belle.jsonl import dumps

MOST_BYTES = 10_000_000
"""A longer reply is not read to its end."""
TOO_LONG = f"the reply is larger than {MOST_BYTES // 1_000_000} MB"
LONGEST_WAIT = 600.0
"""Seconds; an endpoint that asks for more is not waited for."""
FIRST_TRIES = 3
"""Tries to reach an endpoint that never answered: more likely the address is wrong than the network is down."""

T = TypeVar("T")


class RequestError(Exception):
    """The endpoint cannot answer this request; another one may fare better."""


class AgainError(Exception):
    """Not answered, and worth another try: `reason` counts how often, `detail` is this case's, `wait` the endpoint's wish."""

    def __init__(self, reason: str, detail: str = "", wait: float | None = None) -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason, self.detail, self.wait = reason, detail, wait


class Endpoint:
    """Posts JSON and reads JSON. Several threads may use one.

    A busy (429), failing (5xx), silent, unreachable or babbling endpoint is asked again, after a wait that doubles and has
    some chance in it, or as long as it says in `Retry-After`. When all tries are used up, the fault is the request's if
    other requests were answered meanwhile, and the endpoint's if none was.

    Args:
        base_url: such as http://127.0.0.1:8000/v1.
        key: sent as a bearer token; None sends none.
        key_variable: where the user keeps the key, for error messages.
        model: for error messages.
        requests_per_minute: rate limit, tries counted; None means none.
        timeout: seconds until a try is given up.
        retries: tries after the first.

    Attributes:
        retries: reason -> how often something was tried again for it.
        answered: requests that were answered.

    Raises:
        BelleError: base_url is no such address.
    """

    def __init__(
        self, base_url: str, key: str | None, key_variable: str, model: str, requests_per_minute: int | None, timeout: float,
        retries: int,
    ) -> None:  # fmt: skip
        self.base_url = _checked(base_url)
        self.retries: Counter[str] = Counter()
        self.answered = 0
        self._key, self._key_variable, self._model = key, key_variable, model
        self._timeout, self._tries = timeout, retries + 1
        self._lock = threading.Lock()
        self._pace = 60 / requests_per_minute if requests_per_minute else 0.0
        self._next = self._paused_until = 0.0
        self._under_way = 0
        self._trouble: BelleError | None = None  # as soon as one request meets it, the others give up as well
        self._stop = threading.Event()
        headers = {"Content-Type": "application/json", "User-Agent": "belle"}
        if key:
            if not key.isascii() or not key.isprintable():
                raise BelleError(f"the key in {key_variable} holds letters that no key has", f"export {key_variable}=... anew")
            headers["Authorization"] = f"Bearer {key}"
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
        self._client = httpx.Client(headers=headers, limits=limits, timeout=httpx.Timeout(timeout, pool=None))

    def post(self, path: str, body: Any, read: Callable[[Any], T]) -> tuple[T, int]:
        """(what `read` makes of the reply, tries). `read` may raise `AgainError` and `RequestError`.

        Raises:
            RequestError: this request cannot be answered.
            BelleError: the endpoint's trouble: wrong key, unknown model, no money, unreachable, always busy.
        """
        data = dumps(whole(body)).encode()

        def once() -> T:
            deadline = time.monotonic() + self._timeout
            with self._client.stream("POST", f"{self.base_url}{path}", content=data) as reply:
                received = self._received(reply, deadline)
            self._check(reply, received)
            return read(parsed(received))

        return self._patiently(once)

    @contextmanager
    def stream(self, path: str, body: Any) -> Iterator[tuple[bool, Iterator[bytes]]]:
        """(whether it is a stream of events, the lines of the reply), tried again until the first byte is there.

        Raises:
            RequestError: this request cannot be answered.
            AgainError: the connection broke in the middle.
            BelleError: as `post`.
        """
        data = dumps(whole(body)).encode()

        def once() -> httpx.Response:
            request = self._client.build_request("POST", f"{self.base_url}{path}", content=data)
            reply = self._client.send(request, stream=True)
            if reply.status_code != 200:
                try:
                    self._check(reply, self._received(reply, time.monotonic() + self._timeout))
                finally:
                    reply.close()
            return reply

        reply, _ = self._patiently(once)
        try:
            yield "event-stream" in reply.headers.get("Content-Type", ""), _lines(reply)
        finally:
            reply.close()

    def fail(self, what: str, fix: str) -> NoReturn:
        """The error that names the endpoint and the model."""
        raise BelleError(f"the endpoint {self.base_url} (model {self._model!r}): {what}", fix)

    def _received(self, reply: httpx.Response, deadline: float) -> bytes:
        received = bytearray()
        for piece in reply.iter_bytes():
            received += piece
            if len(received) > MOST_BYTES:
                raise RequestError(TOO_LONG)
            if time.monotonic() > deadline:  # the client's own limit is on the silence between two pieces
                raise AgainError("timed out", f"no end after {self._timeout:g} s")
        return bytes(received)

    def _patiently(self, once: Callable[[], T]) -> tuple[T, int]:
        with self._lock:
            self._under_way += 1
            answered = self.answered
        try:
            for tried in range(1, self._tries + 1):
                self._wait_for_turn()
                try:
                    result = _translated(once)
                except AgainError as again:
                    self._reconsider(again, tried, answered)
                else:
                    with self._lock:
                        self.answered += 1
                    return result, tried
            raise AssertionError("the last try raises")
        except BelleError as error:
            self._trouble = self._trouble or error
            self._stop.set()
            raise
        finally:
            with self._lock:
                self._under_way -= 1
                if not self._under_way:
                    self._trouble = None
                    self._stop.clear()

    def _reconsider(self, again: AgainError, tried: int, answered: int) -> None:
        """Wait for the next try, or give up.

        Args:
            again: why there should be one.
            tried: tries so far.
            answered: requests that were answered before the first of them.
        """
        never = again.reason == "unreachable" and not self.answered
        if tried >= (min(self._tries, FIRST_TRIES) if never else self._tries):
            said = f"{again.reason}, {tried} times in a row" + (f": {again.detail}" if again.detail else "")
            if self.answered > answered and "429" not in again.reason:
                raise RequestError(said)
            self.fail(said, _fix(again.reason))
        wait = min(30.0, 0.5 * 2 ** (tried - 1)) * random.uniform(0.5, 1)
        if again.wait is not None:
            if again.wait > LONGEST_WAIT:
                self.fail(
                    f"it asks to wait for {again.wait:.0f} s", "give the same command again then: what was answered is kept"
                )
            wait = again.wait + random.uniform(0, 0.25) * min(1, again.wait)
            with self._lock:
                self._paused_until = max(self._paused_until, time.monotonic() + again.wait)
        with self._lock:
            self.retries[again.reason] += 1
            first = self.retries[again.reason] == 1
        if first:  # later ones are in the count, which the progress shows
            detail = f" ({again.detail})" if again.detail else ""
            logs.say(f"{self.base_url}: {again.reason}{detail}; tried again, and each time that it happens")
        self._sleep(wait)

    def _wait_for_turn(self) -> None:
        """Until the rate limit lets one more request go, and no pause that the endpoint asked for is on."""
        with self._lock:
            turn = max(time.monotonic(), self._next)
            self._next = turn + self._pace
        self._sleep(turn - time.monotonic())
        while (pause := self._paused_until - time.monotonic()) > 0:
            self._sleep(pause)

    def _sleep(self, seconds: float) -> None:
        if self._stop.wait(max(seconds, 0.0)) and self._trouble:
            raise self._trouble

    def _check(self, reply: httpx.Response, body: bytes) -> None:
        status = reply.status_code
        if 200 <= status < 300:
            return
        said = self._said(body)
        quota = b"insufficient_quota" in body or status == 402
        if status in (408, 409, 425) or status >= 500 or (status == 429 and not quota):
            raise AgainError(f"HTTP {status}", said, _retry_after(reply.headers.get("Retry-After")))
        if status in (400, 413, 422):
            raise RequestError(f"HTTP {status}: {said}")
        if status in (401, 403):
            given = "is wrong or may not use this model" if self._key else "is not set"
            self.fail(f"HTTP {status}: {said}", f"export {self._key_variable}=...: the key there {given}")
        if quota:
            self.fail(f"HTTP {status}: {said}", "the account has no money or quota left; what was answered is kept")
        if status == 404:
            self.fail(
                f"HTTP 404: {said}", f"is there a model {self._model!r}, and does base_url end as it should, mostly in /v1?"
            )
        if 300 <= status < 400:
            self.fail(f"it has moved to {reply.headers.get('Location', '?')!r}", "set backend.base_url to the new address")
        self.fail(f"HTTP {status}: {said}", "look whether backend.base_url is an endpoint that speaks OpenAI's protocol")

    def _said(self, body: bytes) -> str:
        """The words of an error reply, short, and without the key."""
        try:
            value = json.loads(body)
        except (ValueError, RecursionError):
            value = None
        error = value.get("error", value.get("message", value.get("detail"))) if isinstance(value, dict) else None
        if isinstance(error, dict):
            error = error.get("message", error)
        text = str(whole(error)) if error else body[:2000].decode("utf-8", "replace")
        text = " ".join(text.split())
        if self._key:
            text = text.replace(self._key, "***")
        return repr(text[:300] + (" ..." if len(text) > 300 else ""))


def _translated(once: Callable[[], T]) -> T:
    try:
        return once()
    except httpx.TimeoutException as error:
        raise AgainError("timed out") from error
    except httpx.ConnectError as error:
        raise AgainError("unreachable", str(error)) from error
    except httpx.RequestError as error:
        raise AgainError("connection lost", str(error)) from error


def _lines(reply: httpx.Response) -> Iterator[bytes]:
    """Ended by newlines alone: the text in them may hold U+2028 and other marks at which `str.splitlines` cuts."""
    held = b""
    size = 0
    try:
        for piece in reply.iter_bytes():
            size += len(piece)
            if size > MOST_BYTES:
                raise RequestError(TOO_LONG)
            *lines, held = (held + piece).split(b"\n")
            yield from lines
    except httpx.RequestError as error:
        raise AgainError("the connection broke", str(error)) from error
    yield held


def parsed(body: bytes) -> Any:
    """The value of a JSON text; what is none is worth another try."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise AgainError("the reply is no JSON") from error


def _retry_after(value: str | None) -> float | None:
    """Seconds, from a number or a date; None for neither."""
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            when = parsedate_to_datetime(value)
        except ValueError:
            return None
        when = when if when.tzinfo else when.replace(tzinfo=timezone.utc)
        seconds = (when - datetime.now(timezone.utc)).total_seconds()
    return max(seconds, 0.0) if seconds == seconds else None


def _checked(base_url: str) -> str:
    fix = "an address such as http://127.0.0.1:8000/v1"
    try:
        url = httpx.URL(base_url.strip())
    except httpx.InvalidURL as error:
        raise BelleError(f"backend.base_url {base_url!r}: {error}", fix) from error
    if url.scheme not in ("http", "https") or not url.host:
        raise BelleError(f"backend.base_url {base_url!r} is no address of an endpoint", fix)
    if url.path.rstrip("/").endswith("/completions") or url.query:
        raise BelleError(f"backend.base_url {base_url!r} is the address of one method", f"give the part before /chat: {fix}")
    return str(url).rstrip("/")


def _fix(reason: str) -> str:
    kept = "what was answered is kept: the same command goes on"
    if "429" in reason:
        return f"lower backend.concurrency or set backend.requests_per_minute; {kept}"
    if reason == "timed out":
        return f"raise backend.timeout or lower generation.max_new_tokens; {kept}"
    if reason == "unreachable":
        return f"start the endpoint, or mend backend.base_url; {kept}"
    return f"look at the endpoint's own log; {kept}"
