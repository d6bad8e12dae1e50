"""Mistaken units by ratio: along a trajectory the energy must change by the work of the forces.

Total energies span -1 to -10^5 eV/atom, so no size tells a wrong unit; the slope of dE on the work does. It is 1
where energies, forces and lengths fit, and 27.2, 0.0367, 51.4, 0.529, 23.06 or -1 where one was mistaken.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mlpdata.errors import UsageError
from mlpdata.frames import Frames
from mlpdata.schema.properties import NAN
from mlpdata.units import BOHR, F64, HARTREE, RYDBERG

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

MAX_STEP = 0.3
"""Steps with a larger displacement of an atom are left out: the trapezoid no longer gives their work [angstrom]."""
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

    The work of a step is -(F1 + F2)/2 . dx, displacements by minimum image and relative to the lattice, and
    volume * stress : strain where the cell changes. Steps without labels or farther than `MAX_STEP` are left out.

    Raises:
        UsageError: the configurations are not of the same atoms.
    """
    if len(frames) <= MIN_STEPS:
        return UnitRatio(NAN, NAN, NAN, 0, None)
    if (frames.n_atoms != frames.n_atoms[0]).any() or _species_change(frames):
        raise UsageError("expected the frames of one trajectory, found different atoms.")
    work, moved = _work(frames)
    change = np.diff(frames.energy)
    used = np.isfinite(work).all(axis=1) & np.isfinite(change) & (moved <= MAX_STEP)
    return _regressed(work[used], change[used])


def _regressed(work: F64, change: F64) -> UnitRatio:
    """Least squares of `change` (n_steps,) on the two kinds of `work` (n_steps, 2), as far as there is any."""
    done = np.abs(work).max(axis=0, initial=0.0) > 0
    if len(work) < MIN_STEPS + int(done.sum()) - 1 or not done.any():
        return UnitRatio(NAN, NAN, NAN, len(work), None)
    slopes = np.full(2, NAN)
    slopes[done] = np.linalg.lstsq(work[:, done], change, rcond=None)[0]
    explained = work[:, done] @ slopes[done]
    length = float(np.linalg.norm(explained) * np.linalg.norm(change))
    correlation = float(explained @ change) / length if length else 0.0
    mistake = _named(float(slopes[0])) if correlation >= MIN_CORRELATION else None
    return UnitRatio(float(slopes[0]), float(slopes[1]), correlation, len(work), mistake)


def _species_change(frames: Frames) -> bool:
    rows = frames.atomic_numbers.reshape(len(frames), -1)
    return bool((rows != rows[0]).any())


def _named(slope: float) -> str | None:
    """The mistake that `slope` stands for."""
    if abs(abs(slope) - 1) <= NEAR:
        return "forces have the wrong sign: they are gradients" if slope < 0 else None
    nearest = min(MISTAKES, key=lambda ratio: abs(abs(slope) / ratio - 1))
    if not abs(abs(slope) / nearest - 1) <= NEAR:
        return None
    return MISTAKES[nearest] + ("; and forces have the wrong sign" if slope < 0 else "")


def _work(frames: Frames) -> tuple[F64, F64]:
    """Work of forces and of stress of each step [eV], shape (n_steps, 2), and its largest displacement [angstrom]."""
    positions = frames.positions.reshape(len(frames), -1, 3)
    forces = frames.forces.reshape(len(frames), -1, 3)
    cell = _whole_cells(frames)
    hops = np.diff(positions @ np.linalg.inv(cell), axis=0)
    hops -= np.round(hops) * frames.pbc[1:, None, :]
    moves = hops @ ((cell[:-1] + cell[1:]) / 2)
    force_work = -((forces[:-1] + forces[1:]) / 2 * moves).sum(axis=(1, 2))
    return np.stack([force_work, _stress_work(frames, cell)], axis=1), np.linalg.norm(moves, axis=2).max(axis=1)


def _whole_cells(frames: Frames) -> F64:
    """Cells with an inverse: unit vectors stand for those of open axes where they are missing."""
    cell = np.nan_to_num(frames.cell)
    missing = (np.linalg.norm(cell, axis=2) == 0) & (frames.pbc == 0)
    return np.where(missing[:, :, None], np.eye(3), cell)


def _stress_work(frames: Frames, cell: F64) -> F64:
    """Volume * stress : strain of each step [eV]; zero where the cell stands still, NaN where the stress is absent."""
    strain = np.linalg.inv((cell[:-1] + cell[1:]) / 2) @ np.diff(cell, axis=0)
    still = np.abs(strain).max(axis=(1, 2)) < 1e-12
    pressed = frames.stress * np.abs(np.linalg.det(cell))[:, None, None]
    work = ((pressed[:-1] + pressed[1:]) / 2 * strain).sum(axis=(1, 2))
    return np.where(still, 0.0, work)
