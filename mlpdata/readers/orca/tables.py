"""The tables of an ORCA output, many at a time.

Consecutive tables of a run differ in their digits only. The first one is taken apart row by row; those after it that
have the same characters wherever the first has no digit are converted together in one call. Any other is taken apart
by itself, so that damage costs its own table.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mlpdata.elements import ATOMIC_NUMBERS
from mlpdata.errors import ParseError
from mlpdata.readers.archive import Buffer
from mlpdata.readers.orca.headings import Mark
from mlpdata.readers.text import numbers
from mlpdata.units import F64

_PREAMBLE = rb"(?:[ \t]*(?:-{5,}|(?:NO +LB|ATOM +CHARGE|Total integrated|WARNING: THERE ARE)[^\n]{0,200})?\r?\n)*+"
_INDEXED = re.compile(_PREAMBLE + rb"((?:[ \t]*+\d[^\n]{0,400}\n)*+)")
_LABELLED = re.compile(_PREAMBLE + rb"((?:[ \t]*+(?:[A-Z][A-Za-z]?[:>]?|-)[ \t][^\n]{0,400}\n)*+)")
_AFTER = re.compile(rb"[ \t\r]*\n|\Z|[*>-]|Sum of")  # a blank line, a rule, a footnote on ECPs, a sum of charges


class Format(NamedTuple):
    """How the tables of one kind look."""

    body: re.Pattern[bytes]
    """Rules and titles of columns, then the rows as a group."""
    row: re.Pattern[bytes]
    """What stands before the numbers of a row: index, label, nuclear charge; empty where there is none."""
    columns: tuple[int, ...]
    """How many numbers a row may have."""


_CHARGES = Format(_INDEXED, re.compile(rb"(?m)^[ \t]*(\d+) +(\S+(?: :)?)() *: "), (1, 2))
FORMATS = {
    "bohr": Format(_INDEXED, re.compile(rb"(?m)^[ \t]*(\d+) +(\S+(?: :)?) +(-?\d+\.\d+)[*#]? +-?\d+ +\d+\.\d+ "), (3,)),
    "angstrom": Format(_LABELLED, re.compile(rb"(?m)^[ \t]*()(\S+(?: :)?)()[ \t]"), (3,)),
    "gradient": Format(_INDEXED, re.compile(rb"(?m)^[ \t]*(\d+) +(\S+(?: :)?)() *: "), (3,)),
    "mp2_gradient": Format(_INDEXED, re.compile(rb"(?m)^[ \t]*(\d+)()() *: "), (3,)),
    "mulliken": _CHARGES,
    "loewdin": _CHARGES,
    "hirshfeld": Format(_INDEXED, re.compile(rb"(?m)^[ \t]*(\d+) +(\S+(?: :)?)() "), (1, 2)),
}
"""By kind of heading."""

_DUMMIES = {"-", "DA", "X", "Xx", "XX"}
_ROWS_TOGETHER = 1 << 15
"""Rows that are converted in one call: a few MB."""
_BLANK, _NEWLINE, _RETURN, _POINT, _MINUS = (ord(char) for char in " \n\r.-")
_EXACT, _EXACT_DECIMALS, _SAFE_DIGITS = 1 << 53, 22, 16
"""Below the first two the quotient of digits and power of ten is the nearest float; so many digits fit an integer."""
_IN_NUMBER = np.isin(np.arange(256), list(b"0123456789 -"))
"""Bytes between the decimal points of a table."""


@dataclass(frozen=True, eq=False)
class Rows:
    """What stands before the numbers of a table's rows, which is no atom where `is_atom` is False (pitfall O10)."""

    index: tuple[bytes, ...]
    """Row numbers as printed."""
    label: tuple[bytes, ...]
    """Chemical symbols; `H:` is a ghost, `Mg>` a capping potential, `Q` a charge, `-` a dummy."""
    charge: tuple[bytes, ...]
    """Nuclear charges as printed; empty where the table has none."""

    @cached_property
    def labels(self) -> NDArray[np.str_]:
        """The label of each row; row numbers must be consecutive, as they are where no line is lost.

        Raises:
            ParseError: a line is lost.
        """
        if self.index[0] and not (np.diff(numbers(b" ".join(self.index))) == 1).all():
            raise ParseError("expected rows with consecutive numbers, found others. The table is damaged.")
        return np.array([label.decode("latin-1").replace(" ", "") for label in self.label])

    @cached_property
    def atomic_numbers(self) -> NDArray[np.uint8]:
        """Z of each row that may be an atom, 0 elsewhere."""
        return np.array([ATOMIC_NUMBERS.get(label, 0) for label in self.labels.tolist()], np.uint8)

    @cached_property
    def is_atom(self) -> NDArray[np.bool_]:
        """Which rows are atoms: a nuclear charge of zero makes a ghost.

        Raises:
            ParseError: none is.
        """
        ghost = np.array([bool(charge) and float(charge) == 0 for charge in self.charge])
        is_atom: NDArray[np.bool_] = (self.atomic_numbers > 0) & ~ghost
        if not is_atom.any():
            raise ParseError("expected at least one atom in the coordinates, found none.")
        return is_atom

    @cached_property
    def external(self) -> frozenset[str]:
        """What is no atom and acts on the electrons.

        Raises:
            ParseError: a row of an unknown kind.
        """
        kinds = {_external(kind) for kind in np.unique(self.labels).tolist()}
        if ((self.atomic_numbers > 0) & ~self.is_atom).any():
            kinds.add("ghost functions")
        return frozenset(kinds - {""})


