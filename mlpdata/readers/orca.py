"""ORCA's standard output: single points, optimisations, scans, dynamics; ORCA 2.6 to 6.1.

A frame is what stands between one set of coordinates and the next: geometry, FINAL SINGLE POINT ENERGY, gradient
(pitfalls O5, O9). One regular expression finds all headings, at the starts of lines; tables are sliced and converted
whole. ORCA prints gradients [hartree/bohr]: forces are their negative (O1). FINAL SINGLE POINT ENERGY holds
dispersion and correlation (O2). What cannot be paired for certain is left out with its line and the reason.

References:
    ORCA manual, "Running Typical Calculations"; https://www.faccts.de/docs/orca/6.1/manual.
"""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mlpdata.digest import sha256, sha256_json
from mlpdata.errors import ParseError
from mlpdata.frames import by_block
from mlpdata.readers.archive import Buffer, Input
from mlpdata.readers.orca_method import input_lines, keywords, method
from mlpdata.readers.registry import Ending, Header, Printed, Reader
from mlpdata.readers.text import number, numbers
from mlpdata.schema.calculation import ForcesAre, LeftOut, RunKind, Status
from mlpdata.schema.properties import NO, UNKNOWN, YES
from mlpdata.units import F64, Quantity

_HEADINGS = {
    "angstrom": rb"CARTESIAN COORDINATES \(ANGSTROEM\)[^\n]*\n",
    "bohr": rb"CARTESIAN COORDINATES \(A\.U\.\)[^\n]*\n",
    "charge": rb"Total Charge +Charge +\.+ +(?:-?\d+)[ \r]*\n",
    "multiplicity": rb"Multiplicity +Mult +\.+ +(?:\d+)[ \r]*\n",
    "converged": rb"(?:SCF CONVERGED AFTER|THE CAS-SCF [A-Z]+ +HAS CONVERGED)",
    "unconverged": rb"SCF NOT CONVERGED AFTER",
    "scf_gradient": rb"ORCA SCF GRADIENT CALCULATION",
    "gradient": rb"CARTESIAN GRADIENT[^\n]*\n",
    "mp2_gradient": rb"The final MP2 gradient[^\n]*\n",
    "mp2_total": rb"MP2 TOTAL ENERGY:[^\n]*\n",
    "cc_total": rb"E\(TOT\)[^\n]*\n",
    "excited": rb"(?:DE\([A-Z/ -]+\)|E\(SOC CIS\)) *=[^\n]*\n",
    "scf_part": rb"E\(SCF\) *=[^\n]*\n",
    "excited_total": rb"E\(tot\) *=[^\n]*\n",
    "root": rb"IROOT= *\d+: +[^\n]* au [^\n]*\n",
    "dispersion": rb"Dispersion correction  [^\n]*\n",
    "energy": rb"FINAL SINGLE POINT ENERGY[^\n]*\n",
    "cycle": rb"GEOMETRY OPTIMIZATION CYCLE",
    "banner": rb"Program Version [^\n]*\n",
    "job": rb"JOB NUMBER +\d+",
    "compound": rb"COMPOUND JOB +\d+",
    "kind": rb"[A-Z][\w+ -]*(?:Calculation|Run|Simulation|Scan) \*",
    "stopped": rb"The optimization did not converge",
    "end": rb"ORCA TERMINATED NORMALLY",
    "failed": rb"ORCA finished by error termination[^\n]*",
}
_HEADING = re.compile(
    rb"\n[ *$-]*+(?:" + b"|".join(b"(?P<%s>%s)" % (name.encode(), text) for name, text in _HEADINGS.items()) + b")"
)

