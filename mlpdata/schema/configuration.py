"""Configuration: one geometry and the labels that one calculation gave it."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from mlpdata.schema.noun import Noun
from mlpdata.schema.properties import PROPERTIES
from mlpdata.units import F64


class Configuration(Noun):
    """One geometry and the labels that one calculation gave it."""

    atomic_numbers: Annotated[NDArray[np.uint8], PROPERTIES["atomic_numbers"].array]
    """Z of each atom, shape (n_atoms,)."""
    positions: Annotated[F64, PROPERTIES["positions"].array]
    """Cartesian coordinates, in the frame in which `forces` are given."""
    pbc: Annotated[NDArray[np.int8], PROPERTIES["pbc"].array]
    """1 along periodic directions."""
    cell: Annotated[F64, PROPERTIES["cell"].array] | None = None
    """Rows are lattice vectors. None for a molecule."""
    energy: float | None = None
    """The energy that the forces derive from [eV]."""
    energy_sigma0: float | None = None
    """Extrapolated to zero smearing [eV]."""
    energy_no_entropy: float | None = None
    """Without the smearing's entropy term [eV]."""
    forces: Annotated[F64, PROPERTIES["forces"].array] | None = None
    """Minus the gradient of `energy`. None where the code did not print them."""
    stress: Annotated[F64, PROPERTIES["stress"].array] | None = None
    """Positive in tension. None where the code did not compute it."""
    charge: float | None = None
    """Total charge [e]."""
    multiplicity: int | None = None
    """2S + 1."""
    scf_converged: bool | None = None
    """None where the output does not say."""
    step: int | None = None
    """Ionic step in its run, from 0."""
    temperature_kinetic: float | None = None
    """From velocities [K]."""
    source_line: int | None = None
    """Line of the source where the labels begin, from 1."""
