"""cp.x: blocks of standard output and the restart file, on real runs of cp.x 6.7 of one water molecule.

`cp_md.*` is a run of 20 steps of dynamics, `cp_ground.out` the damped dynamics of the electrons before it.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from mlpdata.errors import ParseError
from mlpdata.frames import Frames, concatenate
from mlpdata.readers.archive import Input
from mlpdata.readers.registry import Ending, Header, Opened, recognise
from mlpdata.schema.properties import NO, YES
from mlpdata.units import BOHR, HARTREE

FILES = Path(__file__).parents[2] / "data" / "espresso"
MD, XML, GROUND = ((FILES / name).read_bytes() for name in ("cp_md.out", "cp_md.xml", "cp_ground.out"))
GPA = 0.1 / 16.02176634  # eV/angstrom^3
ATOMIC_STRESS = HARTREE / BOHR**3


def read(text: bytes) -> tuple[Header, Frames, Ending]:
    source = Input(Path("a"), text, "0" * 64, len(text))
    header, *blocks, ending = Opened(source, recognise(source)).items()
    assert isinstance(header, Header)
    assert isinstance(ending, Ending)
    return header, concatenate([block for block in blocks if isinstance(block, Frames)]), ending


def test_a_block_gives_the_energy_with_its_own_positions_and_forces() -> None:
    header, frames, ending = read(MD)

    assert frames.get("step").tolist() == [100, 102]
    assert frames.energy.tolist() == pytest.approx([-16.45212741619 * HARTREE, -16.45484174234 * HARTREE], abs=1e-9)
    assert frames.positions[3] == pytest.approx(np.array([7.0010606456696, 6.9792770615428, 6.9989974483490]) * BOHR)
    assert frames.forces[4] * BOHR / HARTREE == pytest.approx(
        [0.029562030421378, 0.035694941150963, 0.00064136561315806]
    )
    assert np.diag(frames.cell[0]) == pytest.approx(14.0 * BOHR)
    assert (header.run_kind, header.method.functional, ending.status) == ("md", "BLYP", "complete")
    assert header.method.cutoff_energy == pytest.approx(12.5 * HARTREE)


def test_where_the_cell_moves_the_plane_waves_are_those_of_the_first() -> None:
    held = b"cell parameters are not allowed to move"
    header, _, _ = read(MD.replace(held, b"cell parameters dynamics with frich =  0.0000"))

    assert held in MD
    assert header.basis_fixed_at == "first cell"
    assert read(MD)[0].basis_fixed_at is None


def test_the_motion_of_the_nuclei_is_taken_off_the_stress() -> None:
    _, frames, _ = read(MD)

    pressure = -np.trace(frames.stress[0]) / 3 / GPA

    assert pressure == pytest.approx(-9.33733, abs=2e-4)  # "Total Electronic Pressure (GPa)" of step 100


def test_a_stress_whose_kinetic_part_cannot_be_told_is_left_out() -> None:
    without = re.sub(rb"   ATOMIC_VELOCITIES\n(   .*\n)+", b"", MD)

    _, frames, ending = read(without)

    assert np.isnan(frames.stress).all()
    assert len(frames) == 2
    assert sum("motion of the nuclei" in warning for warning in ending.warnings) == 2


def test_velocities_are_in_atomic_units_of_time() -> None:
    _, frames, _ = read(MD)
    assert frames.get("velocities")[1, 0] == pytest.approx(0.14745232132657e-02 * BOHR / 2.4188843265864e-2)


def test_electrons_on_their_way_to_the_ground_state_are_not_converged() -> None:
    header, frames, _ = read(GROUND)

    assert header.run_kind == "single_point"
    assert frames.get("scf_converged").tolist() == [NO, YES]  # steps 50 and 82, the second after "convergence achieved"


def test_a_block_without_positions_is_left_out_with_its_line() -> None:
    at = MD.rindex(b"   ATOMIC_POSITIONS")

    _, frames, ending = read(MD[:at])

    assert frames.get("step").tolist() == [100]
    assert ending.status == "truncated"
    assert [lost.line for lost in ending.left_out] == [MD[: MD.rindex(b" * Physical")].count(b"\n") + 1]


def test_the_restart_file_gives_the_step_that_its_energy_and_forces_belong_to() -> None:
    _, frames, _ = read(XML)
    _, printed, _ = read(MD)

    last = printed.select([1])
    assert frames.energy == pytest.approx(last.energy, abs=1e-9)
    np.testing.assert_allclose(frames.positions, last.positions, atol=1e-10)
    np.testing.assert_allclose(frames.forces, last.forces, atol=1e-9)
    np.testing.assert_allclose(frames.stress, last.stress, atol=2e-4 * GPA)


def test_forces_and_stress_that_the_restart_file_halves_are_made_whole() -> None:
    _, frames, _ = read(XML)

    rows = re.search(rb"<forces [^>]*>(.*?)</forces>", XML, re.S)
    assert rows is not None
    written = np.array(rows[1].split(), float).reshape(-1, 3)
    np.testing.assert_allclose(frames.forces * BOHR / HARTREE, 2 * written, atol=1e-12)
    assert frames.stress[0, 0, 0] == pytest.approx(2 * 1.462565218084912e-4 * ATOMIC_STRESS)


def test_a_stress_of_unknown_unit_is_left_out() -> None:
    _, frames, ending = read(re.sub(rb"<forces .*?</forces>", b"", XML, flags=re.S))

    assert "stress" not in frames
    assert any("stress left out" in warning for warning in ending.warnings)


def test_positions_of_another_step_than_the_restart_are_refused() -> None:
    with pytest.raises(ParseError, match="STEP0"):
        read(XML.replace(b'<atom name="O" index="1">7.0', b'<atom name="O" index="1">7.1'))
