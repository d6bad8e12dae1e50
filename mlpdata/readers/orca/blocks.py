"""What of an ORCA output belongs together: the coordinates, final energy and gradient of one cycle.

Between one set of coordinates and the next there is at most one frame (pitfalls O5, O9). What cannot be paired for
certain raises ParseError, with the reason.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mlpdata.elements import SYMBOLS
from mlpdata.errors import ParseError
from mlpdata.readers.archive import Input
from mlpdata.readers.orca.headings import Cycle, Mark
from mlpdata.readers.orca.tables import Rows, Table, Tables
from mlpdata.readers.text import number, numbers
from mlpdata.schema.properties import NO, UNKNOWN, YES
from mlpdata.units import F64

_FINAL = re.compile(rb"FINAL SINGLE POINT ENERGY +(?![(])(\S+) *+(?:\(([^)]*)\))?\s*+$")
_INPUT_XYZ = re.compile(r"\*\s*xyz\s+-?\d+\s+\d+", re.IGNORECASE)
_SYMBOLS = np.array(SYMBOLS)

SAME_ENERGY = 2e-9
"""Energies printed with nine decimals agree within this [hartree]."""


class Geometry(NamedTuple):
    """A table of coordinates, some of whose rows may be no atoms: ghosts, dummies, charges (pitfall O10)."""

    rows: Rows
    positions: F64
    """Of the atoms [`unit`], shape (n_atoms, 3)."""
    unit: str
    """bohr or angstrom."""


class Label(NamedTuple):
    """The final energy of a cycle."""

    energy: float
    """[hartree]"""
    state: str | None = None
    """`root 1`, `triplet root 1`: whose energy it is; None for the ground state."""


@contextmanager
def located(source: Input, cycle: Cycle, offset: int) -> Iterator[None]:
    """Give the line at `offset` of a cycle to a ParseError that does not know its own."""
    try:
        yield
    except ParseError as error:
        error.line = error.line or line_of(source, cycle, offset)
        raise


def line_of(source: Input, cycle: Cycle, offset: int) -> int:
    """The line at `offset`; counted from the start of its cycle, so that cycles may be asked in order."""
    start = cycle.start
    return source.line(start) + source.data[start:offset].count(b"\n")


def label(cycle: Cycle) -> Label:
    """The final energy of a cycle and the state it is of.

    FINAL SINGLE POINT ENERGY is that of an excited root also where only excitation energies were asked for, without
    any gradient (O3): it is named by its root, after a comparison with what the calculation of excited states prints.
    Of an extrapolation, which runs several SCFs of other basis sets, it is the extrapolated energy (O8).

    Raises:
        ParseError: no final energy, several that differ, one of a part of the system, or one of no known state.
    """
    finals = {_final(mark.text) for mark in cycle.marks.get("energy", ())}
    if not finals:
        raise ParseError("expected FINAL SINGLE POINT ENERGY for these coordinates, found none. The run ended before.")
    if len(finals) > 1:
        raise ParseError(f"expected one final energy for these coordinates, found {len(finals)}.")
    (final,) = finals
    if "excited" in cycle.marks:
        return Label(final, _state_of(cycle, final))
    return Label(final, _root_of(cycle, final) if "root" in cycle.marks else None)


def _final(line: bytes) -> float:
    """The number of a line FINAL SINGLE POINT ENERGY."""
    match = _FINAL.match(line)
    if match is None:
        raise ParseError("expected FINAL SINGLE POINT ENERGY of the whole system, found that of a part.")
    if match[2] and b"not fully converged" not in match[2]:
        raise ParseError(f"expected FINAL SINGLE POINT ENERGY, found it marked as {match[2].decode('latin-1')!r}.")
    return number(match[1])


def _value(mark: Mark | None, what: str) -> float:
    """The number after the last sign of a line: `E(TOT) ... -380.5`, `E(SCF) = -382.0 Eh`, `IROOT=  1:  0.2 au`."""
    match = re.match(rb".*(?::|=|\.\.\.) *+(\S+)", mark.text) if mark else None
    if match is None:
        raise ParseError(f"expected {what}, found none.")
    return number(match[1])


def _state_of(cycle: Cycle, final: float) -> str | None:
    """Which of the states of a CIS or TD-DFT calculation the final energy is of; it may hold dispersion (O2)."""
    mark = cycle.last("dispersion")
    corrections = (0.0, number(mark.text.split()[-1])) if mark else (0.0,)
    excited = _value(cycle.last("excited_total"), "the total energy of the excited state")
    ground = _value(cycle.last("mp2_total") or cycle.last("scf_part"), "the energy of the ground state")
    if any(abs(final - excited - one) < SAME_ENERGY for one in corrections):
        return _root_name(cycle)
    if any(abs(final - ground - one) < SAME_ENERGY for one in corrections):
        return None
    raise ParseError("expected the final energy to be of the excited or the ground state, found another.")


def _root_name(cycle: Cycle) -> str:
    """`root 1`, `triplet root 1`, `soc root 1`."""
    name = re.search(rb"Eh *\(([^)]*)\)", cycle.marks["excited"][-1].text)
    return " ".join(name[1].decode("latin-1").lower().split()) if name else "unnamed"


def _root_of(cycle: Cycle, final: float) -> str | None:
    """The root of an EOM calculation whose energy is the final one: a root in ORCA 5, the reference in ORCA 6."""
    reference = _value(cycle.last("cc_total"), "the coupled-cluster energy that the roots start from")
    if abs(final - reference) < 1e-8:
        return None
    for mark in cycle.marks["root"]:
        if abs(final - reference - _value(mark, "a root")) < 2e-6:  # roots are printed with six decimals
            return f"root {mark.text[6:].split(b':')[0].strip().decode()}"
    raise ParseError("expected the final energy to be of the reference or of a root, found another.")


def converged(cycle: Cycle) -> int:
    """Whether the wave function of a cycle converged; one of several SCFs that did not is enough for no (O4)."""
    final = cycle.last("energy")
    if "unconverged" in cycle.marks or (final and b"not fully converged" in final.text):
        return NO
    return YES if "converged" in cycle.marks else UNKNOWN


def geometry(source: Input, cycle: Cycle, tables: Tables, input_lines: Iterable[str]) -> Geometry:
    """The coordinates of a cycle: the table in bohr, which resolves twice as much or more, else that in angstrom.

    With neither (printlevel mini, O7) the first cycle has the coordinates of the input, if they stand in it.

    Raises:
        ParseError: no table, or one that is cut or holds something else than numbers.
    """
    for kind, unit in (("bohr", "bohr"), ("angstrom", "angstrom")):
        if mark := cycle.last(kind):
            with located(source, cycle, mark.start):
                return _atoms_of(tables.read(kind, mark), unit)
    if cycle.step == 0:
        return _input_geometry(input_lines)
    raise ParseError("expected coordinates before this energy, found none.")


def _atoms_of(table: Table, unit: str) -> Geometry:
    rows, values = table
    assert rows.external is not None  # an unknown kind of row raises
    return Geometry(rows, values if rows.is_atom.all() else values[rows.is_atom], unit)


def _input_geometry(lines: Iterable[str]) -> Geometry:
    """The Cartesian coordinates of the echoed input [angstrom]."""
    text = "\n".join(lines)
    start = _INPUT_XYZ.search(text)
    if start is None or re.search(r"\bbohrs?\b", text, re.IGNORECASE):
        raise ParseError("expected coordinates before this energy, found none.")
    rows = [line.encode().split() for line in text[start.end() :].split("*", 1)[0].strip().splitlines()]
    if not rows or any(len(row) != 4 for row in rows):
        raise ParseError("expected a symbol and three numbers a line in the input, found something else.")
    positions = numbers(b" ".join(token for row in rows for token in row[1:])).reshape(-1, 3)
    none = (b"",) * len(rows)
    return _atoms_of(Table(Rows(none, tuple(row[0] for row in rows), none), positions), "angstrom")


def has_gradient(cycle: Cycle) -> bool:
    """Whether a gradient is printed in a cycle."""
    return "gradient" in cycle.marks or "mp2_gradient" in cycle.marks


def gradient(source: Input, cycle: Cycle, tables: Tables, rows: Rows) -> F64 | None:
    """The gradient of the energy of a cycle [hartree/bohr], shape (n_atoms, 3); None where there is none.

    Raises:
        ParseError: a damaged table, several gradients, or one that is not of the final energy (O6).
    """
    kind, mark = _gradient_mark(cycle)
    if mark is None:
        return None
    with located(source, cycle, mark.start):
        return on_atoms(tables.read(kind, mark), rows, named=kind == "gradient")


def on_atoms(table: Table, rows: Rows, *, named: bool) -> F64:
    """The values of a table on the atoms of a geometry, whose other rows may be in it or not.

    Raises:
        ParseError: other rows than those of the geometry.
    """
    return table.values[_atoms_among(table.rows, rows, named)]


@functools.lru_cache(maxsize=64)  # the same for every step of a run
def _atoms_among(table: Rows, rows: Rows, named: bool) -> slice | NDArray[np.bool_]:
    """Which rows of a table are the atoms of a geometry."""
    labels, is_atom = table.labels, rows.is_atom
    symbols = _SYMBOLS[rows.atomic_numbers[is_atom]]
    which = is_atom if len(labels) == len(is_atom) and not is_atom.all() else slice(None)
    if len(labels[which]) != len(symbols):
        raise ParseError(f"expected a table on {len(symbols)} atoms, found {len(labels)} rows.")
    if named and not (labels[which] == symbols).all():
        raise ParseError("expected a table on the atoms in their order, found other atoms.")
    return which


def _gradient_mark(cycle: Cycle) -> tuple[str, Mark | None]:
    """The heading of the gradient that belongs to the final energy of a cycle, and its kind.

    Numerical gradients come after those of displaced geometries; they are trusted only in the first cycle of a step.
    """
    printed = cycle.marks.get("gradient", [])
    numerical = [mark for mark in printed if b"NUMERICAL" in mark.text]
    of_mp2 = [] if numerical else cycle.marks.get("mp2_gradient", [])
    analytic = [] if numerical else printed
    if numerical and cycle.step > 0 and "cycle" not in cycle.marks:
        raise ParseError("expected a numerical gradient after its own geometry, found others in between.")
    candidates = [*analytic, *numerical, *of_mp2]
    if len(candidates) > 1:
        raise ParseError(f"expected one gradient for these coordinates, found {len(candidates)}.")
    beyond_scf = {"mp2_total", "cc_total", "excited"} & cycle.marks.keys()
    if analytic and beyond_scf and "scf_gradient" in cycle.marks:
        raise ParseError("expected the gradient of the final energy, found that of the SCF energy.")
    if of_mp2 and "dispersion" in cycle.marks:
        raise ParseError("expected the gradient of the final energy, found that of MP2 without dispersion.")
    return "mp2_gradient" if of_mp2 else "gradient", candidates[0] if candidates else None
