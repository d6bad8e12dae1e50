"""ASE's database in SQLite."""

from __future__ import annotations

from pathlib import Path

from ase.db import connect

from mlpdata import durable
from mlpdata.interop.ase_rows import ATTRIBUTES, HELD, HELD_PARTLY, WHY, differences, rows, unfit
from mlpdata.interop.selection import Selection, Terms

__all__ = ["ATTRIBUTES", "HELD", "HELD_PARTLY", "WHY", "differences", "unfit", "write"]


def write(selection: Selection, path: Path, terms: Terms, backend: str = "db") -> None:
    """Write a new database, one transaction a block.

    Raises:
        StoreError: the disk refused.
    """
    with durable.staged_by_library(path):
        for block in selection.blocks():
            with connect(str(path), type=backend, use_lock_file=False) as database:
                if backend == "aselmdb":
                    database.ids.clear()  # it looks each new row up in this list: a square of their number
                for row, pairs, further in rows(selection, block):
                    if backend == "aselmdb" and "multiplicity" in further:
                        further["spin"] = further["multiplicity"]
                    database.write(row, key_value_pairs=pairs, data=further)
        connect(str(path), type=backend, use_lock_file=False).metadata = {"mlpdata": terms.about}
