"""Work: from one step of a run to the next the energy changes by what forces and stress do.

Between two geometries on one smooth surface dE = -(F1 + F2)/2 . dx + V (s1 + s2)/2 : strain, up to the error of the
trapezoid, which is a part of sum |dF| |dx| and, less, of sum |F| |dx|. Displacements are those to the nearest image, relative to the lattice.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mlpdata.frames import I64, Frames, concatenate, ragged_index
from mlpdata.schema.properties import NO
from mlpdata.units import F64

Mask = NDArray[np.bool_]
Rows = slice | I64

MAX_STEP = 0.3
"""Steps with a larger displacement of an atom are left out: the trapezoid no longer gives their work [angstrom]."""
MAX_STRAIN = 0.1
"""Likewise steps with a larger change of the lattice."""
STILL = 1e-12
"""Strain of a cell that does not change."""
FLAT = 1e-6
"""Volume of a cell without an inverse, its edges scaled to length one."""
FORCE_SHARE, FORCE_SLOPE = 0.25, 3.0
"""Part of sum |dF| |dx| that the trapezoid may miss: at most, and an angstrom of the largest displacement. The third
derivative over the second gives a slope of 1.1 where the bond of H2 stretches; the longest steps of sound runs reach 0.13."""
FORCE_CUBE = 1.0
"""Part of sum |F| |dx| that it may miss beside, an angstrom^2 of the largest displacement: where a bond is torn the second
derivative vanishes and the fourth does not. A step of 0.3 angstrom in water reaches 0.6."""
STRESS_SHARE = 0.5
"""Part of V sum |ds| |strain|; sound runs reach 0.23."""


class Steps(NamedTuple):
    """Pairs of adjacent configurations that can be compared; every field has shape (n_steps, ...)."""

    after: I64
    """The later configuration of each pair."""
    change: F64
    """Of the energy [eV]."""
    work: F64
    """Of the forces and of the stress [eV], shape (n_steps, 2)."""
    moved: F64
    """Length of the displacements of all atoms together [angstrom]."""
    curvature: F64
    """What bounds the error of the trapezoid [eV]."""

    def tolerance(self, n_atoms: I64, energy: float, force: float) -> F64:
        """Difference of change and work that trapezoid and noise explain [eV].

        Args:
            n_atoms: of each configuration.
            energy: scatter of the energy of one atom [eV]; that of many adds up as chance does.
            force: scatter of a force [eV/angstrom].
        """
        tolerance: F64 = self.curvature + energy * np.sqrt(n_atoms[self.after]) + 3 * force * self.moved
        return tolerance

    @property
    def error(self) -> F64:
        """Change of the energy that no work explains [eV]."""
        error: F64 = np.abs(self.change - self.work.sum(axis=1))
        return error


NO_STEPS = Steps(np.empty(0, np.int64), np.empty(0), np.empty((0, 2)), np.empty(0), np.empty(0))
"""Where nothing can be compared."""


def adjacent(frames: Frames, calculation: I64 | None = None) -> I64:
    """The configurations that are one ionic step after the one before them in the block.

    Args:
        frames: a block.
        calculation: a number for each configuration, the same within one calculation; None: all are of one.
    """
    step, image = frames.get("step"), frames.get("image")
    next_one = (step[1:] == step[:-1] + 1) & (step[:-1] >= 0) & (image[1:] == image[:-1])
    if calculation is not None:
        next_one &= calculation[1:] == calculation[:-1]
    return np.flatnonzero(next_one) + 1


def steps(frames: Frames, before: Frames | None = None, calculation: I64 | None = None) -> Steps:
    """The steps of a block, the one from the configuration `before` it among them.

    Args:
        frames: a block.
        before: the last configuration of the block before, of the same calculation.
        calculation: as in `adjacent`.
    """
    inner = between(frames, adjacent(frames, calculation))
    if before is None or not len(frames):
        return inner
    edge = concatenate([before, frames.select([0])])
    border = between(edge, adjacent(edge))
    border = border._replace(after=border.after - 1)
    return Steps(*(np.concatenate(both) for both in zip(border, inner, strict=True)))


def between(frames: Frames, after: I64) -> Steps:
    """The steps that end at the configurations `after` of a block.

    Left out are those between different atoms, without labels or with an SCF that gave up, without any motion, or too
    long for the trapezoid.
    """
    if not len(after):
        return NO_STEPS
    cells = _whole_cells(frames)
    usable = np.isfinite(frames.energy) & (frames.n_atoms > 0) & (frames.get("scf_converged") != NO) & ~_is_flat(cells)
    after = after[usable[after] & usable[after - 1] & (frames.n_atoms[after] == frames.n_atoms[after - 1])]
    if not len(after):
        return NO_STEPS
    pairs = _Pairs(frames, cells, after)
    moves = pairs.moves()
    squared = np.einsum("ij,ij->i", moves, moves)
    first, second = (frames.forces[rows] for rows in (pairs.first, pairs.second))
    mean, bent = (first + second) / 2, second - first
    force_work = -pairs.sum(np.einsum("ij,ij->i", mean, moves))
    level, curvature = (pairs.sum(np.sqrt(np.einsum("ij,ij->i", force, force) * squared)) for force in (mean, bent))
    stress_work, stress_curvature = pairs.stress_work()
    largest = np.sqrt(np.maximum.reduceat(squared, pairs.starts))
    found = Steps(
        after,
        frames.energy[after] - frames.energy[after - 1],
        np.stack([force_work, stress_work], axis=1),
        np.sqrt(pairs.sum(squared)),
        np.minimum(FORCE_SHARE, FORCE_SLOPE * largest) * curvature
        + FORCE_CUBE * largest**2 * level
        + STRESS_SHARE * stress_curvature,
    )
    used = (largest <= MAX_STEP) & (pairs.largest_strain <= MAX_STRAIN) & np.isfinite(found.work).all(axis=1)
    used &= (found.moved > 1e-6) | (pairs.largest_strain > 1e-6)
    used &= ~pairs.any(frames.atomic_numbers[pairs.first] != frames.atomic_numbers[pairs.second])
    return found if used.all() else Steps(*(column[used] for column in found))


class _Pairs:
    """Pairs (i - 1, i) of configurations with as many atoms, their atoms side by side."""

    def __init__(self, frames: Frames, cells: F64, after: I64) -> None:
        self.frames, self.after = frames, after
        sizes = frames.n_atoms[after]
        self.starts = np.concatenate(([0], np.cumsum(sizes)[:-1]))
        self.first = _rows(frames, after - 1)
        self.second = _rows(frames, after)
        self.owner = np.repeat(np.arange(len(after)), sizes)
        self.cells = cells[after - 1], cells[after]
        self.middle = (self.cells[0] + self.cells[1]) / 2
        self.inverse = np.linalg.inv(self.middle)
        self.strain = self.inverse @ (self.cells[1] - self.cells[0])
        self.largest_strain = np.abs(self.strain).max(axis=(1, 2))

    def sum(self, per_atom: F64) -> F64:
        total: F64 = np.add.reduceat(per_atom, self.starts)
        return total

    def any(self, per_atom: Mask) -> Mask:
        found: Mask = np.logical_or.reduceat(per_atom, self.starts)
        return found

    def moves(self) -> F64:
        """Displacements relative to the lattice, to the nearest image, shape (n, 3)."""
        first, second = (self.frames.positions[rows] for rows in (self.first, self.second))
        moves = second - first
        if not self.frames.pbc.any():
            return moves
        if self.largest_strain.max() > STILL:
            whole = np.arange(len(moves))
        else:  # one lattice: only atoms that crossed a face have another image nearer
            heights = 1 / np.linalg.norm(self.inverse, axis=1)
            whole = np.unique(np.flatnonzero(np.abs(moves) > heights.min() / 2 / np.sqrt(3)) // 3)
        if len(whole):
            moves[whole] = self._nearest(first[whole], second[whole], self.owner[whole])
        return moves

    def _nearest(self, first: F64, second: F64, owner: I64) -> F64:
        earlier, later = (np.linalg.inv(cells)[owner] for cells in self.cells)
        hops = np.einsum("ij,ijk->ik", second, later) - np.einsum("ij,ijk->ik", first, earlier)
        hops -= np.round(hops) * self.frames.pbc[self.after][owner]
        moves: F64 = np.einsum("ij,ijk->ik", hops, self.middle[owner])
        return moves

    def stress_work(self) -> tuple[F64, F64]:
        """Volume * stress : strain, and what bounds its error; zero where the lattice stands still [eV]."""
        still = self.largest_strain < STILL
        if still.all():
            return np.zeros(len(still)), np.zeros(len(still))
        stress = self.frames.stress
        first, second = (
            stress[rows] * np.abs(np.linalg.det(cells))[:, None, None]
            for rows, cells in zip((self.after - 1, self.after), self.cells, strict=True)
        )
        work = ((first + second) / 2 * self.strain).sum(axis=(1, 2))
        error = (np.abs(second - first) * np.abs(self.strain)).sum(axis=(1, 2))
        return np.where(still, 0.0, work), np.where(still, 0.0, error)


def _rows(frames: Frames, which: I64) -> Rows:
    """Atoms of the configurations `which`, as a slice where they follow each other."""
    if which[-1] - which[0] == len(which) - 1:
        return slice(int(frames.atom_start[which[0]]), int(frames.atom_start[which[-1] + 1]))
    return ragged_index(frames.atom_start[which], frames.n_atoms[which])


def _whole_cells(frames: Frames) -> F64:
    """Cells with an inverse: unit vectors stand for those of open axes where they are missing."""
    cell = np.nan_to_num(frames.cell)
    missing = (np.linalg.norm(cell, axis=2) == 0) & (frames.pbc == 0)
    return np.where(missing[:, :, None], np.eye(3), cell)


def _is_flat(cells: F64) -> Mask:
    """Whether the vectors of a cell lie in a plane, or one is missing."""
    lengths = np.linalg.norm(cells, axis=2).prod(axis=1)
    flat: Mask = ~(np.abs(np.linalg.det(cells)) > FLAT * lengths)
    return flat
