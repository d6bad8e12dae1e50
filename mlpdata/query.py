"""Query: SQL by DuckDB over one snapshot, locked down: it reads the snapshot's tables and nothing else.

A new connection serves each query. It sees Arrow tables that were read with their checksums verified; it has no
access to files, extensions, settings or the variables of Python.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from mlpdata.errors import NotFound, UsageError
from mlpdata.schema.noun import from_stored
from mlpdata.schema.properties import PROPERTIES
from mlpdata.schema.records import Split
from mlpdata.store.snapshot import OpenSnapshot

if TYPE_CHECKING:
    import duckdb

TABLES = ("configurations", "calculations", "methods", "sources")
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
    """
    import duckdb  # noqa: PLC0415  loaded by the verbs that ask

    _refuse_other_bytes(query)
    # without a folder for temporary files nothing spills to the disk
    connection = duckdb.connect(":memory:", config={"memory_limit": f"{memory}B", "temp_directory": ""})
    try:
        _refuse_all_but_reading(connection, query)
        for name in VIEWS:
            if name in query.lower():
                connection.register(name, _view(snapshot, name, splits))
        for setting, value in LOCKED.items():
            connection.execute(f"SET {setting} = {value}")
        with _deadline(connection, timeout):
            return _answer(connection, query, memory)
    except duckdb.InterruptException as error:
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


def _view(snapshot: OpenSnapshot, name: str, splits: Path | None) -> pa.Table | pa.RecordBatchReader:
    makers: dict[str, Callable[[], pa.Table]] = {
        "splits": lambda: splits_table(splits),
        "atoms": lambda: atoms_table(snapshot),
    }
    return makers[name]() if name in makers else snapshot.table(name)


def splits_table(folder: Path | None) -> pa.Table:
    """The recorded splits: split (name), split_id, id, part."""
    names, digests, ids, parts = [], [], [], []
    for path in sorted(folder.glob("*.json")) if folder is not None and folder.is_dir() else []:
        split = from_stored(Split, path.read_bytes(), str(path))
        for part, members in split.parts.items():
            names += [path.stem] * len(members)
            digests += [split.id] * len(members)
            parts += [part] * len(members)
            ids += [bytes.fromhex(one) for one in members]
    return pa.table(
        {"split": pa.array(names, pa.string()), "split_id": pa.array(digests, pa.string()),
         "id": pa.array(ids, pa.binary(16)), "part": pa.array(parts, pa.string())}
    )  # fmt: skip


def atoms_table(snapshot: OpenSnapshot) -> pa.Table:
    """One row an atom: id of its configuration, atom, atomic_number, position, force; vectors are lists of three.

    Numbers are views on the mapped arrays where no configuration is hidden.
    """
    mapped, rows = snapshot.mapped, snapshot.visible_rows()
    n_atoms = mapped.n_atoms[rows]
    total = int(n_atoms.sum())
    starts = np.cumsum(n_atoms) - n_atoms
    ids = pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(16), total, [None, pa.py_buffer(np.repeat(snapshot.ids(), n_atoms, axis=0).tobytes())]
    )
    columns = {
        "id": ids,
        "atom": pa.array(np.arange(total) - np.repeat(starts, n_atoms), pa.int32()),
        "atomic_number": pa.array(mapped.gather("atomic_numbers", rows)),
    }
    for column, name in (("position", "positions"), ("force", "forces")):
        columns[column] = _vectors(mapped.gather(name, rows))
    fields = [
        pa.field(
            name, array.type, metadata={"unit": PROPERTIES[f"{name}s"].unit} if name in ("position", "force") else None
        )
        for name, array in columns.items()
    ]
    return pa.Table.from_arrays(list(columns.values()), schema=pa.schema(fields))


def _vectors(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> pa.Array:
    """Vectors (n, 3) as fixed-size lists; a vector of NaN is NULL."""
    flat = pa.array(values.reshape(-1))
    absent = np.isnan(values).any(axis=1)
    return pa.FixedSizeListArray.from_arrays(flat, 3, mask=pa.array(absent) if absent.any() else None)


def ids_of(table: pa.Table) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """The ids that a query named, shape (n, 16), in its order.

    Raises:
        UsageError: the result has no column `id` of configuration ids.
    """
    if "id" not in table.column_names:
        found = ", ".join(table.column_names)
        raise UsageError(f"expected the column id, found {found}. Try SELECT id FROM configurations.")
    if not table.num_rows:
        raise UsageError(
            "expected at least one configuration, found none. No row of the snapshot is as the query asks."
        )
    ids = table.column("id").to_pylist()
    if not all(isinstance(one, bytes) and len(one) == 16 for one in ids):
        raise UsageError("expected the column id to hold ids of configurations, found something else.")
    return np.frombuffer(b"".join(ids), np.uint8).reshape(-1, 16)


def emit_script(snapshot: OpenSnapshot, store: Path, query: str | None = None) -> str:
    """A script for the DuckDB command line that asks exactly the files of this snapshot.

    What the snapshot hides is hidden there too. DuckDB does not compare checksums: run `mlpdata verify` first.

    Raises:
        NotFound: the snapshot has no files.
    """
    hidden: dict[str, list[str]] = {}
    for retraction in snapshot.record.retracted:
        hidden.setdefault(retraction.segment, []).append(retraction.calculation)
    if not snapshot.record.segments:
        raise NotFound("expected a snapshot with files, found an empty one. `mlpdata ingest` fills it.", path=store)
    lines = [
        f"-- snapshot {snapshot.record.id}, content {snapshot.content}",
        f"-- views: {', '.join(TABLES)}; atoms and splits are there in `mlpdata sql` only",
    ]
    for name in TABLES:
        parts = [_part(store, segment, name, hidden.get(segment, [])) for segment in snapshot.record.segments]
        distinct = "DISTINCT " if name == "methods" else ""
        union = "\nUNION ALL BY NAME ".join(parts)
        lines.append(f"CREATE TEMP VIEW {name} AS SELECT {distinct}* FROM (\n{union}\n);")
    return "\n".join([*lines, query.rstrip("; \n"), ";"] if query else lines)


def _part(store: Path, segment: str, table: str, hidden: list[str]) -> str:
    """SELECT of what one segment shows of one table."""
    folder = store / "segments" / segment
    file, calculations = (_quoted(str(folder / f"{name}.parquet")) for name in (table, "calculations"))
    select = f"SELECT * FROM read_parquet({file})"
    if not hidden:
        return select
    records = ", ".join(_quoted(record) for record in hidden)
    if table != "methods":
        return f"{select} WHERE calculation_record NOT IN ({records})"
    shown = f"SELECT method_id FROM read_parquet({calculations}) WHERE calculation_record NOT IN ({records})"
    return f"{select} WHERE method_id IN ({shown})"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
