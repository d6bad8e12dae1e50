"""A store of millions of configurations: to open it, to read one batch, to add one calculation.

Each is done in a process of its own, which has imported everything before the clock starts; memory is what that
process grows by. Files are in the page cache. What is added goes to a copy made of hard links: files of a store are
never rewritten, so the store stays as it is.

    python -m store.opening build/store-1e7/store opened
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

import mlpdata
from mlpdata.store.commit import Repository
from store.configurations import block
from store.large import N_ATOMS, RUN_LENGTH, calculation
from store.peers.ours import NAMES
from store.report import Spent, explained, milliseconds, table

BATCH = 64
NEW = 10**9
"""Number of the first calculation that is added: none of the store has it."""
_STEPS = {
    "open": ("`Store(path).snapshot()`", "100 ms"),
    "batch": ("the first batch of 64: positions, forces, energy", "100 MB with the opening"),
    "second": ("the next batch of 64", ""),
    "append": (f"open, stage and commit one calculation of {RUN_LENGTH} configurations", "100 ms"),
    "again": ("stage and commit one more in the same process", "100 ms"),
}

Measured = dict[str, tuple[float, float, int, int]]
"""By step: wall time and CPU time [s], growth of memory of its own and of mapped files that it touched [bytes]."""


def opened(store: Path) -> Measured:
    """Opening, and two batches."""
    found: Measured = {}
    random = np.random.default_rng(0)
    with _measured("open", found):
        snapshot = mlpdata.Store(store).snapshot()
    for step in ("batch", "second"):
        rows = random.integers(0, len(snapshot), BATCH)
        with _measured(step, found):
            snapshot.opened.mapped.gather_many(NAMES, rows)
    return found


def appended(store: Path) -> Measured:
    """Two commits of one calculation each."""
    found: Measured = {}
    blocks = [block(RUN_LENGTH, N_ATOMS, seed=NEW + number) for number in range(2)]
    with _measured("append", found):
        repository = Repository.open(store)
        _append(repository, blocks[0], NEW)
    with _measured("again", found):
        _append(repository, blocks[1], NEW + 1)
    return found


def _append(repository: Repository, frames: mlpdata.Frames, number: int) -> None:
    with repository.stage() as writer:
        writer.begin()
        writer.append(frames)
        writer.end(calculation(number))
        repository.commit(writer)


@contextmanager
def _measured(step: str, found: Measured) -> Iterator[None]:
    before, took = _resident(), Spent()
    with took.counting():
        yield
    own, mapped = (after - earlier for after, earlier in zip(_resident(), before, strict=True))
    found[step] = took.wall, took.cpu, own, mapped


def _resident() -> tuple[int, int]:
    """Bytes in memory of this process: its own, and pages of files that it maps, which the system may take back."""
    lines = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
    own, mapped = (int(lines[name].split()[0]) << 10 for name in ("RssAnon", "RssFile"))
    return own, mapped


def figures(store: Path) -> str:
    """Markdown for one store."""
    n_configurations = len(mlpdata.Store(store).snapshot())
    found = _alone(store, "opened") | _of_a_copy(store)
    n_files = sum(path.is_file() for path in store.rglob("*"))
    size = sum(path.stat().st_size for path in store.rglob("*") if path.is_file())
    rows = [
        (what, *map(milliseconds, found[step][:2]), *(f"{size / 1e6:,.0f} MB" for size in found[step][2:]), goal)
        for step, (what, goal) in _STEPS.items()
    ]
    rows.append((f"files of the store, {size / 1e9:.1f} GB", f"{n_files:,}", "", "", "", "1,000"))
    heading = f"## Opening and growing {n_configurations:,} configurations\n\n{explained(__doc__)}\n\n"
    return heading + table(("what", "wall time", "CPU time", "own memory", "mapped", "goal"), rows)


def _of_a_copy(store: Path) -> Measured:
    copy = store.with_name("copy") / store.name
    shutil.rmtree(copy.parent, ignore_errors=True)
    shutil.copytree(store, copy, copy_function=os.link)
    try:
        return _alone(copy, "appended")
    finally:
        shutil.rmtree(copy.parent)


def _alone(store: Path, what: str) -> Measured:
    """Measured in a new process, the second time, so that the files are in the page cache."""
    command = [sys.executable, "-m", "store.opening", str(store), what]
    done = [subprocess.run(command, capture_output=True, text=True, check=True) for _ in range(1 + (what == "opened"))]
    measured: Measured = json.loads(done[-1].stdout)
    return measured


if __name__ == "__main__":
    print(json.dumps({"opened": opened, "appended": appended}[sys.argv[2]](Path(sys.argv[1]))))
