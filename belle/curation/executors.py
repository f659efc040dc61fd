"""Where the shards of a stage are worked on: in this process, in several on this machine, or on a Ray cluster.

An executor takes a task (a picklable function of a shard's number) and gives back results as they come, in any order. All of
them give the same files, because a task writes its shard's file itself and looks at nothing but its shard.
"""

from __future__ import annotations

import contextlib
import json
import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from types import TracebackType
from typing import Any, Protocol

from belle.errors import BelleError, need

Task = Callable[[int], dict[str, Any]]

_AGAIN = "lower workers or shard, and give the same command again: it goes on from here"


class Executor(Protocol):
    """Works on shards. Used in a `with` block; leaving it on an error stops what is under way."""

    def run(self, task: Task, shards: Iterable[int]) -> Iterator[dict[str, Any]]:
        """The result of `task(shard)` for every shard, in the order in which they come.

        Raises:
            BelleError: the first that a task raised, or a worker died.
        """
        ...

    def __enter__(self) -> Executor: ...

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None: ...


class OneProcess:
    """One shard after the other, here."""

    def run(self, task: Task, shards: Iterable[int]) -> Iterator[dict[str, Any]]:
        """See `Executor.run`."""
        yield from map(task, shards)

    def __enter__(self) -> OneProcess:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        pass


class Processes:
    """Several processes on this machine, started when they are first needed and kept until the end."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._pool: ProcessPoolExecutor | None = None
        self._life: Any = None  # open as long as the workers should live

    def run(self, task: Task, shards: Iterable[int]) -> Iterator[dict[str, Any]]:
        """See `Executor.run`."""
        pool = self._start()
        waiting: set[Future[dict[str, Any]]] = set()
        rest = iter(shards)
        try:
            while True:
                while len(waiting) < 2 * self.workers and (shard := next(rest, None)) is not None:
                    waiting.add(pool.submit(task, shard))
                if not waiting:
                    return
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
        except BrokenProcessPool as error:
            raise BelleError("a worker process was killed, most likely because memory ran out", _AGAIN) from error

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        if self._pool is None:
            return
        if kind is not None:
            self._life.close()  # ends the workers at once: what they write is atomic
        with contextlib.suppress(BrokenProcessPool):
            self._pool.shutdown(wait=True, cancel_futures=True)
        self._life.close()

    def _start(self) -> ProcessPoolExecutor:
        if self._pool is None:
            # Spawned, not forked: numpy and tokenizers hold threads that do not survive a fork.
            context = multiprocessing.get_context("spawn")
            reader, self._life = context.Pipe(duplex=False)
            self._pool = ProcessPoolExecutor(self.workers, context, _start_worker, (reader,))
        return self._pool


class Ray:
    """Ray Data on a cluster: the one that `ray.init` finds, else one on this machine. The run folder must be on a shared disk."""

    def __init__(self, workers: int) -> None:
        try:
            import ray
            import ray.data
        except ImportError as error:
            raise need("ray", "ray", "executor=ray") from error
        self.ray, self.workers = ray, workers
        self._mine = not ray.is_initialized()

    def run(self, task: Task, shards: Iterable[int]) -> Iterator[dict[str, Any]]:
        """See `Executor.run`."""
        rows = [{"shard": shard} for shard in shards]
        if not rows:
            return
        if not self.ray.is_initialized():
            self.ray.init(log_to_driver=False, include_dashboard=False, logging_level="ERROR")
        logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # errors are told by us, once
        self.ray.data.DataContext.get_current().enable_progress_bars = False
        data = self.ray.data.from_items(rows, override_num_blocks=len(rows))
        pool = self.ray.data.TaskPoolStrategy(size=self.workers)
        lost = (self.ray.exceptions.WorkerCrashedError, self.ray.exceptions.OutOfMemoryError)
        try:
            for row in data.map(_call, fn_args=(task,), num_cpus=1, compute=pool).iter_rows():
                result = json.loads(row["result"])
                if "error" in result:
                    raise BelleError(*result["error"])
                yield result
        except lost as error:
            raise BelleError("a worker of Ray was killed, most likely because memory ran out", _AGAIN) from error

    def __enter__(self) -> Ray:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        if self._mine and self.ray.is_initialized():
            self.ray.shutdown()


def open_executor(name: str, workers: int, shards: int) -> Executor:
    """The executor that a recipe names: `one`, `processes` or `ray`.

    `workers` 0 is one for each core; there are never more than shards, and `processes` with one worker is this process.
    """
    count = max(1, min(workers or _cores(), shards))
    if name == "ray":
        return Ray(count)
    return Processes(count) if name == "processes" and count > 1 else OneProcess()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _call(row: dict[str, Any], task: Task) -> dict[str, str]:
    """A row of Ray Data: what the task gives back, as JSON, since Ray would want one schema for all shards."""
    try:
        return {"result": json.dumps(task(int(row["shard"])))}
    except BelleError as error:
        return {"result": json.dumps({"error": [error.message, error.fix]})}


def _start_worker(life: Any) -> None:
    """In a worker: Ctrl-C is the main process's business, and the end of the main process, however it comes, is ours too."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        with contextlib.suppress(EOFError, OSError):
            life.recv()  # nothing is ever sent: this returns when the other end is closed
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
