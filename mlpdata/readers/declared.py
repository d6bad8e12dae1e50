"""Numbers without units: what the user declares of them makes a block of named arrays one with units and meaning.

Extended XYZ and ASE's files state neither units nor what their numbers are (pitfall X3). A reader of such a format hands
every block to a `Meaning`, arrays under the names that the file uses; with nothing declared the block comes back
`Undeclared`, to be shown and never stored. Where two names could mean one property, the user says which.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mlpdata.errors import InputError, ParseError, UnitError, UsageError
from mlpdata.frames import I64
from mlpdata.readers.registry import Ending, Header, Printed, Undeclared
from mlpdata.schema.calculation import LeftOut, Status
from mlpdata.schema.method import Method
from mlpdata.schema.properties import ATOM, PROPERTIES
from mlpdata.schema.sidecar import Declared
from mlpdata.units import CANONICAL, Quantity, factor

VIRIAL = "virial"
"""Not of the registry: it enters as stress = -virial / volume."""
ESSENTIAL = ("energy", "forces")
"""Where one of these is damaged the frame is left out; any other is left out alone, with a warning."""
NONE = "none"
"""Declared as a name: this property is not read."""

USUAL = {
    "energy": ("energy", "free_energy", "ref_energy", "dft_energy"),
    "forces": ("forces", "force", "ref_forces", "ref_force", "dft_forces", "dft_force"),
    "stress": ("stress", "stresses", "ref_stress", "dft_stress"),
    VIRIAL: ("virial", "virials", "ref_virial", "ref_virials", "dft_virial"),
    "atomic_energies": ("energies", "local_energy"),
    "velocities": ("velocities", "velo", "vel"),
    "magnetic_moments": ("magmoms", "magmom"),
    "initial_magnetic_moments": ("initial_magmoms",),
    "charges_unspecified": ("charges", "charge"),
    "masses": ("masses", "mass"),
    "tags": ("tags", "tag"),
    "dipole": ("dipole", "ref_dipole", "dft_dipole"),
    "charge": ("charge", "total_charge"),
    "multiplicity": ("multiplicity",),
}
"""Names in small letters that mean a property without being declared, as long as only one of them is there. The first is
that of the formats themselves; where nothing at all is declared, no other is believed."""

_VECTORS = {
    "magnetic_moments": "magnetic_moment_vectors",
    "initial_magnetic_moments": "initial_magnetic_moment_vectors",
}
_VOIGT = [0, 5, 4, 5, 1, 3, 4, 3, 2]
"""Places of xx xy xz yx yy yz zx zy zz among xx yy zz yz xz xy."""
_MUST_BE_KNOWN = ("energy", "length", "force", "stress")
"""Dimensions without whose unit a file is not read; a property of another one is left out with a warning."""


class Named(NamedTuple):
    """A block of frames alike in what they hold, each array under the name that the file uses."""

    n_atoms: I64
    """Atoms of each configuration."""
    known: Mapping[str, ArrayLike]
    """Arrays by name of the registry, where the format says what they are: atomic_numbers, positions, pbc, step, ..."""
    of_atoms: Mapping[str, NDArray[Any]]
    """Rows of all atoms, by the file's names."""
    of_configurations: Mapping[str, NDArray[Any]]
    """Rows of the configurations, by the file's names."""

    def array(self, name: str, key: str) -> NDArray[Any]:
        """The array `key` that means the property `name`."""
        return (self.of_atoms if level(name) == ATOM else self.of_configurations)[key]


