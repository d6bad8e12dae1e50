"""Extended XYZ: training sets, trajectories of MD engines, single geometries.

A frame is the number of atoms, a comment of `key=value` pairs, a row an atom. No unit stands in the file and no name in it
is certain (pitfall X3): `declared` gives the numbers their meaning. The format has no end mark: a file that ends with a
whole frame is complete. A frame whose rows or essential numbers are damaged costs itself only.

References:
    Specification: https://github.com/libAtoms/extxyz.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mlpdata.digest import sha256
from mlpdata.errors import InputError, ParseError
from mlpdata.frames import by_block
from mlpdata.readers.archive import Buffer, Input
from mlpdata.readers.declared import ESSENTIAL, Meaning, Named, level
from mlpdata.readers.extxyz.rows import Table, fields, layout
from mlpdata.readers.registry import Ending, Header, Printed, Reader, Undeclared
from mlpdata.readers.text import numbers
from mlpdata.schema.calculation import LeftOut
from mlpdata.schema.properties import ATOM
from mlpdata.units import F64

MOST_COMMENT = 1 << 20
"""Bytes of a comment; a longer one is no comment."""
MOST_OF_ROW = 1 << 12
"""Mean bytes of a row; more is no row of atoms."""
CERTAIN_DECIMALS = 4
"""As many decimals alike are no chance: the numbers have a fixed format."""
_PAIR = re.compile(
    rb"([^\s=,\"'{}\[\]]++|\"(?:[^\"\\]|\\.)*+\")\s*+"
    rb"(?:(=)\s*+(\"(?:[^\"\\]|\\.)*+\"|'[^']*+'|\{[^{}]*+\}|\[(?:[^\[\]]|\[[^\[\]]*+\])*+\]|[^\s\"'{}\[\]][^\s]*+)?)?"
)
"""`key=value`; the value in quotes, braces, brackets of one or two levels, or bare. A key alone, or a word of free text, is a flag."""
_NEXT = re.compile(rb"\n(?=[ \t]*+\d{1,9}[ \t\r]*+\n[^\n=]{0,65536}+=)")
"""Before a number of atoms that a comment with pairs follows: where reading goes on after damage."""
_IS_EXTENDED = re.compile(
    rb"\s*+\d{1,9}[ \t\r]*+\n(?=[^\n]{0,65536})[^\n]*?\b(?:properties|lattice|pbc|(?:\w{1,20}_)?energy)[ \t]*+=", re.I
)
_STATES_UNIT = re.compile(r"(energy|forces?|stress|virial|length|positions?|pos)[-_]units?", re.I)
_DIMENSIONS = {"forces": "force", "virial": "energy", "position": "length", "positions": "length", "pos": "length"}
_LOGICAL = {b"t": 1, b"true": 1, b"1": 1, b"f": 0, b"false": 0, b"0": 0}


class Frame(NamedTuple):
    """Where one frame stands."""

    line: int
    """Of its comment, from 1."""
    n_atoms: int
    rows: bytes
    """Of its atoms, each ended by a newline."""
    pairs: dict[str, bytes]
    """Of the comment, values as written."""

    @property
    def alike(self) -> tuple[bytes | None, tuple[str, ...]]:
        """What frames of one block share."""
        return self.pairs.get("Properties"), tuple(self.pairs)


def read(source: Input) -> Iterator[Header | Printed | Undeclared | Ending]:
    """The frames of a file as one run; they are no trajectory unless somebody says so.

    Raises:
        InputError: two names could mean one label, or the file contradicts what is declared.
        UnitError: the unit of an energy, a length, a force or a stress is not declared.
    """
    meaning = Meaning(source.declared)
    scan = Scan(source)
    frames = iter(scan)
    first = next(frames, None)
    yield meaning.header(sha256(first.rows if first else source.head))
    stated: set[tuple[str, bytes]] = set()
    for _, alike in itertools.groupby(itertools.chain([first] if first else [], frames), lambda frame: frame.alike):
        for block in by_block((frame.n_atoms, frame) for frame in alike):
            _compare_units(block, meaning, stated)
            yield from _blocks(block, meaning, scan.left_out)
    reason = "the compressed file ends early" if source.cut else scan.reason
    left_out = tuple(sorted(scan.left_out, key=lambda lost: lost.line))
    yield meaning.ending("truncated" if reason else "complete", reason, left_out)


class Scan:
    """The frames of a file in order; afterwards what was left out, and why the file did not end as it should."""

    def __init__(self, source: Input) -> None:
        self.source, self.data = source, source.data
        self.left_out: list[LeftOut] = []
        self.reason = ""
        self._patience = 4 * len(source.data)  # bytes looked through in vain; without it, counts that lie cost a square

    def __iter__(self) -> Iterator[Frame]:
        offset, line = 0, 1
        while offset < len(self.data) and not self.reason:
            if self.data[offset : offset + 1] in (b"\n", b"\r", b" ", b"\t") and self._is_blank(offset):
                offset, line = self.data.find(b"\n", offset) + 1 or len(self.data), line + 1
                continue
            try:
                frame, end = self._frame(offset, line)
            except ParseError as error:
                self.left_out.append(LeftOut(line=error.line or line, reason=error.message))
                offset = self._resumed(offset)
                line = self.source.line(offset)
            else:
                yield frame
                offset, line = end, line + 2 + frame.n_atoms

    def _is_blank(self, offset: int) -> bool:
        line = _line(self.data, offset, 1 << 10)
        return line is not None and not line.strip()

    def _frame(self, offset: int, line: int) -> tuple[Frame, int]:
        """The frame at `offset`, and where it ends.

        Raises:
            ParseError: it is none, or not whole.
        """
        count = _line(self.data, offset, 1 << 10)
        if count is None or not re.fullmatch(rb"\s*+\d{1,9}\s*+", count) or int(count) == 0:
            raise ParseError(f"expected a number of atoms, found {_shown(count)}. The frame was left out.", line=line)
        n_atoms = int(count)
        if n_atoms > self.source.limits.atoms:
            raise ParseError(f"expected at most {self.source.limits.atoms} atoms, found {n_atoms}.", line=line)
        comment = _line(self.data, offset + len(count), MOST_COMMENT)
        if comment is None:
            raise ParseError(f"expected a comment of at most {MOST_COMMENT} bytes, found a longer line.", line=line + 1)
        begin = offset + len(count) + len(comment)
        end = self._end_of_rows(begin, n_atoms)
        if end is None:
            self._patience -= len(self.data) - begin
            raise ParseError(f"expected {n_atoms} rows of atoms, found fewer. The file is cut.", line=line)
        if end - begin > MOST_OF_ROW * n_atoms:
            raise ParseError(f"expected rows of atoms, found {end - begin} bytes for {n_atoms}.", line=line)
        if not self._is_between_frames(end):
            raise ParseError(
                f"expected another frame after {n_atoms} rows, found none. Rows are missing or too many.", line=line
            )
        rows = self.data[begin:end]
        if not rows.endswith(b"\n"):
            _refuse_cut_number(rows, line + 1 + n_atoms)
            rows += b"\n"
        return Frame(line + 1, n_atoms, rows, pairs(comment)), end

    def _is_between_frames(self, offset: int) -> bool:
        """Whether another frame begins at `offset`, be its number of atoms damaged, or the file ends there."""
        count = _line(self.data, offset, 1 << 10)
        if count is None or not count.strip() or count.strip().isdigit():
            return count is not None
        return b"=" in (_line(self.data, offset + len(count), MOST_COMMENT) or b"")

    def _end_of_rows(self, begin: int, n_rows: int) -> int | None:
        """Where the row number `n_rows` after `begin` ends; None where the file has fewer."""
        data, bound = self.data, self.source.limits.line_bytes
        first = data.find(b"\n", begin, begin + bound) + 1 - begin
        guess = begin + n_rows * first
        if first > 0 and guess <= len(data) and first <= MOST_OF_ROW:
            rows = data[begin:guess]
            if rows.endswith(b"\n") and rows.count(b"\n") == n_rows:
                return guess
        piece = min(max(2 * n_rows * first, 1 << 10), 4 << 20)
        at, left = begin, n_rows
        while at < len(data):
            text = data[at : at + piece]
            found = text.count(b"\n")
            if found >= left:
                return at + int(np.flatnonzero(np.frombuffer(text, np.uint8) == ord("\n"))[left - 1]) + 1
            at, left = at + len(text), left - found
        ends_in_row = data[len(data) - 1 : len(data)] != b"\n" and len(data) > begin
        return len(data) if left == 1 and ends_in_row else None

    def _resumed(self, offset: int) -> int:
        """Where the next frame begins after the damaged one at `offset`; the end where there is none."""
        match = _NEXT.search(self.data, offset + 1)
        found = match.end() if match else len(self.data)
        self._patience -= found - offset
        if match is None or self._patience < 0:
            self.reason = f"line {self.left_out[-1].line}: {self.left_out[-1].reason}"
        return found


def pairs(comment: bytes) -> dict[str, bytes]:
    """The `key=value` pairs of a comment, values as written.

    A key that is given twice gets both values: their number is then wrong, and the frame is refused where it matters.
    """
    found: dict[str, bytes] = {}
    for key, equals, value in _PAIR.findall(comment):
        if not equals:
            continue
        name = _name(key)
        found[name] = value if name not in found else b"%b %b" % (found[name], value)
    return found


@functools.lru_cache(maxsize=1024)
def _name(key: bytes) -> str:
    """A key as text; those that the format itself fixes in one spelling."""
    name = key.strip(b'"').decode("latin-1")
    return _FIXED_NAMES.get(name.lower(), name)


_FIXED_NAMES = {"lattice": "Lattice", "properties": "Properties", "pbc": "pbc"}


def _line(data: Buffer, offset: int, most: int) -> bytes | None:
    """The line at `offset` with its end, empty at the end of the file; None where it is longer than `most`."""
    end = data.find(b"\n", offset, offset + most) + 1
    if end == 0:
        rest = data[offset : offset + most + 1]
        return rest if len(rest) <= most else None
    return data[offset:end]


def _shown(line: bytes | None) -> str:
    return "a very long line" if line is None else repr(line.strip()[:40].decode("latin-1")) if line else "the end"


def _refuse_cut_number(rows: bytes, line: int) -> None:
    """Refuse a last row without line end, unless its last number has as many decimals as those beside and above it.

    Raises:
        ParseError: the file may have been cut within that number.
    """
    last = [row.split() for row in rows.rsplit(b"\n", 2)[-2:]]
    decimals = {len(token.partition(b".")[2]) for token in (*last[-1][-2:], *last[0][-1:])}
    if len(decimals) != 1 or max(decimals) < CERTAIN_DECIMALS:
        raise ParseError(
            "expected a line end, found none: the last number may be cut. The frame was left out.", line=line
        )


def _compare_units(block: Sequence[Frame], meaning: Meaning, seen: set[tuple[str, bytes]]) -> None:
    """Compare the units that comments state with those declared.

    Raises:
        InputError: they differ (X3).
    """
    for key in block[0].pairs:
        if match := _STATES_UNIT.fullmatch(key):
            name = match[1].lower()
            for frame in block:
                if (key, frame.pairs[key]) in seen:
                    continue
                seen.add((key, frame.pairs[key]))
                try:
                    meaning.agree(_DIMENSIONS.get(name, name), frame.pairs[key].strip(b"\"'").decode("latin-1"))
                except InputError as error:
                    error.line = frame.line
                    raise


def _blocks(block: Sequence[Frame], meaning: Meaning, left_out: list[LeftOut]) -> Iterator[Printed | Undeclared]:
    """A block as arrays; where it is damaged its halves are tried, so that one frame costs itself only."""
    try:
        yield meaning.block(_named(block, meaning))
    except ParseError as error:
        if len(block) == 1:
            left_out.append(LeftOut(line=error.line or block[0].line, reason=error.message))
            return
        for half in (block[: len(block) // 2], block[len(block) // 2 :]):
            yield from _blocks(half, meaning, left_out)


def _named(block: Sequence[Frame], meaning: Meaning) -> Named:
    """The arrays of frames alike, under the names of the file.

    Raises:
        ParseError: a geometry, an energy or a force that cannot be read.
    """
    first = block[0]
    properties = first.pairs.get("Properties")
    rows = layout(None if properties is None else properties.strip(b"\"'").decode("latin-1"))
    n_atoms = np.array([frame.n_atoms for frame in block])
    table = Table([frame.rows for frame in block], n_atoms, rows, first.line + 1)
    atomic_numbers, contradiction = table.species()
    if contradiction is not None:
        if meaning.is_declared or len(block) > 1:
            raise contradiction
        meaning.warn(f"line {contradiction.line}: {contradiction.message} It would not be ingested.")
    known: dict[str, ArrayLike] = {
        "atomic_numbers": atomic_numbers,
        "positions": table.numbers(rows.positions),
        "source_line": [frame.line for frame in block],
        **_cells(block),
    }
    of_atoms: dict[str, NDArray[Any]] = {}
    of_configurations: dict[str, NDArray[Any]] = {}
    for name, keys in meaning.wanted(rows.others, first.pairs).items():
        for key in keys:
            try:
                if level(name) == ATOM:
                    of_atoms[key] = table.numbers(key)
                else:
                    of_configurations[key] = _values(block, key)
            except ParseError as error:
                if name in ESSENTIAL or len(block) > 1:
                    raise
                meaning.warn(f"line {error.line or first.line}: {key!r} was not read: {error.message}")
    return Named(n_atoms, known, of_atoms, of_configurations)


def _values(block: Sequence[Frame], key: str) -> F64:
    """The numbers of a key, a row a frame.

    Raises:
        ParseError: no finite numbers, or not as many in each frame.
    """
    rows = [fields(frame.pairs[key]) for frame in block]
    n_numbers = len(rows[0])
    if n_numbers == 0 or any(len(row) != n_numbers for row in rows):
        raise ParseError(f"expected numbers for {key!r}, as many in each frame, found {n_numbers} and others.")
    return numbers(b" ".join(itertools.chain.from_iterable(rows)), n_numbers * len(rows)).reshape(-1, n_numbers)


def _cells(block: Sequence[Frame]) -> dict[str, ArrayLike]:
    """Periodicity and cells: without pbc a frame with a Lattice is periodic; what is not periodic has no cell (X4).

    Raises:
        ParseError: a Lattice or pbc that cannot be read, or pbc without Lattice.
    """
    cell = np.zeros((len(block), 3, 3))
    if "Lattice" in block[0].pairs:
        values = _values(block, "Lattice")
        if values.shape[1] not in (3, 9):
            raise ParseError(f"expected three vectors in Lattice, found {values.shape[1]} numbers.")
        cell = values.reshape(-1, 3, 3) if values.shape[1] == 9 else values[:, None, :] * np.eye(3)
    filled = np.any(cell, axis=(1, 2)).reshape(-1, 1)
    pbc = (
        np.array([_pbc(frame.pairs["pbc"]) for frame in block]) if "pbc" in block[0].pairs else filled.repeat(3, axis=1)
    )
    if (pbc.any(axis=1) & ~filled[:, 0]).any():
        raise ParseError("expected a Lattice, found pbc without one. The frame was left out.")
    cell[~pbc.any(axis=1)] = np.nan
    return {"pbc": pbc.astype(np.int8), **({} if np.isnan(cell).all() else {"cell": cell})}


@functools.lru_cache(maxsize=64)
def _pbc(value: bytes) -> tuple[int, ...]:
    """Three flags.

    Raises:
        ParseError: others than T and F.
    """
    found = [_LOGICAL.get(one.lower()) for one in fields(value)]
    flags = tuple(flag for flag in found if flag is not None)
    if len(flags) != 3 or len(found) != 3:
        raise ParseError(f"expected pbc such as 'T T F', found {value[:40].decode('latin-1')!r}.")
    return flags


def _is_extended(head: bytes) -> bool:
    """Whether a number of atoms and a comment with pairs of extended XYZ begin `head`.

    A plain XYZ has no labels, and a trajectory of CP2K (`i = 0, time = 0.000, E = -17.1`) is a part of its run.
    """
    return _IS_EXTENDED.match(head) is not None


READER = Reader("extxyz/frames", 1, ("*.extxyz",), _is_extended, read)
