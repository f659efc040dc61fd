from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
from openai_server import Reply, Seen, chat, events, serving

from belle.errors import BelleError
from belle.inference.backend import Answer, Request, connect
from belle.inference.fake_backend import FakeBackend
from belle.inference.openai_backend import OpenAIBackend
from belle.records import Message, ToolCall
from belle.sections import BackendSection, GenerationSection

HELLO = Request((Message("user", "你好"),), id="a")
OPTIONS = GenerationSection(max_new_tokens=50)


def ask(
    reply: Callable[[Seen], Reply] | Reply, request: Request = HELLO, options: GenerationSection = OPTIONS, **keys: Any
) -> Answer:
    make = reply if callable(reply) else lambda seen: reply
    with serving(make) as (url, _):
        return OpenAIBackend(url, "m", **({"retries": 0} | keys)).generate([request], options)[0]


def streamed(reply: Reply, options: GenerationSection = OPTIONS) -> tuple[list[str], Answer]:
    pieces = []
    with serving(lambda seen: reply) as (url, _):
        stream = OpenAIBackend(url, "m", retries=0).stream(HELLO, options)
        while True:
            try:
                pieces.append(next(stream))
            except StopIteration as end:
                return pieces, end.value


def test_what_it_sends_and_what_it_reads() -> None:
    with serving(lambda seen: chat("你也好😀", usage=(11, 4))) as (url, seen):
        answer = OpenAIBackend(url + "/", "qwen", "secret").generate([HELLO], OPTIONS)[0]
    assert answer == Answer("你也好😀", "stop", 11, 4)
    assert seen[0].path == "/v1/chat/completions"
    assert seen[0].headers["authorization"] == "Bearer secret"
    assert seen[0].body == {
        "model": "qwen", "messages": [{"role": "user", "content": "你好"}], "max_tokens": 50, "temperature": 0.0,
    }  # fmt: skip


def test_options_that_are_not_the_usual_are_sent_and_the_seed_follows_the_request() -> None:
    options = GenerationSection(temperature=0.7, top_p=0.9, top_k=20, repetition_penalty=1.1, stop=("完",), seed=3)
    other = Request((Message("user", "你好"),), id="b")
    with serving(lambda seen: chat("好")) as (url, seen):
        backend = OpenAIBackend(url, "m")
        for request in (HELLO, HELLO, other):
            backend.generate([request], options)
    body = seen[0].body
    assert {name: body[name] for name in ("top_p", "top_k", "repetition_penalty", "stop")} == {
        "top_p": 0.9, "top_k": 20, "repetition_penalty": 1.1, "stop": ["完"],
    }  # fmt: skip
    assert seen[1].body["seed"] == body["seed"] != seen[2].body["seed"]
    assert 0 <= body["seed"] < 1 << 31
    assert "authorization" not in seen[0].headers


def test_a_tools_answer_names_its_call() -> None:
    calls = (ToolCall("weather", '{"city": "北京"}', "c1"), ToolCall("time", "{}", "c2"))
    messages = (Message("user", "?"), Message("assistant", "", calls), Message("tool", "晴"), Message("tool", "三点"))
    with serving(lambda seen: chat("好")) as (url, seen):
        OpenAIBackend(url, "m").generate([Request(messages, tools=({"type": "function"},))], OPTIONS)
    assert [row.get("tool_call_id") for row in seen[0].body["messages"]] == [None, None, "c1", "c2"]
    assert seen[0].body["tools"] == [{"type": "function"}]


def test_answers_stand_in_the_order_of_the_requests() -> None:
    requests = [Request((Message("user", str(n)),)) for n in range(20)]
    said: list[int] = []
    with serving(lambda seen: chat("a" + seen.body["messages"][0]["content"])) as (url, _):
        answers = OpenAIBackend(url, "m", concurrency=5).generate(requests, OPTIONS, lambda index, answer: said.append(index))
    assert [answer.text for answer in answers] == [f"a{n}" for n in range(20)]
    assert sorted(said) == list(range(20))


def test_no_more_are_under_way_than_allowed() -> None:
    now, most, lock = 0, 0, threading.Lock()

    def reply(seen: Seen) -> Reply:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        threading.Event().wait(0.02)
        with lock:
            now -= 1
        return chat("好")

    with serving(reply) as (url, _):
        OpenAIBackend(url, "m", concurrency=3).generate([HELLO] * 12, OPTIONS)
    assert most == 3


