"""The CP2K reader on each pitfall of real logs and companion files, one promise a test."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cp2k_output import (
    CONVERGED,
    END,
    ENERGIES,
    FARTHER,
    FORCES,
    MOVED,
    OTHER_FORCES,
    STRESS,
    UNCONVERGED,
    WATER,
    WATER_KINDS,
    Rows,
    cell,
    cells,
    coordinates,
    dynamics,
    energy,
    ensemble,
    forces,
    hartree,
    kinds,
    labelled,
    md_start,
    md_step,
    new_forces,
    old_stress,
    opening,
    opt_step,
    optimisation,
    positions,
    read,
    read_file,
    settings,
    single_point,
    stress,
    xyz,
)

from mlpdata.inspection import inspect_file
from mlpdata.units import ATOMIC_TIME, BOHR, EV_PER_ANGSTROM3, HARTREE

# -- C1: units stand in the headings


@pytest.mark.parametrize("unit", ["(a.u.):", "[a.u.]:", "[hartree]"])
def test_the_energy_is_read_in_each_wording_of_its_unit(tmp_path: Path, unit: str) -> None:
    assert hartree(read(tmp_path, single_point(energy(unit=unit))).frames) == [round(ENERGIES[0], 12)]


def test_an_energy_in_electronvolt_is_taken_as_such(tmp_path: Path) -> None:
    assert read(tmp_path, single_point(energy(-466.1, unit="[eV]"))).frames.energy.tolist() == [-466.1]


@pytest.mark.parametrize(
    "label",
    [energy(unit="[wavenumber_e]"), energy() + forces(unit="furlong"), energy() + new_forces(unit="mnewton*x")],
)
def test_an_unknown_unit_of_energy_or_forces_costs_the_frame(tmp_path: Path, label: str) -> None:
    run = read(tmp_path, single_point(label))

    assert run.runs[0].frames is None
    assert "is not known" in run.ending.left_out[0].reason


def test_an_unknown_unit_of_stress_costs_the_stress_and_is_said(tmp_path: Path) -> None:
    run = read(tmp_path, single_point(energy() + forces() + stress(unit="torr")))

    assert "stress" not in run.frames
    assert "'torr', which is not known" in run.ending.warnings[0]


def test_forces_of_the_newer_layout_are_the_same(tmp_path: Path) -> None:
    frames = read(tmp_path, single_point(energy() + new_forces())).frames

    assert np.allclose(frames.forces, np.array(FORCES) * HARTREE / BOHR, rtol=1e-7)


def test_forces_in_electronvolt_per_angstrom_are_taken_as_such(tmp_path: Path) -> None:
    frames = read(tmp_path, single_point(energy() + new_forces(unit="eV/angstrom"))).frames

    assert np.allclose(frames.forces, FORCES, rtol=1e-7)


# -- C2: the sign and unit of the stress


@pytest.mark.parametrize(
    ("block", "in_kbar"),
    [(stress(), 10.0), (old_stress(), 10.0), (stress(unit="bar"), 0.001)],
    ids=["GPa", "GPa before version 8", "bar"],
)
def test_the_stress_is_positive_in_compression_in_the_log_and_in_tension_here(
    tmp_path: Path, block: str, in_kbar: float
) -> None:
    frames = read(tmp_path, single_point(energy() + forces() + block)).frames

    assert np.allclose(frames.stress[0], -np.array(STRESS) * in_kbar / EV_PER_ANGSTROM3, rtol=1e-9)


def test_energies_of_a_numerical_stress_are_of_strained_cells_and_no_frames(tmp_path: Path) -> None:
    strained = "\n **************************** NUMERICAL STRESS ********************************\n"
    strained += CONVERGED + energy(-17.0) + energy(-17.3)
    strained += "\n **************************** NUMERICAL STRESS END *****************************\n"

    run = read(tmp_path, single_point(strained + energy() + forces() + stress().replace("Analytical", "Numerical")))

    assert hartree(run.frames) == [round(ENERGIES[0], 12)]
    assert "stress" in run.frames


def test_several_energies_of_a_single_point_are_not_attributed_to_its_coordinates(tmp_path: Path) -> None:
    run = read(tmp_path, single_point(energy(-17.0) + CONVERGED + energy()))

    assert run.runs[0].frames is None
    assert len(run.ending.left_out) == 2


# -- C3: companion files


def test_the_companion_of_another_run_is_not_paired(tmp_path: Path) -> None:
    other = xyz(*zip((0, 1, 2), (-17.1, -17.2, -17.3), (WATER, MOVED, FARTHER), strict=True))

    run = read(tmp_path, dynamics(), pos=other)

    assert hartree(run.frames) == [round(ENERGIES[0], 12)]  # whose coordinates the log prints
    assert "It is of another run" in run.ending.left_out[0].reason


def test_steps_whose_positions_were_not_written_are_left_out_and_said(tmp_path: Path) -> None:
    every_other = xyz((0, ENERGIES[0], WATER), (2, ENERGIES[2], FARTHER))

    run = read(tmp_path, dynamics(), pos=every_other)

    assert run.frames.get("step").tolist() == [0, 2]
    assert "expected positions of step 1" in run.ending.left_out[0].reason
    assert run.ending.left_out[0].line > 0


def test_without_a_companion_only_the_printed_geometry_is_a_frame(tmp_path: Path) -> None:
    run = read(tmp_path, dynamics())

    assert hartree(run.frames) == [round(ENERGIES[0], 12)]
    assert len(run.ending.left_out) == 2


def test_labels_without_a_geometry_are_shown_and_not_stored(tmp_path: Path) -> None:
    (tmp_path / "water.out").write_text(dynamics())
    shown = inspect_file(tmp_path / "water.out")

    assert (shown["n_frames"], shown["last"]["positions"]) == (1, None)
    assert shown["last"]["energy"] == pytest.approx(ENERGIES[2] * HARTREE, rel=1e-12)
    assert len(shown["last"]["forces"]) == len(WATER)
    assert len(shown["left_out"]) == 2


def test_forces_are_taken_at_their_own_stride(tmp_path: Path) -> None:
    frc = xyz((0, ENERGIES[0], labelled(FORCES)), (2, ENERGIES[2], labelled(OTHER_FORCES)))

    run = read(tmp_path, dynamics(log_forces=False), pos=positions(), frc=frc)
    frames = run.frames

    assert run.ending.warnings == ("1 of 3 frames have no forces: the log, water-frc-1.xyz does not have them",)
    assert np.isnan(frames.forces[3:6]).all()
    assert np.allclose(frames.forces[6:], np.array(OTHER_FORCES) * HARTREE / BOHR)


def test_a_restart_begins_with_a_step_that_its_companion_lacks(tmp_path: Path) -> None:
    text = (
        opening("MD") + cell() + settings() + WATER_KINDS + coordinates() + ensemble() + CONVERGED + energy() + forces()
    )
    text += md_start() + CONVERGED + energy(ENERGIES[1]) + forces() + md_step(20, 10.0) + END

    run = read(tmp_path, text, pos=xyz((20, ENERGIES[1], MOVED)))

    assert run.frames.get("step").tolist() == [19, 20]
    assert np.allclose(run.frames.positions[:3], [row[1:] for row in WATER])
    assert run.ending.left_out == ()


def test_a_step_that_was_written_twice_is_taken_by_its_energy(tmp_path: Path) -> None:
    twice = xyz((0, ENERGIES[0], WATER), (1, -17.13, WATER), (1, ENERGIES[1], MOVED), (2, ENERGIES[2], FARTHER))

    frames = read(tmp_path, dynamics(), pos=twice).frames

    assert np.allclose(frames.positions[3:6], [row[1:] for row in MOVED])


def test_line_searches_of_an_optimisation_have_no_geometry(tmp_path: Path) -> None:
    text = opening("GEO_OPT") + cell() + settings() + WATER_KINDS + coordinates()
    text += CONVERGED + energy(ENERGIES[0]) + forces() + opt_step(0, ENERGIES[0])
    text += CONVERGED + energy(-17.13) + CONVERGED + energy(ENERGIES[1]) + forces() + opt_step(1, ENERGIES[1]) + END

    run = read(tmp_path, text, pos=xyz((1, ENERGIES[1], MOVED), time=False))

    assert hartree(run.frames) == [round(ENERGIES[0], 12), round(ENERGIES[1], 12)]
    assert len(run.ending.left_out) == 1


def test_the_element_is_the_one_printed_and_not_the_name_of_the_kind(tmp_path: Path) -> None:
    """A kind Al may stand for cobalt, and companions may print kinds."""
    atoms = [("Co", 0.0, 0.0, 0.0), ("Co", 2.0, 0.0, 0.0)]
    start = opening("MD") + cell() + settings() + kinds(("Al", "DZVP", "GTH-PBE-q17")) + coordinates(atoms) + ensemble()
    text = start + CONVERGED + energy(-290.0) + md_start() + CONVERGED + energy(-290.1) + md_step(1, 0.5) + END

    run = read(tmp_path, text, pos=xyz((1, -290.1, [("Al", 0.0, 0.1, 0.0), ("Al", 2.0, 0.0, 0.0)])))

    assert run.frames.atomic_numbers.tolist() == [27] * 4
    assert [row.element for row in run.header.method.pseudopotentials] == ["Co"]


def test_positions_in_another_unit_are_refused(tmp_path: Path) -> None:
    """C1: an xyz file states none, and the input may ask for bohr."""
    frames = [[(s, x / BOHR, y / BOHR, z / BOHR) for s, x, y, z in atoms] for atoms in (MOVED, FARTHER)]

    run = read(tmp_path, dynamics(), pos=xyz(*zip((1, 2), ENERGIES[1:], frames, strict=True)))

    assert run.frames.get("step").tolist() == [0]
    assert "The input asked for another unit" in run.ending.left_out[0].reason


def test_velocities_are_those_whose_kinetic_energy_is_printed(tmp_path: Path) -> None:
    velocities = [[1e-4, 0, 0], [0, -8e-4, 0], [0, 0, 8e-4]]
    masses = np.array([15.9994, 1.0079, 1.0079]) * 1822.888484
    kinetic = 0.5 * float(masses @ (np.array(velocities) ** 2).sum(axis=1))
    text = dynamics().replace(f"{0.0077456:31.12E}", f"{kinetic:31.12E}")
    vel = xyz((1, ENERGIES[1], labelled(velocities)))

    run = read(tmp_path, text, pos=positions(), vel=vel)
    wrong = read(tmp_path, dynamics(), pos=positions(), vel=vel)

    assert np.allclose(run.frames.get("velocities")[3:6], np.array(velocities) * BOHR / ATOMIC_TIME)
    assert "velocities" not in wrong.frames
    assert "velocities of step 1 are left out" in wrong.ending.warnings[0]


@pytest.mark.parametrize("name", ["water-nvt-frc-1.xyz", "run-frc-1.xyz"])
def test_companions_are_found_by_the_project_and_by_the_name_of_the_log(tmp_path: Path, name: str) -> None:
    frc = xyz(*((step, ENERGIES[step], labelled(FORCES)) for step in range(3)))
    (tmp_path / name).write_text(frc)
    (tmp_path / "water-pos-1.xyz").write_text(positions())
    (tmp_path / "run.out").write_text(dynamics(log_forces=False))

    assert not np.isnan(read_file(tmp_path / "run.out").frames.forces).any()


def test_an_extended_xyz_companion_is_read_by_its_step(tmp_path: Path) -> None:
    """The FORMAT EXTXYZ of CP2K 2026."""
    rows = "".join(f"{s:>3s}{x:20.10f}{y:20.10f}{z:20.10f}\n" for s, x, y, z in MOVED)
    comment = 'Lattice="6 0 0 0 6 0 0 0 6" Properties=species:S:1:pos:R:3 pbc="T T T"'
    text = f"       3\n{comment} Step=1 Time=0.500 Energy={ENERGIES[1]:.10f}\n{rows}"

    assert read(tmp_path, dynamics(), pos=text).frames.get("step").tolist() == [0, 1]


# -- C4: convergence


@pytest.mark.parametrize(
    "line",
    [
        UNCONVERGED,
        "\n *** WARNING in qs_scf.F:601 :: SCF run NOT converged ***\n",
        "\n  outer SCF loop FAILED to converge\n",
    ],
)
def test_an_scf_that_did_not_converge_marks_its_frame_though_the_run_goes_on(tmp_path: Path, line: str) -> None:
    frames = read(tmp_path, dynamics().replace(CONVERGED, line, 1), pos=positions()).frames

    assert frames.get("scf_converged").tolist() == [0, 1, 1]


def test_inner_loops_of_an_outer_scf_say_nothing_of_convergence(tmp_path: Path) -> None:
    inner = "\n  Leaving inner SCF loop after reaching    20 steps.\n"
    text = single_point(energy())

    assert read(tmp_path, text.replace(CONVERGED, inner + CONVERGED)).frames.get("scf_converged").tolist() == [1]
    assert read(tmp_path, text.replace(CONVERGED, "")).frames.get("scf_converged").tolist() == [-1]


# -- cells


@pytest.mark.parametrize(
    ("periodicity", "pbc"), [("NONE", [0, 0, 0]), ("XY", [1, 1, 0]), ("Z", [0, 0, 1]), ("XYZ", [1, 1, 1])]
)
def test_the_cell_repeats_where_the_log_says_so(tmp_path: Path, periodicity: str, pbc: list[int]) -> None:
    frames = read(tmp_path, single_point(energy()).replace(cell(), cell(periodicity=periodicity))).frames

    assert frames.pbc.tolist() == [pbc]
    assert ("cell" in frames) is any(pbc)


def test_before_2023_the_poisson_solver_says_along_which_vectors_the_cell_repeats(tmp_path: Path) -> None:
    poisson = (
        cell(periodicity=None) + "\n POISSON| Periodicity                                                       NONE\n"
    )

    assert not read(tmp_path, single_point(energy()).replace(cell(), poisson)).frames.pbc.any()


def test_a_log_that_does_not_say_it_is_taken_as_periodic_with_a_warning(tmp_path: Path) -> None:
    run = read(tmp_path, single_point(energy()).replace(cell(), cell(periodicity=None)))

    assert run.frames.pbc.all()
    assert "does not say" in run.ending.warnings[0]


def test_vectors_with_three_decimals_are_stretched_to_their_lengths(tmp_path: Path) -> None:
    fcc = [[0, 2.734364, 2.734364], [2.734364, 0, 2.734364], [2.734364, 2.734364, 0]]

    frames = read(tmp_path, single_point(energy()).replace(cell(), cell(fcc))).frames

    assert np.allclose(frames.cell[0], fcc, atol=1e-6)


def test_a_cell_along_the_axes_is_built_from_lengths_and_angles(tmp_path: Path) -> None:
    triclinic = [[5.12345678, 0, 0], [-2.5612345, 4.4370123, 0], [0.7654321, 1.2345678, 6.7891234]]

    frames = read(tmp_path, single_point(energy()).replace(cell(), cell(triclinic))).frames

    assert np.allclose(frames.cell[0], triclinic, atol=2e-6)


def test_a_cell_optimisation_that_turned_its_cell_does_not_pair_forces_with_the_printed_coordinates(
    tmp_path: Path,
) -> None:
    fcc = [[0, 2.7, 2.7], [2.7, 0, 2.7], [2.7, 2.7, 0]]
    length = 2.7 * np.sqrt(2)
    turned = length * np.array([[1, 0, 0], [0.5, np.sqrt(0.75), 0], [0.5, np.sqrt(0.75) / 3, np.sqrt(2 / 3)]])
    text = optimisation(run_type="CELL_OPT").replace(cell(), cell(fcc))
    text = text.replace(coordinates(), coordinates() + cell(turned))

    run = read(tmp_path, text)

    assert run.runs[0].frames is None
    assert "turned frame" in run.ending.left_out[0].reason


def test_each_step_of_a_cell_optimisation_has_the_cell_printed_right_before_it(tmp_path: Path) -> None:
    text = optimisation(run_type="CELL_OPT")
    wider = cell(((6.1, 0, 0), (0, 6.1, 0), (0, 0, 6.1)))
    text = text.replace(opt_step(0, ENERGIES[0]), opt_step(0, ENERGIES[0]) + wider)

    run = read(tmp_path, text, pos=positions(time=False))

    assert run.frames.cell[:, 0, 0].tolist() == [6.0, 6.1]
    assert "expected the cell of this step" in run.ending.left_out[0].reason


@pytest.mark.parametrize(("name", "fixed_at"), [("NPT_I", "first cell"), ("NPE_F", "first cell"), ("NVT", None)])
def test_where_the_cell_moves_the_grids_are_those_of_the_first(tmp_path: Path, name: str, fixed_at: str | None) -> None:
    assert read(tmp_path, dynamics(name=name)).header.basis_fixed_at == fixed_at
    assert read(tmp_path, optimisation(run_type="CELL_OPT")).header.basis_fixed_at == "first cell"


@pytest.mark.parametrize("source", ["log", "companion"])
def test_at_constant_pressure_each_step_has_its_own_cell(tmp_path: Path, source: str) -> None:
    lengths = ((6.01, 6.01, 6.01), (6.02, 6.02, 6.02))
    text = dynamics(name="NPT_I")
    if source == "log":
        for step, found in enumerate(lengths, 1):
            text = text.replace(md_step(step, 0.5 * step), md_step(step, 0.5 * step, lengths=found))
        frames = read(tmp_path, text, pos=positions()).frames
    else:
        frames = read(tmp_path, text, pos=positions(), cell=cells((1, lengths[0]), (2, lengths[1]))).frames

    assert np.allclose(frames.cell[:, 0, 0], [6.0, 6.01, 6.02])


def test_at_constant_pressure_a_step_without_a_cell_is_left_out(tmp_path: Path) -> None:
    run = read(tmp_path, dynamics(name="NPT_F"), pos=positions(), cell=cells((1, (6.01, 6.01, 6.01))))

    assert run.frames.get("step").tolist() == [0, 1]
    assert "expected the cell of this step" in run.ending.left_out[0].reason


# -- labels that are not what they seem


def test_a_force_set_to_zero_on_a_fixed_atom_is_masked(tmp_path: Path) -> None:
    fixed = ((0.0, 0.0, 0.0), (0.0, 0.057, -0.038), (-0.001, -0.107, -0.072))

    run = read(tmp_path, single_point(energy() + forces(fixed)))

    assert run.header.forces_are == "zeroed_on_fixed"
    assert run.frames.get("force_mask").tolist() == [0, 1, 1]


def test_a_force_that_vanishes_by_symmetry_is_not_masked(tmp_path: Path) -> None:
    balanced = ((0.0, 0.0, 0.0), (0.0, 0.05, -0.03), (0.0, -0.05, 0.03))

    run = read(tmp_path, single_point(energy() + forces(balanced)))

    assert (run.header.forces_are, "force_mask" in run.frames) == ("physical", False)


def test_metadynamics_biases_the_forces(tmp_path: Path) -> None:
    text = dynamics().replace(CONVERGED, "\n METADYN| Method\n" + CONVERGED, 1)

    assert read(tmp_path, text, pos=positions()).header.forces_are == "biased"


@pytest.mark.parametrize("kind", ["PINT", "EHRENFEST_DYN", "TMC"])
def test_beads_of_path_integrals_and_other_kinds_of_run_are_not_paired(tmp_path: Path, kind: str) -> None:
    read_in = read(tmp_path, single_point(energy() + forces()).replace(f"{'ENERGY_FORCE':>70s}", f"{kind:>70s}"))

    assert read_in.runs[0].frames is None
    assert [one.frames for one in read_in.ending.left_out] == [1]


def test_labels_of_a_neural_network_are_said_to_be_so(tmp_path: Path) -> None:
    header = read(tmp_path, single_point(energy(environment="NNP") + forces())).header

    assert (header.energy_kind, header.forces_are) == ("ml", "ml")


def test_displaced_geometries_of_a_vibrational_analysis_are_not_the_printed_one(tmp_path: Path) -> None:
    text = single_point(energy()).replace("ENERGY_FORCE\n", "VIBRATIONAL_ANALYSIS\n")

    run = read(tmp_path, text)

    assert run.runs[0].frames is None
    assert "not printed" in run.ending.left_out[0].reason


def test_the_energy_of_quantum_and_classical_atoms_together_is_the_outermost(tmp_path: Path) -> None:
    parts = energy(-1.0, environment="FIST") + energy(-2.0, environment="QS")

    run = read(tmp_path, single_point(parts + energy(-3.0, environment="QMMM") + forces()))

    assert hartree(run.frames) == [-3.0]
    assert run.header.method.external == ("QM/MM",)


def test_a_free_energy_beside_the_total_leaves_the_frame_out(tmp_path: Path) -> None:
    free = energy(-17.2, environment="PWDFT").replace(") energy", ") free energy")

    run = read(tmp_path, single_point(energy(environment="PWDFT") + free + forces()))

    assert run.runs[0].frames is None
    assert "free energy beside it" in run.ending.left_out[0].reason


def test_forces_on_cores_and_shells_leave_the_frame_out(tmp_path: Path) -> None:
    shells = forces().replace("ATOMIC FORCES", "SHELL PARTICLE FORCES")

    assert read(tmp_path, single_point(energy() + forces() + shells)).runs[0].frames is None


def test_ghost_atoms_leave_the_frame_out(tmp_path: Path) -> None:
    text = single_point(energy()).replace("   1.0000   1.0079\n", "   0.0000   1.0079\n", 1)

    assert "ghosts" in read(tmp_path, text).ending.left_out[0].reason


# -- charges


def test_charges_and_moments_stand_in_other_columns_in_each_table(tmp_path: Path) -> None:
    mulliken = """
                     Mulliken Population Analysis

 #  Atom  Element  Kind  Atomic population (alpha,beta) Net charge  Spin moment
       1     O        1         3.400000     3.300000    -0.700000     0.100000
       2     H        2         0.300000     0.400000     0.300000    -0.100000
       3     H        2         0.300000     0.300000     0.400000     0.000000
 # Total charge and spin        4.000000     4.000000     0.000000     0.000000
