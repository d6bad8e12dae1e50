"""Nearness: which of many geometries are close, without comparing every one with every other.

A geometry becomes a point: on each periodic axis an atom stands on a circle as long as the axis, elsewhere on a line.
So images of an atom are one point, and points are never further apart than a constant times the displacement: a search
within a radius finds all that is there.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mlpdata.frames import by_block
from mlpdata.units import F64

I64 = NDArray[np.int64]
STRETCH = 3.0**0.5
"""Most that a point moves where atoms move by 1 (root of the sum of squares): three axes may all but coincide."""
N_AXES, N_PLACES = 3, 16
"""Directions along which geometries are put in cells, and along which those of neighbouring cells are compared."""
FLAT = 1e-9
"""Volume below which three vectors are no cell [angstrom^3]."""
FAR = 1e6
"""Farther than this an atom is at this distance: what comes of a damaged file still has a place [angstrom]."""
MOST_ATOMS = 1 << 18
"""Atoms of geometries that are compared together: bounds the memory."""
SAMPLE = 64
"""Points from which the widest directions are taken; any directions give the same answer, wide ones fast."""
MOST_WHOLE, WINDOW = 32, 64
"""Geometries of crowded cells that are compared with all, and with how many the others are compared at first."""
_AROUND = np.array(list(itertools.product((-1, 0, 1), repeat=N_AXES)))


class Geometries(NamedTuple):
    """Configurations of the same atoms with the same periodic axes."""

    fractional: F64
    """In units of `lattice`, shape (n, n_atoms, 3)."""
    lattice: F64
    """Rows are lattice vectors; unit vectors stand for those that are absent, shape (n, 3, 3) [angstrom]."""
    periodic: NDArray[np.bool_]
    """Along each lattice vector, shape (3,)."""

    def at(self, which: I64) -> Geometries:
        """Some of them, in that order."""
        return Geometries(self.fractional[which], self.lattice[which], self.periodic)

    def steps_to(self, other: Geometries) -> F64:
        """Displacement of each atom to its nearest image in `other`, in the own lattice, (n, n_atoms, 3) [angstrom].

        Pair by pair; one of the two may be a single geometry. Cells may differ: atoms then move with theirs.
        """
        return wrapped(other.fractional - self.fractional, self.periodic) @ self.lattice

    def points(self, spacing: F64) -> F64:
        """Points for `Grid`, shape (n, ...) [angstrom]: apart by at most `STRETCH` times the displacement of atoms.

        Args:
            spacing: at most the distance of lattice planes along each axis, shape (3,) [angstrom].
        """
        lines = np.clip(self.fractional[..., ~self.periodic] * spacing[~self.periodic], -FAR, FAR)
        angle = 2 * np.pi * self.fractional[..., self.periodic]
        circles = np.concatenate([np.cos(angle), np.sin(angle)], axis=-1)
        circles *= np.tile(spacing[self.periodic], 2) / (2 * np.pi)
        return np.concatenate([lines, circles], axis=-1).reshape(len(self.fractional), -1)


def geometries(positions: Sequence[F64], cells: Sequence[F64], pbc: Sequence[int]) -> Geometries:
    """Geometries from positions, each (n_atoms, 3), and cells, each (3, 3), NaN where there is none [angstrom]."""
    periodic = np.array(pbc, bool)
    lattice = np.array(cells, np.float64).reshape(-1, 3, 3)
    lattice = np.where(np.isnan(lattice) | ~periodic.any(), np.eye(3), lattice)
    for flat in np.flatnonzero(np.abs(np.linalg.det(lattice)) < FLAT):
        lattice[flat] = _completed(lattice[flat], periodic)
    return Geometries(np.array(positions) @ np.linalg.inv(lattice), lattice, periodic)


def joined(some: Sequence[Geometries]) -> Geometries:
    """Several sets, one after the other."""
    fractional = np.concatenate([one.fractional for one in some])
    return Geometries(fractional, np.concatenate([one.lattice for one in some]), some[0].periodic)


def _completed(cell: F64, periodic: NDArray[np.bool_]) -> F64:
    """A chain's or layer's cell with unit vectors across; a cell whose periodic vectors coincide is no cell."""
    own = cell[periodic]
    if np.linalg.matrix_rank(own) < len(own):
        return np.eye(3)
    completed = cell.copy()
    completed[~periodic] = np.linalg.svd(own)[2][len(own) :]
    return completed


def wrapped(fractional: F64, periodic: NDArray[np.bool_]) -> F64:
    """Differences of fractional coordinates as those of the nearest images."""
    return fractional - np.where(periodic, np.round(fractional), 0.0)


def rms(displacements: F64) -> F64:
    """Root mean square over atoms of displacements (..., n_atoms, 3)."""
    mean: F64 = np.sqrt((displacements**2).sum(axis=-1).mean(axis=-1))
    return mean


def _places(among: Geometries, most: int) -> F64:
    """Where points are along their widest directions, the widest first, shape (n, at most N_PLACES) [angstrom]."""
    n = len(among.fractional)
    spacing = 1 / np.linalg.norm(np.linalg.inv(among.lattice), axis=1).max(axis=0)
    sample = among.at(np.arange(0, n, 1 + n // SAMPLE)).points(spacing)
    axes = np.linalg.svd(sample - sample.mean(axis=0), full_matrices=False)[2][:N_PLACES].T
    pieces = (np.arange(start, min(start + most, n)) for start in range(0, n, most))
    return np.concatenate([among.at(some).points(spacing) @ axes for some in pieces])


class Grid:
    """Geometries in cells as wide as `radius` along their widest directions: those near one are in its cell or beside it.

    Args:
        among: the geometries.
        radius: root of the sum of squares of the displacements of all atoms [angstrom].
    """

    def __init__(self, among: Geometries, radius: float) -> None:
        n, n_atoms = among.fractional.shape[:2]
        self._most = max(1, MOST_ATOMS // n_atoms)
        self._reach = max(STRETCH * radius, 1e-9)
        self._places = _places(among, self._most)
        self._cells = np.zeros((n, N_AXES), np.int64)
        widest = self._places[:, :N_AXES]
        self._cells[:, : widest.shape[1]] = np.floor(widest / self._reach)
        order = np.lexsort(self._cells.T)
        breaks = np.flatnonzero((np.diff(self._cells[order], axis=0) != 0).any(axis=1)) + 1
        self._members = {self._cells[one[0]].tobytes(): one for one in np.split(order, breaks)}

    def near(self, number: int) -> I64:
        """The numbers of all within the radius of one geometry, itself among them, in order; and of some beyond it."""
        around = [self._members.get(cell.tobytes()) for cell in self._cells[number] + _AROUND]
        found = np.concatenate([members for members in around if members is not None])
        away = ((self._places[found] - self._places[number]) ** 2).sum(axis=1)
        return np.sort(found[away <= (self._reach * (1 + 1e-9)) ** 2])

    def pairs(self, numbers: Iterable[int]) -> Iterator[tuple[I64, I64]]:
        """Each of `numbers` with each one near it, in pieces of bounded size."""
        near = ((number, self.near(number)) for number in numbers)
        for some in by_block(((len(found), (number, found)) for number, found in near), self._most):
            first = np.repeat([number for number, _ in some], [len(found) for _, found in some])
            yield first, np.concatenate([found for _, found in some])


def clusters(among: Geometries, radius: float, smallest: int) -> Iterator[I64]:
    """Sets of geometries within `radius` (root mean square over atoms) of their first one; each is in one at most.

    Where the grid does not tell geometries apart, as in a liquid, `MOST_WHOLE` of them are compared with all; the rest
    with those that follow by name, on and on while these are near.
    """
    n = len(among.fractional)
    if n < smallest:
        return
    grid = Grid(among, radius * among.fractional.shape[1] ** 0.5)
    free = np.ones(n, bool)
    left = MOST_WHOLE

    def near(first: int, some: I64) -> I64:
        some = some[free[some]]
        return some[rms(among.at(some).steps_to(among.at(np.array([first])))) <= radius]

    for first in range(n):
        if not free[first]:
            continue
        if left or n <= WINDOW:
            some = grid.near(first)
            left -= len(some) > WINDOW
            members = near(first, some)
        else:
            members = np.concatenate(list(_windows(first, n, near)))
        free[first] = False
        if len(members) >= smallest:
            free[members] = False
            yield members


def _windows(first: int, n: int, near: Callable[[int, I64], I64]) -> Iterator[I64]:
    """What is near the first of n geometries, in windows twice as wide each time, up to the first that has nothing."""
    start, width = first, WINDOW
    while start < n:
        found = near(first, np.arange(start, min(start + width, n)))
        yield found
        if len(found) <= (start == first):
            return
        start, width = start + width, 2 * width
