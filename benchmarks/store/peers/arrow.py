"""Arrow: a table with list columns, as an IPC file that is mapped and as Parquet."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mlpdata.frames import I64, Frames

NAMES = ("positions", "forces", "energy")


def table(frames: Frames) -> pa.Table:
    """A row a configuration; vectors of atoms as lists."""
    offsets = {1: frames.atom_start, 3: 3 * frames.atom_start, 9: 9 * np.arange(len(frames) + 1)}

    def lists(name: str, width: int) -> pa.Array:
        return pa.LargeListArray.from_arrays(offsets[width], frames.get(name).reshape(-1))

    return pa.table(
        {
            "energy": frames.energy,
            "atomic_numbers": lists("atomic_numbers", 1),
            **{name: lists(name, 3) for name in ("positions", "forces")},
            **{name: lists(name, 9) for name in ("cell", "stress")},
        }
    )


def batch(found: pa.Table) -> dict[str, NDArray[np.floating]]:
    """The arrays of the rows of `found`."""
    flat = {name: found[name].combine_chunks().flatten().to_numpy().reshape(-1, 3) for name in ("positions", "forces")}
    return {**flat, "energy": found["energy"].to_numpy()}


def write_ipc(folder: Path, frames: Frames) -> None:
    whole = table(frames)
    with pa.ipc.new_file(str(folder / "all.arrow"), whole.schema) as writer:
        writer.write_table(whole)


class Ipc:
    """The file, mapped."""

    def __init__(self, folder: Path) -> None:
        self._table = pa.ipc.open_file(pa.memory_map(str(folder / "all.arrow"))).read_all().select(NAMES)

    def __call__(self, rows: I64) -> dict[str, NDArray[np.floating]]:
        return batch(self._table.take(rows))


def write_parquet(folder: Path, frames: Frames) -> None:
    pq.write_table(table(frames), folder / "all.parquet", row_group_size=1024, use_dictionary=False, compression="none")


class Parquet:
    """The file through a dataset, which reads the row groups that are needed."""

    def __init__(self, folder: Path) -> None:
        self._dataset = ds.dataset(folder / "all.parquet")

    def __call__(self, rows: I64) -> dict[str, NDArray[np.floating]]:
        return batch(self._dataset.take(pa.array(rows), columns=list(NAMES)))
