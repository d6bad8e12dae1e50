"""Ahead: outputs are read in order, small ones by worker processes before it is their turn.

Workers are processes of this machine, or those of a cluster. They import this module alone, not the store. What they
send home does not depend on how many there are.
"""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from itertools import groupby
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

from mlpdata.cluster import Cluster, Sent, cluster
from mlpdata.discover import Output
from mlpdata.errors import InputError, UsageError
from mlpdata.frames import Frames, by_block
from mlpdata.readers.bundles import fetch
from mlpdata.readers.place import Member
from mlpdata.runs import Event, Unread, read_output

IN_WORKER = 16 << 20
"""Files up to this size may be read by worker processes; larger ones stream through this one, block by block."""
WORTH_WORKERS = 8
"""Fewer files than this are read sooner than a worker process starts."""
TOGETHER = 1 << 20
"""Bytes of files that a worker reads at a time: a message costs as much for one small file as for many."""
PER_WORKER = 4
"""Batches that are under way for each worker."""
UNDER_WAY = 256 << 20
"""Bytes of files that are under way at most, however many workers there are: this process holds what came of them."""


class Whole(NamedTuple):
    """A file that was read whole, as far as it can be."""

    events: list[Event]
    error: InputError | None = None
    """What ended the reading."""

    @property
    def complete(self) -> bool:
        """Whether nothing of it could not be read."""
        return self.error is None and not any(isinstance(event, Unread) for event in self.events)

    def replayed(self) -> Iterator[Event]:
        """What `read_output` gives."""
        yield from self.events
        if self.error is not None:
            raise self.error


class _Ahead(NamedTuple):
    """A batch that is read before it is its turn."""

    batch: list[Output]
    sent: Future[list[Whole]] | Sent[list[Whole]] | None
    """None where it is read here, when it is its turn."""
    size: int
    """Of what is sent [bytes]."""


class Workers:
    """What reads ahead: processes of this machine or of a cluster, from when they are first worth it to the block's end.

    Args:
        jobs: processes of this machine.
        scheduler: address of a dask.distributed scheduler, to read there.
    """

    def __init__(self, jobs: int, scheduler: str = "") -> None:
        self._jobs, self._scheduler = jobs, scheduler
        self._stack = ExitStack()
        self._started: Executor | Cluster | None = None

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    def for_these(self, outputs: Sequence[Output]) -> Executor | Cluster | None:
        """Those that read some outputs; None where this process does.

        Raises:
            UsageError: the scheduler cannot be used.
        """
        if not outputs or (not self._scheduler and (self._jobs <= 1 or len(outputs) < WORTH_WORKERS)):
            return None
        if self._started is None:
            starting: AbstractContextManager[Executor | Cluster] = (
                cluster(self._scheduler, outputs) if self._scheduler else _processes(self._jobs)
            )
            self._started = self._stack.enter_context(starting)
        return self._started

    @property
    def number(self) -> int:
        """How many there are, or will be."""
        return max(1, self._started.number) if isinstance(self._started, Cluster) else self._jobs


def streams(outputs: Sequence[Output], workers: Workers) -> Iterator[tuple[Output, Iterable[Event]]]:
    """Each output with the stream of its runs: those on disk in order, then those of each archive as they come.

    Args:
        outputs: what is to be read.
        workers: what reads it.

    Raises:
        UsageError: a worker process was killed, or the scheduler cannot be used.
    """
    readers = workers.for_these(outputs)
    if readers is None:
        yield from ((output, read_output(output)) for output in _with_bytes(outputs))
        return
    number = workers.number
    ahead: deque[_Ahead] = deque()
    for batch in _batches(outputs, number):
        ahead.append(_sent(batch, readers))
        while len(ahead) > PER_WORKER * number or sum(one.size for one in ahead) > UNDER_WAY:
            yield from _arrived(ahead.popleft())
    while ahead:
        yield from _arrived(ahead.popleft())


@contextmanager
def _processes(jobs: int) -> Iterator[Executor]:
    """Processes of this machine.

    Raises:
        UsageError: one was killed.
    """
    try:
        with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
            try:
                yield pool
            except BaseException:  # nobody takes what is still under way
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    except BrokenProcessPool as error:
        raise UsageError(
            "expected reading processes to live, found one killed, most often for want of memory. "
            "Nothing was committed; use --jobs 1."
        ) from error


def _sent(batch: list[Output], workers: Executor | Cluster) -> _Ahead:
    """A batch on its way to a worker, if it is not too large for one."""
    size = sum(map(_bytes, batch))
    if size > IN_WORKER:
        return _Ahead(batch, None, 0)
    if isinstance(workers, Cluster):
        return _Ahead(batch, workers.submit(read_whole, [_anywhere(output) for output in batch]), size)
    with _deaf_to_interrupts():
        return _Ahead(batch, workers.submit(read_whole, batch), size)


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Processes that start inside do not hear Ctrl-C: this one does, and ends them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _anywhere(output: Output) -> Output:
    """The output with absolute paths: a worker of a cluster has a current folder of its own."""
    path = output.path.absolute() if isinstance(output.path, Path) else output.path
    return replace(output, path=path, others=tuple(map(_anywhere, output.others)))


def read_whole(outputs: Iterable[Output]) -> list[Whole]:
    """Read outputs in a worker process; an error costs its own file only, and there what comes after it."""
    found = []
    for output in outputs:
        events: list[Event] = []
        try:
            for event in read_output(output):
                events.append(event)
                if isinstance(event, Frames):
                    event.ids()  # remembered, so that the process that stages need not work them out
            found.append(Whole(events))
        except InputError as error:
            found.append(Whole(events, error))
    return found


def _batches(outputs: Sequence[Output], workers: int) -> Iterator[list[Output]]:
    """The outputs, those that are read together in one list."""
    together = min(TOGETHER, sum(map(_bytes, outputs)) // (PER_WORKER * workers))
    return iter(by_block(((_bytes(output), output) for output in _with_bytes(outputs)), together))


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


def _arrived(ahead: _Ahead) -> Iterator[tuple[Output, Iterable[Event]]]:
    """The outputs of a batch with what reading gave.

    What a worker of a cluster could not read is read here again, because its machine may lack a file or a package that
    is here.
    """
    if ahead.sent is None:
        yield from ((output, read_output(output)) for output in ahead.batch)
        return
    elsewhere = isinstance(ahead.sent, Sent)
    for output, whole in zip(ahead.batch, ahead.sent.result(), strict=True):
        yield output, read_output(output) if elsewhere and not whole.complete else whole.replayed()
