"""Tables and indices read with their checksums: nothing of a file is used before its bytes were held against its record."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from mlpdata.errors import CorruptError
from mlpdata.store import layout
from mlpdata.store.keeper import fetched
from mlpdata.store.layout import FileRecord
from mlpdata.store.tables import ROW_GROUP


def parquet_format() -> ds.ParquetFileFormat:
    """Parquet as it is read here: every page is checked against its checksum."""
    return ds.ParquetFileFormat(
        default_fragment_scan_options=ds.ParquetFragmentScanOptions(page_checksum_verification=True)
    )


def mapped_file(path: Path, record: FileRecord) -> memoryview:
    """The bytes of a file, which has the size that its record says.

    Raises:
        CorruptError: it is missing or has another size.
    """
    try:
        content = np.memmap(path, np.uint8, "r").data if record.bytes else memoryview(path.read_bytes())
    except (OSError, ValueError) as error:
        raise CorruptError(f"expected {record.bytes} bytes, found: {error}. Restore the file.", path=path) from error
    if len(content) != record.bytes:
        raise CorruptError(f"expected {record.bytes} bytes, found {len(content)}. Restore the file.", path=path)
    return content


@fetched
def check_file(path: Path, record: FileRecord) -> None:
    """Compare the size and each MiB block of a file with its record.

    Raises:
        CorruptError: names the file and what differs.
    """
    found = layout.block_checksums(mapped_file(path, record))
    if found != record.blocks:
        width = 16
        block = next(i for i in range(0, len(found), width) if found[i : i + width] != record.blocks[i : i + width])
        raise other_bytes(path, block // width)


def other_bytes(path: Path, block: int) -> CorruptError:
    """What is said of a block that does not have its checksum."""
    return CorruptError(f"expected block {block} as it was written, found other bytes. Restore the file.", path=path)


class Cells:
    """The values of one column of text, read by the row group when they are asked for.

    Raises:
        CorruptError: the file is not what was written.
    """

    def __init__(self, path: Path, record: FileRecord, column: str) -> None:
        check_file(path, record)
        self._path, self._column = path, column
        metadata = pq.read_metadata(path)
        sizes = [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]
        self._ends = np.cumsum(np.array(sizes, np.int64))
        self._groups: dict[int, pa.ChunkedArray] = {}

    def __getitem__(self, row: int) -> str:
        number = int(np.searchsorted(self._ends, row, side="right"))
        if number not in self._groups:
            with pq.ParquetFile(self._path, page_checksum_verification=True) as file:
                self._groups[number] = file.read_row_group(number, [self._column])[self._column]
        group = self._groups[number]
        text: str = group[row - int(self._ends[number]) + len(group)].as_py()
        return text


def read_table(path: Path, record: FileRecord, columns: Sequence[str] | None = None) -> pa.Table:
    """A whole table, verified.

    Raises:
        CorruptError: the file is not what was written.
    """
    check_file(path, record)
    return read_checked(path, columns)


def read_checked(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """A whole table whose file was checked before; its pages are checked again.

    Raises:
        CorruptError: not a Parquet table, or a page changed.
    """
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:  # quicker than read_table on small files
            return file.read(columns, use_threads=file.metadata.num_rows > ROW_GROUP)
    except (OSError, pa.ArrowException) as error:
        raise CorruptError(f"expected a Parquet table, found: {error}", path=path) from error
