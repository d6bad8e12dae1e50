"""Tables and ids of an open snapshot."""

from __future__ import annotations

from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from mlpdata.errors import CorruptError, UsageError
from mlpdata.frames import concatenate
from mlpdata.store.columns import ids_of
from mlpdata.store.commit import Repository
from mlpdata.store.snapshot import OpenSnapshot
from mlpdata.testing.samples import calculation, frames, ingest


@pytest.fixture
def snapshot(tmp_path: Path) -> OpenSnapshot:
    """Runs 1 and 2 in one segment, 3 in another, 2 hidden."""
    first = ingest(tmp_path / "store", [1, 2], n_configurations=20)
    ingest(tmp_path / "store", [3], n_configurations=20)
    repository = Repository.open(tmp_path / "store")
    repository.commit(retract=[(first.segments[0], calculation(2).record, "test")])
    return repository.snapshot()


SHOWN = concatenate([frames(20, 1), frames(20, 3)])


def test_the_rows_of_the_table_are_those_of_the_arrays(snapshot: OpenSnapshot) -> None:
    table = snapshot.table("configurations")

    rows = table["global_row"].to_numpy()
    assert sorted(rows.tolist()) == [*range(20), *range(40, 60)] == snapshot.visible_rows().tolist()
    np.testing.assert_array_equal(snapshot.mapped.gather("energy", rows), table["energy"].to_numpy())
    np.testing.assert_array_equal(snapshot.mapped.frames(rows).ids(), ids_of(table["id"]))
    assert set(zip(table["segment"].to_pylist(), table["path"].to_pylist(), strict=True)) == {
        (0, calculation(1).path),
        (1, calculation(3).path),
    }


def test_ids_are_those_of_the_visible_rows(snapshot: OpenSnapshot) -> None:
    np.testing.assert_array_equal(snapshot.ids(), SHOWN.ids())
    np.testing.assert_array_equal(snapshot.rows(snapshot.ids()[::-1]), snapshot.visible_rows()[::-1])


def test_each_segment_of_the_table_is_sorted_by_formula(snapshot: OpenSnapshot) -> None:
    table = snapshot.table("configurations")

    for number in (0, 1):
        formulas = table.filter(pc.equal(table["segment"], number))["formula"].to_pylist()
        assert formulas == sorted(formulas)


def test_what_a_calculation_says_is_in_each_of_its_rows(snapshot: OpenSnapshot) -> None:
    row = snapshot.table("configurations").slice(0, 1).to_pylist()[0]
    record = calculation(1)

    assert row["calculation_id"] == record.id
    assert row["calculation_record"] == record.record
    assert row["method_id"] == record.method.id
    assert row["theory"] == record.method.theory
    assert (row["config_type"], row["group"], row["license"]) == ("liquid", "group 1", "CC-BY-4.0")
    assert row["tags"] == [("config_type", "liquid")]


def test_columns_carry_their_unit(snapshot: OpenSnapshot) -> None:
    schema = snapshot.table("configurations").schema

    assert schema.field("energy").metadata[b"unit"] == b"eV"
    assert schema.field("pressure").metadata[b"unit"] == b"eV/angstrom^3"
    assert schema.field("density").metadata[b"unit"] == b"g/cm^3"
    assert schema.field("id").type == pa.binary(16)


def test_the_other_tables_show_what_is_visible(snapshot: OpenSnapshot) -> None:
    calculations = snapshot.table("calculations")
    assert calculations["path"].to_pylist() == [calculation(1).path, calculation(3).path]
    assert calculations["n_configurations"].to_pylist() == [20, 20]
    assert snapshot.table("methods")["cutoff_energy"].to_pylist() == [500.0]
    assert snapshot.table("sources")["bytes"].to_pylist() == [1001, 1003]
    with pytest.raises(UsageError, match="configurations"):
        snapshot.table("secrets")


def test_a_dataset_serves_duckdb_with_the_same_rows(snapshot: OpenSnapshot) -> None:
    with duckdb.connect() as connection:
        connection.register("configurations", snapshot.dataset("configurations"))
        query = "SELECT id, segment FROM configurations WHERE n_atoms > 3 ORDER BY id"
        found = connection.sql(query).to_arrow_table()

    expected = SHOWN.select(SHOWN.n_atoms > 3).ids()
    assert [one.hex() for one in found["id"].to_pylist()] == sorted(row.tobytes().hex() for row in expected)
    assert set(found["segment"].to_pylist()) == {0, 1}


def test_pages_carry_checksums_that_readers_can_verify(snapshot: OpenSnapshot) -> None:
    path = next((snapshot.store / "segments").iterdir()) / "configurations.parquet"
    group = pq.ParquetFile(path).metadata.row_group(0)
    column = next(c for c in map(group.column, range(group.num_columns)) if c.path_in_schema == "energy")
    content = bytearray(path.read_bytes())
    content[column.data_page_offset + column.total_compressed_size - 3] ^= 1
    path.write_bytes(content)

    with pytest.raises(OSError, match="CRC checksum verification failed"):
        pq.read_table(path, page_checksum_verification=True)
    with pytest.raises(CorruptError, match="as it was written"):
        Repository.open(snapshot.store).snapshot().table("configurations")


def test_an_id_that_stands_in_two_calculations_is_found_where_it_is_shown(tmp_path: Path) -> None:
    repository = Repository.create(tmp_path / "store")
    with repository.stage() as writer:
        for number in (1, 2):
            writer.begin()
            writer.append(frames(4, 9))
            writer.end(calculation(number))
        first = repository.commit(writer)
    ids = frames(4, 9).ids()
    assert set(repository.snapshot().rows(ids).tolist()) <= set(range(8))

    repository.commit(retract=[(first.segments[0], calculation(1).record, "copy")])

    assert repository.snapshot().rows(ids).tolist() == [4, 5, 6, 7]


def test_a_snapshot_without_calculations_has_empty_tables(tmp_path: Path) -> None:
    repository = Repository.create(tmp_path / "store")
    repository.commit(message="nothing yet")

    snapshot = repository.snapshot()
    assert snapshot.table("configurations").num_rows == 0
    assert snapshot.ids().shape == (0, 16)
    assert len(snapshot.read(snapshot.ids())) == 0
