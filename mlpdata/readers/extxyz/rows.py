"""Rows of atoms of extended XYZ: many frames of one layout become arrays at once.

Two tiers give the same numbers. ASE's own layout, a species and then fields of 17 characters with 8 decimals, is converted
by `fixed_width`; rows of any other are split, and every number passes `text.numbers`. What is not of the layout that
`Properties` announces (a row too short, glued columns, stars) fails with its line, and nothing is guessed.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mlpdata.elements import ATOMIC_NUMBERS, SYMBOLS, atomic_number
from mlpdata.errors import InputError, ParseError
from mlpdata.frames import I64
from mlpdata.readers import fixed_width
from mlpdata.readers.text import numbers

PLAIN = "species:S:1:pos:R:3"
"""What a row holds where no Properties are given; further columns are nobody's."""
SPECIES, ATOMIC_NUMBER, POSITIONS = (
    ("species", "symbols", "element"),
    ("z", "numbers", "atomic_numbers"),
    ("pos", "positions"),
)
"""Names in small letters of the columns that make a geometry."""
MOST_COLUMNS = 10_000
_KIND = re.compile(r"([A-Za-z]{1,2})(?:[\d_-].{0,20})?")
"""Cu, Cu1, Cu_surface: one element, kinds told apart."""
_SPACE = np.zeros(256, bool)
_SPACE[[9, 10, 11, 12, 13, 32]] = True
_LOGICAL = {
    b"T": b"1",
    b"True": b"1",
    b"TRUE": b"1",
    b"true": b"1",
    b"F": b"0",
    b"False": b"0",
    b"FALSE": b"0",
    b"false": b"0",
}


class Column(NamedTuple):
    """One entry of Properties."""

    name: str
    kind: str
    """S, R, I or L."""
    first: int
    """Place of its first column in the row, from 0."""
    width: int


class Layout(NamedTuple):
    """What a row of atoms holds."""

    columns: dict[str, Column]
    n_columns: int
    is_plain: bool
    """No Properties were given."""

    @property
    def positions(self) -> str:
        """Name of the column of positions."""
        return next(name for name in self.columns if name.lower() in POSITIONS)

    @property
    def others(self) -> list[str]:
        """Names of the columns that are no part of the geometry."""
        return [name for name in self.columns if name.lower() not in (*SPECIES, *ATOMIC_NUMBER, *POSITIONS)]

    def named(self, names: Sequence[str]) -> Column | None:
        """The first column that has one of these names, whatever its case."""
        return next((column for column in self.columns.values() if column.name.lower() in names), None)


@functools.lru_cache(maxsize=256)
def layout(properties: str | None) -> Layout:
    """The layout that the value of Properties announces.

    Raises:
        ParseError: not triples of name, kind and width, a name given twice, or no species or positions.
    """
    parts = (properties or PLAIN).split(":")
    columns: dict[str, Column] = {}
    first = 0
    for name, kind, width in zip(parts[::3], parts[1::3], parts[2::3], strict=False):
        if kind not in ("S", "R", "I", "L") or not re.fullmatch(r"[1-9]\d{0,3}", width) or name in columns:
            raise ParseError(f"expected columns as name:S:1 in Properties, found '{name}:{kind}:{width}'.")
        columns[name] = Column(name, kind, first, int(width))
        first += int(width)
    found = Layout(columns, first, properties is None)
    positions = found.named(POSITIONS)
    if len(parts) % 3 or first > MOST_COLUMNS or positions is None or positions.width != 3:
        raise ParseError(f"expected columns as species:S:1:pos:R:3 in Properties, found {str(properties)[:80]!r}.")
    if found.named(SPECIES) is None and found.named(ATOMIC_NUMBER) is None:
        raise ParseError(f"expected a column of species or Z in Properties, found {str(properties)[:80]!r}.")
    return found


