"""Where things stand in a Gaussian log: headings, the jobs they belong to, and the geometries within a job.

A heading is recognised by the first eight characters of its line: all lines of a piece of the file are compared at
once, so that the cost of a long log is that of finding its line ends. A file holds one job a route section: `--Link1--`
and the internal steps of `opt freq` or G3 begin another (pitfall G8). Within a job every geometry begins a cycle, and
what is printed before the next geometry belongs to it (G9).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mlpdata.readers.archive import Buffer

_HEADINGS = {
    b" Entering Gaussian": "start",
    b" Initial command": "start",
    b" Link1:  Proceeding": "start",
    b" Gaussian ": "version",
    b" Charge = ": "charge",
    b" Center     Atomic": "table",
    b" ***** Axes restored": "restored",
    b" SCF Done:": "scf",
    b" >>>>>>>>>> Convergence criterion not met": "unconverged",
    b" Convergence failure": "unconverged",
    b" Energy= ": "energy",
    b" Recovered energy=": "recovered",
    b" E2 =": "mp2",
    b" E2=  ": "mp2",
    b" E3= ": "mp3",
    b" E4(DQ)=": "mp4dq",
    b" E4(SDQ)=": "mp4sdq",
    b" E4(SDTQ)=": "mp4",
    b" DEMP5 = ": "mp5",
    b" DE(Corr)=": "correlated",
    b" DE(CORR)=": "correlated",
    b" Wavefunction amplitudes converged": "correlated",
    b" DE(CI)= ": "ci",
    b" CCSD(T)= ": "ccsd(t)",
    b" QCISD(T)= ": "qcisd(t)",
    b" BD(T)= ": "bd(t)",
    b" E2(B2PLYP": "double_hybrid",
    b" E2(mPW2PLYP": "double_hybrid",
    b" E2(DSDPBEP86": "double_hybrid",
    b" E2(PBE0DH": "double_hybrid",
    b" E2(PBEQIDH": "double_hybrid",
    b" Total Energy, E(": "excited",
    b" ONIOM: extrapolated energy": "oniom",
    b" Counterpoise: corrected energy": "counterpoise",
    b" Re-enter D2Numr": "displaced",
    b" D2Numr ": "displaced",
    b" Time (fs) ": "time",
    b" Mulliken ": "mulliken",
    b" Hirshfeld ": "hirshfeld",
    b" ESP charges": "esp",
    b" Summary of Natural Population Analysis": "natural",
    b" Dipole moment (": "dipole",
    b" Dipole polarizability, Alpha (input orientation)": "polarizability",
    b" Normal termination": "end",
    b" Error termination": "failed",
}
"""What lines begin with; eight characters at least."""
_BY_KEY: dict[int, list[tuple[bytes, str]]] = {}
for _text, _name in _HEADINGS.items():
    _BY_KEY.setdefault(int.from_bytes(_text[:8].ljust(8), "little"), []).append((_text, _name))
_KEYS = np.array(sorted(_BY_KEY), "<u8")
_LONGEST = max(map(len, _HEADINGS))

PIECE = 16 << 20
"""Bytes whose lines are compared at once."""
ENERGIES = {
    "scf", "energy", "recovered", "mp2", "mp3", "mp4dq", "mp4sdq", "mp4", "mp5", "correlated", "ci", "ccsd(t)",
    "qcisd(t)", "bd(t)", "double_hybrid", "excited", "oniom", "counterpoise",
}  # fmt: skip
"""Headings of an energy."""
LABELS = ENERGIES | {"forces", "standard_forces"}
"""The next geometry after one of them begins a new cycle."""
INPUT, STANDARD = "input", "standard"
"""Orientations; Z-matrix orientation is the input's (G4)."""

_TITLES = {
    b"Input orientation:": INPUT,
    b"Z-Matrix orientation:": INPUT,
    b"Standard orientation:": STANDARD,
}


class Mark(NamedTuple):
    """A heading that was found."""

    name: str
    start: int
    """Offset of its line."""
    line: int
    """Number of its line, from 1."""
    end: int = 0
    """Offset of the next heading, before which what it announces must end."""


@dataclass
class Cycle:
    """One geometry and what was computed for it."""

    marks: dict[str, list[Mark]] = field(default_factory=dict)
    """Headings by kind, in order."""

    def last(self, *names: str, before: int | None = None) -> Mark | None:
        """The last heading of these kinds, before an offset."""
        latest = None
        for name in names:
            for mark in reversed(self.marks.get(name, ())):
                if before is None or mark.start < before:
                    latest = mark if latest is None or mark.start > latest.start else latest
                    break
        return latest

    @property
    def first(self) -> Mark:
        """The heading that it begins with."""
        return min((marks[0] for marks in self.marks.values()), key=lambda mark: mark.start)

    @property
    def labelled(self) -> bool:
        """Whether an energy or forces were printed."""
        return not LABELS.isdisjoint(self.marks)

    @property
    def first_label(self) -> Mark:
        """The first energy or forces."""
        return min((marks[0] for name, marks in self.marks.items() if name in LABELS), key=lambda mark: mark.start)

    def has_energy(self, before: int | None) -> bool:
        """Whether an energy of any kind was printed before an offset."""
        return self.last(*ENERGIES, before=before) is not None


