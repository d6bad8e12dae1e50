"""A scan reads what was asked for, as late as it can, and shows what the snapshot shows."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from mlpdata.errors import CorruptError, UsageError
from mlpdata.store.amendments import Amended
from mlpdata.store.commit import Repository
from mlpdata.store.scanning import Columns, Condition, Portion, Scanned
from mlpdata.store.snapshot import OpenSnapshot
from mlpdata.testing.samples import calculation, ingest

SCHEMA = pa.schema([("id", pa.int64()), ("energy", pa.float64())])
Read = list[tuple[int, tuple[str, ...]]]


@pytest.fixture
def read() -> Read:
    """Which portion was asked for which columns."""
    return []


@pytest.fixture
def scanned(read: Read) -> Scanned:
    """A hundred portions of three rows: ids count on, and so do energies; every third row is hidden."""

    def columns(number: int, names: Sequence[str]) -> Columns:
        read.append((number, tuple(names)))
        ids = [3 * number + row for row in range(3)]
        return {name: pa.chunked_array([pa.array(ids, SCHEMA.field(name).type)]) for name in names}

    def portions(_: Condition) -> Iterator[Portion]:
        for number in range(100):
            yield Portion(functools.partial(columns, number), lambda: pa.array([True, True, False]))

    return Scanned(SCHEMA, portions, threads=2)


def test_a_scan_gives_the_rows_that_are_shown_in_their_order(scanned: Scanned) -> None:
    assert scanned.to_table()["id"].to_pylist() == [one for one in range(300) if one % 3 < 2]
    assert scanned.count_rows() == 200
    assert scanned.count_rows(pc.field("energy") < 30) == 20
    assert scanned.scanner(["energy"], pc.field("id") == 31).to_table().to_pydict() == {"energy": [31.0]}


def test_columns_are_read_only_where_a_row_is_left(scanned: Scanned, read: Read) -> None:
    assert scanned.to_table(["id"], pc.field("energy") == 31)["id"].to_pylist() == [31]
    assert sorted(number for number, columns in read if columns == ("energy",)) == list(range(100))
    assert [number for number, columns in read if columns == ("id",)] == [10]


def test_who_takes_few_rows_pays_for_few(scanned: Scanned, read: Read) -> None:
    reader = scanned.scanner().to_reader()
    assert reader.read_next_batch().num_rows == 2
    assert len(read) == 1
    reader.read_next_batch()
    del reader
    assert len(read) <= 5


def test_a_column_that_is_not_there_and_other_ways_of_reading_are_refused(scanned: Scanned) -> None:
    with pytest.raises(UsageError, match="expected one of id, energy, found the column 'forces'"):
        scanned.to_table(["forces"])
    with pytest.raises(UsageError, match="another way to use a dataset"):
        scanned.filter(pc.field("energy") < 0)


def test_the_error_of_a_portion_is_kept_as_it_was() -> None:
    def damaged(_: Sequence[str]) -> Columns:
        raise CorruptError("expected a page, found none.")

    scanned = Scanned(SCHEMA, lambda _: iter([Portion(damaged)] * 3))
    with pytest.raises(CorruptError, match="found none"):
        scanned.to_table()
    assert isinstance(scanned.failure, CorruptError)


@pytest.fixture
def snapshot(tmp_path: Path) -> OpenSnapshot:
    """Runs 1, 2, 3 and 4, 5 of twenty configurations: 2 is hidden, 1 of another kind and without its first three."""
    first = ingest(tmp_path / "store", [1, 2, 3], n_configurations=20)
    ingest(tmp_path / "store", [4, 5], n_configurations=20)
    repository = Repository.open(tmp_path / "store")
    changed = calculation(1, kind="random", tags={"config_type": "melt", "by": "hand"})
    repository.commit(
        amend=[Amended(first.segments[0], calculation(1).record, changed, 3)],
        retract=[(first.segments[0], calculation(2).record, "test")],
    )
    return repository.snapshot()


@pytest.mark.parametrize(
    ("condition", "kept"),
    [
        (pc.field("kind") == "random", lambda row: row["kind"] == "random"),
        (pc.field("config_type") != "melt", lambda row: row["config_type"] != "melt"),
        ((pc.field("group") == "group 1") & (pc.field("energy") < 0), lambda row: row["group"] == "group 1" and row["energy"] < 0),
        (pc.field("segment") == 1, lambda row: row["segment"] == 1),
        ((pc.field("global_row") >= 41) & (pc.field("row") < 50), lambda row: row["global_row"] >= 41 and row["row"] < 50),
        (pc.field("formula") > "H", lambda row: row["formula"] > "H"),
        (pc.field("pressure").is_null(), lambda row: row["pressure"] is None),
    ],
)  # fmt: skip
@pytest.mark.parametrize("columns", [["id"], ["tags", "id"], ["kind", "global_row"], ["composition", "segment"], None])
def test_a_filter_keeps_the_rows_that_a_loop_would_keep(
    snapshot: OpenSnapshot,
    condition: pc.Expression,
    kept: Callable[[dict[str, object]], bool],
    columns: list[str] | None,
) -> None:
    whole = snapshot.table("configurations")
    found = snapshot.dataset("configurations").to_table(columns, condition)

    assert len(whole) == 77
    expected = [row for row in whole.to_pylist() if kept(row)]
    assert found.to_pylist() == [{name: row[name] for name in columns or row} for row in expected]


def test_amended_rows_say_what_the_amendment_says(snapshot: OpenSnapshot) -> None:
    table = snapshot.table("configurations", ["path", "kind", "tags", "global_row"])
    changed = [row for row in table.to_pylist() if row["path"] == calculation(1).path]

    assert {row["kind"] for row in changed} == {"random"}
    assert all(row["tags"] == [("by", "hand"), ("config_type", "melt")] for row in changed)
    assert sorted(row["global_row"] for row in changed) == list(range(3, 20))
    assert {row["kind"] for row in table.to_pylist() if row["path"] != calculation(1).path} == {"aimd"}
    calculations = snapshot.dataset("calculations").to_table(["path", "n_configurations"], pc.field("kind") == "random")
    assert calculations.to_pylist() == [{"path": calculation(1).path, "n_configurations": 17}]
    assert snapshot.dataset("sources").count_rows() == 4
