"""Gates: each catches what it is for and leaves the rest alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlpdata.checks.gates import GATES, Gate, GateReport, joined, run_gates
from mlpdata.checks.measures import Circumstances
from mlpdata.errors import UsageError
from mlpdata.frames import Frames
from mlpdata.schema.calculation import ForcesAre
from mlpdata.schema.method import Method
from mlpdata.schema.params import CheckParams

README = (Path(__file__).parents[3] / "README.md").read_text()
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


def gates(block: Frames, *circumstances: Any, params: CheckParams = PARAMS, **more: Any) -> GateReport:
    return run_gates(block, params, Circumstances(*circumstances, **more))


def test_a_sound_block_passes_every_gate() -> None:
    report = gates(frames(4, charge=np.zeros(4), multiplicity=np.ones(4), scf_converged=np.ones(4)))

    assert report.counts() == {}
    assert not report.rejected.any()
    assert [finding.gate for finding in report.findings] == [gate.name for gate in GATES]


@pytest.mark.parametrize("gate", GATES, ids=[gate.name for gate in GATES])
def test_the_readme_names_each_gate_with_its_severity(gate: Gate) -> None:
    (row,) = [line for line in README.splitlines() if line.startswith("| `") and f"`{gate.name}`" in line]
    assert row.split("|")[2].strip() == gate.severity


def test_an_empty_block_passes() -> None:
    assert gates(frames(1).select([])).counts() == {}


def test_a_frame_without_scf_convergence_is_rejected_and_an_unknown_one_is_not() -> None:
    report = gates(frames(3, scf_converged=[1, 0, -1]))

    assert report.rejected.tolist() == [False, True, False]
    assert report["scf"].applied == 2


def test_net_force_is_measured_per_atom() -> None:
    forces = np.zeros((6, 3))
    forces[0, 0], forces[3, 0] = 0.3, 0.05

    finding = gates(frames(2, forces=forces))["net-force"]

    assert finding.worst == pytest.approx(0.1)
    assert finding.indices.tolist() == [0]


def test_every_gate_says_to_what_it_applies() -> None:
    assert all(gate.applies for gate in GATES)
    assert len({gate.name for gate in GATES}) == len(GATES)


@pytest.mark.parametrize("forces_are", ["projected", "biased", "with_external", "zeroed_on_fixed"])
def test_forces_that_are_not_physical_need_not_sum_to_zero(forces_are: ForcesAre) -> None:
    forces = np.zeros((3, 3))
    forces[0] = 5.0

    report = gates(frames(forces=forces), forces_are)

    assert report["net-force"].applied == report["torque"].applied == 0


def test_forces_on_a_configuration_with_held_or_ghost_atoms_need_not_sum_to_zero() -> None:
    forces = np.zeros((12, 3))
    forces[::3, 0] = 1.0
    fixed = np.zeros((12, 3))
    fixed[4, 2] = 1  # of the second molecule, one atom along z
    numbers = [8, 1, 1, 8, 1, 1, 8, 0, 1, 8, 1, 1]

    report = gates(frames(4, forces=forces, force_mask=[1, 0] + 10 * [1], fixed=fixed, atomic_numbers=numbers))

    assert report["net-force"].indices.tolist() == report["torque"].indices.tolist() == [3]


@pytest.mark.parametrize(
    "surroundings", [{"solvent": "CPCM(WATER)"}, {"external": ("point charges",)}, {"external": ("electric field",)}]
)
def test_forces_of_what_something_acts_on_need_not_sum_to_zero(surroundings: dict[str, Any]) -> None:
    alone, acted_on = (
        Circumstances.of(Method(code="orca", **more), "physical", "total")
        for more in ({"solvent": "none"}, surroundings)
    )
    forces = np.zeros((3, 3))
    forces[0] = 5.0

    reports = [run_gates(frames(forces=forces), PARAMS, one) for one in (alone, acted_on)]

    assert [report["net-force"].applied for report in reports] == [1, 0]
    assert [report["torque"].applied for report in reports] == [1, 0]


def test_the_bound_of_net_forces_is_the_noise_of_the_code_unless_one_is_given() -> None:
    forces = np.zeros((3, 3))
    forces[0, 0] = 3 * 0.015
    block = frames(forces=forces)

    assert gates(block, code="orca")["net-force"].n_caught == 1
    assert gates(block, code="anything else")["net-force"].n_caught == 0
    assert gates(block, code="orca", params=CheckParams(net_force=0.03))["net-force"].n_caught == 0


BOND = WATER[1] - WATER[0]
PULLED = np.array([-BOND, BOND, 0 * BOND])
"""Forces on water along one of its bonds, which turn nothing [eV/angstrom]."""
TURNED = PULLED[:, [1, 0, 2]]
"""The same in axes of another orientation."""


def test_forces_in_another_frame_of_reference_are_rejected() -> None:
    aligned, rotated = (gates(frames(forces=one), code="orca") for one in (PULLED, TURNED))

    assert aligned["torque"].n_caught == aligned["frame-of-reference"].n_caught == 0
    assert rotated["net-force"].n_caught == 0
    assert rotated["torque"].n_caught == 1
    assert rotated.rejected.tolist() == [True]
    assert "frame of the positions" in rotated["frame-of-reference"].reason


@pytest.mark.parametrize(
    "weaker",
    [
        {"forces": PULLED + 0.02 * TURNED},  # a grid's noise
        {"forces": TURNED + 0.1},  # something pulls: what it is, is not known
        {"forces": TURNED, "cell": [CUBE]},  # the molecule in the cells beside may turn this one
    ],
)
def test_a_torque_that_may_have_another_cause_is_only_marked(weaker: dict[str, Any]) -> None:
    report = gates(frames(**weaker), code="orca")

    assert report["torque"].n_caught == 1
    assert not report.rejected.any()


def test_projected_forces_are_rejected_and_energies_without_them_are_not() -> None:
    forces = np.zeros((6, 3))
    forces[3:] = np.nan

    assert gates(frames(2, forces=forces), "projected").rejected.tolist() == [True, False]


@pytest.mark.parametrize("circumstances", [{"forces_are": "ml"}, {"forces_are": "absent", "energy_kind": "ml"}])
def test_labels_of_a_learned_potential_are_rejected(circumstances: dict[str, Any]) -> None:
    report = gates(frames(2, energy=[0.0, np.nan], forces=np.full((6, 3), np.nan)), **circumstances)

    assert report.rejected.tolist() == [True, False]
    assert "machine-learned" in report["learned-labels"].reason


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

    assert gates(caesium, "absent")["closest-pair"].n_caught == 0
    strict = gates(caesium, "absent", params=CheckParams(min_distance=0.7))["closest-pair"]
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
    assert gates(frames(2), energy_kind="enthalpy")["energy-kind"].n_caught == 2
    assert gates(frames(2), energy_kind="free")["energy-kind"].n_caught == 0


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


def test_a_joined_report_names_the_bound_that_was_passed() -> None:
    forces = np.zeros((3, 3))
    forces[0, 0] = 3 * 0.015
    blocks = [gates(frames(forces=forces), code=code) for code in ("anything else", "orca")]

    assert "0.005 eV/angstrom" in joined(blocks)["net-force"].reason


def test_the_reason_names_the_bound() -> None:
    assert "50 eV/angstrom" in gates(frames())["largest-force"].reason
