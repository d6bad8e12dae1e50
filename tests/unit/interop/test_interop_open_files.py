"""The files of a store without us: other readers of Zarr v3 and Parquet, and DuckDB's command line, find the same."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorstore
import zarr

from mlpdata.api import Snapshot, Store
from mlpdata.emit import emit_script
from mlpdata.schema.properties import ATOM, CONFIGURATION, PAIR
from mlpdata.store import layout
from mlpdata.store.checked import read_checked
from mlpdata.store.commit import Repository
from mlpdata.testing.samples import calculation, frames

DUCKDB = shutil.which("duckdb", path=f"{Path(sys.executable).parent}") or "duckdb"


def arrays_of(snapshot: Snapshot) -> list[tuple[int, str, Path]]:
    """Number of the segment, name and folder of every array, those that say where pairs are among them."""
    opened = snapshot.opened
    return [
        (number, name, layout.segment_folder(opened.store, opened.record.segments[number]) / layout.ARRAYS / name)
        for number, segment in enumerate(opened.segments)
        for name in segment.arrays.arrays
    ]


def by_zarr(folder: Path) -> np.ndarray:
    return zarr.open_array(str(folder), mode="r")[...]


def by_tensorstore(folder: Path) -> np.ndarray:
    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{folder}/"}}
    return tensorstore.open(spec, read=True).result().read().result()


@pytest.fixture(scope="module")
def sharded(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    """Two segments whose arrays have several shards, as small as mapping allows: one page of bytes."""
    store = tmp_path_factory.mktemp("sharded") / "store"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "_SHARD", dict.fromkeys((ATOM, PAIR, CONFIGURATION), 4096))
        for number in (1, 2):
            block = frames(4100, number, most=3)
            hessian = np.random.default_rng(number).normal(size=(int(block.n_atoms @ block.n_atoms), 3, 3))
            without = np.repeat(np.arange(len(block)) % 5 == 0, block.n_atoms**2)
            hessian[without] = np.nan
            repository = Repository.open_or_create(store)
            with repository.stage() as writer:
                writer.begin()
                writer.append(block.with_arrays(hessian=hessian))
                writer.end(calculation(number))
                repository.commit(writer)
    return Store(store).snapshot()


def assert_equal(snapshot: Snapshot, read: Any) -> None:
    for number, name, folder in arrays_of(snapshot):
        ours = snapshot.opened.mapped.view(name, number)
        assert ours is not None
        theirs = read(folder)
        assert (theirs.dtype, theirs.shape) == (ours.dtype, ours.shape)
        assert theirs.tobytes() == ours.tobytes(), (number, name)


@pytest.mark.parametrize("read", [by_zarr, by_tensorstore])
def test_every_array_of_every_segment_is_the_same_to_the_bit(snapshot: Snapshot, read: Any) -> None:
    arrays = arrays_of(snapshot)
    assert len({number for number, _, _ in arrays}) == 3
    assert {"hessian", "hessian_start", "atom_start", "n_atoms", "forces", "pbc"} <= {name for _, name, _ in arrays}
    assert_equal(snapshot, read)


@pytest.mark.parametrize("read", [by_zarr, by_tensorstore])
def test_so_is_every_array_of_several_shards(sharded: Snapshot, read: Any) -> None:
    records = [one for segment in sharded.opened.segments for one in segment.arrays.arrays.values()]
    assert {one.level for one in records if one.n_shards > 1} == {ATOM, PAIR, CONFIGURATION}
    assert_equal(sharded, read)


@pytest.mark.parametrize("table", layout.TABLES)
def test_polars_and_pyarrow_read_the_tables_as_they_are_stored(snapshot: Snapshot, table: str) -> None:
    opened = snapshot.opened
    for segment in opened.record.segments:
        path = layout.segment_folder(opened.store, segment) / f"{table}.parquet"
        ours = read_checked(path)
        assert pq.read_table(path, page_checksum_verification=True).equals(ours)
        theirs = pl.read_parquet(path)
        assert theirs.columns == ours.column_names
        for name in theirs.columns:
            assert theirs[name].to_list() == [
                plain(one, ours.schema.field(name).type) for one in ours[name].to_pylist()
            ]


def plain(value: Any, kind: pa.DataType) -> Any:
    """A value as polars has it, whose maps are dicts."""
    return dict(value) if value is not None and pa.types.is_map(kind) else value


@pytest.fixture(scope="module")
def emitted(interop_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every view as DuckDB's command line sees it, a Parquet file each."""
    folder = tmp_path_factory.mktemp("emitted")
    script = emit_script(Store(interop_store).snapshot().opened, interop_store)
    copies = [f"COPY (SELECT * FROM {one}) TO '{folder / one}.parquet' (FORMAT parquet);" for one in layout.TABLES]
    done = subprocess.run(
        [DUCKDB, "-batch", ":memory:"], input="\n".join([script, *copies]), capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    return folder


@pytest.mark.parametrize("table", layout.TABLES)
def test_the_command_line_of_duckdb_sees_what_the_snapshot_shows(snapshot: Snapshot, emitted: Path, table: str) -> None:
    theirs = pq.read_table(emitted / f"{table}.parquet")
    ours = snapshot.opened.table(table)
    ours = ours.select([name for name in ours.column_names if name not in ("segment", "global_row")])

    assert theirs.column_names == ours.column_names
    assert theirs.num_rows == ours.num_rows
    for one, other in zip(*(sorted(found.to_pylist(), key=repr) for found in (theirs, ours)), strict=True):
        assert one == other


def test_what_is_hidden_or_amended_is_so_there(emitted: Path) -> None:
    table = pq.read_table(emitted / "configurations.parquet")
    by_path: dict[str, list[dict[str, Any]]] = {}
    for row in table.to_pylist():
        by_path.setdefault(row["path"], []).append(row)
    assert "runs/3/vasprun.xml" not in by_path
    assert {row["kind"] for row in by_path["runs/2/vasprun.xml"]} == {"random"}
    assert {row["temperature_target"] for row in by_path["runs/2/vasprun.xml"]} == {None}
    (melt,) = (rows for path, rows in by_path.items() if path.endswith("vasprun_md.xml"))
    assert {row["license"] for row in melt} == {"CC0-1.0"}
    assert {tuple(row["tags"]) for row in melt} == {(("it's", 'molten; -- \\ "so"'),)}
    calculations = pq.read_table(emitted / "calculations.parquet").to_pylist()
    (one,) = (row for row in calculations if row["path"].endswith("vasprun_md.xml"))
    assert one["n_configurations"] == len(melt)
    assert min(row["row"] for row in melt) == one["first_row"]


def test_a_query_of_the_emitted_script_is_answered_by_the_command_line(snapshot: Snapshot, interop_store: Path) -> None:
    query = "SELECT kind, count(*) AS n FROM configurations GROUP BY ALL ORDER BY ALL"

    script = emit_script(snapshot.opened, interop_store, query)

    done = subprocess.run(
        [DUCKDB, "-batch", "-csv", "-noheader"], input=script, capture_output=True, text=True, timeout=60
    )
    rows = zip(*snapshot.sql(query).to_pydict().values(), strict=True)
    assert done.stdout.splitlines() == [f"{kind},{n}" for kind, n in rows]
