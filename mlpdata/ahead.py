"""Ahead: outputs are read in order, small ones by worker processes before it is their turn.

Workers are processes of this machine, or those of a dask.distributed cluster, which must see the files under the same
paths. They import this module alone, not the store. What they send home does not depend on how many there are, so that
the work of one that dies is done again by another.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from itertools import groupby
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

from mlpdata.discover import Output
from mlpdata.errors import InputError, UsageError
from mlpdata.frames import by_block
from mlpdata.readers.bundles import fetch
from mlpdata.readers.place import Member
from mlpdata.runs import Event, read_output

IN_WORKER = 16 << 20
"""Files up to this size may be read by worker processes; larger ones stream through this one, block by block."""
WORTH_WORKERS = 8
"""Fewer files than this are read sooner than a worker process starts."""
TOGETHER = 1 << 20
"""Bytes of files that a worker reads at a time: a message costs as much for one small file as for many."""
PATIENCE = "30s"
"""How long a scheduler may take to answer."""


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


def streams(outputs: Sequence[Output], jobs: int, scheduler: str = "") -> Iterator[tuple[Output, Iterable[Event]]]:
    """Each output with the stream of its runs: those on disk in order, then those of each archive as they come.

    Args:
        outputs: what is to be read.
        jobs: processes of this machine.
        scheduler: address of a dask.distributed scheduler, to read there.

    Raises:
        UsageError: a worker process was killed, or the scheduler cannot be used.
    """
    if not scheduler and (jobs <= 1 or len(outputs) < WORTH_WORKERS):
        yield from ((output, read_output(output)) for output in _with_bytes(outputs))
        return
    with _executor(jobs, scheduler) as (executor, workers):
        ahead: deque[_Ahead] = deque()
        for batch, in_worker in _batches(outputs, workers):
            ahead.append((batch, executor.submit(read_whole, batch) if in_worker else None))
            if len(ahead) > 4 * workers:
                yield from _arrived(*ahead.popleft())
        while ahead:
            yield from _arrived(*ahead.popleft())


@contextmanager
def _executor(jobs: int, scheduler: str) -> Iterator[tuple[Executor, int]]:
    """Where work is sent, and to how many workers."""
    if scheduler:
        with _cluster(scheduler) as found:
            yield found
        return
    try:
        with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
            yield pool, jobs
    except BrokenProcessPool as error:
        raise UsageError(
            "expected reading processes to live, found one killed, most often for want of memory. "
            "Nothing was committed; use --jobs 1."
        ) from error


@contextmanager
def _cluster(address: str) -> Iterator[tuple[Executor, int]]:
    """The workers of a dask.distributed cluster.

    Raises:
        UsageError: the package is not there, nobody answers, or workers die over and over.
    """
    try:
        distributed = import_module("distributed")  # an extra
    except ModuleNotFoundError:
        raise UsageError(
            "expected the package distributed for --scheduler, found none. Install it by: pip install 'mlpdata[dask]'"
        ) from None
    try:
        client = distributed.Client(address, timeout=PATIENCE, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        raise UsageError(
            f"expected a dask.distributed scheduler at {address}, found none that answers. "
            "`dask scheduler` starts one and prints its address."
        ) from error
    with client:
        try:
            yield client.get_executor(pure=False), max(1, sum(client.nthreads().values()))
        except distributed.KilledWorker as error:
            raise UsageError(
                "expected workers to live, found the same work killing several, most often for want of memory. "
                "Nothing was committed."
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


def _batches(outputs: Sequence[Output], workers: int) -> Iterator[tuple[list[Output], bool]]:
    """The outputs, those that are read together in one list, and whether a worker may read them."""
    together = min(TOGETHER, sum(map(_bytes, outputs)) // (4 * workers))
    sized = ((_bytes(output), output) for output in _with_bytes(outputs))
    for batch in by_block(((size, (size, output)) for size, output in sized), together):
        yield [output for _, output in batch], batch[0][0] <= IN_WORKER


def _bytes(output: Output) -> int:
    return sum(file.size for file in output.files)


def _with_bytes(outputs: Sequence[Output]) -> Iterator[Output]:
    """Outputs on disk as they are; then those in archives with their members' bytes, one passage an archive."""
    yield from (output for output in outputs if isinstance(output.path, Path))
    inside = [(output.path.archive, output) for output in outputs if isinstance(output.path, Member)]
    for archive, some in groupby(sorted(inside, key=lambda one: str(one[0])), lambda one: one[0]):
        by_number = {number: output for number, (_, output) in enumerate(some)}
        bundles = {
            number: [entry for file in output.files for entry in file.entries] for number, output in by_number.items()
        }
        for number, fetched in fetch(archive, bundles):
            yield _with_members(by_number[number], fetched)


def _with_members(output: Output, fetched: Sequence[Member]) -> Output:
    """An output whose files are members with their bytes."""
    own, first = [], 0
    for file in output.files:
        own.append(replace(file, path=fetched[first], others=(), entries=()))
        first += len(file.entries)
    return replace(own[0], others=tuple(own[1:]))


def _arrived(batch: list[Output], future: Future[list[Whole]] | None) -> Iterator[tuple[Output, Iterable[Event]]]:
    if future is None:
        return ((output, read_output(output)) for output in batch)
    return zip(batch, (whole.replayed() for whole in future.result()), strict=True)
