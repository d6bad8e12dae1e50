"""GPAW files of other projects' test suites, compared with what an independent reader makes of them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from mlpdata.frames import Frames, concatenate
from mlpdata.readers.registry import Ending, Header, open_run

ROOT = Path(__file__).parents[2]
CORPUS = (ROOT / os.environ.get("MLPDATA_CORPUS", "../shared/corpus")).resolve()
TEXT = "gpaw/ase/ase/test/testdata/gpaw_expected_text_output"
SILICON = "gpaw/nomad-coe__electronic-parsers/tests/data/gpaw/Si_{}.gpw2"

pytestmark = [
    pytest.mark.shared,
    pytest.mark.skipif(not CORPUS.is_dir(), reason="no corpus of output files at MLPDATA_CORPUS"),
]


def read(path: str) -> tuple[Header, Frames, Ending]:
    with open_run(CORPUS / path) as opened:
        header, *blocks, ending = opened.items()
    assert isinstance(header, Header)
    assert isinstance(ending, Ending)
    return header, concatenate([block for block in blocks if isinstance(block, Frames)]), ending


@pytest.mark.parametrize(
    ("name", "free", "extrapolated"),
    [("lcao", -11.646779362101498, -11.646481962039458), ("pw", -11.881302190566407, -11.880861943083161)],
)
def test_a_gpw_file_gives_both_energies_by_their_meaning(name: str, free: float, extrapolated: float) -> None:
    header, frames, ending = read(SILICON.format(name))

    assert frames.energy.tolist() == [free]
    assert frames.get("energy_sigma0").tolist() == [extrapolated]
    assert (header.energy_kind, ending.status) == ("free", "complete")


@pytest.mark.parametrize(
    ("path", "known"),
    [
        (SILICON.format("lcao"), {"functional": "LDA-PW", "basis": "lcao (dzp)", "code_version": "1.1.1b1"}),
        (SILICON.format("pw"), {"basis": "plane waves", "cutoff_energy": 300.0}),
        (TEXT, {"functional": "PBE", "basis": "fd", "spin": "restricted", "code_version": "20.1.1b1"}),
    ],
)
def test_the_method_is_what_the_file_says(path: str, known: dict[str, Any]) -> None:
    method = read(path)[0].method

    assert {name: getattr(method, name) for name in known} == known


def test_a_correction_written_into_the_text_by_another_program_is_reported_and_not_read() -> None:
    _, frames, ending = read(TEXT)

    assert len(frames) == 1
    assert frames.forces.tolist() == [[0, 0, 0.44504], [0, 0, -0.44504]]
    assert frames.energy.tolist() == [-6.707307]
    assert len(ending.warnings) == 1
