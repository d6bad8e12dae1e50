"""Molecular dynamics: the integrator, the temperature, what is recorded, and runs that fail."""

from __future__ import annotations

from typing import Any, ClassVar

import ase
import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.lj import LennardJones
from ase.constraints import FixAtoms
from hypothesis import given, settings
from hypothesis import strategies as st

from mlpdata.dynamics.md import run_md
from mlpdata.dynamics.trajectory import Trajectory
from mlpdata.errors import UsageError
from mlpdata.schema.params import MdParams
from mlpdata.units import BOLTZMANN, F64, VELOCITY


def params(**changes: Any) -> MdParams:
    return MdParams(**{"timestep": 4.0, "duration": 1.0, "equilibration": 0.0, "max_bond_change": None, **changes})


def argon() -> ase.Atoms:
    atoms = bulk("Ar", cubic=True, a=5.26)
    atoms.rattle(0.1, seed=0)
    return atoms


def lennard_jones() -> LennardJones:
    return LennardJones(sigma=3.4, epsilon=0.0104, rc=7.0, ro=5.0, smooth=True)


class Springs(Calculator):
    """Each atom tied to its first place; `twist` adds forces that are no gradient, `fail_at` a step that goes wrong."""

    implemented_properties: ClassVar[list[str]] = ["energy", "forces"]

    def __init__(
        self, constant: float = 1.0, twist: float = 0.0, fail_at: int | None = None, scale: float = 1e6
    ) -> None:
        super().__init__()
        self.constant, self.twist, self.fail_at, self.scale = constant, twist, fail_at, scale
        self.home: F64 | None = None
        self.calls = 0

    def calculate(self, atoms: Any = None, properties: Any = ("energy",), system_changes: Any = all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        self.home = atoms.positions.copy() if self.home is None else self.home
        away = atoms.positions - self.home
        x, y, z = away.T
        forces = -self.constant * away + self.twist * np.column_stack([-y, x, np.zeros_like(z)])
        self.calls += 1
        if self.calls == self.fail_at:
            forces = forces * self.scale + self.scale
            forces -= forces.mean(axis=0)
            forces[0] += self.scale
        self.results = {"energy": 0.5 * self.constant * (away**2).sum(), "forces": forces}


def test_the_fluctuation_of_the_energy_falls_four_times_when_the_step_halves() -> None:
    spread = [
        run_md(argon(), lennard_jones(), params(timestep=timestep), 40.0, seed=1).total.std()
        for timestep in (8.0, 4.0, 2.0)
    ]

    assert spread[0] / spread[1] == pytest.approx(4.0, rel=0.05)
    assert spread[1] / spread[2] == pytest.approx(4.0, rel=0.05)


def test_a_conservative_potential_does_not_drift() -> None:
    run = run_md(argon(), lennard_jones(), params(duration=2.0, timestep=5.0), 40.0, seed=1)

    slope = run.drift()

    assert slope is not None
    assert abs(slope.value) < 3 * slope.error
    assert slope.error < 0.01


def test_forces_that_are_no_gradient_show_as_a_drift() -> None:
    quiet = run_md(argon(), Springs(), params(duration=4.0), 300.0, seed=1).drift()
    twisted = run_md(argon(), Springs(twist=0.02), params(duration=4.0), 300.0, seed=1).drift()

    assert quiet is not None
    assert twisted is not None
    assert abs(quiet.value) < 3 * quiet.error
    assert abs(twisted.value) > 5 * twisted.error
    assert abs(twisted.value) > 0.1


@given(temperature=st.floats(1.0, 3000.0), seed=st.integers(0, 1000))
@settings(max_examples=15, deadline=None)
def test_a_run_starts_at_its_temperature_with_the_centre_of_mass_at_rest(temperature: float, seed: int) -> None:
    run = run_md(bulk("NaCl", "rocksalt", a=5.6, cubic=True), Springs(), params(duration=0.01), temperature, seed=seed)

    masses = np.where(run.atomic_numbers == 11, 22.98976928, 35.45)
    momentum = masses @ run.velocities[0]
    kinetic = 0.5 * (masses @ (run.velocities[0] ** 2).sum(axis=1)) / VELOCITY**2
    assert np.abs(momentum).max() < 1e-10
    assert kinetic == pytest.approx((3 * 8 - 3) / 2 * BOLTZMANN * temperature, rel=1e-6)
    assert run.kinetic[0] == pytest.approx(kinetic, rel=1e-6)
    assert run.temperature[0] == pytest.approx(temperature, rel=1e-6)


def test_equilibration_forgets_the_temperature_of_the_start() -> None:
    cold = run_md(argon(), Springs(0.5), params(duration=3.0), 300.0, seed=3)
    settled = run_md(argon(), Springs(0.5), params(duration=3.0, equilibration=2.0, friction=0.02), 300.0, seed=3)

    assert cold.temperature.mean() == pytest.approx(150.0, rel=0.1)  # equipartition with springs at rest
    assert 200.0 < settled.temperature.mean() < 400.0
    assert settled.time[0] == 0.0
    assert settled.temperature[0] == pytest.approx(300.0)


def test_langevin_dynamics_holds_the_temperature_and_the_centre_of_mass() -> None:
    atoms = bulk("Ar", cubic=True, a=5.26) * (2, 2, 1)
    run = run_md(
        atoms, Springs(0.5), params(ensemble="langevin", duration=8.0, friction=0.02, equilibration=0.5), 300.0, seed=1
    )

    temperature = run.mean_temperature()

    assert temperature is not None
    assert temperature.error < 15.0
    assert temperature.value == pytest.approx(300.0, abs=4 * temperature.error)
    drifted = run.positions.mean(axis=1) - run.positions[0].mean(axis=0)
    assert np.abs(drifted).max() < 1e-8
    assert run.drift() is None


def test_the_seed_decides_a_run() -> None:
    def energies(seed: int | None, default: int = 0) -> F64:
        wanted = params(duration=0.05, ensemble="langevin", seed=default)
        return run_md(argon(), lennard_jones(), wanted, 40.0, seed=seed).total

    np.testing.assert_array_equal(energies(1), energies(1))
    np.testing.assert_array_equal(energies(None, default=1), energies(1))
    assert (energies(1)[1:] != energies(2)[1:]).all()


def test_a_run_records_every_step_and_some_coordinates_and_leaves_its_start_alone() -> None:
    atoms, told = argon(), []
    atoms.set_constraint(FixAtoms([0]))
    before = atoms.copy()

    run = run_md(
        atoms,
        lennard_jones(),
        params(duration=0.1, keep_every=10, equilibration=0.02),
        40.0,
        progress=lambda done, steps: told.append((done, steps)),
    )

    assert run.time.tolist() == [4.0 * step for step in range(26)]
    assert run.kept.tolist() == [0, 10, 20]
    assert run.positions.shape == run.velocities.shape == (3, 4, 3)
    assert told[0] == (0, 30)
    assert told[-1] == (30, 30)
    assert atoms == before
    assert (run.positions[1, 0] != run.positions[0, 0]).all()


def failing(**options: Any) -> Trajectory:
    silicon = bulk("Si", cubic=True, a=5.43)
    return run_md(
        silicon, Springs(**options.pop("springs")), params(timestep=1.0, duration=0.4, **options), 300.0, seed=1
    )


def test_an_explosion_ends_the_run_at_its_step() -> None:
    run = failing(springs={"fail_at": 42, "scale": 1e3})

    assert run.failure is not None
    assert run.failure.startswith("step 41: the kinetic temperature is")
    assert run.time[-1] == 41.0
    assert run.summary()["failure"] == run.failure


def test_positions_that_are_no_numbers_end_the_run() -> None:
    run = failing(springs={"fail_at": 42, "scale": np.nan})

    assert run.failure is not None
    assert run.failure.startswith("step 41")
    assert run.summary()["drift"] is None


def test_a_failure_in_the_equilibration_says_so() -> None:
    run = failing(springs={"fail_at": 42, "scale": 1e3}, equilibration=0.1)

    assert run.failure is not None
    assert run.failure.startswith("equilibration, step 41")
    assert len(run.time) == 42


def test_a_stable_crystal_does_not_fail() -> None:
    assert failing(springs={"constant": 8.0}, max_bond_change=0.5).failure is None


def test_a_single_atom_has_no_temperature() -> None:
    with pytest.raises(UsageError, match="at least two atoms, found 1"):
        run_md(ase.Atoms("Ar"), Springs(), params(), 300.0)
