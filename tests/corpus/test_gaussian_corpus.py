"""Gaussian outputs of other projects' test suites, compared with what independent readers make of them."""

from __future__ import annotations

import itertools
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlpdata.frames import Frames, concatenate
from mlpdata.readers.archive import open_input
from mlpdata.readers.gaussian import fchk as gaussian_fchk
from mlpdata.readers.gaussian import log as gaussian
from mlpdata.readers.gaussian.frames import RELATIVE_TORQUE, TORQUE, torque
from mlpdata.readers.registry import Ending, Header, Opened
from mlpdata.units import BOHR, HARTREE

ROOT = Path(__file__).parents[2]
CORPUS = (ROOT / os.environ.get("MLPDATA_CORPUS", "../shared/corpus")).resolve()
CCLIB = "gaussian/cclib__cclib-data/Gaussian"
DPDATA = "gaussian/deepmodeling__dpdata/tests/gaussian"
AUTODE = "gaussian/duartegroup__autodE/tests"

pytestmark = [
    pytest.mark.shared,
    pytest.mark.skipif(not CORPUS.is_dir(), reason="no corpus of output files at MLPDATA_CORPUS"),
]


def paths() -> list[str]:
    expected = json.loads((CORPUS / "EXPECTED.json").read_text()) if CORPUS.is_dir() else {}
    return sorted(path for path, wanted in expected.items() if wanted.get("format") == "gaussian-log")


def items(path: str) -> list[Header | Frames | Ending]:
    with open_input(CORPUS / path) as source:
        reader = next(one for one in (gaussian.READER, gaussian_fchk.READER) if one.magic(source.head))
        return list(Opened(source, reader).items())


def frames(path: str) -> Frames:
    return concatenate([item for item in items(path) if isinstance(item, Frames)])


@pytest.mark.parametrize("path", paths())
def test_no_forces_exert_a_torque_in_the_axes_of_their_positions(path: str) -> None:
    """G1: point charges and lattices apart."""
    found = items(path)
    for header, block in itertools.pairwise(found):
        if isinstance(header, Header) and isinstance(block, Frames) and header.forces_are == "physical":
            for index in np.flatnonzero(~block.pbc.any(axis=1)):
                one = block.select([index])
                if not np.isnan(one.forces).any():
                    total, bound = torque(one.positions[None], one.forces[None] / HARTREE * BOHR)
                    assert total[0] <= TORQUE or total[0] <= RELATIVE_TORQUE * bound[0]


def work(path: str) -> tuple[np.ndarray, np.ndarray]:
    """Energy differences of consecutive frames with forces, and minus the mean force times the way [eV]."""
    every = next(item for item in joined(path))
    n_atoms = int(every.n_atoms[0])
    positions, forces = every.positions.reshape(-1, n_atoms, 3), every.forces.reshape(-1, n_atoms, 3)
    mean = (forces[1:] + forces[:-1]) / 2
    return np.diff(every.energy), -(mean * np.diff(positions, axis=0)).sum(axis=(1, 2))


def joined(path: str) -> list[Frames]:
    """The frames of each job."""
    runs: list[list[Frames]] = []
    for item in items(path):
        if isinstance(item, Header):
            runs.append([])
        elif isinstance(item, Frames):
            runs[-1].append(item)
    return [concatenate(run) for run in runs if run]


@pytest.mark.parametrize(
    ("path", "tolerance"),
    [
        (f"{DPDATA}/aimd_gaussian_CH4_output", 0.02),
        (f"{CCLIB}/Gaussian09/dvb_gopt_unconverged.log", 0.1),
        (f"{CCLIB}/Gaussian03/anthracene.log.xz", 0.1),
        (f"{AUTODE}/test_wrappers/data/g09.zip/g09/ester_opt_g09.log.xz", 0.1),
        ("gaussian/materialsproject__pymatgen-core/test-files/io/gaussian/l-cysteine.out.xz", 0.1),
    ],
)
def test_along_a_run_the_energy_changes_by_minus_force_times_way(path: str, tolerance: float) -> None:
    """The slope is 1: another sign, unit, axes or pairing would show (G1, G9, G12)."""
    energy, expected = work(path)

    assert np.dot(energy, expected) / np.dot(expected, expected) == pytest.approx(1, abs=tolerance)


def test_forces_whose_axes_are_not_printed_have_the_positions_of_the_archive() -> None:
    """G3: the force on the first hydrogen is along its bond, which stretches."""
    frame = frames(f"{DPDATA}/no_input_orient.gaussianlog")

    bond = frame.positions[1] - frame.positions[0]

    assert frame.forces[1] @ bond / np.linalg.norm(frame.forces[1]) / np.linalg.norm(bond) == pytest.approx(
        -1, abs=1e-3
    )


def test_the_checkpoint_and_the_log_of_one_run_agree() -> None:
    log, checkpoint = frames(f"{DPDATA}/waterfreq.gaussianlog"), frames(f"{DPDATA}/waterfreq.gaussianfchk")

    assert np.allclose(log.positions, checkpoint.positions, atol=1e-6)
    assert np.allclose(log.forces, checkpoint.forces, atol=1e-6)
    assert np.allclose(log.energy, checkpoint.energy, rtol=1e-11)
    assert np.allclose(checkpoint.get("hessian").sum(axis=0), 0, atol=0.01)  # moving all atoms costs nothing


@pytest.mark.parametrize(
    ("path", "known"),
    [
        (f"{CCLIB}/Gaussian16/water.log", {"functional": "PBE0", "dispersion": "D3(BJ)", "solvent": "PCM(Toluene)"}),
        (
            f"{CCLIB}/Gaussian09/Dahlgren_TS.log",
            {"correlation": "CCSD(T)", "basis": "6-31+G(d)", "spin": "unrestricted"},
        ),
        (f"{CCLIB}/Gaussian16/1615.log", {"correlation": "CCSD(T)", "relativity": "DKH2", "grid": "ultrafine"}),
        (f"{DPDATA}/h2pbc.gaussianlog", {"functional": "wB97X", "exact_exchange": None}),
        (f"{AUTODE}/test_wrappers/data/g09.zip/g09/methane_point_charge_g09.log", {"external": ("point charges",)}),
    ],
)
def test_the_level_of_theory_is_what_the_output_says(path: str, known: dict[str, Any]) -> None:
    header = items(path)[0]

    assert isinstance(header, Header)
    assert {field: getattr(header.method, field) for field in known} == known


def test_pseudopotentials_are_listed_by_element() -> None:
    header = items(f"{AUTODE}/test_wrappers/data/g09.zip/g09/pd_cl2_sp_g16.log")[0]

    assert isinstance(header, Header)
    assert [(one.element, one.valence) for one in header.method.pseudopotentials] == [("Pd", 18.0)]


@pytest.mark.parametrize("name", ["Gaussian98/test_Cu2.log", "Gaussian03/dvb_gopt.out", "Gaussian16/water.log"])
def test_a_real_file_cut_anywhere_gives_no_number_that_the_whole_file_does_not(name: str, tmp_path: Path) -> None:
    text = (CORPUS / CCLIB / name).read_bytes()
    allowed = {
        row.tobytes()
        for every in joined(f"{CCLIB}/{name}")
        for one in (every, every.without("forces"))
        for row in one.ids()
    }
    cut = tmp_path / "cut.log"
    for end in np.random.default_rng(0).integers(8000, len(text), 40):
        cut.write_bytes(text[:end])
        with open_input(cut) as source:
            blocks = [item for item in Opened(source, gaussian.READER).items() if isinstance(item, Frames)]
        assert {row.tobytes() for block in blocks for row in block.ids()} <= allowed