@dataclass
class Job:
    """What belongs to one route section: one run."""

    start: int
    number: int = 0
    """Position in the file, from 0."""
    version: Mark | None = None
    charge: list[Mark] = field(default_factory=list)
    cycles: list[Cycle] = field(default_factory=list)
    ended: Mark | None = None
    """Normal or error termination."""
    displaced: Mark | None = None
    """Where numerical differentiation begins."""
    end: int = 0

    @property
    def first_geometry(self) -> int:
        """Offset of the first geometry; the end where there is none."""
        return self.cycles[0].first.start if self.cycles else self.end

    @property
    def last_forced(self) -> Cycle | None:
        """The last geometry with forces."""
        return next((cycle for cycle in reversed(self.cycles) if "forces" in cycle.marks), None)


def jobs(data: Buffer) -> Iterator[Job]:
    """The jobs of a file, in order."""
    job, number = Job(0), 0
    for mark in _with_ends(headings(data), len(data)):
        if mark.name == "start" and (job.cycles or job.ended):
            job.end = mark.start
            yield job
            number += 1
            job = Job(mark.start, number, job.version)
        _file_mark(data, job, mark)
    job.end = len(data)
    if job.cycles or job.version or job.ended:
        yield job


def _file_mark(data: Buffer, job: Job, mark: Mark) -> None:
    """Put a heading where it belongs."""
    if mark.name == "version":
        job.version = mark
    elif mark.name == "charge":
        job.charge.append(mark)
    elif mark.name in ("end", "failed"):
        job.ended = mark
    elif mark.name == "displaced":
        job.displaced = job.displaced or mark
    elif mark.name != "start" and job.displaced is None:
        _file_in_cycle(data, job, mark)


def _file_in_cycle(data: Buffer, job: Job, mark: Mark) -> None:
    """Put a heading into its cycle; a geometry after labels begins a new one."""
    if mark.name == "table":
        name = _kind_of_table(data, mark)
        if name is None:
            return
        mark = mark._replace(name=name)
    if mark.name in (INPUT, STANDARD):
        latest = job.cycles[-1] if job.cycles else None
        if latest is None or latest.labelled or mark.name in latest.marks:
            job.cycles.append(Cycle())
    if job.cycles:
        job.cycles[-1].marks.setdefault(mark.name, []).append(mark)


def _kind_of_table(data: Buffer, mark: Mark) -> str | None:
    """Forces, or the orientation that the title two lines above names; None for other tables."""
    title = b"".join(data[max(mark.start - 240, 0) : mark.start].split(b"\n")[-3:-2]).strip()
    if b"Forces (Hartrees/Bohr)" in data[mark.start : mark.start + 80]:
        return "standard_forces" if title == b"Forces in standard orientation:" else "forces"
    return _TITLES.get(title)


def headings(data: Buffer) -> Iterator[Mark]:
    """Every heading of a file, in order."""
    begin, line = 0, 1
    while begin < len(data):
        piece = data[begin : begin + PIECE]
        if begin + len(piece) < len(data):
            cut = piece.rfind(b"\n") + 1
            piece = piece[: cut or None]
        starts = _line_starts(piece)
        for index, start in _candidates(piece, starts):
            text = piece[start : start + _LONGEST]
            for prefix, name in _BY_KEY[int.from_bytes(text[:8], "little")]:
                if text.startswith(prefix):
                    yield Mark(name, begin + start, line + index)
                    break
        begin += len(piece)
        line += len(starts) - 1


def _line_starts(piece: bytes) -> NDArray[np.int64]:
    """Offsets of the lines of a piece."""
    ends = np.flatnonzero(np.frombuffer(piece, np.uint8) == ord("\n"))
    return np.concatenate(([0], ends + 1))


def _candidates(piece: bytes, starts: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Number (from 0) and offset of the lines whose first eight characters are those of a heading."""
    starts = starts[starts <= len(piece) - 8]
    if not len(starts):
        return iter(())
    words = np.ndarray((len(piece) - 7,), "<u8", piece, strides=(1,))[starts]
    place = np.minimum(np.searchsorted(_KEYS, words), len(_KEYS) - 1)
    found = np.flatnonzero(_KEYS[place] == words)
    return zip(found.tolist(), starts[found].tolist(), strict=True)


def _with_ends(marks: Iterator[Mark], size: int) -> Iterator[Mark]:
    """Each heading with the offset of the next."""
    previous = next(marks, None)
    for mark in marks:
        assert previous is not None  # there is one before
        yield Mark(previous.name, previous.start, previous.line, mark.start)
        previous = mark
    if previous is not None:
        yield Mark(previous.name, previous.start, previous.line, size)
