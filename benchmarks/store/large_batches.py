"""Shuffled batches of 64 out of millions of configurations: our store, and the two peers that can hold as many.

As above; an epoch here is a random 100,000 of the configurations, and the first one verifies the blocks under them.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

import mlpdata
from mlpdata.frames import Frames
from mlpdata.store.mapping import Mapped
from store.peers import OTHERS, OURS, arrow, flat, ours
from store.report import explained, read_anew, table
from store.shuffled import HEADER, compared

MOST = 100_000
_AT_ONCE = 100_000


def figures(store: Path, scratch: Path) -> str:
    """Markdown for one store."""
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    opened = mlpdata.Store(store).snapshot().opened
    n_configurations, n_segments = opened.mapped.n_configurations, len(opened.segments)
    write_memmap(opened.mapped, scratch)
    write_parquet(opened.mapped, scratch)
    opened.close()
    read_anew(scratch)
    memmap = flat.Flat(scratch)
    parquet = next(peer for peer in OTHERS if peer.open is arrow.Parquet)
    lines = [
        (f"mlpdata, {n_segments} segments", *compared(OURS[1], ours.Store(store.parent), memmap, n_configurations, MOST)[1:]),
        compared(parquet, arrow.Parquet(scratch), memmap, n_configurations, MOST),
    ]  # fmt: skip
    shutil.rmtree(scratch)
    heading = f"## Shuffled batches of 64 out of {n_configurations:,} configurations\n\n{explained(__doc__)}\n\n"
    return heading + table(HEADER, lines)


def _portions(mapped: Mapped) -> Iterator[Frames]:
    for start in range(0, mapped.n_configurations, _AT_ONCE):
        rows = np.arange(start, min(start + _AT_ONCE, mapped.n_configurations))
        found = mapped.gather_many(("atomic_numbers", "pbc", *ours.NAMES), rows)
        yield Frames(mapped.n_atoms[rows], found)


def write_memmap(mapped: Mapped, folder: Path) -> None:
    """What `flat.Flat` opens."""
    n_atoms = int(mapped.n_atoms.sum())
    shapes = {"energy": (mapped.n_configurations,), "positions": (n_atoms, 3), "forces": (n_atoms, 3)}
    arrays = {
        name: np.lib.format.open_memmap(folder / f"{name}.npy", "w+", np.float64, shape)
        for name, shape in shapes.items()
    }
    np.save(folder / "n_atoms.npy", mapped.n_atoms)
    row = atom = 0
    for frames in _portions(mapped):
        ends = {"energy": (row, row + len(frames))}
        for name, array in arrays.items():
            first, last = ends.get(name, (atom, atom + len(frames.atomic_numbers)))
            array[first:last] = frames.get(name)
        row, atom = row + len(frames), atom + len(frames.atomic_numbers)


def write_parquet(mapped: Mapped, folder: Path) -> None:
    """What `arrow.Parquet` opens."""
    writer = None
    for frames in _portions(mapped):
        whole = arrow.table(frames).select(arrow.NAMES)
        writer = writer or pq.ParquetWriter(
            folder / "all.parquet", whole.schema, use_dictionary=False, compression="none"
        )
        writer.write_table(whole, row_group_size=1024)
    if writer is not None:
        writer.close()
