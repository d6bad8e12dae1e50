"""Runs: one file becomes a stream of checked configurations, each run closed by its calculation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

import numpy as np

from mlpdata.checks.gates import run_gates
from mlpdata.discover import Output
from mlpdata.errors import UnitError
from mlpdata.frames import Frames
from mlpdata.readers.registry import Ending, Header, Opened, Undeclared, open_run
from mlpdata.schema.calculation import Calculation, ForcesAre, Kind, LeftOut, Source
from mlpdata.schema.params import CheckParams
from mlpdata.schema.sidecar import Sidecar
from mlpdata.units import CONSTANTS

Event = Frames | Calculation
"""Frames of a run in order, then its Calculation, which closes it."""


def read_output(output: Output) -> Iterator[Event]:
    """The runs of one file, gates applied: what must be rejected is left out with its line and reason.

    Raises:
        InputError: nothing could be read.
    """
    with open_run(output.path, declared=output.sidecar.of_numbers) as opened:
        run: _Run | None = None
        number = 0
        for item in opened.items():
            if isinstance(item, Header):
                number += 1
                run = _Run(item, opened, output, number)
            elif isinstance(item, Undeclared):
                raise _without_units(item)
            elif run is not None and isinstance(item, Frames):
                if len(kept := run.passed(item)):
                    yield kept
            elif run is not None and isinstance(item, Ending):
                yield run.closed(item)
                run = None


def _without_units(found: Undeclared) -> UnitError:
    """What to say of numbers without units, and of the names that the file gives them."""
    labels = ", ".join(f"{name} as {key!r}" for name, key in found.keys.items()) or "no labels"
    return UnitError(
        f"expected numbers with units, found a file that states none ({labels}). "
        "Say what they are: --units energy=eV,length=angstrom, or units: in mlpdata.yaml beside the file."
    )


class _Run:
    """One run while it is read."""

    def __init__(self, header: Header, opened: Opened, output: Output, number: int) -> None:
        self.header, self.output = header, output
        self.name = output.name if number == 1 else f"{output.name}#{number}"
        self.sources = tuple(
            Source(
                path=str(PurePosixPath(output.name).parent / file.path.name)
                if file is not opened.input
                else output.name,
                sha256=file.sha256,
                bytes=file.stored_bytes,
                reader=opened.reader.name,
                reader_version=opened.reader.version,
            )
            for file in (opened.input, *opened.input.companions)
        )
        self.left_out: list[LeftOut] = []
        self.marks: dict[str, int] = {}
        self.forces_seen = False
        self.shape: tuple[int, bool] | None = None

    def passed(self, frames: Frames) -> Frames:
        """The configurations that no gate rejects."""
        self.forces_seen |= "forces" in frames and not bool(np.isnan(frames.forces).all())
        self.shape = self.shape or (int(frames.n_atoms[0]), bool(frames.pbc[0].any()))
        report = run_gates(frames, CheckParams(), self.header.forces_are, self.header.energy_kind)
        keep = np.ones(len(frames), bool)
        for finding in report.findings:
            if not len(finding.indices):
                continue
            if finding.severity == "reject":
                keep[finding.indices] = False
                self._leave_out(frames, finding.indices, finding.reason)
            else:
                self.marks[finding.gate] = self.marks.get(finding.gate, 0) + len(finding.indices)
        return frames if keep.all() else frames.select(keep)

    def _leave_out(self, frames: Frames, indices: Iterable[int], reason: str) -> None:
        lines = frames.get("source_line")
        self.left_out += [LeftOut(line=max(0, int(lines[index])), reason=reason) for index in indices]

    def closed(self, ending: Ending) -> Calculation:
        """The record of the run."""
        sidecar = self.output.sidecar
        calculation = Calculation(
            path=self.name,
            identity=self.header.identity,
            sources=self.sources,
            method=self.header.method,
            status=ending.status,
            status_reason=ending.reason,
            run_kind=self.header.run_kind,
            kind=sidecar.kind or self._kind(),
            energy_kind=self.header.energy_kind,
            forces_are=self._forces_are(),
            temperature_target=sidecar.temperature or self.header.temperature_target,
            license=sidecar.license,
            citation=sidecar.citation,
            tags=sidecar.tags,
            declared=sidecar.declared(),
            basis_fixed_at=self.header.basis_fixed_at,
            ledger=ending.ledger,
            constants=CONSTANTS,
            left_out=(*ending.left_out, *self.left_out),
            warnings=(*ending.warnings, *(f"{gate}: {count} marked" for gate, count in sorted(self.marks.items()))),
        )
        return calculation.replace(group=_group(calculation, sidecar))

    def _forces_are(self) -> ForcesAre:
        return self.header.forces_are if self.forces_seen else "absent"

    def _kind(self) -> Kind:
        """What the run itself says; a relaxation's early steps are no equilibrium, so that one stays unknown."""
        n_atoms, periodic = self.shape or (0, True)
        if self.header.run_kind == "md":
            return "aimd"
        if self.header.run_kind in ("neb", "irc"):
            return "reaction_path"
        if n_atoms == 1:
            return "isolated_atom"
        return "dimer" if n_atoms == 2 and not periodic else "unknown"


def _group(calculation: Calculation, sidecar: Sidecar) -> str:
    """The name under which splits keep configurations together: the run, its folder, or what the sidecar says."""
    rule = sidecar.group or "file"
    if rule == "file":
        return f"{calculation.path} {calculation.id[:8]}"
    return str(PurePosixPath(calculation.path).parent) if rule == "folder" else rule
