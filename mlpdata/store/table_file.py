"""One Parquet table of a segment, mapped: a block is verified before the first use of a byte in it.

Pages carry checksums of their own and are read with verification. The footer and the page headers, which Parquet leaves
unprotected, lie in blocks of which segment.json holds the checksums: those of the footer are verified when the file is
opened, those under a column of a row group when it is read.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xxhash

from mlpdata.errors import CorruptError
from mlpdata.store import checked, layout
from mlpdata.store.keeper import DISK, keeper
from mlpdata.store.layout import FileRecord

_TAIL = 8
"""Bytes at the end of a Parquet file: the length of the footer, and four letters."""


class TableFile:
    """A table's file, opened for as long as its snapshot.

    Args:
        path: the file.
        record: its size and checksums.

    Raises:
        CorruptError: it is missing or has another size.
    """

    def __init__(self, path: Path, record: FileRecord) -> None:
        self.path = path
        if keeper(path) is not DISK:  # what stands here for the file may not be there yet
            checked.check_file(path, record)
        self._content = pa.py_buffer(checked.mapped_file(path, record))
        self._checksums = record.checksums()
        if len(self._checksums) != -(-record.bytes // layout.BLOCK):
            raise CorruptError(f"expected a checksum of each MiB, found {len(self._checksums)}.", path=path)
        self._good = np.zeros(len(self._checksums), bool)

    @functools.cached_property
    def _fragment(self) -> Any:
        """The file as pyarrow's datasets know it, once its footer is verified and read."""
        size = self._content.size
        self._verify(max(size - _TAIL, 0), size)
        length = int.from_bytes(self._content[max(size - _TAIL, 0) : size - 4].to_pybytes(), "little")
        self._verify(max(size - _TAIL - length, 0), size)
        try:
            fragment = checked.parquet_format().make_fragment(self._content)
            fragment.ensure_complete_metadata()
        except (OSError, pa.ArrowException) as error:
            raise CorruptError(f"expected a Parquet table, found: {error}", path=self.path) from error
        return fragment

    @functools.cached_property
    def _leaves(self) -> dict[str, list[int]]:
        """Numbers of the stored columns of each column: a list has one, a map two."""
        found: dict[str, list[int]] = {}
        columns = self._fragment.metadata.schema
        for number in range(len(columns)):
            found.setdefault(columns.column(number).path.split(".", 1)[0], []).append(number)
        return found

    def groups(self, condition: pc.Expression | None, schema: pa.Schema) -> list[int]:
        """The row groups that may hold rows for which `condition` is true, by their statistics.

        Args:
            condition: of columns of `schema`; None keeps all.
            schema: columns of the file and others, of which nothing is known.

        Raises:
            CorruptError: the footer is not what was written.
        """
        if condition is None:
            return list(range(self._fragment.metadata.num_row_groups))
        return [one.id for one in self._fragment.subset(condition, schema=schema).row_groups]

    def n_rows(self, group: int) -> int:
        """Rows of a row group."""
        return int(self._fragment.metadata.row_group(group).num_rows)

    def read(self, columns: Sequence[str] | None = None, groups: Sequence[int] | None = None) -> pa.Table:
        """Columns of row groups, verified; all of them by default.

        Raises:
            CorruptError: a byte under them is not what was written.
        """
        names = list(self._leaves) if columns is None else list(columns)
        wanted = range(self._fragment.metadata.num_row_groups) if groups is None else groups
        for start, stop in self._chunks(names, wanted):
            self._verify(start, stop)
        try:
            file = pq.ParquetFile(
                pa.BufferReader(self._content), metadata=self._fragment.metadata, page_checksum_verification=True
            )
            return file.read_row_groups(list(wanted), names, use_threads=False)
        except (OSError, pa.ArrowException) as error:
            raise CorruptError(f"expected a Parquet table, found: {error}", path=self.path) from error

    def _chunks(self, names: Sequence[str], groups: Sequence[int]) -> Iterator[tuple[int, int]]:
        """First byte and end of each column in each row group: page headers, dictionary and pages."""
        for group in groups:
            row_group = self._fragment.metadata.row_group(group)
            for leaf in (number for name in names for number in self._leaves[name]):
                chunk = row_group.column(leaf)
                start = chunk.data_page_offset
                if chunk.has_dictionary_page:
                    start = min(start, chunk.dictionary_page_offset)
                yield start, start + chunk.total_compressed_size

    def _verify(self, start: int, stop: int) -> None:
        """Verify each block that holds a byte of [start, stop), unless it was verified before."""
        for block in range(start // layout.BLOCK, -(-stop // layout.BLOCK)):
            if not self._good[block]:
                piece = self._content[block * layout.BLOCK : (block + 1) * layout.BLOCK]
                if xxhash.xxh3_64_intdigest(piece) != int(self._checksums[block]):
                    raise checked.other_bytes(self.path, block)
                self._good[block] = True
