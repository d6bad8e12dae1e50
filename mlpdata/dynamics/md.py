"""Molecular dynamics that validates a potential: NVE and Langevin, by ASE's integrators, watched for failures."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import ase
import numpy as np
from ase import units as ase_units
from ase.calculators.calculator import Calculator
from ase.constraints import FixCom
from ase.data import covalent_radii
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution, Stationary
from ase.md.verlet import VelocityVerlet

from mlpdata.dynamics.trajectory import Trajectory
from mlpdata.errors import UsageError
from mlpdata.neighbors import neighbor_list
from mlpdata.schema.params import MdParams
from mlpdata.units import BOLTZMANN, F64

Progress = Callable[[int, int], None]
"""Called with the steps done and the steps in all."""

BONDED = 1.25
"""Atoms closer than this many sums of covalent radii are bonded at the start."""
COLLAPSED = 0.5
"""Atoms closer than this many sums of covalent radii have collapsed."""
EXPLODED = 10.0
"""A kinetic temperature of this many set points is an explosion."""
WINDOW = 100.0
"""Time over which lengths of bonds are averaged, so that one vibration is no failure [fs]."""


def run_md(
    atoms: ase.Atoms,
    calculator: Calculator,
    params: MdParams,
    temperature: float,
    seed: int | None = None,
    progress: Progress | None = None,
) -> Trajectory:
    """Run molecular dynamics from `atoms`, which are not changed.

    Velocities are drawn from a Maxwell-Boltzmann distribution at `temperature` with the centre of mass at rest. Langevin
    dynamics of `params.equilibration` lets the potential energy take its share, whatever temperature the starting
    configuration is from; then velocities are scaled so that the run proper begins at `temperature` exactly. A run
    that fails ends at the failing step and says why.

    Args:
        atoms: starting configuration.
        calculator: of energy and forces.
        params: ensemble, step, duration.
        temperature: of the start, and set point of the thermostat [K].
        seed: of velocities and thermostat; by default that of `params`.
        progress: told of each step.

    Raises:
        UsageError: fewer than two atoms: 3n - 3 degrees of freedom have no temperature.
    """
    if len(atoms) < 2:
        raise UsageError(f"expected at least two atoms, found {len(atoms)}. One atom at rest has no temperature.")
    seed = params.seed if seed is None else seed
    rng = np.random.default_rng(seed)
    moving = ase.Atoms(numbers=atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    moving.calc = calculator
    MaxwellBoltzmannDistribution(moving, temperature_K=temperature, rng=rng)
    Stationary(moving)
    _scale(moving, temperature)
    before, steps = (round(span * 1e3 / params.timestep) for span in (params.equilibration, params.duration))
    recorder = _Recorder(_Watch(moving, temperature, params), params, seed, temperature)
    report = progress or (lambda done, total: None)
    if before:
        for step, _ in enumerate(_integrator(moving, "langevin", params, temperature, rng).irun(before)):
            if recorder.watch.fault(moving):
                break
            report(step, before + steps)
        _scale(moving, temperature)
    if recorder.watch.found is None:
        for step, _ in enumerate(_integrator(moving, params.ensemble, params, temperature, rng).irun(steps)):
            recorder.add(step, moving)
            if recorder.watch.fault(moving):
                break
            report(before + step, before + steps)
    return recorder.trajectory(moving)
