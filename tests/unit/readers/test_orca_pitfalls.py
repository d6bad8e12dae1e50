"""The ORCA reader on each pitfall of real outputs, one promise a test."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import pytest
from orca_output import (
    CONVERGED,
    END,
    STEPS,
    TOTAL,
    UNCONVERGED,
    WATER,
    coordinates,
    cycle,
    final,
    gradient,
    hartree,
    has_forces,
    opening,
    optimisation,
    read,
    settings,
    single_point,
)

from mlpdata.units import BOHR, HARTREE


def excited(scf: float, excitation: float, total: float) -> str:
    return (
        f"\n-----------------------\nCIS/TD-DFT TOTAL ENERGY\n-----------------------\n\n    E(SCF)  = {scf:16.9f} Eh\n"
        f"    DE(CIS) = {excitation:16.9f} Eh (Root  1)\n    ----------------------------- ---------\n"
        f"    E(tot)  = {total:16.9f} Eh\n\n"
    )


def test_a_final_energy_of_a_root_is_named_as_such_where_only_excitations_were_asked_for() -> None:
    """O3: the final energy of a TD-DFT single point is that of the root."""
    run = read(single_point(excited(-76.1, 0.2, -75.9) + final(-75.9)))

    assert hartree(run.frames) == [-75.9]
    assert (run.header.method.excited, run.header.method.state) == (True, "root 1")
    assert run.ending.warnings == (
        "the energies are those of root 1, as the program calls them final; no gradient of it was asked for",
    )


def test_a_final_energy_that_is_the_ground_states_is_of_no_root() -> None:
    run = read(single_point(excited(-76.1, 0.2, -75.9) + final(-76.1)))

    assert (hartree(run.frames), run.header.method.excited, run.ending.warnings) == ([-76.1], False, ())


def test_the_state_is_known_although_the_final_energy_has_dispersion() -> None:
    """O2 and O3 together."""
    dispersion = "\nDispersion correction           -0.001500000\n"
    run = read(single_point(excited(-76.1, 0.2, -75.9) + dispersion + final(-75.9015)))

    assert (hartree(run.frames), run.header.method.state) == ([-75.9015], "root 1")


def test_a_final_energy_of_no_known_state_leaves_the_frame_out() -> None:
    run = read(single_point(excited(-76.1, 0.2, -75.9) + final(-75.8)))

    assert run.runs[0].frames is None
    assert "excited or the ground state" in run.ending.left_out[0].reason


def test_an_excited_gradient_is_paired_with_the_excited_energy_and_the_state_is_named() -> None:
    text = single_point(excited(-76.1, 0.2, -75.9) + final(-75.9) + gradient(STEPS[0][2]))

    run = read(text)

    assert hartree(run.frames) == [-75.9]
    assert (run.header.method.excited, run.header.method.state) == (True, "root 1")


def test_the_last_energy_of_an_excited_optimisation_is_of_the_same_state() -> None:
    step = excited(-76.1, 0.2, -75.9) + final(-75.9) + gradient(STEPS[0][2])
    last = coordinates(STEPS[1][0]) + excited(-76.2, 0.2, -76.0) + final(-76.0)
    switched = last.replace("Root  1", "Root  2")
    text = opening() + cycle(1) + coordinates(WATER) + step

    assert hartree(read(text + last + END).frames) == [-75.9, -76.0]
    assert hartree(read(text + switched + END).frames) == [-75.9]
    assert hartree(read(text + coordinates(WATER) + final(-76.1) + END).frames) == [-75.9]


def test_coordinates_printed_once_more_at_the_end_are_no_frame_lost() -> None:
    text = single_point(final(-76.0)).replace(END, coordinates(WATER) + END)

    assert read(text).ending.left_out == ()


def test_a_ground_state_gradient_beside_an_excited_energy_is_left_out() -> None:
    mixed = final(-75.9) + "\nGradient of the Kohn-Sham DFT energy:\n" + gradient(STEPS[0][2])

    run = read(single_point(excited(-76.1, 0.2, -75.9) + mixed))

    assert run.runs[0].frames is None
    assert "gradient of the final energy" in run.ending.left_out[0].reason


@pytest.mark.parametrize(("final_energy", "state"), [(-76.4, None), (-76.2, "root 1")], ids=["reference", "root"])
def test_an_equation_of_motion_energy_is_named_by_comparison(final_energy: float, state: str | None) -> None:
    """O3: ORCA 6 calls the reference final, ORCA 5 the first root."""
    eom = "\nE(TOT)                                     ...    -76.400000000\n\n"
    eom += "IROOT=  1:  0.200000 au     5.442 eV   43894.9 cm**-1\n"

    run = read(single_point(eom + final(final_energy)))

    assert hartree(run.frames) == [final_energy]
    assert run.header.method.state == state


def test_a_root_above_a_double_hybrid_is_told_to_lack_the_perturbative_part() -> None:
    mp2 = "\n---------------------------------------\nMP2 TOTAL ENERGY:      -76.300000000 Eh\n"

    run = read(single_point(mp2 + excited(-76.1, 0.2, -75.9) + final(-75.9)))

    assert (hartree(run.frames), run.header.method.state) == ([-75.9], "root 1")
    assert any("perturbative" in warning for warning in run.ending.warnings)


def test_the_average_of_several_roots_is_named_as_such() -> None:
    """O3: state-averaged CASSCF."""
    roots = "\nBLOCK  1 WEIGHT=   1.0000\n  Multiplicity                      ...    1\n  #(Roots)                          ...    3\n"

    method = read(single_point(roots + final(-76.0))).header.method

    assert (method.excited, method.state) == (True, "average of 3 roots")


@pytest.mark.parametrize("suffix", [" (SCF not fully converged!)", " (Wavefunction not fully converged!)"])
def test_a_final_energy_marked_as_not_converged_is_kept_and_marked(suffix: str) -> None:
    """O4, versions 4 and 5."""
    frames = read(single_point(final(-76.0, suffix))).frames

    assert (hartree(frames), frames.get("scf_converged").tolist()) == ([-76.0], [0])


def test_an_scf_that_failed_marks_the_frame_though_the_energy_has_no_suffix() -> None:
    """O4: ORCA 3 goes on with coupled cluster."""
    frames = read(single_point(final(-76.0)).replace(CONVERGED, UNCONVERGED)).frames

    assert frames.get("scf_converged").tolist() == [0]


def test_convergence_is_unknown_where_nothing_is_printed() -> None:
    frames = read(single_point(final(-76.0)).replace(CONVERGED, "")).frames

    assert frames.get("scf_converged").tolist() == [-1]


def test_each_job_of_one_input_is_a_run_with_its_own_method_charge_and_geometry() -> None:
    """O5."""
    text = single_point(final(-76.0)).replace(END, "")
    text = text.replace("|  6> *\n", "|  6> *\n| 61> $new_job\n| 62> ! BLYP def2-SVP\n")
    second = "\n          $$$$$$$$$$$$$$$$  JOB NUMBER  2 $$$$$$$$$$$$$$\n" + coordinates((("C", 0.0, 0.0, 0.0),))
    second += settings(1, 2).replace("PBE\n", "B88\n", 1).replace("PBE\n", "LYP\n").replace("0.25", "0.00")

    runs = read(text + second + CONVERGED + final(-37.4) + END).runs

    assert [run.header.method.functional for run in runs] == ["PBE0", "BLYP"]
    assert [run.frames.get("charge").tolist() for run in runs] == [[0.0], [1.0]]
    assert [run.frames.atomic_numbers.tolist() for run in runs] == [[8, 1, 1], [6]]
    assert [run.ending.status for run in runs] == ["complete", "complete"]
    assert runs[0].header.identity != runs[1].header.identity


def test_two_runs_in_one_file_have_each_their_own_status() -> None:
    first = optimisation().replace(END, "")

    runs = read(first + single_point(final(-76.0))).runs

    assert [run.ending.status for run in runs] == ["truncated", "complete"]
    assert [len(run.frames) for run in runs] == [3, 1]


def test_a_step_of_a_compound_script_takes_no_method_from_the_words_of_other_steps() -> None:
    step = "\n          ************  COMPOUND JOB  {}  ************\n"
    body = coordinates(WATER) + settings() + CONVERGED + final(-76.0)
    text = opening("HF-3c", "Single Point Calculation") + step.format(1) + body + step.format(2) + body + END

    assert [run.header.method.functional for run in read(text).runs] == ["PBE0", "PBE0"]


def test_a_numerical_gradient_is_paired_with_its_own_geometry() -> None:
    """O6."""
    text = opening() + cycle(1) + coordinates(WATER) + final(-76.0) + gradient(STEPS[0][2], kind=" (NUMERICAL)") + END

    assert read(text).frames.forces[0, 2] == pytest.approx(-0.03 * HARTREE / BOHR)


def test_a_numerical_gradient_after_a_displaced_geometry_is_left_out() -> None:
    """O6: the geometry printed last is not the one that the gradient is for."""
    displaced = coordinates(STEPS[1][0]) + final(-76.1) + gradient(STEPS[0][2], kind=" (NUMERICAL)")

    run = read(opening() + cycle(1) + coordinates(WATER) + final(-76.0) + displaced + END)

    assert (hartree(run.frames), has_forces(run.frames)) == ([-76.0], [False])
    assert "numerical gradient" in run.ending.left_out[0].reason


def test_an_scf_gradient_in_a_correlated_run_is_never_paired_with_the_correlated_energy() -> None:
    """O6."""
    mp2 = "\nMP2 TOTAL ENERGY:      -76.300000000 Eh\n" + final(-76.3)

    run = read(single_point(mp2 + "\nGradient of the Hartree-Fock SCF energy:\n" + gradient(STEPS[0][2])))

    assert run.runs[0].frames is None
    assert run.ending.left_out[0].line > 0


def test_the_gradient_of_mp2_is_paired_with_the_energy_of_mp2() -> None:
    table = "".join(f"{i:3d}: {x:12.8f}{y:12.8f}{z:12.8f}\n" for i, (x, y, z) in enumerate(STEPS[0][2]))
    mp2 = f"\nMP2 TOTAL ENERGY:      -76.300000000 Eh\n\nThe final MP2 gradient\n{table}\n-----------\n" + final(-76.3)

    frames = read(single_point(mp2, keywords="MP2")).frames

    assert hartree(frames) == [-76.3]
    assert np.allclose(frames.forces, -np.array(STEPS[0][2]) * HARTREE / BOHR, rtol=1e-12)


def test_coordinates_in_angstrom_serve_where_those_in_bohr_are_not_printed() -> None:
    """O7."""
    text = optimisation().replace(coordinates(WATER), coordinates(WATER, bohr=False))

    frames = read(text).frames

    assert hartree(frames) == [-76.25, -76.26, -76.2601]
    assert np.array_equal(frames.positions[:3], np.array([row[1:] for row in WATER]))


def test_a_run_that_prints_no_coordinates_takes_those_of_its_input() -> None:
    """O7: printlevel mini."""
    frames = read(single_point(final(-76.0)).replace(coordinates(WATER), "")).frames

    assert np.array_equal(frames.positions, np.array([row[1:] for row in WATER]))
    assert frames.atomic_numbers.tolist() == [8, 1, 1]


def test_an_energy_without_any_coordinates_is_left_out() -> None:
    text = single_point(final(-76.0)).replace(coordinates(WATER), "").replace("* xyz 0 1", "* xyzfile 0 1 water.xyz")

    run = read(text)

    assert run.runs[0].frames is None
    assert "expected coordinates" in run.ending.left_out[0].reason


def test_an_extrapolation_is_one_frame_with_the_extrapolated_energy() -> None:
    """O8."""
    text = single_point(TOTAL + settings() + CONVERGED + TOTAL.replace("76.1", "76.2") + final(-76.5))

    assert hartree(read(text).frames) == [-76.5]


def test_several_final_energies_for_one_geometry_are_left_out() -> None:
    run = read(single_point(final(-76.0) + final(-76.1)))

    assert run.runs[0].frames is None
    assert "one final energy" in run.ending.left_out[0].reason


def test_the_energy_of_a_layer_is_no_label() -> None:
    text = single_point(final(-76.0).replace("ENERGY ", "ENERGY (QM/MM) "))

    assert read(text).runs[0].frames is None


def test_coordinates_that_the_integrator_announces_are_not_those_of_the_last_energy() -> None:
    """O9."""
    announced = "\n---------\nNew Coordinates (ANGSTROEM)\n---------\n  O      9.000000    9.000000    9.000000\n"
    text = opening("PBE MD", "Molecular Dynamics Simulation")
    for atoms, energy, rows in STEPS:
        text += coordinates(atoms) + final(energy) + gradient(rows) + announced

    frames = read(text + END).frames

    assert np.allclose(frames.positions[2::3, 2], [-0.5, -0.5], atol=1e-6)
    assert np.allclose(frames.forces[0::3, 2], [-0.03 * HARTREE / BOHR, -0.015 * HARTREE / BOHR])


def test_dummies_are_no_atoms() -> None:
    """O10."""
    frames = read(single_point(final(-76.0), atoms=(WATER[0], ("-", 1.0, 0.0, 0.0), *WATER[1:]))).frames

    assert frames.atomic_numbers.tolist() == [8, 1, 1]
    assert np.allclose(frames.positions, [row[1:] for row in WATER], atol=1e-6)


@pytest.mark.parametrize(
    ("label", "name"), [("H:", "ghost functions"), ("Q", "point charges"), ("Mg>", "point charges")]
)
def test_what_is_no_atom_and_acts_on_the_electrons_is_named_and_has_no_forces(label: str, name: str) -> None:
    """O10."""
    atoms = (*WATER, (label, 3.0, 0.0, 0.0))
    rows = (*STEPS[0][2], (0.5, 0.5, 0.5))
    table = gradient(rows, "OHHH").replace("4   H   ", f"4   {label:<4}")

    run = read(single_point(final(-76.0) + table, atoms=atoms))

    assert run.frames.atomic_numbers.tolist() == [8, 1, 1]
    assert np.allclose(run.frames.forces, -np.array(STEPS[0][2]) * HARTREE / BOHR, rtol=1e-12)
    assert run.header.method.external == (name,)
    assert run.header.forces_are == "with_external"


def test_a_single_atom_has_an_energy_and_no_forces() -> None:
    """O10."""
    frames = read(single_point(final(-37.8), atoms=(("C", 0.0, 0.0, 0.0),))).frames

    assert (frames.n_atoms.tolist(), "forces" in frames) == ([1], False)


def test_lines_that_end_as_on_windows_read_the_same() -> None:
    """O10."""
    text = optimisation()

    plain, windows = read(text).frames, read(text.replace("\n", "\r\n")).frames

    assert np.array_equal(plain.ids(), windows.ids())


def test_a_gradient_with_words_in_its_rows_is_left_out() -> None:
    """O11."""
    text = optimisation().replace("   -0.010000000\n", "   -0.010000000 (CONSTRAINED)\n", 1)

    run = read(text)

    assert hartree(run.frames) == [-76.26, -76.2601]
    assert "CONSTRAINED" in run.ending.left_out[0].reason


WARNING = "\nWARNING: THERE ARE    3 CONSTRAINED CARTESIAN COORDINATES\n\n"
ZEROED = ((0.0, 0.0, 0.0), *STEPS[0][2][1:])


def constrained(rows: Sequence[Sequence[float]], constraint: str = "{ C 0 C }") -> str:
    """One step of an optimisation that holds atoms."""
    table = gradient(rows).replace("------------------\n\n   1", f"------------------\n{WARNING}   1")
    text = opening().replace("|  2> *", f"|  2> %geom Constraints\n| 21> {constraint}\n| 22> end end\n| 23> *")
    return text + cycle(1) + coordinates(WATER) + settings() + final(-76.0) + table + END


def test_a_warning_above_the_gradient_does_not_hide_it() -> None:
    """O11: ORCA says between heading and table that there are constraints."""
    frames = read(constrained(STEPS[0][2])).frames

    assert np.allclose(frames.forces, -np.array(STEPS[0][2]) * HARTREE / BOHR, rtol=1e-12)
    assert frames.get("fixed").tolist() == [[1, 1, 1], [0, 0, 0], [0, 0, 0]]
    assert frames.get("force_mask").tolist() == [1, 1, 1]


def test_a_force_that_is_zeroed_on_a_held_atom_is_masked() -> None:
    """O11."""
    run = read(constrained(ZEROED))

    assert run.frames.get("force_mask").tolist() == [0, 1, 1]
    assert run.header.forces_are == "zeroed_on_fixed"


def test_a_zero_force_is_masked_where_only_the_table_says_that_atoms_are_held() -> None:
    run = read(constrained(ZEROED, constraint="{ B 0 1 C }"))

    assert "fixed" not in run.frames
    assert run.frames.get("force_mask").tolist() == [0, 1, 1]


def test_ranges_and_lists_of_held_atoms_are_understood() -> None:
    def held(constraint: str) -> list[int]:
        return np.flatnonzero(read(constrained(ZEROED, constraint)).frames.get("fixed")[:, 0] == 1).tolist()

    assert held("{ C 1:2 C }") == [1, 2]
    assert held("{ C 0 2 C }") == [0, 2]
    assert held("{C 1 C} {C 2 C}") == [1, 2]


def test_a_constraint_of_spaces_without_end_costs_no_time() -> None:
    text = constrained(ZEROED, "{ C " + " " * 5_000)
    started = time.process_time()

    assert len(read(text).frames) == 1
    assert time.process_time() - started < 1


def test_the_gradient_of_mp2_is_not_paired_with_an_energy_that_has_dispersion() -> None:
    """O6: the module of MP2 prints its own gradient only."""
    table = "".join(f"{i:3d}: {x:12.8f}{y:12.8f}{z:12.8f}\n" for i, (x, y, z) in enumerate(STEPS[0][2]))
    mp2 = f"\nMP2 TOTAL ENERGY:      -76.300000000 Eh\n\nThe final MP2 gradient\n{table}\n-----------\n"
    mp2 += "\nDispersion correction           -0.001500000\n" + final(-76.3015)

    run = read(single_point(mp2, keywords="B2PLYP D3"))

    assert run.runs[0].frames is None
    assert "without dispersion" in run.ending.left_out[0].reason


def test_the_layers_of_qmmm_are_left_out_whole() -> None:
    """Energies of parts, and a gradient of which nobody knows whether it is of the whole."""
    layers = final(0.02).replace("ENERGY ", "ENERGY (MM) ") + final(-76.0) + gradient(STEPS[0][2])

    run = read(single_point(layers + final(-75.98).replace("ENERGY ", "ENERGY (QM/MM) ")))

    assert run.runs[0].frames is None
    assert "found that of a part" in run.ending.left_out[0].reason


def test_images_of_a_path_are_no_frames_and_the_run_is_named() -> None:
    """A path prints energies of images whose geometries are in other files, and projected forces."""
    summary = (
        "\n---------------------------------------------------------------\n"
        "                         PATH SUMMARY              \n"
        "---------------------------------------------------------------\nAll forces in Eh/Bohr.\n\n"
        "Image Dist.(Ang.)    E(Eh)   dE(kcal/mol)  max(|Fp|)  RMS(Fp)\n"
        "  0     0.000     -76.10000      0.00       0.00010   0.00004\n"
    )

    run = read(opening("PBE0 NEB-CI", "Nudged Elastic Band Calculation") + summary + END)

    assert run.runs[0].frames is None
    assert run.header.run_kind == "neb"
    assert "energies of the images" in run.ending.warnings[0]


def test_a_projected_gradient_is_no_gradient() -> None:
    """O6: only the table without any addition is taken."""
    text = single_point(final(-76.0) + gradient(STEPS[0][2], kind=" (PROJECTED)") + gradient(STEPS[1][2]))

    run = read(text)

    assert np.allclose(run.frames.forces, -np.array(STEPS[1][2]) * HARTREE / BOHR, rtol=1e-12)
    assert "CARTESIAN GRADIENT (PROJECTED)" in run.ending.warnings[0]


def test_a_gradient_on_other_atoms_is_left_out() -> None:
    run = read(optimisation().replace("   1   O   :", "   1   H   :", 1))

    assert hartree(run.frames) == [-76.26, -76.2601]


def test_a_table_that_lost_a_line_is_left_out() -> None:
    lines = optimisation().split("\n")
    row = next(index for index, line in enumerate(lines) if line.startswith("   1 H "))

    run = read("\n".join(lines[:row] + lines[row + 1 :]))

    assert hartree(run.frames) == [-76.26, -76.2601]
    assert "consecutive" in run.ending.left_out[0].reason
