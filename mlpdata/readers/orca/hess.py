"""ORCA's `job.hess`: second derivatives at one geometry, in blocks of five columns [hartree/bohr^2].

References:
    ORCA manual, section on vibrational frequencies.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike

from mlpdata.digest import sha256
from mlpdata.elements import ATOMIC_NUMBERS
from mlpdata.errors import ParseError
from mlpdata.readers.archive import Buffer, Input
from mlpdata.readers.orca import files as orca_files
from mlpdata.readers.registry import Ending, Header, Printed, Reader
from mlpdata.readers.text import number, numbers
from mlpdata.schema.calculation import LeftOut
from mlpdata.schema.method import Method
from mlpdata.units import F64, Quantity

_SECTION = re.compile(rb"(?m)^\$(act_energy|hessian|atoms|end)[ \t]*\r?\n")
_COLUMNS, _BYTES_A_NUMBER = 5, 60
_MOST_SECTIONS = 100
_MAGIC = b"$orca_hessian_file"


def read(source: Input) -> Iterator[Header | Printed | Ending]:
    """The one frame of the file.

    Raises:
        ParseError: no file of second derivatives.
    """
    if _MAGIC not in source.head:
        raise ParseError("expected $orca_hessian_file, found none. The file is cut or damaged.")
    sections = _sections(source.data)
    warnings: list[str] = []
    try:
        printed = _frame(source, sections, warnings)
    except ParseError as error:
        yield Header(Method(code="orca"), "", "phonon")
        yield Ending("truncated", "the file is cut or damaged", (LeftOut(line=error.line or 0, reason=error.message),))
        return
    positions = printed.arrays["positions"]
    assert isinstance(positions, Quantity)
    identity = sha256(positions.values.tobytes())
    yield Header(
        Method(code="orca"), identity, "phonon", "total" if "energy" in printed.arrays else "unknown", "absent"
    )
    yield printed
    whole = b"end" in sections
    yield Ending(
        "complete" if whole else "truncated", "" if whole else "the file ends before $end", (), tuple(warnings)
    )


def _sections(data: Buffer) -> dict[bytes, tuple[int, int]]:
    """Where the rows of the first section of each name start and end: before the next line that begins with `$`."""
    sections: dict[bytes, tuple[int, int]] = {}
    for match in itertools.islice(_SECTION.finditer(data), _MOST_SECTIONS):
        end = data.find(b"\n$", match.end() - 1)
        sections.setdefault(match[1], (match.end(), len(data) if end < 0 else end + 1))
    return sections


def _frame(source: Input, sections: dict[bytes, tuple[int, int]], warnings: list[str]) -> Printed:
    atomic_numbers, masses, positions = _atoms(source, *_place(sections, b"atoms"))
    n_atoms = len(atomic_numbers)
    start, end = _place(sections, b"hessian")
    with_line = source.line(start)
    try:
        if end - start > _BYTES_A_NUMBER * (3 * n_atoms + 1) * (3 * n_atoms + 2):
            raise ParseError(f"expected derivatives of {n_atoms} atoms, found a longer table.")
        matrix = _matrix(source.data[start:end], 3 * n_atoms)
    except ParseError as error:
        error.line = error.line or with_line
        raise
    blocks = matrix.reshape(n_atoms, 3, n_atoms, 3).transpose(0, 2, 1, 3)
    idle = (blocks == 0).all(axis=(1, 2, 3))
    if idle.any():
        warnings.append(f"second derivatives of {int(idle.sum())} atoms are zero: not computed, left out")
        blocks = np.where((idle[:, None] | idle)[:, :, None, None], np.nan, blocks)
    arrays: dict[str, Quantity | ArrayLike] = {
        "atomic_numbers": atomic_numbers,
        "positions": Quantity(positions, "bohr", 12),
        "masses": Quantity(masses, "u"),
        "pbc": np.zeros((1, 3), np.int8),
        "source_line": [with_line],
    }
    if not idle.all():
        arrays["hessian"] = Quantity(np.ascontiguousarray(blocks).reshape(-1, 3, 3), "hartree/bohr^2")
    energy = _energy(source, sections, warnings)
    if energy:
        arrays["energy"] = Quantity(np.array([energy]), "hartree")
    return Printed([n_atoms], arrays)


def _place(sections: dict[bytes, tuple[int, int]], name: bytes) -> tuple[int, int]:
    if name not in sections:
        raise ParseError(f"expected a section ${name.decode()}, found none. The file is cut or damaged.")
    return sections[name]


def _count(source: Input, start: int, end: int) -> tuple[int, int]:
    """The number on the first line of a section, and where its rows begin."""
    match = re.compile(rb"[ \t]*([1-9]\d{0,8})[ \t]*\r?\n").match(source.data, start, end)
    if match is None:
        raise ParseError("expected a number of rows, found none.", line=source.line(start))
    return int(match[1]), match.end()


def _atoms(source: Input, start: int, end: int) -> tuple[list[int], F64, F64]:
    """Atomic numbers, masses [u], positions [bohr]: a row is `O  15.999  0.0 0.0 0.1`."""
    count, rows_start = _count(source, start, end)
    text = source.data[rows_start:end]
    lines = [line.split() for line in text.splitlines() if line.strip() and not line.lstrip().startswith(b"#")]
    line = source.line(start)
    if len(lines) != count or any(len(row) != 5 for row in lines) or not text.endswith(b"\n"):
        raise ParseError(f"expected {count} rows of a symbol and four numbers, found something else.", line=line)
    symbols = [row[0].decode("latin-1") for row in lines]
    atomic_numbers = [ATOMIC_NUMBERS.get(symbol, 0) for symbol in symbols]
    if 0 in atomic_numbers:
        odd = symbols[atomic_numbers.index(0)]
        raise ParseError(f"expected a chemical symbol, found {odd[:20]!r}.", line=line)
    try:
        values = numbers(b" ".join(token for row in lines for token in row[1:])).reshape(-1, 4)
    except ParseError as error:
        error.line = line
        raise
    return atomic_numbers, values[:, 0], values[:, 1:]


def _matrix(text: bytes, size: int) -> F64:
    """The matrix of a section $hessian, shape (size, size); each block of columns has their numbers above it.

    Raises:
        ParseError: another size, rows or columns out of order, or something else than numbers.
    """
    values = numbers(text)
    matrix = np.empty((size, size))
    n_blocks = -(-size // _COLUMNS)
    if len(values) != 1 + size + size * n_blocks + size * size or values[0] != size:
        raise ParseError(f"expected {size} rows and columns, found another count. The table is cut or damaged.")
    place = 1
    for first in range(0, size, _COLUMNS):
        columns = np.arange(first, min(first + _COLUMNS, size))
        titles = values[place : place + len(columns)]
        place += len(columns)
        block = values[place : place + size * (len(columns) + 1)].reshape(size, -1)
        place += block.size
        if (titles != columns).any() or (block[:, 0] != np.arange(size)).any():
            raise ParseError("expected rows and columns in order, found others. The table is damaged.")
        matrix[:, columns] = block[:, 1:]
    return matrix


def _energy(source: Input, sections: dict[bytes, tuple[int, int]], warnings: list[str]) -> float:
    """The energy at the geometry [hartree]; zero where the run did not store it."""
    if b"act_energy" not in sections:
        return 0.0
    start, end = sections[b"act_energy"]
    try:
        return number(source.data[start:end].strip())
    except ParseError as error:
        warnings.append(f"line {source.line(start)}: the energy left out: {error.message}")
        return 0.0


READER = Reader(
    "orca/hess",
    1,
    ("*.hess",),
    lambda head: _MAGIC in head,
    read,
    run_of=orca_files.run_of,
    precedence=orca_files.HESS,
)
