"""Tables of GPAW's text output in both of its forms: aligned columns, and (from 2025 on) rows between bars.

::

    Forces in eV/Ang:                          Forces  # eV/Ang
      0 H     0.00000    0.00000    0.44504    |       x |       y |       z |
      1 H     0.00000    0.00000   -0.44504    |---------|---------|---------|
                                               | 0.00000 | 0.00000 | 0.44504 |  # H    0
"""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mlpdata.elements import ATOMIC_NUMBERS
from mlpdata.errors import ParseError
from mlpdata.readers.archive import Input
from mlpdata.readers.text import numbers
from mlpdata.units import F64

_TWO_BARRED_LINES = re.compile(rb"[^\n]{0,200}\n\|[^\n]{0,1000}\n\|-[^\n]{0,1000}\n")
_EMPTY_LINE = re.compile(rb"\n[ \r]{0,9}\n")
MAX_TABLE = 16 << 20
"""Bytes of a table: some hundred thousand atoms."""
TO_SPACES = bytes.maketrans(b"|(),#[]", b"       ")
"""What stands between the fields of a row."""


class Mark(NamedTuple):
    """A heading and where it stands."""

    start: int
    end: int
    text: bytes


def table(source: Input, heading: Mark, rows: int | None = None) -> NDArray[np.bytes_]:
    """The fields below a heading, shape (rows, columns); bars, brackets, commas and `#` are no part of them.

    Args:
        source: the file.
        heading: the line above the table.
        rows: how many; None for all up to the next empty line.

    Raises:
        ParseError: the table is cut, or its rows differ in their number of fields.
    """
    start = heading.end
    barred = _TWO_BARRED_LINES.match(source.data, start)
    start = barred.end() if barred else source.data.find(b"\n", start) + 1
    stop = _end(source, start, rows)
    lines = source.data[start:stop]
    n_rows = lines.count(b"\n")
    fields = lines.translate(TO_SPACES).split()
    if n_rows == 0 or len(fields) % n_rows:
        raise ParseError(f"expected rows of equal length below {heading.text.decode('latin-1')[:40]!r}, found others.")
    return np.array(fields, "S").reshape(n_rows, -1)


def _end(source: Input, start: int, rows: int | None) -> int:
    """Where the `rows` lines from `start` on end; the line before an empty one where their number is not known."""
    stop = start
    if rows is None:
        empty = _EMPTY_LINE.search(source.data, start, start + MAX_TABLE)
        stop = empty.start() + 1 if empty else 0
    for _ in range(rows or 0):
        stop = source.data.find(b"\n", stop) + 1
        if not stop:
            break
    if not start or not stop or stop - start > MAX_TABLE:
        raise ParseError("expected a whole table, found the end of the file, or lines without end.")
    return stop


def real(fields: NDArray[np.bytes_]) -> F64:
    """Fields of a table as numbers, in their shape.

    Raises:
        ParseError: one is no number.
    """
    return numbers(b" ".join(fields.ravel().tolist()), fields.size).reshape(fields.shape)


def elements(symbols: NDArray[np.bytes_]) -> NDArray[np.uint8]:
    """Z of chemical symbols.

    Raises:
        ParseError: one is none.
    """
    kinds, places = np.unique(symbols, return_inverse=True)
    known = [ATOMIC_NUMBERS.get(kind.decode("latin-1"), 0) for kind in kinds.tolist()]
    if 0 in known:
        raise ParseError(f"expected a chemical symbol, found {kinds[known.index(0)].decode('latin-1')!r}.")
    return np.array(known, np.uint8)[places]


def vectors(fields: NDArray[np.bytes_], symbols: NDArray[np.bytes_]) -> F64:
    """Three numbers for each of the atoms called `symbols`, of rows `0 H x y z` or `x y z H 0`.

    Raises:
        ParseError: the rows are not those of these atoms, in their order.
    """
    if fields.shape != (len(symbols), 5):
        raise ParseError(f"expected three numbers for each of {len(symbols)} atoms, found a table of {fields.shape}.")
    older = is_index(fields[:, 0]) and (fields[:, 1] == symbols).all()
    newer = is_index(fields[:, 4]) and (fields[:, 3] == symbols).all()
    if not older and not newer:
        raise ParseError("expected the atoms in the order of their positions, found others. Some lines are missing.")
    return real(fields[:, 2:] if older else fields[:, :3])


def is_index(column: NDArray[np.bytes_]) -> bool:
    """Whether a column counts the atoms from 0."""
    numbered: bool = column.tolist() == [b"%d" % number for number in range(len(column))]
    return numbered
