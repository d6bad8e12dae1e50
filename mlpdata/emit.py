"""Emit: a script with which DuckDB's own command line asks exactly the files of a snapshot."""

from __future__ import annotations

from pathlib import Path

from mlpdata.errors import NotFound
from mlpdata.store.layout import TABLES
from mlpdata.store.snapshot import OpenSnapshot


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
