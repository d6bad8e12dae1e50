"""Mistaken units by ratio: along a trajectory the energy must change by the work of the forces.

Total energies span -1 to -10^5 eV/atom, so no size tells a wrong unit; the slope of dE on the work does. It is 1
where energies, forces and lengths fit, and 27.2, 0.0367, 51.4, 0.529, 23.06 or -1 where one was mistaken.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mlpdata.checks.energy_work import Steps, between
from mlpdata.errors import UsageError
from mlpdata.frames import Frames
from mlpdata.schema.properties import NAN
from mlpdata.units import BOHR, HARTREE, RYDBERG

KCAL = 23.060547830619
"""1 eV in kcal/mol: Avogadro's number times the elementary charge over 4184 J, all exact."""

MISTAKES = {
    HARTREE: "energies were multiplied by 27.2 once too often, or forces are in hartree/angstrom",
    1 / HARTREE: "energies are in hartree, not in eV",
    HARTREE / BOHR: "forces are in hartree/bohr, not in eV/angstrom",
    BOHR / HARTREE: "forces were multiplied by 51.4 once too often",
    RYDBERG: "energies were multiplied by 13.6 once too often, or forces are in rydberg/angstrom",
    1 / RYDBERG: "energies are in rydberg, not in eV",
    RYDBERG / BOHR: "forces are in rydberg/bohr, not in eV/angstrom",
    BOHR / RYDBERG: "forces were multiplied by 25.7 once too often",
    BOHR: "positions are in bohr, not in angstrom",
    1 / BOHR: "forces are in eV/bohr, not in eV/angstrom, or positions were multiplied by 0.529 once too often",
    KCAL: "energies are in kcal/mol, not in eV",
    1 / KCAL: "forces are in kcal/mol/angstrom, not in eV/angstrom",
}
"""Slope and the mistake it names."""

MIN_STEPS = 3
"""Fewer steps say nothing."""
MIN_CORRELATION = 0.9
"""Below, energies and work are not proportional, whatever the unit."""
NEAR = 0.03
"""Relative distance within which a slope is taken for one of the table."""


class UnitRatio(NamedTuple):
    """Slopes of the energy's change on the work done."""

    slope: float
    """On the work of the forces; NaN where too few steps could be used or nothing moved."""
    stress_slope: float
    """On the work of the stress; NaN where the cell stands still. Off one by some ten percent where the plane waves
    of the first cell are kept, which forces do not feel."""
    correlation: float
    """Of the change of energy with the work at these slopes."""
    n_steps: int
    """Steps used."""
    mistake: str | None
    """What `slope` names; None where it is 1 or nothing can be said."""


def units_by_ratio(frames: Frames) -> UnitRatio:
    """Regress dE on the work along adjacent configurations of one trajectory.

    Raises:
        UsageError: the configurations are not of the same atoms.
    """
    numbers = np.split(frames.atomic_numbers, frames.atom_start[1:-1])
    if any(not np.array_equal(numbers[0], other) for other in numbers[1:]):
        raise UsageError("expected the frames of one trajectory, found different atoms.")
    regression = Regression()
    regression.add(between(frames, np.arange(1, len(frames))))
    return regression.result()


class Regression:
    """Least squares of the energy's change on the work of a run, from sums: a long run takes no more memory."""

    def __init__(self) -> None:
        self.n_steps = 0
        self._work = np.zeros((2, 2))
        self._both = np.zeros(2)
        self._change = 0.0

    def add(self, steps: Steps) -> None:
        """Take in some steps of the run."""
        self.n_steps += len(steps.change)
        self._work += steps.work.T @ steps.work
        self._both += steps.work.T @ steps.change
        self._change += float(steps.change @ steps.change)

    def result(self) -> UnitRatio:
        """The slopes over all steps so far."""
        done = np.diag(self._work) > 0
        if self.n_steps < MIN_STEPS + int(done.sum()) - 1 or not done.any():
            return UnitRatio(NAN, NAN, NAN, self.n_steps, None)
        slopes = np.full(2, NAN)
        slopes[done] = np.linalg.lstsq(self._work[np.ix_(done, done)], self._both[done], rcond=None)[0]
        explained = np.where(done, slopes, 0.0)
        length = float(np.sqrt(explained @ self._work @ explained * self._change))
        correlation = float(explained @ self._both) / length if length else 0.0
        mistake = _named(float(slopes[0])) if correlation >= MIN_CORRELATION else None
        return UnitRatio(float(slopes[0]), float(slopes[1]), correlation, self.n_steps, mistake)


def _named(slope: float) -> str | None:
    """The mistake that `slope` stands for."""
    if abs(abs(slope) - 1) <= NEAR:
        return "forces have the wrong sign: they are gradients" if slope < 0 else None
    nearest = min(MISTAKES, key=lambda ratio: abs(abs(slope) / ratio - 1))
    if not abs(abs(slope) / nearest - 1) <= NEAR:
        return None
    return MISTAKES[nearest] + ("; and forces have the wrong sign" if slope < 0 else "")
