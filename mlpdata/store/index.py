"""The indices of a segment, in files that are mapped: where each id is, and where each calculation is.

A commit asks every segment of the store whether it has a calculation; so it must not read tables for that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mlpdata import digest
from mlpdata.errors import CorruptError
from mlpdata.store import checked, layout
from mlpdata.store.layout import Segment

Ids = NDArray[np.uint8]
I64 = NDArray[np.int64]


def id_index(ids: Ids) -> bytes:
    """The sorted ids, 16 bytes each, then the row of each as int64."""
    halves = np.ascontiguousarray(ids).view(">u8").reshape(-1, 2)
    order = np.lexsort((halves[:, 1], halves[:, 0]))
    return ids[order].tobytes() + order.astype("<i8").tobytes()


def split_index(content: NDArray[np.uint8]) -> tuple[Ids, NDArray[np.int64]]:
    """The reverse of `id_index`: sorted ids of shape (n, 16), and their rows."""
    count = len(content) // (digest.ID_BYTES + 8)
    return (
        content[: count * digest.ID_BYTES].reshape(count, digest.ID_BYTES),
        content[count * digest.ID_BYTES :].view("<i8"),
    )


class IdIndex:
    """The ids of one segment, verified when opened.

    Raises:
        CorruptError: the file is not what was written.
    """

    def __init__(self, folder: Path, segment: Segment) -> None:
        path = folder / layout.IDS
        record = layout.file_of(segment, layout.IDS, path)
        checked.check_file(path, record)
        content = np.memmap(path, np.uint8, "r") if record.bytes else np.empty(0, np.uint8)
        self.ids, self.row = split_index(content)
        self._keys = as_keys(self.ids)

    def in_order(self) -> Ids:
        """The id of each row, shape (n, 16)."""
        ids = np.empty_like(self.ids)
        ids[self.row] = self.ids
        return ids

    def find(self, ids: Ids, visible: NDArray[np.bool_]) -> I64:
        """A visible row with each id, or -1, shape (n_ids,).

        Args:
            ids: shape (n_ids, 16).
            visible: whether each row of the segment is shown. The same id may stand in several rows.
        """
        keys = as_keys(ids)
        at = np.searchsorted(self._keys, keys)
        found = np.full(len(ids), -1, np.int64)
        open_ = np.arange(len(ids))
        while len(open_):
            open_ = open_[at[open_] < len(self._keys)]
            open_ = open_[self._keys[at[open_]] == keys[open_]]
            shown = visible[self.row[at[open_]]]
            found[open_[shown]] = self.row[at[open_[shown]]]
            open_ = open_[~shown]
            at[open_] += 1
        return found


class Kept(NamedTuple):
    """What a commit needs to know of a stored calculation."""

    segment: str
    record: str
    """Digest of its record as stored."""
    content: int
    """What it adds to a snapshot's content as stored."""
    n_configurations: int
    first_row: int


_COLUMNS = (
    ("content", "S32"), ("record", "S32"), ("first_row", "<i8"), ("n_configurations", "<i8"),
    ("by_content", "<i8"), ("by_record", "<i8"),
)  # fmt: skip
"""Of the index of calculations, one after the other: digests and numbers in the order of rows, then orders by digests."""
_ROW_BYTES = sum(np.dtype(kind).itemsize for _, kind in _COLUMNS)


def calculation_index(calculations: Sequence[tuple[int, str, int, int]]) -> bytes:
    """The index of calculations as a file.

    Args:
        calculations: content, record, first row and number of configurations of each, in the order of their rows.
    """
    contents = np.array([content.to_bytes(32, "big") for content, *_ in calculations], "S32")
    records = np.array([bytes.fromhex(record) for _, record, *_ in calculations], "S32")
    numbers = np.array([one[2:] for one in calculations], "<i8").reshape(-1, 2)
    orders = [np.argsort(digests, kind="stable").astype("<i8") for digests in (contents, records)]
    return b"".join(one.tobytes() for one in (contents, records, *numbers.T, *orders))


