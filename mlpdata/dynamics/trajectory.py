"""Trajectory: what a run of molecular dynamics leaves behind, in memory and on disk."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mlpdata import durable
from mlpdata.digest import canonical_json, sha256
from mlpdata.dynamics.estimates import BLOCKS, MEV, Estimate, drift, mean
from mlpdata.errors import CorruptError, NotFound
from mlpdata.units import F64

SUMMARY = "md.json"
"""Name of the record in the folder of a trajectory."""


@dataclass(frozen=True, eq=False)
class Trajectory:
    """A run: m points in time, of which k keep the coordinates of all n atoms."""

    ensemble: Literal["nve", "langevin"]
    """nve: velocity Verlet; langevin: with a thermostat."""
    start_temperature: float
    """Kinetic temperature of the first point, and set point of the thermostat [K]."""
    timestep: float
    """[fs]"""
    seed: int
    """Of velocities and thermostat."""
    failure: str | None
    """What went wrong at the last point; None for a run that reached its end."""
    time: F64
    """From the end of the equilibration, or its beginning where it failed [fs], shape (m,)."""
    potential: F64
    """Potential energy [eV], shape (m,)."""
    kinetic: F64
    """Kinetic energy [eV], shape (m,)."""
    temperature: F64
    """Kinetic temperature from 3n - 3 degrees of freedom [K], shape (m,)."""
    atomic_numbers: NDArray[np.uint8]
    """Z of each atom, shape (n,)."""
    cell: F64
    """Rows are lattice vectors [angstrom], zeros without a cell, shape (3, 3)."""
    pbc: NDArray[np.int8]
    """1 along periodic directions, shape (3,)."""
    kept: NDArray[np.int64]
    """Steps of the points that keep coordinates, shape (k,)."""
    positions: F64
    """Not wrapped into the cell [angstrom], shape (k, n, 3)."""
    velocities: F64
    """[angstrom/fs], shape (k, n, 3)."""

    @property
    def total(self) -> F64:
        """Potential and kinetic energy, which NVE conserves [eV], shape (m,)."""
        return self.potential + self.kinetic

    @property
    def n_atoms(self) -> int:
        """How many atoms there are."""
        return len(self.atomic_numbers)

    def drift(self) -> Estimate | None:
        """Drift of the total energy [meV/atom/ps]; None where it is not conserved, or the run too short to say.

        A thermostat exchanges energy: it would hide a drift, and its conserved quantity is not tracked.
        """
        if self.ensemble != "nve" or not self._long_enough:
            return None
        return drift(self.time, self.total, self.n_atoms)

    def mean_temperature(self) -> Estimate | None:
        """Mean kinetic temperature [K]; None where the run is too short for an error."""
        return mean(self.temperature) if self._long_enough else None

    @property
    def _long_enough(self) -> bool:
        return len(self.time) >= 2 * BLOCKS[0] and bool(np.isfinite(self.total).all())

    def summary(self) -> dict[str, Any]:
        """What metrics and reports show, as JSON values; None for what the run cannot tell."""
        slope, temperature = self.drift(), self.mean_temperature()
        per_step = slope and slope.value / MEV * self.n_atoms * self.timestep / 1e3
        fluctuation = float(self.total.std()) * MEV / self.n_atoms if slope else None
        return {
            **{name: getattr(self, name) for name in _SCALARS},
            "n_atoms": self.n_atoms,
            "steps": len(self.time) - 1,
            "duration": float(self.time[-1]) / 1e3,
            "temperature": temperature and temperature._asdict(),
            "drift": slope and slope._asdict(),
            "drift_per_step": per_step,
            "fluctuation": fluctuation,
            "units": UNITS,
        }


UNITS = {
    "start_temperature": "K",
    "timestep": "fs",
    "duration": "ps",
    "temperature": "K",
    "drift": "meV/atom/ps",
    "drift_per_step": "eV",
    "fluctuation": "meV/atom",
}
"""Of the numbers of a summary."""

_SCALARS = ("ensemble", "start_temperature", "timestep", "seed", "failure")
_SERIES = ("time", "potential", "kinetic", "temperature")
_ARRAYS = (*_SERIES, "atomic_numbers", "cell", "pbc", "kept", "positions", "velocities")


def write(folder: Path, trajectory: Trajectory) -> None:
    """Write `md.json` and one .npy an array into `folder`; the record is written last and names the others' digests.

    Raises:
        StoreError: the disk refused; a record that was there still describes what it described, or reading says so.
    """
    durable.make_folder(folder)
    digests = {}
    for name in _ARRAYS:
        buffer = io.BytesIO()
        np.save(buffer, getattr(trajectory, name), allow_pickle=False)
        digests[name] = sha256(buffer.getvalue())
        durable.replace(folder / f"{name}.npy", buffer.getvalue())
    durable.replace(folder / SUMMARY, canonical_json({**trajectory.summary(), "arrays": digests}))


def read(folder: Path) -> Trajectory:
    """The trajectory that `write` left in `folder`.

    Raises:
        NotFound: no trajectory there.
        CorruptError: an array that is not the one that was written.
    """
    path = folder / SUMMARY
    if not path.is_file():
        raise NotFound("expected a trajectory, found none. Run `mlpdata md` first.", path=path)
    try:
        record = json.loads(path.read_bytes())
        scalars = {key: record[key] for key in _SCALARS}
        digests = {name: record["arrays"][name] for name in _ARRAYS}
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptError(f"expected the record of a trajectory, found another ({error}).", path=path) from error
    arrays: dict[str, Any] = {name: _array(folder / f"{name}.npy", digests[name]) for name in _ARRAYS}
    return Trajectory(**scalars, **arrays)


def _array(path: Path, digest: str) -> NDArray[Any]:
    content = path.read_bytes() if path.is_file() else b""
    if sha256(content) != digest:
        raise CorruptError("expected the array that the record names, found another. Run it again.", path=path)
    array: NDArray[Any] = np.load(io.BytesIO(content), allow_pickle=False)
    return array
