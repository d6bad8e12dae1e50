"""GPAW's text output, of GPAW 0.9 to 25: single points, and each geometry that an optimiser or an integrator asked for.

One regular expression finds all headings. A step begins with a geometry and ends where the next one begins. The forces
derive from the line `Free energy`; `Extrapolated` (once `Zero Kelvin`) is its estimate at zero width. What another
program writes below, such as ASE's van der Waals corrections, is no result of GPAW and is not read.

References:
    gpaw/output.py, gpaw/hamiltonian.py (summary), gpaw/forces.py, gpaw/new/calculation.py of GPAW 20.1 to 25.7.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np

from mlpdata.errors import ParseError
from mlpdata.frames import by_block
from mlpdata.readers.archive import Input
from mlpdata.readers.gpaw import echo as gpaw_echo
from mlpdata.readers.gpaw.echo import Preamble
from mlpdata.readers.gpaw.method import forces_are, run_of
from mlpdata.readers.gpaw.steps import Frame, Step, frame, printed
from mlpdata.readers.gpaw.tables import Mark
from mlpdata.readers.registry import Ending, Header, Printed, Reader
from mlpdata.readers.text import number
from mlpdata.schema.calculation import LeftOut, Status
from mlpdata.schema.method import Method

_BANNER = re.compile(rb"\n \|__ \|  _\|___\|_____\| {1,4}(\S{1,40})|\n \|__\|\|  \| \|\|/\\\| - (\S{1,40})")
_HEADINGS = {
    "parameters": rb"(?:Reading i|I)nput parameters:",
    "positions": rb"(?:Positions:|Atoms  #[^\r\n]{0,40})(?=\r?\n)",
    "cell": rb"Unit [Cc]ell(?::|  #[^\r\n]{0,20})(?=\r?\n)",
    "converged": rb"Converged (?:after|in) +\S{1,20} (?:iterations|steps)",
    "unconverged": rb"(?:Did not converge!|Not enough bands)",
    "energy": rb" {0,2}Free [Ee]nergy:[^\n]{0,100}(?=\n)",
    "energy_sigma0": rb" {0,2}(?:Extrapolated|Zero Kelvin):[^\n]{0,100}(?=\n)",
    "dipole": rb"[Dd]ipole [Mm]oment:[^\n]{0,200}\|e\|\*Ang",
    "total_magnetization": rb"Total [Mm]agnetic [Mm]oment:[^\n]{0,200}(?=\n)",
    "moments": rb"Local [Mm]agnetic [Mm]oments:?(?=\r?\n)",
    "charge": rb"  (?:Total )?Charge:[^\n]{0,60}(?=\n)",
    "fermi_energy": rb"Fermi [Ll]evel:[^\n]{0,60}(?=\n)",
    "band_gap": rb"(?:Gap: [^\n]{0,60}|No gap)(?=\r?\n)",
    "forces": rb"Forces (?:in eV/Ang:| # eV/Ang)(?=\r?\n)",
    "stress": rb"Stress tensor(?::|  # eV/Ang\^3)(?=\r?\n)",
    "correction": rb"vdW correction:",
    "next": rb"(?:System changes:|Timing:|(?:# )?Writing to |Initializing position)",
    "end": rb"(?:[Dd]ate: (?=\S)|Max RSS: |Total: {2,60}[\d.]{1,20} {1,8}100\.0%)",
}
_NAMED = b"|".join(b"(?P<%s>%s)" % (name.encode(), text) for name, text in _HEADINGS.items())
_HEADING = re.compile(rb"(?<!\n)\n++(?=[ #ACDEFGILMNPRSTUWZdv])(?:%s)" % _NAMED)  # a run of newlines is looked at once
_DATE = rb"\nDate: {2,9}([^\r\n]{1,60})"
_PROCESS = rb"\nPid: {2,9}(\d{1,12})"
PREAMBLE_BYTES = 8 << 20
"""Where the method is looked for: what stands before the first energy."""


@dataclass
class Job:
    """The steps of one set of parameters."""

    start: int
    steps: list[Step] = field(default_factory=list)
    unclear: str = ""
    """What could not be read of the charge."""

    def preamble_end(self, end: int) -> int:
        """Where the first energy stands; all of the method is said before it."""
        energies = (step.marks["energy"].start for step in self.steps if "energy" in step.marks)
        return min(*energies, end, self.start + PREAMBLE_BYTES)


def read(source: Input) -> Iterator[Header | Printed | Ending]:
    """The runs of a file, each set of parameters a run of its own.

    Raises:
        ParseError: nothing in the file is of GPAW.
    """
    banners = list(_BANNER.finditer(source.data))
    if not banners:
        raise ParseError("expected an output of GPAW, found no banner of it.")
    ends = [*(banner.start() for banner in banners[1:]), len(source.data)]
    for banner, end in zip(banners, ends, strict=True):
        version = (banner[1] or banner[2]).decode("latin-1")
        yield from _read_run(source, version, banner.start(), end)


def _read_run(source: Input, version: str, start: int, end: int) -> Iterator[Header | Printed | Ending]:
    """What one process printed: one job, or several where its parameters were changed."""
    jobs, ended = _jobs(source, start, end)
    for index, job in enumerate(jobs):
        own = source.data[job.start : job.preamble_end(end)]
        preamble = Preamble(own, source.data[start : min(job.start, start + PREAMBLE_BYTES)])
        method = gpaw_echo.method(preamble, version)
        yield Header(
            method=method,
            identity=f"gpaw {version} {preamble.word(_DATE) or ''} {preamble.word(_PROCESS) or ''} {index}",
            run_kind="unknown",
            energy_kind="free" if method.smearing else "total",
            forces_are=forces_are(method),
        )
        yield from _read_job(source, job, method, gpaw_echo.unusable(preamble), ended)


def _read_job(source: Input, job: Job, method: Method, refused: str, ended: bool) -> Iterator[Printed | Ending]:
    """The frames of a job and its ending; a step that cannot be read costs itself only."""
    left_out: list[LeftOut] = []
    warnings: dict[str, None] = {job.unclear: None} if job.unclear else {}
    frames = _frames(source, job, method, refused, left_out, warnings)
    for batch in by_block((len(one.positions), one) for one in frames):
        for _, alike in groupby(batch, lambda one: tuple(one.labels)):
            yield printed(list(alike))
    yield Ending(*_status(source, job, ended), tuple(left_out), tuple(warnings))


def _frames(
    source: Input, job: Job, method: Method, refused: str, left_out: list[LeftOut], warnings: dict[str, None]
) -> Iterator[Frame]:
    """The frames of a job; what is none is added to `left_out`."""
    for step in job.steps:
        try:
            if refused:
                raise ParseError(refused)
            yield frame(source, step, method.spin, warnings)
        except ParseError as error:
            line = error.line or source.line(step.marks["positions"].start)
            left_out.append(LeftOut(line=line, reason=error.message))


def _status(source: Input, job: Job, ended: bool) -> tuple[Status, str]:
    """Status of a job, and why it is not complete; the end mark is that of its process."""
    last = job.steps[-1].marks if job.steps else {}
    if "unconverged" in last:
        return "failed", f"line {source.line(last['unconverged'].start)}: the SCF did not converge"
    return ("complete", "") if ended else ("truncated", "the file ends before GPAW's closing lines")


def _jobs(source: Input, start: int, end: int) -> tuple[list[Job], bool]:
    """The jobs of a run, and whether it has an end mark."""
    jobs, charge, ended = [Job(start)], np.nan, False
    for match in _HEADING.finditer(source.data, start, end):
        name = str(match.lastgroup)
        mark = Mark(match.start(name), match.end(), match[name])
        job = jobs[-1]
        if name == "parameters" and job.steps:
            job.steps[-1].followed = True
            jobs.append(Job(mark.start, unclear=job.unclear))
        elif name == "charge":
            charge = _charge(mark)
            lost = f"line {source.line(mark.start)}: {mark.text.decode('latin-1').strip()!r} is no charge"
            job.unclear = lost if np.isnan(charge) else ""
            if job.steps and "energy" not in job.steps[-1].marks:
                job.steps[-1].charge = charge  # the newer form has it below the first geometry
        elif name == "positions":
            _follow(job)
            job.steps.append(Step(len(job.steps), {name: mark}, charge))
        elif job.steps:
            _file_mark(job, name, mark)
        ended |= name == "end" and bool(job.steps)
    return [job for job in jobs if job.steps] or jobs[:1], ended


def _file_mark(job: Job, name: str, mark: Mark) -> None:
    """Give a heading to the step that it belongs to; a second energy of one geometry makes a step of its own."""
    marks = job.steps[-1].marks
    if name in ("next", "end"):
        _follow(job)
    elif name == "energy" and "energy" in marks:
        same = {kept: at for kept, at in marks.items() if kept in ("positions", "cell")}
        job.steps.append(Step(len(job.steps), {**same, name: mark}, job.steps[-1].charge))
    elif name != "forces" or "correction" not in marks:
        marks.setdefault(name, mark)


def _follow(job: Job) -> None:
    """Note that the labels of the last step are all there."""
    if job.steps and "energy" in job.steps[-1].marks:
        job.steps[-1].followed = True


def _charge(mark: Mark) -> float:
    """The total charge that a line states; NaN where it cannot be read."""
    try:
        return number(mark.text.partition(b":")[2].partition(b"#")[0])
    except ParseError:
        return np.nan


def _is_gpaw(head: bytes) -> bool:
    """Whether the banner of GPAW stands in `head`."""
    return _BANNER.search(head) is not None


READER = Reader("gpaw/txt", 1, ("*.gpaw.txt",), _is_gpaw, read, run_of=run_of)
