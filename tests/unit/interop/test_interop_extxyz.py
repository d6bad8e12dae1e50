"""Extended XYZ: ASE reads every number to the last bit, and what is missing is what the report says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
from compared import DECLARED, changed, compare, dropped

from mlpdata.api import Snapshot, Store
from mlpdata.frames import Frames
from mlpdata.intake import ingest
from mlpdata.interop import extxyz, selection
from mlpdata.interop.names import FOREIGN
from mlpdata.schema.properties import PROPERTIES

OURS = {foreign: name for name, foreign in FOREIGN.items()}


def as_properties(atoms: ase.Atoms) -> dict[str, Any]:
    """What ASE found, by names of the registry; the stress as ASE has it, six numbers made nine."""
    found = {**atoms.info, **atoms.arrays, **(atoms.calc.results if atoms.calc else {})}
    properties = {
        "atomic_numbers": atoms.numbers,
        "positions": atoms.positions,
        "pbc": atoms.pbc.astype(int),
        **({"cell": atoms.cell.array} if atoms.cell.array.any() else {}),
    }
    for key, value in found.items():
        name = OURS.get(key, key)
        if name.endswith("magnetic_moment_vectors") and np.asarray(value).ndim == 1:
            name = name.replace("_vectors", "s")
        if name in PROPERTIES and name not in properties:
            properties[name] = value
    if "stress" in properties:
        properties["stress"] = properties["stress"][[0, 5, 4, 5, 1, 3, 4, 3, 2]].reshape(3, 3)
    return properties


def ids_of(images: list[ase.Atoms]) -> list[str]:
    return [atoms.info["mlpdata_id"].removeprefix("id-") for atoms in images]


def test_ase_reads_what_the_store_shows_but_for_what_the_report_says(snapshot: Snapshot, tmp_path: Path) -> None:
    exported = snapshot.export(tmp_path / "a.extxyz")

    images = ase.io.read(tmp_path / "a.extxyz", ":")
    frames = snapshot.read(ids_of(images))
    uneven = (frames.stress != frames.stress.transpose(0, 2, 1)).any(axis=(1, 2)) & ~np.isnan(frames.stress[:, 0, 0])
    read = [as_properties(atoms) for atoms in images]
    for one, stress, skew in zip(read, frames.stress, uneven, strict=True):
        if skew:  # the lower triangle, as ASE takes nine numbers column by column
            np.testing.assert_array_equal(np.tril(one["stress"]), np.tril(stress))
            one["stress"] = stress
    assert compare(snapshot, ids_of(images), read) == dropped(exported)
    assert dropped(exported)["hessian"] > 0
    assert dropped(exported)["forces"] == 1  # of a ghost
    assert changed(exported, "stress") == uneven.sum() > 0
    for atoms in images:
        assert atoms.calc is None or atoms.calc.results.get("free_energy") == atoms.calc.results.get("energy")


def test_numbers_of_the_file_that_was_ingested_are_in_the_one_that_is_exported(
    snapshot: Snapshot, tmp_path: Path
) -> None:
    ids = snapshot.sql("SELECT id FROM configurations WHERE path LIKE '%crystal.extxyz'")

    snapshot.export(tmp_path / "a.extxyz", ids=ids)

    count, comment, first, _ = (tmp_path / "a.extxyz").read_text().splitlines()
    assert count == "2"
    for part in (
        'Lattice="4 0 0 0.1 4.2 0 0 0.2 4.4"',
        'pbc="T T T"',
        "energy=-10.12345678",
        'stress="0.01 0.001 0.002 0.001 0.02 0.003 0.002 0.003 0.03"',
        "Properties=species:S:1:pos:R:3:forces:R:3",
        'energy_kind="free"',
    ):
        assert part in comment
    assert first == "Cu 0.1 0.2 0.3 0.01 -0.02 0.03"


def test_ingested_again_it_gives_the_same_ids(snapshot: Snapshot, tmp_path: Path) -> None:
    exported = snapshot.export(tmp_path / "a.extxyz", query="everything")

    ingest(tmp_path / "a.extxyz", tmp_path / "store", default=DECLARED)

    again = {one.tobytes().hex() for one in Store(tmp_path / "store").snapshot().ids()}
    ids = set(ids_of(ase.io.read(tmp_path / "a.extxyz", ":")))
    (partial,) = (note.configurations for note in exported.loss.dropped if note.what == "forces")
    assert len(ids - again) == partial  # the one whose forces are of some atoms only is another row without them


def test_a_prefix_keeps_labels_out_of_the_hands_of_ase(snapshot: Snapshot, tmp_path: Path) -> None:
    ids = snapshot.sql("SELECT id FROM configurations WHERE path LIKE '%crystal.extxyz'")

    snapshot.export(tmp_path / "a.xyz", "extxyz", ids, prefix="REF_")

    (atoms,) = ase.io.read(tmp_path / "a.xyz", ":", format="extxyz")
    assert atoms.info["REF_energy"] == -10.12345678
    assert atoms.info["REF_stress"].tolist() == [0.01, 0.001, 0.002, 0.001, 0.02, 0.003, 0.002, 0.003, 0.03]
    assert atoms.arrays["REF_forces"].tolist() == [[0.01, -0.02, 0.03], [-0.01, 0.02, -0.03]]
    assert atoms.calc is None


def test_a_config_type_with_quotes_and_lines_stays_one_value(snapshot: Snapshot, tmp_path: Path) -> None:
    snapshot.export(
        tmp_path / "a.extxyz", ids=snapshot.sql("SELECT id FROM configurations WHERE forces_are = 'projected'")
    )

    written = (tmp_path / "a.extxyz").read_text()
    assert r'config_type="a \"slab\" = 1\nof | <two>"' in written
    for atoms in ase.io.read(tmp_path / "a.extxyz", ":"):
        assert atoms.info["config_type"].startswith('a "slab" = 1')
        assert atoms.info["forces_are"] == "projected"


def test_the_same_file_whatever_the_blocks(snapshot: Snapshot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot.export(tmp_path / "a.extxyz")
    whole = selection.pieces
    monkeypatch.setattr(selection, "pieces", lambda weight: whole(weight, 7))

    snapshot.export(tmp_path / "b.extxyz")

    assert (tmp_path / "a.extxyz").read_bytes() == (tmp_path / "b.extxyz").read_bytes()


def test_any_finite_number_comes_back_to_the_last_bit(tmp_path: Path) -> None:
    numbers = np.frombuffer(np.random.default_rng(1).bytes(8 * 6000), np.float64)
    numbers = np.concatenate([numbers[np.isfinite(numbers)][:2990], [0.0, -0.0, 5e-324, 1e22, -1e-5, 1e16, 123456.0]])
    numbers = numbers[: len(numbers) // 3 * 3].reshape(-1, 3)
    n = len(numbers)
    block = Frames(
        [n], {"atomic_numbers": np.full(n, 14), "positions": numbers, "pbc": [[0, 0, 0]], "energy": [numbers[0, 0]]}
    )

    (tmp_path / "a.extxyz").write_bytes(extxyz.text(block))

    atoms = ase.io.read(tmp_path / "a.extxyz")
    assert atoms.positions.tobytes() == numbers.tobytes()
    assert atoms.calc.results["energy"] == numbers[0, 0]


def test_the_sidecar_says_where_each_configuration_came_from(snapshot: Snapshot, tmp_path: Path) -> None:
    snapshot.export(tmp_path / "a.extxyz", query="chosen by hand")

    sidecar = json.loads((tmp_path / "a.extxyz.provenance.json").read_text())
    ids = ids_of(ase.io.read(tmp_path / "a.extxyz", ":"))
    assert sidecar["configurations"]["id"] == ids
    assert (sidecar["snapshot"], sidecar["content"]) == (snapshot.record.id, snapshot.content)
    assert sidecar["query"] == "chosen by hand"
    table = snapshot.sql(
        "SELECT hex(c.id) AS id, c.calculation_id, c.method_id, c.license, s.path, c.source_line AS line "
        "FROM configurations c JOIN sources s USING (calculation_record, source_index)"
    ).to_pylist()
    rows = {(row["id"].lower(), row["calculation_id"]): row for row in table}
    for one, place, source in zip(
        ids, *(sidecar["configurations"][key] for key in ("calculation", "source")), strict=True
    ):
        calculation = sidecar["calculations"][place]
        row = rows[one, calculation["id"]]
        assert (calculation["method"], calculation["license"]) == (row["method_id"], row["license"])
        assert calculation["method"] in sidecar["methods"]
        assert source == (row["path"] if row["line"] is None else f"{row['path']}:{row['line']}")
