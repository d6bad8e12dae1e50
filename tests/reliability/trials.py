"""One trial each: a commit is killed, or its disk refuses, is full; what was wrong afterwards."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from store_commits import Ground

from mlpdata.errors import CommitUncertain, StoreError
from mlpdata.testing.disks import MANY_FILES, memory_disk, resize
from mlpdata.testing.faults import DISK_ERRORS, failing_at, full_after, hooked, kill_after, kill_at

LARGE = 64 << 20
"""Bytes of a disk that is never full here."""
FAULTS: dict[str, Callable[[int], AbstractContextManager[None]]] = {
    **{os.strerror(error): (lambda nth, error=error: failing_at(nth, error)) for error in DISK_ERRORS},
    "a write cut short": full_after,
}
"""What a disk may do at the nth durable operation."""


def after_kills(ground: Ground, *moments: float) -> list[str]:
    """Kill the commit, begin again, kill it again, and so on, then let it end: what was wrong at any time.

    Args:
        ground: the commit.
        moments: of the kills: an int is the number of a durable operation, a float a time [s].
    """
    ground.renew()
    faults = []
    for moment in moments:
        if isinstance(moment, int):
            kill_at(moment, ground.act)
        else:
            kill_after(moment, ground.act)
        faults += ground.faults(ground.old, ground.new)
    return faults + ground.faults_after_retry()


def after_fault(ground: Ground, fault: str, nth: int) -> list[str]:
    """Let the disk fail at the nth durable operation: the commit must say so and change nothing, or be uncertain."""
    allowed, said = (ground.old,), False
    try:
        with FAULTS[fault](nth):
            ground.act()
    except CommitUncertain:  # of a store that is made, HEAD says first that it is empty
        allowed, said = (ground.new, *([ground.old] if ground.old[0] is None else [])), True
    except StoreError:
        said = True
    faults = ground.faults(*allowed) + ([] if said else ["nothing was said"])
    if not ground.is_untouched:
        faults += ground.faults_after_retry()
        ground.renew()
    return faults


@contextmanager
def small_disk(ground: Ground) -> Iterator[SmallDisk]:
    """A disk in memory on which the commit is done with less and less room."""
    folder = ground.folder / "disk"
    with memory_disk(folder, LARGE):
        yield SmallDisk(ground, folder)


class SmallDisk:
    """A disk of any size.

    Args:
        ground: the commit.
        folder: where the disk is mounted.
    """

    def __init__(self, ground: Ground, folder: Path) -> None:
        self.ground, self.folder = ground, folder
        self.store = folder / "now" / "store"
        self.renew()
        at_first = self.used()
        most = [at_first]
        with hooked(lambda *_: most.append(self.used())):
            ground.commit.act(self.store)
        self.needed = tuple(max(used) - first for used, first in zip(zip(*most, strict=True), at_first, strict=True))
        """Bytes and files that the commit needs beyond those that are there."""

    def used(self) -> tuple[int, int]:
        """Bytes and files that are used."""
        disk = os.statvfs(self.folder)
        return (disk.f_blocks - disk.f_bfree) * disk.f_frsize, disk.f_files - disk.f_ffree

    def renew(self) -> None:
        """Large, and with the store as it was before the commit."""
        resize(self.folder, LARGE)
        shutil.rmtree(self.folder / "now", ignore_errors=True)
        shutil.copytree(self.ground.folder / "before", self.folder / "now")

    def faults(self, n_bytes: int, n_files: int = MANY_FILES) -> list[str]:
        """Do the commit with room for so many bytes and files beyond those that are there; what was wrong."""
        self.renew()
        used_bytes, used_files = self.used()
        resize(self.folder, used_bytes + n_bytes, used_files + n_files)
        ground, allowed = self.ground, (self.ground.new,)
        try:
            ground.commit.act(self.store)
        except CommitUncertain:
            pass
        except StoreError:
            allowed = (ground.old,)
        faults = ground.faults(*allowed, store=self.store)
        resize(self.folder, LARGE)
        ground.commit.act(self.store)
        return faults + ground.faults(ground.new, store=self.store)
