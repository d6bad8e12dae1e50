"""Query: SQL by DuckDB over one snapshot, locked down: it reads the snapshot's tables and nothing else.

A new connection serves each query. It sees the tables as datasets, which it asks for columns and rows and which verify
every byte that they read for it; it has no access to files, extensions, settings or the variables of Python.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds

from mlpdata.errors import UsageError
from mlpdata.store.layout import TABLES
from mlpdata.store.scanning import Scanned
from mlpdata.store.snapshot import OpenSnapshot
from mlpdata.views import atoms, splits_table

if TYPE_CHECKING:
    import duckdb

VIEWS = (*TABLES, "splits", "atoms")
TIMEOUT = 300.0
"""Longest query [s]."""
MEMORY = 4 << 30
"""Most memory of a query, and most bytes of its answer."""
LOCKED = {"enable_external_access": False, "python_enable_replacements": False, "lock_configuration": True}
"""Set once the views are there: from then on neither files nor settings nor the variables of Python can be reached."""


def run_sql(
    snapshot: OpenSnapshot, query: str, *, splits: Path | None = None, timeout: float = TIMEOUT, memory: int = MEMORY
) -> pa.Table:
    """The result of one SELECT, DESCRIBE, SUMMARIZE or EXPLAIN.

    Args:
        snapshot: what is asked.
        query: the statement; it may use the views configurations, calculations, methods, sources, splits, atoms.
        splits: folder with recorded splits, for the view `splits`.
        timeout: longest time [s].
        memory: most memory, and most bytes of the answer.

    Raises:
        UsageError: not exactly one reading statement, a mistake in it, or one that takes too long or too much memory.
        CorruptError: bytes that the query needs are not what was written.
    """
    import duckdb  # noqa: PLC0415  loaded by the verbs that ask

    _refuse_other_bytes(query)
    # without a folder for temporary files nothing spills to the disk
    connection = duckdb.connect(":memory:", config={"memory_limit": f"{memory}B", "temp_directory": ""})
    try:
        _refuse_all_but_reading(connection, query)
        named = [name for name in VIEWS if name in query.lower()]
        # SHOW TABLES names none and means all
        views = {name: _view(snapshot, name, splits) for name in named or VIEWS}
        for name, view in views.items():
            connection.register(name, view)
        for setting, value in LOCKED.items():
            connection.execute(f"SET {setting} = {value}")
        with _deadline(connection, timeout), _damage_first(views.values()):
            return _answer(connection, query, memory)
    except (duckdb.InterruptException, OSError) as error:
        if isinstance(error, OSError) and "INTERRUPT" not in str(error):  # as Arrow hands on what DuckDB says
            raise
        raise UsageError(f"expected an answer within {timeout:g} s, found none. Narrow the query.") from error
    except duckdb.OutOfMemoryException as error:
        raise UsageError(f"expected a query that needs at most {memory >> 20} MiB, found more. Narrow it.") from error
    except duckdb.Error as error:
        hint = f" The views are {', '.join(VIEWS)}." if isinstance(error, duckdb.CatalogException) else ""
        raise UsageError(f"expected SQL that DuckDB understands, found: {str(error).strip()}{hint}") from error
    finally:
        connection.close()


def _refuse_other_bytes(query: str) -> None:
    """What a shell passes on that is no UTF-8 would end in an error of no kind inside DuckDB."""
    try:
        query.encode()
    except UnicodeEncodeError as error:
        raise UsageError("expected SQL in UTF-8, found other bytes.") from error


def _refuse_all_but_reading(connection: duckdb.DuckDBPyConnection, query: str) -> None:
    statements = connection.extract_statements(query)
    kinds = [str(statement.type).rsplit(".", 1)[-1] for statement in statements]
    if len(kinds) != 1 or kinds[0] not in ("SELECT", "EXPLAIN"):
        raise UsageError(
            f"expected one SELECT, DESCRIBE or EXPLAIN, found {', '.join(kinds) or 'no statement'}. "
            "A query only reads; data enter by `mlpdata ingest`."
        )


@contextmanager
def _deadline(connection: duckdb.DuckDBPyConnection, timeout: float) -> Iterator[None]:
    """Interrupt what runs after `timeout` [s], again and again: an interrupt between two steps of a query is lost."""
    over = threading.Event()

    def watch() -> None:
        wait = timeout
        while not over.wait(wait):
            connection.interrupt()
            wait = 0.05

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


@contextmanager
def _damage_first(views: Iterable[pa.Table | ds.Dataset]) -> Iterator[None]:
    """Raise what ended a scan as it was raised there, whatever DuckDB made of it."""
    try:
        yield
    finally:
        for view in views:
            if isinstance(view, Scanned) and view.failure is not None:
                raise view.failure


def _answer(connection: duckdb.DuckDBPyConnection, query: str, most: int) -> pa.Table:
    """The result, batch by batch, so that one too large for the memory ends before it is there."""
    reader = pa.RecordBatchReader.from_stream(connection.sql(query))
    batches, size = [], 0
    for batch in reader:
        batches.append(batch)
        size += batch.nbytes
        if size > most:
            raise UsageError(f"expected an answer of at most {most >> 20} MiB, found more. Narrow the query.")
    return pa.Table.from_batches(batches, reader.schema)


def _view(snapshot: OpenSnapshot, name: str, splits: Path | None) -> pa.Table | ds.Dataset:
    if name == "atoms":
        return atoms(snapshot)
    return splits_table(splits) if name == "splits" else snapshot.dataset(name)


def ids_of(table: pa.Table) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """The ids that a query named, shape (n, 16), in its order.

    Raises:
        UsageError: the result has no column `id` of configuration ids.
    """
    if "id" not in table.column_names:
        found = ", ".join(table.column_names)
        raise UsageError(f"expected the column id, found {found}. Begin the query by SELECT id.")
    if not table.num_rows:
        raise UsageError(
            "expected at least one configuration, found none. No row of the snapshot is as the query asks."
        )
    ids = table.column("id").to_pylist()
    if not all(isinstance(one, bytes) and len(one) == 16 for one in ids):
        raise UsageError("expected the column id to hold ids of configurations, found something else.")
    return np.frombuffer(b"".join(ids), np.uint8).reshape(-1, 16)
