"""The Quantum ESPRESSO files of the corpus, scored against what independent readers make of them."""

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
from mlpdata.readers import espresso_text, espresso_xml
from mlpdata.readers.archive import open_input
from mlpdata.readers.registry import Opened

ROOT = Path(__file__).parents[2]
CORPUS = ROOT / os.environ.get("MLPDATA_CORPUS", "../shared/corpus")
VERDICTS = Path(__file__).with_name("verdicts_espresso.json")
READERS = (espresso_xml.READER, espresso_text.READER)


def read(path: Path) -> Frames | None:
    """All frames of a file as one block, None where it has none."""
    with open_input(path) as source:
        reader = next(reader for reader in READERS if reader.magic(source.head))
        blocks = [item for item in Opened(source, reader).items() if isinstance(item, Frames)]
    return concatenate(blocks) if blocks else None


def plain(array: np.ndarray) -> Any:
    """JSON values of an array, None where it is absent."""
    return None if np.isnan(array).any() else array.tolist()


def described(frames: Frames, index: int) -> dict[str, Any]:
    """One frame in the fields of score.py."""
    atoms = slice(int(frames.atom_start[index]), int(frames.atom_start[index + 1]))
    smeared = plain(frames.get("energy_no_entropy")[index])
    return {
        "atomic_numbers": frames.atomic_numbers[atoms].tolist(),
        "positions": plain(frames.positions[atoms]),
        "cell": plain(frames.cell[index]),
        "energy": plain(frames.energy[index]),
        "energies": {"free": plain(frames.energy[index]), "sigma0": None, "no_entropy": smeared},
        "forces": plain(frames.forces[atoms]),
        "stress": plain(frames.stress[index]),
    }


def summary(path: Path) -> dict[str, Any]:
    """The JSON object of score.py for one file."""
    try:
        frames = read(path)
    except MlpdataError as error:
        return {"path": str(path), "error": error.as_json()}
    if frames is None:
        return {"path": str(path), "error": None, "n_with_forces": 0}
    with_forces = [i for i in range(len(frames)) if not np.isnan(frames.forces[frames.atom_start[i]]).any()]
    chosen = with_forces or range(len(frames))
    return {
        "path": str(path),
        "error": None,
        "n_with_forces": len(with_forces),
        "charge": plain(frames.get("charge")[0]),
        "first": described(frames, chosen[0]),
        "last": described(frames, chosen[-1]),
    }


@pytest.mark.shared
@pytest.mark.parametrize(("form", "count"), [("qe-out", 29), ("qe-xml", 10)])
def test_every_file_gives_what_an_independent_reader_gives(form: str, count: int, tmp_path: Path) -> None:
    if not CORPUS.is_dir():
        pytest.skip(f"no corpus at {CORPUS}")
    expected = json.loads((CORPUS / "EXPECTED.json").read_text())
    files = [CORPUS / name for name, wanted in expected.items() if wanted.get("format") == form]
    lines = tmp_path / "read.jsonl"
    lines.write_text("".join(json.dumps(summary(path)) + "\n" for path in files))

    command = [sys.executable, str(CORPUS / "score.py"), str(lines), "--format", form]
    if VERDICTS.exists():
        command += ["--verdicts", str(VERDICTS)]
    scored = subprocess.run(command, capture_output=True, text=True, check=False)

    assert len(files) == count
    assert scored.returncode == 0, scored.stdout
