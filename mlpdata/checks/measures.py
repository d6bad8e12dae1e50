"""Measures: one number a configuration, NaN where it says nothing; what gates and tables are made of.

All are array operations on a block. Those on forces judge physical forces only: projected, biased or constrained
ones need not sum to zero.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mlpdata.checks.energy_work import Steps
from mlpdata.checks.noise import Noise, noise
from mlpdata.frames import Frames
from mlpdata.neighbors import CLOSE, RADII, closest_pairs
from mlpdata.schema.calculation import EnergyKind, ForcesAre
from mlpdata.schema.method import Method
from mlpdata.schema.params import CheckParams
from mlpdata.schema.properties import NO, UNKNOWN, YES
from mlpdata.units import F64

Mask = NDArray[np.bool_]

TURNED_SHARE = 0.1
"""Part of the torque of random forces that forces in other axes show at least, and of which their sum is at most."""
CONSISTENT = {"free", "total"}
"""Kinds of energy that forces derive from."""
MIN_CELL = 1e-4
"""Smallest volume of a periodic cell whose edges are scaled to length one; flatter ones have no neighbours."""


class Circumstances(NamedTuple):
    """What a run says of all its configurations."""

    forces_are: ForcesAre = "physical"
    energy_kind: EnergyKind = "total"
    code: str = ""
    """Name in `Method`; it decides how much noise is sound."""
    acted_on: bool = False
    """Whether a solvent, a field or point charges take up force and torque."""

    @classmethod
    def of(cls, method: Method, forces_are: ForcesAre, energy_kind: EnergyKind) -> Circumstances:
        """The circumstances of a run, from what its output says."""
        acted_on = method.solvent not in {None, "none"} or bool(method.external)
        return cls(forces_are, energy_kind, method.code, acted_on)

    @property
    def work_changes_energy(self) -> bool:
        """Whether the energy is the one that the forces derive from; atoms whose forces were zeroed do not move."""
        return self.forces_are in {"physical", "zeroed_on_fixed"} and self.energy_kind in CONSISTENT


class Facts(NamedTuple):
    """What a measure may ask beyond the configurations themselves."""

    params: CheckParams
    circumstances: Circumstances
    steps: Steps
    """The steps between adjacent configurations of the block whose energies work can explain."""

    @property
    def noise(self) -> Noise:
        """What sound labels of the code stray by."""
        return noise(self.circumstances.code, self.circumstances.acted_on)

    @property
    def net_force(self) -> float:
        """Bound of the net force an atom [eV/angstrom]."""
        return self.params.net_force or self.noise.force


def _reduce(ufunc: np.ufunc, per_atom: F64, frames: Frames, empty: float) -> F64:
    """`per_atom` reduced over the atoms of each configuration; `empty` where there is none."""
    reduced = np.full((len(frames), *per_atom.shape[1:]), empty)
    filled = frames.n_atoms > 0  # for an empty range reduceat gives the next element
    if filled.any():
        reduced[filled] = ufunc.reduceat(per_atom, frames.atom_start[:-1][filled], axis=0)
    return reduced


def _sum(per_atom: F64, frames: Frames) -> F64:
    return _reduce(np.add, per_atom, frames, 0.0)


def _any(per_atom: Mask, frames: Frames) -> Mask:
    return _sum(per_atom.astype(np.float64), frames) > 0.5


def _where(applies: Mask, value: F64) -> F64:
    return np.where(applies, value, np.nan)


def _free_forces(frames: Frames, facts: Facts) -> Mask:
    """Configurations whose forces ought to sum to zero: physical, nothing acts from outside, no atom is held.

    A ghost atom has basis functions and a force, but is not in the table of atoms of every code.
    """
    if facts.circumstances.forces_are != "physical" or facts.circumstances.acted_on:
        return np.zeros(len(frames), bool)
    held = (frames.get("force_mask") == NO) | (frames.get("fixed") == YES).any(axis=1) | (frames.atomic_numbers == 0)
    return ~_any(held, frames)


def net_force(frames: Frames, facts: Facts) -> F64:
    """Length of the sum of the forces an atom [eV/angstrom]."""
    total = np.linalg.norm(_sum(frames.forces, frames), axis=1)
    return _where(_free_forces(frames, facts), total / np.maximum(frames.n_atoms, 1))


def torque(frames: Frames, facts: Facts) -> F64:
    """Torque of a molecule an atom, over its radius of gyration [eV/angstrom]."""
    applies = _free_forces(frames, facts) & (frames.pbc == 0).all(axis=1) & (frames.n_atoms > 1)
    if not applies.any():
        return np.full(len(frames), np.nan)
    n_atoms = np.maximum(frames.n_atoms, 1)
    centre = _sum(frames.positions, frames) / n_atoms[:, None]
    arms = frames.positions - centre[frames.configuration_of_atom]
    radius = np.sqrt(_sum((arms**2).sum(axis=1), frames) / n_atoms)
    turn = np.linalg.norm(_sum(np.cross(arms, frames.forces), frames), axis=1)
    applies &= radius > 0
    return _where(applies, turn / n_atoms / np.where(applies, radius, 1.0))


def turned_torque(frames: Frames, facts: Facts) -> F64:
    """The torque where nothing but another orientation of the forces explains it [eV/angstrom].

    Forces that sum to zero and yet turn a free molecule as much as random ones would are given in other axes than the
    positions (pitfall G1). What acts from outside pulls as well; images of a molecule in a cell may turn it.
    """
    value = torque(frames, facts)
    if np.isnan(value).all():
        return value
    # arms and forces that do not know of each other add up as chance does, to 1 / sqrt(n) of the force an atom
    random = np.sqrt(_sum((frames.forces**2).sum(axis=1), frames)) / np.maximum(frames.n_atoms, 1)
    turned = (value > TURNED_SHARE * random) & (net_force(frames, facts) < TURNED_SHARE * value)
    return _where(turned & np.isnan(frames.cell[:, 0, 0]), value)


def work_error(frames: Frames, facts: Facts) -> F64:
    """Change of the energy that the work of a step leaves unexplained, over what trapezoid and noise explain."""
    tolerance = facts.steps.tolerance(frames.n_atoms, energy=facts.noise.energy, force=facts.noise.force)
    value = np.full(len(frames), np.nan)
    value[facts.steps.after] = facts.steps.error / tolerance
    return value


def projected_forces(frames: Frames, facts: Facts) -> F64:
    """1 where there are forces of which a part was taken away, as on images of a band; 0 where they are whole."""
    return _where(_have_forces(frames), np.full(len(frames), float(facts.circumstances.forces_are == "projected")))


def learned_labels(frames: Frames, facts: Facts) -> F64:
    """1 where a machine-learned potential gave the labels (pitfall V11), 0 where electrons did."""
    learned = "ml" in {facts.circumstances.forces_are, facts.circumstances.energy_kind}
    return _where(_have_forces(frames) | ~np.isnan(frames.energy), np.full(len(frames), float(learned)))


def _have_forces(frames: Frames) -> Mask:
    return _any(~np.isnan(frames.forces[:, 0]), frames)


def largest_force(frames: Frames, facts: Facts) -> F64:
    """Largest force on an atom [eV/angstrom]."""
    largest = _reduce(np.maximum, np.linalg.norm(frames.forces, axis=1), frames, np.nan)
    return largest if facts.circumstances.forces_are != "absent" else np.full(len(frames), np.nan)


def asymmetry(frames: Frames, _: Facts) -> F64:
    """Largest difference between the stress and its transpose [eV/angstrom^3]."""
    value: F64 = np.abs(frames.stress - frames.stress.transpose(0, 2, 1)).max(axis=(1, 2))
    return value


def cell_volume(frames: Frames, _: Facts) -> F64:
    """Volume (area, length) that the periodic vectors span when scaled to length one; 0 where one is missing."""
    axes = frames.pbc.astype(bool)
    vectors = np.where(axes[:, :, None], np.nan_to_num(frames.cell), 0.0)
    length = np.linalg.norm(vectors, axis=2, keepdims=True)
    unit = vectors / np.where(length > 0, length, 1.0)
    gram = unit @ unit.transpose(0, 2, 1) + np.eye(3) * ~axes[:, :, None]
    return _where(np.any(axes, axis=1), np.sqrt(np.maximum(np.linalg.det(gram), 0.0)))


def closest_pair(frames: Frames, facts: Facts) -> F64:
    """Smallest distance over the sum of covalent radii; infinite where no pair is within 2.5 angstrom or the bound."""
    value = np.full(len(frames), np.nan)
    searched = ~(cell_volume(frames, facts) < MIN_CELL)
    block = frames if searched.all() else frames.select(searched)  # the block itself remembers what was found
    reach = facts.params.min_distance * 2 * float(RADII[block.atomic_numbers].max(initial=0.0))
    found = block.closest if reach <= CLOSE else closest_pairs(block, reach)
    value[searched] = np.where(np.isnan(found.ratio), np.inf, found.ratio)
    return value


def not_converged(frames: Frames, _: Facts) -> F64:
    """1 where the output says that the self-consistency loop did not converge, 0 where it did."""
    flag = frames.get("scf_converged")
    return _where(flag != UNKNOWN, (flag == NO).astype(np.float64))


def spin_parity(frames: Frames, _: Facts) -> F64:
    """1 where electrons and multiplicity of a molecule do not fit: an even number of electrons has odd 2S + 1.

    Effective core potentials take away closed shells, an even number of electrons, and change nothing.
    """
    multiplicity, charge = frames.get("multiplicity"), frames.get("charge")
    whole = np.abs(charge - np.round(charge)) < 1e-6
    applies: Mask = (multiplicity > 0) & whole & (frames.pbc == 0).all(axis=1)
    electrons = _sum(frames.atomic_numbers.astype(np.float64), frames) - np.where(applies, np.round(charge), 0.0)
    return _where(applies, ((electrons + multiplicity) % 2 == 0).astype(np.float64))


def missing_forces(frames: Frames, facts: Facts) -> F64:
    """1 where there is an energy without forces on every atom, 0 where both are there."""
    absent = _any(np.isnan(frames.forces[:, 0]), frames) | np.array(facts.circumstances.forces_are == "absent")
    return _where(~np.isnan(frames.energy), absent.astype(np.float64))


def missing_energy(frames: Frames, _: Facts) -> F64:
    """1 where there are forces without an energy, 0 where both are there."""
    return _where(_have_forces(frames), np.isnan(frames.energy).astype(np.float64))


def inconsistent_energy(frames: Frames, facts: Facts) -> F64:
    """1 where the energy is not known to be the one that forces derive from, or is an enthalpy (pitfall V3)."""
    wrong = facts.circumstances.energy_kind not in CONSISTENT
    return _where(~np.isnan(frames.energy), np.full(len(frames), float(wrong)))
