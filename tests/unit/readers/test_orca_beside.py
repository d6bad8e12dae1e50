"""What a run of ORCA leaves beside its standard output: job.engrad, job.property.json, job.hess."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from orca_output import STEPS, Reading, hartree, read

from mlpdata.errors import InputError, ParseError
from mlpdata.readers.archive import open_input
from mlpdata.readers.orca import engrad as orca_engrad
from mlpdata.readers.orca import files as orca_files
from mlpdata.readers.orca import hess as orca_hess
from mlpdata.readers.orca import property as orca_property
from mlpdata.readers.registry import open_run, precedence, recognise, recognise_file
from mlpdata.units import BOHR, HARTREE

FILES = Path(__file__).parents[2] / "data" / "orca"
ENGRAD = (FILES / "opt.engrad").read_text()
HESS = (FILES / "opt.hess").read_text()
PROPERTY = json.loads((FILES / "opt.property.json").read_text())


def of_property(change: Callable[[dict[str, Any]], object] = lambda _record: None) -> Reading:
    """The record, changed, as a file."""
    record = json.loads(json.dumps(PROPERTY))
    change(record)
    return read(json.dumps(record, indent=1), orca_property.READER)


def engrad(text: str) -> Reading:
    return read(text, orca_engrad.READER)


def hess(text: str) -> Reading:
    return read(text, orca_hess.READER)


# -- which files are of one run


def test_files_of_one_job_are_one_run_and_the_output_gives_the_frames() -> None:
    files = sorted(FILES.glob("opt.*"), key=lambda path: precedence(recognise_file(path).reader.name))

    assert [path.name for path in files] == ["opt.out", "opt.property.json", "opt.engrad", "opt.hess"]
    assert {recognise_file(path).run for path in files} == {"orca:opt"}


@pytest.mark.parametrize(("name", "run"), [("job.log", "job"), ("a.b.out", "a.b"), ("job.gbw", None), (".out", None)])
def test_the_run_is_named_by_the_job(name: str, run: str | None) -> None:
    assert orca_files.run_of(name, b"") == run


# -- engrad


def test_a_gradient_of_engrad_is_turned_into_forces() -> None:
    """O1."""
    frames = engrad(ENGRAD).frames

    assert hartree(frames) == [-76.26]
    assert np.allclose(frames.forces, -np.array(STEPS[1][2]) * HARTREE / BOHR, rtol=1e-12)
    assert frames.atomic_numbers.tolist() == [8, 1, 1]
    assert frames.positions[0, 2] == pytest.approx(0.11, abs=1e-6)
    assert frames.get("source_line").tolist() == [ENGRAD.split("\n").index("    -76.260000000000") + 1]


def test_engrad_names_no_method_and_says_so() -> None:
    run = engrad(ENGRAD)

    assert (run.header.method.functional, run.ending.status) == (None, "complete")
    assert "neither program nor method" in run.ending.warnings[0]


def test_symbols_in_engrad_are_understood() -> None:
    assert engrad(ENGRAD.replace("   8    ", "   O    ")).frames.atomic_numbers.tolist() == [8, 1, 1]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("0.015000000000", "**************"),
        ("-76.260000000000", "NaN"),
        ("       0.015000000000\n", ""),
        ("1.4172946   -0.8503768", "1.4172946-10.8503768"),
        ("   8     0.0", "  99999  0.0"),
        ("   8     0.0", "  \xb3    0.0"),
        ("in Eh\n", "in eV\n"),
        ("Eh/bohr", "eV/Angstrom"),
        ("   1     0.0000000   -1.4172946   -0.9448631\n", ""),
        (" 3\n", " x\n"),
        ("-0.9448631\n", "-0.9448631"),
    ],
)
def test_engrad_that_is_damaged_gives_no_frame_and_the_reason(old: str, new: str) -> None:
    assert old in ENGRAD

    run = engrad(ENGRAD.replace(old, new, 1))

    assert run.runs[0].frames is None
    assert run.ending.status == "truncated"
    assert run.ending.left_out[0].reason.startswith("expected")


def test_more_atoms_than_a_limit_are_refused() -> None:
    with pytest.raises(InputError, match="at most"):
        engrad(ENGRAD.replace("\n 3\n", "\n 999999999\n"))


# -- property


def test_every_geometry_of_a_property_file_is_a_frame() -> None:
    run = of_property()

    assert hartree(run.frames) == [-76.25, -76.26, -76.2601]
    assert np.isnan(run.frames.forces[:, 0]).tolist() == [False] * 6 + [True] * 3
    assert np.allclose(run.frames.forces[:3], -np.array(STEPS[0][2]) * HARTREE / BOHR, rtol=1e-12)
    assert run.frames.get("step").tolist() == [0, 1, 2]
    assert (run.frames.get("charge").tolist(), run.frames.get("multiplicity").tolist()) == ([0.0] * 3, [1] * 3)
    assert (run.header.method.code_version, run.ending.status) == ("6.1.0", "complete")
    assert run.frames.get("charges_mulliken")[:3].tolist() == [-0.61, 0.31, 0.3]
    assert run.frames.get("dipole")[2] == pytest.approx(np.array([0, 0.01, -0.75]) * BOHR)


def test_the_output_and_the_property_file_of_a_run_agree() -> None:
    with open_run(FILES / "opt.out") as one, open_run(FILES / "opt.property.json") as two:
        (first,), (second,) = ([item for item in opened.items() if hasattr(item, "forces")] for opened in (one, two))

    assert np.allclose(first.positions, second.positions, atol=1e-6)
    assert np.allclose(first.energy, second.energy, rtol=0, atol=1e-8)
    assert np.allclose(first.forces, second.forces, equal_nan=True, rtol=1e-9)


def test_coordinates_in_angstrom_are_taken_as_such() -> None:
    def change(record: dict[str, Any]) -> None:
        for geometry in record["Geometries"]:
            geometry["Geometry"]["Coordinates"]["Units"] = "Angstrom"

    assert of_property(change).frames.positions[0, 2] == pytest.approx(0.1889726)


def roots(record: dict[str, Any], final: float) -> None:
    """One geometry with two roots above the ground state."""
    del record["Geometries"][1:]
    geometry = record["Geometries"][0]
    del geometry["Nuclear_Gradient"]
    total = geometry["Energy"][0]["totalEnergy"][0][0]
    energies = [[total + 0.2], [total + 0.3]]
    geometry["Energy"].append({"Method": "TDA/CIS", "Root": [[0], [1]], "totalEnergy": energies, "e0": total})
    geometry["Single_Point_Data"]["FinalEnergy"] = final


@pytest.mark.parametrize(("final", "state"), [(-76.0495, "root 1"), (-75.95, "root 2"), (-76.25, None)])
def test_the_state_of_a_final_energy_is_found_among_those_listed(final: float, state: str | None) -> None:
    """O3, with or without dispersion (O2)."""
    run = of_property(lambda record: roots(record, final))

    assert hartree(run.frames) == [final]
    assert (run.header.method.state, run.header.method.excited) == (state, state is not None)
    assert any("root" in warning for warning in run.ending.warnings) is (state is not None)


def test_a_final_energy_of_no_listed_state_is_left_out() -> None:
    run = of_property(lambda record: roots(record, -70.0))

    assert run.runs[0].frames is None
    assert "found another" in run.ending.left_out[0].reason


def test_the_state_of_an_equation_of_motion_energy_is_found_by_its_excitation() -> None:
    def change(record: dict[str, Any]) -> None:
        roots(record, -76.3 + 0.3)
        energies = record["Geometries"][0]["Energy"]
        energies[1] = {"Method": "MDCI(SD)", "totalEnergy": [[-76.3]]}
        spectrum = {"ExcitationEnergies": [[0.2 * HARTREE, 0.0], [0.3 * HARTREE, 0.0]], "States": [[0, 0, 1, 0]] * 2}
        record["Geometries"][0]["Absorption_Spectrum"] = [spectrum]

    run = of_property(change)

    assert (run.header.method.state, run.header.method.correlation) == ("root 2", "MDCI(SD)")


@pytest.mark.parametrize("method", ["MP2", "TDA/CIS"])
def test_a_gradient_of_another_method_than_the_energy_is_not_paired(method: str) -> None:
    """O6."""

    def change(record: dict[str, Any]) -> None:
        record["Geometries"][0]["Nuclear_Gradient"][0]["Method"] = method

    run = of_property(change)

    assert np.isnan(run.frames.forces[:3]).all()
    assert "none certainly of the energy" in run.ending.warnings[0]


def test_a_run_that_did_not_end_normally_is_failed() -> None:
    run = of_property(lambda record: record["Calculation_Status"].update(Status="ABORTED"))

    assert (run.ending.status, run.ending.reason) == ("failed", "the status is 'ABORTED'")


def test_an_energy_that_did_not_converge_is_marked() -> None:
    """O4."""
    run = of_property(lambda record: record["Geometries"][1]["Single_Point_Data"].update(Converged=False))

    assert run.frames.get("scf_converged").tolist() == [1, 0, 1]


def damaged(part: str, value: object) -> Callable[[dict[str, Any]], None]:
    def change(record: dict[str, Any]) -> None:
        geometry = record["Geometries"][1]
        match part:
            case "units" | "type":
                geometry["Geometry"]["Coordinates"][part.capitalize()] = value
            case "coordinates":
                geometry["Geometry"]["Coordinates"]["Cartesians"] = value
            case "energy":
                geometry["Single_Point_Data"]["FinalEnergy"] = value
            case _:
                geometry["Nuclear_Gradient"][0]["grad"] = value

    return change


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("units", "furlong"),
        ("type", "Internals"),
        ("coordinates", []),
        ("coordinates", [["O", 0.0, 0.0]]),
        ("coordinates", [["??", 0.0, 0.0, 0.0]]),
        ("coordinates", [["O", 0.0, "x", 0.0]]),
        ("energy", None),
        ("energy", "high"),
        ("gradient", [[0.1]] * 6),
        ("gradient", [[0.1]] * 8),
        ("gradient", [["x"]] * 9),
    ],
)
def test_a_geometry_that_cannot_be_understood_costs_itself_only(part: str, value: object) -> None:
    run = of_property(damaged(part, value))

    assert hartree(run.frames) == [-76.25, -76.2601]
    assert run.ending.left_out[0].reason.startswith("expected")


@pytest.mark.parametrize(
    "text", ["{", '{"Calculation_Info": {}, "Geometries": [NaN]}', "[" * 100000, '{"Geometries": 1}']
)
def test_what_is_no_record_is_refused(text: str) -> None:
    with pytest.raises(ParseError, match="expected"):
        read(text, orca_property.READER)


# -- hess


def test_second_derivatives_are_pairs_of_atoms() -> None:
    run = hess(HESS)

    unit = HARTREE / BOHR**2
    pairs = run.frames.get("hessian").reshape(3, 3, 3, 3) / unit
    rows = [line.split() for line in HESS.split("\n")]
    first = next(index for index, row in enumerate(rows) if row[:2] == ["0", "1"]) + 1
    assert pairs[0, 0, 0].tolist() == pytest.approx([float(x) for x in rows[first][1:4]])
    assert pairs[0, 1, 0, :2].tolist() == pytest.approx([float(x) for x in rows[first][4:6]])
    assert pairs[1, 0, 2, 1] == pytest.approx(float(rows[first + 5][2]))
    assert hartree(run.frames) == [-76.26]
    assert run.frames.get("masses").tolist() == [15.999, 1.008, 1.008]
    assert (run.header.run_kind, run.ending.status) == ("phonon", "complete")


def test_an_energy_of_zero_was_not_stored() -> None:
    assert "energy" not in hess(HESS.replace("-76.260000", "  0.000000")).frames


def test_derivatives_that_were_not_computed_are_absent() -> None:
    """A partial run fills the rows and columns of the other atoms with zeros."""
    section = HESS[HESS.index("$hessian") : HESS.index("$vib")]
    rows = []
    for row in section.split("\n"):
        cells = row.split()
        if len(cells) > 1 and "E" in row:
            is_held = int(cells[0]) < 3
            first = 0 if len(cells) == 6 else 5
            cells[1:] = ["0.0" if is_held or first + i < 3 else cell for i, cell in enumerate(cells[1:])]
        rows.append(" ".join(cells))

    run = hess(HESS.replace(section, "\n".join(rows)))

    absent = np.isnan(run.frames.get("hessian")).all(axis=(1, 2)).reshape(3, 3)
    assert absent.tolist() == [[True, True, True], [True, False, False], [True, False, False]]
    assert "not computed" in run.ending.warnings[0]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("$hessian\n9", "$hessian\n8"),
        ("$atoms\n3", "$atoms\n4"),
        ("$atoms", "$nothing"),
        (" O     15.99900", " ?     15.99900"),
        ("0.207869900000", "**************"),
        (re.search(r"-?\d\.\d+E-\d\d", HESS)[0], "****************"),
        ("    1   ", "    2   "),
    ],
)
def test_second_derivatives_that_are_damaged_are_left_out(old: str, new: str) -> None:
    assert old in HESS

    run = hess(HESS.replace(old, new, 1))

    assert run.runs[0].frames is None
    assert (run.ending.status, run.ending.left_out[0].reason[:8]) == ("truncated", "expected")


def test_a_file_of_second_derivatives_without_its_title_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "broken.hess"
    path.write_text(HESS[HESS.index("$hessian") + 9 :])

    with open_input(path) as source:
        assert recognise(source) is orca_hess.READER  # by its name
    with pytest.raises(ParseError, match="orca_hessian_file"):
        hess(path.read_text())