class Table:
    """The rows of several frames of one layout.

    Args:
        texts: rows of each frame, each ended by a newline.
        n_atoms: rows of each.
        rows: their layout.
        line: of the first row in the file; errors name a line where there is one frame only.
    """

    def __init__(self, texts: Sequence[bytes], n_atoms: I64, rows: Layout, line: int) -> None:
        self.layout, self.n_rows, self.is_one, self.line = rows, int(n_atoms.sum()), len(texts) == 1, line
        self._text = b"".join(texts)
        self._fields = _fixed_fields(self._text, self.n_rows, rows)
        self._tokens: list[bytes] | None = None

    def species(self) -> tuple[NDArray[np.uint8], ParseError | None]:
        """Z of each atom, from symbols or numbers; where a row has both and they differ, Z counts and the error says so.

        Raises:
            ParseError: no element.
        """
        symbols, numbered = self.layout.named(SPECIES), self.layout.named(ATOMIC_NUMBER)
        if numbered is None:
            assert symbols is not None  # layout() saw to it
            return self._symbols(symbols), None
        values = self.numbers(numbered.name)[:, 0]
        wrong = ~((values >= 1) & (values < len(SYMBOLS)) & (values == np.floor(values)))
        if wrong.any():
            row = int(np.argmax(wrong))
            raise ParseError(f"expected an atomic number, found {values[row]:g}.", line=self.line + row)
        differ = np.zeros(self.n_rows, bool) if symbols is None else values != self._symbols(symbols)
        if differ.any():
            row = int(np.argmax(differ))
            text = f"expected the atomic number of the species, found {values[row]:g}. The row names two elements."
            return values.astype(np.uint8), ParseError(text, line=self.line + row)
        return values.astype(np.uint8), None

    def numbers(self, name: str) -> NDArray[np.float64]:
        """The numbers of a column, shape (n, width); of logicals 1 and 0.

        Raises:
            ParseError: a field that is no finite number.
        """
        column = self.layout.columns[name]
        if self._fields is not None and column.kind == "R":
            values, good = fixed_width.decimals(self._fields[:, column.first - 1 : column.first - 1 + column.width])
            if good.all():
                return values
        tokens = self._columns(column)
        if column.kind == "L":
            tokens = [_LOGICAL.get(token, token) for token in tokens]
        try:
            return numbers(b" ".join(tokens), self.n_rows * column.width).reshape(self.n_rows, column.width)
        except ParseError as error:
            error.line = self.line + (_first_bad(tokens) // column.width if self.is_one else 0)
            raise

    def _symbols(self, column: Column) -> NDArray[np.uint8]:
        if self._fields is not None:
            width = len(self._text) // self.n_rows - 1 - fixed_width.WIDTH * self._fields.shape[1]
            block = np.frombuffer(self._text, np.uint8).reshape(self.n_rows, -1)[:, :width]
            if (block[:, 2:] == ord(" ")).all():
                second = block[:, 1] if width > 1 else np.uint8(ord(" "))
                found: NDArray[np.uint8] = _BY_LETTERS[block[:, 0], second]
                if found.all():
                    return found
        names, place = np.unique(np.array(self._columns(column)), return_inverse=True)
        found = np.array([_element(name) for name in names.tolist()], np.uint8)[place.reshape(-1)]
        if not found.all():
            row = int(np.argmin(found))
            name = names[place.reshape(-1)[row]].decode("latin-1")
            raise ParseError(
                f"expected a chemical symbol, found {name[:20]!r}. The frame was left out.", line=self.line + row
            )
        return found

    def _columns(self, column: Column) -> list[bytes]:
        """The fields of a column, row by row."""
        if self._tokens is None:
            self._tokens = _split(self._text, self.n_rows, self.layout, self.line)
        parts = [self._tokens[column.first + i :: self.layout.n_columns] for i in range(column.width)]
        return parts[0] if column.width == 1 else [field for row in zip(*parts, strict=True) for field in row]


def _fixed_fields(text: bytes, n_rows: int, rows: Layout) -> fixed_width.U8 | None:
    """The fields of 17 characters after the species, (n_rows, n, 17); None where the rows are not laid out so."""
    kinds = [(column.kind, column.width) for column in rows.columns.values()]
    if rows.is_plain or kinds[0] != ("S", 1) or any(kind != "R" for kind, _ in kinds[1:]) or len(text) % n_rows:
        return None
    row = len(text) // n_rows
    n_fields = rows.n_columns - 1
    species = row - 1 - fixed_width.WIDTH * n_fields
    block = np.frombuffer(text, np.uint8).reshape(n_rows, row)
    if not 1 <= species <= 8 or (block[:, -1] != ord("\n")).any() or _SPACE[block[:, 0]].any():
        return None
    found: fixed_width.U8 = block[:, species:-1].reshape(n_rows, n_fields, fixed_width.WIDTH)
    return found


def _split(text: bytes, n_rows: int, rows: Layout, line: int) -> list[bytes]:
    """The fields of all rows, `rows.n_columns` of each.

    Raises:
        ParseError: a row with too few fields, or too many where Properties say how many there are.
    """
    space = _SPACE[np.frombuffer(text, np.uint8)]
    starts = np.flatnonzero(~space & np.concatenate([[True], space[:-1]]))
    ends = np.flatnonzero(np.frombuffer(text, np.uint8) == ord("\n"))
    counts = np.diff(np.searchsorted(starts, ends), prepend=0)
    wrong = counts < rows.n_columns if rows.is_plain else counts != rows.n_columns
    if wrong.any() or len(ends) != n_rows:
        row = int(np.argmax(wrong))
        raise ParseError(
            f"expected {rows.n_columns} columns, found {int(counts[row])}. Columns may have merged or the file be cut.",
            line=line + row,
        )
    tokens = text.split()
    if rows.is_plain and len(tokens) != n_rows * rows.n_columns:
        first = np.cumsum(counts) - counts
        tokens = [tokens[i] for i in (first[:, None] + np.arange(rows.n_columns)).ravel().tolist()]
    return tokens


def _first_bad(tokens: Sequence[bytes]) -> int:
    """Place of the first field that is no number."""
    for place, token in enumerate(tokens):
        try:
            numbers(token, 1)
        except ParseError:
            return place
    return 0


def _element(name: bytes) -> int:
    """Z of a species as files write it: a symbol, a numbered kind of one, or Z itself; 0 where it is none."""
    text = name.decode("latin-1")
    if text.isdecimal():
        return int(text) if len(text) <= 3 and int(text) < len(SYMBOLS) else 0
    match = _KIND.fullmatch(text)
    try:
        return atomic_number(match[1]) if match else 0
    except InputError:
        return 0


def _by_letters() -> NDArray[np.uint8]:
    """Z by the two characters of a symbol, the second a space where it has one only; 0 where there is no element."""
    table = np.zeros((256, 256), np.uint8)
    for symbol, number in ATOMIC_NUMBERS.items():
        letters = symbol.ljust(2)
        table[ord(letters[0]), ord(letters[1])] = number
    return table


_BY_LETTERS = _by_letters()


def fields(value: bytes) -> list[bytes]:
    """The fields of a value of the comment, in quotes, brackets, braces or bare."""
    return value.translate(_PUNCTUATION).split()


_PUNCTUATION = bytes.maketrans(b"\"'{}[],", b" " * 7)
