"""Energy against work: silent on trajectories of known potentials, and not where labels and steps do not fit."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import ase
import numpy as np
import pytest
from ase import units
from ase.build import bulk, make_supercell
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from hypothesis import given, settings
from hypothesis import strategies as st

from mlpdata.checks import energy_work
from mlpdata.checks.gates import Finding, run_gates
from mlpdata.checks.measures import Circumstances
from mlpdata.frames import Frames, concatenate
from mlpdata.schema.params import CheckParams
from mlpdata.units import HARTREE

N_STEPS = 24


def judged(frames: Frames, before: Frames | None = None, code: str = "vasp", **circumstances: Any) -> Finding:
    return run_gates(frames, CheckParams(), Circumstances(code=code, **circumstances), before)["energy-work"]


def of_ase(images: list[ase.Atoms], **more: Any) -> Frames:
    """The images as the steps of one run."""
    n_atoms = len(images[0])
    arrays = {
        "atomic_numbers": np.concatenate([one.numbers for one in images]),
        "positions": np.concatenate([one.positions for one in images]),
        "forces": np.concatenate([one.get_forces() for one in images]),
        "energy": [one.get_potential_energy() for one in images],
        "pbc": np.tile(images[0].pbc, (len(images), 1)),
        "step": np.arange(len(images)),
        **more,
    }
    if images[0].pbc.any():
        arrays["cell"] = [one.cell.array for one in images]
    return Frames(np.full(len(images), n_atoms), arrays)


def dynamics(atoms: ase.Atoms, temperature: float, timestep: float) -> list[ase.Atoms]:
    """Velocity Verlet from Maxwell's velocities [K, fs]; each image keeps its labels."""
    step, masses = timestep * units.fs, atoms.get_masses()[:, None]
    momenta = np.random.default_rng(1).normal(size=(len(atoms), 3)) * np.sqrt(masses * units.kB * temperature)
    images = [atoms]
    for _ in range(N_STEPS - 1):
        image = images[-1].copy()
        image.calc = type(atoms.calc)(**atoms.calc.parameters)
        half = momenta + 0.5 * step * images[-1].get_forces()
        image.positions += step * half / masses
        momenta = half + 0.5 * step * image.get_forces()
        images.append(image)
    return images


@functools.cache
def argon() -> Frames:
    """Dynamics of a solid like argon, bound ten times as strongly: Lennard-Jones potential, smooth at its cutoff."""
    atoms = make_supercell(bulk("Ar", a=5.3), np.diag([3, 3, 3]))
    atoms.calc = LennardJones(sigma=3.4, epsilon=0.104, rc=6.8, smooth=True)
    return of_ase(dynamics(atoms, 800.0, 5.0))


@functools.cache
def copper_cluster() -> Frames:
    """Dynamics of eight copper atoms in free space, effective medium theory."""
    atoms = bulk("Cu", cubic=True).repeat((2, 1, 1))
    atoms.pbc = False
    atoms.calc = EMT()
    return of_ase(dynamics(atoms, 600.0, 2.0))


RUNS = pytest.mark.parametrize("run", [argon, copper_cluster])


@RUNS
def test_every_step_of_a_trajectory_is_judged_and_none_is_caught(run: Callable[[], Frames]) -> None:
    found = judged(run())

    assert found.applied == N_STEPS - 1
    assert found.n_caught == 0


def shifted_by_a_frame(frames: Frames) -> Frames:
    return frames.with_arrays(forces=np.roll(frames.forces, frames.n_atoms[0], axis=0))


def of_another_step(frames: Frames) -> Frames:
    return frames.with_arrays(energy=np.roll(frames.energy, 5))


WRONGS: dict[str, Callable[[Frames], Frames]] = {
    "gradients for forces": lambda frames: frames.with_arrays(forces=-frames.forces),
    "energies in hartree": lambda frames: frames.with_arrays(energy=frames.energy / HARTREE),
    "forces converted twice": lambda frames: frames.with_arrays(forces=frames.forces * HARTREE),
    "forces of the step before": shifted_by_a_frame,
    "energies of another step": of_another_step,
    "axes exchanged": lambda frames: frames.with_arrays(forces=frames.forces[:, [1, 2, 0]]),
}


