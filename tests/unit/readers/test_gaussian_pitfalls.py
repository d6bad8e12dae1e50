"""The Gaussian log reader on each pitfall of real outputs, one promise a test."""

from __future__ import annotations

import numpy as np
import pytest
from gaussian_output import (
    END,
    MP2_LINKS,
    MULLIKEN,
    RESTORED,
    SCF_LINKS,
    SHAPES,
    SINGLE_POINT_LINKS,
    TD_LINKS,
    TURN,
    WATER,
    Output,
    archive,
    both,
    force_table,
    next_job,
    opening,
    optimisation,
    orientation,
    read,
    scf,
    springs,
    standard,
    step,
)

from mlpdata.units import BOHR, HARTREE

POSITIONS = SHAPES[0]
FORCES = springs(POSITIONS)
TURNED = FORCES @ TURN.T
"""The forces in standard axes."""


def hartree(output: Output) -> list[float]:
    return (output.frames.energy / HARTREE).round(8).tolist()


def forces(output: Output) -> np.ndarray:
    return output.frames.forces / HARTREE * BOHR


# -- G1 to G3: axes


def test_restored_axes_are_those_of_the_input() -> None:
    """G1."""
    output = read(opening() + step(POSITIONS, -75.3) + END)

    assert np.allclose(output.frames.positions, POSITIONS, atol=1e-9)
    assert np.allclose(forces(output), FORCES, atol=1e-12)


def test_axes_that_are_not_restored_are_those_printed_last() -> None:
    """G1: the gradient of EOM-CCSD."""
    output = read(opening() + both(POSITIONS) + scf(-75.3) + force_table(TURNED) + END)

    assert np.allclose(output.frames.positions, standard(POSITIONS), atol=1e-9)
    assert np.allclose(forces(output), np.round(TURNED, 9), atol=1e-12)


def test_restored_axes_of_an_earlier_geometry_do_not_count() -> None:
    text = opening() + step(SHAPES[1], -75.3) + both(POSITIONS) + scf(-75.2) + force_table(TURNED) + END

    assert np.allclose(read(text).frames.positions[3:], standard(POSITIONS), atol=1e-9)


def test_forces_with_a_torque_are_paired_with_the_other_axes_where_they_have_none() -> None:
    """G1: the guard at runtime."""
    output = read(opening() + both(POSITIONS) + scf(-75.3) + RESTORED + force_table(TURNED) + END)

    assert np.allclose(output.frames.positions, standard(POSITIONS), atol=1e-9)
    assert "paired with that" in output.ending.warnings[0]


def test_forces_with_a_torque_in_both_axes_are_dropped_with_their_line() -> None:
    twisted = FORCES + np.array([[0.0, 0.0, 0.1], [0.0, 0.0, 0.1], [0.0, 0.0, -0.2]])
    text = opening() + both(POSITIONS) + scf(-75.3) + RESTORED + force_table(twisted) + END

    output = read(text)

    assert hartree(output) == [-75.3]
    assert np.isnan(forces(output)).all()
    line = next(number for number, row in enumerate(text.split("\n"), 1) if "SCF Done" in row)
    assert output.ending.warnings[0].startswith(f"line {line}: the forces exert a torque")


def test_forces_in_a_field_may_have_a_torque() -> None:
    twisted = FORCES + np.array([[0.0, 0.0, 0.1], [0.0, 0.0, 0.1], [0.0, 0.0, -0.2]])
    text = opening("# B3LYP/STO-3G force charge") + both(POSITIONS) + scf(-75.3) + RESTORED + force_table(twisted)

    output = read(text + END)

    assert np.allclose(forces(output), twisted)
    assert output.header.forces_are == "with_external"


def test_the_last_of_two_tables_of_a_step_counts() -> None:
    """G2: the first is in standard axes."""
    first = " Forces in standard orientation:\n" + force_table(TURNED)
    text = opening() + both(POSITIONS) + scf(-75.3) + first + RESTORED + force_table(FORCES) + END

    output = read(text)

    assert np.allclose(output.frames.positions, POSITIONS, atol=1e-9)
    assert np.allclose(forces(output), FORCES, atol=1e-12)


