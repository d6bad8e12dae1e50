"""HDF5: h5py reads concatenated arrays equal to the store's, and nothing is lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from compared import NAMES, compare

from mlpdata.api import Snapshot
from mlpdata.interop import selection
from mlpdata.schema.properties import PROPERTIES


def read(path: Path) -> tuple[list[str], list[dict[str, Any]]]:
    """Ids, and what h5py finds of each configuration, by the layout that the module documents."""
    with h5py.File(path) as file:
        start, ids = file["atom_start"][:], [one.tobytes().hex() for one in file["id"][:]]
        found = []
        for i in range(len(ids)):
            one = {}
            for name in NAMES:
                if name not in file:
                    continue
                level, absent = file[name].attrs["level"], file[name].attrs["absent"]
                assert file[name].attrs["unit"] == PROPERTIES[name].unit
                if level == "pair":
                    first, n = file[f"{name}_start"][i], start[i + 1] - start[i]
                    values = file[name][first : first + n * n] if first >= 0 else None
                else:
                    values = file[name][start[i] : start[i + 1]] if level == "atom" else file[name][i]
                if values is not None and (name == "pbc" or not (np.isnan(values) | (values == absent)).all()):
                    one[name] = values
            found.append(one)
    return ids, found


def test_h5py_reads_what_the_store_shows_and_nothing_is_lost(snapshot: Snapshot, tmp_path: Path) -> None:
    exported = snapshot.export(tmp_path / "a.h5")

    assert not compare(snapshot, *read(tmp_path / "a.h5"))
    assert exported.loss.dropped == exported.loss.changed == exported.loss.beside == ()


def test_each_configuration_leads_to_its_calculation_and_method(snapshot: Snapshot, tmp_path: Path) -> None:
    snapshot.export(tmp_path / "a.h5")

    with h5py.File(tmp_path / "a.h5") as file:
        calculations = [json.loads(one) for one in file["calculations"].asstr()[:]]
        methods = {one["id"]: one for one in map(json.loads, file["methods"].asstr()[:])}
        of = dict(zip((one.tobytes().hex() for one in file["id"][:]), file["calculation"][:].tolist(), strict=True))
        assert file.attrs["snapshot"] == snapshot.record.id
    table = snapshot.sql(
        "SELECT hex(id) AS id, list(path) AS paths, list(code) AS codes, list(license) AS licenses "
        "FROM configurations GROUP BY ALL"
    )
    for row in table.to_pylist():
        calculation = calculations[of[row["id"].lower()]]
        assert calculation["path"] in row["paths"]
        assert methods[calculation["method"]]["code"] in row["codes"]
        assert calculation["license"] in (row["licenses"] or [None])


def test_blocks_are_appended_pairs_of_atoms_too(
    snapshot: Snapshot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = selection.pieces
    monkeypatch.setattr(selection, "pieces", lambda weight: whole(weight, 5))

    snapshot.export(tmp_path / "a.h5")

    assert not compare(snapshot, *read(tmp_path / "a.h5"))
