"""The blocks of a CP2K log: coordinates, cell, energy, forces, stress, charges. Each states its own unit (pitfall C1).

Tables are sliced and converted whole. A unit that is not in the table below, a number that cannot be read, or a table
that is cut raises ParseError: nothing is assumed.

References:
    The formats are those of `particle_methods.F`, `force_env_utils.F`, `virial_methods.F`, `cell_methods.F` of CP2K.
"""

from __future__ import annotations

import functools
import re
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mlpdata.elements import ATOMIC_NUMBERS
from mlpdata.errors import ParseError
from mlpdata.readers.archive import Input
from mlpdata.readers.cp2k.headings import Mark
from mlpdata.readers.text import number, numbers
from mlpdata.units import F64

_UNITS = {
    "energy": {
        "a.u.": "hartree", "hartree": "hartree", "au_e": "hartree", "ev": "eV", "kev": "keV", "ry": "Ry",
        "kcalmol": "kcal/mol", "kjmol": "kJ/mol", "joule": "J",
    },
    "force": {
        "a.u.": "hartree/bohr", "hartree/bohr": "hartree/bohr", "hartree*bohr^-1": "hartree/bohr",
        "au_f": "hartree/bohr", "ev/angstrom": "eV/angstrom", "ev*angstrom^-1": "eV/angstrom",
        "hartree/angstrom": "hartree/angstrom", "hartree*angstrom^-1": "hartree/angstrom", "ev/bohr": "eV/bohr",
        "ry/bohr": "Ry/bohr",
    },
    "stress": {"gpa": "GPa", "mpa": "MPa", "pa": "Pa", "bar": "bar", "kbar": "kbar", "atm": "atm"},
    "length": {"angstrom": "angstrom", "bohr": "bohr", "au_l": "bohr", "nm": "nm", "pm": "pm"},
}  # fmt: skip
"""Names that CP2K gives to units, in lower case, and ours."""

_ENERGY = re.compile(rb"ENERGY\| Total FORCE_EVAL \( \w+ \) (?:free )?energy [\[(]([^\])\n]{1,40})[\])]:? +(\S+)\s*$")
_BRACKETS = re.compile(rb"\[([^\]\n]{1,40})\]")
_CELL = re.compile(
    rb"CELL\| Vector a \[(\w+)\]: ([^\n|]{1,60})\|a\| = +(\S+)[ \t\r]*\n"
    rb" CELL\| Vector b \[\w+\]: ([^\n|]{1,60})\|b\| = +(\S+)[ \t\r]*\n"
    rb" CELL\| Vector c \[\w+\]: ([^\n|]{1,60})\|c\| = +(\S+)[ \t\r]*\n"
    rb" CELL\| Angle \(b,c\), alpha \[degree\]: +(\S+)[ \t\r]*\n"
    rb" CELL\| Angle \(a,c\), beta  \[degree\]: +(\S+)[ \t\r]*\n"
    rb" CELL\| Angle \(a,b\), gamma \[degree\]: +(\S+)[ \t\r]*\n"
)
_CELL_PERIODICITY = re.compile(
    rb"(?: CELL\| (?!Vector|Periodicity)[^\n]{0,100}\n){0,3} CELL\| Periodicity +(\S+)[ \t\r]*\n"
)
_COORDINATES = re.compile(
    rb"[ \t\r]*\n[ \t\r]*\n[^\n]{0,120}Mass[ \t\r]*\n(?:[ \t\r]*\n)?((?:[ \t]*\d[^\n]*\n)*+)[ \t\r]*\n"
)
_FORCES = re.compile(rb"[ \t\r]*\n[ \t\r]*\n # Atom[^\n]{0,100}\n((?:[ \t]*\d[^\n]*\n)*+) SUM OF ATOMIC FORCES")
_NEW_FORCES = re.compile(rb"[ \t\r]*\n FORCES\|[^\n]{0,100}\n((?: FORCES\|[ \t]*\d[^\n]*\n)*+) FORCES\| Sum")
_STRESS = re.compile(
    rb"[ \t\r]*\n(?:[ \t\r]*\n)?[^\n]{0,100}\n"
    + rb"".join(rb" (?:STRESS\|)? +[" + axis + rb"] +([^\n]{1,100})\n" for axis in (b"Xx", b"Yy", b"Zz"))
)
_CHARGES = re.compile(rb"[^\n]{0,40}\n[ \t\r]*\n *# *Atom[^\n]{0,100}\n((?:[ \t]*\d[^\n]*\n)*+)(?: #|[ \t\r]*\n)")

FORCE_DECIMALS = 8
_UPPER = 1e-9
"""Components below this are zero in a cell whose first vector lies along x [angstrom]."""


class Geometry(NamedTuple):
    """The coordinates that a log prints."""

    atomic_numbers: NDArray[np.uint8]
    positions: F64
    """[`unit`], shape (n_atoms, 3)."""
    unit: str
    masses: F64
    """That the program moves the atoms with [u], shape (n_atoms,)."""
    kinds: NDArray[np.int64]
    """Numbers of their kinds, shape (n_atoms,)."""


