"""ORCA outputs of other projects' test suites, compared with what independent readers make of them."""

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
from mlpdata.readers import orca
from mlpdata.readers.archive import open_input
from mlpdata.readers.registry import Ending, Header, Opened

ROOT = Path(__file__).parents[2]
CORPUS = (ROOT / os.environ.get("MLPDATA_CORPUS", "../shared/corpus")).resolve()
VERDICTS = Path(__file__).with_name("verdicts_orca.json")

pytestmark = [
    pytest.mark.shared,
    pytest.mark.skipif(not CORPUS.is_dir(), reason="no corpus of output files at MLPDATA_CORPUS"),
]


def paths() -> list[str]:
    expected = json.loads((CORPUS / "EXPECTED.json").read_text()) if CORPUS.is_dir() else {}
    return sorted(path for path, wanted in expected.items() if wanted.get("format") == "orca-out")


def items(path: str) -> list[Header | Frames | Ending]:
    with open_input(CORPUS / path) as source:
        assert orca.READER.magic(source.head)
        return list(Opened(source, orca.READER).items())


def frames(path: str) -> Frames:
    return concatenate([item for item in items(path) if isinstance(item, Frames)])


def described(path: str) -> dict[str, Any]:
    """One line of what `score.py` reads."""
    try:
        blocks = [item for item in items(path) if isinstance(item, Frames)]
    except MlpdataError as error:
        return {"path": path, "error": error.as_json()}
    line: dict[str, Any] = {"path": path, "error": None, "n_with_forces": 0}
    if blocks:
        every = concatenate(blocks)
        with_forces = np.flatnonzero(~np.isnan(np.add.reduceat(every.forces, every.atom_start[:-1])).any(axis=1))
        shown = with_forces if len(with_forces) else np.arange(len(every))
        line |= {"n_with_forces": len(with_forces), "charge": int(every.get("charge")[shown[-1]])}
        line |= {"multiplicity": int(every.get("multiplicity")[shown[-1]])}
        line |= {"first": configuration(every, shown[0]), "last": configuration(every, shown[-1])}
    return line


def configuration(every: Frames, index: int) -> dict[str, Any]:
    one = every.select([index])
    forces = None if np.isnan(one.forces).any() else one.forces.tolist()
    return {
        "atomic_numbers": one.atomic_numbers.tolist(),
        "positions": one.positions.tolist(),
        "cell": None,
        "energy": float(one.energy[0]),
        "energies": {"free": None, "sigma0": None, "no_entropy": None},
        "forces": forces,
        "stress": None,
    }


def test_every_file_reads_as_independent_readers_read_it(tmp_path):
    read = tmp_path / "read.jsonl"
    read.write_text("".join(json.dumps(described(path)) + "\n" for path in paths()))

    command = [sys.executable, str(CORPUS / "score.py"), str(read), "--format", "orca-out", "--verdicts", str(VERDICTS)]
    score = subprocess.run(command, capture_output=True, text=True, check=False)

    assert score.returncode == 0, score.stdout
    assert "85 good" in score.stdout or "86 good" in score.stdout, score.stdout
