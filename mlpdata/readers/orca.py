"""ORCA's standard output: single points, optimisations, scans, dynamics; ORCA 2.6 to 6.1.

One regular expression finds all headings at the starts of lines; `orca_blocks` reads what follows them. ORCA prints
gradients [hartree/bohr]: forces are their negative (pitfall O1). FINAL SINGLE POINT ENERGY holds dispersion and
correlation (O2). What cannot be paired for certain is left out with its line and the reason.

References:
    ORCA manual, https://www.faccts.de/docs/orca/6.1/manual.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from mlpdata.digest import sha256, sha256_json
from mlpdata.errors import ParseError
from mlpdata.frames import by_block
from mlpdata.readers import orca_blocks
from mlpdata.readers.archive import Buffer, Input
from mlpdata.readers.orca_blocks import Cycle, Geometry, Mark, located
from mlpdata.readers.orca_method import input_lines, keywords, method
from mlpdata.readers.registry import Ending, Header, Printed, Reader
from mlpdata.schema.calculation import ForcesAre, LeftOut, RunKind, Status
from mlpdata.units import F64, Quantity

_HEADINGS = {
    "angstrom": rb"CARTESIAN COORDINATES \(ANGSTROEM\)",
    "bohr": rb"CARTESIAN COORDINATES \(A\.U\.\)",
    "charge": rb"Total Charge +Charge +\.+ +-?\d+(?=\s)",
    "multiplicity": rb"Multiplicity +Mult +\.+ +\d+(?=\s)",
    "converged": rb"(?:SCF CONVERGED AFTER|THE CAS-SCF [A-Z]+ +HAS CONVERGED)",
    "unconverged": rb"SCF NOT CONVERGED AFTER",
    "scf_gradient": rb"Gradient of the (?:Kohn-Sham DFT|Hartree-Fock SCF) energy",
    "gradient": rb"CARTESIAN GRADIENT(?: \(NUMERICAL\))?(?=[ \t\r]*\n)",
    "mp2_gradient": rb"The final MP2 gradient",
    "mp2_total": rb"MP2 TOTAL ENERGY:[^\n]{0,200}(?=\n)",
    "cc_total": rb"E\(TOT\)[^\n]{0,200}(?=\n)",
    "excited": rb"(?:DE\([A-Z/ -]+\)|E\(SOC CIS\)) *=[^\n]{0,200}(?=\n)",
    "scf_part": rb"E\(SCF\) *=[^\n]{0,200}(?=\n)",
    "excited_total": rb"E\(tot\) *=[^\n]{0,200}(?=\n)",
    "root": rb"IROOT= *\d+: +[^\n]{0,80} au [^\n]{0,200}(?=\n)",
    "dispersion": rb"Dispersion correction  [^\n]{0,200}(?=\n)",
    "energy": rb"FINAL SINGLE POINT ENERGY[^\n]{0,200}(?=\n)",
    "cycle": rb"GEOMETRY OPTIMIZATION CYCLE",
    "banner": rb"Program Version [^\n]{0,200}(?=\n)",
    "job": rb"JOB NUMBER +\d{1,6}",
    "compound": rb"COMPOUND JOB +\d{1,6}",
    "title": rb"(?<=\* )[A-Z][\w+ -]{0,80}(?:Calculation|Run|Simulation|Scan) \*",
    "limit": rb"The optimization did not converge",
    "end": rb"ORCA TERMINATED NORMALLY",
    "failed": rb"ORCA finished by error termination[^\n]{0,200}",
}
_LINE_START = rb"\n[ *$-]*+(?=[A-Z])"
_HEADING = re.compile(_LINE_START + b"(?:" + b"|".join(_HEADINGS.values()) + b")")
_NAMED = b"|".join(b"(?P<%s>%s)" % (name.encode(), text) for name, text in _HEADINGS.items())
_NAMED_HEADING = re.compile(_LINE_START + b"(?:" + _NAMED + b")")  # four times slower: asked only where there is one
_BEGINS_JOB = {"banner", "job", "compound"}
_OF_JOB = {"title", "limit", "end", "failed", "compound"}
_BEFORE_CYCLE = {"cycle", "charge", "multiplicity"}

_RUN_KINDS: tuple[tuple[bytes, RunKind], ...] = (
    (b"Geometry Optimization", "relax"),
    (b"Molecular Dynamics", "md"),
    (b"Scan", "scan"),
    (b"Reaction", "irc"),
    (b"IRC", "irc"),
    (b"Nudged Elastic", "neb"),
    (b"Frequenc", "phonon"),
    (b"Single Point", "single_point"),
    (b"Energy+Gradient", "single_point"),
)

HEADER_BYTES = 32 << 20
"""Where the method is looked for: settings and input stand at the start of a job."""
ENERGY_DECIMALS, GRADIENT_DECIMALS = 12, 9
"""The most that any version prints."""


@dataclass
class Job:
    """What belongs to one Header and one Ending: a run, one part of `$new_job`, one step of a compound script."""

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


class Frame(NamedTuple):
    """One configuration as printed."""

    geometry: Geometry
    energy: float
    """[hartree]"""
    gradient: F64 | None
    """[hartree/bohr], shape (n_atoms, 3)."""
    charge: float
    multiplicity: float
    scf_converged: int
    step: int
    line: int
    """Of the final energy."""


def read(source: Input) -> Iterator[Header | Printed | Ending]:
    """The jobs of a file, each a Header, its frames, an Ending.

    Raises:
        ParseError: nothing in the file is of ORCA.
    """
    found = list(_jobs(source.data))
    if not found:
        raise ParseError("expected an ORCA output, found no heading of one. The file is cut or of another program.")
    for index, job in enumerate(found):
        yield from _read_job(source, job, *_status(source, found[index:]))


def _read_job(source: Input, job: Job, status: Status, reason: str) -> Iterator[Header | Printed | Ending]:
    """One job; a frame that cannot be read costs itself only."""
    # the input of a compound script does not say which lines a step runs
    end = min(job.end, job.input_start + HEADER_BYTES)
    lines = [] if "compound" in job.marks else input_lines(source.data, job.input_start, end, job.number)
    followed = map(orca_blocks.excited_state, filter(orca_blocks.has_gradient, job.cycles))
    state = next(filter(None, followed), None)
    frames, left_out = _frames(source, job, lines, state)
    yield _header(source, job, lines, state, frames)
    for _, alike in itertools.groupby(frames, lambda frame: frame.geometry.unit):
        for block in by_block((len(frame.geometry.positions), frame) for frame in alike):
            yield _printed(block)
    warnings = ("the optimisation reached its limit of cycles",) if "limit" in job.marks else ()
    yield Ending(status, reason, tuple(left_out), warnings)


def _frames(source: Input, job: Job, lines: list[str], state: str | None) -> tuple[list[Frame], list[LeftOut]]:
    """The frames of a job, and what did not become one."""
    frames: list[Frame] = []
    left_out: list[LeftOut] = []
    charge, multiplicity = np.nan, 0.0
    for cycle in job.cycles:
        charge = _last_number(cycle, "charge", charge)  # ORCA 5 prints both in the first cycle only
        multiplicity = _last_number(cycle, "multiplicity", multiplicity)
        if "end" in job.marks and frames and set(cycle.marks) <= {"angstrom", "bohr"}:
            continue  # coordinates printed once more at the end are no frame lost
        try:
            with located(source, cycle.start):
                frame = _frame(source, cycle, lines, state)
        except ParseError as error:
            left_out.append(LeftOut(line=error.line or 0, reason=error.message))
        else:
            frames.append(frame._replace(charge=charge, multiplicity=multiplicity))
    return frames, left_out


def _frame(source: Input, cycle: Cycle, lines: list[str], state: str | None) -> Frame:
    """The frame of a cycle, its charge and multiplicity still unknown.

    Raises:
        ParseError: it cannot be read, or its labels do not belong together.
    """
    final = cycle.last("energy")
    line = source.line(final.start if final else cycle.start)
    with located(source, final.start if final else cycle.start):
        energy = orca_blocks.energy(cycle, state)
    geometry = orca_blocks.geometry(source, cycle, lines)
    gradient = orca_blocks.gradient(source, cycle, geometry)
    return Frame(geometry, energy, gradient, np.nan, 0, orca_blocks.converged(cycle), cycle.step, line)


def _last_number(cycle: Cycle, name: str, known: float) -> float:
    """The number at the end of the last heading of a kind in a cycle; else the one known before."""
    mark = cycle.last(name)
    return float(mark.text.split()[-1]) if mark else known


def _header(source: Input, job: Job, lines: list[str], state: str | None, frames: list[Frame]) -> Header:
    """What the text before the first energy says of a job."""
    energies = (mark.start for cycle in job.cycles for mark in cycle.marks.get("energy", ()))
    text = source.data[job.start : min(*energies, job.end, job.start + HEADER_BYTES)]
    level = method(text, job.version, lines, state)
    external = {*level.external, *(name for frame in frames for name in frame.geometry.external)}
    level = level.model_copy(update={"external": tuple(sorted(external))})
    forces: ForcesAre = "absent"
    if any(frame.gradient is not None for frame in frames):
        forces = "with_external" if external else "physical"
    start = sha256(frames[0].geometry.positions.tobytes()) if frames else None
    return Header(
        method=level,
        identity=sha256_json({"version": job.version, "input": lines, "job": job.number, "start": start}),
        run_kind=_run_kind(job, lines),
        energy_kind="free" if level.smearing else "total",
        forces_are=forces,
    )


def _printed(block: list[Frame]) -> Printed:
    """A block of frames whose coordinates have one unit."""
    geometries = [frame.geometry for frame in block]
    arrays: dict[str, Quantity | ArrayLike] = {
        "atomic_numbers": np.concatenate([geometry.atomic_numbers for geometry in geometries]),
        "positions": Quantity(np.concatenate([geometry.positions for geometry in geometries]), geometries[0].unit),
        "pbc": np.zeros((len(block), 3), np.int8),
        "energy": Quantity(np.array([frame.energy for frame in block]), "hartree", ENERGY_DECIMALS),
        "charge": Quantity(np.array([frame.charge for frame in block]), "e"),
        "multiplicity": [int(frame.multiplicity) for frame in block],
        "scf_converged": [frame.scf_converged for frame in block],
        "step": [frame.step for frame in block],
        "source_line": [frame.line for frame in block],
    }
    if any(frame.gradient is not None for frame in block):
        rows = [np.full_like(f.geometry.positions, np.nan) if f.gradient is None else -f.gradient for f in block]
        arrays["forces"] = Quantity(np.concatenate(rows), "hartree/bohr", GRADIENT_DECIMALS)
    return Printed([len(geometry.positions) for geometry in geometries], arrays)


def _jobs(data: Buffer) -> Iterator[Job]:
    """Split a file into jobs at banners, `$new_job` and the steps of a compound script (O5), and jobs into cycles."""
    job = Job(0, 0)
    previous = ""
    for match in filter(None, (_NAMED_HEADING.match(data, found.start()) for found in _HEADING.finditer(data))):
        name = str(match.lastgroup)
        mark = Mark(match.start(name), match[name])
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


def _file_mark(job: Job, name: str, mark: Mark, previous: str) -> None:
    """Put a heading into its cycle; coordinates begin a new one, their second table joins the first."""
    begins = name == "angstrom" or (name == "bohr" and previous != "angstrom")
    if not job.cycles or name == "cycle" or (begins and set(job.cycles[-1].marks) - _BEFORE_CYCLE):
        job.cycles.append(Cycle(len(job.cycles)))
    job.cycles[-1].marks.setdefault(name, []).append(mark)


def _version(banner: bytes) -> str:
    """`6.0.1` of `Program Version 6.0.1  -  RELEASE   -`."""
    return re.split(r"\s+-\s", banner.decode("latin-1").split("Version", 1)[1].strip())[0]


def _status(source: Input, jobs: list[Job]) -> tuple[Status, str]:
    """Status of the first of `jobs`, and why it is not complete; ORCA prints one end mark for all jobs of an input."""
    for job in jobs:
        if job.input_start != jobs[0].input_start:
            break
        if mark := job.marks.get("failed"):
            return "failed", f"line {source.line(mark.start)}: {mark.text.decode('latin-1').strip()}"
        if "end" in job.marks:
            return "complete", ""
    return "truncated", "the file ends before ORCA TERMINATED NORMALLY"


def _run_kind(job: Job, lines: list[str]) -> RunKind:
    """What the program was asked to do, from the title it prints; frequencies and IRC print none of their own."""
    title = job.marks["title"].text if "title" in job.marks else b""
    kind: RunKind = next((kind for words, kind in _RUN_KINDS if words in title), "unknown")
    asked = set(keywords(lines))
    if kind in ("unknown", "single_point") and "irc" in asked:
        return "irc"
    return "phonon" if kind == "single_point" and asked & {"freq", "anfreq", "numfreq"} else kind


def _is_orca(head: bytes) -> bool:
    """Whether the banner of ORCA stands in `head`."""
    return b"* O   R   C   A *" in head


READER = Reader("orca/out", 1, ("*.orca.out", "*_orca.out"), _is_orca, read)
