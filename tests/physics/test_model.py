"""What any potential has to obey, whatever its weights: tested in float64 with random weights."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from mlpdata.frames import Frames, concatenate
from mlpdata.loader.batch import Batch, FramesSource, collate
from mlpdata.schema.params import ModelParams
from mlpdata.training.model import Potential, Prediction, Statistics
from mlpdata.units import F64

Geometry = tuple[F64, list[int]] | tuple[F64, list[int], F64]

REFERENCES = {8: -430.25, 14: -107.5}
CUTOFF = 3.5
ORIGIN = np.zeros((1, 3))
CELL = np.array([[5.1, 0.2, 0.0], [0.3, 4.9, -0.4], [0.1, 0.5, 5.3]])
SIZES = [
    pytest.param(
        ModelParams(cutoff=CUTOFF, l_max=l_max, layers=layers, channels=4, radial_hidden=8), id=f"l{l_max}x{layers}"
    )
    for l_max, layers in ((0, 2), (1, 2), (1, 3), (2, 2), (2, 3), (3, 2))
]


def frames(positions: F64, numbers: list[int], cell: F64 | None = None) -> Frames:
    arrays = {
        "atomic_numbers": numbers,
        "positions": positions,
        "pbc": [[cell is not None] * 3],
        "energy": [0.0],
    }
    if cell is not None:
        arrays["cell"] = [cell]
    return Frames([len(numbers)], arrays)


def batch_of(*configurations: Geometry) -> Batch:
    block = concatenate([frames(*one) for one in configurations])
    return collate(FramesSource(block), np.arange(len(block)), CUTOFF, torch.float64)


def crystal(seed: int = 0) -> Geometry:
    """Eight atoms of two elements in a triclinic cell, none closer than 1 angstrom."""
    rng = np.random.default_rng(seed)
    grid = np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)]) / 2
    positions = (grid + rng.uniform(-0.08, 0.08, grid.shape)) @ CELL
    return positions, [14, 14, 8, 14, 8, 8, 14, 14], CELL


@pytest.fixture
def potential(request: pytest.FixtureRequest) -> Potential:
    return make(request.param)


def make(params: ModelParams) -> Potential:
    statistics = Statistics(force_rms=1.5, mean_neighbours=12.0, mean_energy=-4.0)
    return Potential(params, REFERENCES, statistics, seed=1).double().eval()


def evaluate(potential: Potential, *configurations: Geometry) -> Prediction:
    return potential(batch_of(*configurations))


every_size = pytest.mark.parametrize("potential", SIZES, indirect=True)


@every_size
def test_forces_are_minus_the_gradient_of_the_energy(potential: Potential) -> None:
    positions, numbers, cell = crystal()
    forces = evaluate(potential, (positions, numbers, cell)).forces.numpy()
    step, rng = 1e-5, np.random.default_rng(3)
    for _ in range(4):
        direction = rng.normal(size=positions.shape)
        ahead, behind = (
            evaluate(potential, (positions + sign * step * direction, numbers, cell)).energy.item() for sign in (1, -1)
        )
        assert -(forces * direction).sum() == pytest.approx((ahead - behind) / (2 * step), rel=1e-6, abs=1e-6)
    assert np.abs(forces).max() > 0.01


@every_size
def test_stress_is_the_strain_derivative_of_the_energy_over_the_volume(potential: Potential) -> None:
    positions, numbers, cell = crystal()
    stress = evaluate(potential, (positions, numbers, cell)).stress[0].numpy()
    assert np.allclose(stress, stress.T)
    step = 1e-5
    for i, j in ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)):
        strain = np.zeros((3, 3))
        strain[i, j] = strain[j, i] = step if i == j else step / 2
        energies = []
        for sign in (1, -1):
            deformation = np.eye(3) + sign * strain
            energies.append(evaluate(potential, (positions @ deformation, numbers, cell @ deformation)).energy.item())
        derivative = (energies[0] - energies[1]) / (2 * step) / np.linalg.det(cell)
        assert stress[i, j] == pytest.approx(derivative, rel=1e-5, abs=1e-8)


@every_size
def test_a_rotated_or_reflected_crystal_has_the_same_energy_and_turned_forces_and_stress(potential: Potential) -> None:
    positions, numbers, cell = crystal()
    before = evaluate(potential, (positions, numbers, cell))
    turns = [*Rotation.random(2, rng=4).as_matrix(), np.diag([1.0, -1.0, 1.0]), -np.eye(3)]
    for turn in turns:
        after = evaluate(potential, (positions @ turn.T, numbers, cell @ turn.T))
        assert after.energy.item() == pytest.approx(before.energy.item(), abs=1e-5)
        np.testing.assert_allclose(after.forces, before.forces.numpy() @ turn.T, atol=1e-5)
        np.testing.assert_allclose(after.stress[0], turn @ before.stress[0].numpy() @ turn.T, atol=1e-6)


@every_size
def test_translation_and_the_choice_of_periodic_images_change_nothing(potential: Potential) -> None:
    positions, numbers, cell = crystal()
    before = evaluate(potential, (positions, numbers, cell))
    moved = positions + np.array([1.234, -0.5, 7.0])
    moved[3] += cell[0] - 2 * cell[2]
    after = evaluate(potential, (moved, numbers, cell))
    assert after.energy.item() == pytest.approx(before.energy.item(), abs=1e-9)
    np.testing.assert_allclose(after.forces, before.forces, atol=1e-9)


@every_size
def test_the_order_of_atoms_only_orders_the_forces(potential: Potential) -> None:
    positions, numbers, cell = crystal()
    before = evaluate(potential, (positions, numbers, cell))
    order = np.random.default_rng(5).permutation(len(numbers))
    after = evaluate(potential, (positions[order], [numbers[i] for i in order], cell))
    assert after.energy.item() == pytest.approx(before.energy.item(), abs=1e-9)
    np.testing.assert_allclose(after.forces, before.forces[order], atol=1e-9)


@every_size
def test_exchanging_two_elements_changes_the_energy(potential: Potential) -> None:
    positions, numbers, cell = crystal()
    exchanged = [numbers[1], numbers[2], numbers[0], *numbers[3:]]
    assert sorted(exchanged) == sorted(numbers)
    before, after = (evaluate(potential, (positions, z, cell)).energy.item() for z in (numbers, exchanged))
    assert abs(before - after) > 1e-3


@every_size
def test_two_far_molecules_have_the_sum_of_their_energies(potential: Potential) -> None:
    positions, numbers, _ = crystal()
    pair = (np.concatenate([positions, positions + np.array([100.0, 0, 0])]), numbers + numbers)
    one, two = evaluate(potential, (positions, numbers)), evaluate(potential, pair)
    assert two.energy.item() == pytest.approx(2 * one.energy.item(), abs=1e-8)
    assert torch.isnan(one.stress).all()


@every_size
def test_a_supercell_has_the_energy_of_its_cells_and_the_same_stress(potential: Potential) -> None:
    positions, numbers, cell = crystal()
    double = (np.concatenate([positions, positions + cell[1]]), numbers + numbers, cell * [[1], [2], [1]])
    one, two = evaluate(potential, (positions, numbers, cell)), evaluate(potential, double)
    assert two.energy.item() == pytest.approx(2 * one.energy.item(), abs=1e-8)
    np.testing.assert_allclose(two.stress, one.stress, atol=1e-9)


@every_size
def test_energy_and_forces_fade_in_smoothly_at_the_cutoff(potential: Potential) -> None:
    """A third atom comes within the cutoff of a pair: energy and force grow at least as the third power of the depth."""
    pair = np.array([[0.0, 0, 0], [0, 2.2, 0]])
    numbers = [14, 8, 14]

    def at(depth: float) -> tuple[float, float]:
        positions = np.vstack([pair, [CUTOFF - depth, 0, 0]])
        prediction = evaluate(potential, (positions, numbers))
        return prediction.energy.item(), prediction.forces[2, 0].item()

    outside = at(-1e-9)
    (shallow, shallow_force), (deep, deep_force) = at(0.01), at(0.02)
    assert outside[1] == 0
    assert abs(deep - outside[0]) < 1e-3
    assert abs(deep - outside[0]) > 0
    assert abs(shallow - outside[0]) < abs(deep - outside[0]) / 7
    assert abs(shallow_force) < abs(deep_force) / 3.5


@every_size
def test_the_net_force_on_a_configuration_is_zero(potential: Potential) -> None:
    forces = evaluate(potential, crystal()).forces
    assert forces.abs().max() > 0.01
    np.testing.assert_allclose(forces.sum(0), 0, atol=1e-12)


@every_size
def test_an_isolated_atom_has_its_reference_energy_exactly(potential: Potential) -> None:
    prediction = evaluate(potential, (ORIGIN, [14]), (ORIGIN, [8]), crystal())
    assert prediction.energy[:2].tolist() == [REFERENCES[14], REFERENCES[8]]
    assert prediction.forces[:2].abs().max() == 0


@every_size
def test_a_prediction_does_not_depend_on_what_else_is_in_the_batch(potential: Potential) -> None:
    alone = evaluate(potential, crystal(1))
    together = evaluate(potential, crystal(0), crystal(1), (ORIGIN, [8]))
    assert together.energy[1].item() == pytest.approx(alone.energy.item(), abs=1e-9)
    np.testing.assert_allclose(together.forces[8:16], alone.forces, atol=1e-9)
    np.testing.assert_allclose(together.stress[1], alone.stress[0], atol=1e-9)


def test_the_energy_is_summed_in_double_precision_by_single_precision_weights() -> None:
    """1000 atoms at -107 eV are known to 1e-7 eV in float64, to 8e-3 eV in float32."""
    single = make(SIZES[1].values[0]).float()
    many = [(ORIGIN, [14])] * 1000
    batch = batch_of(*many)
    merged = dataclasses.replace(
        batch, n_atoms=torch.tensor([1000]), configuration=torch.zeros(1000, dtype=torch.int64)
    )
    merged = dataclasses.replace(merged, cell=merged.cell[:1])
    prediction = single(merged)
    assert prediction.energy.dtype == torch.float64
    assert prediction.energy.item() == pytest.approx(1000 * REFERENCES[14], abs=1e-6)
    assert prediction.forces.dtype == torch.float32


def test_single_and_double_precision_agree() -> None:
    double = make(SIZES[3].values[0])
    single = make(SIZES[3].values[0]).float()
    np.testing.assert_allclose(evaluate(single, crystal()).forces, evaluate(double, crystal()).forces, atol=1e-4)
