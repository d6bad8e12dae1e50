"""Canonical units, pinned constants, and the one door through which numbers with units pass.

Inside mlpdata every array is in the canonical unit of its dimension (`CANONICAL`). A reader returns what the
file prints as a `Quantity` (values, unit); `to_canonical` converts it once and says how in a `Conversion`, the
ledger's entry. `as_pint` is the way out. pint parses units and checks dimensions here and nowhere else; it is
asked once for each (unit, dimension) and never inside a loop over configurations. Libraries of this field use
constants of 2010 to 2022, which shift a heavy molecule's energy by meV (pitfall X2): ours are pinned and recorded.

References:
    CODATA 2022: P. J. Mohr et al., Rev. Mod. Phys. 97, 025002 (2025), https://physics.nist.gov/constants.
"""

from __future__ import annotations

import functools
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mlpdata.errors import UnitError

if TYPE_CHECKING:
    import pint

F64 = NDArray[np.float64]

HARTREE = 27.211386245981
"""Hartree energy [eV], CODATA 2022."""
RYDBERG = HARTREE / 2
"""Rydberg energy [eV]."""
BOHR = 0.529177210544
"""Bohr radius [angstrom], CODATA 2022."""
ATOMIC_TIME = 2.4188843265864e-2
"""Atomic unit of time, hbar / Hartree [fs], CODATA 2022."""
RYDBERG_TIME = 2 * ATOMIC_TIME
"""hbar / Rydberg [fs]: the unit of `dt` in pw.x."""
ATOMIC_MASS = 1.66053906892e-27
"""Atomic mass constant [kg], CODATA 2022."""
ELEMENTARY_CHARGE = 1.602176634e-19
"""[C], exact."""
BOLTZMANN = 1.380649e-23 / ELEMENTARY_CHARGE
"""Boltzmann constant [eV/K], exact."""
AVOGADRO = 6.02214076e23
"""[1/mol], exact."""
EV_PER_ANGSTROM3 = 1602.176634
"""1 eV/angstrom^3 in kbar, exact."""
BOHR_MAGNETON = 5.7883817982e-5
"""[eV/T], CODATA 2022."""
VELOCITY = math.sqrt(ELEMENTARY_CHARGE / ATOMIC_MASS) * 1e-5
"""sqrt(eV/u) in angstrom/fs: links masses [u], velocities [angstrom/fs] and kinetic energies [eV]."""

CONSTANTS = "CODATA 2022"
"""Name of the set of constants, recorded in every ledger."""

CANONICAL = {
    "energy": "eV",
    "length": "angstrom",
    "force": "eV/angstrom",
    "stress": "eV/angstrom^3",
    "charge": "e",
    "magnetic_moment": "muB",
    "dipole": "e*angstrom",
    "time": "fs",
    "mass": "u",
    "velocity": "angstrom/fs",
    "temperature": "K",
    "hessian": "eV/angstrom^2",
    "electric_field": "V/angstrom",
    "volume": "angstrom^3",
    "density": "g/cm^3",
    "inverse_length": "1/angstrom",
    "dimensionless": "1",
}
"""The canonical unit of each dimension."""

USUAL = {
    ("Ry", "energy"): RYDBERG,
    ("hartree", "energy"): HARTREE,
    ("bohr", "length"): BOHR,
    ("Ry/bohr", "force"): RYDBERG / BOHR,
    ("hartree/bohr", "force"): HARTREE / BOHR,
    ("Ry/bohr^3", "stress"): RYDBERG / BOHR**3,
    ("hartree/bohr^3", "stress"): HARTREE / BOHR**3,
    ("kbar", "stress"): 6.241509074460764e-4,
    ("aut", "time"): ATOMIC_TIME,
}
"""Factors of the units that codes print most, bit for bit as pint gives them: to load it takes 0.2 s."""

# pint reads kB as kilobyte and muB as microbyte; both are what codes of this field write for something else.
_SPELLINGS = {
    "kB": "kbar",
    "muB": "bohr_magneton",
    "Eh": "hartree",
    "Å": "angstrom",
    "A": "angstrom",
    "a0": "bohr",
}
_NAME = re.compile(r"[^\W\d_]\w*")


class Quantity(NamedTuple):
    """Numbers as a file prints them, with the unit the file uses."""

    values: F64
    unit: str
    decimals: int | None = None
    """Printed decimals, where the format has a fixed number of them."""
    sign: int = 1
    """-1 where the file prints the opposite of `values`: a gradient for a force, pressure for tension."""
    basis: str = "cartesian"
    """`fractional` where the file prints coordinates along the lattice vectors, from which `values` were made."""


@dataclass(frozen=True)
class Conversion:
    """One line of the ledger: canonical = printed * factor."""

    name: str
    """The property converted."""
    unit: str
    """Unit in the file."""
    factor: float
    """Multiplier to the canonical unit."""
    canonical: str
    """Canonical unit."""
    decimals: int | None = None
    """Printed decimals, where the format fixes them."""
    source: int = 0
    """Which of the calculation's sources printed it, from 0."""
    sign: int = 1
    """-1 where the file prints the opposite."""
    basis: str = "cartesian"
    """`fractional` where the file prints coordinates along the lattice vectors."""

    def printed(self, values: F64, cell: F64 | None = None) -> F64:
        """The numbers as the file printed them; `cell` [angstrom] is needed where they are fractional."""
        numbers: F64 = values / (self.sign * self.factor)
        if self.basis == "fractional" and cell is not None:
            numbers = np.asarray(np.linalg.solve(cell.T, values.T).T, np.float64)
        return numbers + 0.0 if self.decimals is None else np.round(numbers, self.decimals) + 0.0


