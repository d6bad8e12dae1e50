"""Variations: what was done to one structure to get several, as arrays of cells and of displacements tell it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mlpdata.relations.nearness import FLAT, rms
from mlpdata.relations.shared import I64
from mlpdata.schema.calculation import Kind
from mlpdata.units import F64

Mask = NDArray[np.bool_]

FEWEST = 3
"""Different geometries that make a series: two of anything are alike in something."""
SAME_FRACTIONAL = 1e-3
"""Fractional coordinates of strained copies agree within this (root mean square over atoms)."""
STRAIN = (1e-4, 0.15)
"""Smallest and largest strain."""
SAME_CELL = 1e-3
"""Cells whose vectors agree within this are one cell, printed twice [angstrom]."""
STILL = 1e-3
"""An atom within this of its place is not displaced [angstrom]."""
FEW, SMALL = 4, 0.1
"""Displaced atoms of one phonon calculation at most, and how far at most [angstrom]."""
RATTLED = (0.005, 0.5)
"""Smallest and largest root mean square displacement of a rattled copy [angstrom]."""
ALL_MOVE = 0.5
"""Half of the atoms of rattled copies move by at least this part of what all move by (root mean square over copies)."""
IN_ORDER = 0.5
"""Squared distance of neighbours by name, as a part of what independent copies have, below which they are a path."""
NEAR = 0.02
"""Copies nearer to their parent are nearly the same (root mean square displacement) [angstrom]."""
NEAR_STRAIN = NEAR / 2.5
"""The strain that changes the distance of neighbours, 2.5 angstrom, by as much; whatever the size of the cell."""


class Variation(NamedTuple):
    """Several structures made from one."""

    kind: Kind
    """strained, phonon or random."""
    parent: int | None
    """The one that is not distorted; None where it is not among them."""
    told: dict[int, str]
    """By member: what was done to `{parent}`, by how much. The parent is none of them."""
    near: set[int]
    """Members that are nearly the parent."""


def strained(lattice: F64, energies: F64, numbers: I64) -> Iterator[Variation]:
    """One variation of structures with equal fractional coordinates, if their cells are strained.

    The parent is the lowest in energy, or where energies are missing the mean.

    Args:
        lattice: rows are lattice vectors, shape (n, 3, 3) [angstrom].
        energies: shape (n,) [eV].
        numbers: what to call the structures, shape (n,).
    """
    known = not np.isnan(energies).any()
    lowest = int(np.argmin(energies)) if known else None
    reference = lattice.mean(axis=0) if lowest is None else lattice[lowest]
    if abs(np.linalg.det(reference)) < FLAT:
        return  # the mean of cells that are turned against each other
    deformation = np.linalg.inv(reference) @ lattice
    metric = deformation @ deformation.swapaxes(1, 2)  # free of the cell's rotation
    strain = np.abs(np.sqrt(np.abs(np.linalg.eigvalsh(metric))) - 1).max(axis=1)
    members = (strain > STRAIN[0]) & (strain <= STRAIN[1])
    if members.sum() + known >= FEWEST:
        told = {
            int(numbers[one]): f"its cell is strained by {100 * strain[one]:.1g} % from that of {{parent}}"
            for one in np.flatnonzero(members)
        }
        near = set(numbers[members & (strain < NEAR_STRAIN)].tolist())
        yield Variation("strained", None if lowest is None else int(numbers[lowest]), told, near)


def displaced(displacements: F64, energies: F64, relaxed: Mask, numbers: I64) -> Iterator[Variation]:
    """The variations of structures in one cell: phonon displacements, and of what is left, rattled copies.

    Args:
        displacements: from any one of them, shape (n, n_atoms, 3) [angstrom].
        energies: shape (n,) [eV].
        relaxed: whether no force acts, shape (n,).
        numbers: what to call the structures, shape (n,), in the order of their names.
    """
    left = np.ones(len(displacements), bool)
    centres = [np.median(displacements, axis=0)]
    if not np.isnan(energies).all():
        centres.append(displacements[np.nanargmin(energies)])
    for centre in centres:
        for found, members in _by_atom(displacements - centre, numbers):
            yield found
            left &= ~members
        if not left.all():
            break
    if left.sum() >= FEWEST:
        yield from _rattled(displacements[left], relaxed[left], numbers[left])


def _by_atom(displacements: F64, numbers: I64) -> Iterator[tuple[Variation, Mask]]:
    """One variation in which each structure has one atom, or a few, displaced by one small length."""
    lengths = np.linalg.norm(displacements, axis=-1)
    moved = lengths > STILL
    n_moved, longest = moved.sum(axis=1), lengths.max(axis=1)
    members = (n_moved > 0) & (n_moved <= min(FEW, lengths.shape[1] // 2)) & (longest <= SMALL)
    if not members.any():
        return
    usual = np.median(longest[members])
    members &= ((np.abs(lengths - usual) <= STILL) | ~moved).all(axis=1)
    still = np.flatnonzero(n_moved == 0)
    if members.sum() >= 2 and members.sum() + len(still) >= FEWEST:
        told = {
            int(numbers[one]): f"{_atoms(int(n_moved[one]))} displaced by {usual:.1g} angstrom from {{parent}}"
            for one in np.flatnonzero(members)
        }
        near = set(numbers[members & (rms(displacements) < NEAR)].tolist())
        yield Variation("phonon", int(numbers[still[0]]) if len(still) else None, told, near), members


def _atoms(n: int) -> str:
    return "one atom is" if n == 1 else f"{n} atoms are"


def _rattled(displacements: F64, relaxed: Mask, numbers: I64) -> Iterator[Variation]:
    """One variation in which each structure has all atoms displaced, and none follows from the one before it.

    Relaxed structures are no rattled ones, however alike they are; the nearest to the mean is the parent. Where none is
    known to be relaxed, the parent of n structures is off their mean by about 1 / sqrt(n) of what the others are: the
    bound lies halfway, as ratios go.
    """
    away = rms(displacements - displacements.mean(axis=0))
    middle = int(np.argmin(np.where(relaxed | ~relaxed.any(), away, np.inf)))
    near_mean = 1.0 if relaxed.any() else len(away) ** -0.25
    has_parent = bool(away[middle] <= near_mean * np.median(away))
    moved = displacements - (displacements[middle] if has_parent else displacements.mean(axis=0))
    size = rms(moved)
    members = (size >= RATTLED[0]) & (size <= RATTLED[1]) & ~relaxed
    if members.sum() < FEWEST or not _all_move(moved[members]) or _is_path(moved[members]):
        return
    told = {
        int(numbers[one]): f"all atoms are displaced by {size[one]:.1g} angstrom (RMS) from {{parent}}"
        for one in np.flatnonzero(members)
    }
    near = set(numbers[members & (size < NEAR)].tolist())
    yield Variation("random", int(numbers[middle]) if has_parent else None, told, near)


def _all_move(displacements: F64) -> bool:
    """Whether all atoms move alike, not some of them from place to place."""
    by_atom = np.sqrt((displacements**2).sum(axis=-1).mean(axis=0))
    return bool(np.median(by_atom) >= ALL_MOVE * np.sqrt((by_atom**2).mean()))


def _is_path(displacements: F64) -> bool:
    """Whether neighbours by name are nearer to each other than independent copies are, as steps in time are."""
    between = (rms(np.diff(displacements, axis=0)) ** 2).mean()
    return bool(between < IN_ORDER * 2 * (rms(displacements) ** 2).mean())
