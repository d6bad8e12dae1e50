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

ATOM, CONFIGURATION = "atom", "configuration"


class Property(NamedTuple):
    """One row of the registry."""

    name: str
    level: str
    """`atom`: one row an atom; `configuration`: one row a configuration."""
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
        rows: tuple[int | str, ...] = ("n_atoms", *self.shape) if self.level == ATOM else self.shape
        return Array(self.unit, *rows, dtype=self.dtype)

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

REQUIRED = ("atomic_numbers", "positions", "pbc")
"""Present in every block."""

PROPERTIES: dict[str, Property] = {
    row.name: row
    for row in (
        Property("atomic_numbers", ATOM, None, (), "uint8", 0, "Z of each atom."),
        Property(
            "positions",
            ATOM,
            "length",
            (3,),
            "float64",
            NAN,
            "Cartesian, in the frame in which forces are given.",
        ),
        Property("forces", ATOM, "force", (3,), "float64", NAN, "Minus the gradient of `energy`."),
        Property("velocities", ATOM, "velocity", (3,), "float64", NAN, "Velocity at the time of `positions`."),
        Property(
            "force_mask",
            ATOM,
            None,
            (),
            "int8",
            UNKNOWN,
            "0 where the code zeroed or constrained the force, else 1.",
        ),
        Property(
            "magnetic_moments",
            ATOM,
            "magnetic_moment",
            (),
            "float64",
            NAN,
            "Collinear moment, spin up positive.",
        ),
        Property("energy", CONFIGURATION, "energy", (), "float64", NAN, "The energy that the forces derive from."),
        Property("energy_sigma0", CONFIGURATION, "energy", (), "float64", NAN, "Extrapolated to zero smearing."),
        Property(
            "energy_no_entropy",
            CONFIGURATION,
            "energy",
            (),
            "float64",
            NAN,
            "Without the smearing's entropy term.",
        ),
        Property(
            "cell",
            CONFIGURATION,
            "length",
            (3, 3),
            "float64",
            NAN,
            "Rows are lattice vectors; absent for a molecule.",
        ),
        Property("pbc", CONFIGURATION, None, (3,), "int8", 0, "1 along periodic directions."),
        Property(
            "stress",
            CONFIGURATION,
            "stress",
            (3, 3),
            "float64",
            NAN,
            "Positive in tension; virial = -stress * volume.",
        ),
        Property(
            "charge",
            CONFIGURATION,
            "charge",
            (),
            "float64",
            NAN,
            "Total charge, positive where electrons are missing.",
        ),
        Property("multiplicity", CONFIGURATION, None, (), "int16", 0, "2S + 1; 0 where the output does not say."),
        Property(
            "total_magnetization",
            CONFIGURATION,
            "magnetic_moment",
            (),
            "float64",
            NAN,
            "Spin up minus spin down.",
        ),
        Property(
            "scf_converged",
            CONFIGURATION,
            None,
            (),
            "int8",
            UNKNOWN,
            "1 yes, 0 no, -1 the output does not say.",
        ),
        Property("step", CONFIGURATION, None, (), "int32", -1, "Ionic step in its run, counted from 0."),
        Property(
            "temperature_kinetic",
            CONFIGURATION,
            "temperature",
            (),
            "float64",
            NAN,
            "From velocities, 3N - 3 degrees.",
        ),
        Property(
            "source_line",
            CONFIGURATION,
            None,
            (),
            "int32",
            -1,
            "Line of the source where the labels begin, from 1.",
        ),
    )
}
