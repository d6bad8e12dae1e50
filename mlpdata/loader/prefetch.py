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


def ahead(
    work: Callable[[int], Result], numbers: range, threads: int, depth: int, together: int = 1
) -> Generator[Result]:
    """`work` of each of `numbers`, in order, whatever the number of threads; they end with the generator.

    A thread that hands over one small result at a time spends more on waking the consumer than on the work.

    Args:
        work: called in a thread; what it raises is raised here when its number is due.
        numbers: of the tasks.
        threads: thread k has every `threads`-th group of tasks from k on; 0 works in the thread of the caller.
        depth: results that are worked out before they are asked for, one group a thread at least.
        together: results in a group, which is handed over at once.

    Raises:
        UsageError: it goes on in a fork of the process that began it, which has no such threads.
    """
    groups = range(0, len(numbers), together)
    lanes = [_Lane(work, numbers, groups[first::threads], together) for first in range(min(threads, len(groups)))]
    if not lanes:
        yield from map(work, numbers)
        return
    begun_by, released = os.getpid(), max(depth // together, len(lanes))
    try:
        for place in range(min(released, len(groups))):
            lanes[place % len(lanes)].release()
        for place in range(len(groups)):
            if os.getpid() != begun_by:
                raise UsageError("expected to go on in the process that began, found a fork of it. Begin a new loop.")
            results = lanes[place % len(lanes)].results()
            if place + released < len(groups):
                lanes[(place + released) % len(lanes)].release()
            for result in results:
                if isinstance(result, _Failure):
                    raise result.error
                yield result
    finally:
        for lane in lanes:
            lane.stop()
        for lane in lanes:
            lane.join()


class _Failure:
    """What a task raised, on its way to the consumer."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


class _Lane(Generic[Result]):
    """One thread and its share of the tasks; its queues are written in C, a Future takes several times as long."""

    def __init__(self, work: Callable[[int], Result], numbers: range, groups: range, together: int) -> None:
        self._work, self._numbers, self._groups, self._together = work, numbers, groups, together
        self._stopped = False
        self._released: SimpleQueue[None] = SimpleQueue()
        self._done: SimpleQueue[list[Result | _Failure]] = SimpleQueue()
        self._thread = Thread(target=self._run, name=NAME, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        for first in self._groups:
            self._released.get()
            results: list[Result | _Failure] = []
            for number in self._numbers[first : first + self._together]:
                if self._stopped:
                    return
                try:
                    results.append(self._work(number))
                except BaseException as error:  # noqa: BLE001  raised again in the thread of the consumer
                    results.append(_Failure(error))
                    break
            self._done.put(results)

    def release(self) -> None:
        """Let the thread begin one more group."""
        self._released.put(None)

    def results(self) -> list[Result | _Failure]:
        """The next group, waited for."""
        return self._done.get()

    def stop(self) -> None:
        """Let the thread end after the task it is at."""
        self._stopped = True
        self._released.put(None)

    def join(self) -> None:
        """Wait until it has ended."""
        self._thread.join()
