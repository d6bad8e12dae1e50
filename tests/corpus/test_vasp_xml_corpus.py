"""vasprun.xml of other projects' test suites and of the installed ASE, compared with independent readers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlpdata.errors import MlpdataError
from mlpdata.frames import Frames, concatenate
from mlpdata.readers import vasp_xml
from mlpdata.readers.archive import open_input
from mlpdata.readers.registry import Ending, Header, Opened

ROOT = Path(__file__).parents[2]
CORPUS = (ROOT / os.environ.get("MLPDATA_CORPUS", "../shared/corpus")).resolve()
VERDICTS = Path(__file__).with_name("verdicts.json")
AIIDA = "vasp/aiida-vasp__aiida-vasp/src/aiida_vasp/test_data"

corpus = pytest.mark.skipif(not CORPUS.is_dir(), reason="no corpus of output files at MLPDATA_CORPUS")


def items(path: Path) -> list[Header | Frames | Ending]:
    with open_input(path) as source:
        assert vasp_xml.magic(source.head)
        return list(Opened(source, vasp_xml.READER).items())


def described(path: str) -> dict[str, Any]:
    """One line of what `score.py` reads."""
    try:
        blocks = [item for item in items(CORPUS / path) if isinstance(item, Frames)]
    except MlpdataError as error:
        return {"path": path, "error": error.as_json()}
    line: dict[str, Any] = {"path": path, "error": None, "n_with_forces": 0}
    if blocks:
        every = concatenate(blocks)
        with_forces = np.flatnonzero(~np.isnan(np.add.reduceat(every.forces, every.atom_start[:-1])).any(axis=1))
        shown = with_forces if len(with_forces) else np.arange(len(every))
        line |= {"n_with_forces": len(with_forces)}
        line |= {"first": configuration(every, shown[0]), "last": configuration(every, shown[-1])}
    return line


def printed(values: np.ndarray) -> Any:
    return None if np.isnan(values).any() else values.tolist()


def configuration(every: Frames, index: int) -> dict[str, Any]:
    one = every.select([index])
    kinds = {"free": "energy", "sigma0": "energy_sigma0", "no_entropy": "energy_no_entropy"}
    return {
        "atomic_numbers": one.atomic_numbers.tolist(),
        "positions": one.positions.tolist(),
        "cell": printed(one.cell[0]),
        "energy": printed(one.energy[0]),
        "energies": {kind: printed(one.get(name)[0]) for kind, name in kinds.items()},
        "forces": printed(one.forces),
        "stress": printed(one.stress[0]),
    }


@corpus
@pytest.mark.shared
def test_every_file_reads_as_independent_readers_read_it(tmp_path: Path) -> None:
    expected = json.loads((CORPUS / "EXPECTED.json").read_text())
    paths = [path for path, wanted in expected.items() if wanted.get("format") == "vasp-xml"]
    read = tmp_path / "read.jsonl"
    read.write_text("".join(json.dumps(described(path)) + "\n" for path in paths))

    command = [sys.executable, str(CORPUS / "score.py"), str(read), "--format", "vasp-xml", "--verdicts", str(VERDICTS)]
    scored = subprocess.run(command, capture_output=True, text=True, check=False)

    assert len(paths) == 52
    assert scored.returncode == 0, scored.stdout


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
