"""Requests that depend on earlier answers, many under way at once, with the same result whatever comes first.

The order of events is fixed: on_answer(i - window), then compose(i), then on_answer(i - window + 1), then compose(i + 1). What
is composed can therefore depend on the answers that were handed out, and on nothing else: not on how many were under way,
which came first, or where an earlier run was killed (its answers are in the log).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import nullcontext
from dataclasses import dataclass

from belle import logs
from belle.inference.backend import Answer, Request
from belle.inference.call_log import CallLog, Spent
from belle.sections import GenerationSection

Compose = Callable[[int], Request | None]
OnAnswerInOrder = Callable[[int, Request, Answer], None]

DONE = "done"


@dataclass(slots=True)
class _Asked:
    """Not handed out yet. `cost` is its worst case; nothing when the log handed out its answer before."""

    request: Request
    cost: Spent
    free: bool
    future: Future[Answer] | None
    answer: Answer | None = None


def ask_in_order(
    log: CallLog,
    compose: Compose,
    options: GenerationSection,
    window: int,
    on_answer: OnAnswerInOrder,
    *,
    name: str = "asking",
    total: int | None = None,
) -> str:
    """Ask what `compose` writes until it returns None or the budget ends; returns why it ended.

    `compose(i)` is called for i = 0, 1, 2, ... and `on_answer(i, request, answer)` for each request, in this order, both in
    this thread. compose(i) comes after on_answer(i - window) and, unless the budget makes it wait, before the next: a slow
    answer holds up only what is `window` behind it. Answers with finish "error" are handed out like others.

    Where the backend has `submit`, up to its concurrency of requests are under way at once (`window` should be several times
    that); others get batches of `window`.

    The budget is kept with what is known in this order: the cost of the answers that were handed out, and the worst case
    (prompt and `max_new_tokens`) of those under way. When the next request could pass a limit, it waits for answers; when none
    is under way and it still could, the end is there and that request is let go. Requests are counted exactly; tokens and
    money as well as `backend.count` knows a prompt's tokens.

    Args:
        log: the backend and its earlier answers.
        compose: writes request i; None ends.
        options: how all are answered.
        window: how far an answer may be behind, at least 1. Another window is another result.
        on_answer: takes an answer in.
        name: stands before the progress bar.
        total: requests that are expected, for the bar; absent means the budget's, if it has one.

    Returns:
        "done", or the limit: "budget of 500 requests".

    Raises:
        BelleError: the endpoint's trouble. What was answered is in the log; the same call again goes on there.
    """
    at_once = hasattr(log.backend, "submit")
    asked: deque[_Asked] = deque()
    spent, handed_out = log.spent, 0
    expected = total or log.budget.requests

    def take() -> None:
        """Hand out the oldest."""
        nonlocal spent, handed_out
        oldest = asked[0]
        if oldest.future:
            oldest.answer = oldest.future.result()
        elif oldest.answer is None:
            rest = [one for one in asked if one.answer is None]
            for one, answer in zip(rest, log.ask([one.request for one in rest], options), strict=True):
                one.answer = answer
        asked.popleft()
        assert oldest.answer is not None
        spent += Spent() if oldest.free else log.cost(oldest.answer)
        on_answer(handed_out, oldest.request, oldest.answer)
        handed_out += 1
        if bar:
            bar.step(1, f"{spent.tokens} tokens" + (f", {spent.money:.4g} money" if spent.money else ""))

    with logs.Bar(name, expected) if expected else nullcontext() as bar:
        try:
            ended = ""
            while not ended:
                if len(asked) >= window:
                    take()
                request = compose(handed_out + len(asked))
                if request is None:
                    ended = DONE
                    break
                free = log.charged(log.key(request, options))
                cost = Spent() if free else log.worst(request, options)
                while limit := log.passed(sum((one.cost for one in asked), spent + cost)):
                    if not asked:
                        ended = limit
                        break
                    take()
                if not ended:
                    asked.append(_Asked(request, cost, free, log.submit(request, options) if at_once else None))
            while asked:
                take()
        except BaseException:
            log.give_up()
            raise
    return ended