class CalculationIndex:
    """The calculations of one segment, verified when opened.

    Args:
        store: folder of the store.
        segment: id of the segment.
        record: the segment.

    Raises:
        CorruptError: the file is not what was written.
    """

    def __init__(self, store: Path, segment: str, record: Segment) -> None:
        self.segment = segment
        folder = layout.segment_folder(store, segment)
        content, n = _index_file(folder, record), record.n_calculations
        if len(content) != n * _ROW_BYTES:
            raise CorruptError(f"expected {n} calculations, found others.", path=folder)
        self._columns, start = dict[str, NDArray[Any]](), 0
        for name, kind in _COLUMNS:
            end = start + n * np.dtype(kind).itemsize
            self._columns[name], start = content[start:end].view(kind), end

    def __len__(self) -> int:
        return len(self._columns["record"])

    def __iter__(self) -> Iterator[Kept]:
        return (self.kept(row) for row in range(len(self)))

    def kept(self, row: int) -> Kept:
        """The calculation at `row`, in the order of their configurations."""
        column = {name: values[row] for name, values in self._columns.items()}
        return Kept(
            self.segment,
            column["record"].ljust(32, b"\0").hex(),
            int.from_bytes(column["content"].ljust(32, b"\0"), "big"),
            int(column["n_configurations"]),
            int(column["first_row"]),
        )

    def with_content(self, contents: Iterable[int]) -> Iterator[Kept]:
        """Those calculations that add one of `contents` to a snapshot's content."""
        return map(self.kept, self._rows("content", b"".join(content.to_bytes(32, "big") for content in contents)))

    def with_records(self, records: Iterable[str]) -> Iterator[Kept]:
        """Those calculations whose record as stored has one of these digests."""
        return map(self.kept, self._rows("record", bytes.fromhex("".join(records))))

    def get(self, record: str) -> Kept | None:
        """The calculation with a record, if it is there."""
        row = self.row_of(record)
        return None if row is None else self.kept(row)

    def row_of(self, record: str) -> int | None:
        """The row in the table of calculations of the one with a record, if it is there."""
        return next(iter(self._rows("record", bytes.fromhex(record))), None)

    def _rows(self, name: str, wanted: bytes) -> list[int]:
        """The rows, ascending, of which a digest is among those that `wanted` holds one after the other."""
        keys, column, order = np.frombuffer(wanted, "S32"), self._columns[name], self._columns[f"by_{name}"]
        if not len(column):
            return []
        at = np.minimum(np.searchsorted(column, keys, sorter=order), len(order) - 1)
        rows: list[int] = np.unique(order[at][column[order[at]] == keys]).tolist()
        return rows


def _index_file(folder: Path, record: Segment) -> NDArray[np.uint8]:
    """The bytes of the index; worked out of the table where the segment is older than the index."""
    if layout.CALCULATIONS not in record.files:
        return np.frombuffer(_index_of_table(folder, record), np.uint8)
    path = folder / layout.CALCULATIONS
    file = layout.file_of(record, layout.CALCULATIONS, path)
    checked.check_file(path, file)
    return np.memmap(path, np.uint8, "r") if file.bytes else np.empty(0, np.uint8)


def _index_of_table(folder: Path, record: Segment) -> bytes:
    path = folder / "calculations.parquet"
    names = ["content", "calculation_record", "first_row", "n_configurations"]
    table = checked.read_table(path, layout.file_of(record, path.name, path), names).select(names)
    columns = [column.to_pylist() for column in table.columns]
    return calculation_index([(int(content, 16), *rest) for content, *rest in zip(*columns, strict=True)])


def as_keys(ids: Ids) -> NDArray[np.bytes_]:
    """Ids as values that numpy compares byte by byte, shape (n,)."""
    return np.ascontiguousarray(ids).view("S16").reshape(-1)