def test_without_the_inputs_geometry_a_table_in_standard_axes_is_taken() -> None:
    """G2 and G3."""
    first = " Forces in standard orientation:\n" + force_table(TURNED)
    geometry = orientation("Standard", standard(POSITIONS))
    text = opening() + geometry + scf(-75.3) + first + RESTORED + force_table(FORCES) + END

    output = read(text)

    assert np.allclose(output.frames.positions, standard(POSITIONS), atol=1e-9)
    assert np.allclose(forces(output), TURNED, atol=1e-9)


@pytest.mark.parametrize("separator", ["\\", "|"])
def test_the_archive_has_the_positions_of_forces_whose_axes_are_not_printed(separator: str) -> None:
    """G3, G11: the archive entry is in the input's axes, its lines are broken anywhere; `|` on Windows."""
    text = opening() + orientation("Standard", standard(POSITIONS)) + scf(-75.3) + RESTORED + force_table(FORCES)

    output = read(text + "\n" + archive(POSITIONS, separator) + END)

    assert np.allclose(output.frames.positions, POSITIONS, atol=1e-9)
    assert np.allclose(forces(output), FORCES, atol=1e-12)


@pytest.mark.parametrize("entry", ["", archive(SHAPES[1])], ids=["none", "of another geometry"])
def test_a_last_geometry_that_no_archive_has_in_the_axes_of_its_forces_is_left_out(entry: str) -> None:
    """G3: more than 50 atoms."""
    text = opening() + orientation("Standard", standard(POSITIONS)) + scf(-75.3) + RESTORED + force_table(FORCES)

    output = read(text + "\n" + entry + END)

    assert output.runs[0].frames is None
    assert "axes of its forces" in output.ending.left_out[0].reason


def test_terse_output_prints_no_forces_and_keeps_its_energies() -> None:
    """G3 does not concern it."""
    text = opening("#T B3LYP/STO-3G opt") + orientation("Standard", standard(POSITIONS)) + scf(-75.3) + END

    assert hartree(read(text)) == [-75.3]


def test_only_the_last_forces_of_a_run_are_those_of_the_archive() -> None:
    one = [orientation("Standard", standard(s)) + scf(-75.3) + RESTORED + force_table(springs(s)) for s in SHAPES]

    output = read(opening() + "".join(one) + "\n" + archive(SHAPES[1]) + END)
    frames = output.frames

    assert "standard orientation only" in output.ending.warnings[0]
    assert np.isnan(frames.forces[:3]).all()
    assert np.allclose(frames.positions[3:], SHAPES[1], atol=1e-9)


# -- G4, G5: tables


def test_z_matrix_orientation_is_the_inputs() -> None:
    """G4."""
    text = (opening() + step(POSITIONS, -75.3) + END).replace("Input orientation", "Z-Matrix orientation")

    assert np.allclose(read(text).frames.positions, POSITIONS, atol=1e-9)


def test_dummies_and_ghosts_are_no_atoms() -> None:
    """G4: rows with atomic number -1 and 0 among the coordinates."""
    shape = np.concatenate((POSITIONS[:1], [[1.0, 1.0, 1.0]], POSITIONS[1:], [[2.0, 2.0, 2.0]]))
    geometry = orientation("Input", shape, np.array([8, -1, 1, 1, 0]))

    output = read(opening() + geometry + scf(-75.3) + force_table(FORCES) + END)

    assert output.frames.atomic_numbers.tolist() == WATER.tolist()
    assert np.allclose(output.frames.positions, POSITIONS, atol=1e-9)


def test_translation_vectors_are_the_cell() -> None:
    """G4: they have forces of their own, without a number."""
    shape = np.concatenate((POSITIONS, [[5.0, 0.0, 0.0], [0.0, 6.0, 0.0]]))
    geometry = orientation("Input", shape, np.array([8, 1, 1, -2, -2]))
    vector = "              -2          -0.000000162   -0.000000016    0.000000000\n"
    before, rows, after = force_table(FORCES).rsplit(" " + "-" * 67 + "\n", 2)
    table = f"{before} {'-' * 67}\n{rows}{vector * 2} {'-' * 67}\n{after}"

    frames = read(opening() + geometry + scf(-75.3) + table + END).frames

    assert frames.n_atoms.tolist() == [3]
    assert frames.cell[0].tolist() == [[5.0, 0.0, 0.0], [0.0, 6.0, 0.0], [0.0, 0.0, 0.0]]
    assert frames.pbc.tolist() == [[1, 1, 0]]


