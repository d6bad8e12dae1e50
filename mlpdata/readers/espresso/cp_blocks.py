"""The blocks "Physical Quantities at step" of cp.x: tables of one step in Hartree atomic units.

References:
    CPV/src/print_out.f90 and printout_base.f90 of Quantum ESPRESSO 4 to 7.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from mlpdata import units
from mlpdata.errors import ParseError
from mlpdata.readers.espresso.names import atomic_number
from mlpdata.readers.text import number, numbers, whole
from mlpdata.schema.calculation import LeftOut
from mlpdata.schema.properties import UNKNOWN
from mlpdata.units import F64

BLOCK = re.compile(rb"^ \* Physical Quantities at step: +(\S+)", re.M)
_MASS = re.compile(rb"^   Species +(\d+) atoms = +(\d{1,9}) mass = +(\S+) \(a\.u\.\)", re.M)
_BLANK = re.compile(rb"[ \t\r]*\n")
_TABLE_ROW = re.compile(rb"   ([A-Z][A-Za-z0-9_-]{0,5}) +(\S[^\n]*)\n")
_ENERGY = re.compile(rb"^ +total energy = +(\S+) Hartree a\.u\.", re.M)
_NUCLEI = re.compile(rb"Pressure of Nuclei \(GPa\) +(\S+)")
GPA = units.BOHR**3 / units.HARTREE * 10 / units.EV_PER_ANGSTROM3
"""One GPa in hartree/bohr^3."""
PRESSURE_TOLERANCE = 2e-4
"""Rounding of the printed pressure of the nuclei, and of masses in six digits [GPa]."""
MOST_KINDS = 6
"""Kinds of atoms in more orders than these have are not tried."""


@dataclass
class Frame:
    """One step in atomic units."""

    step: int
    line: int
    energy: float
    cell: F64
    """Rows are lattice vectors, shape (3, 3)."""
    names: list[bytes]
    """Of the atoms, as printed."""
    atomic_numbers: list[int]
    positions: F64
    velocities: F64 | None
    forces: F64 | None
    stress: F64 | None
    """Of the electrons and the lattice of nuclei, without their motion; positive in compression [GPa]."""
    converged: int = UNKNOWN


@dataclass
class Account:
    """What was lost, and what a user should know."""

    left_out: list[LeftOut] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


class Masses:
    """The masses of the kinds of atoms, in the order of the input, which is not that of the atoms in the tables.

    Raises:
        ParseError: a mass that is no number, or more than `most` atoms.
    """

    def __init__(self, header: bytes, most: int) -> None:
        self._species = [(int(match[2]), number(match[3])) for match in _MASS.finditer(header)]
        self.n_atoms = sum(count for count, _ in self._species)
        self._of: dict[tuple[bytes, ...], list[F64]] = {}
        if self.n_atoms > most:
            raise ParseError(f"expected at most {most} atoms, found more.")

    def of(self, names: Sequence[bytes]) -> list[F64]:
        """All masses [electron masses], shape (n_atoms,), that atoms of these names may have by the number of each."""
        key = tuple(names)
        if key not in self._of:
            kinds = list(dict.fromkeys(names))
            few = len(kinds) == len(self._species) <= MOST_KINDS
            counts = [key.count(kind) for kind in kinds] if few else []
            orders = (
                [order for order in itertools.permutations(self._species) if [one for one, _ in order] == counts]
                if few
                else []
            )
            masses = [{kind: mass for kind, (_, mass) in zip(kinds, order, strict=True)} for order in orders]
            self._of[key] = [np.array([of[name] for name in names]) for of in masses]
        return self._of[key]


def frame(text: bytes, line: int, masses: Masses, account: Account) -> Frame:
    """The frame of one block.

    Args:
        text: from its heading on.
        line: number of its heading.
        masses: of the kinds of atoms.
        account: is told of tables that a frame can do without.

    Raises:
        ParseError: a part that is missing or damaged.
    """
    match, energy = BLOCK.match(text), _ENERGY.search(text)
    if match is None or energy is None:
        raise ParseError("expected a total energy in the block, found none. The file may be cut.")
    step = whole(match[1].decode("latin-1"))
    if step is None:
        raise ParseError(f"expected the number of the step, found {match[1][:40]!r}. The frame was left out.")
    names, positions = _table(text, b"   ATOMIC_POSITIONS\n")
    if positions is None or masses.n_atoms not in (0, len(names)):
        raise ParseError(f"expected ATOMIC_POSITIONS of all atoms, found {len(names)}. The file may be cut.")
    cell = _cell(text)
    velocities = _optional(text, b"   ATOMIC_VELOCITIES\n", names, line, account)
    return Frame(
        step=step,
        line=line,
        energy=number(energy[1]),
        cell=cell,
        names=names,
        atomic_numbers=[atomic_number(name.decode("latin-1")) for name in names],
        positions=positions,
        velocities=velocities,
        forces=_forces(text, names),
        stress=_stress(text, cell, velocities, masses.of(names), line, account),
    )


def _cell(text: bytes) -> F64:
    """Lattice vectors as rows [bohr], shape (3, 3); the table has them in columns."""
    at = text.find(b"   CELL_PARAMETERS\n")
    if at < 0:
        raise ParseError("expected CELL_PARAMETERS in the block, found none. The file may be cut.")
    rows = text[at:].split(b"\n", 4)[1:4]
    return numbers(b" ".join(rows), 9).reshape(3, 3).T


def _table(text: bytes, heading: bytes) -> tuple[list[bytes], F64 | None]:
    """Names and numbers of the rows below a heading, (n_atoms, 3); None where there is no such table."""
    at = text.find(heading)
    if at < 0:
        return [], None
    names, rows, place = [], [], at + len(heading)
    while row := _TABLE_ROW.match(text, place):
        names.append(row[1])
        rows.append(row[2])
        place = row.end()
    if not _BLANK.match(text, place):
        raise ParseError(f"expected an empty line after {len(rows)} rows, found another. The table is damaged or cut.")
    return names, numbers(b" ".join(rows), 3 * len(rows)).reshape(-1, 3)


def _forces(text: bytes, names: list[bytes]) -> F64 | None:
    """Forces [hartree/bohr], shape (n_atoms, 3); None where the run prints none.

    Raises:
        ParseError: not those of the atoms of the block.
    """
    of, forces = _table(text, b"   Forces acting on atoms (au):\n")
    if forces is not None and of != names:
        raise ParseError(f"expected forces on {len(names)} atoms, found {len(of)} rows. The file may be cut.")
    return forces


def _optional(text: bytes, heading: bytes, names: list[bytes], line: int, account: Account) -> F64 | None:
    """A table that a frame can do without; what is damaged is said."""
    try:
        of, values = _table(text, heading)
    except ParseError as error:
        account.warnings.append(f"line {line}: velocities left out: {error.message}")
        return None
    if values is not None and of != names:
        account.warnings.append(f"line {line}: velocities left out: {len(of)} rows for {len(names)} atoms.")
        return None
    return values


def _stress(
    text: bytes, cell: F64, velocities: F64 | None, masses: list[F64], line: int, account: Account
) -> F64 | None:
    """The stress without the motion of the nuclei, positive in compression [GPa], shape (3, 3)."""
    at = text.find(b"   Total stress (GPa)\n")
    if at < 0:
        return None
    try:
        total = numbers(b" ".join(text[at:].split(b"\n", 4)[1:4]), 9).reshape(3, 3)
        nuclei = _NUCLEI.search(text)
        pressure = None if nuclei is None else number(nuclei[1])
    except ParseError as error:
        account.warnings.append(f"line {line}: stress left out: {error.message}")
        return None
    if velocities is None or pressure is None or not masses:
        account.warnings.append(
            f"line {line}: stress left out: it holds the motion of the nuclei, which is not printed."
        )
        return None
    stress = without_motion(total, cell, velocities, masses, pressure)
    if stress is None:
        account.warnings.append(f"line {line}: stress left out: velocities do not give the pressure of the nuclei.")
    return stress


def without_motion(total: F64, cell: F64, velocities: F64, masses: list[F64], pressure: float) -> F64 | None:
    """A stress [GPa] less the momentum of the nuclei; None where they do not have the pressure that is printed.

    Args:
        total: with the momentum, positive in compression, shape (3, 3).
        cell: [bohr], shape (3, 3).
        velocities: [bohr/aut], shape (n_atoms, 3).
        masses: that the atoms may have.
        pressure: of the nuclei [GPa].
    """
    for mass in masses:
        moving = np.einsum("a,ai,aj->ij", mass, velocities, velocities) / abs(np.linalg.det(cell)) / GPA
        if abs(float(np.trace(moving)) / 3 - pressure) <= PRESSURE_TOLERANCE:
            stress: F64 = total - moving
            return stress
    return None
