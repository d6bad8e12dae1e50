"""Atompack: molecules in one append-only file, read as flat batches."""

from __future__ import annotations

from pathlib import Path

import atompack
import numpy as np
from numpy.typing import NDArray

from mlpdata.frames import I64, Frames


def write(folder: Path, frames: Frames) -> None:
    database = atompack.Database(str(folder / "all.atp"), overwrite=True)
    positions, forces = frames.positions.astype(np.float32), frames.forces.astype(np.float32)
    starts, energies, cells = frames.atom_start.tolist(), frames.energy.tolist(), frames.cell
    for first in range(0, len(frames), 1000):
        database.add_molecules(
            [
                atompack.Molecule.from_arrays(
                    positions[starts[row] : starts[row + 1]],
                    frames.atomic_numbers[starts[row] : starts[row + 1]],
                    energy=energies[row],
                    forces=forces[starts[row] : starts[row + 1]],
                    cell=cells[row],
                    stress=frames.stress[row],
                    pbc=(True, True, True),
                )
                for row in range(first, min(first + 1000, len(frames)))
            ]
        )
    database.flush()


class Atompack:
    """The database, mapped."""

    def __init__(self, folder: Path) -> None:
        self._database = atompack.Database.open(str(folder / "all.atp"))

    def __call__(self, rows: I64) -> dict[str, NDArray[np.floating]]:
        return self._database.get_molecules_flat(rows.tolist())
