"""The ORCA reader: what a run gives, its status, its method, and what damage costs."""

from __future__ import annotations

import re

import numpy as np
import pytest
from orca_output import (
    END,
    STEPS,
    WATER,
    coordinates,
    final,
    hartree,
    has_forces,
    opening,
    optimisation,
    read,
    rows,
    settings,
    single_point,
)

from mlpdata.errors import ParseError
from mlpdata.units import BOHR, HARTREE

# -- what a run gives


def test_a_frame_is_the_coordinates_energy_and_gradient_of_one_cycle() -> None:
    frames = read(optimisation()).frames

    assert hartree(frames) == [-76.25, -76.26, -76.2601]
    assert frames.n_atoms.tolist() == [3, 3, 3]
    assert frames.atomic_numbers.tolist() == [8, 1, 1] * 3
    assert frames.get("step").tolist() == [0, 1, 2]
    assert frames.get("scf_converged").tolist() == [1, 1, 1]
    assert np.allclose(frames.positions[:3], [row[1:] for row in WATER], atol=1e-6)
    assert frames.positions[3, 2] == pytest.approx(0.11, abs=1e-6)


def test_forces_are_minus_the_gradient_in_hartree_per_bohr() -> None:
    """O1."""
    forces = read(optimisation()).frames.forces

    assert np.allclose(forces[:3], -np.array(STEPS[0][2]) * HARTREE / BOHR, rtol=1e-12)
    assert np.allclose(forces[3:6], -np.array(STEPS[1][2]) * HARTREE / BOHR, rtol=1e-12)


def test_the_final_evaluation_of_an_optimisation_has_no_forces() -> None:
    """O5: one energy more than gradients."""
    assert has_forces(read(optimisation()).frames) == [True, True, False]


def test_a_molecule_has_no_cell_and_is_not_periodic() -> None:
    frames = read(optimisation()).frames

    assert "cell" not in frames
    assert not frames.pbc.any()


def test_the_source_line_is_that_of_the_final_energy() -> None:
    text = optimisation()
    lines = [number for number, line in enumerate(text.split("\n"), 1) if line.startswith("FINAL SINGLE POINT")]

    assert read(text).frames.get("source_line").tolist() == lines


def test_the_energy_is_the_final_one_with_dispersion_not_the_total_scf_energy() -> None:
    """O2."""
    dispersion = "\nDispersion correction           -0.001500000\n"

    assert hartree(read(single_point(dispersion + final(-76.1015))).frames) == [-76.1015]


def test_charge_and_multiplicity_hold_for_the_cycles_that_do_not_print_them() -> None:
    text = optimisation().replace(settings(), settings(charge=-1, multiplicity=2))

    frames = read(text).frames

    assert frames.get("charge").tolist() == [-1.0] * 3
    assert frames.get("multiplicity").tolist() == [2] * 3


def test_the_kind_of_run_is_what_the_program_announces() -> None:
    def kind(keywords: str, title: str) -> str:
        return read(opening(keywords, title) + coordinates(WATER) + final(-76.0) + END).header.run_kind

    assert kind("PBE Opt", "Geometry Optimization Run") == "relax"
    assert kind("PBE", "Single Point Calculation") == "single_point"
    assert kind("PBE EnGrad", "Energy+Gradient Calculation") == "single_point"
    assert kind("PBE NumFreq", "Energy+Gradient Calculation") == "phonon"
    assert kind("PBE Opt Freq", "Geometry Optimization Run") == "relax"
    assert kind("PBE MD", "Molecular Dynamics Simulation") == "md"
    assert kind("PBE Opt", "Relaxed Surface Scan") == "scan"
    assert kind("PBE", "Extrapolated Single Point Calculation") == "single_point"


def test_the_identity_tells_inputs_apart_and_not_folders() -> None:
    text = single_point(final(-76.0))

    same = read(text.replace("/home/someone/secret", "/elsewhere/other")).header.identity

    assert read(text).header.identity == same
    assert read(text.replace("! PBE0", "! BLYP")).header.identity != same
    assert "secret" not in str(read(text).header)


# -- status


def test_a_run_is_complete_only_with_the_end_mark_of_the_program() -> None:
    assert read(optimisation()).ending.status == "complete"
    assert read(optimisation().replace(END, "")).ending.status == "truncated"


def test_an_error_termination_is_failed_with_its_line_and_keeps_the_frames_before() -> None:
    line = "ORCA finished by error termination in SCF"
    text = optimisation().replace(END, f"\n{line}\n")

    run = read(text)

    assert run.ending.status == "failed"
    assert run.ending.reason == f"line {text.split(chr(10)).index(line) + 1}: {line}"
    assert len(run.frames) == 3


def test_an_optimisation_that_ran_out_of_cycles_is_complete_with_a_warning() -> None:
    text = optimisation().replace(
        END, "\n    The optimization did not converge but reached the maximum number of\n" + END
    )

    ending = read(text).ending

    assert (ending.status, len(ending.warnings)) == ("complete", 1)


def test_a_file_without_any_heading_of_orca_is_refused() -> None:
    with pytest.raises(ParseError, match="expected an ORCA output"):
        read("nothing of interest\n")


# -- damage


