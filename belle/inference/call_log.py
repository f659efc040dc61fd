"""Every request and its raw answer on the disk, so that no request is paid for twice.

A row of `calls.jsonl`: key, id, model, messages, tools, options, answer, finish, error, tokens, seconds, tries. A resumed run
asks the same things again and is answered from the file; a judge uses the same file as its cache. What failed because of the
request stands there too and is not asked again; what failed because of the endpoint does not.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

from belle import logs
from belle.errors import BelleError
from belle.inference.backend import Answer, Backend, OnAnswer, Request
from belle.inference.characters import whole
from belle.jsonl import Appender, dumps, read_rows
from belle.records import message_dict
from belle.runs import sha256_text
from belle.sections import BackendSection, BudgetSection, GenerationSection

NAME = "calls.jsonl"
"""The file's name in a run folder."""


@dataclass(frozen=True, slots=True)
class Price:
    """Of a million tokens of prompts, and of answers, in the currency of `BudgetSection.money`."""

    prompt: float = 0.0
    answer: float = 0.0


@dataclass(frozen=True, slots=True)
class Spent:
    """Requests that were answered, tokens of prompts and answers together, and money."""

    requests: int = 0
    tokens: int = 0
    money: float = 0.0

    def __add__(self, other: Spent) -> Spent:
        return Spent(self.requests + other.requests, self.tokens + other.tokens, self.money + other.money)


PATIENCE = 10
"""Seconds that an interrupted run gives to answers that are under way."""
FREE = Price()
NO_LIMIT = BudgetSection()


class BudgetError(BelleError):
    """What is left of the budget is less than the next request may cost. What was answered is in the log."""