class Cell(NamedTuple):
    """The cell that a log prints."""

    vectors: F64
    """Rows [`unit`], shape (3, 3)."""
    unit: str
    pbc: tuple[int, int, int] | None
    """None where only the Poisson solver says it (CP2K before 2023)."""


class Charges(NamedTuple):
    """A table of atomic charges."""

    charges: F64
    """[e], shape (n_atoms,)."""
    moments: F64 | None
    """Spin moments [muB], where spins differ."""


def unit(name: bytes, dimension: str) -> str:
    """Our name of a unit that CP2K prints.

    Raises:
        ParseError: a unit that is not known (C1).
    """
    text = name.decode("latin-1").strip()
    known = _UNITS[dimension].get(text.lower())
    if known is None:
        raise ParseError(f"expected a unit of {dimension}, found {text!r}, which is not known. Report it.")
    return known


def energy(mark: Mark) -> tuple[float, str]:
    """The total energy of a line `ENERGY|` and its unit; it holds -TS, dispersion and all other corrections."""
    match = _ENERGY.match(mark.text)
    if match is None:
        raise ParseError("expected a unit and a number behind ENERGY| Total FORCE_EVAL, found something else.")
    return number(match[2]), unit(match[1], "energy")


def coordinates(source: Input, mark: Mark) -> Geometry:
    """The atoms of a table ATOMIC COORDINATES.

    A kind may be called anything, Fe1 or Al for cobalt: the program prints the element beside it. FIST prints the name
    only.

    Raises:
        ParseError: a table that is cut, ghost atoms, or a name that is no element.
    """
    match = _COORDINATES.match(source.data, mark.end)
    fields = match[1].split() if match else []
    rows = match[1].count(b"\n") if match else 0
    width = len(fields) // rows if rows else 0
    if not rows or width * rows != len(fields) or width not in (8, 9):
        raise ParseError("expected a whole table of atomic coordinates, found one that is damaged or cut.")
    check_order(fields[::width])
    columns = [fields[column::width] for column in range(width)]
    values = numbers(b" ".join(field for column in columns[-5:] for field in column), 5 * rows).reshape(5, rows)
    if width == 9:
        atomic_numbers = numbers(b" ".join(columns[3]), rows)
        if not ((atomic_numbers > 0) & (values[3] > 0)).all():  # Z(eff) of a ghost is zero
            raise ParseError("expected atoms, found ghosts or dummies among them.")
    else:
        atomic_numbers = np.array([ATOMIC_NUMBERS.get(name.decode("latin-1"), 0) for name in columns[2]])
        if not atomic_numbers.all():
            raise ParseError("expected names of elements, found names of kinds; this log does not say what they are.")
    if (atomic_numbers > 118).any():
        raise ParseError("expected atomic numbers, found something else.")
    where = unit(mark.text.rsplit(b" IN ", 1)[1], "length")
    kinds = numbers(b" ".join(columns[1]), rows)
    if (kinds > rows).any():
        raise ParseError(f"expected at most {rows} kinds of atom, found {kinds.max():g}.")
    return Geometry(atomic_numbers.astype(np.uint8), values[:3].T, where, values[4], kinds.astype(int))


def check_order(index: list[bytes]) -> None:
    """Rows are numbered from 1 where no line is lost."""
    if index != _numbered(len(index)):
        raise ParseError("expected rows with consecutive numbers, found others. The table is damaged.")


@functools.lru_cache(maxsize=8)  # the same for every step of a run
def _numbered(rows: int) -> list[bytes]:
    return [b"%d" % row for row in range(1, rows + 1)]


def cell(source: Input, mark: Mark) -> Cell:
    """The cell of a block `CELL|`.

    Components have three decimals, lengths and angles six since CP2K 8: vectors are stretched to their printed
    lengths, and a cell with its first vector along x and the second in the xy plane is built from lengths and angles.

    Raises:
        ParseError: a damaged block, or vectors that contradict their lengths.
    """
    match = _CELL.match(source.data, mark.start)
    if match is None:
        raise ParseError("expected three vectors, their lengths and angles behind CELL|, found something else.")
    rows = numbers(b" ".join(match.group(2, 4, 6)), 9).reshape(3, 3)
    lengths = numbers(b" ".join(match.group(3, 5, 7)), 3)
    angles = numbers(b" ".join(match.group(8, 9, 10)), 3)
    with np.errstate(over="ignore"):  # an infinite length is none that is printed
        found = np.linalg.norm(rows, axis=1)
    if not (np.abs(found - lengths) < 2e-3).all() or not (found > 0).all():
        raise ParseError("expected vectors as long as they are said to be, found others. The cell is damaged.")
    if len(match[3].partition(b".")[2]) > 3:
        upper = max(abs(rows[0, 1]), abs(rows[0, 2]), abs(rows[1, 2])) < _UPPER
        rows = _from_lengths_and_angles(lengths, angles) if upper else rows * (lengths / found)[:, None]
    periodicity = _CELL_PERIODICITY.match(source.data, match.end())
    pbc = periodic(periodicity[1]) if periodicity else None
    return Cell(rows, unit(match[1], "length"), pbc)


