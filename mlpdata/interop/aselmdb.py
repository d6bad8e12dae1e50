"""ASE's database in LMDB, which fairchem trains on: rows as those of SQLite, with `spin`, the multiplicity, beside.

References:
    ase-db-backends 0.11 (aselmdb); fairchem's AseDBDataset takes `charge` and `spin` of molecules from `data`.
"""

from __future__ import annotations

from pathlib import Path

from mlpdata.interop import ase_db
from mlpdata.interop.ase_rows import ATTRIBUTES, HELD, HELD_PARTLY, WHY, differences, unfit
from mlpdata.interop.selection import Selection, Terms

__all__ = ["ATTRIBUTES", "HELD", "HELD_PARTLY", "WHY", "differences", "unfit", "write"]


def write(selection: Selection, path: Path, terms: Terms) -> None:
    """Write a new database.

    Raises:
        StoreError: the disk refused.
    """
    ase_db.write(selection, path, terms, backend="aselmdb")
