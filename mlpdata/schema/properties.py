"""The registry of properties: what can be known of an atom or a configuration, with unit, shape and sign.

`Frames`, the Zarr attributes, the Parquet metadata and the JSON Schema of a configuration are made from this table.
A new property is a new row here and a new array in new segments; old segments show it as absent.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mlpdata.schema.arrays import Array
from mlpdata.units import CANONICAL

ATOM, PAIR, CONFIGURATION = "atom", "pair", "configuration"
"""Levels: one row an atom, one a pair of atoms of a configuration (n_atoms squared, row by row), one a configuration."""


class Property(NamedTuple):
    """One row of the registry."""

    name: str
    level: str
    """`atom`, `pair` or `configuration`."""
    dimension: str | None
    """Key of `units.CANONICAL`; None for numbers that no unit belongs to."""
    shape: tuple[int, ...]
    """Shape of one row."""
    dtype: str
    """Element type in Frames and in the store."""
    absent: float
    """What stands where nothing is known: NaN, or a stated sentinel of an integer type."""
    meaning: str
    """Sign convention and definition, one sentence."""

    @property
    def array(self) -> Array:
        """The annotation of a field of one configuration with this property."""
        rows = {ATOM: ("n_atoms",), PAIR: ("n_atoms", "n_atoms"), CONFIGURATION: ()}[self.level]
        return Array(self.unit, *rows, *self.shape, dtype=self.dtype)

    @property
    def unit(self) -> str:
        """Canonical unit."""
        return CANONICAL[self.dimension or "dimensionless"]

    def blank(self, rows: int) -> NDArray[np.generic]:
        """`rows` rows in which nothing is known."""
        return np.full((rows, *self.shape), self.absent, self.dtype)


NAN = float("nan")
YES, NO, UNKNOWN = 1, 0, -1
"""Values of a flag."""
NO_TAG = -(2**31)
"""An atom without a tag; any other whole number may be one."""

REQUIRED = ("atomic_numbers", "positions", "pbc")
"""Present in every block."""


def _number(name: str, level: str, dimension: str | None, shape: tuple[int, ...], meaning: str) -> Property:
    """A row of real numbers, absent where NaN."""
    return Property(name, level, dimension, shape, "float64", NAN, meaning)


def _charges(scheme: str, partition: str) -> Property:
    """A row of atomic charges by one scheme."""
    return _number(f"charges_{scheme}", ATOM, "charge", (), f"Atomic charge by {partition}.")


_ROWS = (
    Property("atomic_numbers", ATOM, None, (), "uint8", 0, "Z of each atom."),
    _number("positions", ATOM, "length", (3,), "Cartesian, in the frame in which forces are given."),
    _number("forces", ATOM, "force", (3,), "Minus the gradient of `energy`."),
    _number("velocities", ATOM, "velocity", (3,), "Velocity at the time of `positions`."),
    Property(
        "force_mask", ATOM, None, (), "int8", UNKNOWN, "0 where the code zeroed or constrained the force, else 1."
    ),
    Property("fixed", ATOM, None, (3,), "int8", UNKNOWN, "1 where the run held the atom along x, y, z, else 0."),
    _number("magnetic_moments", ATOM, "magnetic_moment", (), "Collinear moment, spin up positive."),
    _number("magnetic_moment_vectors", ATOM, "magnetic_moment", (3,), "Noncollinear moment."),
    _number("initial_magnetic_moments", ATOM, "magnetic_moment", (), "Collinear moment that the run began with."),
    _number("initial_magnetic_moment_vectors", ATOM, "magnetic_moment", (3,), "Noncollinear one that it began with."),
    _charges("mulliken", "Mulliken populations"),
    _charges("loewdin", "Loewdin populations"),
    _charges("hirshfeld", "Hirshfeld's partition"),
    _charges("cm5", "charge model 5"),
    _charges("natural", "natural populations"),
    _charges("esp", "a fit to the electrostatic potential"),
    _charges("bader", "Bader's basins"),
    _charges("unspecified", "a scheme that the file does not name"),
    _number("born_charges", ATOM, "charge", (3, 3), "Change of polarisation (rows) with displacement (columns)."),
    _number("atomic_energies", ATOM, "energy", (), "Share of an atom in `energy`."),
    _number("atomic_virials", ATOM, "energy", (3, 3), "Share of an atom in the virial, -stress * volume."),
    _number("masses", ATOM, "mass", (), "Mass that the run moved the atom with."),
    Property("tags", ATOM, None, (), "int32", NO_TAG, "Whole number that somebody gave the atom."),
    _number("hessian", PAIR, "hessian", (3, 3), "Second derivatives of `energy` by the positions of two atoms."),
    _number("energy", CONFIGURATION, "energy", (), "The energy that the forces derive from."),
    _number("energy_sigma0", CONFIGURATION, "energy", (), "Extrapolated to zero smearing."),
    _number("energy_no_entropy", CONFIGURATION, "energy", (), "Without the smearing's entropy term."),
    _number("cell", CONFIGURATION, "length", (3, 3), "Rows are lattice vectors; absent for a molecule."),
    Property("pbc", CONFIGURATION, None, (3,), "int8", 0, "1 along periodic directions."),
    _number("stress", CONFIGURATION, "stress", (3, 3), "Positive in tension; virial = -stress * volume."),
    _number("charge", CONFIGURATION, "charge", (), "Total charge, positive where electrons are missing."),
    Property("multiplicity", CONFIGURATION, None, (), "int16", 0, "2S + 1; 0 where the output does not say."),
    _number("total_magnetization", CONFIGURATION, "magnetic_moment", (), "Spin up minus spin down."),
    _number("dipole", CONFIGURATION, "dipole", (3,), "From minus to plus; of an ion about its centre of charge."),
    _number("polarizability", CONFIGURATION, "volume", (3, 3), "Dipole over electric field, Gaussian units."),
    _number(
        "electric_field", CONFIGURATION, "electric_field", (3,), "Applied field; it pushes positive charges along."
    ),
    _number("band_gap", CONFIGURATION, "energy", (), "Lowest empty minus highest filled level; 0 for a metal."),
    _number("fermi_energy", CONFIGURATION, "energy", (), "Level that separates filled from empty, by the code's zero."),
    Property("scf_converged", CONFIGURATION, None, (), "int8", UNKNOWN, "1 yes, 0 no, -1 the output does not say."),
    Property("step", CONFIGURATION, None, (), "int32", -1, "Ionic step in its run, counted from 0."),
    Property("image", CONFIGURATION, None, (), "int16", -1, "Image on a reaction path, counted from 0."),
    _number("time", CONFIGURATION, "time", (), "Of an MD run, from its start."),
    _number("temperature_kinetic", CONFIGURATION, "temperature", (), "From velocities, 3N - 3 degrees."),
    Property("source_line", CONFIGURATION, None, (), "int32", -1, "Line of the source where the labels begin, from 1."),
    Property("source_index", CONFIGURATION, None, (), "int16", 0, "Which of the calculation's sources it is, from 0."),
)

PROPERTIES: dict[str, Property] = {row.name: row for row in _ROWS}
