"""Onward: runs that begin where another one ends, to within what is printed, or one step of dynamics further.

**One step on.** With positions r(-2), r(-1) at the end of one run and r(0) at the beginning of the next, Verlet's
r(0) - 2 r(-1) + r(-2) = a dt^2 is the residual of going on with the last displacement; with velocities, half of it. In
harmonic motion of frequency w its size is w dt times the displacement: 0.1 for the phonons of a solid and 0.4 for water
whose stiffest bonds are sampled with 14 steps a period, the coarsest that is integrated soundly. Two trajectories
that part from one structure are apart by thermal amplitudes, tens of displacements.

**To within what is printed.** Codes print positions in other units at the end of a run than they read them, so that
the last digit, and with it the geometry id, may differ.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mlpdata.relations.nearness import Geometries, Grid, geometries, joined, rms, wrapped
from mlpdata.relations.runs import Run
from mlpdata.relations.shared import I64, Shared
from mlpdata.units import F64

SAME_ENERGY = 1e-3
"""Energies of one geometry that differ by less are those of one restart; wave functions converge anew [eV/atom]."""
RESIDUAL = 0.5
"""Largest residual of one step of dynamics, as a part of the displacement (both root mean square over atoms)."""
MOST_RESIDUAL = 0.05
"""Largest residual at all, that of hydrogen at 1000 K with 1 fs; below thermal amplitudes at 300 K [angstrom]."""
PRINTED = 1e-3
"""Largest distance of an atom from itself, printed twice [angstrom]."""
STANDING = 0.1
"""Of dynamics, what stands still moved by less than this part of a step."""
SAME_CELL = 0.02
"""Largest change of a cell in one step, as a part of its longest vector."""


class Candidate(NamedTuple):
    """A run that another one may continue."""

    earlier: int
    """Its number."""
    skip: int
    """1 where the first configuration is held by both."""
    because: str
    """What it rests on; empty where a user said so."""
    last: bool = True
    """Whether the other begins at its end."""


def onward(runs: Sequence[Run], shared: Shared, waiting: Sequence[int]) -> Iterator[tuple[int, Candidate]]:
    """For each of the runs `waiting`, those of its folder and of sibling folders at whose end it begins."""
    campaigns: dict[tuple[object, ...], list[int]] = {}
    for number, run in enumerate(runs):
        if run.moves and run.species and len(run) > 1:
            campaigns.setdefault((run.campaign, run.species, run.pbc), []).append(number)
    beginning: dict[tuple[object, ...], dict[int, list[int]]] = {}
    for number in waiting:
        run = runs[number]
        if run.species:
            starts = beginning.setdefault((run.campaign, run.species, run.pbc), {})
            starts.setdefault(shared.first(number), []).append(number)
    for key, starts in beginning.items():
        if ended := campaigns.get(key):
            yield from _Campaign(runs, ended, list(starts.values())).candidates()


class _Campaign:
    """Runs of the same atoms in sibling folders: where they end, and where others begin.

    Args:
        runs: all runs.
        ended: numbers of runs of two or more configurations.
        starts: numbers of runs that begin with the same geometry, set by set.
    """

    def __init__(self, runs: Sequence[Run], ended: list[int], starts: list[list[int]]) -> None:
        self.runs, self.starts = runs, starts
        self.ended = np.array(ended, np.int64)
        self.moves = np.array([runs[number].moves == "md" for number in ended])
        pbc = runs[ended[0]].pbc
        first = _ends(runs, [numbers[0] for numbers in starts], 0, pbc)
        self.last = _ends(runs, ended, -1, pbc)
        step = _steps(runs, ended, self.last, _ends(runs, ended, -2, pbc))
        self.length = rms(step)
        self.tolerance = np.minimum(RESIDUAL * self.length, MOST_RESIDUAL)[self.moves]
        following = self.last._replace(fractional=self.last.fractional + step @ np.linalg.inv(self.last.lattice))
        self.all = joined([first, self.last, following.at(np.flatnonzero(self.moves))])

    def candidates(self) -> Iterator[tuple[int, Candidate]]:
        """Pairs of a run and one that it may continue."""
        n_starts, n_ended = len(self.starts), len(self.ended)
        radius = max(PRINTED, float(self.tolerance.max(initial=0.0))) * self.all.fractional.shape[1] ** 0.5
        grid = Grid(self.all, radius)
        for start, near in grid.pairs(range(n_starts)):
            target = near - n_starts
            stands, follows = (target >= 0) & (target < n_ended), target >= n_ended
            yield from self._standing(start[stands], target[stands])
            yield from self._moving(start[follows], target[follows] - n_ended)

    def _moving(self, start: I64, which: I64) -> Iterator[tuple[int, Candidate]]:
        """Dynamics whose last step leads on to the geometry that others start from."""
        following, begins = self.all.at(len(self.starts) + len(self.ended) + which), self.all.at(start)
        residual = rms(following.steps_to(begins))
        fits = (residual <= self.tolerance[which]) & _same_cell(following, begins, SAME_CELL)
        ended = self.ended[self.moves][which[fits]]
        for begun, earlier in zip(start[fits].tolist(), ended.tolist(), strict=True):
            because = f"its first positions are those of {self.runs[earlier].path} one step on"
            for number in self.starts[begun]:
                if number != earlier and self.runs[number].moves == "md":
                    yield number, Candidate(earlier, 0, because)

    def _standing(self, start: I64, which: I64) -> Iterator[tuple[int, Candidate]]:
        """Runs whose last geometry is the one that others start from, as printed, and whose first one is not."""
        last, begins = self.last.at(which), self.all.at(start)
        away = np.linalg.norm(last.steps_to(begins), axis=-1).max(axis=-1, initial=0.0)
        bound = np.where(self.moves[which], np.minimum(PRINTED, STANDING * self.length[which]), PRINTED)
        fits = (away <= bound) & _same_cell(last, begins, PRINTED)
        for begun, earlier in zip(start[fits].tolist(), self.ended[which[fits]].tolist(), strict=True):
            one = self.runs[earlier]
            started = _ends(self.runs, [earlier], 0, one.pbc).steps_to(self.all.at(np.array([begun])))
            if np.linalg.norm(started, axis=-1).max() <= PRINTED:
                continue  # both start from one structure
            because = f"it begins with the last configuration of {one.path} as printed, at the same energy"
            for number in self.starts[begun]:
                difference = abs(one.energies[-1] - self.runs[number].energies[0])
                if number != earlier and difference <= SAME_ENERGY * one.n_atoms:
                    yield number, Candidate(earlier, 1, because)


def _ends(runs: Sequence[Run], numbers: Sequence[int], end: int, pbc: Sequence[int]) -> Geometries:
    """One end of each of some runs."""
    places = [runs[number].geometry(end) for number in numbers]
    return geometries([positions for positions, _ in places], [cell for _, cell in places], pbc)


def _same_cell(some: Geometries, others: Geometries, part: float) -> NDArray[np.bool_]:
    """Whether cells differ by less than a part of the longest vector."""
    longest = np.linalg.norm(others.lattice, axis=-1).max(axis=-1)
    same: NDArray[np.bool_] = np.abs(some.lattice - others.lattice).max(axis=(1, 2)) <= part * longest
    return same


def _steps(runs: Sequence[Run], numbers: Sequence[int], last: Geometries, before: Geometries) -> F64:
    """The displacement that the next step of each run is expected to make, (n, n_atoms, 3) [angstrom].

    Velocities give its direction, and the last displacement the time step; where they contradict it, it counts alone.
    """
    steps = wrapped(last.fractional - before.fractional, last.periodic) @ last.lattice
    for place, number in enumerate(numbers):
        ends = runs[number].ends
        if "velocities" not in ends:
            continue
        velocities = ends.get("velocities").reshape(len(ends), -1, 3)[-1]
        squared = float((velocities**2).sum())
        time = float((velocities * steps[place]).sum()) / squared if squared > 0 else np.nan
        by_velocity = time * velocities
        if rms(by_velocity - steps[place]) <= RESIDUAL * rms(steps[place]):
            steps[place] = by_velocity
    return steps
