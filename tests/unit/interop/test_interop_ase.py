"""ASE's databases: `ase.db` reads what the store shows, in SQLite and in LMDB."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ase.db
import numpy as np
import pytest
from compared import DECLARED, changed, compare, dropped
from test_interop_extxyz import OURS

from mlpdata.api import Snapshot, Store
from mlpdata.intake import ingest
from mlpdata.schema.properties import PROPERTIES

ENDINGS = ("db", "aselmdb")


def as_properties(row: Any) -> dict[str, Any]:
    """What a row holds, by names of the registry; of the stress the six numbers made nine."""
    atoms = row.toatoms()
    found = {**row.data, **(atoms.calc.results if atoms.calc else {})}
    for key in ("initial_magmoms", "masses", "tags"):
        if row.get(key) is not None:
            found[key] = row[key]
    properties = {
        "atomic_numbers": row.numbers,
        "positions": row.positions,
        "pbc": row.pbc.astype(int),
        **({"cell": row.cell} if row.cell.any() else {}),
    }
    for key, value in found.items():
        name = OURS.get(key, key)
        if name.endswith("magnetic_moment_vectors") and np.size(value) == len(atoms):  # SQLite keeps vectors flat
            name = name.replace("_vectors", "s")
        if name in PROPERTIES:
            properties[name] = value
    if "stress" in properties:
        properties["stress"] = properties["stress"][[0, 5, 4, 5, 1, 3, 4, 3, 2]].reshape(3, 3)
    return properties


@pytest.mark.parametrize("ending", ENDINGS)
def test_ase_reads_what_the_store_shows_but_for_what_the_report_says(
    snapshot: Snapshot, tmp_path: Path, ending: str
) -> None:
    exported = snapshot.export(tmp_path / f"a.{ending}")

    with ase.db.connect(tmp_path / f"a.{ending}") as database:
        rows = list(database.select())
        assert database.metadata["mlpdata"]["content"] == snapshot.content
    ids = [row.unique_id for row in rows]
    stress = snapshot.read(ids).stress
    uneven = (stress != stress.transpose(0, 2, 1)).any(axis=(1, 2)) & ~np.isnan(stress[:, 0, 0])
    read = [as_properties(row) for row in rows]
    for one, whole, skew in zip(read, stress, uneven, strict=True):
        if skew:
            np.testing.assert_array_equal(np.triu(one["stress"]), np.triu(whole))
            one["stress"] = whole
    assert compare(snapshot, ids, read) == dropped(exported)
    assert dropped(exported) == {"forces": 1, "magnetic_moments": 2}  # a ghost's; those that are vectors too
    assert changed(exported, "stress") == uneven.sum() > 0
    assert {row.kind for row in rows} > {"aimd"}
    assert {row.user for row in rows} == {""}


def test_ingested_again_a_database_gives_the_same_ids_but_for_the_reported(snapshot: Snapshot, tmp_path: Path) -> None:
    exported = snapshot.export(tmp_path / "a.db")

    ingest(tmp_path / "a.db", tmp_path / "store", default=DECLARED)

    again = {one.tobytes().hex() for one in Store(tmp_path / "store").snapshot().ids()}
    ids = {row.unique_id for row in ase.db.connect(tmp_path / "a.db").select()}
    assert len(ids - again) == changed(exported, "stress") + 1  # six numbers of a stress; forces of a ghost


def test_fairchem_finds_charge_and_spin_of_a_molecule(snapshot: Snapshot, tmp_path: Path) -> None:
    """Its AseDBDataset merges `data` into `info`, where models look for `charge` and `spin`, the multiplicity."""
    table = snapshot.sql("SELECT id, charge, multiplicity FROM configurations WHERE path LIKE '%opt.out' ORDER BY id")

    snapshot.export(tmp_path / "a.aselmdb", ids=table)

    rows = list(ase.db.connect(tmp_path / "a.aselmdb", readonly=True, use_lock_file=False).select())
    assert [row.data["charge"] for row in rows] == table["charge"].to_pylist()
    assert [row.data["spin"] for row in rows] == table["multiplicity"].to_pylist()


@pytest.mark.parametrize("ending", ENDINGS)
def test_blocks_follow_each_other_in_one_database(
    snapshot: Snapshot, tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlpdata.interop import selection

    whole = selection.pieces
    monkeypatch.setattr(selection, "pieces", lambda weight: whole(weight, 30))

    snapshot.export(tmp_path / f"a.{ending}")

    rows = list(ase.db.connect(tmp_path / f"a.{ending}").select())
    assert [row.id for row in rows] == list(range(1, len(rows) + 1))
    assert len({row.unique_id for row in rows}) == len(rows)
    assert all(part.stop - part.start < len(rows) for part in whole(np.array([len(row.numbers) for row in rows]), 30))
