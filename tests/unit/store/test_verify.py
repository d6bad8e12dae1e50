"""A changed byte is never a wrong number: reading says so or gives what was written, and verify names the file."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow.parquet import read_table

from mlpdata.digest import canonical_json
from mlpdata.errors import CorruptError, MlpdataError, NotFound, UsageError
from mlpdata.store.amendments import Amended
from mlpdata.store.arrays import file_record
from mlpdata.store.commit import Repository
from mlpdata.store.segment import read_segment
from mlpdata.store.tables import COLUMNS, write_table
from mlpdata.store.verify import Part, part_named, verify
from mlpdata.testing.samples import calculation, frames, ingest


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


# what a fault concerns


def first_segment(store: Path) -> Path:
    return store / "segments" / Repository.open(store).snapshot().record.segments[0]


def test_a_fault_says_which_configurations_calculations_and_snapshots_it_concerns(tmp_path: Path) -> None:
    """Shards of two MiB of positions: the second holds the last configurations only."""
    store = tmp_path / "store"
    repository = Repository.create(store)
    many, few = frames(20_000, 1, most=6), frames(30, 2)
    with repository.stage() as writer:
        for number, block in ((1, many), (2, few)):
            writer.begin()
            writer.append(block)
            writer.end(calculation(number))
        repository.commit(writer)
    later = ingest(store, [3])
    path = first_segment(store) / "arrays" / "positions" / "c.0.0"
    block = int(many.n_atoms.sum()) * 24 >> 20  # the MiB in which run 2 begins
    flip(path, (block << 20) + 5)
    first = int(np.searchsorted(many.atom_start, (block << 20) // 24, side="right")) - 1

    (fault,) = verify(store).faults

    assert fault.path == str(path)
    assert fault.rows == ((first, len(many) + len(few)),)
    assert [(one.path, one.n_configurations) for one in fault.calculations] == [
        ("runs/1/vasprun.xml", len(many) - first),
        ("runs/2/vasprun.xml", len(few)),
    ]
    assert set(fault.snapshots) == {later.id, *later.parents}
    assert fault.as_json()["calculations"][1]["n_configurations"] == len(few)


def test_metadata_for_other_readers_concerns_no_configuration(store: Path) -> None:
    flip(first_segment(store) / "arrays" / "forces" / "zarr.json", 7)

    (fault,) = verify(store).faults

    assert (fault.rows, fault.calculations) == ((), ())
    assert fault.snapshots


def test_all_faults_are_named_at_once(store: Path) -> None:
    files = sorted(path for path in store.rglob("*") if path.is_file() and path.suffix in (".parquet", ".bin", ""))
    files = [path for path in files if "segments" in path.parts]
    for path in files:
        flip(path, path.stat().st_size // 2)

    assert {fault.path for fault in verify(store).faults} == {str(path) for path in files}


def test_head_that_is_gone_hides_no_other_fault(store: Path) -> None:
    path = first_segment(store) / "ids.bin"
    flip(path, 3)
    (store / "HEAD").unlink()
    (store / "refs" / "v1").unlink()

    assert {fault.path for fault in verify(store).faults} == {str(store / "HEAD"), str(path)}


# parts


def test_each_file_belongs_to_one_part_whatever_else_there_is(store: Path) -> None:
    before = {path: [number for number in range(1, 6) if Part(number, 5).has(path.name)] for path in store.rglob("*")}
    assert all(len(parts) == 1 for parts in before.values())
    assert len({parts[0] for parts in before.values()}) == 5

    whole = verify(store).n_bytes
    shares = [verify(store, part=Part(number, 5)).n_bytes for number in range(1, 6)]
    assert max(shares) < whole


def test_a_byte_that_changed_is_found_by_the_part_of_its_file_and_by_few_others(store: Path) -> None:
    path = first_segment(store) / "arrays" / "positions" / "c.0.0"
    flip(path, 5)
    (own,) = (number for number in range(1, 6) if Part(number, 5).has(path.relative_to(store).as_posix()))

    found = {number: [fault.path for fault in verify(store, part=Part(number, 5)).faults] for number in range(1, 6)}

    assert found[own] == [str(path)]
    assert sum(map(len, found.values())) <= 2  # the part that works out the rows of the segment reads it as well


@pytest.mark.parametrize("text", ["3", "0/7", "8/7", "a/b", "1/0", "-1/7", "1/7/9", "²/7", ""])
def test_what_is_no_part_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        part_named(text)
    assert part_named("7/7") == (7, 7)


def test_progress_counts_up_to_all_bytes(store: Path) -> None:
    seen: list[tuple[int, int, str]] = []
    verify(store, progress=lambda *step: seen.append(step))
    assert len(seen) == verify(store).n_files - 7  # four snapshots, two segments and an amendment are records
    assert all(done <= total for done, total, _ in seen)


# rows that do not follow from the arrays, though every byte is as it was written


def forged(store: Path, name: str, change: Callable[[pa.Table], pa.Table]) -> None:
    """Write a table anew and let the segment, the snapshot and HEAD name what was written."""
    head = Repository.open(store).snapshot().record
    folder = first_segment(store)
    table = change(read_table(folder / f"{name}.parquet"))
    (folder / f"{name}.parquet").unlink()
    write_table(folder / f"{name}.parquet", iter([table]), COLUMNS[name])
    segment = read_segment(store, folder.name)
    files = {**segment.files, f"{name}.parquet": file_record(folder / f"{name}.parquet")}
    segment = segment.replace(files=files)
    (folder / "segment.json").write_bytes(canonical_json(segment.as_json()))
    folder.rename(folder.with_name(segment.id))
    snapshot = head.replace(parents=(), segments=(segment.id,))
    (store / "snapshots" / f"{snapshot.id}.json").write_bytes(canonical_json(snapshot.as_json()))
    (store / "HEAD").write_text(f"{snapshot.id}\n")


def with_column(table: pa.Table, name: str, change: Callable[[list[Any]], list[Any]]) -> pa.Table:
    at = table.schema.get_field_index(name)
    return table.set_column(at, table.schema.field(at), pa.array(change(table[name].to_pylist()), table[name].type))


@pytest.mark.parametrize(
    ("table", "column", "change"),
    [
        ("configurations", "energy", lambda values: [values[0] + 1, *values[1:]]),
        ("configurations", "energy", lambda values: [None, *values[1:]]),
        ("configurations", "id", lambda values: [values[1], values[0], *values[2:]]),
        ("configurations", "row", lambda values: [values[1], *values[1:]]),
        ("configurations", "step", lambda values: [7, *values[1:]]),
        ("configurations", "calculation_record", lambda values: values[::-1]),
        ("calculations", "json", lambda values: [values[0].replace("PBE", "LDA"), *values[1:]]),
        ("calculations", "path", lambda values: values[::-1]),
        ("calculations", "n_configurations", lambda values: [2, *values[1:]]),
        ("calculations", "content", lambda values: values[::-1]),
    ],
)
def test_tables_that_do_not_say_what_the_arrays_hold_are_named(
    tmp_path: Path, table: str, column: str, change: Callable[[list[Any]], list[Any]]
) -> None:
    store = tmp_path / "store"
    ingest(store, [1, 2])
    assert verify(store).ok

    forged(store, table, lambda whole: with_column(whole, column, change))

    assert {Path(fault.path).name for fault in verify(store).faults} == {f"{table}.parquet"}
