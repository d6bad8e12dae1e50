"""LMDB: the raw bytes of a configuration under its number, without pickle or JSON, which would be slower."""

from __future__ import annotations

from pathlib import Path

import lmdb
import numpy as np
from numpy.typing import NDArray

from mlpdata.frames import I64, Frames


def write(folder: Path, frames: Frames) -> None:
    """One transaction a thousand configurations, synced by LMDB as it commits."""
    starts = frames.atom_start.tolist()
    with lmdb.open(str(folder / "all.lmdb"), subdir=False, map_size=1 << 36) as environment:
        for first in range(0, len(frames), 1000):
            with environment.begin(write=True) as transaction:
                for row in range(first, min(first + 1000, len(frames))):
                    atoms = slice(starts[row], starts[row + 1])
                    value = b"".join(
                        (
                            frames.energy[row].tobytes(),
                            frames.cell[row].tobytes(),
                            frames.stress[row].tobytes(),
                            frames.positions[atoms].tobytes(),
                            frames.forces[atoms].tobytes(),
                            frames.atomic_numbers[atoms].tobytes(),
                        )
                    )
                    transaction.put(row.to_bytes(8, "big"), value, append=True)


class Lmdb:
    """The database, mapped; values are looked at in place."""

    HEAD = 8 + 72 + 72
    ATOM = 24 + 24 + 1

    def __init__(self, folder: Path) -> None:
        path = str(folder / "all.lmdb")
        self._environment = lmdb.open(path, subdir=False, readonly=True, lock=False, readahead=False)

    def __call__(self, rows: I64) -> dict[str, NDArray[np.floating]]:
        energy, positions, forces = [], [], []
        with self._environment.begin(buffers=True) as transaction:
            for key in rows.tolist():
                value = transaction.get(key.to_bytes(8, "big"))
                numbers = 3 * ((len(value) - self.HEAD) // self.ATOM)
                energy.append(np.frombuffer(value, "<f8", 1))
                positions.append(np.frombuffer(value, "<f8", numbers, self.HEAD))
                forces.append(np.frombuffer(value, "<f8", numbers, self.HEAD + 8 * numbers))
            return {
                "positions": np.concatenate(positions).reshape(-1, 3),
                "forces": np.concatenate(forces).reshape(-1, 3),
                "energy": np.concatenate(energy),
            }