def _from_lengths_and_angles(lengths: F64, angles: F64) -> F64:
    cosine = np.cos(np.radians(angles))
    cosine[np.abs(angles - 90) < 1e-12] = 0.0
    alpha, beta, gamma = cosine.tolist()
    sine = np.sqrt(1 - gamma**2)
    c_y = (alpha - beta * gamma) / sine
    if not (square := 1 - beta**2 - c_y**2) > 0:
        raise ParseError("expected the angles of a cell, found impossible ones. The cell is damaged.")
    directions = np.array([[1, 0, 0], [gamma, sine, 0], [beta, c_y, np.sqrt(square)]])
    cell: F64 = directions * lengths[:, None]
    return cell


def periodic(word: bytes) -> tuple[int, int, int]:
    """Flags of the word behind `Periodicity`: XYZ, XY, NONE."""
    letters = word.upper()
    if letters != b"NONE" and (not letters or letters.strip(b"XYZ")):
        raise ParseError(f"expected a periodicity such as XYZ or NONE, found {word.decode('latin-1')!r}.")
    return (0, 0, 0) if letters == b"NONE" else (int(b"X" in letters), int(b"Y" in letters), int(b"Z" in letters))


def forces(source: Input, mark: Mark, n_atoms: int) -> tuple[F64, str]:
    """The forces on the atoms and their unit, shape (n_atoms, 3).

    Raises:
        ParseError: a table that is cut, of other atoms, or in an unknown unit.
    """
    new = mark.text.startswith(b"FORCES|")
    match = (_NEW_FORCES if new else _FORCES).match(source.data, mark.end)
    name = _BRACKETS.search(mark.text)
    if match is None or name is None:
        raise ParseError("expected a whole table of forces and their unit, found one that is damaged or cut.")
    fields = match[1].replace(b"FORCES|", b"").split()
    width = 5 if new else 6
    if len(fields) != width * n_atoms:
        raise ParseError(f"expected forces on {n_atoms} atoms, found {len(fields) / width:g} rows.")
    check_order(fields[::width])
    first = 1 if new else 3
    columns = [fields[column::width] for column in range(first, first + 3)]
    values = numbers(b" ".join(field for column in columns for field in column), 3 * n_atoms)
    return values.reshape(3, n_atoms).T, unit(name[1], "force")


def stress(source: Input, mark: Mark) -> tuple[F64, str]:
    """The stress, positive in tension, and its unit, shape (3, 3).

    CP2K's is positive in compression (C2): its trace is -3 dE/dV. The kinetic part is not in it.
    """
    match = _STRESS.match(source.data, mark.end)
    name = _BRACKETS.search(mark.text)
    if match is None or name is None:
        raise ParseError("expected a stress tensor and its unit, found something else.")
    return -numbers(b" ".join(match.groups()), 9).reshape(3, 3), unit(name[1], "stress")


def charges(source: Input, mark: Mark, n_atoms: int) -> Charges:
    """The charges of a table by Mulliken or Hirshfeld; with spin, moments stand behind Mulliken's and before Hirshfeld's."""
    match = _CHARGES.match(source.data, mark.end)
    fields = match[1].split() if match else []
    width = len(fields) // n_atoms
    spin = {("mulliken", 7): -1, ("hirshfeld", 8): -2}.get((mark.name, width))
    if len(fields) != width * n_atoms or (
        spin is None and (mark.name, width) not in (("mulliken", 5), ("hirshfeld", 6))
    ):
        raise ParseError(f"expected charges of {n_atoms} atoms, found something else.")
    index = fields[::width]
    order = np.arange(n_atoms)
    if index != _numbered(n_atoms):  # xTB sorts by kind
        order = np.argsort(numbers(b" ".join(index)), kind="stable")
        check_order([index[row] for row in order])
    charge = -2 if (mark.name, width) == ("mulliken", 7) else -1
    net = numbers(b" ".join(fields[width + charge :: width]), n_atoms)[order]
    moments = None if spin is None else numbers(b" ".join(fields[width + spin :: width]), n_atoms)[order]
    return Charges(net, moments)


def last_number(mark: Mark) -> float:
    """The number at the end of the line of a heading."""
    return number(mark.text.split()[-1])


def number_of_step(mark: Mark) -> int:
    """The number behind `Step number`, `STEP NUMBER =` or `Informations at step =`.

    Raises:
        ParseError: no whole number.
    """
    fields = mark.text.strip(b" -\t\r").split()
    if not fields[-1].isdigit():
        raise ParseError(f"expected the number of a step, found {fields[-1].decode('latin-1')!r}.")
    return int(fields[-1])