"""
    hirshfeld = """
                           Hirshfeld Charges

  #Atom  Element  Kind  Ref Charge     Population       Spin moment  Net charge
      1       O      1       6.000    3.500   3.400            0.100     -0.900
      2       H      2       1.000    0.200   0.300           -0.100      0.500
      3       H      2       1.000    0.300   0.300            0.000      0.400

"""
    frames = read(tmp_path, single_point(mulliken + hirshfeld + energy())).frames

    assert frames.get("charges_mulliken").tolist() == [-0.7, 0.3, 0.4]
    assert frames.get("charges_hirshfeld").tolist() == [-0.9, 0.5, 0.4]
    assert frames.get("magnetic_moments").tolist() == [0.1, -0.1, 0.0]


def test_charges_sorted_by_kind_are_put_in_the_order_of_the_atoms(tmp_path: Path) -> None:
    """xTB."""
    table = """
 MULLIKEN POPULATION ANALYSIS

  # Atom   Element   Kind        Atomic population                    Net charge
       2     H          1                 0.680000                      0.320000
       3     H          1                 0.670000                      0.330000
       1     O          2                 6.650000                     -0.650000
 # Total charge                           8.000000                      0.000000
"""
    assert read(tmp_path, single_point(table + energy())).frames.get("charges_mulliken").tolist() == [-0.65, 0.32, 0.33]


# -- bands


def test_images_of_a_band_are_paired_by_number_and_energy(tmp_path: Path) -> None:
    def image(number: int, value: float, rows: Rows) -> str:
        text = f" NEB| REPLICA Nr. {number:4d}- Energy and Forces\n NEB| {'Total energy:':>49s} {value:22.12f}\n"
        text += " NEB|    ATOM                            X                Y                Z\n"
        return text + "".join(
            f" NEB|      {symbol:<16s}  {x:15.9f}  {y:15.9f}  {z:15.9f}           \n"
            for symbol, (x, y, z) in zip("OHH", rows, strict=True)
        )

    start = opening("BAND") + cell() + settings() + WATER_KINDS + coordinates()
    text = start + "\n NEB| Computing Energies and Forces\n" + image(1, -17.1, FORCES) + image(2, -17.0, OTHER_FORCES)
    text += image(1, -17.15, FORCES) + image(2, -17.05, FORCES) + END
    replicas = (((0, -17.1, WATER),), ((0, -17.0, MOVED), (1, -17.05, FARTHER)))
    for number, frames in enumerate(replicas, 1):
        (tmp_path / f"water-pos-Replica_nr_{number}-1.xyz").write_text(xyz(*frames, time=False))
    run = read(tmp_path, text)

    assert hartree(run.frames) == [-17.1, -17.0, -17.05]
    assert run.frames.get("image").tolist() == [0, 1, 1]
    assert np.allclose(run.frames.forces[3:6], np.array(OTHER_FORCES) * HARTREE / BOHR)
    assert (run.header.run_kind, run.ending.left_out[0].frames) == ("neb", 1)
