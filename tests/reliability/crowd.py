"""Writers that all start at once on one store, and readers that read it all the time."""

from __future__ import annotations

import multiprocessing
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.synchronize import Barrier, Event
from pathlib import Path

import numpy as np
from store_commits import frames, ingest

from mlpdata import digest
from mlpdata.frames import concatenate
from mlpdata.schema.calculation import Calculation
from mlpdata.store.commit import Repository
from mlpdata.store.verify import verify
from mlpdata.testing.samples import calculation

MOST_SAID = 3
"""Faults that one process reports."""
_FORK = multiprocessing.get_context("fork")


@dataclass
class Outcome:
    """What a crowd came to."""

    n_present: int = 0
    """Ingests that are shown at the end."""
    n_reads: int = 0
    """Snapshots that were read while others wrote."""
    faults: list[str] = field(default_factory=list)


class Crowd:
    """Processes on one store.

    Args:
        store: where it is made.
        n_writers: processes that write.
        n_ingests: of each of them.
        n_readers: processes that read until the last writer has ended.
    """

    def __init__(self, store: Path, n_writers: int, n_ingests: int, n_readers: int = 2) -> None:
        self.store, self.n_writers, self.n_ingests, self.n_readers = store, n_writers, n_ingests, n_readers
        self._barrier: Barrier = _FORK.Barrier(n_writers + n_readers)
        self._over: Event = _FORK.Event()
        self._said = _FORK.SimpleQueue()

    def outcome(self) -> Outcome:
        """Let them run, and judge what is there afterwards."""
        ingest(self.store, 0)
        writers = [self._started(self._write, number) for number in range(self.n_writers)]
        readers = [self._started(self._read, number) for number in range(self.n_readers)]
        said = [self._said.get() for _ in writers]
        self._over.set()
        said += [self._said.get() for _ in readers]
        for process in (*writers, *readers):
            process.join()
        shown = numbers_shown(self.store)
        twice = [f"run {number} is shown twice" for number in set(shown) if shown.count(number) > 1]
        return Outcome(
            len(set(shown) - {0}),
            sum(count for count, _ in said),
            [*(fault for _, faults in said for fault in faults), *twice, *map(str, verify(self.store).faults)],
        )

    def _started(self, task: Callable[[int], tuple[int, list[str]]], number: int) -> multiprocessing.Process:
        def run() -> None:
            self._barrier.wait()
            try:
                count, faults = task(number)
            except Exception:  # noqa: BLE001  whatever ends a process is a fault
                count, faults = 0, [traceback.format_exc()]
            self._said.put((count, faults[:MOST_SAID]))

        process = _FORK.Process(target=run)
        process.start()
        return process

    def _write(self, writer: int) -> tuple[int, list[str]]:
        """What was acknowledged is there at once."""
        faults, repository = [], Repository.open(self.store)
        for number in range(1 + writer * self.n_ingests, 1 + (writer + 1) * self.n_ingests):
            segment = ingest(self.store, number, repository=repository).segments[-1]
            head = repository.head()
            if head is None or segment not in head.segments:
                faults.append(f"run {number} was acknowledged and is not shown")
        return 0, faults

    def _read(self, _: int) -> tuple[int, list[str]]:
        """Each snapshot is whole, and none is older than the one before."""
        count, most, faults = 0, 0, []
        while not self._over.is_set():
            n_shown, wrong = read_whole(self.store)
            faults += wrong + ([f"{n_shown} calculations after {most}"] if n_shown < most else [])
            count, most = count + 1, n_shown
        return count, faults


def read_whole(store: Path) -> tuple[int, list[str]]:
    """Read the current snapshot: how many calculations it shows, and what in it is not as it was written."""
    with_all = Repository.open(store).snapshot()
    shown = [_number(one) for one in with_all.calculations()]
    expected = concatenate([frames(number) for number in shown])
    found = with_all.read(with_all.ids())
    faults = [
        f"{name} of snapshot {with_all.record.id} are others than were written"
        for name in ("atomic_numbers", "positions", "energy", "forces")
        if not np.array_equal(found.arrays[name], expected.arrays[name])
    ]
    content = digest.content_id(sum(digest.shown(calculation(one).record, frames(one).ids()) for one in shown))
    if content != with_all.record.content:
        faults.append(f"snapshot {with_all.record.id} shows other calculations than it says")
    with_all.close()
    return len(shown), faults


def numbers_shown(store: Path) -> list[int]:
    """The runs that the current snapshot shows."""
    return [_number(one) for one in Repository.open(store).snapshot().calculations()]


def _number(shown: Calculation) -> int:
    return int(shown.path.split("/")[1])
