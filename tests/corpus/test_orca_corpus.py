"""ORCA outputs of other projects' test suites, compared with what independent readers make of them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlpdata.frames import Frames, concatenate
from mlpdata.readers.archive import open_input
from mlpdata.readers.orca import hess as orca_hess
from mlpdata.readers.orca import output as orca
from mlpdata.readers.orca import property as orca_property
from mlpdata.readers.registry import Ending, Header, Opened, Reader
from mlpdata.units import VELOCITY

ROOT = Path(__file__).parents[2]
CORPUS = (ROOT / os.environ.get("MLPDATA_CORPUS", "../shared/corpus")).resolve()

pytestmark = [
    pytest.mark.shared,
    pytest.mark.skipif(not CORPUS.is_dir(), reason="no corpus of output files at MLPDATA_CORPUS"),
]


EXPECTED = json.loads((CORPUS / "EXPECTED.json").read_text()) if CORPUS.is_dir() else {}


def paths(form: str = "orca-out") -> list[str]:
    return sorted(path for path, wanted in EXPECTED.items() if wanted.get("format") == form)


def items(path: str, reader: Reader = orca.READER) -> list[Header | Frames | Ending]:
    with open_input(CORPUS / path) as source:
        assert reader.magic(source.head)
        return list(Opened(source, reader).items())


def frames(path: str) -> Frames:
    return concatenate([item for item in items(path) if isinstance(item, Frames)])


@pytest.mark.parametrize("path", paths("orca-property-json"))
def test_a_property_file_has_the_numbers_that_a_plain_reading_finds(path: str) -> None:
    """The last geometry of an optimisation has no gradient; energies are final ones, of a root too (O3)."""
    header, every, ending = items(path, orca_property.READER)
    wanted = EXPECTED[path]

    assert isinstance(header, Header)
    assert isinstance(every, Frames)
    assert isinstance(ending, Ending)
    assert (ending.status, header.method.code_version) == ("complete", wanted["version"])
    assert len(every) == wanted["n_geometries"]
    assert {*every.get("charge")} == {wanted["charge"]}
    assert {*every.get("multiplicity").tolist()} == {wanted["mult"]}
    for index, end in ((0, wanted["first"]), (len(every) - 1, wanted["last"])):
        one = every.select([index])
        assert one.energy[0] == pytest.approx(end["energy_FinalEnergy_eV"], abs=1e-8, rel=1e-9)
        assert one.positions == pytest.approx(np.array(end["positions_A"]), abs=1e-7)
        if end.get("maxF") is None:
            assert np.isnan(one.forces).all()
        else:
            assert np.linalg.norm(one.forces, axis=1).max() == pytest.approx(end["maxF"], rel=1e-7)
            assert one.forces.sum(axis=0) == pytest.approx(np.array(end["sumF"]), abs=1e-4)
    is_excited = any(
        abs(float(every.energy[0]) - ground[1] * 27.211386) > 0.1 for ground in wanted["first"]["Energy_blocks"][:1]
    )
    assert header.method.excited is is_excited


def test_second_derivatives_are_those_of_the_file_and_give_its_frequency() -> None:
    """H2: the one vibration is at 4259.40 1/cm by the file, from the same matrix and masses."""
    path = next(path for path in paths("orca-hess") if "H2_hess" in path)
    _, every, ending = items(path, orca_hess.READER)

    assert isinstance(every, Frames)
    assert isinstance(ending, Ending)
    assert (ending.status, "energy" in every) == ("complete", False)
    matrix = every.get("hessian").reshape(2, 2, 3, 3).transpose(0, 2, 1, 3).reshape(6, 6)
    roots = np.sqrt(np.repeat(every.get("masses"), 3))
    largest = np.linalg.eigvalsh((matrix + matrix.T) / 2 / np.outer(roots, roots))[-1]
    per_centimetre = np.sqrt(largest) * VELOCITY * 1e15 / (2 * np.pi * 2.99792458e10)
    assert per_centimetre == pytest.approx(4259.404454, rel=5e-5)  # constants of the program


def work(path: str) -> tuple[np.ndarray, np.ndarray]:
    """Energy differences of consecutive frames with forces, and minus the mean force times the way [eV]."""
    every = frames(path)
    n_atoms = int(every.n_atoms[0])
    positions, forces = every.positions.reshape(-1, n_atoms, 3), every.forces.reshape(-1, n_atoms, 3)
    has = ~np.isnan(forces).any(axis=(1, 2))
    positions, forces, energy = positions[has], forces[has], every.energy[has]
    mean = (forces[1:] + forces[:-1]) / 2
    return np.diff(energy), -(mean * np.diff(positions, axis=0)).sum(axis=(1, 2))


@pytest.mark.parametrize(
    ("name", "tolerance"),
    [
        ("cclib__cclib-data/ORCA/ORCA3.0/dvb_bomd.out.xz", 1e-3),
        ("cclib__cclib-data/ORCA/ORCA3.0/dvb_gopt_unconverged.out", 0.02),
        ("cclib__cclib-data/ORCA/ORCA4.0/650.out", 0.05),  # H2 from far away: long, anharmonic steps
        ("nomad-coe__electronic-parsers/tests/data/orca/CHO_geomopt/orca3.2985006.out", 0.02),
        ("duartegroup__autodE/tests/data/species.zip/species/water_tmp_opt_orca.out", 0.02),
    ],
)
def test_along_a_run_the_energy_changes_by_minus_force_times_way(name: str, tolerance: float) -> None:
    """The slope is 1: another sign, unit or pairing would show as -1, 51.4, 0.529 or scatter (O1, O9)."""
    energy, expected = work(f"orca/{name}")

    assert np.dot(energy, expected) / np.dot(expected, expected) == pytest.approx(1, abs=tolerance)


def test_all_frames_of_a_dynamics_run_are_paired() -> None:
    """O9: 36 energies, gradients and geometries; the largest force of the last is 1.50 eV/angstrom, not 2.65."""
    every = frames("orca/cclib__cclib-data/ORCA/ORCA3.0/dvb_bomd.out.xz")

    largest = np.linalg.norm(every.forces, axis=1).reshape(36, 20).max(axis=1)

    assert largest[[0, -1]] == pytest.approx([2.649583, 1.504699], abs=1e-5)
    assert every.get("step").tolist() == list(range(36))


def test_an_embedded_cluster_has_its_atoms_only_and_says_what_surrounds_them() -> None:
    """O4, O10: 729 rows of which 15 are atoms; the SCF failed and nothing but one line says so."""
    header, every, ending = items("orca/nomad-coe__electronic-parsers/tests/data/orca/FeMgO_ci/orca3.2713636.out.xz")

    assert isinstance(header, Header)
    assert isinstance(every, Frames)
    assert sorted(every.atomic_numbers.tolist()) == [8] * 6 + [12] * 8 + [26]
    assert every.get("scf_converged").tolist() == [0]
    assert (header.method.external, header.method.correlation) == (("point charges",), "CCSD(T)")
    assert isinstance(ending, Ending)
    assert ending.status == "complete"


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("ORCA4.0/miniprint.out", {"correlation": "DLPNO-CCSD(T)", "solvent": "SMD(ETHANOL)", "functional": "HF"}),
        ("ORCA5.0/ADBNA_Me_Mes_MesCz.log", {"functional": "wPBEPP86", "exact_exchange": 0.7, "basis": "cc-pVDZ"}),
        ("ORCA4.2/dvb_dispersion_bp86_d3zero.out", {"functional": "BP86", "dispersion": "D3", "exact_exchange": 0.0}),
        ("ORCA2.9/prova.out", {"functional": "B3LYP", "exact_exchange": 0.2, "code_version": "2.9.1"}),
        ("ORCA6.0/casscf_beryllium_atom_sym.out", {"correlation": "CASSCF(2,4)", "code_version": "6.0.0"}),
    ],
)
def test_the_level_of_theory_is_what_the_input_asked_for(name: str, known: dict[str, Any]) -> None:
    header = items(f"orca/cclib__cclib-data/ORCA/{name}")[0]

    assert isinstance(header, Header)
    assert {field: getattr(header.method, field) for field in known} == known


@pytest.mark.parametrize("name", ["ORCA3.0/dvb_gopt_unconverged.out", "ORCA4.0/650.out", "ORCA5.0/steom_orbs.log"])
def test_a_real_file_cut_anywhere_gives_no_number_that_the_whole_file_does_not(name: str, tmp_path: Path) -> None:
    path = CORPUS / "orca/cclib__cclib-data/ORCA" / name
    text = path.read_bytes()
    whole = frames(str(path.relative_to(CORPUS)))
    allowed = {row.tobytes() for every in (whole, whole.without("forces")) for row in every.ids()}
    cut = tmp_path / "cut.out"
    for end in np.random.default_rng(0).integers(3000, len(text), 60):
        cut.write_bytes(text[:end])
        with open_input(cut) as source:
            blocks = [item for item in Opened(source, orca.READER).items() if isinstance(item, Frames)]
        assert {row.tobytes() for block in blocks for row in block.ids()} <= allowed
