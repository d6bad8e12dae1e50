"""Watch: whether a run of molecular dynamics is still physical."""

from __future__ import annotations

import ase
import numpy as np

from mlpdata.elements import COVALENT_RADII, SYMBOLS
from mlpdata.neighbors import neighbor_list
from mlpdata.units import BOLTZMANN, F64

BONDED = 1.25
"""Atoms closer than this many sums of covalent radii are bonded at the start."""
COLLAPSED = 0.5
"""Atoms closer than this many sums of covalent radii have collapsed."""
UNKNOWN_RADIUS = 1.5
"""Stands for a covalent radius that nobody has measured [angstrom]."""
EXPLODED = 10.0
"""A kinetic temperature of this many set points is an explosion."""
WINDOW = 100.0
"""Time over which lengths of bonds are averaged, so that one wide vibration is no failure [fs]."""


def kinetic_temperature(atoms: ase.Atoms) -> float:
    """Temperature of 3n - 3 degrees of freedom, the centre of mass being at rest [K]."""
    return float(2 * atoms.get_kinetic_energy() / ((3 * len(atoms) - 3) * BOLTZMANN))


class Watch:
    """Looks at each step for an explosion, and every `WINDOW` for broken bonds and collapse.

    A bond is broken when its mean length over a window is not that of the first window.

    Args:
        atoms: at the start, which says what is bonded.
        temperature: set point [K].
        timestep: [fs].
        max_bond_change: largest change of a mean length [angstrom]; None where atoms may migrate.
    """

    def __init__(self, atoms: ase.Atoms, temperature: float, timestep: float, max_bond_change: float | None) -> None:
        self._too_hot = EXPLODED * temperature
        self._max_bond_change = np.inf if max_bond_change is None else max_bond_change
        self._window = max(1, round(WINDOW / timestep))
        self._centre, self._neighbour, self._offset, _ = _closer_than(atoms, BONDED)
        self._lengths = np.zeros(len(self._centre))
        self._first: F64 | None = None
        self._seen = 0

    def fault(self, atoms: ase.Atoms) -> str | None:
        """What is wrong with `atoms` one step later; None if nothing is."""
        if not np.isfinite(atoms.get_potential_energy()):
            return "the potential energy is not finite"
        now = kinetic_temperature(atoms)
        if not now < self._too_hot:
            return f"the kinetic temperature is {now:.4g} K, {EXPLODED:g} times the set point or more"
        self._lengths += self._bond_lengths(atoms.positions)
        self._seen += 1
        return self._fault_of_window(atoms) if self._seen % self._window == 0 else None

    def _fault_of_window(self, atoms: ase.Atoms) -> str | None:
        mean, self._lengths = self._lengths / self._window, np.zeros_like(self._lengths)
        self._first = mean if self._first is None else self._first
        centre, neighbour, _, distance = _closer_than(atoms, COLLAPSED)
        if len(distance):
            closest = int(distance.argmin())
            return f"{_pair(atoms, centre[closest], neighbour[closest])} are {distance[closest]:.3f} angstrom apart"
        change = np.abs(mean - self._first)
        if change.max(initial=0.0) > self._max_bond_change:
            worst = int(change.argmax())
            pair = _pair(atoms, self._centre[worst], self._neighbour[worst])
            return f"the bond of {pair} went from {self._first[worst]:.2f} to {mean[worst]:.2f} angstrom"
        return None

    def _bond_lengths(self, positions: F64) -> F64:
        """Lengths of what was bonded at the start; positions are not wrapped, so the images stay the same."""
        lengths: F64 = np.linalg.norm(positions[self._neighbour] - positions[self._centre] + self._offset, axis=1)
        return lengths


def _closer_than(atoms: ase.Atoms, radii: float) -> tuple[F64, F64, F64, F64]:
    """Pairs closer than `radii` sums of their covalent radii: centre, neighbour, offset of its image, distance."""
    radius = np.nan_to_num(COVALENT_RADII, nan=UNKNOWN_RADIUS)[atoms.numbers]
    cutoff = 2 * radii * radius.max()
    centre, neighbour, shift = neighbor_list(atoms.positions, atoms.cell.array, atoms.pbc, cutoff)
    offset = shift @ atoms.cell.array
    distance = np.linalg.norm(atoms.positions[neighbour] - atoms.positions[centre] + offset, axis=1)
    close = distance < radii * (radius[centre] + radius[neighbour])
    return centre[close], neighbour[close], offset[close], distance[close]


def _pair(atoms: ase.Atoms, i: int, j: int) -> str:
    return f"{SYMBOLS[atoms.numbers[i]]} {i} and {SYMBOLS[atoms.numbers[j]]} {j}"
