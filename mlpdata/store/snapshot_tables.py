"""The tables of one snapshot: what was retracted is not there, what was amended is as amended."""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.fs
from numpy.typing import NDArray

from mlpdata.errors import NotFound, UsageError
from mlpdata.frames import I64
from mlpdata.schema.calculation import Calculation
from mlpdata.schema.noun import from_stored
from mlpdata.schema.records import Snapshot
from mlpdata.store import layout, tables
from mlpdata.store.amendments import (
    SHARED,
    Key,
    Revised,
    effective,
    effective_calculations,
    effective_configurations,
)
from mlpdata.store.index import CalculationIndex
from mlpdata.store.layout import Segment
from mlpdata.store.segment import read_segment
from mlpdata.store.state import State

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
        self._checked: set[Path] = set()
        self._calculations: dict[int, CalculationIndex] = {}

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
                table = self._effective("calculations", number)
                found[segment] = table.filter(pc.is_in(table["calculation_record"], pa.array(sorted(revised))))
        return found

    def annotated(self) -> list[tuple[str, str]]:
        """Segment, and digest of the record as stored, of the calculations of which something was declared later."""
        return [key for key, revision in self.state.amendments.present.items() if "declared" in revision.fields]

    def table(self, name: str, columns: list[str] | None = None) -> pa.Table:
        """The rows of a table that the snapshot shows, verified.

        `configurations` has the columns `segment` (its number in the snapshot), `row` (in the segment) and
        `global_row` (in `mapped`); `methods` has each method once. `calculation_record` is the digest of the record
        as stored, the columns beside it are those of the effective record.

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
            whole = tables.first_of_each(whole, "method_id")
        return whole if columns is None else whole.select(columns)

    def _empty(self, name: str) -> pa.Table:
        columns = dict(tables.COLUMNS[name])
        if name == "configurations":
            columns |= {"segment": pa.int32(), "global_row": pa.int64()}
        return tables.schema(columns).empty_table()

    def _shown_part(self, name: str, number: int) -> pa.Table:
        """The visible rows of one segment."""
        table, hidden = self._effective(name, number), self._hidden.get(self.state.segments[number])
        if name == "configurations":
            return self._shown_rows(table, number)
        if hidden is None:
            return table
        gone = pa.array(hidden, pa.string())
        if name != "methods":
            return table.filter(pc.invert(pc.is_in(table["calculation_record"], gone)))
        calculations = self._read("calculations", number, ["calculation_record", "method_id"])
        shown = calculations.filter(pc.invert(pc.is_in(calculations["calculation_record"], gone)))
        return table.filter(pc.is_in(table["method_id"], shown["method_id"].combine_chunks()))

    def _shown_rows(self, table: pa.Table, number: int) -> pa.Table:
        """The visible rows of the configurations of a segment, with their places in the snapshot."""
        first, last = self._first_row[number : number + 2].tolist()
        visible = self._visible[first:last]
        if not visible.all():
            table = table.filter(pa.array(visible[table["row"].to_numpy()]))
        return self._with_number(table, number).append_column("global_row", pc.add(table["row"], first))

    def _with_number(self, table: pa.Table, number: int) -> pa.Table:
        """The rows with the number of their segment, unless they have it."""
        if "segment" in table.column_names:
            return table
        return table.append_column("segment", pa.array(np.full(len(table), number, np.int32)))

    def _effective(self, name: str, number: int) -> pa.Table:
        """A whole table of one segment, amended."""
        table, revised = self._read(name, number), self.state.amendments.of(self.state.segments[number])
        if not revised or name not in AMENDED:
            return table
        if name == "calculations":
            return effective_calculations(table, revised)
        calculations = self._read("calculations", number, ["calculation_record", *SHARED])
        return effective_configurations(table, effective_calculations(calculations, revised))

    def dataset(self, name: str) -> ds.Dataset:
        """The visible rows of a table as a dataset, to be read with columns and filters pushed down.

        The column `segment` is the number of the segment in the snapshot. Files are verified before. Where something
        of a segment was amended, its rows lie in memory.
        """
        if name not in layout.TABLES:
            raise UsageError(f"expected one of {', '.join(layout.TABLES)}, found the table {name!r}.")
        kind, local = tables.parquet_format(), pa.fs.LocalFileSystem()
        columns = tables.schema({**tables.COLUMNS[name], "segment": pa.int32()})
        fragments, amended = [], []
        for number, segment in enumerate(self.state.segments):
            if name in AMENDED and self.state.amendments.of(segment):
                amended.append(self._with_number(self._shown_part(name, number), number).select(columns.names))
                continue
            self._check(name, number)
            place = pc.field("segment") == pa.scalar(number, pa.int32())
            fragments.append(kind.make_fragment(str(self._file(name, number)), local, partition_expression=place))
        whole: ds.Dataset = ds.FileSystemDataset(fragments, columns, kind, local)
        if amended:
            whole = ds.dataset([whole, ds.dataset(pa.concat_tables(amended))])
        return whole if name == "methods" else self._without_hidden(whole)

    def _without_hidden(self, whole: ds.Dataset) -> ds.Dataset:
        for number, segment in enumerate(self.state.segments):
            if hidden := self._hidden.get(segment):
                here = pc.field("segment") == number
                whole = whole.filter(~(here & pc.field("calculation_record").isin(hidden)))
        return whole

    def _folder(self, number: int) -> Path:
        return layout.segment_folder(self.store, self.state.segments[number])

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
