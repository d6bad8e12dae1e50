"""OUTCAR and vaspout.h5 of other projects' test suites, compared with independent readers."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from mlpdata.frames import Frames, concatenate
from mlpdata.readers.archive import Input, open_input
from mlpdata.readers.registry import Ending, Header, Opened, open_run
from mlpdata.readers.vasp import outcar as vasp_outcar

ROOT = Path(__file__).parents[2]
CORPUS = (ROOT / os.environ.get("MLPDATA_CORPUS", "../shared/corpus")).resolve()
AIIDA = "vasp/aiida-vasp__aiida-vasp/src/aiida_vasp/test_data"
DPDATA = "vasp/deepmodeling__dpdata/tests/poscars"
PYMATGEN = "vasp/materialsproject__pymatgen-core/test-files/io/vasp"

pytestmark = [
    pytest.mark.shared,
    pytest.mark.skipif(not CORPUS.is_dir(), reason="no corpus of output files at MLPDATA_CORPUS"),
]


def read(path: str) -> tuple[Header, Frames, Ending]:
    with open_run(CORPUS / path) as opened:
        items = list(opened.items())
    return items[0], concatenate([item for item in items if isinstance(item, Frames)]), items[-1]


def test_vaspout_h5_is_what_h5py_shows() -> None:
    path = f"{PYMATGEN}/outputs/vaspout.line_mode_band_structure.h5.gz"
    expected = json.loads((CORPUS / "EXPECTED.json").read_text())[path]
    header, frames, ending = read(path)

    assert frames.energy.tolist() == [expected["energies_eV"][0][0]]
    assert frames.forces.tolist() == expected["forces"]
    assert frames.cell[0].tolist() == expected["cell"]
    np.testing.assert_allclose(
        frames.positions, np.array(expected["fractional_positions"]) @ np.array(expected["cell"]), atol=1e-14
    )
    assert np.isnan(frames.stress).all()
    assert (header.method.functional, header.method.code_version, ending.status) == ("HSE06", "6.4.1", "complete")


def test_v8_vasp_6_says_which_steps_failed() -> None:
    _, frames, _ = read(f"{AIIDA}/ionic-relax-magmom-carry-on/calc-000/out/OUTCAR")

    assert frames.get("scf_converged").tolist() == [0, 1, 1, 1, 1]


def test_v7_vasp_5_hides_that_every_step_hit_nelm() -> None:
    _, frames, _ = read(f"{AIIDA}/outcar_extras/OUTCAR.nelm-breach-consistent.xz")

    assert frames.get("scf_converged").tolist() == [0] * 5


def test_v11_the_steps_of_a_learned_force_field_are_left_out() -> None:
    _, frames, ending = read(f"{DPDATA}/OUTCAR.ch4.ml")

    assert frames.energy.tolist() == [-24.12709802, -24.12724275, -24.12737148, -24.12697674]
    assert [one.frames for one in ending.left_out] == [10]


def test_v12_forces_belong_to_the_first_and_the_last_of_ten_steps() -> None:
    _, frames, ending = read(f"{DPDATA}/Ti-aimd-nwrite0/OUTCAR")

    assert frames.get("step").tolist() == [0, 9]
    assert [one.frames for one in ending.left_out] == [8]


def test_v17_an_outcar_and_the_vasprun_beside_it_are_one_run() -> None:
    folder = f"{PYMATGEN}/fixtures/static_silicon"
    _, ours, _ = read(f"{folder}/OUTCAR")
    _, theirs, _ = read(f"{folder}/vasprun.xml.gz")

    np.testing.assert_allclose(ours.energy, theirs.energy, atol=1e-6)
    np.testing.assert_allclose(ours.forces, theirs.forces, atol=1e-5)
    np.testing.assert_allclose(ours.stress, theirs.stress, atol=1e-6)
    assert ours.get("step").tolist() == theirs.get("step").tolist()


@pytest.mark.parametrize("name", ["OUTCAR.ch4.ml", "OUTCAR.h2o.md.10", "OUTCAR.Ge.vdw"])
def test_a_real_file_cut_anywhere_gives_no_number_that_the_whole_file_does_not(name: str) -> None:
    path = CORPUS / DPDATA / name
    text = path.read_bytes()

    def rows(content: bytes) -> set[bytes]:
        source = Input(path, content, "", len(content))
        blocks = [item for item in Opened(source, vasp_outcar.READER).items() if isinstance(item, Frames)]
        keep = ("atomic_numbers", "positions", "forces", "cell", "pbc", "energy")
        return {
            row.tobytes()
            for block in blocks
            for row in Frames(block.n_atoms, {one: block.get(one) for one in keep}).ids()
        }

    with open_input(path) as source:
        allowed = rows(source.data[:])
    for end in np.random.default_rng(0).integers(20_000, len(text), 30):
        assert rows(text[:end]) <= allowed
