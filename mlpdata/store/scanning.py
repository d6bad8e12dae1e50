"""Scans: a table read as a query asks for it, by portions, the columns of its condition first.

What reads a table through the protocol of pyarrow's datasets (DuckDB does) names the columns it needs and a condition
that rows must fulfil. Of each portion the columns of the condition are read, and the others only where a row is left.
"""

from __future__ import annotations

import collections
import functools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple, NoReturn, TypeAlias, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from pyarrow import acero

from mlpdata.errors import MlpdataError, UsageError

Condition: TypeAlias = pc.Expression | None
Columns = dict[str, pa.ChunkedArray]
_Result = TypeVar("_Result")


class Portion(NamedTuple):
    """Some rows of a table, read by column."""

    read: Callable[[Sequence[str]], Columns]
    """Gives the columns named of all its rows."""
    shown: Callable[[], pa.Array] | None = None
    """Gives whether each row is to be seen; None where all are."""


class Scan(NamedTuple):
    """The rows that were asked for, read while they are taken; they can be taken once."""

    projected_schema: pa.Schema
    """Schema of these rows."""
    batches: Iterator[pa.RecordBatch]
    """Never read further ahead than a few portions."""

    def to_reader(self) -> pa.RecordBatchReader:
        """The rows batch by batch."""
        return pa.RecordBatchReader.from_batches(self.projected_schema, self.batches)

    def to_table(self) -> pa.Table:
        """All of the rows."""
        return pa.Table.from_batches(self.batches, self.projected_schema)


Portions = Callable[[Condition], Iterator[Portion]]
"""Gives the portions that may have rows for which a condition is true, in their order."""


class Scanned(ds.InMemoryDataset):  # type: ignore[misc]  # pyarrow has no types
    """A table of which only what is asked is read.

    Args:
        schema: of the whole table.
        portions: where its rows come from.
        threads: how many portions are read at a time.
    """

    def __init__(self, schema: pa.Schema, portions: Portions, *, threads: int | None = None) -> None:
        super().__init__(schema.empty_table())
        self._portions = portions
        self._threads = threads or pa.cpu_count()
        self.failure: MlpdataError | None = None
        """Why a scan ended early: what reads through Arrow's C interface is given the text of an error, not its kind."""

    def scanner(self, columns: Sequence[str] | None = None, filter: Condition = None, **_: Any) -> Scan:  # noqa: A002
        """The rows for which `filter` is true, to be read.

        Raises:
            UsageError: there is no such column.
        """
        names = self.schema.names if columns is None else list(columns)
        if strangers := [name for name in names if name not in self.schema.names]:
            raise UsageError(f"expected one of {', '.join(self.schema.names)}, found the column {strangers[0]!r}.")
        return Scan(pa.schema([self.schema.field(name) for name in names]), self._batches(names, filter))

    def to_table(self, columns: Sequence[str] | None = None, filter: Condition = None, **_: Any) -> pa.Table:  # noqa: A002
        """The rows for which `filter` is true.

        Raises:
            CorruptError: bytes under them are not what was written.
            UsageError: there is no such column.
        """
        return self.scanner(columns, filter).to_table()

    def count_rows(self, filter: Condition = None, **_: Any) -> int:  # noqa: A002
        """How many rows there are for which `filter` is true."""
        return sum(batch.num_rows for batch in self.scanner([], filter).batches)

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise UsageError("expected to_table, scanner or count_rows, found another way to use a dataset.")

    filter = get_fragments = join = join_asof = replace_schema = sort_by = _refuse

    def _batches(self, names: list[str], condition: Condition) -> Iterator[pa.RecordBatch]:
        text = str(condition) if condition is not None else ""
        asked = [name for name in self.schema.names if name in text]  # those of the condition, perhaps some more
        tasks = (
            functools.partial(_rows, portion, names or self.schema.names[:1], asked, condition)
            for portion in self._portions(condition)
        )
        try:
            for batches in _ahead(tasks, self._threads):
                yield from (batch.select(names) for batch in batches)
        except MlpdataError as error:
            self.failure = error
            raise


def _rows(portion: Portion, names: list[str], asked: list[str], condition: Condition) -> list[pa.RecordBatch]:
    """The columns `names` of the rows of a portion that are shown and for which the condition is true."""
    mask = portion.shown() if portion.shown is not None else None
    found: Columns = {}
    if condition is not None:
        found = portion.read(asked)
        true = _truth(condition, pa.table(found))
        mask = true if mask is None else pc.and_(mask, true)
    if mask is not None and not pc.any(mask).as_py():
        return []
    found |= portion.read([name for name in names if name not in found])
    table = pa.table({name: found[name] for name in names})
    kept: list[pa.RecordBatch] = (table if mask is None else table.filter(mask)).to_batches()
    return kept


def _truth(condition: pc.Expression, table: pa.Table) -> pa.ChunkedArray:
    """Whether a condition is true of each row."""
    rows = acero.Declaration("table_source", acero.TableSourceNodeOptions(table))
    project = acero.Declaration("project", acero.ProjectNodeOptions([condition], ["true"]), [rows])
    found: pa.Table = project.to_table(use_threads=False)
    return found["true"]


def _ahead(tasks: Iterator[Callable[[], _Result]], threads: int) -> Iterator[_Result]:
    """The results in order. The first is awaited alone, then ever more run ahead: who wants few rows pays for few."""
    with ThreadPoolExecutor(threads) as pool:
        waiting: collections.deque[Future[_Result]] = collections.deque()
        depth = 1
        try:
            for task in tasks:
                waiting.append(pool.submit(task))
                if len(waiting) >= depth:
                    yield waiting.popleft().result()
                    depth = min(2 * depth, 2 * threads)
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