@RUNS
@pytest.mark.parametrize("wrong", WRONGS.values(), ids=WRONGS)
def test_labels_that_do_not_belong_together_are_caught(
    run: Callable[[], Frames], wrong: Callable[[Frames], Frames]
) -> None:
    assert judged(wrong(run())).n_caught >= N_STEPS / 3


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 2**32 - 1), n_atoms=st.integers(1, 6))
def test_on_a_harmonic_surface_the_trapezoid_is_exact(seed: int, n_atoms: int) -> None:
    frames = harmonic(seed, n_atoms)
    steps = energy_work.steps(frames)

    assert len(steps.after) == 9
    np.testing.assert_allclose(steps.error, 0, atol=1e-10)
    assert judged(frames).n_caught == 0


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 2**32 - 1), n_atoms=st.integers(1, 6))
def test_a_gradient_is_caught_wherever_twice_the_work_exceeds_the_tolerance(seed: int, n_atoms: int) -> None:
    frames = harmonic(seed, n_atoms)
    steps = energy_work.steps(frames)
    tolerance = steps.tolerance(frames.n_atoms, energy=2e-4, force=0.01)  # the noise of vasp

    caught = judged(frames.with_arrays(forces=-frames.forces)).indices

    assert caught.tolist() == steps.after[2 * np.abs(steps.change) > tolerance].tolist()


def harmonic(seed: int, n_atoms: int) -> Frames:
    """A walk of ten steps on E = x.K.x / 2 with a random matrix K."""
    random = np.random.default_rng(seed)
    root = random.normal(size=(3 * n_atoms, 3 * n_atoms))
    stiffness = root @ root.T
    path = random.normal(size=3 * n_atoms) + np.cumsum(random.normal(size=(10, 3 * n_atoms), scale=0.03), axis=0)
    return Frames(
        np.full(10, n_atoms),
        {
            "atomic_numbers": np.full(10 * n_atoms, 18),
            "positions": path.reshape(-1, 3),
            "forces": -(path @ stiffness).reshape(-1, 3),
            "energy": 0.5 * np.einsum("ij,jk,ik->i", path, stiffness, path),
            "pbc": np.zeros((10, 3)),
            "step": np.arange(10),
        },
    )


@pytest.mark.parametrize("cut", [1, 7, N_STEPS - 1])
def test_the_step_across_the_border_of_two_blocks_is_judged(cut: int) -> None:
    whole = argon()
    broken = whole.with_arrays(energy=whole.energy + np.where(np.arange(N_STEPS) < cut, 0.0, 0.5))
    first, second = broken.select(range(cut)), broken.select(range(cut, N_STEPS))

    assert judged(second, before=first.select([cut - 1])).indices.tolist() == [0]
    assert judged(second).n_caught == 0
    assert judged(broken).indices.tolist() == [cut]


def test_atoms_may_be_printed_in_any_cell() -> None:
    frames = argon()
    hops = np.random.default_rng(0).integers(-2, 3, size=frames.positions.shape)
    hopped = frames.with_arrays(positions=frames.positions + hops @ frames.cell[0])

    found = judged(hopped)

    assert found.n_caught == 0
    assert found.applied == N_STEPS - 1
    assert found.worst == pytest.approx(judged(frames).worst)


@functools.cache
def strained_copper() -> Frames:
    """A sheared and stretched cell of four rattled atoms of copper, which keep their places in the lattice."""
    start = bulk("Cu", cubic=True)
    start.rattle(0.05, seed=2)
    path = np.cumsum(np.random.default_rng(4).normal(size=(20, 3, 3), scale=0.004), axis=0)
    images = []
    for strain in path:
        image = start.copy()
        image.set_cell(start.cell.array @ (np.eye(3) + strain + strain.T), scale_atoms=True)
        image.calc = EMT()
        images.append(image)
    stress = [image.get_stress(voigt=False) for image in images]
    return of_ase(images, stress=stress)


def test_the_work_of_the_cell_counts() -> None:
    found = judged(strained_copper())

    assert (found.applied, found.n_caught) == (19, 0)


