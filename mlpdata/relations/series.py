"""Series: single points that vary one structure, strained, displaced atom by atom, or rattled.

They are looked for among single points of the same atoms, theory and settings in one folder or in sibling folders.
What is varied is the parent: a member that is not distorted, or the mean of all, which nobody calculated.

Members of a series share a parent, not a geometry. A model that has seen one of two copies that differ by less than
0.02 angstrom, a fifth of a thermal amplitude at 300 K, knows the other: those so near their parent go in one group with
it. Others differ as snapshots of a trajectory do that are many steps apart, and stay groups of their own, or no set
of random structures could be split at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mlpdata.relations.likeness import Likeness
from mlpdata.relations.nearness import Geometries, clusters, geometries, wrapped
from mlpdata.relations.runs import Run
from mlpdata.relations.shared import Shared
from mlpdata.relations.variations import (
    FEWEST,
    RATTLED,
    SAME_CELL,
    SAME_FRACTIONAL,
    Mask,
    Variation,
    displaced,
    strained,
)
from mlpdata.units import F64


@dataclass(frozen=True)
class Series:
    """Single points that vary one parent."""

    variation: Variation
    """What was done to the parent, by how much; members are numbers of runs."""
    parent: str
    """What is varied, in words."""

    def because(self, member: int) -> str:
        """What is known of one of the members."""
        return self.variation.told[member].format(parent=self.parent)

    def near_pairs(self) -> Iterator[tuple[int, int]]:
        """Runs that are nearly the same: the parent, or the first near member, with each near one."""
        near = sorted(self.variation.near)
        first = self.variation.parent if self.variation.parent is not None else min(near, default=0)
        return ((first, other) for other in near if other != first)


def find_series(runs: Sequence[Run], shared: Shared, alike: Likeness) -> Iterator[Series]:
    """The series among runs that are in natural path order."""
    campaigns: dict[tuple[object, ...], list[int]] = {}
    for number, run in enumerate(runs):
        if len(run) == 1 and run.calculation.run_kind in ("single_point", "unknown") and run.species:
            campaigns.setdefault((run.campaign, run.species, run.pbc), []).append(number)
    for campaign in campaigns.values():
        surfaces: dict[tuple[object, ...], dict[int, list[int]]] = {}
        for number in campaign if len(campaign) >= FEWEST else ():
            copies = surfaces.setdefault(alike.of(number), {})
            copies.setdefault(shared.first(number), []).append(number)
        for copies in surfaces.values():
            if len(copies) >= FEWEST:
                yield from _of_one_surface(runs, list(copies.values()))


def _of_one_surface(runs: Sequence[Run], copies: list[list[int]]) -> Iterator[Series]:
    """The series among comparable single points; of runs of one geometry the first stands for all."""
    first = [numbers[0] for numbers in copies]
    places = [runs[number].geometry(0) for number in first]
    energies = np.array([runs[number].energies[0] for number in first])
    relaxed = np.array([runs[number].relaxed[0] for number in first])
    some = geometries([one for one, _ in places], [cell for _, cell in places], runs[first[0]].pbc)
    for found in _variations(some, energies, relaxed):
        numbers = {number: told for member, told in found.told.items() for number in copies[member]}
        near = {number for member in found.near for number in copies[member]}
        parent = None if found.parent is None else first[found.parent]
        yield Series(Variation(found.kind, parent, numbers, near), _parent(runs, parent, list(numbers)))


def _variations(some: Geometries, energies: F64, relaxed: Mask) -> Iterator[Variation]:
    """The variations among geometries; what is a strained copy is not looked at again."""
    free = np.ones(len(energies), bool)
    unit = np.broadcast_to(np.eye(3), some.lattice.shape)
    if some.periodic.all():
        relative = wrapped(some.fractional - some.fractional[:, :1], some.periodic)
        for members in clusters(Geometries(relative, unit, some.periodic), SAME_FRACTIONAL, FEWEST):
            for found in strained(some.lattice[members], energies[members], members):
                free[list(found.told)] = False
                yield found
    left = np.flatnonzero(free)
    cells = Geometries(some.lattice[left], unit[left], np.zeros(3, bool))
    for of_one_cell in clusters(cells, SAME_CELL, FEWEST):
        alike = left[of_one_cell]
        for members in clusters(some.at(alike), 2 * RATTLED[1], FEWEST):
            near = alike[members]
            displacements = some.at(near[:1]).steps_to(some.at(near))
            yield from displaced(displacements, energies[near], relaxed[near], near)


def _parent(runs: Sequence[Run], parent: int | None, members: Sequence[int]) -> str:
    """The parent of a series in words."""
    if parent is not None:
        return runs[parent].path
    folders = {runs[number].folder for number in members}
    place = folders.pop() if len(folders) == 1 else runs[members[0]].campaign
    return f"the mean of its series in {place or 'the top folder'}"
