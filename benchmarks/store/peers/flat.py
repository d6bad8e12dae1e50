"""numpy memmap: one flat file an array and a ragged take. The reference: nothing that checks can be quicker."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mlpdata.frames import I64, Frames, ragged_index


def write(folder: Path, frames: Frames, dtype: str = "float64") -> None:
    np.save(folder / "n_atoms.npy", frames.n_atoms)
    np.save(folder / "energy.npy", frames.energy)
    for name in ("positions", "forces"):
        np.save(folder / f"{name}.npy", frames.get(name).astype(dtype, copy=False))


class Flat:
    """The arrays, mapped."""

    def __init__(self, folder: Path) -> None:
        self._n_atoms = np.load(folder / "n_atoms.npy")
        self._start = np.cumsum(self._n_atoms) - self._n_atoms
        self._energy, self._positions, self._forces = (
            np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("energy", "positions", "forces")
        )

    def __call__(self, rows: I64) -> dict[str, NDArray[np.floating]]:
        atoms = ragged_index(self._start.take(rows), self._n_atoms.take(rows))
        return {
            "positions": self._positions.take(atoms, axis=0),
            "forces": self._forces.take(atoms, axis=0),
            "energy": self._energy.take(rows),
        }