class Meaning:
    """What the names and numbers of one file mean.

    Args:
        declared: what the user says; None where nobody said any unit.
        stated: units that the format itself fixes, by dimension; what is declared must not contradict them.

    Raises:
        UsageError: a declared name or unit that there is none of.
    """

    def __init__(self, declared: Declared | None, stated: Mapping[str, str] | None = None) -> None:
        self.declared = declared or Declared()
        self.is_declared = declared is not None or bool(stated)
        self.keys: dict[str, str] = {}
        """Names that were read, by property."""
        self._units = {**self.declared.units, **(stated or {})}
        self._seen: set[str] = set()
        self._warnings: dict[str, None] = {}
        _check_names(self.declared.names)
        for dimension, unit in self.declared.units.items():
            factor(unit, dimension)
            self.agree(dimension, (stated or {}).get(dimension, unit))

    def header(self, identity: str, code: str = "unknown") -> Header:
        """The header of a run of which the file itself says nothing."""
        method = self.declared.method or Method(code=code)
        return Header(method, identity, energy_kind=self.declared.energy_kind or "unknown")

    def ending(self, status: Status, reason: str = "", left_out: tuple[LeftOut, ...] = ()) -> Ending:
        """The end of a run.

        Raises:
            InputError: a name was declared that no frame has.
        """
        absent = [name for name in self.declared.names.values() if name != NONE and name not in self._seen]
        if absent and self._seen:
            raise InputError(
                f"expected {absent[0]!r}, found only {_listed(self._seen)}. Declare a name that the file uses."
            )
        return Ending(status, reason, left_out, tuple(self._warnings))

    def warn(self, text: str) -> None:
        """Note something for the ending, once."""
        self._warnings[text] = None

    def wanted(self, of_atoms: Collection[str], of_configurations: Collection[str]) -> dict[str, tuple[str, ...]]:
        """The names, of those that a frame has, that mean each property; several where it is not clear which does."""
        self._seen.update(of_atoms, of_configurations)
        found = {}
        for name in {**USUAL, **self.declared.names}:
            there = of_atoms if level(name) == ATOM else of_configurations
            said = self.declared.names.get(name)
            if said is not None:
                keys = tuple(key for key in there if key == said)
            else:
                keys = tuple(key for key in there if key.lower() in USUAL[name])
            if keys:
                found[name] = keys
        if "stress" in self.declared.names:
            found.pop(VIRIAL, None)
        elif VIRIAL in self.declared.names:
            found.pop("stress", None)
        return found

    def block(self, named: Named) -> Printed | Undeclared:
        """The block with its units and the registry's names, or as it is where nobody said any unit.

        Raises:
            InputError: several names could mean one property, and their numbers differ.
            UnitError: the unit of an energy, a length, a force or a stress is not known.
            ParseError: an array that cannot be what its name says.
        """
        found = self.wanted(named.of_atoms, named.of_configurations)
        if not self.is_declared:
            return self._as_it_is(named, found)
        arrays: dict[str, Any] = dict(named.known)
        for name, keys in found.items():
            values = _one(name, [(key, named.array(name, key)) for key in keys])
            self.keys[name] = keys[0]
            arrays.update(self._shaped(name, keys[0], values))
        if VIRIAL in arrays and "stress" in arrays:
            self._refuse_both()
        self._virial_to_stress(arrays)
        return Printed(named.n_atoms, self._with_units(arrays))

    def _as_it_is(self, named: Named, found: Mapping[str, tuple[str, ...]]) -> Undeclared:
        """The block as printed. Of labels only those under the formats' own names; the others are named in `keys`."""
        arrays = dict(named.known)
        for name, keys in found.items():
            self.keys[name] = ", ".join(keys)
            if (key := USUAL[name][0]) in keys and name != VIRIAL:
                arrays.update(self._shaped(name, key, named.array(name, key)))
        return Undeclared(named.n_atoms, arrays, dict(self.keys))

    def agree(self, dimension: str, stated: str) -> None:
        """Compare what is declared of a dimension with the unit that the file itself states.

        Raises:
            InputError: they are not the same unit, or the file's is none.
        """
        if not self.is_declared:
            return
        unit = self.unit(dimension)
        if unit is None or unit == stated:
            return
        try:
            found = factor(_SPELLED.get(stated.lower(), stated), dimension)
            same = math.isclose(found, factor(unit, dimension), rel_tol=1e-5)
        except UnitError:
            same = False
        if not same:
            raise InputError(
                f"expected {dimension} in {unit}, as declared, found the unit {stated!r} in the file (X3)."
            )

    def unit(self, dimension: str) -> str | None:
        """The unit of a dimension as declared; of a force it follows from those of energy and length."""
        if dimension == "force" and "force" not in self._units and {"energy", "length"} <= self._units.keys():
            return f"({self._units['energy']})/({self._units['length']})"
        return self._units.get(dimension)

    def _shaped(self, name: str, key: str, values: NDArray[Any]) -> dict[str, ArrayLike]:
        """An array in the shape that the registry says; six numbers of a stress are xx yy zz yz xz xy."""
        row = PROPERTIES["stress" if name == VIRIAL else name]
        shape, rows = row.shape, len(values)
        if np.dtype(row.dtype).kind == "i" and not _is_whole(values, row.dtype):
            self.warn(f"expected whole numbers for {name}, found others in {key!r}. It was not read.")
            return {}
        if name in _VECTORS and values.shape[1:] == (3,):
            return {_VECTORS[name]: values}
        if values.size == rows * int(np.prod(shape)):
            return {name: values.reshape(rows, *shape)}
        if shape == (3, 3) and values.size == 6 * rows:
            return {name: values.reshape(rows, 6)[:, _VOIGT].reshape(rows, 3, 3)}
        what = f"expected {name} of shape {shape}, found {values.shape[1:]} in {key!r}."
        if name in ESSENTIAL:
            raise ParseError(what)
        self.warn(f"{what} It was not read.")
        return {}

    def _virial_to_stress(self, arrays: dict[str, Any]) -> None:
        """Give a stress the sign and unit of the registry, or make one of the virial."""
        if "stress" in arrays and self.declared.stress_sign == "compression":
            arrays["stress"] = -np.asarray(arrays["stress"], float)
        virial = arrays.pop(VIRIAL, None)
        if virial is not None:
            cell = np.asarray(arrays.get("cell", np.nan), float)
            volume = np.abs(np.linalg.det(cell)) if cell.ndim else cell
            with np.errstate(divide="ignore", invalid="ignore"):
                stress = -np.asarray(virial, float) / volume[..., None, None]
            stress[~np.isfinite(stress).all(axis=(1, 2))] = np.nan
            arrays["stress"] = Quantity(
                stress, self._needed("energy", VIRIAL) + "/" + self._needed("length", "cell") + "^3"
            )

    def _with_units(self, arrays: Mapping[str, Any]) -> dict[str, Quantity | ArrayLike]:
        out: dict[str, Quantity | ArrayLike] = {}
        for name, values in arrays.items():
            dimension = PROPERTIES[name].dimension
            if dimension is None or isinstance(values, Quantity):
                out[name] = values
            elif (unit := self.unit(dimension)) is not None:
                out[name] = Quantity(np.asarray(values, float), unit)
            elif dimension in _MUST_BE_KNOWN:
                self._needed(dimension, name)
            else:
                self.warn(
                    f"{name}: not read, no unit declared. Say it: --units {dimension}={CANONICAL[dimension]}, if it is so."
                )
        return out

    def _needed(self, dimension: str, name: str) -> str:
        """The unit of a dimension.

        Raises:
            UnitError: nobody said it.
        """
        unit = self.unit(dimension)
        if unit is None:
            key = self.keys.get(name, name)
            raise UnitError(
                f"expected the unit of {name} ({key!r}), found none declared. "
                f"Say what it is: --units {dimension}={CANONICAL[dimension]}, or units: in mlpdata.yaml beside the file."
            )
        return unit

    def _refuse_both(self) -> None:
        raise InputError(
            f"expected one of stress ({self.keys['stress']!r}) and virial ({self.keys[VIRIAL]!r}), found both. "
            f"Say which: --stress-key {self.keys['stress']} or --virial-key {self.keys[VIRIAL]}."
        )