_RULE = rb"(?:[ \t]*(?:-{5,}|NO +LB[^\n]*)?\r?\n)*+"
_INDEXED = re.compile(_RULE + rb"((?:[ \t]*\d[^\n]*\n)*)")
_LABELLED = re.compile(_RULE + rb"((?:[ \t]*(?:[A-Z][A-Za-z]?[:>]?|-) [^\n]*\n)*)")
_AFTER_TABLE = re.compile(rb"[ \t\r]*(?:\n|\Z)|[*>-]|Difference ")
_BOHR_ROW = re.compile(rb"(?m)^[ \t]*(\d+) +(\S+(?: :)?) +(-?\d+\.\d+)[*#]? +-?\d+ +\d+\.\d+ ")
_ANGSTROM_ROW = re.compile(rb"(?m)^[ \t]*(?P<label>\S+(?: :)?) ")
_GRADIENT_ROW = re.compile(rb"(?m)^[ \t]*(\d+) +(\S+(?: :)?) *: ")
_MP2_ROW = re.compile(rb"(?m)^[ \t]*(\d+) *: ")

_SYMBOLS = (
    "H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr Rb Sr Y Zr Nb Mo"
    " Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au Hg"
    " Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U Np Pu Am Cm Bk Cf Es Fm Md No Lr"
)
_Z = {symbol.encode(): z for z, symbol in enumerate(_SYMBOLS.split(), 1)}
_KINDS: tuple[tuple[bytes, RunKind], ...] = (
    (b"Geometry Optimization", "relax"),
    (b"Molecular Dynamics", "md"),
    (b"Scan", "scan"),
    (b"Intrinsic Reaction", "irc"),
    (b"IRC", "irc"),
    (b"Nudged Elastic", "neb"),
    (b"Frequenc", "phonon"),
    (b"Single Point", "single_point"),
    (b"Energy+Gradient", "single_point"),
)
_FREQUENCIES = {"freq", "anfreq", "numfreq"}


class Mark(NamedTuple):
    """A heading that was found."""

    start: int
    """Offset of its first character."""
    end: int
    text: bytes
    """The heading, or its whole line."""


@dataclass
class Cycle:
    """What stands between one set of coordinates and the next: at most one frame."""

    step: int
    marks: defaultdict[str, list[Mark]] = field(default_factory=lambda: defaultdict(list))

    @property
    def start(self) -> int:
        """Offset where it begins."""
        return min(marks[0].start for marks in self.marks.values())

    def one(self, name: str) -> Mark | None:
        """The last heading of a kind."""
        return self.marks[name][-1] if self.marks.get(name) else None


@dataclass
class Job:
    """One job of a file: all that belongs to one Header and one Ending."""

    start: int
    number: int = 0
    """Which part of the input it runs, from 0."""
    version: str | None = None
    cycles: list[Cycle] = field(default_factory=list)
    marks: dict[str, Mark] = field(default_factory=dict)
    """Last heading of each kind that concerns the whole job."""
    end: int = 0


class Geometry(NamedTuple):
    """A table of coordinates."""

    atomic_numbers: NDArray[np.uint8]
    """Of the rows that are atoms, shape (n_atoms,)."""
    atoms: NDArray[np.bool_]
    """Which rows are atoms: not ghosts, dummies, point charges or capping potentials (O10)."""
    positions: F64
    """Of the atoms [`unit`], shape (n_atoms, 3)."""
    unit: str
    surroundings: bool
    """Whether charges or potentials without electrons surround the atoms."""


class Frame(NamedTuple):
    """One configuration as printed."""

    geometry: Geometry
    energy: float
    """[hartree]"""
    gradient: F64 | None
    """[hartree/bohr], shape (n_atoms, 3)."""
    charge: float
    multiplicity: int
    scf_converged: int
    step: int
    offset: int
    """Of the line of the energy."""


def read(source: Input) -> Iterator[Header | Printed | Ending]:
    """The jobs of a file, each a Header, its frames, an Ending."""
    found = list(_jobs(source.data))
    if not found:
        raise ParseError("expected an ORCA output, found no heading of one. The file is cut or of another program.")
    for index, job in enumerate(found):
        yield from _read_job(source, job, _status(source, found[index:]))


