"""vasprun.xml of other projects' test suites and of the installed ASE, compared with independent readers."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from mlpdata.frames import Frames, concatenate
from mlpdata.readers.archive import open_input
from mlpdata.readers.registry import Ending, Header, Opened
from mlpdata.readers.vasp import xml as vasp_xml

ROOT = Path(__file__).parents[2]
CORPUS = (ROOT / os.environ.get("MLPDATA_CORPUS", "../shared/corpus")).resolve()
AIIDA = "vasp/aiida-vasp__aiida-vasp/src/aiida_vasp/test_data"

corpus = pytest.mark.skipif(not CORPUS.is_dir(), reason="no corpus of output files at MLPDATA_CORPUS")


def items(path: Path) -> list[Header | Frames | Ending]:
    with open_input(path) as source:
        assert vasp_xml.magic(source.head)
        return list(Opened(source, vasp_xml.READER).items())


@corpus
@pytest.mark.shared
@pytest.mark.parametrize(
    ("path", "flags"),
    [
        # OUTCAR beside it: only the first loop was "not reached"; vasprun.xml prints no change of energy there (V8)
        ("ionic-relax-magmom-carry-on/calc-000/out/vasprun.xml", [-1, 1, 1, -1, 1]),
        ("exit_codes/elec-unconverged/out/vasprun.xml", [0]),
        ("exit_codes/ionic-unconverged/out/vasprun.xml", [1, 1, 1, 1, 1]),
        ("disp/vasprun.xml.xz", [-1]),
    ],
)
def test_convergence_is_claimed_only_where_the_file_shows_it(path: str, flags: list[int]) -> None:
    blocks = [item for item in items(CORPUS / AIIDA / path) if isinstance(item, Frames)]

    assert concatenate(blocks).get("scf_converged").tolist() == flags


@corpus
@pytest.mark.shared
def test_a_cut_run_keeps_its_whole_steps_and_says_which_one_is_lost() -> None:
    *_, ending = items(CORPUS / AIIDA / "relax-truncated/vasprun.xml")

    assert isinstance(ending, Ending)
    assert ending.status == "truncated"
    assert [(one.line, one.frames) for one in ending.left_out] == [(2504, 1)]


@pytest.mark.parametrize("name", ["vasprun_dfpt.xml", "vasprun_pstress.xml"])
def test_files_that_come_with_ase_read_as_ase_reads_them(name: str) -> None:
    ase = pytest.importorskip("ase")
    from ase.io import read

    path = Path(ase.__file__).parent / "test/testdata/vasp" / name
    frames = concatenate([item for item in items(path) if isinstance(item, Frames)])
    atoms = read(path, format="vasp-xml")

    np.testing.assert_allclose(frames.positions, atoms.positions, atol=1e-12)
    np.testing.assert_allclose(frames.cell[0], atoms.cell.array, atol=1e-12)
    np.testing.assert_allclose(frames.forces, atoms.get_forces(), atol=1e-12)
    np.testing.assert_allclose(frames.stress[0], atoms.get_stress(voigt=False), rtol=1e-6)
    assert frames.energy[0] == pytest.approx(atoms.get_potential_energy(force_consistent=True), abs=1e-8)