def _external(kind: str) -> str:
    """What rows of a kind that is no element are, where they act on the electrons."""
    if kind == "Q" or kind.endswith(">"):
        return "point charges"
    if kind.endswith(":"):
        return "ghost functions"
    if kind not in ATOMIC_NUMBERS and kind not in _DUMMIES:
        raise ParseError(f"expected a chemical symbol, found {kind!r}.")
    return ""


class Table(NamedTuple):
    """A table as printed."""

    rows: Rows
    values: F64
    """Shape (n_rows, n_columns)."""


class _Layout:
    """Where a table stands after its heading, and which of its characters another one must share."""

    def __init__(self, skip: int, text: bytes, lead: int) -> None:
        self.skip, self.length, self.lead = skip, len(text), lead
        self.width = text.index(b"\n") + 1
        self.is_even = self.length % self.width == 0
        if not self.is_even:
            return
        grid = np.frombuffer(text, np.uint8).reshape(-1, self.width)
        fixed = ~_IN_NUMBER[grid]
        fixed[:, 1:] |= (grid[:, 1:] == _BLANK) & (grid[:, :-1] != _BLANK)  # what keeps two numbers apart
        fixed[:, :lead] = True
        self.is_even = bool((grid[:, -1] == _NEWLINE).all())
        self.fixed, self.free = np.flatnonzero(fixed), np.flatnonzero(~fixed)
        self.expected = grid.ravel()[self.fixed]
        self.fields = _fields(grid[:, lead:])

    def alike(self, texts: Sequence[bytes]) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """The texts, all of this length, as (n, n_rows, width), and which of them differ in digits only."""
        grids = np.frombuffer(b"".join(texts), np.uint8).reshape(len(texts), self.length)
        same = (grids[:, self.fixed] == self.expected).all(axis=1) & _IN_NUMBER[grids[:, self.free]].all(axis=1)
        return grids.reshape(len(texts), -1, self.width), same

    def values(self, grids: NDArray[np.uint8], n_columns: int) -> F64 | None:
        """The numbers of tables that are alike, shape (n, n_rows, n_columns); None where digits alone cannot tell."""
        columns = [fixed_point(grids[:, :, self.lead + a : self.lead + b], point) for a, point, b in self.fields]
        good = len(columns) == n_columns and all(is_good for _, is_good in columns)
        return np.stack([values for values, _ in columns], axis=-1) if good else None


def _fields(grid: NDArray[np.uint8]) -> list[tuple[int, int, int]]:
    """Of each column of numbers: where it starts, how far from there its decimal point stands, where it ends.

    Empty where the points of the rows do not stand below each other.
    """
    is_point, is_blank = grid == _POINT, (grid == _BLANK) | (grid == _NEWLINE) | (grid == _RETURN)
    points = np.flatnonzero(is_point.any(axis=0)).tolist()
    if not is_point[:, points].all():
        return []
    fields, start = [], 0
    for point in points:
        after = np.flatnonzero(is_blank[:, point:].all(axis=0))
        end = point + int(after[0]) if len(after) else grid.shape[1]
        fields.append((start, point - start, end))
        start = end
    return fields


