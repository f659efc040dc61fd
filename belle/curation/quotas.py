"""Shares that no class and no single task may pass, so that 'write a poem' does not drown the rest."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping

from belle.curation.items import Drop
from belle.curation.verb_object import verb_object
from belle.data.categories import CLASSES


class Quotas:
    """Limits in records of `count`, the number that is wanted in the end; they do not depend on what came first.

    Args:
        count: records that are wanted.
        each: the largest share of a class; None for no limit.
        classes: class -> its own largest share.
        task: the largest share of one verb with one object, such as 写 诗; None for no limit. At least two are always let in.
    """

    def __init__(self, count: int, each: float | None, classes: Mapping[str, float], task: float | None) -> None:
        shares = {name: classes.get(name, each) for name in CLASSES}
        self.limits = {name: math.ceil(share * count - 1e-9) for name, share in shares.items() if share is not None}
        self.task_limit = None if task is None else max(2, math.ceil(task * count - 1e-9))
        self.classes: Counter[str] = Counter()
        self.tasks: Counter[tuple[str, str]] = Counter()

    @property
    def room(self) -> int | None:
        """The most records that can be let in; None where that is not limited."""
        return sum(self.limits.values()) if len(self.limits) == len(CLASSES) else None

    @property
    def full(self) -> frozenset[str]:
        """Classes that take no more."""
        return frozenset(name for name, limit in self.limits.items() if self.classes[name] >= limit)

    def refuse(self, category: str, instruction: str) -> Drop | None:
        """Why there is no more room for such a record."""
        limit = self.limits.get(category)
        if limit is not None and self.classes[category] >= limit:
            return Drop("class is full", f"{category}: {limit}")
        pair = self._pair(instruction)
        if pair is not None and self.task_limit is not None and self.tasks[pair] >= self.task_limit:
            return Drop("task is full", f"{' '.join(pair)}: {self.task_limit}")
        return None

    def add(self, category: str, instruction: str) -> None:
        """Count a record that was let in."""
        self.classes[category] += 1
        pair = self._pair(instruction)
        if pair is not None:
            self.tasks[pair] += 1

    def _pair(self, instruction: str) -> tuple[str, str] | None:
        pair = verb_object(instruction) if self.task_limit is not None else None
        return pair if pair is not None and pair[1] else None
