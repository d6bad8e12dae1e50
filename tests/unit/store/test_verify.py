"""A changed byte is never a wrong number: reading says so or gives what was written, and verify names the file."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlpdata.errors import CorruptError, MlpdataError, NotFound
from mlpdata.store.amendments import Amended
from mlpdata.store.commit import Repository
from mlpdata.store.verify import verify
from mlpdata.testing.samples import calculation, ingest


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Two segments, an amendment, a retraction, a tag."""
    first = ingest(tmp_path / "store", [1, 2])
    last = ingest(tmp_path / "store", [3])
    repository = Repository.open(tmp_path / "store")
    wanted = calculation(3, kind="random", license=None)
    repository.commit(amend=[Amended(last.segments[1], calculation(3).record, wanted, 1)], by="ann", why="rattled")
    repository.commit(retract=[(first.segments[0], calculation(2).record, "test")])
    repository.tag("v1")
    return tmp_path / "store"


def everything(store: Path) -> list[Any]:
    """All that a reader can get."""
    repository = Repository.open(store)
    snapshot = repository.snapshot()
    frames = snapshot.read(snapshot.ids())
    tables = [snapshot.table(name) for name in ("configurations", "calculations", "methods", "sources")]
    arrays = [array.tobytes() for array in frames.arrays.values()]
    return [snapshot.record, repository.snapshot("v1").record, *tables, *arrays, snapshot.rows(snapshot.ids()).tolist()]


def flip(path: Path, at: int, bit: int = 0) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1 << bit
    path.write_bytes(content)


def test_a_store_that_is_well_has_no_fault(store: Path) -> None:
    report = verify(store)

    assert report.ok
    assert (report.n_snapshots, report.n_segments, report.n_amendments) == (4, 2, 1)
    files = [
        path for path in store.rglob("*") if path.is_file() and "HEAD" not in path.name and "refs" not in path.parts
    ]
    assert report.n_files == len(files)
    assert verify(store, quick=True).ok


@pytest.mark.parametrize("per_file", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_flipped_bits_are_reported_wherever_they_are(store: Path, per_file: int) -> None:
    expected = everything(store)
    random = np.random.default_rng(per_file)
    pristine = store.with_name("pristine")
    shutil.copytree(store, pristine)
    files = sorted(path.relative_to(store) for path in store.rglob("*") if path.is_file())

    for name in files:
        size = (pristine / name).stat().st_size
        for at in random.choice(size, min(size, per_file), replace=False).tolist():
            flip(store / name, at, int(random.integers(8)))
            with contextlib.suppress(MlpdataError):
                assert everything(store) == expected, f"{name} byte {at}"
            assert complains(store, name), f"{name} byte {at}"
            shutil.copyfile(pristine / name, store / name)


def complains(store: Path, name: Path) -> bool:
    """Whether verify finds a fault; a bit of a version number may also make it a newer store."""
    try:
        return not verify(store).ok
    except MlpdataError:
        return True


@pytest.mark.parametrize("folder", ["snapshots", "amendments", "refs", "."])
def test_every_byte_of_head_tags_snapshots_and_amendments_is_guarded(store: Path, folder: str) -> None:
    for path in sorted(path for path in (store / folder).iterdir() if path.is_file()):
        content = path.read_bytes()
        for at in range(len(content)):
            flip(path, at, at % 8)
            with pytest.raises(CorruptError):
                read_records(store)
            path.write_bytes(content)


def read_records(store: Path) -> None:
    repository = Repository.open(store)
    list(repository.log())
    repository.snapshot("v1").visible_rows()


def test_every_byte_of_a_segment_record_is_guarded(store: Path) -> None:
    path = next((store / "segments").glob("*/segment.json"))
    content = path.read_bytes()
    for at in range(0, len(content), 7):
        flip(path, at, at % 8)
        with pytest.raises(CorruptError):
            Repository.open(store).snapshot()
        path.write_bytes(content)


@pytest.mark.parametrize(
    "name",
    [
        "arrays/positions/c.0.0",
        "arrays/zarr.json",
        "configurations.parquet",
        "calculations.parquet",
        "ids.bin",
        "segment.json",
    ],
)
@pytest.mark.parametrize("damage", ["missing", "truncated", "longer", "empty"])
@pytest.mark.parametrize("quick", [True, False])
def test_files_that_are_missing_or_of_another_size_are_named(store: Path, name: str, damage: str, quick: bool) -> None:
    path = next((store / "segments").iterdir()) / name
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes({"truncated": content[:-1], "longer": content + b"\0", "empty": b""}[damage])

    faults = verify(store, quick=quick).faults

    assert str(path) in {fault.path for fault in faults}


def test_two_files_that_changed_places_are_both_named(store: Path) -> None:
    first, second = (folder / "arrays" / "energy" / "c.0" for folder in sorted((store / "segments").iterdir()))
    a, b = first.read_bytes(), second.read_bytes()
    first.write_bytes(b)
    second.write_bytes(a)

    assert {str(first), str(second)} <= {fault.path for fault in verify(store).faults}


def test_a_file_that_no_record_names_is_reported(store: Path) -> None:
    stranger = next((store / "segments").iterdir()) / "arrays" / "energy" / "c.1"
    stranger.write_bytes(b"?")

    assert [fault.path for fault in verify(store).faults] == [str(stranger)]


def test_a_segment_that_is_gone_is_reported_once(store: Path) -> None:
    segment = sorted((store / "segments").iterdir())[0]
    shutil.rmtree(segment)

    (fault,) = verify(store).faults
    assert segment.name in fault.path


def test_an_old_snapshot_that_is_gone_is_reported(store: Path) -> None:
    oldest = list(Repository.open(store).log())[-1]
    path = store / "snapshots" / f"{oldest.id}.json"
    path.unlink()

    assert str(path) in {fault.path for fault in verify(store).faults}


def test_leftovers_of_an_attempt_that_died_are_no_fault(store: Path) -> None:
    (store / "HEAD.tmp").write_text("half")
    (store / "snapshots" / ("0" * 64 + ".json.tmp")).write_text("{")
    orphan = store / "segments" / ("0" * 64)
    orphan.mkdir()

    assert verify(store).ok


def test_where_there_is_no_store_verify_says_so(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        verify(tmp_path / "store")
