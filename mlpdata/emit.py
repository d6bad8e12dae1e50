"""Emit: a script with which DuckDB's own command line asks exactly the files of a snapshot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa

from mlpdata.errors import NotFound
from mlpdata.store.amendments import COLUMNS, SHARED
from mlpdata.store.layout import TABLES
from mlpdata.store.snapshot import OpenSnapshot
from mlpdata.store.snapshot_tables import AMENDED
from mlpdata.store.tables import CALCULATIONS, TAGS

_TYPES = {pa.string(): "VARCHAR", pa.float64(): "DOUBLE", pa.int64(): "BIGINT", TAGS: "MAP(VARCHAR, VARCHAR)"}
"""What DuckDB calls the types of the columns that amendments change."""


def emit_script(snapshot: OpenSnapshot, store: Path, query: str | None = None) -> str:
    """A script for the DuckDB command line that asks exactly the files of this snapshot.

    What the snapshot hides is hidden there too. DuckDB does not compare checksums: run `mlpdata verify` first.

    Raises:
        NotFound: the snapshot has no files.
    """
    hidden: dict[str, list[str]] = {}
    for segment, record in snapshot.state.hidden:
        hidden.setdefault(segment, []).append(record)
    if not snapshot.state.segments:
        raise NotFound("expected a snapshot with files, found an empty one. `mlpdata ingest` fills it.", path=store)
    amended = snapshot.amended()
    lines = [
        f"-- snapshot {snapshot.record.id}, content {snapshot.content}",
        f"-- views: {', '.join(TABLES)}; atoms and splits are there in `mlpdata sql` only",
    ]
    for segment, calculations in amended.items():
        lines += _amended_rows(_amended(segment), calculations)
    for name in TABLES:
        parts = [
            _part(store, segment, name, hidden.get(segment, []), segment in amended and name in AMENDED)
            for segment in snapshot.state.segments
        ]
        distinct = "DISTINCT " if name == "methods" else ""
        union = "\nUNION ALL BY NAME ".join(parts)
        lines.append(f"CREATE TEMP VIEW {name} AS SELECT {distinct}* FROM (\n{union}\n);")
    return "\n".join([*lines, query.rstrip("; \n"), ";"] if query else lines)


def _part(store: Path, segment: str, table: str, hidden: list[str], amended: bool) -> str:
    """SELECT of what one segment shows of one table."""
    folder = store / "segments" / segment
    file, calculations = (_quoted(str(folder / f"{name}.parquet")) for name in (table, "calculations"))
    select = _with_amendments(file, table, _amended(segment)) if amended else f"SELECT * FROM read_parquet({file})"
    if not hidden:
        return select
    records = ", ".join(_quoted(record) for record in hidden)
    if table != "methods":
        return f"SELECT * FROM ({select}) WHERE calculation_record NOT IN ({records})"
    shown = f"SELECT method_id FROM read_parquet({calculations}) WHERE calculation_record NOT IN ({records})"
    return f"{select} WHERE method_id IN ({shown})"


def _amended(segment: str) -> str:
    return f"amended_{segment[:16]}"


def _with_amendments(file: str, table: str, amended: str) -> str:
    """SELECT of a table in which columns of amended calculations are replaced and their skipped rows are missing."""
    columns = SHARED if table == "configurations" else COLUMNS
    replaced = ", ".join(f'if(a.first_row IS NULL, c."{name}", a."{name}") AS "{name}"' for name in columns)
    joined = f"read_parquet({file}) c LEFT JOIN {amended} a ON a.calculation_record = c.calculation_record"
    shown = " WHERE a.first_row IS NULL OR c.row >= a.first_row" if table == "configurations" else ""
    return f"SELECT c.* REPLACE ({replaced}) FROM {joined}{shown}"


def _amended_rows(name: str, calculations: pa.Table) -> list[str]:
    """Statements that make a table `name` of what amendments change of calculations."""
    names = ("calculation_record", *COLUMNS)
    columns = ", ".join(f'"{one}" {_TYPES[CALCULATIONS[one]]}' for one in names)
    rows = [
        f"({', '.join(_literal(value) for value in row.values())})" for row in calculations.select(names).to_pylist()
    ]
    return [f"CREATE TEMP TABLE {name} ({columns});", f"INSERT INTO {name} VALUES\n" + ",\n".join(rows) + ";"]


def _literal(value: Any) -> str:
    """A value as SQL; pairs become a map."""
    if value is None:
        return "NULL"
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, list):
        pairs = ", ".join(f"{_quoted(key)}: {_quoted(one)}" for key, one in value)
        return f"MAP {{{pairs}}}::{_TYPES[TAGS]}"
    return repr(value)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
