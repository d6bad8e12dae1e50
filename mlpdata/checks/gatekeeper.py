"""The gates over one run, block by block, in memory that does not grow with the run."""

from __future__ import annotations

import numpy as np

from mlpdata.checks.gates import run_gates
from mlpdata.checks.measures import Circumstances
from mlpdata.checks.ratio import Regression
from mlpdata.frames import I64, Frames
from mlpdata.schema.calculation import LeftOut
from mlpdata.schema.params import CheckParams

MISTAKEN = "mistaken-units: "
"""Begins the remark that energies and forces of a run do not fit each other."""


class Gatekeeper:
    """Admits the configurations of a run that no gate rejects, and counts those that one marks.

    Args:
        circumstances: what the run says of all its configurations.
        params: bounds.
    """

    def __init__(self, circumstances: Circumstances, params: CheckParams | None = None) -> None:
        self._circumstances = circumstances
        self._params = params or CheckParams()
        self._before: Frames | None = None
        self._marked: dict[str, int] = {}
        self._first_line: dict[str, int] = {}
        self._units = Regression()

    def admit(self, frames: Frames) -> tuple[Frames, list[LeftOut]]:
        """The configurations of a block that may enter, and the others with line and reason."""
        report = run_gates(frames, self._params, self._circumstances, self._before)
        if report.steps is not None:
            self._units.add(report.steps)
        if len(frames):
            self._before = frames if len(frames) == 1 else frames.select([len(frames) - 1])
        lines = np.maximum(frames.get("source_line"), 0)
        kept = np.ones(len(frames), bool)
        left_out: list[LeftOut] = []
        for finding in report.findings:
            if not finding.n_caught:
                continue
            caught = finding.indices[kept[finding.indices]]  # the first gate that rejects a configuration says why
            if finding.severity == "reject":
                kept[caught] = False
                left_out += [LeftOut(line=line, reason=finding.reason) for line in lines[caught].tolist()]
            elif len(caught):
                self._mark(finding.gate, lines[caught])
        return frames if kept.all() else frames.select(kept), left_out

    def _mark(self, gate: str, lines: I64) -> None:
        self._marked[gate] = self._marked.get(gate, 0) + len(lines)
        self._first_line.setdefault(gate, int(lines[0]))

    def remarks(self) -> tuple[str, ...]:
        """What the gates marked and where it begins, and the mistaken unit that the whole run shows."""
        marks = [
            f"{gate}: {count} marked" + (f", the first at line {line}" if (line := self._first_line[gate]) else "")
            for gate, count in sorted(self._marked.items())
        ]
        found = self._units.result()
        if found.mistake is None:
            return tuple(marks)
        mistake = (
            f"{MISTAKEN}over {found.n_steps} steps the energy changes {found.slope:.4g} times as much as the work "
            f"of the forces: {found.mistake}."
        )
        return (mistake, *marks)