@pytest.mark.parametrize("factor", [-1.0, 3.0, 0.1])
def test_a_stress_of_the_wrong_sign_or_unit_is_caught(factor: float) -> None:
    frames = strained_copper()

    assert judged(frames.with_arrays(stress=factor * frames.stress)).n_caught >= 5


def test_where_the_cell_moves_nothing_is_said_without_a_stress() -> None:
    assert judged(strained_copper().without("stress")).applied == 0


def test_only_steps_that_follow_each_other_are_compared() -> None:
    frames = argon()
    gap = np.arange(N_STEPS) + (np.arange(N_STEPS) >= 10)
    images = np.arange(N_STEPS) % 2

    assert judged(frames.with_arrays(step=gap)).applied == N_STEPS - 2
    assert judged(frames.with_arrays(image=images)).applied == 0
    assert judged(frames.without("step")).applied == 0


def test_steps_of_two_calculations_are_not_compared() -> None:
    both = concatenate([argon().select(range(12)), argon().select(range(12, N_STEPS))])
    calculation = np.repeat([0, 1], 12)

    found = run_gates(both, CheckParams(), Circumstances(), calculation=calculation)["energy-work"]

    assert found.applied == N_STEPS - 2


def test_steps_between_other_atoms_are_not_compared() -> None:
    frames = argon()
    numbers = frames.atomic_numbers.copy()
    numbers[0] = 10
    bigger = Frames([1], {"atomic_numbers": [18], "positions": [[0, 0, 0]], "pbc": [[0, 0, 0]], "step": [N_STEPS]})

    assert judged(frames.with_arrays(atomic_numbers=numbers)).applied == N_STEPS - 2
    assert judged(concatenate([frames, bigger])).applied == N_STEPS - 1


def test_steps_without_labels_or_motion_or_too_far_apart_are_not_compared() -> None:
    frames = argon()
    energy, forces, positions = frames.energy.copy(), frames.forces.copy(), frames.positions.copy()
    n_atoms = int(frames.n_atoms[0])
    energy[3] = np.nan  # steps 3 and 4
    forces[8 * n_atoms : 9 * n_atoms] = np.nan  # 8 and 9
    positions[13 * n_atoms : 14 * n_atoms] = positions[12 * n_atoms : 13 * n_atoms]  # 13: another basis, same place
    positions[18 * n_atoms] += 0.5  # 18 and 19

    steps = energy_work.steps(frames.with_arrays(energy=energy, forces=forces, positions=positions))

    assert sorted(set(range(1, N_STEPS)) - set(steps.after.tolist())) == [3, 4, 8, 9, 13, 18, 19]


@pytest.mark.parametrize(
    "circumstances",
    [
        {"forces_are": "biased"},
        {"forces_are": "with_external"},
        {"forces_are": "projected"},
        {"energy_kind": "enthalpy"},
        {"energy_kind": "unknown"},
    ],
)
def test_energies_and_forces_that_need_not_fit_are_not_compared(circumstances: dict[str, Any]) -> None:
    assert judged(argon(), **circumstances).applied == 0


def test_a_step_that_follows_a_loop_that_gave_up_is_not_compared() -> None:
    frames = argon()
    energy = frames.energy + np.where(np.arange(N_STEPS) == 6, 3.0, 0.0)

    found = judged(frames.with_arrays(energy=energy, scf_converged=np.arange(N_STEPS) != 6))

    assert (found.applied, found.n_caught) == (N_STEPS - 3, 0)


def test_a_cell_without_volume_is_not_compared() -> None:
    frames = argon()
    cell = frames.cell.copy()
    cell[4, 2] = cell[4, 1]

    assert judged(frames.with_arrays(cell=cell)).applied == N_STEPS - 3


@pytest.mark.parametrize("n", [0, 1])
def test_a_block_without_steps_is_not_compared(n: int) -> None:
    assert judged(argon().select(range(n))).applied == 0


def test_numbers_out_of_all_bounds_are_judged_without_a_warning() -> None:
    frames = argon()
    judged(frames.with_arrays(positions=frames.positions * 1e200, forces=frames.forces * 1e300))