def test_columns_that_touch_are_told_apart_by_their_width() -> None:
    """G5."""
    large = np.array([[0.0, 219.870882556, -1030.493229556], [0.0, -219.870882556, 1030.493229556], [0.0, 0.0, 0.0]])
    text = opening("# B3LYP/STO-3G force charge") + orientation("Input", POSITIONS) + scf(-75.3) + force_table(large)
    assert "219.870882556-1030.493229556" in text

    assert np.allclose(forces(read(text + END)), large, atol=1e-12)


def test_numbers_without_a_leading_zero_are_read() -> None:
    """Gaussian 03 on IBM prints .5 and -.5."""
    text = (opening() + step(POSITIONS, -75.3) + END).replace(" -0.", "  -.").replace(" 0.", "  .")

    assert np.allclose(read(text).frames.positions, POSITIONS, atol=1e-9)


@pytest.mark.parametrize("bad", ["*" * 15, "            NaN", "          1E400"])
def test_a_force_that_is_no_number_costs_the_frame(bad: str) -> None:
    second = step(SHAPES[1], -75.31)
    text = opening() + step(POSITIONS, -75.3).replace(f"{FORCES[0, 1]:15.9f}", bad) + second + END

    output = read(text)

    assert hartree(output) == [-75.31]
    assert "expected a" in output.ending.left_out[0].reason


# -- G6, G7: energies


def mp2(total: str) -> str:
    return f" E2 =    -0.1126827706D+00 EUMP2 =    {total}\n"


def with_energies(text: str, route: str, links: str, *, forced: bool = True) -> Output:
    table = RESTORED + force_table(FORCES) if forced else ""
    return read(opening(route, links) + both(POSITIONS) + scf(-75.3, "RHF") + text + table + END)


def test_forces_of_mp2_belong_to_its_total_energy() -> None:
    """G6, G7: exponents are written with D."""
    output = with_energies(mp2("-0.75412682770600D+02"), "# MP2/STO-3G force", MP2_LINKS)

    assert hartree(output) == [-75.41268277]
    assert (output.header.method.functional, output.header.method.correlation) == ("HF", "MP2")


@pytest.mark.parametrize(
    ("keyword", "text", "energy", "name"),
    [
        ("MP4(SDQ)", " E4(SDQ)=  -0.32127250E-02        UMP4(SDQ)=  -0.75016013656E+02\n", -75.01601366, "MP4(SDQ)"),
        ("MP3", " E3=       -0.10518804E-01        EUMP3=      -0.75012800931E+02\n", -75.01280093, "MP3"),
        ("CCSD", " DE(Corr)= -0.526E-01 E(CORR)=     -75.017608354     Delta=-6.93E-04\n", -75.01760835, "CCSD"),
        ("CCSD", " Wavefunction amplitudes converged. E(Corr)=     -75.017683639\n", -75.01768364, "CCSD"),
        ("UCCSD(T,full)", " CCSD(T)= -0.75017760423D+02\n", -75.01776042, "CCSD(T)"),
        ("QCISD(T)", " QCISD(T)= -0.75017760423D+02\n", -75.01776042, "QCISD(T)"),
        ("MP5", " DEMP5 =  -0.10996872617D-02 MP5 =  -0.79533929414D+02\n", -79.53392941, "MP5"),
    ],
)
def test_the_route_names_the_line_of_the_total_energy(keyword: str, text: str, energy: float, name: str) -> None:
    """G6."""
    output = with_energies(mp2("-0.75002D+02") + text, f"# {keyword}/STO-3G", MP2_LINKS, forced=False)

    assert hartree(output) == [energy]
    assert output.header.method.correlation == name


def test_a_damaged_total_energy_is_not_replaced_by_that_of_the_reference() -> None:
    output = with_energies(mp2("********************"), "# MP2/STO-3G force", MP2_LINKS)

    assert output.runs[0].frames is None
    assert len(output.ending.left_out) == 1


def test_an_energy_that_the_route_does_not_explain_is_absent() -> None:
    """G6: G3 runs MP4 in a step whose route names none."""
    output = with_energies(mp2("-0.754D+02"), "# G3", MP2_LINKS)

    assert np.isnan(output.frames.energy).all()
    assert np.allclose(forces(output), FORCES, atol=1e-12)
    assert "energy absent" in output.ending.warnings[0]


def test_a_compound_method_whose_step_runs_an_scf_has_its_energy() -> None:
    assert hartree(with_energies("", "# G3", SCF_LINKS)) == [-75.3]


