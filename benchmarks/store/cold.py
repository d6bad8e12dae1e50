"""Batches from a store that is not in memory, as a ratio of the disk's sequential read.

Before each measurement the files are taken out of the page cache (posix_fadvise, DONTNEED). Useful bytes are those of
positions, forces and energies that arrive in batches of 64. Sequential: the same files read from end to end, 4 MiB at
a time. Block shuffle: blocks of neighbours in random order, 64 of them mixed at a time; of a tenth of the
blocks, as in a store so large that what was read for one block is gone when its neighbour comes. Wall time, best of
three by turns.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

import mlpdata
from mlpdata.frames import I64
from store.peers.ours import NAMES
from store.report import drop_from_memory, explained, table

BATCH, POOL = 64, 64
ROUNDS = 3
PATIENCE = 10.0
"""Longest measurement [s]."""


def block_shuffle(n_configurations: int, block: int, random: np.random.Generator) -> Iterator[I64]:
    """Rows of batches: a tenth of the blocks of `block` configurations, in random order, `POOL` of them mixed."""
    n_blocks = n_configurations // block
    blocks = random.permutation(n_blocks)[: -(-n_blocks // 10)]
    for start in range(0, len(blocks), POOL):
        rows = (blocks[start : start + POOL, None] * block + np.arange(block)).reshape(-1)
        yield from np.split(random.permutation(rows), range(BATCH, len(rows), BATCH))


def sequential(files: list[Path]) -> float:
    """Bytes a second of reading files whole."""
    n_bytes, buffer = 0, bytearray(1 << 22)
    start = time.perf_counter()
    for path in files:
        with path.open("rb", buffering=0) as file:
            while size := file.readinto(buffer):
                n_bytes += size
        if time.perf_counter() - start > PATIENCE:
            break
    return n_bytes / (time.perf_counter() - start)


def batches(store: Path, block: int, seed: int) -> float:
    """Useful bytes a second of batches; blocks of one configuration are a global shuffle."""
    opened = mlpdata.Store(store).snapshot().opened
    rows = block_shuffle(opened.mapped.n_configurations, block, np.random.default_rng(seed))
    n_bytes, start = 0, time.perf_counter()
    for batch in rows:
        n_bytes += sum(array.nbytes for array in opened.mapped.gather_many(NAMES, batch).values())
        if time.perf_counter() - start > PATIENCE:
            break
    rate = n_bytes / (time.perf_counter() - start)
    opened.close()
    return rate


def figures(store: Path) -> str:
    """Markdown for one store."""
    files = sorted(path for name in NAMES for path in store.glob(f"segments/*/arrays/{name}/*") if path.name[0] == "c")
    ways: dict[str, Callable[[int], float]] = {
        "sequential read of the files": lambda _: sequential(files),
        "shuffle of blocks of 4,096 configurations, checksums verified": lambda seed: batches(store, 4096, seed),
        "shuffle of blocks of 256, checksums verified": lambda seed: batches(store, 256, seed),
        "shuffle of single configurations, checksums verified": lambda seed: batches(store, 1, seed),
    }
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(ROUNDS):
        for name, measure in ways.items():
            drop_from_memory(path for path in store.rglob("*") if path.is_file())
            rates[name].append(measure(number))
    reference = max(rates["sequential read of the files"])
    rows = [(name, f"{max(found) / 1e6:,.0f} MB/s", f"{max(found) / reference:.2f}") for name, found in rates.items()]
    size = sum(path.stat().st_size for path in files) / 1e9
    heading = f"## Colder than memory: {size:.1f} GB\n\n{explained(__doc__)}\n\nGoal of block shuffle: 0.8.\n\n"
    return heading + table(("what", "useful bytes", "of sequential"), rows)
