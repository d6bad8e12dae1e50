"""Parts: what one segment holds of a table, as a snapshot shows it, a row group at a time."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlpdata.store.scanning import Columns, Condition, Portion
from mlpdata.store.table_file import TableFile

RECORD = "calculation_record"
"""The column that says to which calculation a row belongs."""


class Shown(NamedTuple):
    """Which rows are shown."""

    column: str
    """Column of the file by which it is known."""
    rows: Callable[[pa.ChunkedArray], pa.Array]
    """Whether each row is shown, by the values of that column."""


class Changed(NamedTuple):
    """What amendments changed."""

    columns: Collection[str]
    """Columns of which values may differ from those stored."""
    apply: Callable[[pa.Table], pa.Table]
    """Gives some of these columns beside `calculation_record` as amended."""


class Part(NamedTuple):
    """One segment's rows of a table.

    Beside the columns of the file there are `segment`, the number of the segment, and `global_row`.
    """

    file: TableFile
    number: int
    """Of the segment in the snapshot."""
    first_row: int
    """Global row at which its configurations begin."""
    shown: Shown | None = None
    """None where all rows are shown."""
    changed: Changed | None = None
    """None where all is as stored."""

    def portions(self, condition: Condition, schema: pa.Schema) -> Iterator[Portion]:
        """The row groups that may have rows for which a condition on columns of `schema` is true."""
        if self.changed is not None and any(name in str(condition) for name in self.changed.columns):
            condition = None  # the statistics of the file are those of what was stored
        for group in self.file.groups(condition, schema):
            shown = None if self.shown is None else functools.partial(self._shown, self.shown, group)
            yield Portion(functools.partial(self._read, group), shown)

    def _shown(self, shown: Shown, group: int) -> pa.Array:
        return shown.rows(self.file.read([shown.column], [group])[shown.column])

    def _read(self, group: int, names: Sequence[str]) -> Columns:
        needed = {"row" if name == "global_row" else name for name in names if name != "segment"}
        if self.changed is None or not needed.intersection(self.changed.columns):
            table = self.file.read(sorted(needed), [group])
        else:
            table = self.changed.apply(self.file.read(sorted({*needed, RECORD}), [group]))
        return {name: self._column(name, table, group) for name in names}

    def _column(self, name: str, table: pa.Table, group: int) -> pa.ChunkedArray:
        if name == "segment":
            return pa.chunked_array([np.full(self.file.n_rows(group), self.number, np.int32)])
        return pc.add(table["row"], self.first_row) if name == "global_row" else table[name]