@functools.cache
def registry() -> pint.UnitRegistry[float]:
    """The pint registry with the pinned constants in place of pint's own derivations."""
    import pint  # noqa: PLC0415  0.3 s that `mlpdata --help` need not pay

    units: pint.UnitRegistry[float] = pint.UnitRegistry(on_redefinition="ignore", cache_folder=None)
    units.define(f"hartree = {HARTREE!r} * eV = E_h = Eh = Ha")
    units.define(f"rydberg_energy = {RYDBERG!r} * eV = Ry = rydberg")
    units.define(f"bohr = {BOHR!r} * angstrom = a_0 = bohr_radius")
    units.define(f"atomic_unit_of_time = {ATOMIC_TIME!r} * fs = aut")
    units.define(f"bohr_magneton = {BOHR_MAGNETON!r} * eV / tesla = mu_B")
    units.define(f"unified_atomic_mass_unit = {ATOMIC_MASS!r} * kilogram = u = amu = dalton")
    return units


def _parse(unit: str) -> pint.Quantity[float]:
    """One `unit`, as a pint Quantity."""
    if not isinstance(unit, str) or not unit.strip():
        raise UnitError(
            f"expected a unit such as eV or hartree/bohr, found {unit!r}. A bare number has no meaning here."
        )
    text = _NAME.sub(lambda match: _SPELLINGS.get(match[0], match[0]), unit.strip())
    if not re.fullmatch(r"[\w\s*/^().+-]+", text) or "**" in text.replace("**", "^", 8) or len(text) > 80:
        raise UnitError(f"expected a unit such as eV/angstrom^3, found {unit!r}.")
    try:
        return registry().Quantity(1.0, registry().parse_units(text))
    except Exception as error:
        raise UnitError(
            f"expected a unit that is known, found {unit!r}. Examples: eV, hartree, kcal/mol, bohr, kbar."
        ) from error


@functools.cache
def factor(unit: str, dimension: str) -> float:
    """What a number in `unit` is multiplied by to be in the canonical unit of `dimension`.

    Raises:
        UnitError: an unknown or missing unit, or one of another dimension.
    """
    if dimension not in CANONICAL:
        raise UnitError(f"expected one of {', '.join(CANONICAL)}, found the dimension {dimension!r}.")
    canonical = CANONICAL[dimension]
    return 1.0 if unit == canonical else USUAL.get((unit, dimension)) or ratio(unit, canonical)


def _moles(quantity: pint.Quantity[float]) -> int:
    """Power of the amount of substance in a quantity."""
    return int(float(str(quantity.dimensionality.get("[substance]", 0))))


def ratio(unit: str, target: str) -> float:
    """One `unit` in units of `target`; per-mole energies are divided by Avogadro's number.

    Raises:
        UnitError: an unknown unit, different dimensions, or a scale with an offset (degC).
    """
    source, wanted = _parse(unit), _parse(target)
    for side in (source, wanted):
        if not side._is_multiplicative:
            raise UnitError(f"expected a unit that is a multiple of another, found the scale {side.units:~}.")
    moles = _moles(source) - _moles(wanted)
    per_mole = registry().Quantity(AVOGADRO, "1/mol") ** moles
    try:
        return float((source * per_mole).to(wanted.units).magnitude)
    except Exception as error:  # pint.DimensionalityError is no ValueError
        raise UnitError(
            f"expected a unit of the dimension of {target}, found {unit!r} ({source.dimensionality})."
        ) from error


def convert(value: float, unit: str, target: str) -> float:
    """`value` in `unit`, expressed in `target`.

    >>> round(convert(1, "hartree", "eV"), 6)
    27.211386
    """
    if not math.isfinite(value):
        raise UnitError(f"expected a finite number, found {value}.")
    return value * ratio(unit, target)


def to_canonical(quantity: Quantity, dimension: str, name: str = "") -> tuple[F64, Conversion]:
    """The door in: canonical values of `quantity`, and the ledger's entry that says how they came about.

    Args:
        quantity: values with their unit; a bare array is refused.
        dimension: a key of `CANONICAL`.
        name: what the numbers are, for the ledger and for errors.

    Raises:
        UnitError: no unit, an unknown unit, another dimension, or a number that is NaN or infinite.
    """
    if not isinstance(quantity, Quantity):
        raise UnitError(f"expected {name or 'numbers'} with a unit, found a bare {type(quantity).__name__}.")
    values = np.ascontiguousarray(quantity.values, dtype=np.float64)
    number = factor(quantity.unit, dimension)
    with np.errstate(over="ignore"):  # refused with what is infinite in the file
        converted = values if number == 1.0 else values * number
    if not np.isfinite(converted).all():
        bad = values[~np.isfinite(converted)].flat[0]
        raise UnitError(f"expected finite numbers for {name or dimension}, found {bad}.")
    canonical = CANONICAL[dimension]
    entry = Conversion(
        name or dimension, quantity.unit, number, canonical, quantity.decimals, sign=quantity.sign, basis=quantity.basis
    )
    return converted, entry


def scalar(value: float, unit: str, dimension: str) -> float:
    """The door in for one number of a header: `value` in `unit` as a canonical float."""
    converted = float(value) * factor(unit, dimension)
    if not math.isfinite(converted):
        raise UnitError(f"expected finite numbers for {dimension}, found {value}.")
    return converted


def as_pint(values: ArrayLike, unit: str) -> pint.Quantity[F64]:
    """The door out: `values` in `unit` as a pint Quantity, to be converted with `.to("hartree/bohr")`."""
    text = _NAME.sub(lambda match: _SPELLINGS.get(match[0], match[0]), unit)
    return registry().Quantity(np.asarray(values), "dimensionless" if text == "1" else text)
