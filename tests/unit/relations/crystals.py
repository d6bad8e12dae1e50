"""Crystals: silicon as atoms on springs, its dynamics, relaxations and single points, as runs with relations to find."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from mlpdata.frames import Frames
from mlpdata.relations import Relation, Run, relations
from mlpdata.schema.calculation import Calculation
from mlpdata.schema.method import Kpoints, Method
from mlpdata.units import F64

EDGE = 5.431
"""Lattice constant of silicon [angstrom]."""
DIAMOND = np.array([(0, 0, 0), (0, 2, 2), (2, 0, 2), (2, 2, 0), (1, 1, 1), (1, 3, 3), (3, 1, 3), (3, 3, 1)]) / 4
CELL = EDGE * np.eye(3)
REST = DIAMOND @ CELL
SPRING = 10.0
"""To its place, and along each bond [eV/angstrom^2]; with silicon's mass 9 to 20 THz."""
ACCELERATION = 9.6485e-3 / 28.085
"""Of a silicon atom by 1 eV/angstrom [angstrom/fs^2]."""
BOLTZMANN = 8.617e-5
"""[eV/K]"""
PBE = Method(code="vasp", code_version="6.4.2", functional="PBE", basis="plane waves", cutoff_energy=300.0)


def _force_constants() -> F64:
    """Springs along the 16 bonds of the cell and to each place, shape (24, 24) [eV/angstrom^2]."""
    constants = SPRING * np.eye(24)
    for i in range(8):
        for j in range(i):
            bond = DIAMOND[i] - DIAMOND[j]
            bond = (bond - np.round(bond)) @ CELL
            if abs(np.linalg.norm(bond) - EDGE * 3**0.5 / 4) < 0.01:
                along = bond / np.linalg.norm(bond)
                block = SPRING * np.outer(along, along)
                for a, b, sign in ((i, i, 1), (j, j, 1), (i, j, -1), (j, i, -1)):
                    constants[3 * a : 3 * a + 3, 3 * b : 3 * b + 3] += sign * block
    return constants


CONSTANTS = _force_constants()


class Trajectory(NamedTuple):
    """Configurations in order."""

    positions: F64
    """Shape (n, 8, 3) [angstrom]."""
    velocities: F64
    """[angstrom/fs]"""

    def part(self, start: int, end: int) -> Trajectory:
        return Trajectory(self.positions[start:end], self.velocities[start:end])


def forces_at(positions: F64) -> F64:
    return -((positions - REST).reshape(-1, 24) @ CONSTANTS).reshape(-1, 8, 3)


def energies_at(positions: F64) -> F64:
    away = (positions - REST).reshape(-1, 24)
    return -43.0 + 0.5 * np.einsum("ni,ij,nj->n", away, CONSTANTS, away)


def dynamics(
    steps: int, kelvin: float, seed: int, step: float = 1.0, start: tuple[F64, F64] | None = None
) -> Trajectory:
    """Velocity Verlet from the places of rest, or from positions and velocities; `steps` configurations."""
    drawn = np.random.default_rng(seed).normal(size=(8, 3))
    speed = np.sqrt(BOLTZMANN * kelvin * ACCELERATION)
    position, velocity = start or (REST, speed * (drawn - drawn.mean(axis=0)))
    positions, velocities = [position], [velocity]
    acceleration = ACCELERATION * forces_at(position[None])[0]
    for _ in range(steps - 1):
        position = position + velocity * step + 0.5 * acceleration * step**2
        before, acceleration = acceleration, ACCELERATION * forces_at(position[None])[0]
        velocity = velocity + 0.5 * (before + acceleration) * step
        positions.append(position)
        velocities.append(velocity)
    return Trajectory(np.array(positions), np.array(velocities))


def run(
    path: str,
    positions: F64,
    run_kind: str = "md",
    cells: F64 = CELL,
    energies: F64 | None = None,
    velocities: F64 | None = None,
    labels: dict[str, Any] | None = None,
    numbers: list[int] | None = None,
    **fields: Any,
) -> Run:
    """A run of silicon, its energies and forces those of the springs, positions printed with eight digits."""
    positions = np.round(np.asarray(positions, float).reshape(-1, len(numbers or REST), 3), 8)
    n = len(positions)
    arrays: dict[str, Any] = {
        "atomic_numbers": np.tile(numbers or [14] * 8, n),
        "positions": positions.reshape(-1, 3),
        "cell": np.broadcast_to(cells, (n, 3, 3)),
        "pbc": np.ones((n, 3)),
        "charge": np.zeros(n),
        "energy": energies_at(positions) if energies is None else energies,
    }
    if numbers is None:
        arrays["forces"] = forces_at(positions).reshape(-1, 3)
    if velocities is not None:
        arrays["velocities"] = velocities.reshape(-1, 3)
    frames = Frames([len(numbers or REST)] * n, {**arrays, **(labels or {})})
    calculation = Calculation(
        **{
            "path": path, "identity": f"vasp {path}", "sources": (), "method": PBE, "status": "complete",
            "run_kind": run_kind, "kind": "aimd" if run_kind == "md" else "unknown",
            "energy_kind": "free", "forces_are": "physical",
        }
        | fields
    )  # fmt: skip
    calculation = calculation.replace(group=calculation.group or f"{path} {calculation.id[:8]}")
    return Run(
        calculation=calculation,
        geometry_ids=frames.geometry_ids(),
        energies=frames.energy,
        ends=frames.select(sorted({0, max(n - 2, 0), n - 1})),
        temperature_kinetic=np.full(n, np.nan),
    )


def points(folder: str, structures: list[F64], **more: Any) -> list[Run]:
    """Single points in sibling folders, numbered from 1."""
    return [run(f"{folder}/{i:03d}/OUTCAR", one, "single_point", **more) for i, one in enumerate(structures, 1)]


def related(*runs: Run) -> dict[str, Relation]:
    """Relations by the folder, or where it has several runs, the path of each run."""
    return {
        one.path if sum(other.folder == one.folder for other in runs) > 1 else one.folder: relation
        for one, relation in zip(runs, relations(runs), strict=True)
    }


def with_settings(**changes: Any) -> Method:
    return PBE.replace(**changes)


def kpoints(n: int) -> Method:
    return PBE.replace(kpoints=Kpoints(mesh=(n, n, n), centring="gamma"))
