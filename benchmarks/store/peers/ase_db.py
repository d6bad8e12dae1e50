"""ASE's databases: SQLite (`ase.db`) and LMDB (`aselmdb`, of ase-db-backends)."""

from __future__ import annotations

from pathlib import Path

import ase.db
import numpy as np
from numpy.typing import NDArray

from mlpdata.frames import I64, Frames


def write(folder: Path, frames: Frames, suffix: str) -> None:
    with ase.db.connect(folder / f"all.{suffix}") as database:
        for atoms in frames.to_ase():
            database.write(atoms)


class AseDb:
    """The database; rows by their id, which begins at 1."""

    def __init__(self, folder: Path) -> None:
        (path,) = (path for path in folder.iterdir() if path.suffix in (".db", ".aselmdb"))
        self._database = ase.db.connect(path)

    def __call__(self, rows: I64) -> dict[str, NDArray[np.floating]]:
        found = [self._database[row + 1] for row in rows.tolist()]
        return {
            "positions": np.concatenate([row.positions for row in found]),
            "forces": np.concatenate([row.forces for row in found]),
            "energy": np.array([row.energy for row in found]),
        }
