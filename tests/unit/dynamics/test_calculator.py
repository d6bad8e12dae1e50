"""The calculator: its forces and stress are derivatives of its energy, and ASE gets what it expects."""

from __future__ import annotations

from pathlib import Path

import ase
import numpy as np
import pytest
import torch
from ase.build import bulk, fcc111
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress

from mlpdata.dynamics.calculator import MlpCalculator
from mlpdata.dynamics.md import run_md
from mlpdata.errors import InputError, NotFound, UsageError
from mlpdata.schema.params import MdParams, ModelParams, TrainParams
from mlpdata.training import checkpoint
from mlpdata.training.checkpoint import CheckpointRecord
from mlpdata.training.model import Potential, Statistics

SMALL = ModelParams(cutoff=4.0, channels=4, radial_hidden=8)


@pytest.fixture(scope="module")
def potential() -> Potential:
    """Random weights, forces of the size of 0.3 eV/angstrom."""
    return Potential(SMALL, {8: -430.0, 14: -150.0}, Statistics(0.3, 10.0, 0.1), seed=1)


def silicon() -> ase.Atoms:
    atoms = bulk("Si", a=5.43)
    strained = atoms.cell.array + np.array([[0.1, 0, 0.05], [0, -0.1, 0], [0, 0.02, 0]])
    atoms.set_cell(strained, scale_atoms=True)
    atoms.rattle(0.1, seed=0)
    return atoms


def with_calculator(atoms: ase.Atoms, potential: Potential) -> ase.Atoms:
    atoms.calc = MlpCalculator(potential)
    return atoms


def test_forces_are_minus_the_gradient_of_the_energy(potential: Potential) -> None:
    atoms = with_calculator(silicon(), potential)

    expected = calculate_numerical_forces(atoms, eps=1e-4)

    assert np.abs(expected).max() > 0.01
    np.testing.assert_allclose(atoms.get_forces(), expected, atol=1e-6)


def test_stress_is_the_strain_derivative_of_the_energy_over_the_volume(potential: Potential) -> None:
    atoms = with_calculator(silicon(), potential)

    expected = calculate_numerical_stress(atoms, eps=1e-5)

    assert np.abs(expected).max() > 1e-4
    np.testing.assert_allclose(atoms.get_stress(), expected, atol=1e-8)


def test_energies_of_atoms_add_up_and_the_free_energy_is_the_energy(potential: Potential) -> None:
    atoms = with_calculator(silicon(), potential)

    energy = atoms.get_potential_energy()

    assert atoms.get_potential_energies().sum() == pytest.approx(energy, abs=1e-9)
    assert atoms.get_potential_energy(force_consistent=True) == energy
    assert with_calculator(silicon() * (2, 1, 3), potential).get_potential_energy() == pytest.approx(
        6 * energy, abs=1e-8
    )


def test_molecules_slabs_and_lone_atoms_have_energies_but_only_cells_have_a_stress(potential: Potential) -> None:
    dimer = with_calculator(ase.Atoms("SiO", [[0, 0, 0], [1.6, 0.1, 0]]), potential)
    slab = with_calculator(fcc111("Si", (1, 1, 3), a=5.0, vacuum=6.0), potential)
    atom = with_calculator(ase.Atoms("Si"), potential)

    np.testing.assert_allclose(dimer.get_forces(), calculate_numerical_forces(dimer, eps=1e-4), atol=1e-6)
    np.testing.assert_allclose(slab.get_forces(), calculate_numerical_forces(slab, eps=1e-4), atol=1e-6)
    assert slab.get_stress().shape == (6,)
    assert atom.get_potential_energy() == pytest.approx(-150.0, abs=1e-12)
    for without_cell in (dimer, atom):
        with pytest.raises(PropertyNotImplementedError):
            without_cell.get_stress()


def test_a_neighbour_that_leaves_the_cutoff_leaves_no_step_behind(potential: Potential) -> None:
    def energy_and_force(distance: float) -> tuple[float, float]:
        dimer = with_calculator(ase.Atoms("Si2", [[0, 0, 0], [distance, 0, 0]]), potential)
        return dimer.get_potential_energy(), dimer.get_forces()[0, 0]

    inside, outside = energy_and_force(SMALL.cutoff - 1e-4), energy_and_force(SMALL.cutoff + 1e-4)

    assert outside == (-300.0, 0.0)
    assert inside == pytest.approx(outside, abs=1e-6)
    assert abs(energy_and_force(SMALL.cutoff - 1.0)[1]) > 1e-3


def test_dynamics_of_a_potential_conserve_energy_to_second_order(potential: Potential) -> None:
    def spread(timestep: float) -> float:
        wanted = MdParams(timestep=timestep, duration=0.08, equilibration=0, max_bond_change=None)
        return float(run_md(silicon(), MlpCalculator(potential), wanted, 300.0, seed=1).total.std())

    assert spread(2.0) / spread(1.0) == pytest.approx(4.0, rel=0.1)


def test_the_potential_of_the_caller_keeps_its_precision_and_mode(potential: Potential) -> None:
    potential.train()

    atoms = with_calculator(silicon(), potential)
    double = atoms.get_potential_energy()
    atoms.calc = MlpCalculator(potential, dtype=torch.float32)

    assert potential.training
    assert {weight.dtype for weight in potential.parameters()} == {torch.float32}
    assert atoms.get_potential_energy() == pytest.approx(double, abs=1e-4)
    assert atoms.get_forces().dtype == np.float64


def test_an_unknown_element_and_an_absent_cell_are_refused(potential: Potential) -> None:
    with pytest.raises(UsageError, match=r"32|Ge"):
        with_calculator(bulk("Ge"), potential).get_potential_energy()
    with pytest.raises(InputError, match="lattice vectors"):
        with_calculator(ase.Atoms("Si", pbc=True), potential).get_potential_energy()


def test_a_checkpoint_gives_the_energies_and_forces_of_the_potential_it_holds(
    potential: Potential, tmp_path: Path
) -> None:
    record = CheckpointRecord(
        params=TrainParams(model=SMALL, seed=2),
        references={str(number): energy for number, energy in potential.references.items()},
        statistics=potential.statistics._asdict(),
        epoch=1,
        provenance={},
        environment={},
    )
    checkpoint.save(tmp_path / "best.safetensors", record, potential.state_dict())
    atoms, again = with_calculator(silicon(), potential), silicon()
    again.calc = MlpCalculator(tmp_path / "best.safetensors")

    assert again.get_potential_energy() == pytest.approx(atoms.get_potential_energy(), abs=1e-9)
    np.testing.assert_allclose(again.get_forces(), atoms.get_forces(), atol=1e-9)


def test_a_path_without_a_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="expected a checkpoint"):
        MlpCalculator(tmp_path / "best.safetensors")
