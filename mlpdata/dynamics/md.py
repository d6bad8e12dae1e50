"""Molecular dynamics that validates a potential: NVE and Langevin by ASE's integrators, watched for failures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ase
import numpy as np
from ase import units as ase_units
from ase.calculators.calculator import Calculator
from ase.constraints import FixCom
from ase.md.langevin import Langevin
from ase.md.verlet import VelocityVerlet

from mlpdata.dynamics.trajectory import Trajectory
from mlpdata.dynamics.watch import Watch, kinetic_temperature
from mlpdata.errors import InputError, UsageError
from mlpdata.schema.params import MdParams

Progress = Callable[[int, int], None]
"""Called with the steps done and the steps in all."""


def run_md(
    atoms: ase.Atoms,
    calculator: Calculator,
    params: MdParams,
    temperature: float,
    *,
    seed: int | None = None,
    progress: Progress | None = None,
) -> Trajectory:
    """Run molecular dynamics from `atoms`, which are not changed.

    Velocities are drawn from a Maxwell-Boltzmann distribution with the centre of mass at rest. Langevin dynamics for
    `params.equilibration` lets the potential energy take its share, whatever temperature the starting configuration is
    from; then velocities are scaled, so that the run proper begins at `temperature` exactly. A run that fails ends at
    the failing step and says why; one that fails while it equilibrates is the record of that.

    Args:
        atoms: starting configuration.
        calculator: of energy and forces.
        params: ensemble, step, durations, bound on bonds.
        temperature: of the start, and set point of the thermostat [K].
        seed: of velocities and thermostat; that of `params` by default.
        progress: told of each step.

    Raises:
        UsageError: fewer than two atoms: 3n - 3 degrees of freedom have no temperature.
    """
    if len(atoms) < 2:
        raise UsageError(f"expected at least two atoms, found {len(atoms)}. One atom at rest has no temperature.")
    seed = params.seed if seed is None else seed
    rng = np.random.default_rng(seed)
    moving = _at_start(atoms, calculator, temperature, rng)
    watch = Watch(moving, temperature, params.timestep, params.max_bond_change)
    before, steps = (round(span * 1e3 / params.timestep) for span in (params.equilibration, params.duration))

    def run(dynamics: Any, first: int, count: int) -> tuple[_Points, str | None]:
        report = (lambda step: progress(first + step, before + steps)) if progress else None
        points = _Points(params.timestep, params.keep_every)
        return points, _advance(dynamics, count, points, watch, report)

    failure = None
    if before:
        points, failure = run(_langevin(moving, params, temperature, rng), 0, before)
        failure = failure and f"equilibration, {failure}"
    if failure is None:
        _scale(moving, temperature)
        dynamics = _verlet(moving, params) if params.ensemble == "nve" else _langevin(moving, params, temperature, rng)
        points, failure = run(dynamics, before, steps)
    return Trajectory(
        ensemble=params.ensemble,
        start_temperature=temperature,
        timestep=params.timestep,
        seed=seed,
        failure=failure,
        atomic_numbers=moving.numbers.astype(np.uint8),
        cell=moving.cell.array.copy(),
        pbc=moving.pbc.astype(np.int8),
        **points.arrays(),
    )


def _at_start(atoms: ase.Atoms, calculator: Calculator, temperature: float, rng: np.random.Generator) -> ase.Atoms:
    """A copy without constraints or labels; velocities follow Maxwell and Boltzmann, the centre of mass rests."""
    moving = ase.Atoms(numbers=atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    moving.calc = calculator
    masses = moving.get_masses()[:, None]
    momenta = rng.standard_normal((len(moving), 3)) * np.sqrt(masses)
    moving.set_momenta(momenta - momenta.sum(axis=0) * masses / masses.sum())
    _scale(moving, temperature)
    return moving


def _scale(atoms: ase.Atoms, temperature: float) -> None:
    """Scale velocities to a kinetic temperature [K]."""
    atoms.set_momenta(atoms.get_momenta() * np.sqrt(temperature / kinetic_temperature(atoms)))


def _verlet(atoms: ase.Atoms, params: MdParams) -> Any:
    atoms.set_constraint()
    return VelocityVerlet(atoms, params.timestep * ase_units.fs)


def _langevin(atoms: ase.Atoms, params: MdParams, temperature: float, rng: np.random.Generator) -> Any:
    """A thermostat that leaves the centre of mass where it is, without disturbing the distribution of velocities."""
    atoms.set_constraint(FixCom())
    friction = params.friction / ase_units.fs
    step = params.timestep * ase_units.fs
    return Langevin(atoms, step, temperature_K=temperature, friction=friction, fixcm=False, rng=rng)


def _advance(
    dynamics: Any, steps: int, points: _Points, watch: Watch, report: Callable[[int], None] | None
) -> str | None:
    """Take and record `steps`, or stop at the first fault and return it with its step."""
    step = 0
    try:
        for step, _ in enumerate(dynamics.irun(steps)):
            points.add(step, dynamics.atoms)
            if report:
                report(step)
            fault = watch.fault(dynamics.atoms)
            if fault:
                return f"step {step}: {fault}"
    except InputError as error:
        return f"step {step + 1}: {error}"
    return None


class _Points:
    """Energies of each step, coordinates of some."""

    def __init__(self, timestep: float, keep_every: int) -> None:
        self._timestep, self._keep_every = timestep, keep_every
        self._energies: list[tuple[float, float, float]] = []
        self._coordinates: list[tuple[int, Any, Any]] = []

    def add(self, step: int, atoms: ase.Atoms) -> None:
        """Record the state of `atoms` at `step`."""
        self._energies.append((atoms.get_potential_energy(), atoms.get_kinetic_energy(), kinetic_temperature(atoms)))
        if step % self._keep_every == 0:
            self._coordinates.append((step, atoms.get_positions(), atoms.get_velocities() * ase_units.fs))

    def arrays(self) -> dict[str, Any]:
        """The arrays of a `Trajectory`, by name."""
        potential, kinetic, temperature = np.array(self._energies).T
        kept, positions, velocities = zip(*self._coordinates, strict=True)
        return {
            "time": np.arange(len(potential)) * self._timestep,
            "potential": np.ascontiguousarray(potential),
            "kinetic": np.ascontiguousarray(kinetic),
            "temperature": np.ascontiguousarray(temperature),
            "kept": np.array(kept),
            "positions": np.array(positions),
            "velocities": np.array(velocities),
        }
