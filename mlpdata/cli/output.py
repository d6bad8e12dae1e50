"""Output: tables for people, JSON for programs, progress where there is a terminal."""

from __future__ import annotations

import csv
import io
import json
import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from mlpdata.errors import UsageError

if TYPE_CHECKING:
    import pyarrow as pa

    from mlpdata.schema.params import TrainParams

Record = Mapping[str, float | None]

LINE_INTERVAL = 5.0
"""Seconds between two lines of progress."""

FORMATS = ("table", "csv", "json", "parquet")


def say(text: str) -> None:
    """One line for a person."""
    typer.echo(printable(text))


def warn(text: str) -> None:
    """One line on stderr."""
    typer.echo(printable(text), err=True)


def counted(number: int, noun: str) -> str:
    """`1 file`, `2 files`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def printable(text: str) -> str:
    """`text` without control characters: what a file says must not steer the terminal."""
    return "".join(character if character.isprintable() or character in "\n\t" else "?" for character in text)


def on_a_line(name: str) -> str:
    """A name without what would make several lines or cells of it: names on disk may hold anything but a slash."""
    return name.replace("\n", "?").replace("\t", "?")


def say_json(value: Any) -> None:
    """One JSON document on one line, in ASCII, so that it cannot steer a terminal; NaN and infinity become null."""
    typer.echo(as_json(value))


def as_json(value: Any) -> str:
    """`value` as one line of JSON."""
    return json.dumps(plain(value), allow_nan=False)


def plain(value: Any) -> Any:
    """`value` as JSON values: bytes as hexadecimal digits, NaN as null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value if value is None or isinstance(value, str | int | bool) else str(value)


def say_rows(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """A table: drawn by rich on a terminal, separated by tabs elsewhere."""
    if not sys.stdout.isatty():
        for row in [columns, *rows]:
            say("\t".join(_cell(one) for one in row))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(*columns, header_style="bold")
    for row in rows:
        table.add_row(*(printable(_cell(one)).replace("[", r"\[") for one in row))
    Console().print(table)


def _cell(value: Any) -> str:
    value = plain(value)
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.8g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def say_table(table: pa.Table, form: str, out: Path | None) -> None:
    """The result of a query in one of `FORMATS`, to `out` or to the standard output.

    Raises:
        UsageError: Parquet without a file to write to.
        StoreError: the disk refused.
    """
    if form == "parquet":
        if out is None:
            raise UsageError("expected a file for Parquet, found none. Name it by --out FILE.")
        write_file(out, _as_parquet(table))
    elif form == "table" and out is None:
        say_rows(table.column_names, _rows(table))
    else:
        text = _as_json_lines(table) if form == "json" else _as_csv(table)
        if out is not None:
            write_file(out, text.encode())
        else:
            typer.echo(printable(text) if sys.stdout.isatty() else text, nl=False)


def write_file(path: Path, content: bytes) -> None:
    """Write a file that the user named, whole or not at all; its folder is made.

    Raises:
        StoreError: the disk refused.
    """
    from mlpdata.durable import make_folder, replace

    make_folder(path.absolute().parent)
    replace(path, content)


def _rows(table: pa.Table) -> Iterator[tuple[Any, ...]]:
    """The rows; not as dicts, since two columns may have one name."""
    return zip(*(column.to_pylist() for column in table.columns), strict=True)


def _as_json_lines(table: pa.Table) -> str:
    return "".join(as_json(row) + "\n" for row in table.to_pylist())


def _as_parquet(table: pa.Table) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    buffer = pa.BufferOutputStream()
    pq.write_table(table, buffer)
    return bytes(buffer.getvalue())


def _as_csv(table: pa.Table) -> str:
    """CSV; lists are JSON, and what a spreadsheet would run as a formula is kept as text by a leading quote."""
    return "".join(_csv_line(cells) for cells in (table.column_names, *_rows(table)))


def _csv_line(cells: Iterable[Any]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\r\n").writerow([_as_text(one) for one in cells])  # so that a lone \r is quoted
    return line.getvalue().removesuffix("\r\n") + "\n"


def _as_text(value: Any) -> Any:
    cell = plain(value)
    if isinstance(cell, list | dict):
        return json.dumps(cell)
    return f"'{cell}" if isinstance(cell, str) and cell[:1] in tuple("=+-@\t\r\n") else cell


@contextmanager
def progress(label: str) -> Iterator[Callable[[int, int, str], None] | None]:
    """A function to call with (done, total, what), 0 for a total not known: a bar on a terminal, None elsewhere."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn(label),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[what]}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=None, what="")

        def advance(done: int, total: int, what: str) -> None:
            bar.update(task, completed=done, total=total or None, what=printable(what)[-50:])

        yield advance


@contextmanager
def training_progress(params: TrainParams) -> Iterator[Callable[[Record], None]]:
    """A function to call with the record of each epoch: a line on stderr, at most one every few seconds."""
    last = -math.inf

    def advance(record: Record) -> None:
        nonlocal last
        if time.monotonic() - last < LINE_INTERVAL:
            return
        last = time.monotonic()
        energy, force = (1e3 * (record[name] or math.nan) for name in ("valid_energy_mae", "valid_force_mae"))
        warn(
            f"epoch {record['epoch']:.0f} of {params.epochs}: validation {energy:.1f} meV/atom, {force:.0f} meV/angstrom, "
            f"{record['seconds']:.1f} s/epoch"
        )

    yield advance
