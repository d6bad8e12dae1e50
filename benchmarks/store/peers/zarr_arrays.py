"""zarr-python: on the files that our store wrote, and on arrays as it lays them out itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import zarr
from numpy.typing import NDArray

from mlpdata.frames import I64, Frames, ragged_index


def arrays_of_ours(folder: Path) -> Path:
    """The Zarr group of the store's only segment."""
    (segment,) = (folder / "store" / "segments").iterdir()
    return segment / "arrays"


def write(folder: Path, frames: Frames) -> None:
    group = zarr.create_group(folder / "all.zarr")
    group.create_array("atom_start", data=frames.atom_start)
    for name, values in frames.arrays.items():
        group.create_array(name, data=values)


class OnItsOwn:
    """The arrays, by orthogonal selection."""

    def __init__(self, folder: Path) -> None:
        self._open(zarr.open_group(folder / "all.zarr", mode="r"))

    def _open(self, group: zarr.Group) -> None:
        self._start = group["atom_start"][:]
        self._ends = np.append(self._start, group["positions"].shape[0])
        self._arrays = {name: group[name] for name in ("positions", "forces", "energy")}

    def __call__(self, rows: I64) -> dict[str, NDArray[np.floating]]:
        atoms = ragged_index(self._start[rows], self._ends[rows + 1] - self._start[rows])
        indices = {"positions": atoms, "forces": atoms, "energy": rows}
        return {name: self._arrays[name].oindex[index] for name, index in indices.items()}


class OnOurs(OnItsOwn):
    """The same on our files."""

    def __init__(self, folder: Path) -> None:
        self._open(zarr.open_group(arrays_of_ours(folder), mode="r"))
