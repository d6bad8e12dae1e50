"""The Gaussian log reader: what a run gives, its status, its method, and what damage costs."""

from __future__ import annotations

import re

import numpy as np
import pytest
from gaussian_output import (
    DIPOLE,
    END,
    ENERGIES,
    MULLIKEN,
    SCF_LINKS,
    SHAPES,
    SINGLE_POINT_LINKS,
    archive,
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

from mlpdata.errors import ParseError
from mlpdata.readers.gaussian import log as gaussian
from mlpdata.units import BOHR, HARTREE

DEBYE = 0.20819433270  # e*angstrom, from 1e-21 C m^2/s / c

# -- what a run gives


def test_a_frame_is_the_geometry_energy_and_forces_of_one_step() -> None:
    """G9: the last geometry, printed after the last forces, is no frame."""
    frames = read(optimisation()).frames

    assert frames.atomic_numbers.tolist() == [8, 1, 1] * 2
    assert np.allclose(frames.energy, np.array(ENERGIES) * HARTREE, rtol=1e-12)
    assert np.allclose(frames.positions, np.concatenate(SHAPES), atol=1e-9)
    assert np.allclose(frames.forces, np.concatenate([springs(s) for s in SHAPES]) * HARTREE / BOHR, rtol=1e-9)
    assert frames.get("step").tolist() == [0, 1]
    assert frames.get("scf_converged").tolist() == [1, 1]


def test_a_molecule_has_no_cell_and_its_charge_and_multiplicity() -> None:
    frames = read(optimisation().replace("Charge =  0 Multiplicity = 1", "Charge = -1 Multiplicity = 2")).frames

    assert "cell" not in frames
    assert not frames.pbc.any()
    assert frames.get("charge").tolist() == [-1.0, -1.0]
    assert frames.get("multiplicity").tolist() == [2, 2]


def test_the_source_line_is_that_of_the_energy() -> None:
    text = optimisation()
    lines = [number for number, line in enumerate(text.split("\n"), 1) if line.startswith(" SCF Done")]

    assert read(text).frames.get("source_line").tolist() == lines


def test_charges_of_a_step_belong_to_its_frame_only() -> None:
    text = optimisation().replace(MULLIKEN, "")
    text = text.replace(" ***** Axes", MULLIKEN + " ***** Axes", 1)

    frames = read(text).frames

    assert frames.get("charges_mulliken")[:3].tolist() == [-0.33, 0.16, 0.17]
    assert np.isnan(frames.get("charges_mulliken")[3:]).all()


def test_a_dipole_is_kept_where_positions_are_in_its_axes_only() -> None:
    """G1: it is printed in standard orientation."""
    alone = opening(links=SINGLE_POINT_LINKS) + orientation("Standard", standard(SHAPES[0])) + scf(-75.3) + DIPOLE + END
    with_forces = opening() + step(SHAPES[0], -75.3).replace(" ***** Axes", DIPOLE + " ***** Axes") + END
    ion = alone.replace("Charge =  0", "Charge =  1")

    assert read(alone).frames.get("dipole")[0] == pytest.approx(np.array([0.1, 0.2, -1.7]) * DEBYE, rel=1e-8)
    assert "dipole" not in read(with_forces).frames
    assert "dipole" not in read(ion).frames


@pytest.mark.parametrize("damage", ["*********", "-0.33 0.16", "-0.33 0.1 0.2 0.3", "         "])
def test_a_damaged_charge_table_costs_a_warning_and_not_the_frame(damage: str) -> None:
    """Numbers of rows of different length belong to no certain atom."""
    text = optimisation().replace(" ***** Axes", MULLIKEN + " ***** Axes", 1).replace("-0.330000", damage, 1)

    run = read(text)

    assert len(run.frames) == 2
    assert "charges_mulliken" not in run.frames
    assert "mulliken dropped" in run.ending.warnings[0]


@pytest.mark.parametrize(
    ("heading", "rows", "expected"),
    [
        (
            " Hirshfeld charges, spin densities, dipoles, and CM5 charges using IRadAn=      5:\n"
            "              Q-H        S-H        Dx         Dy         Dz        Q-CM5\n",
            ["-0.30   0.00   0.01   0.02   0.03  -0.40", "0.10 0.0 0.0 0.0 0.0 0.19", "0.20 0.0 0.0 0.0 0.0 0.21"],
            {"charges_hirshfeld": [-0.3, 0.1, 0.2], "charges_cm5": [-0.4, 0.19, 0.21]},
        ),
        (
            " Hirshfeld spin densities, charges and dipoles using IRadAn=      4:\n              1          2\n",
            ["0.00 -0.30 0.0 0.0 0.0", "0.00 0.10 0.0 0.0 0.0", "0.00 0.20 0.0 0.0 0.0"],
            {"charges_hirshfeld": [-0.3, 0.1, 0.2]},
        ),
        (" ESP charges:\n               1\n", ["-0.5", "0.2", "0.3"], {"charges_esp": [-0.5, 0.2, 0.3]}),
        (
            " Mulliken charges and spin densities:\n               1          2\n",
            ["-0.5 1.5", "0.2 0.2", "0.3 0.3"],
            {"charges_mulliken": [-0.5, 0.2, 0.3], "magnetic_moments": [1.5, 0.2, 0.3]},
        ),
    ],
    ids=["cm5", "hirshfeld", "esp", "mulliken with spins"],
)
def test_charges_are_named_by_their_scheme(heading: str, rows: list[str], expected: dict[str, list[float]]) -> None:
    lines = "".join(f"     {i}  {s}   {row}\n" for i, (s, row) in enumerate(zip("OHH", rows, strict=True), 1))
    text = opening() + step(SHAPES[0], -75.3).replace(" ***** Axes", heading + lines + " ***** Axes") + END

    frames = read(text).frames

    assert {name: frames.get(name).tolist() for name in expected} == expected


def held(section: str) -> list[list[int]]:
    text = optimisation().replace("Charge =  0 Multiplicity = 1\n", f"Charge =  0 Multiplicity = 1\n{section}")
    frames = read(text).frames
    return frames.get("fixed")[:3].tolist() if "fixed" in frames else []


@pytest.mark.parametrize(
    "section",
    [
        " O                    -1    0.        0.        0.1\n H                     0    0.        0.8      -0.5\n"
        " H                    -1    0.       -0.75     -0.55\n\n",
        " O,-1,0.,0.,0.1\n H,0,0.,0.8,-0.5\n H,-1,0.,-0.75,-0.55\n Recover connectivity data from disk.\n",
        " O                     0.        0.        0.1\n H                     0.        0.8      -0.5\n\n"
        " The following ModRedundant input section has been read:\n X       1 F\n X       3 F\n B       1       2 F\n\n",
    ],
    ids=["freeze codes", "freeze codes of a checkpoint", "ModRedundant"],
)
def test_atoms_that_are_held_are_fixed(section: str) -> None:
    assert held(section) == [[1, 1, 1], [0, 0, 0], [1, 1, 1]]


def test_without_a_word_of_held_atoms_nothing_is_known() -> None:
    assert held(" O                     0.        0.        0.1\n") == []


def test_forces_that_are_zero_on_held_atoms_are_masked() -> None:
    zeros = np.array([[0.0, 0.0, 0.0], [0.0, 0.1, 0.0], [0.0, -0.1, 0.0]])
    section = " O -1 0. 0. 0.1\n H 0 0. 0.8 -0.5\n H -1 0. -0.75 -0.55\n\n"
    opened = opening("# B3LYP/STO-3G opt charge").replace("Multiplicity = 1\n", f"Multiplicity = 1\n{section}")

    frames = read(opened + orientation("Input", SHAPES[0]) + scf(-75.3) + force_table(zeros) + END).frames

    assert frames.get("force_mask").tolist() == [0, 1, 1]


def test_the_identity_tells_runs_apart_and_not_folders() -> None:
    text = optimisation()

    same = read(text.replace("/home/someone/secret", "/elsewhere")).header.identity

    assert read(text).header.identity == same
    assert read(text.replace("PID=      4711", "PID=      4712")).header.identity != same
    assert "secret" not in str(read(text).header)


@pytest.mark.parametrize(
    ("name", "stem"),
    [("a.log", "a"), ("a.out", "a"), ("a.gjf.log", "a"), ("a.fchk", "a"), ("a.b.log", "a.b"), ("a.com.out", "a")],
)
def test_files_of_one_stem_are_one_run(name: str, stem: str) -> None:
    assert gaussian.run_of(name, b"") == stem


# -- status


def test_a_run_is_complete_only_with_the_end_mark_of_the_program() -> None:
    assert read(optimisation()).ending.status == "complete"
    assert read(optimisation().replace(END, "")).ending.status == "truncated"


def test_an_error_termination_is_failed_with_its_line_and_keeps_the_frames_before() -> None:
    line = " Error termination via Lnk1e in /home/someone/secret/l9999.exe at Mon Jan  1 00:00:00 2024."
    run = read(optimisation().replace(END, line + "\n"))

    assert (run.ending.status, len(run.frames)) == ("failed", 2)
    assert "Error termination via Lnk1e" in run.ending.reason
    assert "secret" not in run.ending.reason


def test_a_file_without_a_heading_of_gaussian_is_refused() -> None:
    with pytest.raises(ParseError, match="no heading"):
        read("nothing of Gaussian\n")


# -- method


@pytest.mark.parametrize(
    ("route", "known"),
    [
        ("#p UB3LYP/6-31G(d) opt", {"functional": "B3LYP", "exact_exchange": 0.2, "basis": "6-31g(d)"}),
        ("#PBEPBE/cc-pVDZ opt=z-matrix", {"functional": "PBE", "exact_exchange": 0.0, "basis": "cc-pvdz"}),
        ("# UHF / 6-31G 5d pop=Full", {"functional": "HF", "basis": "6-31g", "correlation": None}),
        ("# PBE1PBE Def2SVP EmpiricalDispersion=GD3BJ", {"functional": "PBE0", "dispersion": "D3(BJ)"}),
        ("#p HSEh1PBE/def2tzvp int=(grid=superfine)", {"functional": "HSE06", "grid": "superfine"}),
        ("# B3LYP/6-31G* int=ultrafine field=x+10", {"grid": "ultrafine", "external": ("electric field",)}),
        ("# B3LYP/6-31G* charge integral=dkh", {"external": ("point charges",), "relativity": "DKH2"}),
        ("# M062X/6-31G* scrf=(smd,solvent=water)", {"functional": "M06-2X", "solvent": "SCRF(smd, solvent=water)"}),
        ("# b3lyp/gen", {"basis": "gen", "dispersion": "none", "relativity": "none"}),
    ],
)
def test_the_level_of_theory_is_what_the_route_asked_for(route: str, known: dict[str, object]) -> None:
    method = read(opening(route) + step(SHAPES[0], -75.3) + END).header.method

    assert {field: getattr(method, field) for field in known} == known


def test_the_program_speaks_before_the_route() -> None:
    """A step after Geom=AllCheck repeats neither solvent nor dispersion."""
    printed = """ Standard basis: 6-31G(d,p) (6D, 7F)
 R6Disp:  Grimme-D3(BJ) Dispersion energy=       -0.0003536413 Hartrees.
 Polarizable Continuum Model (PCM)
 Model                : C-PCM.
 Atomic radii         : UFF (Universal Force Field).
 Solvent              : Toluene, Eps=   2.374100 Eps(inf)=   2.238315
"""
    text = opening("#N Geom=AllCheck RB3LYP/ChkBasis Freq").replace(" Symbolic", printed + " Symbolic")

    method = read(text + step(SHAPES[0], -75.3) + END).header.method

    assert (method.basis, method.dispersion, method.solvent) == ("6-31G(d,p)", "D3(BJ)", "CPCM(Toluene)")
    assert method.spin == "restricted"
    assert method.code_version == "16 ES64L-G16RevC.01"


def test_thresholds_are_converted_once() -> None:
    convergence = read(optimisation()).header.method.convergence

    assert convergence.electronic == pytest.approx(1e-6 * HARTREE)
    assert convergence.ionic_force == pytest.approx(0.00045 * HARTREE / BOHR)
    assert convergence.max_electronic_steps == 128


def test_the_kind_of_run_is_what_the_route_asks_for() -> None:
    def kind(keywords: str) -> str:
        return read(opening(f"# B3LYP/STO-3G {keywords}") + step(SHAPES[0], -75.3) + END).header.run_kind

    assert [kind(word) for word in ("opt freq", "freq", "irc=calcfc", "admp", "bomd", "scan", "force", "nmr")] == [
        "relax", "phonon", "irc", "md", "md", "scan", "single_point", "response",
    ]  # fmt: skip


# -- damage


def damaged() -> list[tuple[int, int, str]]:
    """Each number of a log, with what stands in its place."""
    text = optimisation() + next_job() + step(SHAPES[1], -75.31) + END
    places = [match.span() for match in re.finditer(r"(?<![\w.])-?\d+(?:\.\d+)?(?![\w./])", text)]
    bad = ("****", "NaN", "1E400", "1.0-2.0")
    return [(start, end, bad[index % 4].rjust(end - start)) for index, (start, end) in enumerate(places)]


WHOLE = optimisation() + next_job() + step(SHAPES[1], -75.31) + END + archive(SHAPES[1])


def rows(text: str) -> list[bytes]:
    frames = [run.frames for run in read(text).runs if run.frames is not None]
    return [row.tobytes() for one in frames for row in one.ids()]


def test_a_log_cut_at_any_line_gives_no_number_that_the_whole_does_not() -> None:
    whole = read(WHOLE).runs
    allowed = {
        row.tobytes() for run in whole for one in (run.frames, run.frames.without("forces")) for row in one.ids()
    }
    lines = WHOLE.splitlines(keepends=True)
    for end in range(12, len(lines)):
        runs = read("".join(lines[:end])).runs
        for run in runs:
            if run.frames is not None:
                assert {row.tobytes() for row in run.frames.ids()} <= allowed
        assert END in lines[:end] or runs[-1].ending.status == "truncated"


def test_a_number_that_is_none_costs_its_frame_which_is_reported() -> None:
    whole = rows(WHOLE)
    for start, end, bad in damaged():
        text = WHOLE[:start] + bad + WHOLE[end:]
        try:
            runs = read(text).runs
        except ParseError:
            continue
        found = rows(text)
        assert set(found) <= set(whole), text[start - 60 : end + 20]
        lost = sum(one.frames for run in runs for one in run.ending.left_out)
        assert len(found) + lost >= len(whole), text[start - 60 : end + 20]


def test_a_line_of_millions_of_characters_is_passed_over() -> None:
    text = optimisation().replace(" Optimization completed.", " #" * 2_000_000)

    assert len(read(text).frames) == 2


def test_a_log_with_windows_line_ends_reads_the_same() -> None:
    """G11."""
    assert rows(WHOLE.replace("\n", "\r\n")) == rows(WHOLE)
    assert len(read(WHOLE.encode().replace(b"springs", b"\xe9\x96").replace(b"\n", b"\r\n")).frames) == 3


def test_a_job_without_links_is_read_by_its_route() -> None:
    assert len(read(optimisation().replace(SCF_LINKS, "")).frames) == 2
