"""CP2K logs with companion files of other projects' test suites, compared with what independent readers make of them."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from mlpdata.frames import Frames, concatenate
from mlpdata.readers.archive import open_input
from mlpdata.readers.cp2k.log import READER
from mlpdata.readers.registry import Ending, Header, Opened, open_run

ROOT = Path(__file__).parents[2]
CORPUS = (ROOT / os.environ.get("MLPDATA_CORPUS", "../shared/corpus")).resolve()
DPDATA = "cp2k/deepmodeling__dpdata/tests/cp2k"
CP2KDATA = "cp2k/robinzyb__cp2kdata/tests"

pytestmark = [
    pytest.mark.shared,
    pytest.mark.skipif(not CORPUS.is_dir(), reason="no corpus of output files at MLPDATA_CORPUS"),
]


def items(path: str) -> list[Header | Frames | Ending]:
    with open_run(CORPUS / path) as opened:
        assert opened.reader is READER
        return [item for item in opened.items() if isinstance(item, Header | Frames | Ending)]


def frames(path: str) -> Frames:
    return concatenate([item for item in items(path) if isinstance(item, Frames)])


def header(path: str) -> Header:
    found = items(path)[0]
    assert isinstance(found, Header)
    return found


@pytest.mark.parametrize(
    ("name", "tolerance"), [("v7.1/aimd_virial_in_output", 2e-3), ("v2023.2/aimd_nvt_restart", 0.02)]
)
def test_along_a_run_the_energy_changes_by_minus_force_times_way(name: str, tolerance: float) -> None:
    """The slope is 1: another sign, unit or pairing of log and companions would show (C1, C3)."""
    every = frames(f"{CP2KDATA}/test_dpdata/{name}/output")
    n_atoms = int(every.n_atoms[0])
    positions, forces = every.positions.reshape(-1, n_atoms, 3), every.forces.reshape(-1, n_atoms, 3)
    expected = -((forces[1:] + forces[:-1]) / 2 * np.diff(positions, axis=0)).sum(axis=(1, 2))

    assert np.dot(np.diff(every.energy), expected) / np.dot(expected, expected) == pytest.approx(1, abs=tolerance)


def test_a_restart_has_its_first_step_from_the_log_and_the_others_from_companions() -> None:
    """C3: H2O_restart-pos-1.xyz begins at i = 20; the log has one energy before it."""
    every = frames(f"{CP2KDATA}/test_dpdata/v2023.2/aimd_nvt_restart/output")

    assert every.get("step").tolist() == [19, 20, 21, 22]
    assert every.positions[12].tolist() == [6.3316694013, 10.3265616457, 7.6782392523]
    assert not np.isnan(every.get("velocities")[12:]).any()


def test_at_constant_pressure_each_step_has_its_own_cell_and_forces_of_a_companion() -> None:
    every = frames(f"{CP2KDATA}/test_dpdata/v9.1/xTBmd_npt_i/output")

    assert every.cell[:, 0, 0] == pytest.approx([23.3333333333, 23.2953805356, 23.1764519478, 23.0499119613], abs=1e-6)
    assert not np.isnan(every.forces).any()


@pytest.mark.parametrize(
    ("path", "functional", "dispersion"),
    [
        (f"{CP2KDATA}/test_dpdata/v2023.2/aimd_nvt_restart/output", "revPBE", "D3"),
        (f"{CP2KDATA}/test_dpdata/v9.1/xTBmd_npt_i/output", "GFN1-xTB", "D3(BJ)"),
        (f"{DPDATA}/cp2k_normal_output/cp2k_output", "PBE", "D3"),
        ("cp2k/nomad-coe__electronic-parsers/tests/data/cp2k/single_point/si_bulk8.out", "LDA-PADE", "none"),
        (
            "cp2k/nomad-coe__electronic-parsers/tests/data/cp2k/graphene_15x15_pdos/Grafene15x15-alone-smear-cell-opt.out",
            "TPSS+PBE",
            "rVV10",
        ),
    ],
)
def test_the_level_of_theory_is_what_the_log_lists(path: str, functional: str, dispersion: str) -> None:
    method = header(path).method

    assert (method.functional, method.dispersion) == (functional, dispersion)


def test_an_scf_that_did_not_converge_is_marked() -> None:
    """C4: the run goes on and prints forces."""
    assert frames(f"{DPDATA}/cp2k_nocon_output.xz").get("scf_converged").tolist() == [0]


@pytest.mark.parametrize("name", ["test_dpdata/v7.1/aimd_virial_in_output", "test_dpdata/v2023.2/aimd_nvt_restart"])
def test_a_real_log_cut_anywhere_pairs_nothing_that_the_whole_file_does_not(name: str, tmp_path: Path) -> None:
    """Forces may then come from the companion, which prints two more decimals than the log."""
    path = CORPUS / CP2KDATA / name / "output"
    text = path.read_bytes()
    whole = frames(f"{CP2KDATA}/{name}/output")
    cut = tmp_path / "output"
    for end in np.random.default_rng(0).integers(30000, len(text), 40):
        cut.write_bytes(text[:end])
        with open_input(cut) as source, open_run(path) as beside:
            source.companions = beside.input.companions
            blocks = [item for item in Opened(source, READER).items() if isinstance(item, Frames)]
        for index, one in enumerate(block.select([row]) for block in blocks for row in range(len(block))):
            same = whole.select([index])
            assert one.energy.tolist() == same.energy.tolist()
            assert np.allclose(one.positions, same.positions, atol=1e-9)
            assert np.isnan(one.forces).all() or np.allclose(one.forces, same.forces, atol=1e-6)
