"""Run and Relation: what the relations of runs are worked out from, and what is said of each run in the end."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from mlpdata.elements import SYMBOLS, hill
from mlpdata.frames import Frames
from mlpdata.schema.calculation import Calculation, Kind
from mlpdata.units import F64

WORDS = {
    "kind": ("kind",),
    "temperature_target": ("temperature_target", "temperature"),
    "group": ("group",),
    "system": ("system",),
    "continues": ("continues",),
}
"""Names under which users declare the fields of a relation."""
MOVES = {"md": "md", "relax": "relax", "vc-relax": "relax"}
"""Kinds of run whose configurations follow from each other; only those of the same value continue each other."""
RELAXED = 0.05
"""Largest force on an atom of a relaxed configuration [eV/angstrom]."""
UNSTRESSED = 1 / 160.21766
"""Largest element of the stress of a relaxed cell, 1 GPa [eV/angstrom^3]."""
_DIGITS = re.compile("([0-9]+)")


@dataclass(frozen=True, eq=False)
class Run:
    """One calculation with what its configurations say of its neighbours."""

    calculation: Calculation
    """As stored, with what users declared; ids are distinct among the runs that are looked at together."""
    geometry_ids: NDArray[np.uint8]
    """In order, shape (n, 16)."""
    energies: F64
    """Shape (n,) [eV]; NaN where absent."""
    ends: Frames
    """The first, the last but one and the last configuration, 1 to 3 as there are; labels where there are any."""
    temperature_kinetic: F64
    """From velocities, shape (n,) [K]; NaN where unknown."""

    def __len__(self) -> int:
        return len(self.geometry_ids)

    @property
    def path(self) -> str:
        """Root-relative path of its first source."""
        return self.calculation.path

    @cached_property
    def folder(self) -> str:
        """Where it lies; the same folder inside an archive is a folder too."""
        return self.path.rpartition("/")[0]

    @cached_property
    def campaign(self) -> str:
        """The folder above its own: what sibling folders share."""
        return self.folder.rpartition("/")[0]

    @cached_property
    def order(self) -> tuple[object, ...]:
        """Its place in natural path order: `run2` before `run10`, folder by folder."""
        return (natural(self.path), self.path, self.calculation.id)

    @cached_property
    def species(self) -> bytes:
        """Z of each atom, in order; empty where configurations differ, or where there are none."""
        numbers, n_atoms = self.ends.atomic_numbers, self.ends.n_atoms
        if not len(n_atoms) or (n_atoms != n_atoms[0]).any():
            return b""
        rows = numbers.reshape(len(n_atoms), n_atoms[0])
        return rows[0].tobytes() if (rows == rows[0]).all() else b""

    @cached_property
    def n_atoms(self) -> int:
        """Atoms of each configuration; 0 where they differ."""
        return len(self.species)

    @cached_property
    def pbc(self) -> tuple[int, ...]:
        """1 along periodic directions of the first configuration."""
        return tuple(self.ends.pbc[0].tolist()) if len(self.ends) else ()

    @property
    def moves(self) -> str:
        """md, relax, or empty where no configuration follows from the one before."""
        return MOVES.get(self.calculation.run_kind, "")

    def geometry(self, end: int) -> tuple[F64, F64]:
        """Positions (n_atoms, 3) and cell (3, 3) of one of its ends [angstrom]; only where all have the same atoms."""
        return self.ends.positions.reshape(len(self.ends), -1, 3)[end], self.ends.cell[end]

    def declared(self, name: str) -> bool:
        """Whether a user fixed this field."""
        return any(word in self.calculation.declared for word in WORDS[name])

    @cached_property
    def relaxed(self) -> NDArray[np.bool_]:
        """Whether the forces on all that may move are known and vanish, shape (number of ends,)."""
        forces = np.where(self.ends.get("fixed") == 1, 0.0, self.ends.forces)
        still = np.linalg.norm(forces, axis=1) <= RELAXED
        return np.array([still[a:b].all() for a, b in pairwise(self.ends.atom_start)], bool)

    @cached_property
    def at_rest(self) -> NDArray[np.bool_]:
        """Whether nothing drives the atoms, nor the cell where it may change, shape (number of ends,).

        By symmetry no force acts on the atoms of many a strained cell: unless the run held the cell, or there is none,
        it must be free of stress as well.
        """
        if self.calculation.run_kind == "relax" or not any(self.pbc):
            return self.relaxed
        stress = np.abs(self.ends.stress).max(axis=(1, 2))
        at_rest: NDArray[np.bool_] = self.relaxed & (stress <= UNSTRESSED)
        return at_rest

    @cached_property
    def formula(self) -> str:
        """Hill's formula, with the periodic directions where there are any: `Si64 TTT`, `C2H6O`."""
        numbers, counts = np.unique(np.frombuffer(self.species, np.uint8), return_counts=True)
        formula = hill({SYMBOLS[z]: int(count) for z, count in zip(numbers, counts, strict=True) if z < len(SYMBOLS)})
        return f"{formula} {''.join('FT'[one] for one in self.pbc)}" if any(self.pbc) else formula


@dataclass(frozen=True)
class Relation:
    """What is said of one run, and what it rests on."""

    continues: str
    """Path of the run whose trajectory it continues; empty where it begins one."""
    skip: int
    """1 where its first configuration is shown by the run that it continues, else 0."""
    group: str
    """Configurations of one group never straddle a split."""
    system: str
    """What was calculated."""
    kind: Kind
    """What the configurations are there for."""
    temperature_target: float | None
    """Set point of the thermostat [K]."""
    rests_on: dict[str, str] = field(default_factory=dict)
    """By field: one sentence; a field of which nothing is known has none."""


def natural(path: str) -> tuple[tuple[object, ...], ...]:
    """A key that sorts paths as people number them: numbers by value, folders before what is in them."""
    return tuple(
        tuple(
            (len(word.lstrip("0")), word.lstrip("0")) if place % 2 else word
            for place, word in enumerate(_DIGITS.split(part))
        )
        for part in path.split("/")
    )
