"""Reading the outputs again: what is the same, what changed on disk, what the readers of today give otherwise."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_runs import DONE, OTHER, put

import mlpdata
from mlpdata.errors import NotFound, UsageError
from mlpdata.frames import Frames
from mlpdata.intake import ingest, sync
from mlpdata.rebuilding import RebuildReport, Rebuilt, rebuild
from mlpdata.schema.calculation import Calculation
from mlpdata.store.commit import Repository
from mlpdata.store.repair import repair
from mlpdata.store.verify import verify

THIRD = replace(DONE, seed=11, started=900)


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three runs, synced into `store`."""
    monkeypatch.chdir(tmp_path)
    for name, run in (("a", DONE), ("b", OTHER), ("c", THIRD)):
        put(Path("raw") / name, run)
    sync("raw", "store")
    return Path("raw")


def by_path(report: RebuildReport) -> dict[str, Rebuilt]:
    return {one.path: one for one in report.calculations}


def stored(path: str) -> tuple[tuple[str, str], Calculation, Frames]:
    """Key, record and configurations of a stored calculation."""
    snapshot = Repository.open("store").snapshot()
    for segment, record, one, hidden in snapshot.keyed():
        if one.path == path and not hidden:
            return (segment, record), one, snapshot.read(snapshot.ids_of(segment, record))
    raise AssertionError(path)


def store_instead(path: str, frames: Frames, calculation: Calculation) -> None:
    """What a reader with a mistake would have stored for the same file."""
    key, _, _ = stored(path)
    repository = Repository.open("store")
    with repository.stage() as writer:
        writer.begin()
        writer.append(frames)
        writer.end(calculation)
        repository.commit(writer, retract=[(*key, "test")])


def test_outputs_that_did_not_change_give_the_same_numbers(tree: Path) -> None:
    for jobs in (1, 2):
        report = rebuild("store", jobs=jobs)
        assert report.ok
        assert dict(report.counts) == {"same": 3}
        assert report.n_configurations == Repository.open("store").snapshot().record.n_configurations


def test_nothing_is_written(tree: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in Path().rglob("*")}
    rebuild("store")
    assert {path: path.stat().st_mtime_ns for path in Path().rglob("*")} == before


def test_another_number_is_named_with_its_configuration_and_by_how_much(tree: Path) -> None:
    _, record, frames = stored("a/OUTCAR")
    energy, forces = frames.energy.copy(), frames.forces.copy()
    energy[1] += 0.25
    forces[-1, 2] -= 0.5
    wrong = frames.with_arrays(energy=energy, forces=forces)
    store_instead("a/OUTCAR", wrong, record.replace(warnings=("read by mistake",)))

    found = by_path(rebuild("store"))

    assert found["b/OUTCAR"].state == found["c/OUTCAR"].state == "same"
    assert found["a/OUTCAR"].state == "numbers"
    differences = {one.name: one for one in found["a/OUTCAR"].differences}
    assert set(differences) == {"energy", "forces"}
    assert (differences["energy"].first, differences["energy"].n_configurations) == (1, 1)
    assert differences["energy"].largest == pytest.approx(0.25)
    assert (differences["forces"].first, differences["forces"].unit) == (len(frames) - 1, "eV/angstrom")
    assert differences["forces"].largest == pytest.approx(0.5)


def test_a_label_that_only_one_side_has_is_named(tree: Path) -> None:
    _, record, frames = stored("a/OUTCAR")
    bare = Frames(frames.n_atoms, {name: value for name, value in frames.arrays.items() if name != "forces"})
    store_instead("a/OUTCAR", bare, record.replace(warnings=("read by mistake",)))

    (forces,) = by_path(rebuild("store"))["a/OUTCAR"].differences

    assert (forces.name, forces.largest) == ("forces", np.inf)
    assert "once only" in str(forces)


def test_fewer_configurations_are_other_numbers(tree: Path) -> None:
    _, record, frames = stored("a/OUTCAR")
    store_instead("a/OUTCAR", frames.select(np.arange(len(frames) - 1)), record.replace(warnings=("cut",)))

    found = by_path(rebuild("store"))["a/OUTCAR"]

    assert (found.state, found.what) == ("numbers", f"expected {len(frames) - 1} configurations, found {len(frames)}")


def test_a_reader_of_another_version_is_named_though_its_numbers_are_the_same(tree: Path) -> None:
    _, record, frames = stored("a/OUTCAR")
    (source,) = record.sources
    older = source.replace(reader_version=source.reader_version + 7)
    store_instead("a/OUTCAR", frames, record.replace(sources=(older,)))

    report = rebuild("store")

    assert report.ok
    assert report.readers == [f"a/OUTCAR: {source.reader} {source.reader_version + 7} -> {source.reader_version}"]


def test_files_that_changed_or_went_are_told_apart(tree: Path) -> None:
    path = tree / "a" / "OUTCAR"
    expected = by_path(rebuild("store"))["a/OUTCAR"]
    assert expected.state == "same"
    path.write_bytes(path.read_bytes() + b"\n")
    shutil.rmtree(tree / "b")

    found = by_path(rebuild("store"))

    assert {name: one.state for name, one in found.items()} == {
        "a/OUTCAR": "bytes", "b/OUTCAR": "missing", "c/OUTCAR": "same",
    }  # fmt: skip
    (source,) = stored("a/OUTCAR")[1].sources
    assert source.sha256 in found["a/OUTCAR"].what


def test_a_tree_that_moved_is_named(tree: Path) -> None:
    tree.rename("elsewhere")
    with pytest.raises(UsageError, match="found none"):
        rebuild("store")
    assert rebuild("store", Path("elsewhere")).ok


def test_what_was_ingested_is_looked_for_where_it_was(tree: Path) -> None:
    ingest("raw", "other")
    assert rebuild("other").ok
    tree.rename("elsewhere")
    with pytest.raises(UsageError, match="expected the outputs"):
        rebuild("other")


def test_an_empty_store_has_nothing_to_compare(tmp_path: Path) -> None:
    Repository.create(tmp_path / "store")
    with pytest.raises(NotFound):
        rebuild(tmp_path / "store")


def test_a_sync_brings_back_what_was_given_up(tree: Path) -> None:
    """Same content as before the damage: the outputs are still there."""
    before = mlpdata.Store("store").snapshot().content
    (segment,) = Repository.open("store").snapshot().record.segments
    path = Path("store/segments") / segment / "arrays/positions/c.0.0"
    content = bytearray(path.read_bytes())
    content[:16] = bytes(255 - one for one in content[:16])
    path.write_bytes(content)
    lost = repair("store", drop=True).lost
    assert len(lost) == 1

    for exact in (False, True):
        report = sync(tree, "store", exact=exact)
        assert [one.path for one in report.entered] == ([] if exact else [lost[0].path])
        assert report.content == before
    assert verify("store").ok
    assert rebuild("store").ok
