"""The loop of generation: requests written from seeds and accepted records, answers judged in their order.

Everything that is decided depends on the inputs, the seed and the answers in the order of the requests, never on time: a run that
was killed and resumed, with whatever concurrency, accepts the same records in the same order. To that end request i is written
from what was known when answer i - window was in (`View`), and an earlier run's answers are replayed from its call log.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from belle.curation.classify import asked, classify
from belle.curation.items import Drop
from belle.curation.kinds import Kind, Reject, View
from belle.curation.novelty import Novelty
from belle.curation.quotas import Quotas
from belle.curation.replayed import Replayed
from belle.curation.texts import instruction_text
from belle.records import Conversation, record_dict
from belle.sections import GenerationSection

if TYPE_CHECKING:
    from belle.inference.backend import Answer, Request
    from belle.inference.call_log import CallLog

GENERATED, REJECTED = "generated.jsonl", "rejected.jsonl"
LONGEST = 4000
"""Characters of an answer that a row of rejected.jsonl shows; the call log has all of it."""
MOST = 1_000_000
"""Characters of an answer that is looked at; a longer one is a fault of the endpoint."""
THOUGHTS = ("thought",)
"""Reasons that belong to a good answer: counted, not written; the call log has the text."""
Filter = Callable[[Any], Any]


@dataclass(frozen=True)
class Plan:
    """What a run wants and refuses.

    Args:
        count: records that are wanted; None for as many as the kind's requests give.
        novelty: the Jaccard similarity of character or word pairs from which a text is not new.
        window: how far an answer may be behind (`in_order.ask_in_order`).
        patience: answers in a row without an accepted record after which nothing more is expected.
        filters: (name, filter) of cleaning steps that each candidate must pass.
    """

    kind: str
    count: int | None
    novelty: float
    window: int
    patience: int
    seed: int
    options: GenerationSection
    filters: Sequence[tuple[str, Filter]] = ()


@dataclass
class Outcome:
    """How a run went. `counts` are (step, reason) -> how many; `ended` is why it stopped."""

    accepted: int = 0
    answers: int = 0
    candidates: int = 0
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    classes: Counter[str] = field(default_factory=Counter)
    ended: str = ""

    @property
    def rejected(self) -> int:
        """All that was not accepted, thoughts aside."""
        return sum(self.counts.values())


class SelfInstruct:
    """One run.

    Args:
        kind: what is made.
        seeds: what is shown and, where the kind says so, what the new must differ from.
        known: more records that the new must differ from.
        quotas: None for none.
        folder: the run folder, for generated.jsonl and rejected.jsonl.
    """

    def __init__(
        self, plan: Plan, kind: Kind, seeds: Sequence[Conversation], known: Sequence[Conversation], quotas: Quotas | None,
        folder: Path,
    ) -> None:  # fmt: skip
        self.plan, self.kind, self.seeds, self.quotas, self.folder = plan, kind, seeds, quotas, folder
        self.outcome = Outcome()
        self._accepted: list[Conversation] = []
        self._known: list[int] = [0]  # after n answers, how many were accepted
        self._full: list[tuple[int, frozenset[str]]] = [(0, frozenset())]  # (after so many answers, the classes without room)
        self._idle = [0]  # after n answers, how many in a row gave nothing
        self._novelty = Novelty(plan.novelty)
        if kind.against_seeds:
            texts = {text: str(record.id or record.source) for record in [*seeds, *known] if (text := instruction_text(record))}
            self._novelty.add_many(list(texts), list(texts.values()))

    def run(self, log: CallLog, on_progress: Callable[[Outcome], None] = lambda outcome: None) -> Outcome:
        """Ask until there is enough, the budget ends, the requests are used up, or nothing new comes.

        Raises:
            BelleError: the endpoint's trouble, a full disk; what was accepted is on the disk, and the same run goes on there.
        """
        from belle.inference.in_order import DONE, ask_in_order

        outcome = self.outcome
        with Replayed(self.folder / GENERATED) as generated, Replayed(self.folder / REJECTED) as rejected:

            def take(i: int, request: Request, answer: Answer) -> None:
                self._take(i, request, answer, generated, rejected)
                on_progress(outcome)

            while not outcome.ended:
                base, wanted = outcome.answers, self._wanted()
                ended = ask_in_order(
                    log, lambda i, base=base, wanted=wanted: self._compose(i, base, wanted), self.plan.options,  # type: ignore[misc]
                    self.plan.window, lambda i, request, answer, base=base: take(base + i, request, answer),  # type: ignore[misc]
                    name=self.plan.kind, total=wanted,
                )  # fmt: skip
                if ended != DONE:
                    outcome.ended = ended
                elif self.plan.count is not None and outcome.accepted >= self.plan.count:
                    outcome.ended = "enough"
                elif self.kind.total is not None and outcome.answers >= self.kind.total:
                    outcome.ended = "all requests are answered"
                elif self._hopeless(outcome.answers):
                    outcome.ended = f"nothing accepted from {self.plan.patience} answers in a row"
            generated.check_end()
            rejected.check_end()
        return outcome

    def _wanted(self) -> int:
        """How many requests the next phase has: what is missing by the yield so far, and never beyond patience."""
        left = None if self.kind.total is None else self.kind.total - self.outcome.answers
        if self.plan.count is None:
            assert left is not None
            return left
        missing = self.plan.count - self.outcome.accepted
        yield_ = self.outcome.accepted / self.outcome.answers if self.outcome.answers else float(self.kind.per_request)
        wanted = math.ceil(missing / max(yield_, 1 / self.plan.patience))
        return wanted if left is None else min(wanted, left)

    def _compose(self, i: int, base: int, wanted: int) -> Request | None:
        """Request base + i, from what was known when the answer `window` before it was in; None behind the phase's last."""
        number = base + i
        seen = max(base, number - self.plan.window + 1)
        if i >= wanted or self._hopeless(seen):
            return None
        place = bisect_right(self._full, seen, key=lambda entry: entry[0]) - 1
        random = Random(f"{self.plan.seed} {self.plan.kind} {number}")
        return self.kind.compose(number, View(random, self.seeds, self._accepted, self._known[seen], self._full[place][1]))

    def _hopeless(self, answers: int) -> bool:
        """Whether, after so many answers, nothing more is expected; requests that are given are all worth a try."""
        return self.kind.total is None and self._idle[answers] >= self.plan.patience

    def _take(self, i: int, request: Request, answer: Answer, generated: Replayed, rejected: Replayed) -> None:
        outcome, before = self.outcome, self.outcome.accepted
        outcome.answers += 1
        source = f"calls.jsonl:{request.id}"

        def refuse(step: str, drop: Drop, row: Any) -> None:
            outcome.counts[step, drop.reason] += 1
            rejected.write({"source": source, "step": step, "reason": drop.reason, "detail": drop.detail, "row": _short(row)})

        if answer.finish == "error":
            refuse("answer", Drop("no answer", answer.error), None)
        elif len(answer.text) > MOST:
            refuse("answer", Drop("answer too long", f"{len(answer.text)} characters"), answer.text)
        else:
            for one in self.kind.read(i, answer):
                if isinstance(one, Reject):
                    if one.reason not in THOUGHTS:
                        refuse("read", Drop(one.reason, one.detail), one.row)
                    continue
                outcome.candidates += 1
                record = self._named(one.record, i)
                refused = self._refused(record, one.new)
                if refused is not None:
                    refuse(*refused, record_dict(record))
                    continue
                generated.write(record_dict(record) | {"source": source})
                self._accept(record, one.new)
        self._idle.append(0 if outcome.accepted > before else self._idle[-1] + 1)
        self._known.append(outcome.accepted)
        if self.quotas is not None and self.quotas.full != self._full[-1][1]:
            self._full.append((outcome.answers, self.quotas.full))

    def _named(self, record: Conversation, i: int) -> Conversation:
        """With a class and an id of its own."""
        category = record.category or classify([asked(record)])[0][0]
        return replace(record, category=category, id=record.id or f"{self.plan.kind}-{i:06d}-{self.outcome.candidates:06d}")

    def _refused(self, record: Conversation, text: str) -> tuple[str, Drop] | None:
        """(step, why) a candidate is not accepted; None accepts it."""
        for name, passes in self.plan.filters:
            found = passes(record)
            if found is not None:
                return name, found if isinstance(found, Drop) else Drop(found)
        near = self._novelty.nearest(text)
        if near is not None:
            return "novelty", Drop("duplicate" if near[0] == 1 else "near duplicate", f"{near[0]:.3f} with {near[1]}")
        if self.quotas is not None and (drop := self.quotas.refuse(record.category, text)):
            return "quotas", drop
        if self.plan.count is not None and self.outcome.accepted >= self.plan.count:
            return "count", Drop("more than was wanted")
        return None

    def _accept(self, record: Conversation, text: str) -> None:
        self._novelty.add(text, record.id)
        self._accepted.append(record)
        if self.quotas is not None:
            self.quotas.add(record.category, text)
        self.outcome.accepted += 1
        self.outcome.classes[record.category] += 1


def _short(row: Any) -> Any:
    if isinstance(row, dict):
        return {key: _short(value) for key, value in row.items()}
    if isinstance(row, list):
        return [_short(value) for value in row]
    if isinstance(row, str) and len(row) > LONGEST:
        return f"{row[:LONGEST]} ... ({len(row)} characters; all of them are in calls.jsonl)"
    return row