_SPELLED = {
    "ev": "eV", "au": "hartree", "a.u.": "hartree", "ha": "hartree", "ry": "rydberg", "kcal_mol": "kcal/mol",
    "kj_mol": "kJ/mol", "kj/mol": "kJ/mol", "ev/a": "eV/angstrom", "ev/ang": "eV/angstrom",
    "ev/angstrom": "eV/angstrom", "au/bohr": "hartree/bohr", "ha/bohr": "hartree/bohr", "ry/bohr": "rydberg/bohr",
    "au/bohr^3": "hartree/bohr^3", "ev/a^3": "eV/angstrom^3", "ev/ang^3": "eV/angstrom^3", "gpa": "GPa",
    "ev/angstrom^3": "eV/angstrom^3", "a": "angstrom", "ang": "angstrom",
}  # fmt: skip
"""Units as files spell them, where it is not how they are spelled here."""


def _check_names(names: Mapping[str, str]) -> None:
    unknown = [name for name in names if name != VIRIAL and name not in PROPERTIES]
    if unknown:
        raise UsageError(
            f"expected a property such as energy, forces, stress, virial, found {unknown[0]!r} among names."
        )


def _is_whole(values: NDArray[Any], dtype: str) -> bool:
    """Whether numbers are the same as integers of `dtype`; what is out of its range or NaN is not."""
    with np.errstate(invalid="ignore"):
        return bool(np.array_equal(values, values.astype(dtype)))


def level(name: str) -> str:
    """Whether a property, or the virial, belongs to atoms or to configurations."""
    return PROPERTIES["stress" if name == VIRIAL else name].level


def _one(name: str, found: list[tuple[str, NDArray[Any]]]) -> NDArray[Any]:
    """The array that means `name`: several names with the same numbers are one.

    Raises:
        InputError: they differ.
    """
    first = found[0][1]
    for _, other in found[1:]:
        if other.shape != first.shape or not np.array_equal(first, other, equal_nan=first.dtype.kind == "f"):
            raise InputError(
                f"expected one name for {name}, found {_listed(key for key, _ in found)}, which differ. "
                f"Say which: --{name}-key, or names: {{{name}: ...}} in mlpdata.yaml beside the file."
            )
    return first


def _listed(names: Any) -> str:
    return ", ".join(map(repr, sorted(names)))
