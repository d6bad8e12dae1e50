"""Prefetch: results in order, the next ones being worked out by threads of this process."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from queue import SimpleQueue
from threading import Thread
from typing import Generic, TypeVar

from mlpdata.errors import UsageError

Result = TypeVar("Result")

NAME = "mlpdata-loader"
"""How the threads are called."""


def ahead(work: Callable[[int], Result], numbers: range, threads: int, depth: int) -> Generator[Result]:
    """`work` of each of `numbers`, in order, whatever the number of threads; they end with the generator.

    Args:
        work: called in a thread; what it raises is raised here when its number is due.
        numbers: of the tasks.
        threads: thread k has every `threads`-th task from k on; 0 works in the thread of the caller.
        depth: results that are worked out before they are asked for.

    Raises:
        UsageError: it goes on in a fork of the process that began it, which has no such threads.
    """
    lanes = [_Lane(work, numbers[first::threads]) for first in range(min(threads, len(numbers)))]
    if not lanes:
        yield from map(work, numbers)
        return
    begun_by = os.getpid()
    try:
        for place in range(min(depth, len(numbers))):
            lanes[place % len(lanes)].release()
        for place in range(len(numbers)):
            if os.getpid() != begun_by:
                raise UsageError("expected to go on in the process that began, found a fork of it. Begin a new loop.")
            result = lanes[place % len(lanes)].result()
            if place + depth < len(numbers):
                lanes[(place + depth) % len(lanes)].release()
            yield result
    finally:
        for lane in lanes:
            lane.stop()
        for lane in lanes:
            lane.join()


class _Failure(Exception):  # noqa: N818  a parcel, not an error of its own
    """What a task raised, on its way to the consumer."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error


class _Lane(Generic[Result]):
    """One thread and its share of the tasks.

    Two queues written in C hand over in a few microseconds; a Future takes ten times as long, as long as a batch.
    """

    def __init__(self, work: Callable[[int], Result], numbers: range) -> None:
        self._work, self._numbers, self._stopped = work, numbers, False
        self._released: SimpleQueue[None] = SimpleQueue()
        self._done: SimpleQueue[Result | _Failure] = SimpleQueue()
        self._thread = Thread(target=self._run, name=NAME, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        for number in self._numbers:
            self._released.get()
            if self._stopped:
                return
            try:
                self._done.put(self._work(number))
            except BaseException as error:  # noqa: BLE001  raised again in the thread of the consumer
                self._done.put(_Failure(error))

    def release(self) -> None:
        """Let the thread begin one more task."""
        self._released.put(None)

    def result(self) -> Result:
        """The next result, waited for."""
        found = self._done.get()
        if isinstance(found, _Failure):
            raise found.error
        return found

    def stop(self) -> None:
        """Let the thread end after the task it is at."""
        self._stopped = True
        self._released.put(None)

    def join(self) -> None:
        """Wait until it has ended."""
        self._thread.join()
