"""The files that cp.x writes beside its standard output, on a real run of cp.x 6.7: one water molecule in a skew cell.

Two runs began at the same restart file and wrote to the same files every 2 steps: one of 6 steps of 2 a.u., then one of
9 steps of 5 a.u., whose standard output is `md.out`. The input lists the atoms as H, O, H.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from mlpdata.frames import Frames, concatenate
from mlpdata.readers.registry import Ending, open_run
from mlpdata.units import BOHR, HARTREE

STEPS = Path(__file__).parents[2] / "data" / "espresso" / "cp_steps"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A copy of the run; the standard output."""
    return Path(shutil.copytree(STEPS, tmp_path / "run")) / "md.out"


def read(path: Path) -> tuple[Frames, Ending]:
    with open_run(path) as opened:
        items = list(opened.items())
    ending = items[-1]
    assert isinstance(ending, Ending)
    return concatenate([item for item in items if isinstance(item, Frames)]), ending


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def table(suffix: str, step: int) -> np.ndarray:
    """The last table of a step."""
    rows = (STEPS / f"water{suffix}").read_text().splitlines()
    at = max(i for i, row in enumerate(rows) if row.split()[0] == str(step) and len(row.split()) == 2)
    return np.array([row.split() for row in rows[at + 1 : at + 4]], float)


def test_steps_between_the_blocks_are_frames_in_their_order(run: Path) -> None:
    frames, ending = read(run)

    assert frames.get("step").tolist() == [64, 66, 68, 70, 72]
    assert frames.energy[1] == pytest.approx(-15.709963341683 * HARTREE, abs=1e-10)
    assert frames.get("source_line").tolist()[:2] == [263, 265]
    assert frames.atomic_numbers.tolist() == [1, 8, 1] * 5
    assert (ending.status, ending.left_out) == ("complete", ())


def test_a_step_that_two_runs_wrote_is_taken_from_the_run_of_its_energy(run: Path) -> None:
    frames, _ = read(run)

    np.testing.assert_allclose(frames.positions[6:9] / BOHR, table(".pos", 68), atol=1e-10)
    np.testing.assert_allclose(frames.forces[6:9] * BOHR / HARTREE, table(".for", 68), atol=1e-10)


def test_the_change_of_energy_is_the_work_of_the_forces(run: Path) -> None:
    """What the fictitious kinetic energy of the electrons takes is 5 % of it, with the next positions it is 50 %."""
    frames, _ = read(run)
    positions, forces = frames.positions.reshape(5, 3, 3), frames.forces.reshape(5, 3, 3)

    work = ((forces[1:] + forces[:-1]) / 2 * np.diff(positions, axis=0)).sum((1, 2))

    np.testing.assert_allclose(np.diff(frames.energy), -work, rtol=0.05)


def test_lattice_vectors_are_the_columns_of_the_printed_cell(run: Path) -> None:
    """The input says 12 0 0, 3 11 0, 1 2 10.5."""
    frames, _ = read(run)

    for cell in frames.cell:
        np.testing.assert_allclose(cell / BOHR, [[12, 0, 0], [3, 11, 0], [1, 2, 10.5]], atol=1e-8)


def test_the_stress_is_free_of_the_motion_of_the_nuclei(run: Path) -> None:
    """Masses are printed by kind, O before H; "Total Electronic Pressure" is not printed, hence by the row's energies."""
    frames, _ = read(run)

    kinetic = (15.709963341683 - 15.709066914024) * HARTREE  # of step 66
    volume = 1386 * BOHR**3
    total = np.trace(table(".str", 66)) / 3 * 0.1 / 16.02176634
    assert -np.trace(frames.stress[1]) / 3 == pytest.approx(total - kinetic * 2 / 3 / volume, abs=2e-6)


def test_files_of_another_run_are_not_paired(run: Path) -> None:
    edit(run, "-15.709963341683     -15.709963341683", "-15.709963541683     -15.709963541683")

    frames, ending = read(run)

    assert frames.get("step").tolist() == [64, 68, 70, 72]
    assert [lost.line for lost in ending.left_out] == [265]
    assert "another run" in ending.left_out[0].reason


def test_a_damaged_table_of_forces_costs_the_forces_of_its_step_only(run: Path) -> None:
    edit(run.with_name("water.for"), "0.11542624177047E-02", "*" * 20)

    frames, ending = read(run)

    assert frames.get("step").tolist() == [64, 66, 68, 70, 72]
    assert np.isnan(frames.forces).any(1).tolist() == [False] * 9 + [True] * 3 + [False] * 3
    assert [warning for warning in ending.warnings if "water.for, step 70" in warning]


def test_missing_positions_are_reported(run: Path) -> None:
    run.with_name("water.pos").unlink()

    frames, ending = read(run)

    assert frames.get("step").tolist() == [72]
    assert [lost.line for lost in ending.left_out] == [263, 265, 267, 269]


def test_a_step_that_cannot_be_told_from_that_of_another_run_is_left_out(run: Path) -> None:
    run.with_name("water.evp").unlink()

    frames, ending = read(run)

    assert frames.get("step").tolist() == [70, 72]  # 64 to 68 stand there twice
    assert len(ending.left_out) == 3


def test_two_sets_of_files_without_a_prefix_in_the_output_are_not_used(run: Path) -> None:
    text = run.read_text()
    run.write_text(re.sub(r".*writing restart file.*\n", "", text))
    assert len(read(run)[0]) == 5
    shutil.copy(run.with_name("water.pos"), run.with_name("other.pos"))

    frames, ending = read(run)

    assert frames.get("step").tolist() == [72]
    assert any("no .pos file" in warning for warning in ending.warnings)
