"""Measures: one number a configuration, NaN where it says nothing; what gates and tables are made of.

All are array operations on a block. Those on forces judge physical forces only: projected, biased or constrained
ones need not sum to zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

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


@dataclass(frozen=True)
class Block:
    """A block of configurations, with what its run says of it; what several measures ask for is worked out once."""

    frames: Frames
    params: CheckParams
    circumstances: Circumstances
    steps: Steps
    """The steps between adjacent configurations of the block whose energies work can explain."""

    def __len__(self) -> int:
        return len(self.frames)

    @cached_property
    def noise(self) -> Noise:
        """What sound labels of the code stray by."""
        return noise(self.circumstances.code, self.circumstances.acted_on)

    @property
    def most_net_force(self) -> float:
        """Bound of the net force an atom [eV/angstrom]."""
        return self.params.net_force or self.noise.force

    @cached_property
    def forces(self) -> F64:
        """Forces [eV/angstrom], shape (n, 3); NaN where absent."""
        return self.frames.forces

    @cached_property
    def has_energy(self) -> Mask:
        """Configurations with an energy."""
        return ~np.isnan(self.frames.energy)

    @cached_property
    def has_forces(self) -> Mask:
        """Configurations with forces on an atom."""
        return self.any(~np.isnan(self.forces[:, 0]))

    @cached_property
    def is_molecule(self) -> Mask:
        """Configurations that are not periodic along any direction."""
        molecules: Mask = (self.frames.pbc == 0).all(axis=1)
        return molecules

    @cached_property
    def forces_are_free(self) -> Mask:
        """Configurations whose forces ought to sum to zero: physical, nothing acts from outside, no atom is held.

        A ghost atom has basis functions and a force, but is not in the table of atoms of every code.
        """
        frames = self.frames
        if self.circumstances.forces_are != "physical" or self.circumstances.acted_on:
            return np.zeros(len(frames), bool)
        held = frames.atomic_numbers == 0
        if "force_mask" in frames:
            held |= frames.get("force_mask") == NO
        if "fixed" in frames:
            held |= (frames.get("fixed") == YES).any(axis=1)
        return ~self.any(held)

    @cached_property
    def net_force(self) -> F64:
        """Length of the sum of the forces an atom [eV/angstrom]."""
        total = np.linalg.norm(self.sum(self.forces), axis=1)
        return _where(self.forces_are_free, total / np.maximum(self.frames.n_atoms, 1))

    @cached_property
    def torque(self) -> F64:
        """Torque of a molecule an atom, over its radius of gyration [eV/angstrom]."""
        frames = self.frames
        applies = self.forces_are_free & self.is_molecule & (frames.n_atoms > 1)
        if not applies.any():
            return np.full(len(frames), np.nan)
        n_atoms = np.maximum(frames.n_atoms, 1)
        centre = self.sum(frames.positions) / n_atoms[:, None]
        arms = frames.positions - centre[frames.configuration_of_atom]
        radius = np.sqrt(self.sum((arms**2).sum(axis=1)) / n_atoms)
        turn = np.linalg.norm(self.sum(np.cross(arms, self.forces)), axis=1)
        applies &= radius > 0
        return _where(applies, turn / n_atoms / np.where(applies, radius, 1.0))

    @cached_property
    def cell_volume(self) -> F64:
        """Volume (area, length) that the periodic vectors span when scaled to length one; 0 where one is missing."""
        axes = self.frames.pbc.astype(bool)
        vectors = np.where(axes[:, :, None], np.nan_to_num(self.frames.cell), 0.0)
        length = np.linalg.norm(vectors, axis=2, keepdims=True)
        unit = vectors / np.where(length > 0, length, 1.0)
        gram = unit @ unit.transpose(0, 2, 1) + np.eye(3) * ~axes[:, :, None]
        return _where(~self.is_molecule, np.sqrt(np.maximum(np.linalg.det(gram), 0.0)))

    def sum(self, per_atom: F64) -> F64:
        """`per_atom` summed over the atoms of each configuration."""
        total: F64 = self.reduced(np.add, per_atom, 0.0)
        return total

    def any(self, per_atom: Mask) -> Mask:
        """Whether `per_atom` is true of an atom of each configuration."""
        found: Mask = self.reduced(np.logical_or, per_atom, False)
        return found

    def reduced(self, ufunc: np.ufunc, per_atom: NDArray[Any], empty: float) -> NDArray[Any]:
        """`per_atom` reduced over the atoms of each configuration; `empty` where there is none."""
        filled = self.frames.n_atoms > 0  # for an empty range reduceat gives the next element
        reduced = np.full((len(filled), *per_atom.shape[1:]), empty, per_atom.dtype)
        if filled.any():
            reduced[filled] = ufunc.reduceat(per_atom, self.frames.atom_start[:-1][filled], axis=0)
        return reduced

    def constant(self, value: float) -> F64:
        """The same number for each configuration."""
        return np.full(len(self.frames), float(value))


def _where(applies: Mask, value: F64) -> F64:
    return np.where(applies, value, np.nan)


def turned_torque(block: Block) -> F64:
    """The torque where nothing but another orientation of the forces explains it [eV/angstrom].

    Forces that sum to zero and yet turn a free molecule as much as random ones would are given in other axes than the
    positions (pitfall G1). What acts from outside pulls as well; images of a molecule in a cell may turn it.
    """
    value = block.torque
    if np.isnan(value).all():
        return value
    # arms and forces that do not know of each other add up as chance does, to 1 / sqrt(n) of the force an atom
    random = np.sqrt(block.sum((block.forces**2).sum(axis=1))) / np.maximum(block.frames.n_atoms, 1)
    turned = (value > TURNED_SHARE * random) & (block.net_force < TURNED_SHARE * value)
    return _where(turned & np.isnan(block.frames.cell[:, 0, 0]), value)


def work_error(block: Block) -> F64:
    """Change of the energy that the work of a step leaves unexplained, over what trapezoid and noise explain."""
    steps, noise = block.steps, block.noise
    value = np.full(len(block), np.nan)
    if len(steps.after):
        tolerance = steps.tolerance(block.frames.n_atoms, energy=noise.energy, force=noise.force)
        value[steps.after] = steps.error / tolerance
    return value


def projected_forces(block: Block) -> F64:
    """1 where there are forces of which a part was taken away, as on images of a band; 0 where they are whole."""
    return _where(block.has_forces, block.constant(block.circumstances.forces_are == "projected"))


def learned_labels(block: Block) -> F64:
    """1 where a machine-learned potential gave the labels (pitfall V11), 0 where electrons did."""
    learned = "ml" in {block.circumstances.forces_are, block.circumstances.energy_kind}
    return _where(block.has_forces | block.has_energy, block.constant(learned))


def largest_force(block: Block) -> F64:
    """Largest force on an atom [eV/angstrom]."""
    if block.circumstances.forces_are == "absent":
        return block.constant(np.nan)
    largest: F64 = block.reduced(np.maximum, np.linalg.norm(block.forces, axis=1), np.nan)
    return largest


def asymmetry(block: Block) -> F64:
    """Largest difference between the stress and its transpose [eV/angstrom^3]."""
    stress = block.frames.stress
    value: F64 = np.abs(stress - stress.transpose(0, 2, 1)).max(axis=(1, 2))
    return value


def closest_pair(block: Block) -> F64:
    """Smallest distance over the sum of covalent radii; infinite where no pair is within 2.5 angstrom or the bound."""
    value = np.full(len(block), np.nan)
    searched = ~(block.cell_volume < MIN_CELL)
    frames = block.frames if searched.all() else block.frames.select(searched)  # the block itself remembers it
    reach = block.params.min_distance * 2 * float(RADII[frames.atomic_numbers].max(initial=0.0))
    found = frames.closest if reach <= CLOSE else closest_pairs(frames, reach)
    value[searched] = np.where(np.isnan(found.ratio), np.inf, found.ratio)
    return value


def not_converged(block: Block) -> F64:
    """1 where the output says that the self-consistency loop did not converge, 0 where it did."""
    flag = block.frames.get("scf_converged")
    return _where(flag != UNKNOWN, (flag == NO).astype(np.float64))


def spin_parity(block: Block) -> F64:
    """1 where electrons and multiplicity of a molecule do not fit: an even number of electrons has odd 2S + 1.

    Effective core potentials take away closed shells, an even number of electrons, and change nothing.
    """
    multiplicity, charge = block.frames.get("multiplicity"), block.frames.get("charge")
    whole = np.abs(charge - np.round(charge)) < 1e-6
    applies: Mask = (multiplicity > 0) & whole & block.is_molecule
    electrons = block.sum(block.frames.atomic_numbers.astype(np.float64)) - np.where(applies, np.round(charge), 0.0)
    return _where(applies, ((electrons + multiplicity) % 2 == 0).astype(np.float64))


def missing_forces(block: Block) -> F64:
    """1 where there is an energy without forces on every atom, 0 where both are there."""
    absent = block.any(np.isnan(block.forces[:, 0])) | np.array(block.circumstances.forces_are == "absent")
    return _where(block.has_energy, absent.astype(np.float64))


def missing_energy(block: Block) -> F64:
    """1 where there are forces without an energy, 0 where both are there."""
    return _where(block.has_forces, (~block.has_energy).astype(np.float64))


def inconsistent_energy(block: Block) -> F64:
    """1 where the energy is not known to be the one that forces derive from, or is an enthalpy (pitfall V3)."""
    return _where(block.has_energy, block.constant(block.circumstances.energy_kind not in CONSISTENT))
