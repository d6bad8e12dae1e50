"""The headings of an ORCA output, and how they divide it into jobs and cycles.

One regular expression finds all headings at the starts of lines. A job is one run of the program, one part of
`$new_job`, or one step of a compound script (pitfall O5); a cycle is what stands between one set of coordinates and the
next, so that it holds at most one frame (O9).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from mlpdata.readers.archive import Buffer

_REST = rb"[^\n]{0,200}(?=\n)"
_HEADINGS = {
    "angstrom": rb"CARTESIAN COORDINATES \(ANGSTROEM\)",
    "bohr": rb"CARTESIAN COORDINATES \(A\.U\.\)",
    "charge": rb"Total Charge +Charge +\.+ +[^\s]{1,20}(?=\s)",
    "multiplicity": rb"Multiplicity +Mult +\.+ +[^\s]{1,20}(?=\s)",
    "converged": rb"(?:SCF CONVERGED AFTER|THE CAS-SCF [A-Z]+ +HAS CONVERGED)",
    "unconverged": rb"SCF NOT CONVERGED AFTER",
    "scf_gradient": rb"Gradient of the (?:Kohn-Sham DFT|Hartree-Fock SCF) energy",
    "gradient": rb"CARTESIAN GRADIENT(?: \(NUMERICAL\))?(?=[ \t\r]*\n)",
    "other_gradient": rb"CARTESIAN GRADIENT[^\n]{1,80}",
    "constrained": rb"WARNING: THERE ARE +\d+ +CONSTRAINED CARTESIAN COORDINATES",
    "mp2_gradient": rb"The final MP2 gradient",
    "mp2_total": rb"MP2 TOTAL ENERGY:" + _REST,
    "cc_total": rb"E\(TOT\)" + _REST,
    "excited": rb"(?:DE\([A-Z/ -]+\)|E\(SOC CIS\)) *=" + _REST,
    "scf_part": rb"E\(SCF\) *=" + _REST,
    "excited_total": rb"E\(tot\) *=" + _REST,
    "root": rb"IROOT= *\d+: +[^\n]{0,80} au " + _REST,
    "dispersion": rb"Dispersion correction  " + _REST,
    "energy": rb"FINAL SINGLE POINT ENERGY" + _REST,
    "mulliken": rb"MULLIKEN ATOMIC CHARGES(?= *\r?\n| AND SPIN)[^\n]{0,40}",
    "loewdin": rb"LOEWDIN ATOMIC CHARGES(?= *\r?\n| AND SPIN)[^\n]{0,40}",
    "hirshfeld": rb"HIRSHFELD ANALYSIS",
    "dipole": rb"Total Dipole Moment +:" + _REST,
    "cycle": rb"GEOMETRY OPTIMIZATION CYCLE",
    "banner": rb"Program Version " + _REST,
    "job": rb"JOB NUMBER +\d{1,6}",
    "compound": rb"COMPOUND JOB +\d{1,6}",
    "title": rb"(?<=\* )[A-Z][\w+ -]{0,80}(?:Calculation|Run|Simulation|Scan) \*",
    "path": rb"PATH SUMMARY(?: FOR NEB-TS)?(?=[ \t\r]*\n)",
    "limit": rb"The optimization did not converge",
    "end": rb"ORCA TERMINATED NORMALLY",
    "failed": rb"ORCA finished by error termination[^\n]{0,200}",
}
_LINE_START = rb"\n[ *$-]*+(?=[A-Z])"
_HEADING = re.compile(_LINE_START + b"(" + b"|".join(_HEADINGS.values()) + b")")
_NAMED = b"|".join(b"(?P<%s>%s)" % (name.encode(), text) for name, text in _HEADINGS.items())
_NAMED_HEADING = re.compile(_LINE_START + b"(?:" + _NAMED + b")")  # four times slower: asked once for each wording
_WORDING = 25
"""Characters that tell one kind of heading from another."""
_PIECE = 1 << 18
"""Bytes in which lines are counted at once; they stay in the cache of the processor."""
_BEGINS_JOB = {"banner", "job", "compound"}
_OF_JOB = {"title", "limit", "end", "failed", "compound", "path", "other_gradient"}
_BEFORE_CYCLE = {"cycle", "charge", "multiplicity"}
_AFTERTHOUGHTS = {"angstrom", "bohr", "dipole"}
"""What is printed once more at the end of a job and is no frame."""


class Mark(NamedTuple):
    """A heading that was found."""

    start: int
    """Offset of its first character."""
    text: bytes
    """The heading; its whole line where values stand in it."""

    @property
    def end(self) -> int:
        """Offset of the first character after it."""
        return self.start + len(self.text)


@dataclass
class Cycle:
    """What stands between one set of coordinates and the next: at most one frame."""

    step: int
    marks: dict[str, list[Mark]] = field(default_factory=dict)
    """Headings by kind, in order."""

    @property
    def start(self) -> int:
        """Offset where it begins."""
        return min(marks[0].start for marks in self.marks.values())

    @property
    def is_afterthought(self) -> bool:
        """Whether it holds nothing but coordinates, printed once more."""
        return self.marks.keys() <= _AFTERTHOUGHTS

    def last(self, name: str) -> Mark | None:
        """The last heading of a kind."""
        return self.marks[name][-1] if name in self.marks else None


@dataclass
class Job:
    """What belongs to one Header and one Ending."""

    start: int
    input_start: int
    """Offset of the banner before the echo of its input."""
    number: int = 0
    """Which part of that input it runs, from 0."""
    version: str | None = None
    cycles: list[Cycle] = field(default_factory=list)
    marks: dict[str, Mark] = field(default_factory=dict)
    """First heading of each kind that concerns the whole job."""
    end: int = 0


def jobs(data: Buffer) -> Iterator[Job]:
    """Split a file into jobs, and jobs into cycles."""
    job = Job(0, 0)
    previous = ""
    for name, mark in _marks(data):
        if name in _BEGINS_JOB:
            if job.cycles or (name == "banner" and job.version):
                yield replace(job, end=mark.start)
                job = Job(mark.start, mark.start if name == "banner" else job.input_start, version=job.version)
            if name == "banner":
                job.version = _version(mark.text)
            else:
                job.number = int(mark.text.split()[-1]) - 1
        if name in _OF_JOB:
            job.marks.setdefault(name, mark)
        elif name not in _BEGINS_JOB:
            _file_mark(job, name, mark, previous)
        previous = name
    if job.cycles or job.marks or job.version:
        yield replace(job, end=len(data))


def line_numbers(data: Buffer, offsets: Sequence[int]) -> list[int]:
    """Numbers of the lines, from 1, that hold the bytes at `offsets`, which ascend."""
    wanted = np.array(offsets, np.int64)
    found = np.empty(len(wanted), np.int64)
    before, done = 1, 0
    for begin in range(0, offsets[-1] + 1 if len(wanted) else 0, _PIECE):
        ends = begin + np.flatnonzero(np.frombuffer(data[begin : begin + _PIECE], np.uint8) == ord("\n"))
        reached = int(np.searchsorted(wanted, begin + _PIECE))
        found[done:reached] = before + np.searchsorted(ends, wanted[done:reached])
        before, done = before + len(ends), reached
    return [int(number) for number in found]


def _marks(data: Buffer) -> Iterator[tuple[str, Mark]]:
    """Every heading with its kind, in order."""
    kinds: dict[bytes, str] = {}
    for found in _HEADING.finditer(data):
        text = found[1]
        name = kinds.get(text[:_WORDING])
        if name is None:
            match = _NAMED_HEADING.match(data, found.start())
            name = kinds[text[:_WORDING]] = str(match.lastgroup) if match else ""
        yield name, Mark(found.start(1), text)


def _file_mark(job: Job, name: str, mark: Mark, previous: str) -> None:
    """Put a heading into its cycle; coordinates begin a new one, their second table joins the first."""
    begins = name == "angstrom" or (name == "bohr" and previous != "angstrom")
    if not job.cycles or name == "cycle" or (begins and job.cycles[-1].marks.keys() - _BEFORE_CYCLE):
        job.cycles.append(Cycle(len(job.cycles)))
    job.cycles[-1].marks.setdefault(name, []).append(mark)


def _version(banner: bytes) -> str:
    """`6.0.1` of `Program Version 6.0.1  -  RELEASE   -`."""
    return re.split(r"\s+-\s", banner.decode("latin-1").split("Version", 1)[1].strip())[0]