def test_casscf_has_no_energy_that_is_known() -> None:
    output = with_energies("", "# CASSCF(2,2)/STO-3G force", SCF_LINKS.replace("5/5=2,38=5/2", "5/5=2,17=1/1,10"))

    assert np.isnan(output.frames.energy).all()


EXCITED = " Total Energy, E(TD-HF/TD-DFT) =  -75.1\n"


def test_excitation_energies_alone_leave_the_label_on_the_ground_state() -> None:
    """G6."""
    links = TD_LINKS.replace(" 7/29=1/1,2,3,16;\n", "")
    output = with_energies(EXCITED, "# B3LYP/STO-3G td=(nstates=3)", links, forced=False)

    assert hartree(output) == [-75.3]
    assert (output.header.method.excited, output.header.method.state) == (False, None)


def test_the_forces_of_an_excited_state_belong_to_its_energy() -> None:
    output = with_energies(EXCITED, "# B3LYP/STO-3G td=(nstates=3,root=2) opt", TD_LINKS)

    assert hartree(output) == [-75.1]
    assert (output.header.method.excited, output.header.method.state) == (True, "root 2")


def test_forces_of_an_excited_state_without_its_energy_are_alone() -> None:
    assert np.isnan(with_energies("", "# B3LYP/STO-3G td opt", TD_LINKS).frames.energy).all()


def test_a_double_hybrid_has_its_perturbative_part() -> None:
    text = " E2(B2PLYP) =    -0.1126827706D+00 E(B2PLYP) =    -0.75412682770600D+02\n"
    output = with_energies(text, "# B2PLYP/STO-3G force", MP2_LINKS)

    assert hartree(output) == [-75.41268277]
    assert output.header.method.functional == "B2PLYP"


def test_an_oniom_energy_is_the_extrapolated_one() -> None:
    """G6: three SCFs a geometry."""
    parts = scf(-70.0, "RHF") + scf(-71.0, "RPM6") + MULLIKEN + " ONIOM: extrapolated energy =     -76.250000000000\n"
    state = (
        "Charge =  1 Multiplicity = 2 for low   level calculation on real  system.\n"
        " Charge =  0 Multiplicity = 1 for high  level calculation on model system."
    )
    text = opening("# ONIOM(HF/STO-3G:PM6) force", state=state) + both(POSITIONS) + parts
    output = read(text + RESTORED + force_table(FORCES) + END)

    assert hartree(output) == [-76.25]
    assert output.frames.get("charge").tolist() == [1.0]
    assert "charges_mulliken" not in output.frames


def test_a_counterpoise_energy_is_the_corrected_one() -> None:
    text = scf(-40.0, "RHF") + " Counterpoise: corrected energy =     -75.350000000000\n"

    assert hartree(with_energies(text, "# HF/STO-3G counterpoise=2 force", SCF_LINKS)) == [-75.35]


def test_another_program_is_asked_by_external() -> None:
    """G6: no SCF is printed."""
    energies = " Recovered energy= -13.1515719391     dipole=      5.8   -8.4   -0.04\n Energy=    -13.1515719     NIter=   0.\n"
    text = opening("# External='xtb-gaussian' force") + both(POSITIONS) + energies + RESTORED + force_table(FORCES)
    output = read(text + END)

    assert hartree(output) == [-13.15157194]
    assert output.header.method.functional_as_printed == "external 'xtb-gaussian'"
    assert output.frames.get("scf_converged").tolist() == [-1]


def test_semiempirical_energies_of_older_versions_are_read() -> None:
    text = opening("# AM1 force", SCF_LINKS) + both(POSITIONS) + " Energy=    0.172272018655 NIter=  14.\n"

    output = read(text + RESTORED + force_table(FORCES) + END)

    assert hartree(output) == [0.17227202]
    assert (output.header.method.functional, output.header.method.basis) == ("AM1", None)


# -- G8 to G12: jobs


