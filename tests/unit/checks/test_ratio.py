"""Units by ratio: the slope names the mistake, on trajectories whose energy is known in closed form."""

from __future__ import annotations

import numpy as np
import pytest

from mlpdata.checks.ratio import units_by_ratio
from mlpdata.errors import UsageError
from mlpdata.frames import Frames
from mlpdata.units import BOHR, HARTREE

CELL = np.array([[6.0, 0, 0], [1.0, 6.0, 0], [0, 0.5, 6.0]])


def trajectory(periodic: bool = False, n_steps: int = 40) -> Frames:
    """Three atoms bound to the origin and to each other by springs, moving by hundredths of an angstrom."""
    rng = np.random.default_rng(3)
    start = rng.normal(size=(3, 3))
    path = start + np.cumsum(rng.normal(size=(n_steps, 3, 3), scale=0.02), axis=0)
    bonds = path[:, :, None] - path[:, None, :]
    energy = 1.5 * (path**2).sum(axis=(1, 2)) + 0.25 * 2.0 * (bonds**2).sum(axis=(1, 2, 3))
    forces = -3.0 * path - 2.0 * bonds.sum(axis=2)
    arrays = {
        "atomic_numbers": np.tile([8, 1, 1], n_steps),
        "positions": path.reshape(-1, 3),
        "forces": forces.reshape(-1, 3),
        "energy": energy,
        "pbc": np.full((n_steps, 3), int(periodic)),
    }
    if periodic:
        arrays["cell"] = np.tile(CELL, (n_steps, 1, 1))
    return Frames(np.full(n_steps, 3), arrays)


def test_energies_that_forces_derive_from_have_slope_one() -> None:
    found = units_by_ratio(trajectory())

    assert found.slope == pytest.approx(1, abs=1e-9)
    assert found.correlation == pytest.approx(1)
    assert (found.n_steps, found.mistake) == (39, None)


@pytest.mark.parametrize(
    ("energy", "forces", "positions", "slope", "words"),
    [
        (1 / HARTREE, 1, 1, 0.0367, "energies are in hartree"),
        (HARTREE, 1, 1, 27.2, "once too often"),
        (1, BOHR / HARTREE, 1, 51.4, "forces are in hartree/bohr"),
        (1, 1, 1 / BOHR, 0.529, "positions are in bohr"),
        (23.0605, 1, 1, 23.06, "kcal/mol"),
        (1, -1, 1, -1, "they are gradients"),
        (1, -BOHR / HARTREE, 1, -51.4, "hartree/bohr, not in eV/angstrom; and forces have the wrong sign"),
        (2 / HARTREE, 1, 1, 0.0735, "rydberg"),
    ],
)
def test_a_mistaken_unit_is_named(energy: float, forces: float, positions: float, slope: float, words: str) -> None:
    right = trajectory()
    wrong = right.with_arrays(
        energy=right.energy * energy, forces=right.forces * forces, positions=right.positions * positions
    )

    found = units_by_ratio(wrong)

    assert found.slope == pytest.approx(slope, rel=2e-3)
    assert found.mistake is not None
    assert words in found.mistake


def test_atoms_that_hop_to_their_image_do_no_work() -> None:
    still = trajectory(periodic=True)
    rng = np.random.default_rng(0)
    hopped = still.with_arrays(positions=still.positions + rng.integers(-1, 2, size=still.positions.shape) @ CELL)

    assert units_by_ratio(hopped).slope == pytest.approx(1, abs=1e-9)
    assert units_by_ratio(hopped).n_steps == 39


def test_the_cell_does_work_too() -> None:
    # a cube stretched by s: E = 9/2 B V0 (s - 1)^2, so dE/ds = 9 B V0 (s - 1) = 3 V stress / s
    stretch = 1 + np.linspace(0, 0.02, 21)
    bulk, volume = 0.6, 216.0
    energy = 4.5 * bulk * volume * (stretch - 1) ** 2
    stress = 3 * bulk * (stretch - 1) * stretch / stretch**3
    cells = 6.0 * stretch[:, None, None] * np.eye(3)
    frames = Frames(
        np.ones(21, int),
        {
            "atomic_numbers": np.full(21, 14),
            "positions": 3.0 * stretch[:, None] * np.ones(3),
            "forces": np.zeros((21, 3)),
            "energy": energy,
            "stress": stress[:, None, None] * np.eye(3),
            "cell": cells,
            "pbc": np.ones((21, 3)),
        },
    )

    assert units_by_ratio(frames).stress_slope == pytest.approx(1, abs=1e-3)
    assert units_by_ratio(frames.with_arrays(stress=-frames.stress)).stress_slope == pytest.approx(-1, abs=1e-3)
    assert np.isnan(units_by_ratio(frames).slope)
    assert units_by_ratio(frames.without("stress")).n_steps == 0


def test_a_stress_that_does_not_fit_leaves_the_slope_of_the_forces_alone() -> None:
    # the springs of `trajectory` in a cell that swells: half of its work is in the stress, as Pulay's error would have it
    frames = trajectory(periodic=True)
    stretch = 1 + 0.001 * np.cumsum(np.random.default_rng(8).normal(size=len(frames)))
    cell = CELL * stretch[:, None, None]
    positions = frames.positions.reshape(-1, 3, 3)
    forces = frames.forces.reshape(-1, 3, 3)
    virial = np.einsum("nai,naj->nij", positions, forces)
    volume = np.linalg.det(cell)[:, None, None]
    wrong = frames.with_arrays(cell=cell, stress=-0.5 * virial / volume)

    found = units_by_ratio(wrong)

    assert found.slope == pytest.approx(1, abs=0.01)
    assert found.stress_slope == pytest.approx(2, abs=0.05)
    assert found.mistake is None


def test_steps_that_are_too_long_or_lack_a_label_are_left_out() -> None:
    frames = trajectory()
    positions = frames.positions.copy()
    positions[:3] += 1.0
    energy = frames.energy.copy()
    energy[20] = np.nan

    assert units_by_ratio(frames.with_arrays(positions=positions, energy=energy)).n_steps == 36


def test_energies_that_have_nothing_to_do_with_the_forces_name_no_mistake() -> None:
    frames = trajectory()
    noise = np.random.default_rng(5).normal(size=len(frames))

    found = units_by_ratio(frames.with_arrays(energy=noise))

    assert abs(found.correlation) < 0.9
    assert found.mistake is None


@pytest.mark.parametrize("n_steps", [0, 1, 3])
def test_too_few_steps_say_nothing(n_steps: int) -> None:
    found = units_by_ratio(trajectory().select(range(n_steps)))

    assert np.isnan(found.slope)
    assert found.mistake is None


def test_frames_of_different_molecules_are_refused() -> None:
    frames = trajectory()
    numbers = frames.atomic_numbers.copy()
    numbers[3] = 7

    with pytest.raises(UsageError, match="one trajectory"):
        units_by_ratio(frames.with_arrays(atomic_numbers=numbers))
