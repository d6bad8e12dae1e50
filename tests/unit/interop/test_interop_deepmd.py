"""deepmd/npy: dpdata reads the systems; energies, forces, cells and virials are those of the store."""

from __future__ import annotations

import json
from pathlib import Path

import dpdata
import numpy as np
import pytest
from compared import changed, dropped, of_one

from mlpdata.api import Snapshot
from mlpdata.interop import deepmd, selection
from mlpdata.interop.export import Export
from mlpdata.interop.loss import CHANGED, DROPPED
from mlpdata.interop.names import EXPORTED
from mlpdata.testing import samples


@pytest.fixture
def exported(snapshot: Snapshot, tmp_path: Path) -> Export:
    return snapshot.export(tmp_path / "dp", "deepmd")


def systems(folder: Path) -> dict[str, tuple[dict[str, np.ndarray], list[str]]]:
    """What dpdata reads of each system, and its ids by the sidecar."""
    sidecar = json.loads((folder / "provenance.json").read_text())
    found = {}
    for one in sidecar["systems"]:
        kind = dpdata.System if "no-energy" in one["name"] or "no-force" in one["name"] else dpdata.LabeledSystem
        read = kind(str(folder / one["name"]), fmt="deepmd/npy")
        found[one["name"]] = read.data, sidecar["configurations"]["id"][one["first"] : one["end"]]
    return found


def test_dpdata_reads_what_the_store_shows(snapshot: Snapshot, exported: Export) -> None:
    n_sorted = n_virials = n_read = 0
    for name, (data, ids) in systems(exported.path).items():
        frames = snapshot.read(ids)
        n_read += len(ids)
        for i in range(len(ids)):
            z, positions, pbc = (of_one(frames, key, i) for key in ("atomic_numbers", "positions", "pbc"))
            order = np.argsort(z, kind="stable")
            n_sorted += not (np.diff(order) == 1).all()
            symbols = np.array(data["atom_names"])[data["atom_types"]].tolist()
            assert symbols == [dpdata.periodic_table.ELEMENTS[one - 1] for one in z[order]]
            np.testing.assert_array_equal(data["coords"][i], positions[order])
            assert data.get("nopbc", False) == (not pbc.any()) == (".nopbc" in name)
            if pbc.any():
                np.testing.assert_array_equal(data["cells"][i], of_one(frames, "cell", i))
            forces, stress, energy = (of_one(frames, key, i) for key in ("forces", "stress", "energy"))
            if "energies" in data:
                assert data["energies"][i] == energy
                np.testing.assert_array_equal(data["forces"][i], forces[order])
            if pbc.any() and stress is not None:
                n_virials += 1
                if "virials" in data:
                    np.testing.assert_array_equal(data["virials"][i], -stress * frames.volume[i])
            assert ("virials" in data) <= (stress is not None)
    assert (changed(exported, "atoms"), n_read) == (n_sorted, exported.n_configurations)
    assert sum(note.configurations for note in exported.loss.changed if "virial, " in note.why) == n_virials


def test_the_virial_of_a_compressed_cell_is_positive(snapshot: Snapshot, tmp_path: Path) -> None:
    """Compression is a negative stress here; DeePMD-kit's virial is then positive, as -stress * volume."""
    pressed = snapshot.sql("SELECT id FROM configurations WHERE pressure > 0 AND pbc = 'TTT' AND code = 'vasp'")

    exported = snapshot.export(tmp_path / "dp", "deepmd", pressed)

    for data, _ in systems(exported.path).values():
        assert (np.trace(data["virials"], axis1=1, axis2=2) > 0).all()


def test_files_have_the_shapes_that_deepmd_kit_asks_for(exported: Export) -> None:
    folder = exported.path / "GeSi"
    n_types = (folder / "type_map.raw").read_text().split()
    assert set((folder / "type.raw").read_text().split()) == {str(n_types.index(one)) for one in ("Si", "Ge")}
    coord, box, energy, virial = (
        np.load(folder / f"set.000/{one}.npy") for one in ("coord", "box", "energy", "virial")
    )
    n = len(coord)
    assert n > 1
    assert (coord.shape, box.shape, energy.shape, virial.shape) == ((n, 6), (n, 9), (n,), (n, 9))
    assert {one.dtype for one in (coord, box, energy, virial)} == {np.dtype(np.float64)}
    (nopbc,) = (one for one in exported.path.iterdir() if one.name == "H2O.nopbc")
    assert (nopbc / "nopbc").is_file()
    assert not (nopbc / "set.000/box.npy").exists()


def test_the_order_of_atoms_can_be_undone(snapshot: Snapshot, exported: Export) -> None:
    for name, (data, ids) in systems(exported.path).items():
        order = np.load(exported.path / name / "set.000/atom_order.npy")
        frames = snapshot.read(ids)
        for i in range(len(ids)):
            restored = np.empty_like(data["coords"][i])
            restored[order[i]] = data["coords"][i]
            np.testing.assert_array_equal(restored, of_one(frames, "positions", i))


def test_the_report_counts_what_the_format_has_no_place_for(snapshot: Snapshot, exported: Export) -> None:
    frames = snapshot.read([one for _, ids in systems(exported.path).values() for one in ids])
    n = len(frames)
    for name in EXPORTED:
        known = [one for one in (of_one(frames, name, i) for i in range(n)) if one is not None]
        if name == "forces":
            assert dropped(exported)[name] == sum(np.isnan(one).any() for one in known)
        elif name not in ("cell", "energy", "stress", "atomic_energies"):
            assert dropped(exported)[name] == len(known), name
        else:
            assert dropped(exported)[name] == 0
    partly = (frames.pbc.any(axis=1) & ~frames.pbc.all(axis=1)).sum()
    assert changed(exported, "pbc") == partly > 0


def test_a_layer_without_a_third_vector_is_left_out_and_named(snapshot: Snapshot, exported: Export) -> None:
    sidecar = json.loads((exported.path / "provenance.json").read_text())
    ((why, ids),) = sidecar["left_out"].items()
    frames = snapshot.read(ids)
    assert np.isnan(frames.volume).all()
    assert frames.pbc.any(axis=1).all()
    assert not set(ids) & set(sidecar["configurations"]["id"])
    assert (why, len(ids)) in {(note.why, note.configurations) for note in exported.loss.left_out}


def test_the_same_files_whatever_the_blocks(
    snapshot: Snapshot, exported: Export, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = selection.pieces
    monkeypatch.setattr(selection, "pieces", lambda weight: whole(weight, 7))

    again = snapshot.export(tmp_path / "other", "deepmd")

    for path in exported.path.rglob("*.npy"):
        assert path.read_bytes() == (again.path / path.relative_to(exported.path)).read_bytes(), path


def test_a_box_that_is_not_periodic_is_dropped_and_so_is_the_stress_in_it() -> None:
    block = samples.frames(3, 1).with_arrays(pbc=[[1, 1, 1], [0, 0, 0], [0, 0, 0]])

    counts = {note: mask.sum() for note, mask in deepmd.differences(block).items()}

    assert counts[DROPPED, "cell", "not periodic: there is no box"] == 2
    assert counts[DROPPED, "stress", "not periodic: there is no virial"] == 2
    assert sum(number for (kind, what, _), number in counts.items() if (kind, what) == (CHANGED, "stress")) == 1
