"""The watch: vibrations pass, broken bonds, collapse and explosions do not."""

from __future__ import annotations

import ase
import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator

from mlpdata.dynamics.watch import Watch, kinetic_temperature
from mlpdata.units import BOLTZMANN

WINDOW = 20
"""Steps of 5 fs in 100 fs."""


def crystal(energy: float = 0.0) -> ase.Atoms:
    """Silicon in motion at 300 K."""
    atoms = bulk("Si", cubic=True, a=5.43)
    return still(atoms, energy)


def still(atoms: ase.Atoms, energy: float = 0.0) -> ase.Atoms:
    atoms.set_momenta(np.ones((len(atoms), 3)) * 0.3)
    atoms.calc = SinglePointCalculator(atoms, energy=energy)
    return atoms


def stretched(by: float, energy: float = 0.0) -> ase.Atoms:
    """The same crystal with its second atom moved along the bond with the first."""
    atoms = bulk("Si", cubic=True, a=5.43)
    atoms.positions[1] += by / np.sqrt(3)
    return still(atoms, energy)


def faults(watch: Watch, atoms: ase.Atoms, steps: int) -> list[str | None]:
    return [watch.fault(atoms) for _ in range(steps)]


def watch_of(atoms: ase.Atoms, bound: float | None = 0.5) -> Watch:
    return Watch(atoms, 300.0, timestep=5.0, max_bond_change=bound)


def test_a_bond_whose_mean_length_changes_too_much_is_broken() -> None:
    watch = watch_of(crystal())

    assert faults(watch, crystal(), WINDOW) == [None] * WINDOW
    *before, found = faults(watch, stretched(0.6), WINDOW)

    assert before == [None] * (WINDOW - 1)
    assert found == "the bond of Si 0 and Si 1 went from 2.35 to 2.95 angstrom"


@pytest.mark.parametrize(("by", "bound"), [(0.4, 0.5), (0.6, None)])
def test_a_smaller_change_or_no_bound_is_no_fault(by: float, bound: float | None) -> None:
    watch = watch_of(crystal(), bound)

    assert set(faults(watch, crystal(), WINDOW) + faults(watch, stretched(by), WINDOW)) == {None}


def test_one_wide_vibration_is_no_fault() -> None:
    watch = watch_of(crystal())
    faults(watch, crystal(), WINDOW)

    swinging = [watch.fault(stretched(0.8 * np.sin(step))) for step in range(WINDOW)]

    assert set(swinging) == {None}


def test_a_bond_across_the_boundary_is_watched_as_any_other() -> None:
    atoms = crystal()
    moved = bulk("Si", cubic=True, a=5.43)
    moved.positions += moved.cell.array[0]
    watch = watch_of(atoms)

    assert set(faults(watch, atoms, WINDOW) + faults(watch, still(moved), WINDOW)) == {None}


def test_atoms_on_top_of_each_other_are_a_collapse() -> None:
    watch = watch_of(crystal(), None)

    found = faults(watch, stretched(-1.5), WINDOW)[-1]

    assert found in {f"Si {i} and Si {j} are 0.851 angstrom apart" for i, j in ((0, 1), (1, 0))}


def test_ten_times_the_set_point_is_an_explosion() -> None:
    atoms = crystal()
    watch = watch_of(atoms)
    atoms.set_momenta(atoms.get_momenta() * np.sqrt(3001.0 / kinetic_temperature(atoms)))

    assert watch.fault(atoms) == "the kinetic temperature is 3001 K, 10 times the set point or more"
    atoms.set_momenta(atoms.get_momenta() * np.sqrt(2999.0 / 3001.0))
    assert watch.fault(atoms) is None


def test_an_energy_that_is_no_number_is_a_fault() -> None:
    assert "potential energy" in str(watch_of(crystal()).fault(crystal(energy=np.nan)))


def test_the_kinetic_temperature_counts_three_n_less_three_degrees() -> None:
    atoms = ase.Atoms("H2", [[0, 0, 0], [0, 0, 1]])
    atoms.set_masses([1.0, 1.0])
    atoms.set_momenta([[0.0, 0, 0.2], [0, 0, -0.2]])  # 0.04 eV

    assert kinetic_temperature(atoms) == pytest.approx(2 * 0.04 / (3 * BOLTZMANN))
