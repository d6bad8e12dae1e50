"""Gates over outputs of other projects' test suites and over published sets: what is marked is odd in truth.

Gates that repeat what the output says (scf, energy-kind, no-forces, no-energy) are tested with the readers.
"""

from __future__ import annotations

import functools
import json
import os
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest

from mlpdata.checks.gates import GATES, run_gates
from mlpdata.checks.measures import Circumstances
from mlpdata.checks.ratio import Regression
from mlpdata.errors import MlpdataError
from mlpdata.frames import Frames, concatenate
from mlpdata.readers.registry import Header, open_run
from mlpdata.schema.params import CheckParams
from mlpdata.schema.sidecar import Declared

ROOT = Path(__file__).parents[2]
CORPUS = (ROOT / os.environ.get("MLPDATA_CORPUS", "../shared/corpus")).resolve()
DATASETS = (ROOT / os.environ.get("MLPDATA_DATASETS", "../shared/datasets")).resolve()

pytestmark = pytest.mark.shared
needs_corpus = pytest.mark.skipif(not CORPUS.is_dir(), reason="no corpus of output files at MLPDATA_CORPUS")
needs_datasets = pytest.mark.skipif(not DATASETS.is_dir(), reason="no published sets at MLPDATA_DATASETS")

SAY_WHAT_THE_OUTPUT_SAYS = {"scf", "energy-kind", "no-forces", "no-energy"}
EDITED = (
    "test_data/lepsilon/vasprun.xml", "basic_run_ill_format", "cp2k_2025_output", "vasprun.h2o.md.conv.xml",
    "vasprun.h2o.md.duplicate.xml", "vasprun.h2o.md.novirial.xml", "methane_sub", "methane_reordered", "_broken",
)  # fmt: skip
"""Files that somebody wrote or changed by hand: they prove nothing of physics."""
ODD_IN_TRUTH = {
    ("gaussian/cclib__cclib-data/Gaussian/Gaussian16/1615.log", "closest-pair"): (
        "a scan that begins with H and F at 0.25 angstrom"
    ),
    ("qe/aiidateam__aiida-quantumespresso/tests/parsers/fixtures/cp/6.6_autopilot/data-file-schema.xml", "net-force"): (
        "Car-Parrinello dynamics of cp.x: the electrons lag behind, and forces of 0.02 hartree/bohr do not sum to zero"
    ),
    ("vasp/deepmodeling__dpdata/tests/poscars/vasprun.h2o.md.tribox.xml", "largest-force"): (
        "two molecules of water in a box too small for them: energy +6.3 eV, O-H 0.53 angstrom, a force of 151 eV/angstrom"
    ),
    ("vasp/deepmodeling__dpdata/tests/poscars/OUTCAR.ch4.1step", "net-force"): (
        "NELM = 1: forces of the first guess of the density, energy +18 eV, and the output itself prints the drift"
    ),
}
"""Marks that are right, and why."""
MAX_WRONG = 0.01
"""A gate that marks more of the physical corpus wrongly is a bug."""


class Marks(NamedTuple):
    """What the gates found in one file."""

    n_frames: int
    caught: Counter[str]
    mistakes: list[str]


def marks(path: Path, declared: Declared | None = None) -> Marks:
    """Gates over all runs of a file, as far as it can be read."""
    found = Marks(0, Counter(), [])
    try:
        with open_run(path, declared=declared) as opened:
            for item in opened.items():
                if isinstance(item, Header):
                    circumstances = Circumstances.of(item.method, item.forces_are, item.energy_kind)
                    before, units = None, Regression()
                elif isinstance(item, Frames) and len(item):
                    report = run_gates(item, CheckParams(), circumstances, before)
                    found.caught.update(report.counts())
                    found = found._replace(n_frames=found.n_frames + len(item))
                    before = item.select([len(item) - 1])
                    assert report.steps is not None
                    units.add(report.steps)
                    found.mistakes[:] = [mistake for mistake in [units.result().mistake] if mistake]
    except MlpdataError:
        pass  # what was read of it before was judged
    return found


@functools.cache
def physical_corpus() -> dict[str, Marks]:
    expected = json.loads((CORPUS / "EXPECTED.json").read_text())
    paths = [path for path in sorted(expected) if not any(name in path for name in EDITED)]
    found = {path: marks(CORPUS / path) for path in paths}
    return {path: one for path, one in found.items() if one.n_frames}


@needs_corpus
@pytest.mark.parametrize("gate", [gate.name for gate in GATES if gate.name not in SAY_WHAT_THE_OUTPUT_SAYS])
def test_a_gate_marks_less_than_a_hundredth_of_the_physical_corpus_wrongly(gate: str) -> None:
    corpus = physical_corpus()
    wrong = {
        path: one.caught[gate] for path, one in corpus.items() if one.caught[gate] and (path, gate) not in ODD_IN_TRUTH
    }

    assert len(wrong) <= MAX_WRONG * len(corpus), wrong
    assert sum(wrong.values()) <= MAX_WRONG * sum(one.n_frames for one in corpus.values()), wrong


@needs_corpus
@pytest.mark.parametrize(("path", "gate"), ODD_IN_TRUTH)
def test_what_is_odd_in_truth_is_marked(path: str, gate: str) -> None:
    found = marks(CORPUS / path)
    if not found.n_frames:
        pytest.skip("no reader knows the file")
    assert found.caught[gate]


@needs_corpus
def test_no_run_of_the_corpus_shows_a_mistaken_unit() -> None:
    assert {path: one.mistakes for path, one in physical_corpus().items() if one.mistakes} == {}


@needs_corpus
def test_a_file_that_was_edited_by_hand_is_found_out() -> None:
    # forces of 0.1, 0.2, 0.3 ... and a stress whose six shears are 1, 2, 3, 4, 5, 6 kbar
    edited = marks(CORPUS / "vasp/aiida-vasp__aiida-vasp/src/aiida_vasp/test_data/lepsilon/vasprun.xml")

    assert edited.caught == {"net-force": 1, "stress-symmetry": 1}


IN_EV = Declared(units={"energy": "eV", "length": "angstrom", "stress": "eV/angstrom^3"}, energy_kind="total")


@needs_datasets
def test_published_sets_pass_every_gate() -> None:
    paths = sorted(DATASETS.rglob("*.extxyz.xz"))
    found = {path.name: marks(path, IN_EV) for path in paths}

    assert sum(one.n_frames for one in found.values()) > 10_000
    caught = {
        name: dict(one.caught - Counter(dict.fromkeys(SAY_WHAT_THE_OUTPUT_SAYS, 10**6))) for name, one in found.items()
    }
    assert {name: counts for name, counts in caught.items() if counts} == {}


@needs_datasets
@pytest.mark.parametrize(
    "name", ["rmd17/benzene_split01_test", "rmd17/ethanol_split01_test", "botnet_acac/test_MD_300K"]
)
def test_forces_of_published_molecules_in_other_axes_are_marked_and_mostly_rejected(name: str) -> None:
    with open_run(DATASETS / f"{name}.extxyz.xz", declared=IN_EV) as opened:
        frames = concatenate([item for item in opened.items() if isinstance(item, Frames)])
    turned = frames.with_arrays(forces=frames.forces[:, [1, 2, 0]])

    report = run_gates(turned, CheckParams(), Circumstances(code="orca"))

    assert report["torque"].n_caught == len(frames)
    assert report.rejected.mean() > 0.95  # where the forces happen not to turn it, nothing can be said