def test_each_job_is_a_run_with_its_own_method_charge_and_molecule() -> None:
    """G8."""
    pair = POSITIONS[1:]
    other = opening("# BLYP/3-21G force", state="Charge =  1 Multiplicity = 2") + orientation("Input", pair, WATER[1:])
    text = optimisation() + next_job() + step(SHAPES[1], -75.31) + END + other
    text += scf(-0.5, "UBLYP") + force_table(springs(pair), WATER[1:]) + END

    runs = read(text).runs

    assert [run.header.method.functional for run in runs] == ["B3LYP", "B3LYP", "BLYP"]
    assert [run.header.run_kind for run in runs] == ["relax", "phonon", "single_point"]
    assert [run.frames.n_atoms.tolist() for run in runs] == [[3, 3], [3], [2]]
    assert [run.frames.get("charge").tolist()[0] for run in runs] == [0.0, 0.0, 1.0]
    assert [run.header.method.code_version for run in runs] == ["16 ES64L-G16RevC.01"] * 3
    assert len({run.header.identity for run in runs}) == 3


def test_forces_without_an_energy_of_their_geometry_are_left_out() -> None:
    """G9, G12: the last table of a trajectory is that of the step before, printed after a new geometry."""
    output = read(opening() + step(POSITIONS, -75.3) + orientation("Input", SHAPES[1]) + force_table(FORCES) + END)

    assert hartree(output) == [-75.3]
    assert "forces of other coordinates" in output.ending.left_out[0].reason.replace("those of", "forces of")


def test_an_scf_that_failed_marks_its_frame() -> None:
    """G10: SCF Done is printed all the same."""
    failure = scf(-75.3).replace(" SCF Done", " >>>>>>>>>> Convergence criterion not met.\n SCF Done")
    text = opening() + both(POSITIONS) + failure + " Convergence failure -- run terminated.\n"

    assert read(text).frames.get("scf_converged").tolist() == [0]


def test_a_second_scf_that_converges_takes_the_place_of_one_that_failed() -> None:
    """G10: scf=xqc."""
    failed = scf(-75.2).replace(" SCF Done", " >>>>>>>>>> Convergence criterion not met.\n SCF Done")
    output = read(opening() + both(POSITIONS) + failed + scf(-75.3) + RESTORED + force_table(FORCES) + END)

    assert hartree(output) == [-75.3]
    assert output.frames.get("scf_converged").tolist() == [1]


def test_a_route_of_several_lines_is_joined_without_spaces() -> None:
    """G11: lines of 70 characters break words."""
    route = "# opt freq=noraman scf=(maxcycle=500,conver=9) geom=connect nosym PBE1PBE/6-311++G(3df,3pd)"
    assert "PBE1PBE" not in opening(route)
    method = read(opening(route) + step(POSITIONS, -75.3) + END).header.method

    assert (method.functional, method.basis) == ("PBE0", "6-311++g(3df,3pd)")


def test_every_step_of_a_trajectory_is_a_frame() -> None:
    """G12: steps after the first print the input's axes only."""
    later = (
        orientation("Input", SHAPES[1]) + scf(-75.31) + force_table(springs(SHAPES[1])) + " Time (fs)     0.100000\n"
    )

    output = read(opening("# ADMP B3LYP/STO-3G") + step(POSITIONS, -75.3) + later + END)

    assert hartree(output) == [-75.3, -75.31]
    assert np.allclose(output.frames.positions, np.concatenate(SHAPES), atol=1e-9)
    assert output.header.run_kind == "md"


def test_displacements_of_a_numerical_derivative_are_not_read() -> None:
    """Their energies and forces are of other geometries, or in a field."""
    numerical = (
        " D2Numr ... symmetry will be used.\n"
        + scf(-75.29)
        + force_table(FORCES * 1.1)
        + RESTORED
        + force_table(FORCES)
    )

    output = read(opening() + step(POSITIONS, -75.3) + numerical + END)

    assert hartree(output) == [-75.3]
    assert np.allclose(forces(output), FORCES, atol=1e-12)
    assert "numerical differentiation" in output.ending.warnings[0]


def test_a_guess_alone_has_no_frame_and_is_no_fault() -> None:
    output = read(opening("# B3LYP/STO-3G guess=only", SINGLE_POINT_LINKS) + both(POSITIONS) + END)

    assert output.runs[0].frames is None
    assert (output.ending.status, output.ending.left_out) == ("complete", ())


@pytest.mark.parametrize("damage", ["Charge = ** Multiplicity = 1", "Charge =  0 Multiplicity =***"])
def test_a_charge_that_is_none_costs_the_run(damage: str) -> None:
    output = read(optimisation().replace("Charge =  0 Multiplicity = 1", damage))

    assert output.runs[0].frames is None
    assert output.ending.left_out[0].frames == 2
