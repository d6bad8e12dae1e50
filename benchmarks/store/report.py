"""What the figures have in common: time that does not count the neighbours of a shared machine, and tables."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass
class Spent:
    """What something took."""

    cpu: float = 0.0
    """CPU time of all threads [s]."""
    wall: float = 0.0
    """Wall time [s]."""

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Add what happens inside."""
        cpu, wall = time.process_time(), time.perf_counter()
        try:
            yield
        finally:
            self.cpu += time.process_time() - cpu
            self.wall += time.perf_counter() - wall


def spent(work: Callable[[], Any]) -> Spent:
    """What one call took."""
    found = Spent()
    with found.counting():
        work()
    return found


def best(work: Callable[[], Any], times: int) -> Spent:
    """The quickest of several calls, by each clock."""
    found = [spent(work) for _ in range(times)]
    return Spent(min(one.cpu for one in found), min(one.wall for one in found))


def milliseconds(seconds: float) -> str:
    """Three digits."""
    return f"{1e3 * seconds:,.{0 if seconds >= 0.1 else 1}f} ms"


def explained(docstring: str | None) -> str:
    """What a module says below its first line, without how to run it."""
    return (docstring or "").split("\n\n")[1].strip()


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def drop_from_memory(files: Iterable[Path]) -> None:
    """Take files that nobody maps out of the page cache."""
    for path in files:
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def read_anew(folder: Path) -> None:
    """Have the page cache hold the files below `folder` as reading from the disk leaves them.

    What was just written lies there in pieces as large as the calls that wrote it, and larger ones are quicker to map.
    """
    files = [path for path in folder.rglob("*") if path.is_file()]
    drop_from_memory(files)
    for path in files:
        path.read_bytes()