def _read_job(source: Input, job: Job, status: tuple[Status, str]) -> Iterator[Header | Printed | Ending]:
    """One job, frame by frame; a frame that cannot be read costs itself only."""
    data, left_out = source.data, []
    frames: list[Frame] = []
    state = _excited_state(job)
    charge = multiplicity = None
    for cycle in job.cycles:
        charge, multiplicity = cycle.one("charge") or charge, cycle.one("multiplicity") or multiplicity
        try:
            frames.append(_frame(data, job, cycle, charge, multiplicity, state))
        except ParseError as error:
            unlabelled = set(cycle.marks) <= {"angstrom", "bohr", "cycle"}
            if not (unlabelled and status[0] == "complete" and frames):  # a table printed once more is no frame lost
                left_out.append(LeftOut(line=error.line or source.line(cycle.start), reason=error.message))
    yield _header(data, job, state, frames)
    for _, alike in itertools.groupby(frames, lambda frame: frame.geometry.unit):
        for block in by_block((len(frame.geometry.atomic_numbers), frame) for frame in alike):
            yield _printed(source, block)
    warnings = ("the optimisation reached its limit of cycles",) if "stopped" in job.marks else ()
    yield Ending(*status, left_out=tuple(left_out), warnings=warnings)


# -- where things are ------------------------------------------------------------------------------------------------


def _jobs(data: Buffer) -> Iterator[Job]:
    """Split a file into jobs at banners, `$new_job` and the steps of a compound script (O5), and jobs into cycles."""
    job: Job | None = None
    previous = ""
    for match in _HEADING.finditer(data):
        name = str(match.lastgroup)
        mark = Mark(match.start(name), match.end(), match[name])
        if name in ("banner", "job", "compound"):
            if job is None or job.cycles or name == "banner":
                if job:
                    yield _closed(job, mark.start)
                fresh = job is None or name == "banner"
                job = Job(0 if job is None else mark.start, 0 if fresh or job is None else job.number + 1)
                job.version = None if fresh else job.version
            job.version = _version(mark.text) if name == "banner" else job.version
        elif job is None:
            job = Job(0)
        if name in ("kind", "stopped", "end", "failed"):
            job.marks.setdefault(name, mark)
        elif name not in ("banner", "job", "compound"):
            _file_mark(job, name, mark, previous)
        previous = name
    if job:
        yield _closed(job, len(data))


def _closed(job: Job, end: int) -> Job:
    job.end = end
    return job


def _file_mark(job: Job, name: str, mark: Mark, previous: str) -> None:
    """Put a heading into the cycle that it belongs to; coordinates begin a new one, the second unit joins the first."""
    is_geometry = name in ("angstrom", "bohr")
    joins = name == "bohr" and previous == "angstrom"
    if not job.cycles or name == "cycle" or (is_geometry and not joins and _has_content(job.cycles[-1])):
        job.cycles.append(Cycle(len(job.cycles)))
    job.cycles[-1].marks[name].append(mark)


def _has_content(cycle: Cycle) -> bool:
    """Whether a cycle has more than its number."""
    return bool(set(cycle.marks) - {"cycle", "charge", "multiplicity"})


def _version(banner: bytes) -> str:
    """`6.0.1` of `Program Version 6.0.1  -  RELEASE   -`."""
    return re.sub(r"\s+-\s*(?:RELEASE|RC)?[\s-]*$", "", banner.decode("latin-1").split("Version", 1)[1]).strip()


def _status(source: Input, jobs: list[Job]) -> tuple[Status, str]:
    """Status of the first of `jobs`; ORCA prints its end mark once for all jobs of one input."""
    for job in jobs:
        if "failed" in job.marks:
            mark = job.marks["failed"]
            return "failed", f"line {source.line(mark.start)}: {mark.text.decode('latin-1').strip()}"
        if "end" in job.marks:
            return "complete", ""
    return "truncated", "the file ends before ORCA TERMINATED NORMALLY"