class CallLog:
    """A backend, and all that it was asked. Several threads may use one log.

    Two requests are the same when id, messages, tools, options and the model's name are: give each request an id that says
    what it is for, and the same question may be asked twice on purpose.

    Args:
        path: the log, `calls.jsonl` in a run folder. An earlier one is read, a torn last line is cut off.
        backend: what answers. With a method `submit(request, options) -> Future[Answer]`, as endpoints have, many requests are
            under way at once.
        price: of its tokens.
        budget: limits that `ask` and `in_order.ask_in_order` keep.
        model: the name in the keys; absent means `backend.model`, else `backend.name`.

    Attributes:
        asked: requests that went to the backend since this object was made.
        replayed: requests that were answered from the file.
    """

    def __init__(
        self, path: Path, backend: Backend, price: Price = FREE, budget: BudgetSection = NO_LIMIT, model: str = ""
    ) -> None:
        self.path, self.backend, self.price, self.budget = path, backend, price, budget
        self.model = model or str(getattr(backend, "model", backend.name))
        self.asked = self.replayed = 0
        self._lock = threading.RLock()
        self._answers: dict[str, Answer] = {}
        self._under_way: dict[str, Future[Answer]] = {}
        self._inner: dict[str, Future[Answer]] = {}
        self._charged: set[str] = set()
        self._spent = Spent()
        self._closed = False
        if path.exists():
            for number, row in enumerate(read_rows(path), 1):
                key, answer = _entry(row, path, number)
                self._answers[key] = answer
        self._file = Appender(path)

    @classmethod
    def open(cls, path: Path, backend: Backend, section: BackendSection, budget: BudgetSection = NO_LIMIT) -> CallLog:
        """The log of a backend that `connect(section, key)` opened: price and name are the section's."""
        return cls(path, backend, Price(section.input_price, section.output_price), budget, section.model)

    @property
    def spent(self) -> Spent:
        """What the answers cost that were handed out, replayed ones as well: a resumed run has the same budget left.

        The same request again costs nothing.
        """
        return self._spent

    @property
    def retries(self) -> int:
        """How often the backend tried again."""
        return sum(getattr(self.backend, "retries", {}).values())

    def key(self, request: Request, options: GenerationSection) -> str:
        """The sha256 of what makes two requests the same."""
        return sha256_text(dumps({"id": request.id, "model": self.model} | _asked(request, options)))

    def cost(self, answer: Answer) -> Spent:
        """What one answer costs."""
        return self._cost(answer.prompt_tokens, answer.answer_tokens)

    def worst(self, request: Request, options: GenerationSection) -> Spent:
        """What a request may cost at most, as far as `backend.count` knows its prompt's tokens (for an endpoint: an estimate)."""
        return self._cost(self.backend.count(request), options.max_new_tokens)

    def passed(self, spent: Spent) -> str:
        """Which limit so much would pass, such as `budget of 500 requests`; empty when none."""
        for name, limit in (("requests", self.budget.requests), ("tokens", self.budget.tokens), ("money", self.budget.money)):
            if limit is not None and getattr(spent, name) > limit:
                return f"budget of {limit:g} money" if name == "money" else f"budget of {limit} {name}"
        return ""

    def charged(self, key: str) -> bool:
        """Whether the answer to this request was handed out already, so that it costs nothing more."""
        return key in self._charged

    def ask(self, requests: Sequence[Request], options: GenerationSection, on_answer: OnAnswer | None = None) -> list[Answer]:
        """Answer all requests, in their order, from the file where they stand there.

        `on_answer(index, answer)` is called in this thread as each is ready, in any order, when it is on the disk.

        Raises:
            BudgetError: the budget does not reach. What it reaches for is asked first and is in the log.
            BelleError: the endpoint's trouble, after what was answered is in the log.
        """
        answers: dict[int, Answer] = {}
        keys = [self.key(request, options) for request in requests]

        def hand_out(index: int, answer: Answer) -> None:
            self._charge(keys[index], answer)
            answers[index] = answer
            if on_answer:
                on_answer(index, answer)

        mine: dict[str, int] = {}
        rest: list[int] = []  # the same as one of mine, or asked by another thread just now
        with self._lock:
            known = {index: self._answers[key] for index, key in enumerate(keys) if key in self._answers}
            for index, key in enumerate(keys):
                if index in known:
                    continue
                if key in mine or key in self._under_way:
                    rest.append(index)
                else:
                    mine[key] = index
                    self._under_way[key] = Future()
            self.replayed += len(known)
        try:
            for index, answer in known.items():
                hand_out(index, answer)
            todo = list(mine.values())
            while todo:
                batch = todo[: self._affordable([requests[index] for index in todo], options)]
                todo = todo[len(batch) :]
                self._generate([requests[index] for index in batch], [keys[index] for index in batch], options,
                               partial(_at, batch, hand_out))  # fmt: skip
        except BaseException as error:
            with self._lock:
                for future in [self._under_way.pop(key) for key in mine if key in self._under_way]:
                    future.set_exception(error)
            raise
        for index in rest:
            with self._lock:
                waiting = self._under_way.get(keys[index])
                answer_there = self._answers.get(keys[index])
            if answer_there is None and waiting is None:  # another thread gave up on it
                answer_there = self.ask([requests[index]], options)[0]
            else:
                self.replayed += 1
            hand_out(index, answer_there or waiting.result())  # type: ignore[union-attr]
        return [answers[index] for index in range(len(requests))]

    def submit(self, request: Request, options: GenerationSection) -> Future[Answer]:
        """One request; its answer is on the disk when the future has it. The budget is the caller's to watch.

        Only where the backend has `submit`.
        """
        key = self.key(request, options)
        with self._lock:
            if key in self._answers:
                self.replayed += 1
                done: Future[Answer] = Future()
                self._charge(key, self._answers[key])
                done.set_result(self._answers[key])
                return done
            if key in self._under_way:
                return self._under_way[key]
            outer = self._under_way[key] = Future()
            self.asked += 1
            started = time.monotonic()
            try:
                inner: Future[Answer] = self.backend.submit(request, options)  # type: ignore[attr-defined]
            except BaseException:
                del self._under_way[key]
                raise
            self._inner[key] = inner

        def keep(done: Future[Answer]) -> None:
            try:
                answer = done.result()
                answer = self._keep(key, request, options, answer, time.monotonic() - started)
                self._charge(key, answer)
            except BaseException as error:  # endpoint's trouble, full disk, cancelled: whoever waits is told
                self._forget(key)
                outer.set_exception(error)
            else:
                self._forget(key)
                outer.set_result(answer)

        inner.add_done_callback(keep)
        return outer

    def give_up(self) -> None:
        """Cancel the requests that wait, and give those that are under way some seconds: they are paid for already."""
        with self._lock:
            both = [(inner, self._under_way[key]) for key, inner in self._inner.items()]
        under_way = [outer for inner, outer in both if not inner.cancel()]  # an outer one is done when its answer is kept
        if not wait(under_way, timeout=1).not_done:
            return
        logs.say(f"waiting up to {PATIENCE} s for {len(under_way)} answers that are under way")
        wait(under_way, timeout=PATIENCE)

    def close(self) -> None:
        """No more answers are kept."""
        self._closed = True
        with self._lock:
            self._file.close()

    def __enter__(self) -> CallLog:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _cost(self, prompt: int, answer: int) -> Spent:
        return Spent(1, prompt + answer, (prompt * self.price.prompt + answer * self.price.answer) / 1e6)

    def _affordable(self, requests: Sequence[Request], options: GenerationSection) -> int:
        """How many of the first requests fit into what is left, each at its worst."""
        sum_ = self.spent
        for count, request in enumerate(requests):
            sum_ += self.worst(request, options)
            if limit := self.passed(sum_):
                if count:
                    return count
                fix = "raise the budget and give the same command again: what was answered is kept"
                raise BudgetError(f"the {limit} is used up with {len(requests)} requests unanswered", fix)
        return len(requests)

    def _generate(self, requests: Sequence[Request], keys: Sequence[str], options: GenerationSection, hand_out: OnAnswer) -> None:
        started = time.monotonic()
        with self._lock:
            self.asked += len(requests)

        def keep(place: int, answer: Answer) -> None:
            answer = self._keep(keys[place], requests[place], options, answer, time.monotonic() - started)
            with self._lock:
                self._under_way.pop(keys[place]).set_result(answer)
            hand_out(place, answer)

        self.backend.generate(requests, options, keep)

    def _keep(self, key: str, request: Request, options: GenerationSection, answer: Answer, seconds: float) -> Answer:
        """The answer as a later run will read it."""
        answer = replace(answer, text=whole(answer.text), error=whole(answer.error))
        row = {"key": key, "id": request.id, "model": self.model} | _asked(request, options) | {
            "answer": answer.text, "finish": answer.finish, "error": answer.error, "prompt_tokens": answer.prompt_tokens,
            "answer_tokens": answer.answer_tokens, "estimated": answer.estimated, "tries": answer.tries,
            "seconds": round(seconds, 3),
        }  # fmt: skip
        with self._lock:
            if self._closed:
                raise BelleError(f"{self.path} is closed")
            self._file.write(row)
            self._answers[key] = answer
        return answer

    def _charge(self, key: str, answer: Answer) -> None:
        with self._lock:
            if key not in self._charged:
                self._charged.add(key)
                self._spent += self.cost(answer)

    def _forget(self, key: str) -> None:
        with self._lock:
            self._under_way.pop(key, None)
            self._inner.pop(key, None)


def _at(places: Sequence[int], hand_out: OnAnswer, place: int, answer: Answer) -> None:
    hand_out(places[place], answer)


def _asked(request: Request, options: GenerationSection) -> dict[str, Any]:
    messages = [message_dict(message) for message in request.messages]
    asked = {"messages": messages, "tools": [dict(tool) for tool in request.tools], "options": options.model_dump(mode="json")}
    mended: dict[str, Any] = whole(asked)
    return mended


def _entry(row: Any, path: Path, number: int) -> tuple[str, Answer]:
    lacks = {"key", "answer", "finish", "prompt_tokens", "answer_tokens"} - (row.keys() if isinstance(row, Mapping) else set())
    if lacks:
        raise BelleError(f"{path}:{number}: not a row of a call log, it lacks {', '.join(sorted(lacks))}", "remove that file")
    return str(row["key"]), Answer(
        row["answer"], row["finish"], row["prompt_tokens"], row["answer_tokens"], row.get("error", ""),
        row.get("estimated", False), row.get("tries", 1),
    )  # fmt: skip
