"""What an ORCA output prints of a frame beside energy and gradient: charges, dipole, atoms that are held.

All of it is optional: what cannot be read is left out with a warning, and the frame stays.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mlpdata.errors import ParseError
from mlpdata.readers.archive import Input
from mlpdata.readers.orca.blocks import line_of, on_atoms
from mlpdata.readers.orca.headings import Cycle, Mark
from mlpdata.readers.orca.tables import Rows, Tables
from mlpdata.readers.text import numbers
from mlpdata.schema.properties import NO, UNKNOWN, YES
from mlpdata.units import F64

SCHEMES = ("mulliken", "loewdin", "hirshfeld")
_BEYOND_SCF = {"mp2_total", "cc_total", "excited", "root"}
_CONSTRAINT = re.compile(r"\{\s*C\s([\d:\s]+)\sC\s*\}", re.IGNORECASE)


class Labels(NamedTuple):
    """Optional labels of one frame."""

    charges: dict[str, F64]
    """By scheme [e], shape (n_atoms,)."""
    dipole: F64 | None
    """[e*bohr], shape (3,)."""


def labels(source: Input, cycle: Cycle, tables: Tables, rows: Rows, charge: float, warnings: list[str]) -> Labels:
    """The charges and the dipole of a cycle, where they are of the density that the final energy is of.

    Beyond one SCF the program analyses several densities, of which the last need not be that of the method.
    """
    if _BEYOND_SCF & cycle.marks.keys() or len(cycle.marks.get("converged", ())) > 1:
        return Labels({}, None)
    charges: dict[str, F64] = {}
    for scheme in SCHEMES:
        if len(cycle.marks.get(scheme, ())) == 1:
            (mark,) = cycle.marks[scheme]
            try:
                charges[scheme] = on_atoms(tables.read(scheme, mark), rows, named=True)[:, 0]
            except ParseError as error:
                warnings.append(_dropped(source, cycle, mark, f"{scheme} charges", error))
    return Labels(charges, _dipole(source, cycle, charge, warnings))


def _dipole(source: Input, cycle: Cycle, charge: float, warnings: list[str]) -> F64 | None:
    """The total dipole, in the axes of the coordinates.

    It is about the centre of mass or another point that the input chose: of an ion it is not what the registry means.
    """
    if charge != 0 or len(cycle.marks.get("dipole", ())) != 1:
        return None
    (mark,) = cycle.marks["dipole"]
    try:
        return numbers(mark.text.partition(b":")[2], 3)
    except ParseError as error:
        warnings.append(_dropped(source, cycle, mark, "the dipole", error))
        return None


def _dropped(source: Input, cycle: Cycle, mark: Mark, what: str, error: ParseError) -> str:
    return f"line {line_of(source, cycle, mark.start)}: {what} left out: {error.message}"


def held_atoms(lines: Sequence[str]) -> tuple[int, ...]:
    """Rows of the coordinates that the input holds in place: `{ C 3 C }`, `{ C 0:4 C }`, `{ C 1 2 7 C }`, from 0."""
    held: set[int] = set()
    for match in _CONSTRAINT.finditer("\n".join(lines)):
        for part in match[1].split():
            ends = part.split(":")
            if len(ends) <= 2 and all(end.isdecimal() and len(end) < 6 for end in ends):
                held.update(range(int(ends[0]), int(ends[-1]) + 1))
    return tuple(sorted(held))


def fixed(held: Sequence[int], rows: Rows) -> NDArray[np.int8]:
    """1 along all axes for the atoms among `held`, shape (n_atoms, 3)."""
    mask = np.zeros((len(rows.is_atom), 3), np.int8)
    mask[[row for row in held if row < len(mask)]] = 1
    return mask[rows.is_atom]


def force_mask(gradient: F64 | None, held: Sequence[int], rows: Rows) -> NDArray[np.int8]:
    """0 for atoms that the run holds and whose gradient is printed as zero, else 1, shape (n_atoms,).

    Which atoms are held is unknown where only the table of the gradient says that there are some (pitfall O11).
    """
    n_atoms = int(rows.is_atom.sum())
    may_be_zeroed = fixed(held, rows)[:, 0] == YES if held else np.ones(n_atoms, bool)
    if gradient is None:
        return np.full(n_atoms, UNKNOWN, np.int8)
    return np.where(may_be_zeroed & (gradient == 0).all(axis=1), NO, YES).astype(np.int8)
