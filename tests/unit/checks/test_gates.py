"""Gates: each catches what it is for and leaves the rest alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mlpdata.checks.gates import GATES, GateReport, joined, run_gates
from mlpdata.errors import UsageError
from mlpdata.frames import Frames
from mlpdata.schema.calculation import ForcesAre
from mlpdata.schema.params import CheckParams

PARAMS = CheckParams()
CUBE = np.eye(3) * 10.0
WATER = np.array([[0.0, 0.0, 0.0], [0.9572, 0.0, 0.0], [-0.24, 0.9266, 0.0]])


def frames(n: int = 1, *, periodic: bool = False, **arrays: Any) -> Frames:
    """`n` water molecules without forces on them, each a configuration."""
    standard = {
        "atomic_numbers": np.tile([8, 1, 1], n),
        "positions": np.tile(WATER, (n, 1)),
        "pbc": np.full((n, 3), int(periodic)),
        "forces": np.zeros((3 * n, 3)),
        "energy": np.zeros(n),
    }
    if periodic:
        standard["cell"] = np.tile(CUBE, (n, 1, 1))
    return Frames(np.full(n, 3), {**standard, **arrays})


def gates(block: Frames, forces_are: ForcesAre = "physical") -> GateReport:
    return run_gates(block, PARAMS, forces_are)


def test_a_sound_block_passes_every_gate() -> None:
    report = gates(frames(4, charge=np.zeros(4), multiplicity=np.ones(4), scf_converged=np.ones(4)))

    assert report.counts() == {}
    assert not report.rejected.any()
    assert [finding.gate for finding in report.findings] == [gate.name for gate in GATES]


def test_an_empty_block_passes() -> None:
    assert gates(frames(1).select([])).counts() == {}


def test_a_frame_without_scf_convergence_is_rejected_and_an_unknown_one_is_not() -> None:
    report = gates(frames(3, scf_converged=[1, 0, -1]))

    assert report.rejected.tolist() == [False, True, False]
    assert report["scf"].applied == 2


def test_net_force_is_measured_per_atom() -> None:
    forces = np.zeros((6, 3))
    forces[0, 0], forces[3, 0] = 0.3, 0.12

    finding = gates(frames(2, forces=forces))["net-force"]

    assert finding.worst == pytest.approx(0.1)
    assert finding.indices.tolist() == [0]


@pytest.mark.parametrize("forces_are", ["projected", "biased", "with_external", "zeroed_on_fixed"])
def test_forces_that_are_not_physical_need_not_sum_to_zero(forces_are: ForcesAre) -> None:
    forces = np.zeros((3, 3))
    forces[0] = 5.0

    report = gates(frames(forces=forces), forces_are)

    assert report["net-force"].applied == report["torque"].applied == 0


def test_forces_on_a_configuration_with_fixed_atoms_need_not_sum_to_zero() -> None:
    forces = np.zeros((6, 3))
    forces[[0, 3], 0] = 1.0

    report = gates(frames(2, forces=forces, force_mask=[1, 0, 1, 1, 1, 1]))

    assert report["net-force"].indices.tolist() == [1]


def test_forces_in_another_orientation_than_the_positions_show_as_torque() -> None:
    bond = WATER[1] - WATER[0]
    forces = np.array([-bond, bond, 0 * bond])
    turned = forces[:, [1, 0, 2]]

    aligned, rotated = (gates(frames(forces=one)) for one in (forces, turned))

    assert aligned["torque"].n_caught == 0
    assert rotated["net-force"].n_caught == 0
    assert rotated["torque"].n_caught == 1


def test_torque_is_the_couple_over_size_and_atoms() -> None:
    dumbbell = Frames(
        [2],
        {
            "atomic_numbers": [1, 1],
            "positions": [[-1.0, 0, 0], [1.0, 0, 0]],
            "pbc": [[0, 0, 0]],
            "forces": [[0, -3.0, 0], [0, 3.0, 0]],
        },
    )
    # torque 6 eV, radius of gyration 1 angstrom, 2 atoms
    assert gates(dumbbell)["torque"].worst == pytest.approx(3.0)


def test_torque_says_nothing_of_periodic_configurations_or_of_single_atoms() -> None:
    atom = Frames([1], {"atomic_numbers": [8], "positions": [[0, 0, 0]], "pbc": [[0, 0, 0]], "forces": [[0, 0, 0]]})

    assert gates(frames(periodic=True))["torque"].applied == 0
    assert gates(atom)["torque"].applied == 0


def test_the_largest_force_is_the_length_of_the_vector() -> None:
    forces = np.zeros((3, 3))
    forces[0], forces[1] = (30, 40, 1), (-30, -40, -1)

    finding = gates(frames(forces=forces))["largest-force"]

    assert finding.worst == pytest.approx(np.sqrt(2501))
    assert finding.n_caught == 1


def test_a_stress_may_differ_from_its_transpose_by_rounding_only() -> None:
    stress = np.zeros((2, 3, 3))
    stress[0, 0, 1], stress[1, 0, 1] = 0.9 / 1602.176634, 1.1 / 1602.176634

    assert gates(frames(2, periodic=True, stress=stress))["stress-symmetry"].indices.tolist() == [1]


def test_atoms_closer_than_half_their_covalent_radii_are_marked() -> None:
    # radii of O and H: 0.66 and 0.31 angstrom, so the bound is at 0.485
    positions = np.tile(WATER, (2, 1))
    positions[1, 0] = 0.48
    positions[4, 0] = 0.49

    finding = gates(frames(2, positions=positions))["closest-pair"]

    assert finding.indices.tolist() == [0]
    assert finding.worst == pytest.approx(0.48 / 0.97)


def test_close_pairs_are_found_through_periodic_images() -> None:
    positions = np.array([[0.1, 5, 5], [9.9, 5, 5], [5, 5, 5]])

    finding = gates(frames(periodic=True, positions=positions))["closest-pair"]

    assert finding.worst == pytest.approx(0.2 / 0.97)


def test_close_pairs_of_large_atoms_are_found_beyond_the_screen() -> None:
    # radius of Cs 2.44 angstrom: a pair at 3 angstrom is 0.615 of the sum
    caesium = Frames(
        [2], {"atomic_numbers": [55, 55], "positions": [[0, 0, 0], [0, 0, 3.0]], "pbc": [[0, 0, 0]], "energy": [0.0]}
    )

    assert run_gates(caesium, PARAMS, "absent")["closest-pair"].n_caught == 0
    strict = run_gates(caesium, CheckParams(min_distance=0.7), "absent")["closest-pair"]
    assert strict.worst == pytest.approx(3 / 4.88)
    assert strict.n_caught == 1


def test_a_flat_cell_is_rejected_and_not_searched() -> None:
    cell = np.tile(CUBE, (2, 1, 1))
    cell[0, 2] = cell[0, 1]

    report = gates(frames(2, periodic=True, cell=cell))

    assert report.rejected.tolist() == [True, False]
    assert report["closest-pair"].applied == 1


def test_a_slab_without_a_third_vector_is_sound() -> None:
    cell = np.tile(CUBE, (1, 1, 1))
    cell[0, 2] = 0

    assert gates(frames(periodic=True, cell=cell, pbc=[[1, 1, 0]]))["cell"].n_caught == 0


@pytest.mark.parametrize(
    ("charge", "multiplicity", "caught"),
    [(0, 1, False), (0, 2, True), (1, 2, False), (1, 1, True), (-1, 2, False), (0, 3, False)],
)
def test_ten_electrons_have_an_odd_multiplicity(charge: int, multiplicity: int, caught: bool) -> None:
    report = gates(frames(charge=[charge], multiplicity=[multiplicity]))

    assert (report["spin-parity"].n_caught == 1) == caught


def test_parity_says_nothing_where_charge_or_multiplicity_is_unknown() -> None:
    report = gates(frames(3, charge=[np.nan, 0.0, 0.5], multiplicity=[2, 0, 2]))

    assert report["spin-parity"].applied == 0


def test_labels_that_lack_their_other_half_are_marked() -> None:
    forces = np.zeros((9, 3))
    forces[3:6] = np.nan

    report = gates(frames(3, forces=forces, energy=[0, 0, np.nan]))

    assert report["no-forces"].indices.tolist() == [1]
    assert report["no-energy"].indices.tolist() == [2]


def test_an_enthalpy_is_marked() -> None:
    assert run_gates(frames(2), PARAMS, "physical", "enthalpy")["energy-kind"].n_caught == 2
    assert run_gates(frames(2), PARAMS, "physical", "free")["energy-kind"].n_caught == 0


def test_reports_of_blocks_join_to_the_report_of_the_whole() -> None:
    forces = np.random.default_rng(1).normal(size=(30, 3), scale=30)
    flags = [1, 0, -1, 1, 0, 1, 1, 1, 0, 0]
    whole = frames(10, forces=forces, scf_converged=flags)

    together = joined([gates(whole.select(range(4))), gates(whole.select(range(4, 10)))])

    expected = gates(whole)
    assert together.n_configurations == 10
    assert together.rejected.tolist() == expected.rejected.tolist()
    for mine, other in zip(together.findings, expected.findings, strict=True):
        assert (mine.gate, mine.applied, mine.indices.tolist()) == (other.gate, other.applied, other.indices.tolist())
        assert mine.worst == pytest.approx(other.worst)


def test_joining_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match="at least one report"):
        joined([])


def test_the_reason_names_the_bound() -> None:
    assert "50 eV/angstrom" in gates(frames())["largest-force"].reason
