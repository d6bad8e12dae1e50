"""The tiny project of many tests: a few real outputs, what they hold, and how the command line answers."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import vasprun as v

SILICON = Path(__file__).parent / "data/silicon"
"""Outputs of pw.x that this project computed."""
SIDECAR = "license: CC0-1.0\ncitation: made for a test\ntags: {project: tiny}\n"
MD = v.vasprun(*(v.calculation(shift=0.01 * step) for step in range(3)))
"""Three steps of molecular dynamics of two atoms, energy and forces those of `vasprun.py`."""
N_CONFIGURATIONS, N_CALCULATIONS = 7, 5
"""Of the tiny project: the three steps, and four single points."""


class Answer(NamedTuple):
    """What a verb said."""

    code: int
    out: str
    err: str


Verb = Callable[..., Answer]


def write_outputs(raw: Path) -> Path:
    """A tree of outputs: pw.x XML and text as they were computed, vasprun.xml as VASP lays it out."""
    for folder in ("random", "equilibrium"):
        shutil.copytree(SILICON / folder, raw / folder)
    (raw / "random/mlpdata.yaml").write_text("kind: random\n")
    (raw / "md").mkdir()
    (raw / "md/vasprun.xml").write_text(MD)
    (raw / "mlpdata.yaml").write_text(SIDECAR)
    (raw / "notes.txt").write_text("no output of any code\n")
    return raw


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def refused(answer: Answer, code: int, *said: str) -> None:
    """A user's mistake: its exit code, nothing on stdout, one line on stderr that says all of `said`."""
    assert answer.code == code, answer
    assert answer.out == ""
    assert answer.err.startswith("mlpdata: ")
    assert answer.err.count("\n") == 1
    for words in said:
        assert words in answer.err
