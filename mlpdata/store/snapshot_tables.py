"""The tables of one snapshot: what was retracted is not there, what was amended is as amended."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from numpy.typing import NDArray

from mlpdata.errors import NotFound, UsageError
from mlpdata.frames import I64
from mlpdata.schema.calculation import Calculation
from mlpdata.schema.noun import from_stored
from mlpdata.schema.records import Snapshot
from mlpdata.store import layout, tables
from mlpdata.store.amendments import (
    COLUMNS,
    SHARED,
    Key,
    Revised,
    effective,
    effective_calculations,
    effective_configurations,
)
from mlpdata.store.index import CalculationIndex
from mlpdata.store.layout import Segment
from mlpdata.store.parts import Changed, Part, Shown
from mlpdata.store.scanning import Condition, Portion, Scanned
from mlpdata.store.segment import read_segment
from mlpdata.store.state import State
from mlpdata.store.table_file import TableFile

AMENDED = ("configurations", "calculations")
"""Tables of which an amendment changes columns."""
_BATCH = 4096
"""Records in memory at a time as text."""


class SnapshotTables:
    """The tables of one version of a store; a file that was once checked stays so for as long as it is open.

    All that is shown is effective, amendments applied. A calculation stays named by its key: its segment, and the digest
    of its record as stored, which tables call `calculation_record`.

    Args:
        store: folder of the store.
        record: the snapshot.
    """

    def __init__(self, store: Path, record: Snapshot) -> None:
        self.store = store
        self.record = record
        self.state = State(store, record)
        """The segments in which it is read, and what it hides of them."""
        self.segments: tuple[Segment, ...] = tuple(read_segment(store, name) for name in self.state.segments)
        """Records of these segments."""
        self._hidden: dict[str, list[str]] = {}
        for segment, calculation in self.state.hidden:
            self._hidden.setdefault(segment, []).append(calculation)
        self._calculations: dict[int, CalculationIndex] = {}
        self._files: dict[Path, TableFile] = {}
        self._amended: dict[tuple[int, tuple[str, ...]], pa.Table] = {}

    @property
    def content(self) -> str:
        """Name of what the snapshot shows."""
        return self.record.content

    def calculations(self) -> list[Calculation]:
        """The calculations that the snapshot shows."""
        return [one for _, _, one, hidden in self.keyed() if not hidden]

    def segment_calculations(self) -> list[tuple[str, Calculation, bool]]:
        """Segment, record, and whether it is hidden, of every calculation of every segment, hidden ones included."""
        return [(segment, one, hidden) for segment, _, one, hidden in self.keyed()]

    def stored_calculations(self) -> list[tuple[str, Calculation, bool]]:
        """The same in the same order as stored, without amendments."""
        return [(segment, one, hidden) for segment, _, one, hidden in self.keyed(amended=False)]

    def calculations_of(self, keys: Collection[Key], *, amended: bool = True) -> dict[Key, Calculation]:
        """The calculations that have one of the keys, as they are shown or as they were stored."""
        wanted = frozenset(keys)
        return {(segment, record): one for segment, record, one, _ in self.keyed(wanted, amended=amended)}

    def as_shown(self, key: Key, stored: Calculation) -> Calculation:
        """A calculation as the snapshot shows it, from how it was stored."""
        return effective(stored, self.state.amendments.present.get(key))

    def skipped(self, segment: str, record: str) -> int:
        """How many of the first configurations of a calculation are hidden."""
        revision = self.state.amendments.present.get((segment, record))
        return revision.skip if revision is not None else 0

    def keyed(
        self, keys: Collection[Key] | None = None, *, amended: bool = True
    ) -> Iterator[tuple[str, str, Calculation, bool]]:
        """Segment, digest of the record as stored, calculation, and whether it is hidden, of every calculation.

        Args:
            keys: of those wanted, all by default.
            amended: whether calculations are given as they are shown, or as they were stored.
        """
        segments = self.state.segments if keys is None else {segment for segment, _ in keys}
        for number, segment in enumerate(self.state.segments):
            if segment not in segments:
                continue
            table = self._read("calculations", number, ["calculation_record", "json"])
            path, revised = (
                str(self._file("calculations", number)),
                self.state.amendments.of(segment) if amended else {},
            )
            for batch in table.to_batches(max_chunksize=_BATCH):
                for record, text in zip(batch["calculation_record"].to_pylist(), batch["json"], strict=True):
                    key = segment, record
                    if keys is None or key in keys:
                        stored = from_stored(Calculation, text.as_py(), path)
                        yield segment, record, effective(stored, revised.get(record)), key in self.state.hidden

    def history(self, segment: str, record: str) -> list[Revised]:
        """What amendments changed of a calculation, the first one first.

        Args:
            segment: where it is stored.
            record: digest of its record as stored.

        Raises:
            NotFound: no such calculation.
        """
        key = segment, record
        for _, _, stored, _ in self.keyed([key], amended=False):
            return self.state.amendments.history(key, stored)
        raise NotFound(
            f"expected a calculation of segment {segment[:12]}, found no record {record[:12]} there.", path=self.store
        )

    def amended(self) -> dict[str, pa.Table]:
        """The table of calculations as shown, by segment, of those calculations that an amendment changed."""
        found = {}
        for number, segment in enumerate(self.state.segments):
            if revised := self.state.amendments.of(segment):
                table = effective_calculations(self._read("calculations", number), revised)
                found[segment] = table.filter(pc.is_in(table["calculation_record"], pa.array(sorted(revised))))
        return found

    def annotated(self) -> list[tuple[str, str]]:
        """Segment, and digest of the record as stored, of the calculations of which something was declared later."""
        return [key for key, revision in self.state.amendments.present.items() if "declared" in revision.fields]

    def table(self, name: str, columns: list[str] | None = None) -> pa.Table:
        """The rows of a table that the snapshot shows, verified.

        Args:
            name: configurations, calculations, methods or sources.
            columns: those wanted, all by default.

        Raises:
            UsageError: no such table or column.
            CorruptError: bytes under these columns are not what was written.
        """
        return self.dataset(name).to_table(columns=columns)

    def dataset(self, name: str) -> ds.Dataset:
        """The rows of a table that the snapshot shows, to be read with columns and filters pushed down.

        `configurations` has the columns `segment` (its number in the snapshot), `row` (in the segment) and
        `global_row` (in `mapped`); `methods` has each method once. `calculation_record` is the digest of the record
        as stored, the columns beside it are those of the effective record. Bytes are verified when they are first read.

        Raises:
            UsageError: no such table.
        """
        if name not in layout.TABLES:
            raise UsageError(f"expected one of {', '.join(layout.TABLES)}, found the table {name!r}.")
        if name == "methods":
            return ds.dataset(self._methods())
        columns = dict(tables.COLUMNS[name])
        if name == "configurations":
            columns |= {"segment": pa.int32(), "global_row": pa.int64()}
        schema = tables.schema(columns)
        return Scanned(schema, lambda condition: self._portions(name, schema, condition))

    def _portions(self, name: str, schema: pa.Schema, condition: Condition) -> Iterator[Portion]:
        for number in range(len(self.segments)):
            yield from self._part(name, number).portions(condition, schema)

    def _part(self, name: str, number: int) -> Part:
        """What a segment holds of configurations, calculations or sources."""
        segment, shown, changed = self.state.segments[number], None, None
        if segment in self._partly_hidden:
            shown = Shown("row", self._rows_shown(number)) if name == "configurations" else self._records_shown(number)
        if revised := self.state.amendments.of(segment):
            if name == "calculations":
                changed = Changed(COLUMNS, lambda table: effective_calculations(table, revised))
            if name == "configurations":
                changed = Changed(SHARED, functools.partial(self._amended_configurations, number))
        return Part(self._table_file(name, number), number, int(self._first_row[number]), shown, changed)

    @functools.cached_property
    def _partly_hidden(self) -> set[str]:
        """The segments of which something is not shown."""
        skipped = {segment for (segment, _), revision in self.state.amendments.present.items() if revision.skip}
        return skipped | self._hidden.keys()

    def _rows_shown(self, number: int) -> Callable[[pa.ChunkedArray], pa.Array]:
        visible = self._visible[self._first_row[number] : self._first_row[number + 1]]
        return lambda row: pa.array(visible[row.to_numpy()])

    def _records_shown(self, number: int) -> Shown:
        hidden = pa.array(self._hidden.get(self.state.segments[number], []), pa.string())
        return Shown("calculation_record", lambda record: pc.invert(pc.is_in(record, hidden)))

    def _amended_configurations(self, number: int, table: pa.Table) -> pa.Table:
        """Rows of configurations with what each shares with its calculation as amended."""
        columns = tuple(name for name in SHARED if name in table.column_names)
        return effective_configurations(table, self._amended_calculations(number, columns))

    def _amended_calculations(self, number: int, columns: tuple[str, ...]) -> pa.Table:
        """Columns of the calculations of a segment as amended, worked out once."""
        key = number, columns
        if key not in self._amended:
            table = self._read("calculations", number, ["calculation_record", *columns])
            self._amended[key] = effective_calculations(table, self.state.amendments.of(self.state.segments[number]))
        return self._amended[key]

    def _methods(self) -> pa.Table:
        """Each method of a calculation that is shown, once."""
        parts = [self._read("methods", number) for number in range(len(self.segments))]
        for number, segment in enumerate(self.state.segments):
            if segment in self._hidden:
                calculations = self._read("calculations", number, ["calculation_record", "method_id"])
                shown = calculations.filter(self._records_shown(number).rows(calculations["calculation_record"]))
                ids = parts[number]["method_id"]
                parts[number] = parts[number].filter(pc.is_in(ids, shown["method_id"].combine_chunks()))
        return tables.first_of_each(
            pa.concat_tables([*parts, tables.schema(tables.COLUMNS["methods"]).empty_table()]), "method_id"
        )

    def _folder(self, number: int) -> Path:
        return layout.segment_folder(self.store, self.state.segments[number])

    def _file(self, name: str, number: int) -> Path:
        return self._folder(number) / f"{name}.parquet"

    def _table_file(self, name: str, number: int) -> TableFile:
        """A table's file, opened once."""
        path = self._file(name, number)
        if path not in self._files:
            self._files[path] = TableFile(path, layout.file_of(self.segments[number], path.name, path))
        return self._files[path]

    def _read(self, name: str, number: int, columns: list[str] | None = None) -> pa.Table:
        """Columns of a table of one segment as stored."""
        return self._table_file(name, number).read(columns)

    @functools.cached_property
    def _first_row(self) -> I64:
        sizes = [segment.arrays.n_configurations for segment in self.segments]
        return np.concatenate(([0], np.cumsum(np.array(sizes, np.int64)))).astype(np.int64)

    @functools.cached_property
    def _visible(self) -> NDArray[np.bool_]:
        """Whether each global row is shown."""
        visible = np.ones(int(self._first_row[-1]), bool)
        for number, segment in enumerate(self.state.segments):
            part = visible[self._first_row[number] : self._first_row[number + 1]]
            skipped = {record: one.skip for record, one in self.state.amendments.of(segment).items() if one.skip}
            for one in self._index_of(number).with_records([*self._hidden.get(segment, ()), *skipped]):
                hidden = (segment, one.record) in self.state.hidden
                part[one.first_row :][: one.n_configurations if hidden else skipped[one.record]] = False
        return visible

    def _index_of(self, number: int) -> CalculationIndex:
        """Where the calculations of a segment are."""
        if number not in self._calculations:
            segment = self.state.segments[number]
            self._calculations[number] = CalculationIndex(self.store, segment, self.segments[number])
        return self._calculations[number]
