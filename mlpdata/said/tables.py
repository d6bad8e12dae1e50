"""Tables: maps as CSV files, with a header of `path` and fields of a sidecar, a row for each run, folder or pattern."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from mlpdata.errors import UsageError
from mlpdata.said.maps import Row, normal
from mlpdata.said.statements import Statement, Statements
from mlpdata.said.words import KNOWN, field_named, meaning

PATH = "path"
MOST_BYTES = 256 << 20
"""Of a table; a larger one is a mistake, or meant to fill the memory."""


def rows_of(file: Path, name: str) -> list[Row]:
    """The rows of a table in UTF-8, separated by commas, semicolons or tabs, whichever its header has most of.

    Args:
        file: where it is.
        name: how places in it are named.

    Raises:
        UsageError: it cannot be read, or a column, a path or a value is not understood; line and column are named.
    """
    lines = _lines(file, _text(file))
    header = next(lines, (0, []))[1]
    fields = _fields(file, header)
    seen: dict[str, int] = {}
    rows = []
    for line, cells in lines:
        if len(cells) != len(header):
            raise UsageError(f"expected {len(header)} cells, found {len(cells)}.", path=file, line=line)
        try:
            path = normal(cells[header.index(PATH)])
            if path in seen:
                raise UsageError(f"expected each path once, found {path!r} on line {seen[path]} too.")
            statements = _statements(fields, cells, f"{name}:{line}")
        except UsageError as error:
            raise error.at(file, line) from error.__cause__
        seen[path] = line
        rows.append(Row(path, f"{name}:{line}", statements))
    return rows


def _text(file: Path) -> io.StringIO:
    try:
        if file.stat().st_size > MOST_BYTES:
            raise UsageError(f"expected a table of at most {MOST_BYTES >> 20} MiB, found more.", path=file)
        return io.StringIO(file.read_text(encoding="utf-8-sig"), newline="")
    except UnicodeError as error:
        raise UsageError("expected a table in UTF-8, found other bytes.", path=file) from error
    except OSError as error:
        raise UsageError(f"expected a readable table, found: {error.strerror}.", path=file) from error


def _lines(file: Path, text: io.StringIO) -> Iterator[tuple[int, list[str]]]:
    """The line on which each row ends, and its cells without the blanks around them; empty rows are passed over."""
    delimiter = max(",;\t", key=text.readline().count)
    text.seek(0)
    reader = csv.reader(text, delimiter=delimiter, strict=True)
    try:
        for cells in reader:
            if any(cells):
                yield reader.line_num, [cell.strip() for cell in cells]
    except csv.Error as error:
        raise UsageError(f"expected rows of cells, found: {error}.", path=file, line=reader.line_num) from error


def _fields(file: Path, header: Sequence[str]) -> list[str | None]:
    """The field of each column; None for the one of paths."""
    if PATH not in header:
        raise UsageError(f"expected a column {PATH}, found {', '.join(header) or 'no header'}.", path=file, line=1)
    fields = []
    for number, word in enumerate(header):
        if word in header[:number]:
            raise UsageError(f"expected each column once, found {word!r} again.", path=file, line=1)
        field = field_named(word)
        if field is None and word != PATH:
            raise UsageError(f"expected columns of {PATH}, {KNOWN}, found {word!r}.", path=file, line=1)
        fields.append(field)
    return fields


def _statements(fields: Sequence[str | None], cells: Sequence[str], place: str) -> Statements:
    """What a row says; an empty cell says nothing."""
    stated = [(field, cell) for field, cell in zip(fields, cells, strict=True) if field and cell]
    return {field: Statement(meaning(field, cell), place) for field, cell in stated}