def fixed_point(fields: NDArray[np.uint8], point: int) -> tuple[F64, bool]:
    """The numbers in fields (..., width) whose decimal points stand at `point`, bit for bit as `float` reads them.

    False where one is not of the form blanks, at most one minus, digits, point, digits, or has too many digits.
    """
    total, seen = np.zeros(fields.shape[:-1], np.int64), np.zeros(fields.shape[:-1], bool)
    negative, good = seen.copy(), True
    width = fields.shape[-1]
    for place in range(width):
        byte = fields[..., place]
        if place == point:
            good = good and bool(seen.all() and (byte == _POINT).all())
            continue
        digit = byte - np.uint8(ord("0"))
        is_digit = digit < 10
        if place > point or place == point - 1:
            good = good and bool(is_digit.all())
        else:
            minus = byte == _MINUS
            good = good and not bool(((~is_digit & (seen | negative)) | ~(is_digit | minus | (byte == _BLANK))).any())
            negative |= minus
        if place >= _SAFE_DIGITS:
            good = good and bool((total < _EXACT // 10).all())
        if not good:
            return np.empty(0), False
        seen |= is_digit
        total *= 10
        total += np.where(is_digit, digit, 0)
    good = good and width - point - 1 <= _EXACT_DECIMALS and bool((total < _EXACT).all())
    values = total / 10.0 ** (width - point - 1)
    return np.where(negative, -values, values), good


class Tables:
    """The tables of a run by their headings; asking for one converts those that follow it too.

    Args:
        data: the file.
        marks: by kind, the headings that may be asked for, in order.
    """

    def __init__(self, data: Buffer, marks: dict[str, list[Mark]]) -> None:
        self._data, self._marks = data, marks
        self._place = {kind: {mark.start: i for i, mark in enumerate(found)} for kind, found in marks.items()}
        self._ready: dict[str, dict[int, Table]] = {kind: {} for kind in marks}
        self._ahead = dict.fromkeys(marks, 1)
        self._alone: set[int] = set()

    def read(self, kind: str, mark: Mark) -> Table:
        """The table after a heading.

        Raises:
            ParseError: rows that are cut, lost, or hold something else than numbers.
        """
        ready = self._ready[kind].pop(mark.start, None)
        if ready is not None:
            return ready
        table, layout = _taken_apart(self._data, mark, FORMATS[kind])
        if layout.is_even and mark.start not in self._alone:
            place = self._place[kind][mark.start] + 1
            following = self._marks[kind][place : place + self._ahead[kind]]
            more = self._together(table, layout, following)
            self._ready[kind] = more
            # far ahead only where it pays: layouts may change from step to step
            most = max(1, _ROWS_TOGETHER // len(table.values))
            self._ahead[kind] = min(most, 8 * self._ahead[kind]) if len(more) == len(following) else 1
        return table

    def _together(self, table: Table, layout: _Layout, marks: Sequence[Mark]) -> dict[int, Table]:
        """Those of the tables after `marks` that have the layout of `table`, by the start of their headings."""
        places = {mark.start: mark.end + layout.skip for mark in marks}
        texts = {
            start: text
            for start, place in places.items()
            if len(text := self._data[place : place + layout.length]) == layout.length
            and _AFTER.match(self._data, place + layout.length)
        }
        if not texts:
            return {}
        grids, same = layout.alike(list(texts.values()))
        starts = [start for start, is_same in zip(texts, same.tolist(), strict=True) if is_same]
        try:
            values = layout.values(grids[same], table.values.shape[1])
            if values is None:
                values = numbers(grids[same][:, :, layout.lead :].tobytes(), len(starts) * table.values.size)
        except ParseError:  # one of them is damaged: each by itself
            self._alone.update(starts)
            return {}
        blocks = values.reshape(len(starts), *table.values.shape)
        return {start: Table(table.rows, block) for start, block in zip(starts, blocks, strict=True)}


def _taken_apart(data: Buffer, mark: Mark, form: Format) -> tuple[Table, _Layout]:
    """The table after a heading, row by row."""
    match = form.body.match(data, mark.end)
    assert match is not None  # both parts of the pattern may be empty
    text = match[1]
    if not text or not _AFTER.match(data, match.end()):
        raise ParseError("expected a table of numbers that ends at a blank line, found one that is damaged or cut.")
    parts = form.row.split(text)  # what is before the first row, then three fields and the numbers of each row
    fields = {len(row.split()) for row in parts[4::4]}
    n_rows = text.count(b"\n")
    if len(fields) != 1 or not fields <= set(form.columns) or len(parts) != 4 * n_rows + 1:
        numbers(b" ".join(parts[::4]))  # says which field is no number
        raise ParseError(f"expected {form.columns[0]} numbers a row, found another count. Columns may have merged.")
    values = numbers(b" ".join(parts[::4]), n_rows * fields.pop()).reshape(n_rows, -1)
    rows = Rows(tuple(parts[1::4]), tuple(parts[2::4]), tuple(parts[3::4]))
    lead = max(match.end() - (text.rfind(b"\n", 0, match.start()) + 1) for match in form.row.finditer(text))
    return Table(rows, values), _Layout(match.start(1) - mark.end, text, lead)
