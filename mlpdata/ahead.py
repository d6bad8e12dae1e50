"""Ahead: outputs are read in order, small ones by worker processes before it is their turn.

Workers import this module alone, not the store. What they send home does not depend on how many there are.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import NamedTuple

from mlpdata.discover import Output
from mlpdata.errors import InputError, UsageError
from mlpdata.frames import by_block
from mlpdata.runs import Event, read_output

IN_WORKER = 16 << 20
"""Files up to this size may be read by worker processes; larger ones stream through this one, block by block."""
WORTH_WORKERS = 8
"""Fewer files than this are read sooner than a worker process starts."""
TOGETHER = 1 << 20
"""Bytes of files that a worker reads at a time: a message costs as much for one small file as for many."""


class Whole(NamedTuple):
    """A file that was read whole, as far as it can be."""

    events: list[Event]
    error: InputError | None = None
    """What ended the reading."""

    def replayed(self) -> Iterator[Event]:
        """What `read_output` gives."""
        yield from self.events
        if self.error is not None:
            raise self.error


_Ahead = tuple[list[Output], Future[list[Whole]] | None]


def streams(outputs: Sequence[Output], jobs: int) -> Iterator[tuple[Output, Iterable[Event]]]:
    """Each output with the stream of its runs, in order.

    Raises:
        UsageError: a worker process was killed.
    """
    if jobs <= 1 or len(outputs) < WORTH_WORKERS:
        yield from ((output, read_output(output)) for output in outputs)
        return
    try:
        with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
            ahead: deque[_Ahead] = deque()
            for batch, in_worker in _batches(outputs, jobs):
                ahead.append((batch, pool.submit(read_whole, batch) if in_worker else None))
                if len(ahead) > 4 * jobs:
                    yield from _arrived(*ahead.popleft())
            while ahead:
                yield from _arrived(*ahead.popleft())
    except BrokenProcessPool as error:
        raise UsageError(
            "expected reading processes to live, found one killed, most often for want of memory. "
            "Nothing was committed; use --jobs 1."
        ) from error


def read_whole(outputs: Iterable[Output]) -> list[Whole]:
    """Read outputs in a worker process; an error costs its own file only, and there what comes after it."""
    found = []
    for output in outputs:
        events: list[Event] = []
        try:
            events.extend(read_output(output))
            found.append(Whole(events))
        except InputError as error:
            found.append(Whole(events, error))
    return found


def _batches(outputs: Sequence[Output], jobs: int) -> Iterator[tuple[list[Output], bool]]:
    """The outputs in order, those that are read together in one list, and whether a worker may read them."""
    sizes = [sum(file.path.stat().st_size for file in output.files) for output in outputs]
    together = min(TOGETHER, sum(sizes) // (4 * jobs))
    for batch in by_block(((size, (size, output)) for size, output in zip(sizes, outputs, strict=True)), together):
        yield [output for _, output in batch], batch[0][0] <= IN_WORKER


def _arrived(batch: list[Output], future: Future[list[Whole]] | None) -> Iterator[tuple[Output, Iterable[Event]]]:
    if future is None:
        return ((output, read_output(output)) for output in batch)
    return zip(batch, (whole.replayed() for whole in future.result()), strict=True)
