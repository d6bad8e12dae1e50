"""The reader of Gaussian's formatted checkpoint files, one promise a test."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from gaussian_output import SHAPES, Output, read, springs

from mlpdata.readers.gaussian import fchk as gaussian_fchk
from mlpdata.units import BOHR, HARTREE

TEXT = (Path(__file__).parents[2] / "data" / "gaussian" / "springs.fchk").read_text()
TD = ("Freq      RB3LYP   ", "SP        RB3LYP TD-FC")


def fchk(text: str) -> Output:
    return read(text, gaussian_fchk.READER)


def without(*names: str) -> str:
    """The file without some sections."""
    lines, kept = TEXT.splitlines(keepends=True), []
    for line in lines:
        if line[0].isalpha() and line[40:43] == "   ":
            skipped = line.startswith(names)
        if len(kept) < 2 or not skipped:
            kept.append(line)
    return "".join(kept)


def test_the_file_is_one_frame_in_atomic_units() -> None:
    frames = fchk(TEXT).frames

    assert frames.atomic_numbers.tolist() == [8, 1, 1]
    assert np.allclose(frames.positions, SHAPES[0], atol=1e-7)
    assert frames.energy.tolist() == pytest.approx([-75.3 * HARTREE], rel=1e-12)
    assert (frames.get("charge").tolist(), frames.get("multiplicity").tolist()) == ([0.0], [1])
    assert frames.get("charges_mulliken").tolist() == [-0.33, 0.16, 0.17]
    assert "cell" not in frames


def test_forces_are_minus_the_gradient() -> None:
    assert np.allclose(fchk(TEXT).frames.forces, springs(SHAPES[0]) * HARTREE / BOHR, rtol=1e-7, atol=1e-9)


def test_force_constants_are_the_blocks_of_all_pairs() -> None:
    """The file's matrix is 0.1 r r^T of each pair [hartree/bohr^2], minus their sum on the diagonal."""
    hessian = fchk(TEXT).frames.get("hessian").reshape(3, 3, 3, 3)
    arms = (SHAPES[0][:, None] - SHAPES[0]) / BOHR
    expected = -0.1 * arms[..., :, None] * arms[..., None, :] * HARTREE / BOHR**2
    expected[range(3), range(3)] = -expected.sum(axis=1)

    assert np.allclose(hessian, expected, rtol=1e-6, atol=1e-6)


def test_a_gradient_of_zeros_was_not_computed() -> None:
    start = TEXT.index("Cartesian Gradient")
    end = TEXT.index("Cartesian Force Constants")
    zeros = TEXT[start:end].splitlines(keepends=True)[0] + "  0.00000000E+00" * 5 + "\n" + "  0.00000000E+00" * 4 + "\n"

    output = fchk(TEXT[:start] + zeros + TEXT[end:])

    assert "forces" not in output.frames
    assert output.header.forces_are == "absent"


def test_a_gradient_with_a_torque_is_in_other_axes_and_dropped() -> None:
    """G1."""
    first = TEXT.index("\n", TEXT.index("Cartesian Gradient")) + 1
    turned = TEXT[:first] + "  5.00000000E-01" + TEXT[first + 16 :]

    output = fchk(turned.replace(TEXT[first + 16 * 3 : first + 16 * 4], " -5.00000000E-01", 1))

    assert "forces" not in output.frames
    assert "torque" in output.ending.warnings[0]


def test_without_a_gradient_excited_states_leave_the_ground_states_energy() -> None:
    """G6: the total energy is that of a root."""
    text = without("Cartesian Gradient", "Route").replace(*TD)
    text = text.replace(f"Total Energy{'R':>32}{-75.3:27.15E}", f"Total Energy{'R':>32}{-75.0:27.15E}")
    assert "-7.500000000000000E+01" in text

    output = fchk(text)

    assert output.frames.energy.tolist() == pytest.approx([-75.3 * HARTREE])
    assert output.header.method.excited is False


def test_a_gradient_of_an_excited_state_belongs_to_the_total_energy() -> None:
    output = fchk(without("Route").replace(*TD))

    assert (output.header.method.excited, output.header.method.state) == (True, "root 1")


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("RB3LYP", {"functional": "B3LYP", "spin": "restricted", "correlation": None}),
        ("UMP2-FC", {"functional": "HF", "spin": "unrestricted", "correlation": "MP2"}),
        ("RMP4SDQ-FC", {"functional": "HF", "correlation": "MP4(SDQ)"}),
        ("RCCSD(T)-FC", {"functional": "HF", "correlation": "CCSD(T)"}),
        ("RTD-PBE1PBE-FC", {"functional": "PBE0", "correlation": None}),
    ],
)
def test_the_method_is_that_of_the_second_line(name: str, known: dict[str, object]) -> None:
    method = fchk(without("Route").replace("RB3LYP".ljust(30), name.ljust(30), 1)).header.method

    assert {field: getattr(method, field) for field in known} == known
    assert (method.basis, method.code_version) == ("STO-3G", "ES64L-G16RevC.01")


def test_a_file_is_complete_where_gaussian_says_so() -> None:
    assert fchk(TEXT).ending.status == "complete"
    assert fchk(without("Gaussian Version")).ending.status == "truncated"
    assert (
        fchk(
            TEXT.replace("Job Status".ljust(43) + "I                1", "Job Status".ljust(43) + "I                3")
        ).ending.status
        == "failed"
    )


@pytest.mark.parametrize("name", ["Atomic numbers", "Current cartesian coordinates", "Total Energy", "Charge"])
def test_without_what_a_frame_needs_there_is_none_and_the_file_says_why(name: str) -> None:
    output = fchk(without(name))

    assert output.runs[0].frames is None
    assert len(output.ending.left_out) == 1


def test_charges_that_are_damaged_cost_a_warning() -> None:
    output = fchk(TEXT.replace("-3.30000000E-01", "***************"))

    assert "charges_mulliken" not in output.frames
    assert "Mulliken Charges dropped" in output.ending.warnings[0]


def test_files_of_q_chem_look_alike_and_are_not_known() -> None:
    other = without("Info1-9", "Route").replace("springs\n", "Jobname.Temp\n", 1)

    assert gaussian_fchk.READER.magic(TEXT.encode())
    assert not gaussian_fchk.READER.magic(other.encode())


def test_point_charges_are_external() -> None:
    name = "Number of point charges in /Mol/".ljust(43)

    output = fchk(TEXT.replace(f"{name}I                0", f"{name}I                4"))

    assert output.header.method.external == ("point charges",)
    assert output.header.forces_are == "with_external"
