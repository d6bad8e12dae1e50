"""Differences: configurations are matched by id, then by geometry; calculations by run; nothing is counted twice."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mlpdata.annotate import annotate
from mlpdata.differences import Differences, differences
from mlpdata.frames import Frames, concatenate
from mlpdata.schema.calculation import Calculation
from mlpdata.schema.records import Snapshot
from mlpdata.store.commit import Repository
from mlpdata.testing.samples import calculation, frames, ingest

METHOD = calculation(1).method.replace(cutoff_energy=600.0)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """Runs 1 and 2 of four configurations each."""
    ingest(tmp_path / "store", [1, 2], n_configurations=4)
    return Repository.open(tmp_path / "store")


def replaced(repository: Repository, new: Calculation, block: Frames, gone: int = 1) -> Snapshot:
    """Another reading takes the place of a run."""
    head = repository.head()
    assert head is not None
    with repository.stage() as writer:
        writer.begin()
        writer.append(block)
        writer.end(new)
        hidden = [(head.segments[0], calculation(gone).record, "superseded")]
        return repository.commit(writer, retract=hidden)


def since_the_first(repository: Repository) -> Differences:
    first = list(repository.log())[-1]
    return differences(repository.snapshot(first.id), repository.snapshot())


def shifted(block: Frames, energy: float, force: float) -> Frames:
    """The same geometries with other labels: each energy by `energy` [eV], each force along x by `force` [eV/angstrom]."""
    return Frames(
        block.n_atoms,
        {
            **block.arrays,
            "energy": block.get("energy") + energy,
            "forces": block.get("forces") + np.array([force, 0, 0]),
        },
    )


def test_a_snapshot_does_not_differ_from_itself(repository: Repository) -> None:
    found = since_the_first(repository)
    assert found.none
    assert (found.added, found.removed, found.relabelled) == (0, 0, 0)
    assert found.calculations.num_rows == 0


def test_what_came_and_what_went_is_counted_by_calculation(repository: Repository) -> None:
    ingest(repository.path, [3], n_configurations=5)
    head = repository.head()
    assert head is not None
    repository.commit(retract=[(head.segments[0], calculation(2).record, "wrong")])

    found = since_the_first(repository)

    assert (found.added, found.removed, found.relabelled, found.none) == (5, 4, 0, False)
    assert found.attributes.added == (calculation(3).path,)
    assert found.attributes.removed == (calculation(2).path,)
    rows = [(row["path"], row["added"], row["removed"]) for row in found.calculations.to_pylist()]
    assert rows == [(calculation(2).path, 0, 4), (calculation(3).path, 5, 0)]


def test_the_way_back_swaps_what_came_and_what_went(repository: Repository) -> None:
    first = repository.snapshot()
    ingest(repository.path, [3], n_configurations=5)
    found = differences(repository.snapshot(), first)
    assert (found.added, found.removed) == (0, 5)


def test_labels_that_moved_are_measured_in_milli_electronvolt(repository: Repository) -> None:
    before, moved = frames(4, 1), shifted(frames(4, 1), 0.1, 0.02)
    replaced(repository, calculation(1, citation="again"), concatenate([before.select([0]), moved.select([1, 2, 3])]))

    found = since_the_first(repository)

    assert (found.added, found.removed, found.relabelled) == (0, 0, 3)
    change = 100.0 / before.n_atoms[1:]
    assert found.energy == pytest.approx((change.max(), change.mean(), 3))
    assert found.forces == pytest.approx((20.0, 20.0, 3))
    (row,) = found.calculations.to_pylist()
    assert (row["path"], row["relabelled"]) == (calculation(1).path, 3)
    assert row["max_energy_change"] == pytest.approx(change.max())
    assert row["mean_force_change"] == pytest.approx(20.0)


def test_the_mean_of_force_changes_is_over_atoms(repository: Repository) -> None:
    before = frames(4, 1)
    forces = before.get("forces").copy()
    forces[0, 1] += 0.5
    replaced(repository, calculation(1, citation="x"), Frames(before.n_atoms, {**before.arrays, "forces": forces}))

    found = since_the_first(repository)

    assert found.forces == pytest.approx((500.0, 500.0 / before.n_atoms[0], 1))
    assert found.energy == pytest.approx((0.0, 0.0, 1))


def test_labels_that_one_side_lacks_are_not_compared(repository: Repository) -> None:
    replaced(repository, calculation(1, citation="without forces"), frames(4, 1, forces=False))
    found = since_the_first(repository)
    assert found.relabelled == 4
    assert found.forces == (None, None, 0)
    assert found.energy == (0.0, 0.0, 4)
    assert json.dumps(found.as_json(), allow_nan=False)


def test_a_geometry_of_two_levels_of_theory_is_compared_within_each(tmp_path: Path) -> None:
    """Both runs have the same geometries at energies 10 eV apart; each is computed anew and moves by 1 meV."""
    repository, block = Repository.create(tmp_path / "store"), frames(3, 1)
    low, high = calculation(1), calculation(2, method=METHOD)
    for shift, citation in ((0.0, None), (0.001, "again")):
        head = repository.head()
        hidden = [(head.segments[0], one.record, "superseded") for one in (low, high)] if head else []
        with repository.stage() as writer:
            for one, energy in ((high, 10.0), (low, 0.0))[:: 1 if citation else -1]:
                writer.begin()
                writer.append(shifted(block, energy + shift, 0.0))
                writer.end(one.replace(citation=citation))
            repository.commit(writer, retract=hidden)

    found = since_the_first(repository)

    assert found.relabelled == 6
    assert found.energy.largest == pytest.approx((1.0 / block.n_atoms).max(), abs=1e-6)


def test_an_id_that_two_runs_had_and_one_has_left_is_removed_once(repository: Repository) -> None:
    with repository.stage() as writer:
        writer.begin()
        writer.append(frames(4, 1))
        writer.end(calculation(9))
        repository.commit(writer)
    first, head = repository.snapshot(), repository.head()
    assert head is not None
    repository.commit(retract=[(head.segments[1], calculation(9).record, "a copy")])

    found = differences(first, repository.snapshot())

    assert (found.added, found.removed, found.relabelled) == (0, 4, 0)
    assert found.attributes.removed == (calculation(9).path,)


def test_attributes_that_were_annotated_are_named_with_both_values(repository: Repository) -> None:
    annotate(repository.path, "SELECT calculation_id FROM calculations", {"license": "CC0-1.0", "tag.phase": "ice"})
    annotate(repository.path, "SELECT calculation_id FROM calculations WHERE path LIKE '%/2/%'", {"kind": "defect"})

    found = since_the_first(repository)

    assert (found.added, found.removed, found.relabelled, found.none) == (0, 0, 0, False)
    changed = {(one.name, one.old, one.new): one.paths for one in found.attributes.changed}
    both = (calculation(1).path, calculation(2).path)
    assert changed == {
        ("license", "CC-BY-4.0", "CC0-1.0"): both,
        ("tags", "config_type=liquid", "config_type=liquid,phase=ice"): both,
        ("kind", "aimd", "defect"): both[1:],
    }


def test_a_method_that_took_the_place_of_another_is_told_by_its_settings(repository: Repository) -> None:
    replaced(repository, calculation(1, method=METHOD), shifted(frames(4, 1), 0.5, 0.0))
    (change,) = since_the_first(repository).attributes.methods
    assert dict(change.settings) == {"cutoff_energy": (500.0, 600.0)}
    assert change.paths == (calculation(1).path,)


def test_a_run_that_was_computed_anew_elsewhere_is_related_by_its_geometries(repository: Repository) -> None:
    replaced(repository, calculation(7, method=METHOD), shifted(frames(4, 1), 0.5, 0.0))

    found = since_the_first(repository)

    assert found.relabelled == 4
    assert (found.attributes.added, found.attributes.removed) == ((calculation(7).path,), (calculation(1).path,))
    assert ("path", calculation(1).path, calculation(7).path) in [one[:3] for one in found.attributes.changed]
    assert [dict(one.settings) for one in found.attributes.methods] == [{"cutoff_energy": (500.0, 600.0)}]


def test_counts_balance_whatever_was_done(tmp_path: Path) -> None:
    """n(after) - n(before) = added - removed, over every pair of snapshots of a random history."""
    random, store = np.random.default_rng(7), tmp_path / "store"
    ingest(store, [1, 2, 3], n_configurations=3)
    repository = Repository.open(store)
    for _ in range(3):
        head = repository.head()
        assert head is not None
        hidden = [(one.segment, one.calculation) for one in head.retracted]
        shown = [
            (segment, one.record) for segment, one, gone in repository.snapshot().stored_calculations() if not gone
        ]
        chosen = shown[random.integers(len(shown))]
        repository.commit(retract=[(*chosen, "drawn")], restore=hidden[:1])
        ingest(store, random.integers(1, 12, 3).tolist(), n_configurations=3)
    snapshots = [repository.snapshot(one.id) for one in repository.log()]
    for before in snapshots[::2]:
        for after in snapshots:
            found = differences(before, after)
            assert len(after.ids()) - len(before.ids()) == found.added - found.removed
            mine, theirs = ({one.tobytes() for one in side.ids()} for side in (before, after))
            assert (found.added == 0) == (theirs <= mine)
