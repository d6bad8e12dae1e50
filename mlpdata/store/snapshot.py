"""One snapshot, opened for reading: tables, arrays, ids. What was retracted is not there."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.fs
from numpy.typing import NDArray

from mlpdata.errors import NotFound, UsageError
from mlpdata.frames import I64, Frames
from mlpdata.schema.calculation import Calculation
from mlpdata.schema.noun import from_stored
from mlpdata.schema.records import Snapshot
from mlpdata.store import layout, tables
from mlpdata.store.index import IdIndex, Ids
from mlpdata.store.layout import Segment
from mlpdata.store.mapping import Mapped
from mlpdata.store.segment import read_segment


class OpenSnapshot:
    """One version of a store, read-only; what was once read stays verified for as long as it is open.

    Args:
        store: folder of the store.
        record: the snapshot.
    """

    def __init__(self, store: Path, record: Snapshot) -> None:
        self.store = store
        self.record = record
        self.segments: tuple[Segment, ...] = tuple(read_segment(store, name) for name in record.segments)
        """Records of the segments, in the order of the snapshot."""
        self._hidden = {(one.segment, one.calculation) for one in record.retracted}
        self._checked: set[Path] = set()

    @property
    def content(self) -> str:
        """Name of what the snapshot shows."""
        return self.record.content

    def calculations(self) -> list[Calculation]:
        """The calculations that the snapshot shows."""
        return [one for _, one, hidden in self.segment_calculations() if not hidden]

    def segment_calculations(self) -> list[tuple[str, Calculation, bool]]:
        """Segment, record, and whether it is hidden, of every calculation of every segment."""
        found = []
        for number, segment in enumerate(self.record.segments):
            table = self._read("calculations", number, ["calculation_record", "json"])
            path = self._file("calculations", number)
            for row in table.to_pylist():
                hidden = (segment, row["calculation_record"]) in self._hidden
                found.append((segment, from_stored(Calculation, row["json"], str(path)), hidden))
        return found

    def table(self, name: str, columns: list[str] | None = None) -> pa.Table:
        """The rows of a table that the snapshot shows, verified.

        `configurations` has the columns `segment` (its number in the snapshot), `row` (in the segment) and
        `global_row` (in `mapped`); `methods` has each method once.

        Args:
            name: configurations, calculations, methods or sources.
            columns: those wanted, all by default.

        Raises:
            UsageError: no such table.
            CorruptError: a file is not what was written.
        """
        if name not in layout.TABLES:
            raise UsageError(f"expected one of {', '.join(layout.TABLES)}, found the table {name!r}.")
        parts = [self._shown_part(name, number) for number in range(len(self.segments))]
        whole = pa.concat_tables([*parts, self._empty(name)])
        if name == "methods":
            whole = _first_of_each(whole, "method_id")
        return whole if columns is None else whole.select(columns)

    def _empty(self, name: str) -> pa.Table:
        columns = dict(tables.COLUMNS[name])
        if name == "configurations":
            columns |= {"segment": pa.int32(), "global_row": pa.int64()}
        return tables.schema(columns).empty_table()

    def _shown_part(self, name: str, number: int) -> pa.Table:
        """The visible rows of one segment."""
        table = self._read(name, number)
        places = self._places[number]
        if name == "methods":
            wanted = pa.array(sorted({place.method_id for place in places if place.shown}), pa.string())
            return table.filter(pc.is_in(table["method_id"], wanted))
        if not all(place.shown for place in places):
            wanted = pa.array(sorted({place.record for place in places if place.shown}), pa.string())
            table = table.filter(pc.is_in(table["calculation_record"], wanted))
        if name == "configurations":
            base = int(self._first_row[number])
            table = table.append_column("segment", pa.array(np.full(len(table), number, np.int32)))
            table = table.append_column("global_row", pc.add(table["row"], base))
        return table

    def dataset(self, name: str) -> ds.Dataset:
        """The visible rows of a table as a dataset, to be read with columns and filters pushed down.

        The column `segment` is the number of the segment in the snapshot. Files are verified before.
        """
        if name not in layout.TABLES:
            raise UsageError(f"expected one of {', '.join(layout.TABLES)}, found the table {name!r}.")
        kind, local = tables.parquet_format(), pa.fs.LocalFileSystem()
        fragments = []
        for number in range(len(self.segments)):
            self._check(name, number)
            place = pc.field("segment") == pa.scalar(number, pa.int32())
            fragments.append(kind.make_fragment(str(self._file(name, number)), local, partition_expression=place))
        columns = tables.schema({**tables.COLUMNS[name], "segment": pa.int32()})
        whole = ds.FileSystemDataset(fragments, columns, kind, local)
        return whole if name == "methods" else self._without_hidden(whole)

    def _without_hidden(self, whole: ds.Dataset) -> ds.Dataset:
        for number, places in enumerate(self._places):
            hidden = [place.record for place in places if not place.shown]
            if hidden:
                here = pc.field("segment") == number
                whole = whole.filter(~(here & pc.field("calculation_record").isin(hidden)))
        return whole

    @functools.cached_property
    def mapped(self) -> Mapped:
        """The arrays of all segments, hidden rows included; rows are those of `rows` and `visible_rows`."""
        return Mapped(
            [(self._folder(number) / layout.ARRAYS, segment.arrays) for number, segment in enumerate(self.segments)]
        )

    def visible_rows(self) -> I64:
        """The global rows that the snapshot shows, ascending, shape (n_configurations,)."""
        return np.flatnonzero(self._visible)

    def ids(self) -> Ids:
        """The ids of `visible_rows`, shape (n_configurations, 16)."""
        parts = [index.in_order() for index in self._indices]
        whole = np.concatenate([np.empty((0, 16), np.uint8), *parts])
        return whole[self._visible]

    def rows(self, ids: Ids) -> I64:
        """Global rows of `ids`, in their order, shape (n_ids,).

        Args:
            ids: shape (n_ids, 16).

        Raises:
            NotFound: names the first id that the snapshot does not show.
        """
        wanted = np.ascontiguousarray(ids, np.uint8).reshape(-1, 16)
        found = np.full(len(wanted), -1, np.int64)
        for number, index in enumerate(self._indices):
            first, last = self._first_row[number : number + 2]
            missing = np.flatnonzero(found < 0)
            if not len(missing):
                break
            rows = index.find(wanted[missing], self._visible[first:last])
            found[missing] = np.where(rows < 0, -1, rows + first)
        if (found < 0).any():
            one = wanted[int(np.argmin(found >= 0))].tobytes().hex()
            raise NotFound(f"expected a configuration of this snapshot, found no id {one}.", path=self.store)
        return found

    def read(self, ids: Ids) -> Frames:
        """The configurations `ids`, in their order.

        Raises:
            NotFound: an id that the snapshot does not show.
            CorruptError: bytes are not those that were written.
        """
        return self.mapped.frames(self.rows(ids))

    def close(self) -> None:
        """Release the mappings."""
        self.mapped.close()

    def _folder(self, number: int) -> Path:
        return layout.segment_folder(self.store, self.record.segments[number])

    def _file(self, name: str, number: int) -> Path:
        return self._folder(number) / f"{name}.parquet"

    def _check(self, name: str, number: int) -> None:
        """Verify a table's file on the first use in this opening."""
        path = self._file(name, number)
        if path not in self._checked:
            tables.check_file(path, layout.file_of(self.segments[number], path.name, path))
            self._checked.add(path)

    def _read(self, name: str, number: int, columns: list[str] | None = None) -> pa.Table:
        self._check(name, number)
        return tables.read_checked(self._file(name, number), columns)

    @functools.cached_property
    def _first_row(self) -> I64:
        sizes = [segment.arrays.n_configurations for segment in self.segments]
        return np.concatenate(([0], np.cumsum(np.array(sizes, np.int64)))).astype(np.int64)

    @functools.cached_property
    def _places(self) -> list[list[_Place]]:
        """Where the rows of each calculation are, by segment."""
        columns = ["calculation_record", "method_id", "first_row", "n_configurations"]
        return [
            [
                _Place(
                    row["calculation_record"],
                    row["method_id"],
                    slice(row["first_row"], row["first_row"] + row["n_configurations"]),
                    (segment, row["calculation_record"]) not in self._hidden,
                )
                for row in self._read("calculations", number, columns).to_pylist()
            ]
            for number, segment in enumerate(self.record.segments)
        ]

    @functools.cached_property
    def _visible(self) -> NDArray[np.bool_]:
        """Whether each global row is shown."""
        visible = np.ones(int(self._first_row[-1]), bool)
        for number, places in enumerate(self._places):
            part = visible[self._first_row[number] : self._first_row[number + 1]]
            for place in places:
                part[place.rows] = place.shown
        return visible

    @functools.cached_property
    def _indices(self) -> list[IdIndex]:
        return [IdIndex(self._folder(number), segment) for number, segment in enumerate(self.segments)]


class _Place(NamedTuple):
    """A calculation's rows in its segment."""

    record: str
    method_id: str
    rows: slice
    shown: bool


def _first_of_each(table: pa.Table, column: str) -> pa.Table:
    """The table without later rows that repeat a value of `column`."""
    _, first = np.unique(table[column].to_numpy(zero_copy_only=False).astype(str), return_index=True)
    return table.take(pa.array(np.sort(first)))
