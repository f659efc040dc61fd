"""Jobs in threads that stop together: the first that fails ends the others at their next block."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import TypeVar

from belle.release.file_blocks import Progress

T = TypeVar("T")
WORKERS = 4 * (os.cpu_count() or 1)


class _StoppedError(Exception):
    """Another job failed."""


def in_threads(jobs: Sequence[Callable[[Progress], T]], workers: int | None, progress: Progress) -> list[T]:
    """Run jobs side by side and return their results in the order of the jobs.

    Args:
        jobs: each is given a function that it calls with the bytes it has done, at every block.
        workers: threads; None is four times the cores, so that these have work while others wait for the disk.
            Reading, XOR, SHA-256 and writing all leave the interpreter's lock.
        progress: is called with those bytes, never by two threads at once.

    Raises:
        Exception: what the first job that failed raised, once all others have stopped.
    """
    stop, lock = threading.Event(), threading.Lock()

    def counted(count: int) -> None:
        if stop.is_set():
            raise _StoppedError
        with lock:
            progress(count)

    with ThreadPoolExecutor(max(1, min(workers or WORKERS, len(jobs)))) as pool:
        futures = [pool.submit(job, counted) for job in jobs]
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
        finally:  # all done, or one failed, or Ctrl-C
            if not all(future.done() for future in futures):
                stop.set()
                for future in futures:
                    future.cancel()
    failed = [error for future in futures if not future.cancelled() and (error := future.exception()) is not None]
    failed.sort(key=lambda error: isinstance(error, _StoppedError))
    if failed:
        raise failed[0]
    return [future.result() for future in futures]