def test_tokens_are_estimated_where_the_endpoint_does_not_count() -> None:
    assert ask(chat("今天天气好", usage=None)) == Answer("今天天气好", "stop", 2 + 4, 5, estimated=True)
    odd = Reply(body=b'{"choices": [{"message": {"content": "ok"}}], "usage": {"prompt_tokens": -1, "completion_tokens": "9"}}')
    assert ask(odd).estimated


def test_an_answer_that_was_cut_says_so() -> None:
    assert ask(chat("从前", finish="length")).finish == "length"


def test_stop_texts_hold_where_the_endpoint_does_not_obey_them() -> None:
    assert ask(chat("一。完。二", finish="length"), options=GenerationSection(stop=("完",))).text == "一。"
    assert ask(chat("一。完。二", finish="length"), options=GenerationSection(stop=("完",))).finish == "stop"


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (chat(""), "the reply is empty"),
        (chat(" \n"), "the reply is empty"),
        (chat(None), "the reply is empty"),
        (chat("", finish="length"), "raise max_new_tokens"),
        (chat(None, refusal="I cannot"), "the model refuses: I cannot"),
        (chat(None, tool_calls=[{"id": "x"}]), "calls a tool"),
        (chat("", finish="content_filter"), "filter"),
        (Reply(400, b'{"error": {"message": "context length exceeded"}}'), "HTTP 400: 'context length exceeded'"),
        (Reply(413, b"too large"), "HTTP 413: 'too large'"),
        (Reply(422, b'{"detail": "seed: extra"}'), "HTTP 422: 'seed: extra'"),
        (Reply(body=b'{"choices": [{"message": {"content": "' + b"x" * 10_000_001 + b'"}}]}'), "larger than 10 MB"),
    ],
)
def test_what_is_no_answer_says_why(reply: Reply, why: str) -> None:
    answer = ask(reply)
    assert (answer.finish, answer.text.strip()) == ("error", "")
    assert why in answer.error


def test_half_a_character_is_no_fault() -> None:
    cut = Reply(body=b'{"choices": [{"message": {"content": "\\u96e8\\ud83d"}, "finish_reason": "length"}]}')
    assert ask(cut).text == "雨\ufffd"


def test_an_endpoint_that_knows_another_name_of_the_limit() -> None:
    def reply(seen: Seen) -> Reply:
        if "max_tokens" in seen.body:
            return Reply(400, b'{"error": {"message": "Unsupported parameter: use max_completion_tokens instead"}}')
        return chat("好")

    with serving(reply) as (url, seen):
        backend = OpenAIBackend(url, "m", concurrency=1)
        answers = backend.generate([HELLO, HELLO], OPTIONS)
    assert [answer.text for answer in answers] == ["好", "好"]
    assert ["max_tokens" in one.body for one in seen] == [True, False, False], "it learns once"
    assert seen[2].body["max_completion_tokens"] == 50


def test_a_stream_is_the_answer_in_pieces() -> None:
    pieces, answer = streamed(events(["你", "好\u2028", "🀄", "", None, "\x85 ok"]))
    assert pieces == ["你", "好\u2028", "🀄", "\x85 ok"]
    assert answer == Answer("你好\u2028🀄\x85 ok", "stop", 7, 9)


def test_a_stream_never_shows_half_a_character() -> None:
    chunks = [b'{"choices": [{"delta": {"content": "a\\ud83d"}}]}', b'{"choices": [{"delta": {"content": "\\ude00b\\ud83d"}}]}']
    chunks.append(b'{"choices": [{"delta": {}, "finish_reason": "length"}]}')
    body = b"".join(b"data:" + chunk + b"\n\n" for chunk in chunks) + b"data: [DONE]\n\n"
    pieces, answer = streamed(Reply(body=body, headers={"Content-Type": "text/event-stream; charset=utf-8"}))
    assert pieces == ["a", "😀b", "\ufffd"]
    assert (answer.text, answer.finish, answer.estimated) == ("a😀b\ufffd", "length", True)


def test_a_stream_ends_at_a_stop_text_that_lies_across_pieces() -> None:
    pieces, answer = streamed(events(["一", "#", "#", "二"]), GenerationSection(stop=("##",)))
    assert ("".join(pieces), answer.text, answer.finish) == ("一", "一", "stop")