def test_a_file_cut_at_any_line_keeps_the_whole_frames_and_gives_no_wrong_number() -> None:
    lines = optimisation().split("\n")
    whole = read("\n".join(lines)).frames
    without_forces = rows(whole.without("forces"))
    for count in range(len(lines)):
        text = "\n".join(lines[:count])
        if "Program Version" not in text or not lines[count - 1 :]:
            continue
        (run,) = read(text + ("" if count % 2 else "\n")).runs
        if run.frames is not None:
            assert rows(run.frames.without("forces")) <= without_forces
            with_forces = [index for index, has in enumerate(has_forces(run.frames)) if has]
            assert rows(run.frames.select(with_forces)) <= rows(whole)
        finished = text.count("Norm of the cartesian gradient")
        assert len(rows(run.frames) & rows(whole)) >= finished
        assert run.ending.status == ("complete" if "TERMINATED" in text else "truncated")


def test_a_file_cut_inside_a_number_does_not_give_the_rest_of_it() -> None:
    text = optimisation()
    whole = read(text).frames
    start = text.index("FINAL SINGLE POINT ENERGY") + 40
    for cut in (*range(start, start + 10), *range(text.index("Norm of the") - 60, text.index("Norm of the") - 2)):
        (run,) = read(text[:cut]).runs

        assert run.frames is None or rows(run.frames) <= rows(whole) | rows(whole.without("forces"))


def numbers_of_the_first_frame() -> list[tuple[int, int]]:
    """Spans of every number with a decimal point from the bohr table to the end of the gradient of the first cycle."""
    text = optimisation()
    start, end = text.index("CARTESIAN COORDINATES (A.U.)"), text.index("Norm of the cartesian")
    tables = [
        (start, text.index("SCF SETTINGS")),
        (text.index("FINAL SINGLE POINT ENERGY"), text.index("Gradient of the")),
        (text.index("CARTESIAN GRADIENT"), end),
    ]
    return [match.span() for a, b in tables for match in re.compile(r"-?\d+\.\d+").finditer(text, a, b)]


@pytest.mark.parametrize("damage", ["********", "NaN", "1E400", "1.0-2.0", "-1.234567-12.345678"])
def test_a_number_that_cannot_be_read_costs_its_frame_only(damage: str) -> None:
    text = optimisation()
    for start, end in numbers_of_the_first_frame():
        run = read(text[:start] + damage + text[end:])

        assert hartree(run.frames) == [-76.26, -76.2601], text[start - 40 : end]
        (left_out,) = run.ending.left_out
        assert left_out.line > 0
        assert left_out.reason.startswith("expected")


# -- method


def test_the_method_is_what_the_settings_print() -> None:
    method = read(optimisation()).header.method

    assert (method.code, method.code_version) == ("orca", "5.0.3")
    assert (method.functional, method.exact_exchange, method.basis) == ("PBE0", 0.25, "def2-SVP")
    assert (method.spin, method.dispersion, method.relativity) == ("restricted", "none", "none")
    assert method.convergence.electronic == pytest.approx(1e-8 * HARTREE)
    assert method.convergence.max_electronic_steps == 125


def test_b3lyp_is_told_by_its_local_part() -> None:
    """ORCA's B3LYP has VWN-5, Gaussian's and B3LYP/G have VWN-3."""
    text = single_point(final(-76.0), keywords="B3LYP").replace(".... PBE\n", ".... B88\n", 1)
    text = text.replace(".... PBE\n", ".... LYP\n").replace("0.250000", "0.200000")

    assert read(text.replace("PW91-LDA", "VWN-5")).header.method.functional == "B3LYP5"
    assert read(text.replace("PW91-LDA", "VWN-3")).header.method.functional == "B3LYP"


def test_dispersion_solvent_and_correlation_are_named() -> None:
    blocks = (
        "\n        DFT DISPERSION CORRECTION\n        USING Becke-Johnson damping\n"
        "\nCPCM SOLVATION MODEL\n  Epsilon function type                           ...         CPCM\n"
        "Solvent:                                     ... TOLUENE\nSMD-CDS solvent descriptors:\n"
    )
    method = read(single_point(blocks + final(-76.0), keywords="RHF DLPNO-CCSD(T) cc-pVTZ")).header.method

    assert (method.dispersion, method.solvent, method.correlation) == ("D3(BJ)", "SMD(TOLUENE)", "DLPNO-CCSD(T)")


def test_smearing_makes_the_energy_a_free_energy() -> None:
    text = single_point(final(-76.0)).replace("|  2> * xyz", "|  2> %scf smeartemp 5000 end\n| 21> * xyz")

    header = read(text).header

    assert header.energy_kind == "free"
    assert header.method.smearing.width == pytest.approx(0.430867, abs=1e-6)


def test_coordinates_are_converted_from_the_finer_table() -> None:
    """Six decimals of a bohr resolve more than six of an angstrom."""
    ledger = {entry.name: entry for entry in read(optimisation()).ending.ledger}

    assert (ledger["positions"].unit, ledger["forces"].unit, ledger["energy"].unit) == (
        "bohr",
        "hartree/bohr",
        "hartree",
    )
    assert ledger["positions"].factor == BOHR
