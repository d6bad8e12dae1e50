"""A table's file is verified as far as it is read: no flipped bit becomes a number, and none elsewhere is in the way."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from mlpdata.errors import CorruptError
from mlpdata.store import layout, tables
from mlpdata.store.layout import FileRecord
from mlpdata.store.table_file import TableFile

BLOCK = 64
"""Bytes under one checksum here, so that a file of some kB has many blocks."""
COLUMNS = {"id": pa.binary(16), "formula": pa.string(), "energy": pa.float64(), "elements": pa.list_(pa.string()),
           "tags": tables.TAGS}  # fmt: skip
draw = random.Random(1)
ROWS = pa.table(
    {
        "id": [draw.randbytes(16) for _ in range(12)],
        "formula": ["CH4"] * 5 + ["H2O"] * 7,
        "energy": [None, *(draw.gauss(0, 1) for _ in range(11))],
        "elements": [["C", "H"]] * 5 + [["H", "O"]] * 7,
        "tags": [[("config_type", f"kind {row % 3}")] for row in range(12)],
    },
    schema=pa.schema(list(COLUMNS.items())),
)
ASKED = (["energy"], ["formula", "tags"], list(COLUMNS))


@pytest.fixture
def stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, FileRecord]:
    """The rows in three row groups."""
    monkeypatch.setattr(layout, "BLOCK", BLOCK)
    monkeypatch.setattr(tables, "ROW_GROUP", 4)
    path = tmp_path / "table.parquet"
    tables.write_table(path, iter([ROWS]), COLUMNS)
    content = path.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    return path, FileRecord(bytes=len(content), sha256=sha256, blocks=layout.block_checksums(memoryview(content)))


def damaged(path: Path) -> Iterator[int]:
    """Flip a bit of each byte in turn, and back."""
    content = bytearray(path.read_bytes())
    with path.open("r+b") as file:
        for place, byte in enumerate(content):
            for value in (byte ^ 1 << place % 8, byte):
                file.seek(place)
                file.write(bytes([value]))
                file.flush()
                if value != byte:
                    yield place


def test_the_rows_are_those_written(stored: tuple[Path, FileRecord]) -> None:
    file = TableFile(*stored)
    assert file.read().to_pylist() == ROWS.to_pylist()
    assert file.read(["energy"], [1])["energy"].to_pylist() == ROWS["energy"].to_pylist()[4:8]
    assert [file.n_rows(group) for group in range(3)] == [4, 4, 4]
    assert len(file.read([], [2])) == 4


def test_no_flipped_bit_changes_an_answer(stored: tuple[Path, FileRecord]) -> None:
    expected = [ROWS.select(names).to_pylist() for names in ASKED]
    reported = [0] * len(ASKED)
    for place in damaged(stored[0]):
        for number, names in enumerate(ASKED):
            try:
                answer = TableFile(*stored).read(names).to_pylist()
            except CorruptError:
                reported[number] += 1
            else:
                assert answer == expected[number], f"byte {place} changed {names}"
                assert number < len(ASKED) - 1 or place < BLOCK  # the letters at the start are no part of any column

    assert reported[-1] > stored[1].bytes - BLOCK
    assert all(some < reported[-1] for some in reported[:-1])


def test_damage_of_one_column_is_not_in_the_way_of_another(stored: tuple[Path, FileRecord]) -> None:
    path = stored[0]
    group = pq.ParquetFile(path).metadata.row_group(1)
    ids = next(group.column(i) for i in range(group.num_columns) if group.column(i).path_in_schema == "id")
    content = bytearray(path.read_bytes())
    content[ids.data_page_offset + ids.total_compressed_size - BLOCK] ^= 1
    path.write_bytes(content)
    file = TableFile(*stored)

    assert file.read(["tags"]).to_pylist() == ROWS.select(["tags"]).to_pylist()
    assert len(file.read(["id"], [0])) == 4
    with pytest.raises(CorruptError, match=r"table\.parquet.*as it was written"):
        file.read(["id"], [1])


def test_statistics_choose_the_row_groups(stored: tuple[Path, FileRecord]) -> None:
    schema = ROWS.schema.append(pa.field("segment", pa.int32()))
    file = TableFile(*stored)

    assert file.groups(None, schema) == [0, 1, 2]
    assert file.groups(pc.field("formula") == "CH4", schema) == [0, 1]
    assert file.groups((pc.field("formula") == "H2O") & (pc.field("segment") == 3), schema) == [1, 2]
    assert file.groups(pc.field("formula") == "Si", schema) == []


def test_a_file_of_another_size_is_no_table(stored: tuple[Path, FileRecord]) -> None:
    path, record = stored
    with pytest.raises(CorruptError, match="expected a checksum of each MiB, found"):
        TableFile(path, record.model_copy(update={"blocks": record.blocks[16:]}))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CorruptError, match=f"expected {record.bytes} bytes, found {record.bytes - 1}"):
        TableFile(path, record)
    path.unlink()
    with pytest.raises(CorruptError, match="No such file"):
        TableFile(path, record)


@pytest.mark.parametrize(
    "content", [b"", b"PAR1", b"no Parquet at all", b"PAR1\xff\xff\xff\xffPAR1", b"PAR1\4\0\0\0PAR1"]
)
def test_what_was_never_a_table_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "table.parquet"
    path.write_bytes(content)
    blocks = layout.block_checksums(memoryview(content))
    record = FileRecord(bytes=len(content), sha256=hashlib.sha256(content).hexdigest(), blocks=blocks)

    with pytest.raises(CorruptError, match="expected a Parquet table, found"):
        TableFile(path, record).read()
