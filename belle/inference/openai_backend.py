"""A model behind an endpoint that speaks OpenAI's chat protocol: vLLM, llama.cpp, Ollama, `belle serve`, or one that is paid for.

Protocol: POST {base_url}/chat/completions and {base_url}/embeddings; streams are server-sent events that end with `[DONE]`.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, as_completed
from dataclasses import replace
from queue import SimpleQueue
from typing import Any

from belle import logs
from belle.inference.backend import Answer, Finish, OnAnswer, Request, Stream
from belle.inference.characters import estimated_tokens, whole
from belle.inference.endpoint import AgainError, Endpoint, RequestError, parsed
from belle.inference.streaming import StopTexts
from belle.jsonl import dumps
from belle.records import message_dict
from belle.runs import sha256_text
from belle.sections import GenerationSection

CHAT, EMBEDDINGS = "/chat/completions", "/embeddings"
TEXTS_AT_ONCE = 64
"""Texts of one request for embeddings."""
_A_MESSAGE = 4
"""Tokens that a template puts around a message, about."""

Job = tuple["Future[Any]", Callable[[], Any]]


class OpenAIBackend:
    """A `Backend`; the arguments are the keys of `BackendSection`, and those of `Endpoint`.

    Sampled requests carry a seed made of the options' seed, the id and the messages; whether it is obeyed is the endpoint's
    matter. A request that the endpoint refuses (400, 413, 422), or answers with nothing, becomes an `Answer` with finish
    "error"; trouble with the endpoint itself is a `BelleError`.

    Raises:
        BelleError: base_url is no address.
    """

    name = "openai"
    context: int | None = None

    def __init__(
        self, base_url: str, model: str, key: str | None = None, *, concurrency: int = 8, requests_per_minute: int | None = None,
        timeout: float = 120.0, retries: int = 6, key_variable: str = "OPENAI_API_KEY",
    ) -> None:  # fmt: skip
        self.model = model
        self._endpoint = Endpoint(base_url, key, key_variable, model, requests_per_minute, timeout, retries)
        self._limit = "max_tokens"  # or max_completion_tokens, where the endpoint asks for it
        self._concurrency = concurrency
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._workers = 0
        self._lock = threading.Lock()
        weakref.finalize(self, _dismiss, self._jobs, concurrency)

    @property
    def retries(self) -> Mapping[str, int]:
        """reason -> how often a request was tried again for it."""
        return self._endpoint.retries

    def submit(self, request: Request, options: GenerationSection) -> Future[Answer]:
        """Answer one request in another thread; at most `concurrency` are under way."""
        return self._in_background(lambda: self._answer(request, options))

    def generate(
        self, requests: Sequence[Request], options: GenerationSection, on_answer: OnAnswer | None = None
    ) -> list[Answer]:
        """Answer all requests; `on_answer` is called in this thread.

        Raises:
            BelleError: the endpoint's trouble; what was answered before went to `on_answer`.
        """
        futures = {self.submit(request, options): index for index, request in enumerate(requests)}
        answers: dict[int, Answer] = {}
        try:
            for future in as_completed(futures):
                index = futures[future]
                answers[index] = future.result()
                if on_answer:
                    on_answer(index, answers[index])
        finally:
            for future in futures:
                future.cancel()
        return [answers[index] for index in range(len(requests))]

    def stream(self, request: Request, options: GenerationSection) -> Stream:
        """Yield an answer as it comes. A connection that breaks in the middle ends it with finish "error".

        Raises:
            BelleError: the endpoint's trouble, before the first piece.
        """
        body = self._body(request, options) | {"stream": True, "stream_options": {"include_usage": True}}
        stops = StopTexts(options.stop)
        pieces: list[str] = []
        finish, error, usage, held = "", "", None, ""
        try:
            with self._endpoint.stream(CHAT, body) as (events, lines):
                for event in _events(lines) if events else [parsed(b"\n".join(lines))]:
                    text, ended, used = _piece(event)
                    finish, usage, held = ended or finish, used or usage, held + text
                    # half of a surrogate pair waits for its other half
                    held, now = (held[-1:], held[:-1]) if "\ud800" <= held[-1:] <= "\udbff" else ("", held)
                    if piece := stops.push(whole(now)):
                        pieces.append(piece)
                        yield piece
                    if stops.found:
                        break
        except (AgainError, RequestError) as failure:
            error = str(failure)
        if piece := stops.push(whole(held)) + stops.finish():
            pieces.append(piece)
            yield piece
        answer = self._counted(request, "".join(pieces), "stop" if stops.found else _finish(finish), usage)
        return replace(answer, finish="error", error=error) if error else _nothing(answer, {})

    def count(self, request: Request) -> int:
        """An estimate: only the endpoint knows its tokenizer."""
        texts = [message.content for message in request.messages]
        texts += [call.name + call.arguments for message in request.messages for call in message.tool_calls]
        texts += [dumps(dict(tool)) for tool in request.tools]
        return sum(map(estimated_tokens, texts)) + _A_MESSAGE * len(request.messages)

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """[len(texts)][dimension] the endpoint's embeddings.

        Raises:
            BelleError: the endpoint's trouble, or it does not take these texts.
        """
        parts = [list(texts[at : at + TEXTS_AT_ONCE]) for at in range(0, len(texts), TEXTS_AT_ONCE)]

        def ask(part: list[str]) -> list[list[float]]:
            return self._endpoint.post(
                EMBEDDINGS, {"model": self.model, "input": part}, lambda reply: _vectors(reply, len(part))
            )[0]

        futures = [self._in_background(lambda part=part: ask(part)) for part in parts]  # type: ignore[misc]
        try:
            return [vector for future in futures for vector in future.result()]
        except RequestError as error:
            self._endpoint.fail(f"it makes no embeddings of these texts: {error}", "is this a model for embeddings?")
        finally:
            for future in futures:
                future.cancel()

    def _in_background(self, work: Callable[[], Any]) -> Future[Any]:
        future: Future[Any] = Future()
        self._jobs.put((future, work))
        with self._lock:
            if self._workers < self._concurrency:
                self._workers += 1
                # Daemons: an interrupted program ends at once, and does not wait for the endpoint.
                threading.Thread(target=_work, args=(self._jobs,), daemon=True).start()
        return future

    def _answer(self, request: Request, options: GenerationSection) -> Answer:
        for limit in (self._limit, "max_completion_tokens"):
            try:
                answer, tries = self._endpoint.post(
                    CHAT, self._body(request, options), lambda reply: self._read(request, options, reply)
                )
                return replace(answer, tries=tries)
            except RequestError as error:
                if limit == "max_completion_tokens" or "max_completion_tokens" not in str(error):
                    return Answer("", "error", 0, 0, str(error))
                if self._limit != "max_completion_tokens":
                    logs.say(f"{self.model}: the limit of an answer is called max_completion_tokens here")
                    self._limit = "max_completion_tokens"
        raise AssertionError("the second try returns")

    def _body(self, request: Request, options: GenerationSection) -> dict[str, Any]:
        messages = _messages(request)
        body: dict[str, Any] = {"model": self.model, "messages": messages, self._limit: options.max_new_tokens}
        body["temperature"] = options.temperature
        if options.temperature:
            body["seed"] = int(sha256_text(f"{options.seed} {request.id} {dumps(whole(messages))}")[:8], 16) >> 1
        if request.tools:
            body["tools"] = [dict(tool) for tool in request.tools]
        if options.stop:
            body["stop"] = list(options.stop)
        for name, usual in (("top_p", 1.0), ("top_k", 0), ("repetition_penalty", 1.0)):  # the last two are vLLM's and others'
            if getattr(options, name) != usual:
                body[name] = getattr(options, name)
        return body

    def _read(self, request: Request, options: GenerationSection, reply: Any) -> Answer:
        content, ended, usage = _piece(reply)
        try:
            message = reply["choices"][0]["message"]
            message.get("content")
        except (LookupError, TypeError, AttributeError) as error:
            raise AgainError("the reply has no choices[0].message", str(reply)[:200]) from error
        stops = StopTexts(options.stop)  # not every endpoint obeys `stop`
        text = stops.push(whole(content)) + stops.finish()
        finish: Finish = "stop" if stops.found else _finish(ended)
        return _nothing(self._counted(request, text, finish, usage), message)

    def _counted(self, request: Request, text: str, finish: Finish, usage: Any) -> Answer:
        usage = usage if isinstance(usage, Mapping) else {}
        prompt, answer = usage.get("prompt_tokens"), usage.get("completion_tokens")
        if all(type(count) is int and count >= 0 for count in (prompt, answer)):
            return Answer(text, finish, prompt, answer)
        return Answer(text, finish, self.count(request), estimated_tokens(text), estimated=True)


def _messages(request: Request) -> list[dict[str, Any]]:
    """OpenAI's messages; a tool's answer names the call that it answers, the calls being answered in their order."""
    messages, open_calls = [], []
    for message in request.messages:
        row = message_dict(message)
        if message.tool_calls:
            open_calls = [call["id"] for call in row["tool_calls"]]
        elif message.role == "tool" and open_calls:
            row["tool_call_id"] = open_calls.pop(0)
        messages.append(row)
    return messages


def _finish(reason: str) -> Finish:
    return "length" if reason == "length" else "error" if reason == "content_filter" else "stop"


def _nothing(answer: Answer, message: Mapping[str, Any]) -> Answer:
    """The answer; one without text as an error that says why there is none."""
    if answer.finish == "error":
        return replace(answer, error="the endpoint's filter stopped the answer")
    if answer.text.strip():
        return answer
    if message.get("refusal"):
        why = f"the model refuses: {str(whole(message['refusal']))[:200]}"
    elif message.get("tool_calls"):
        why = "the reply calls a tool and has no text"
    elif answer.finish == "length":
        why = "the reply is empty: all its tokens went into thoughts that are not shown; raise max_new_tokens"
    else:
        why = "the reply is empty"
    return replace(answer, finish="error", error=why)


def _events(lines: Iterator[bytes]) -> Iterator[Any]:
    ended = False
    for line in lines:
        if line.startswith(b"data:"):
            data = line[5:].strip()
            if data == b"[DONE]":
                return
            event = parsed(data)
            ended = ended or bool(_piece(event)[1])
            yield event
    if not ended:
        raise AgainError("the stream broke off")


def _piece(event: Any) -> tuple[str, str, Any]:
    """(text, finish reason, usage) of one event, or of a whole reply."""
    if not isinstance(event, Mapping) or event.get("error"):
        raise AgainError("the reply is an error", str(event)[:200])
    choices = event.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else {}
    choice = choice if isinstance(choice, Mapping) else {}
    delta = choice.get("delta") or choice.get("message")
    text = delta.get("content") if isinstance(delta, Mapping) else None
    return text if isinstance(text, str) else "", str(choice.get("finish_reason") or ""), event.get("usage")


def _vectors(reply: Any, count: int) -> list[list[float]]:
    rows = reply.get("data") if isinstance(reply, Mapping) else None
    try:
        vectors = {row["index"]: [float(x) for x in row["embedding"]] for row in rows}  # type: ignore[union-attr]
        return [vectors[index] for index in range(count)]
    except (TypeError, KeyError, ValueError) as error:
        raise AgainError(f"the reply does not hold {count} embeddings") from error


def _work(jobs: SimpleQueue[Job | None]) -> None:
    while (job := jobs.get()) is not None:
        future, work = job
        if not future.set_running_or_notify_cancel():
            continue
        try:
            result = work()
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(result)
        del job, future, work  # or they live on until the next one comes, and the backend with them


def _dismiss(jobs: SimpleQueue[Job | None], workers: int) -> None:
    for _ in range(workers):
        jobs.put(None)
