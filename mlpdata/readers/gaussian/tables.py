"""The tables of a Gaussian log: orientations, forces, atomic charges, converted for many geometries at once.

Rows are of fixed width and their columns may touch (pitfall G5), so they are sliced, never split. Dummy atoms and
translation vectors stand among the coordinates and not among the forces (G4).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mlpdata.errors import ParseError
from mlpdata.readers.archive import Buffer
from mlpdata.readers.gaussian.jobs import Mark
from mlpdata.readers.text import number, numbers
from mlpdata.units import F64

U8 = NDArray[np.uint8]
Flags = NDArray[np.bool_]


class Layout(NamedTuple):
    """Columns of a table."""

    n_leads: int
    """Whole numbers before the three real ones."""
    width: int
    """Characters of a real number."""
    decimals: int


ORIENTATION = Layout(3, 12, 6)
"""Number, atomic number, type; coordinates [angstrom]."""
FORCES = Layout(2, 15, 9)
"""Number, atomic number; forces [hartree/bohr]."""
TRANSLATION, DUMMY, GHOST = -2, -1, 0
"""Atomic numbers of rows that are no atoms."""

_POWERS = 10.0 ** np.arange(16)


class Rows(NamedTuple):
    """The rows of a table as bytes, all of one length."""

    text: bytes
    length: int
    """Characters of a row, line end included."""


class Centers(NamedTuple):
    """What stands before the numbers of a table's rows."""

    atomic_numbers: NDArray[np.int64]
    """Of every row, shape (n_rows,)."""
    is_atom: Flags
    """Shape (n_rows,)."""

    @property
    def atoms(self) -> U8:
        """Atomic numbers of the atoms, shape (n_atoms,)."""
        return self.atomic_numbers[self.is_atom].astype(np.uint8)


def rows(data: Buffer, mark: Mark) -> Rows:
    """The rows between the two rules after a heading.

    Raises:
        ParseError: the table is cut, empty, or its rows are not of one length.
    """
    rule = data.find(b"\n -----", mark.start, mark.end)
    start = data.find(b"\n", rule + 1, mark.end) + 1
    stop = data.find(b"\n -----", start, mark.end) + 1
    if rule < 0 or start == 0 or stop <= start:
        raise ParseError("expected a table that ends at a rule, found its end missing. The file is cut or damaged.")
    text = data[start:stop]
    length = text.find(b"\n") + 1
    if len(text) % length or text[length - 1 :: length].strip(b"\n"):
        raise ParseError("expected rows of one length in a table, found others. The table is damaged.")
    return Rows(text, length)


def lead(table: Rows, layout: Layout) -> int:
    """Characters of a row before its three numbers.

    Raises:
        ParseError: the row is too short for them.
    """
    line_end = 2 if table.text[table.length - 2 : table.length - 1] == b"\r" else 1
    width = table.length - line_end - 3 * layout.width
    if width < 2:
        raise ParseError("expected three numbers in each row of a table, found shorter rows. The table is damaged.")
    return width


def centers(table: Rows, layout: Layout) -> Centers:
    """Which atom each row is of.

    Raises:
        ParseError: rows without consecutive numbers, or an atomic number that is none.
    """
    width = lead(table, layout)
    square = np.frombuffer(table.text, np.uint8).reshape(-1, table.length)[:, :width]
    return _centers(square.tobytes(), width, layout.n_leads)


@functools.lru_cache(maxsize=32)  # the same for every step of a run
def _centers(leads: bytes, width: int, n_leads: int) -> Centers:
    parts = [leads[i : i + width].split() for i in range(0, len(leads), width)]
    if any(
        len(part) != n_leads and part != [b"-2"] for part in parts
    ):  # translation vectors have no number among forces
        raise ParseError(
            f"expected {n_leads} whole numbers at the start of each row, found others. The table is damaged."
        )
    values = numbers(b" ".join(part[min(1, len(part) - 1)] for part in parts), len(parts))
    index = numbers(b" ".join(part[0] for part in parts if len(part) > 1))
    atomic_numbers = values.astype(np.int64)
    if (values != atomic_numbers).any() or (np.diff(index) <= 0).any():
        raise ParseError("expected rows with growing numbers, found others. The table is damaged.")
    if (atomic_numbers < TRANSLATION).any() or (atomic_numbers > 118).any():
        raise ParseError("expected atomic numbers up to 118, found others. The table is damaged.")
    is_atom = atomic_numbers > GHOST
    if not is_atom.any():
        raise ParseError("expected at least one atom in the table, found none.")
    return Centers(atomic_numbers, is_atom)


def numbers_of(tables: Sequence[Rows], layout: Layout) -> tuple[F64, list[ParseError | None]]:
    """The numbers of tables of one shape, (n_tables, n_rows, 3), and for each table why it cannot be read.

    Fortran's stars, NaN and anything else that is no number in its columns make the whole table an error.
    """
    width = lead(tables[0], layout)
    square = np.frombuffer(b"".join(table.text for table in tables), np.uint8).reshape(
        len(tables), -1, tables[0].length
    )
    fields = square[:, :, width : width + 3 * layout.width].reshape(*square.shape[:2], 3, layout.width)
    values, good = fixed(fields, layout.decimals)
    errors: list[ParseError | None] = [None] * len(tables)
    for bad in np.flatnonzero(~good.all(axis=(1, 2))):
        errors[bad] = _odd(fields[bad][~good[bad]])
    return values, errors


def _odd(fields: U8) -> ParseError:
    """Why fields (n, width) are not of their layout: stars, NaN, or a number that is not where it should be."""
    try:
        for field in fields:
            number(bytes(field))
    except ParseError as error:
        return error
    return ParseError(
        f"expected a number in its column, found {bytes(fields[0]).decode('latin-1')!r}. The table is damaged."
    )


def fixed(fields: U8, decimals: int) -> tuple[F64, Flags]:
    """The numbers in Fortran's `Fw.d` fields (..., w), and which of them are of that layout: both of shape (...).

    A field reads spaces, at most one minus, digits (none on IBM), a point, `decimals` digits. Another has an arbitrary value. Exact
    to the last bit: the digits make a whole number below 2^53, and one division rounds once.
    """
    point = fields.shape[-1] - decimals - 1
    digits = fields - np.uint8(ord("0"))
    is_digit = digits < 10
    space, minus = fields[..., :point] == ord(" "), fields[..., :point] == ord("-")
    begun = np.logical_or.accumulate(~space, axis=-1)
    good = (fields[..., point] == ord(".")) & is_digit[..., point + 1 :].all(-1)
    good &= (space | minus | is_digit[..., :point]).all(-1) & ~(begun & space).any(-1)
    good &= ~(minus[..., 1:] & begun[..., :-1]).any(-1)
    powers = np.concatenate((_POWERS[decimals : decimals + point][::-1], [0.0], _POWERS[:decimals][::-1]))
    values: F64 = (digits * is_digit).astype(np.float64) @ powers / 10.0**decimals
    np.negative(values, out=values, where=minus.any(-1))
    return values, good
