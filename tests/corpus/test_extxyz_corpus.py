"""Extended XYZ of other projects, compared with what independent readers make of it, and published training sets."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from mlpdata.errors import InputError
from mlpdata.frames import Frames
from mlpdata.readers.registry import Ending, open_run
from mlpdata.schema.sidecar import Declared

ROOT = Path(__file__).parents[2]
CORPUS = (ROOT / os.environ.get("MLPDATA_CORPUS", "../shared/corpus")).resolve()
DATASETS = CORPUS.parent / "datasets"
FILES = CORPUS / "extxyz/deepmodeling__dpdata/tests/xyz"
UNITS = {"energy": "eV", "length": "angstrom", "stress": "eV/angstrom^3"}

pytestmark = [
    pytest.mark.shared,
    pytest.mark.skipif(not CORPUS.is_dir(), reason="no corpus of output files at MLPDATA_CORPUS"),
]


def read(path: Path, **said: str) -> tuple[list[Frames], Ending]:
    with open_run(path, declared=Declared(units={**UNITS, **said})) as opened:
        items = list(opened.items())
    ending = items[-1]
    assert isinstance(ending, Ending)
    return [item for item in items if isinstance(item, Frames)], ending


@pytest.mark.parametrize("name", ["energy_hartree", "energy_kcal_mol", "unsupported_unit", "stress_gpa"])
def test_a_file_that_states_another_unit_than_declared_is_refused(name: str) -> None:
    """X3: another reader gives -0.5 hartree as -0.5 eV."""
    with pytest.raises(InputError, match=r"as declared, found the unit"):
        read(FILES / f"{name}.xyz")


def test_a_file_in_hartree_is_converted_where_hartree_is_declared() -> None:
    (frames,), _ = read(FILES / "energy_hartree.xyz", energy="hartree", force="hartree/bohr")

    assert frames.energy[0] == pytest.approx(-0.5 * 27.211386245981)
    assert frames.forces[0, 0] == pytest.approx(0.01 * 27.211386245981 / 0.529177210544)


def test_a_virial_in_ev_becomes_a_stress() -> None:
    frames = read(FILES / "xyz_unittest.xyz")[0][0]

    volume = 2.405388711 * 8.830761667 * 2.066179013
    assert frames.stress[0, 0, 0] == pytest.approx(-159.582203018 / volume, rel=1e-6)


def test_a_frame_whose_species_and_numbers_differ_is_not_ingested() -> None:
    """Its third frame names boron and carbon by symbol otherwise than by Z."""
    _, ending = read(FILES / "xyz_unittest.xyz")

    assert [lost.line for lost in ending.left_out] == [30]


class Set(NamedTuple):
    """One file of the published sets, by its README."""

    path: str
    n_frames: int
    energy: tuple[float, float]
    """Range of the energy per atom [eV]."""


SETS = [
    *(Set(f"rmd17/{name}_split01_{part}", 1000, ends) for part in ("train", "test") for name, ends in (
        ("aspirin", (-840, -838)), ("ethanol", (-468, -467)), ("benzene", (-526, -525)))),
    Set("mlearn/Li_train", 241, (-2, -1)), Set("mlearn/Li_test", 29, (-2, -1)),
    Set("mlearn/Mo_train", 194, (-11, -8)), Set("mlearn/Mo_test", 23, (-11, -8)),
    Set("mlearn/Si_train", 214, (-6, -4)), Set("mlearn/Si_test", 25, (-6, -4)),
    Set("mlearn/Ge_train", 228, (-5, -3)), Set("mlearn/Ge_test", 25, (-5, -3)),
    Set("mlearn/Ni_test", 31, (-6, -4)), Set("mlearn/Cu_test", 31, (-5, -3)),
    Set("MoNbTaW/train", 5282, (-14, -7)), Set("MoNbTaW/test", 376, (-14, -7)),
    Set("botnet_acac/train_300K", 500, (-627, -625)), Set("botnet_acac/train_600K", 500, (-627, -625)),
    Set("botnet_acac/test_MD_300K", 650, (-627, -625)), Set("botnet_acac/test_MD_600K", 650, (-627, -625)),
    Set("botnet_acac/test_dihedral", 45, (-627, -625)), Set("botnet_acac/test_H_transfer", 15, (-627, -625)),
    Set("deepmd_water/data_0", 80, (-156, -155)), Set("deepmd_water/data_1", 160, (-156, -155)),
    Set("deepmd_water/data_2", 80, (-156, -155)), Set("deepmd_water/data_3", 80, (-156, -155)),
]  # fmt: skip


@pytest.mark.skipif(not DATASETS.is_dir(), reason="no folder of published datasets")
@pytest.mark.parametrize("wanted", SETS, ids=lambda one: one.path)
def test_a_published_set_has_the_frames_and_energies_it_should(wanted: Set) -> None:
    blocks, ending = read(DATASETS / f"{wanted.path}.extxyz.xz")
    n_atoms = np.concatenate([frames.n_atoms for frames in blocks])
    energies = np.concatenate([frames.energy for frames in blocks]) / n_atoms

    assert (len(n_atoms), ending.status, ending.left_out) == (wanted.n_frames, "complete", ())
    assert energies.min() > wanted.energy[0]
    assert energies.max() < wanted.energy[1]
    assert all("stress" in frames for frames in blocks) == wanted.path.startswith("mlearn")
    assert all("cell" in frames for frames in blocks) == wanted.path.startswith(("mlearn", "MoNbTaW", "deepmd"))
