"""HDF5 by h5py: one dataset a property and where each configuration begins, contiguous or in chunks."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from mlpdata.frames import I64, Frames


def write(folder: Path, frames: Frames, chunk: int | None = None) -> None:
    with h5py.File(folder / "all.h5", "w") as file:
        file["atom_start"] = frames.atom_start
        for name, values in frames.arrays.items():
            file.create_dataset(name, data=values, chunks=chunk and (min(chunk, len(values)), *values.shape[1:]))


class Hdf5:
    """The file; one slice a configuration, which is quicker than the library's lists of indices."""

    def __init__(self, folder: Path) -> None:
        self._file = h5py.File(folder / "all.h5", "r")
        self._start = self._file["atom_start"][:]
        self._arrays = {name: self._file[name] for name in ("positions", "forces", "energy")}

    def __call__(self, rows: I64) -> dict[str, NDArray[np.floating]]:
        ranges = [slice(first, last) for first, last in zip(self._start[rows], self._start[rows + 1], strict=True)]
        batch = {
            name: np.concatenate([self._arrays[name][atoms] for atoms in ranges]) for name in ("positions", "forces")
        }
        return {**batch, "energy": np.array([self._arrays["energy"][row] for row in rows])}
