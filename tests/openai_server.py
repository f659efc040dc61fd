"""An endpoint in this process that does what a test tells it: `with serving(reply) as (url, seen): ...`."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Seen:
    """A request that came in; names of headers are in small letters."""

    path: str
    headers: dict[str, str]
    body: Any


@dataclass
class Reply:
    """What goes back: `cut` closes the connection after so many bytes."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None
    wait: float = 0.0


def chat(text: str | None, finish: str = "stop", usage: tuple[int, int] | None = (3, 5), **message: Any) -> Reply:
    body: dict[str, Any] = {"choices": [{"message": {"role": "assistant", "content": text} | message, "finish_reason": finish}]}
    if usage:
        body["usage"] = {"prompt_tokens": usage[0], "completion_tokens": usage[1]}
    return Reply(body=json.dumps(body).encode())


def events(pieces: Sequence[Any], done: bool = True, finish: str | None = "stop") -> Reply:
    chunks = [{"choices": [{"delta": {"content": piece}}]} for piece in pieces]
    chunks += [{"choices": [{"delta": {}, "finish_reason": finish}]}] if finish else []
    chunks += [{"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 9}}]
    lines = [b"data: " + json.dumps(chunk, ensure_ascii=False).encode("utf-8", "surrogatepass") for chunk in chunks]
    lines += [b"data: [DONE]"] if done else []
    return Reply(body=b": hello\n\n" + b"\r\n\r\n".join(lines) + b"\n\n", headers={"Content-Type": "text/event-stream"})


@contextmanager
def serving(reply: Callable[[Seen], Reply]) -> Iterator[tuple[str, list[Seen]]]:
    """(the endpoint's base_url, all that came in)."""
    seen: list[Seen] = []
    over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            one = Seen(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
            seen.append(one)
            answer = reply(one)
            over.wait(answer.wait)
            self.send_response(answer.status)
            for name, value in ({"Content-Length": str(len(answer.body))} | answer.headers).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body[: answer.cut])
            if answer.cut is not None:
                self.close_connection = True

        def log_message(self, *args: object) -> None:
            pass

        def handle_one_request(self) -> None:
            try:
                super().handle_one_request()
            except ConnectionError:
                self.close_connection = True

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1", seen
    finally:
        over.set()
        server.shutdown()
        server.server_close()
