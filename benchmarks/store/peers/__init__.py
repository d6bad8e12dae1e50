"""The peers, one row each. All know the same three things: to write configurations, to open them, to give a batch.

A batch is positions and forces, concatenated over its configurations in the order asked, and energies. Every peer is
used as its documentation says to be quick, and holds nothing in memory but where configurations begin.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mlpdata.frames import I64, Frames
from store.peers import arrow, ase_db, atompack_db, flat, hdf5, lance_table, lmdb_raw, ours, tensors, zarr_arrays

Batch = dict[str, NDArray[np.floating]]


@dataclass(frozen=True)
class Peer:
    """One way to keep configurations."""

    name: str
    """What tables call it."""
    packages: str
    """Distributions it comes from, space between."""
    write: Callable[[Path, Frames], object]
    """Put configurations into a folder that is empty; returns when they are as safe as the library makes them."""
    open: Callable[[Path], Callable[[I64], Batch]]
    """The batches of what was written."""
    dtype: str = "float64"
    """Of positions and forces."""
    most: int = 100_000
    """Configurations that it writes in reasonable time."""
    verifies: str = "no"
    """Whether a flipped bit of a label would be noticed while batches are read."""
    writes: bool = True
    """Whether its writing is a figure of its own; else it reads what `write_of` another wrote."""

    @property
    def versions(self) -> str:
        """The packages with their versions."""
        return ", ".join(f"{name} {version(name)}" for name in self.packages.split())


MEMMAP = Peer("numpy memmap", "numpy", flat.write, flat.Flat, writes=False)
MEMMAP_F32 = Peer(
    "numpy memmap, f32", "numpy", partial(flat.write, dtype="float32"), flat.Flat, "float32", writes=False
)
CHECKED = "yes, once an opening"

OURS = (
    Peer("mlpdata, view, f32", "mlpdata", ours.freeze, ours.View, "float32", verifies=CHECKED, writes=False),
    Peer("mlpdata, 1 segment", "mlpdata", ours.write, ours.Store, verifies=CHECKED),
    Peer("mlpdata, 30 segments", "mlpdata", partial(ours.write, n_segments=30), ours.Store, verifies=CHECKED, writes=False),
    Peer("mlpdata, 300 segments", "mlpdata", partial(ours.write, n_segments=300), ours.Store, verifies=CHECKED, writes=False),
)  # fmt: skip
OTHERS = (
    Peer("Atompack, f32", "atompack-db", atompack_db.write, atompack_db.Atompack, "float32"),
    Peer("Arrow IPC, mapped", "pyarrow", arrow.write_ipc, arrow.Ipc),
    Peer("LMDB, raw bytes", "lmdb", lmdb_raw.write, lmdb_raw.Lmdb),
    Peer("HDF5, contiguous", "h5py", hdf5.write, hdf5.Hdf5),
    Peer("HDF5, chunks of 1,024 atoms", "h5py", partial(hdf5.write, chunk=1024), hdf5.Hdf5),
    Peer("Lance", "pylance", lance_table.write, lance_table.Lance),
    Peer("Parquet, row groups of 1,024", "pyarrow", arrow.write_parquet, arrow.Parquet),
    Peer("TensorStore on our files", "tensorstore", ours.write, tensors.TensorStore, writes=False),
    Peer("zarr-python on our files", "zarr", ours.write, zarr_arrays.OnOurs, writes=False),
    Peer("zarr-python, its own chunks", "zarr", zarr_arrays.write, zarr_arrays.OnItsOwn),
    Peer("aselmdb", "ase-db-backends", partial(ase_db.write, suffix="aselmdb"), ase_db.AseDb, most=5_000, verifies="yes, by zlib"),
    Peer("ase.db, SQLite", "ase", partial(ase_db.write, suffix="db"), ase_db.AseDb, most=5_000),
)  # fmt: skip