@pytest.mark.parametrize(
    ("reply", "text", "why"),
    [
        (events(["从", "前"], done=False, finish=None), "从前", "broke off"),
        (Reply(body=events(["从前"]).body, cut=80, headers={"Content-Type": "text/event-stream"}), "从前", "broke"),
        (
            Reply(body=b'data: {"error": {"message": "out of memory"}}\n\n', headers={"Content-Type": "text/event-stream"}),
            "",
            "out of",
        ),
        (Reply(body=b"data: {]\n\n", headers={"Content-Type": "text/event-stream"}), "", "no JSON"),
        (Reply(400, b"too long"), "", "HTTP 400"),
        (events([]), "", "the reply is empty"),
    ],
)
def test_a_stream_that_breaks_is_an_error_with_what_came(reply: Reply, text: str, why: str) -> None:
    pieces, answer = streamed(reply)
    assert ("".join(pieces), answer.text, answer.finish) == (text, text, "error")
    assert why in answer.error


def test_a_stream_without_done_is_whole_where_it_says_how_it_ended() -> None:
    assert streamed(events(["好"], done=False))[1].finish == "stop"


def test_an_endpoint_that_does_not_stream_is_read_whole() -> None:
    assert streamed(chat("你好", usage=(1, 2))) == (["你好"], Answer("你好", "stop", 1, 2))


def test_embeddings_stand_in_the_order_of_the_texts() -> None:
    def reply(seen: Seen) -> Reply:
        rows = [{"index": n, "embedding": [len(text), n]} for n, text in enumerate(seen.body["input"])]
        return Reply(body=json.dumps({"data": rows[::-1]}).encode())

    with serving(reply) as (url, seen):
        vectors = OpenAIBackend(url, "e").embed(["x" * n for n in range(150)])
    assert [vector[0] for vector in vectors] == list(range(150))
    assert sorted(len(one.body["input"]) for one in seen) == [22, 64, 64]
    assert {one.path for one in seen} == {"/v1/embeddings"}


def test_texts_that_have_no_embedding_are_an_error() -> None:
    with serving(lambda seen: Reply(400, b"input is too long")) as (url, _), pytest.raises(BelleError, match="input is too long"):
        OpenAIBackend(url, "e").embed(["x"])
    short = Reply(body=b'{"data": [{"index": 0, "embedding": [1]}]}')
    with serving(lambda seen: short) as (url, _), pytest.raises(BelleError, match="does not hold 2 embeddings"):
        OpenAIBackend(url, "e", retries=0).embed(["x", "y"])


def test_the_prompts_tokens_are_estimated() -> None:
    backend = OpenAIBackend("http://127.0.0.1:1/v1", "m")
    assert backend.count(HELLO) == 2 + 4
    assert backend.count(Request((Message("assistant", "", (ToolCall("wind", "{}"),)),), tools=({"a": 1},))) == 2 + 2 + 4


def test_the_real_client_sends_what_we_send() -> None:
    """Oracle: the wire format of OpenAI's own client library, where it is installed."""
    openai = pytest.importorskip("openai")
    with serving(lambda seen: chat("好")) as (url, seen):
        client = openai.OpenAI(base_url=url, api_key="k")
        client.chat.completions.create(model="m", messages=[{"role": "user", "content": "你好"}], max_tokens=50, temperature=0.0)
        OpenAIBackend(url, "m", "k").generate([HELLO], OPTIONS)
    theirs, ours = seen
    assert (theirs.path, theirs.body, theirs.headers["authorization"]) == (ours.path, ours.body, ours.headers["authorization"])


def test_connect_opens_what_the_recipe_names() -> None:
    endpoint = connect(BackendSection(model="m", base_url="http://127.0.0.1:1/v1"), "")
    assert isinstance(endpoint, OpenAIBackend)
    assert isinstance(connect(BackendSection(model="echo", backend="fake")), FakeBackend)
    with pytest.raises(BelleError, match="base_url is absent"):
        connect(BackendSection(model="m", backend="openai"))
    with pytest.raises(BelleError, match="takes no base_url"):
        connect(BackendSection(model="m", backend="fake", base_url="http://x/v1"))
    with pytest.raises(BelleError, match="unknown backend 'opnai'"):
        connect(BackendSection(model="m", backend="opnai"))
