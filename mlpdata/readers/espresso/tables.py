"""Tables of pw.x that have a row for each atom: those of many steps are converted together.

References:
    PW/src/forces.f90, output_tau.f90 and report_mag.f90 of Quantum ESPRESSO 5.0 to 7.4.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mlpdata.errors import ParseError
from mlpdata.readers.fixed_width import U8, columns
from mlpdata.readers.text import numbers
from mlpdata.units import F64

_FLAGS = re.compile(rb"(?<! )(?: +[01]){3} *\n")
_MOMENT = re.compile(rb" +atom:? +(\d{1,9}) (?: *\(R=[^)\n]{1,20}\))? *charge[:=] *\S+ +magn[:=] *(\S+)[^\n]*\n")


def forces(text: bytes, n_steps: int, n_atoms: int) -> F64:
    """The rows `atom  1 type  1   force = x y z` of several steps [Ry/bohr], shape (n_steps * n_atoms, 3).

    Raises:
        ParseError: other rows, or what is no number.
    """
    rows = n_steps * n_atoms
    fast = columns(text, rows)
    fields = text.split() if fast is None else fast.labels.tobytes().split()
    each = 9 if fast is None else 6
    if len(fields) != each * rows or set(fields[::each]) != {b"atom"} or set(fields[5::each]) != {b"="}:
        raise ParseError(f"expected forces of {n_atoms} atoms, found other rows. Columns merged or the file is cut.")
    if fast is not None:
        return fast.numbers
    return numbers(b" ".join(fields[6::9] + fields[7::9] + fields[8::9]), 3 * rows).reshape(3, rows).T


def coordinates(text: bytes, n_steps: int, kinds: Sequence[bytes]) -> F64:
    """The rows of ATOMIC_POSITIONS of several steps, shape (n_steps, n_atoms, 3); flags of fixed atoms are dropped.

    Raises:
        ParseError: other rows, or what is no number.
    """
    n_atoms = len(kinds)
    fast = columns(text, n_atoms * n_steps)
    if fast is not None and _are_named(fast.labels, n_steps, kinds):
        return fast.numbers.reshape(n_steps, n_atoms, 3)
    fields = text.split()
    if len(fields) != 4 * n_atoms * n_steps:
        fields = _FLAGS.sub(b"\n", text).split()
    if fields[::4] != [*kinds] * n_steps:
        raise ParseError(f"expected positions of {n_atoms} atoms in order, found other rows. The table is damaged.")
    del fields[::4]
    return numbers(b" ".join(fields), 3 * n_atoms * n_steps).reshape(n_steps, n_atoms, 3)


def _are_named(labels: U8, n_steps: int, kinds: Sequence[bytes]) -> bool:
    """Whether the labels of several tables, all alike, name the atoms in order."""
    first = labels[: len(labels) // n_steps]
    alike = bool((labels.reshape(n_steps, *first.shape) == first).all())
    return alike and first.tobytes().split() == [*kinds]


def fixed(text: bytes) -> NDArray[np.int8] | None:
    """Which coordinates a table of ATOMIC_POSITIONS holds, shape (n_atoms, 3), 1 where fixed; None where none is.

    Three flags follow the position of an atom of which a coordinate is fixed: 0 for such a one (pitfall Q7).

    Raises:
        ParseError: flags that are none.
    """
    rows = [row.split()[4:] for row in text.splitlines()]
    if not any(rows):
        return None
    if any(row and (len(row) != 3 or not {*row} <= {b"0", b"1"}) for row in rows):
        raise ParseError("expected three flags 0 or 1 behind a position, found something else.")
    return np.array([[flag == b"0" for flag in row] or [False] * 3 for row in rows], np.int8)


def magnetic_moments(text: bytes, n_atoms: int) -> F64:
    """The rows below "Magnetic moment per site" [muB], shape (n_atoms,).

    Raises:
        ParseError: other rows, or what is no number.
    """
    rows = [match for line in text.splitlines(keepends=True) if (match := _MOMENT.match(line))]
    if [int(row[1]) for row in rows] != list(range(1, n_atoms + 1)):
        raise ParseError(f"expected magnetic moments of {n_atoms} atoms, found other rows.")
    return numbers(b" ".join(row[2] for row in rows), n_atoms)
