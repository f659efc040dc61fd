"""Jobs in threads: results in order, and one failure ends all."""

from __future__ import annotations

import time

import pytest

from belle.errors import BelleError
from belle.release.file_blocks import Progress
from belle.release.parallel import in_threads


def test_results_come_in_the_order_of_the_jobs() -> None:
    def job(number: int) -> object:
        def work(progress: Progress) -> int:
            time.sleep(0.02 * (3 - number))
            progress(number)
            return number

        return work

    counts: list[int] = []
    assert in_threads([job(n) for n in range(4)], 4, counts.append) == [0, 1, 2, 3]  # type: ignore[list-item]
    assert sum(counts) == 6
    assert in_threads([], 3, counts.append) == []


def test_the_first_failure_stops_the_others() -> None:
    def endless(progress: Progress) -> None:
        for _ in range(3000):
            time.sleep(0.01)
            progress(1)

    def failing(progress: Progress) -> None:
        time.sleep(0.05)
        raise BelleError("a wrong key")

    started = time.monotonic()
    with pytest.raises(BelleError, match="a wrong key"):
        in_threads([endless, failing, endless, endless], 2, lambda count: None)
    assert time.monotonic() - started < 5
