"""A bit that flipped in what a query uses is reported, whatever DuckDB would have made of it; what is not used is not read."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from mlpdata.api import Store
from mlpdata.errors import CorruptError

QUERIES = (
    "SELECT count(*) FROM configurations",
    "SELECT id, energy FROM configurations WHERE energy < 0 AND formula <> 'X'",
    "SELECT formula, count(*), min(max_force) FROM configurations GROUP BY 1",
    "SELECT * FROM configurations LIMIT 1",
    "SELECT tags['project'], elements, composition FROM configurations ORDER BY energy",
    "SELECT count(*) FROM calculations JOIN configurations USING (calculation_record)",
    "SUMMARIZE configurations",
    "SELECT TRY(energy + 1) FROM configurations",
)


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1 << place % 8
    path.write_bytes(content)


def flip_in_place(path: Path, place: int) -> None:
    """Under a mapping, which a file that is written anew would lose."""
    content = np.memmap(path, np.uint8, "r+")
    content[place] ^= 1
    content.flush()


@pytest.mark.parametrize("query", QUERIES)
def test_a_flipped_bit_is_an_error_of_the_store(project: Path, query: str) -> None:
    path = next(project.glob("store/segments/*/configurations.parquet"))
    size, draw = path.stat().st_size, random.Random(query)
    for place in (size - 1, size - 6, size - 9, draw.randrange(4, size // 2), draw.randrange(size // 2, size)):
        flip(path, place)
        with pytest.raises(CorruptError, match=r"configurations\.parquet.*as it was written"):
            Store().snapshot().sql(query)
        flip(path, place)
    assert len(Store().snapshot().sql(query)) > 0


def test_a_page_that_changes_between_two_queries_is_noticed_by_its_own_checksum(project: Path) -> None:
    snapshot = Store().snapshot()
    query = "SELECT sum(energy) FROM configurations"
    expected = snapshot.sql(query)
    path = next(project.glob("store/segments/*/configurations.parquet"))
    group = pq.ParquetFile(path).metadata.row_group(0)
    energy = next(group.column(i) for i in range(group.num_columns) if group.column(i).path_in_schema == "energy")
    place = energy.data_page_offset + energy.total_compressed_size - 3

    flip_in_place(path, place)
    with pytest.raises(CorruptError, match="CRC checksum verification failed"):
        snapshot.sql(query)
    flip_in_place(path, place)
    assert snapshot.sql(query) == expected


def test_of_atoms_only_the_columns_named_are_read(project: Path) -> None:
    positions = next(project.glob("store/segments/*/arrays/positions/c.0*"))
    flip(positions, 5)

    def ask(column: str) -> int:
        query = f"SELECT {column} FROM atoms WHERE atomic_number = 32 ORDER BY id, atom"
        return len(Store().snapshot().sql(query))

    assert ask("id, atom, force") > 0
    with pytest.raises(CorruptError, match=r"positions/c\.0"):
        ask("position")


def test_other_files_are_read_only_when_they_are_named(project: Path) -> None:
    for name in ("calculations", "methods", "sources"):
        flip(next(project.glob(f"store/segments/*/{name}.parquet")), 100)

    assert Store().snapshot().sql("SELECT count(*) FROM configurations")["count_star()"].to_pylist() == [7]
    for name in ("calculations", "methods", "sources"):
        with pytest.raises(CorruptError, match=rf"{name}\.parquet"):
            Store().snapshot().sql(f"SELECT * FROM {name}")
