"""ORCA's standard output: single points, optimisations, scans, dynamics; ORCA 2.6 to 6.1.

`orca.headings` finds the headings and divides the file into jobs and cycles, `orca.tables` converts tables,
`orca.blocks` says what belongs together. ORCA prints gradients [hartree/bohr]: forces are their negative (pitfall O1).
FINAL SINGLE POINT ENERGY holds dispersion and correlation (O2). What cannot be paired for certain is left out with its
line and the reason.

References:
    ORCA manual, https://www.faccts.de/docs/orca/6.1/manual.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mlpdata.digest import sha256, sha256_json
from mlpdata.errors import ParseError
from mlpdata.frames import by_block
from mlpdata.readers.archive import Input
from mlpdata.readers.orca import blocks as orca_blocks
from mlpdata.readers.orca import files as orca_files
from mlpdata.readers.orca import labels as orca_labels
from mlpdata.readers.orca.blocks import Geometry, Label, located
from mlpdata.readers.orca.headings import Cycle, Job, jobs, line_numbers
from mlpdata.readers.orca.labels import SCHEMES, Labels
from mlpdata.readers.orca.method import input_parts, keywords, method, target_temperature
from mlpdata.readers.orca.tables import FORMATS, Tables
from mlpdata.readers.registry import Ending, Header, Printed, Reader
from mlpdata.schema.calculation import ForcesAre, LeftOut, RunKind, Status
from mlpdata.schema.properties import NO
from mlpdata.units import F64, Quantity

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

HEADER_BYTES = 8 << 20
"""Where the method is looked for: settings and input stand at the start of a job."""
ENERGY_DECIMALS, GRADIENT_DECIMALS, CHARGE_DECIMALS = 12, 9, 6
"""The most that any version prints."""
_UNKNOWN = {"charge": np.nan, "multiplicity": 0.0}


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
    labels: Labels


@dataclass
class _Run:
    """One job while it is read."""

    source: Input
    job: Job
    lines: list[str]
    tables: Tables
    state: str | None
    """Electronic state of the labels."""
    held: tuple[int, ...]
    """Rows of the coordinates that stay in place."""
    line: list[int]
    """Line of the final energy of each cycle."""
    constrained: bool
    """Whether the gradient of some atoms may be printed as zero."""
    left_out: list[LeftOut] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def read(source: Input) -> Iterator[Header | Printed | Ending]:
    """The jobs of a file, each a Header, its frames, an Ending.

    Raises:
        ParseError: nothing in the file is of ORCA.
    """
    found = list(jobs(source.data))
    if not found:
        raise ParseError("expected an ORCA output, found no heading of one. The file is cut or of another program.")
    for start, together in itertools.groupby(found, lambda job: job.input_start):
        of_one_input = list(together)
        parts = input_parts(source.data, start, min(of_one_input[-1].end, start + HEADER_BYTES))
        for job, (status, reason) in zip(of_one_input, _statuses(source, of_one_input), strict=True):
            # the input of a compound script does not say which lines a step runs
            lines = [] if "compound" in job.marks else parts[min(job.number, len(parts) - 1)]
            run = _run(source, job, lines)
            yield from _read_run(run)
            yield Ending(status, reason, tuple(run.left_out), (*run.warnings, *_notes(run)))


def _run(source: Input, job: Job, lines: list[str]) -> _Run:
    """What is known of a job before its frames are read."""
    marks = {kind: [mark for cycle in job.cycles for mark in cycle.marks.get(kind, ())] for kind in FORMATS}
    energies = [mark.start if (mark := cycle.last("energy")) else cycle.start for cycle in job.cycles]
    held = orca_labels.held_atoms(lines)
    return _Run(
        source,
        job,
        lines,
        Tables(source.data, marks),
        state=_state(job.cycles),
        held=held,
        line=line_numbers(source.data, energies),
        constrained=bool(held) or any("constrained" in cycle.marks for cycle in job.cycles),
    )


def _read_run(run: _Run) -> Iterator[Header | Printed]:
    """One job; a frame that cannot be read costs itself only."""
    blocks = _blocks(run)
    first = next(blocks, [])
    yield _header(run, first)
    for block in itertools.chain([first] if first else [], blocks):
        yield _printed(run, block)


def _state(cycles: Sequence[Cycle]) -> str | None:
    """The electronic state that the labels are of: that whose gradient is printed first, else that of the first energy."""
    for cycle in sorted(cycles, key=lambda cycle: not orca_blocks.has_gradient(cycle)):
        try:
            return orca_blocks.label(cycle).state
        except ParseError:
            continue
    return None


def _blocks(run: _Run) -> Iterator[list[Frame]]:
    """The frames of a job in blocks whose coordinates have one unit."""
    for _, alike in itertools.groupby(_frames(run), lambda frame: frame.geometry.unit):
        yield from by_block((len(frame.geometry.positions), frame) for frame in alike)


def _frames(run: _Run) -> Iterator[Frame]:
    """The frames of a job; what does not become one is left out."""
    charge, multiplicity = _UNKNOWN["charge"], _UNKNOWN["multiplicity"]
    any_frame = False
    for cycle in run.job.cycles:
        charge = _last_number(run, cycle, "charge", charge)  # ORCA 5 prints both in the first cycle only
        multiplicity = _last_number(run, cycle, "multiplicity", multiplicity)
        if "end" in run.job.marks and any_frame and cycle.is_afterthought:
            continue
        try:
            with located(run.source, cycle, cycle.start):
                frame = _frame(run, cycle, charge, multiplicity)
        except ParseError as error:
            run.left_out.append(LeftOut(line=error.line or 0, reason=error.message))
        else:
            any_frame = True
            yield frame


def _frame(run: _Run, cycle: Cycle, charge: float, multiplicity: float) -> Frame:
    """The frame of a cycle.

    Raises:
        ParseError: it cannot be read, or its labels do not belong together.
    """
    final = cycle.last("energy")
    with located(run.source, cycle, final.start if final else cycle.start):
        label = _label(cycle, run.state)
    geometry = orca_blocks.geometry(run.source, cycle, run.tables, run.lines)
    gradient = orca_blocks.gradient(run.source, cycle, run.tables, geometry.rows)
    converged = orca_blocks.converged(cycle)
    line = run.line[cycle.step]
    labels = orca_labels.labels(run.source, cycle, run.tables, geometry.rows, charge, run.warnings)
    return Frame(geometry, label.energy, gradient, charge, multiplicity, converged, cycle.step, line, labels)


def _label(cycle: Cycle, state: str | None) -> Label:
    """The final energy, which must be of the state that the other labels of the job are of."""
    label = orca_blocks.label(cycle)
    if label.state != state:
        expected, found = (name or "the ground state" for name in (state, label.state))
        raise ParseError(f"expected the energy of {expected}, found that of {found}.")
    return label


def _last_number(run: _Run, cycle: Cycle, name: str, known: float) -> float:
    """The whole number at the end of the last heading of a kind in a cycle; else the one known before."""
    mark = cycle.last(name)
    if mark is None:
        return known
    token = mark.text.split()[-1]
    if re.fullmatch(rb"-?\d{1,4}", token):
        return float(token)
    line = orca_blocks.line_of(run.source, cycle, mark.start)
    run.warnings.append(f"line {line}: the {name} left out: expected a number, found {token.decode('latin-1')!r}")
    return _UNKNOWN[name]


def _header(run: _Run, frames: list[Frame]) -> Header:
    """What the text before the first energy says of a job."""
    job = run.job
    energies = (mark.start for cycle in job.cycles for mark in cycle.marks.get("energy", ()))
    text = run.source.data[job.start : min(next(energies, job.end), job.end, job.start + HEADER_BYTES)]
    level = method(text, job.version, run.lines, run.state)
    external = {*level.external, *(name for frame in frames for name in frame.geometry.rows.external)}
    level = level.model_copy(update={"external": tuple(sorted(external))})
    forces: ForcesAre = "absent"
    if any(orca_blocks.has_gradient(cycle) for cycle in job.cycles):
        zeroed = run.constrained and bool(frames) and bool((_force_mask(run, frames) == NO).any())
        forces = "with_external" if external else "zeroed_on_fixed" if zeroed else "physical"
    start = sha256(frames[0].geometry.positions.tobytes()) if frames else None
    return Header(
        method=level,
        identity=sha256_json({"version": job.version, "input": run.lines, "job": job.number, "start": start}),
        run_kind=_run_kind(job, run.lines),
        energy_kind="free" if level.smearing else "total",
        forces_are=forces,
        temperature_target=target_temperature(run.lines),
        charge=_stated(job, "charge"),
        multiplicity=_stated(job, "multiplicity"),
    )


def _stated(job: Job, name: str) -> int | None:
    """The first whole number that a job prints under a heading."""
    marks = (mark for cycle in job.cycles for mark in cycle.marks.get(name, ()))
    token = next((mark.text.split()[-1] for mark in marks), b"")
    return int(token) if re.fullmatch(rb"-?\d{1,4}", token) else None


def _printed(run: _Run, block: list[Frame]) -> Printed:
    """A block of frames whose coordinates have one unit."""
    geometries = [frame.geometry for frame in block]
    numbers = [rows.atomic_numbers[rows.is_atom] for rows in (geometry.rows for geometry in geometries)]
    arrays: dict[str, Quantity | ArrayLike] = {
        "atomic_numbers": np.concatenate(numbers),
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
        arrays["forces"] = Quantity(np.concatenate(rows), "hartree/bohr", GRADIENT_DECIMALS, sign=-1)
    if run.held:
        arrays["fixed"] = np.concatenate([orca_labels.fixed(run.held, geometry.rows) for geometry in geometries])
    if run.constrained:
        arrays["force_mask"] = _force_mask(run, block)
    return Printed([len(geometry.positions) for geometry in geometries], arrays | _optional(block))


def _force_mask(run: _Run, block: list[Frame]) -> NDArray[np.int8]:
    return np.concatenate([orca_labels.force_mask(f.gradient, run.held, f.geometry.rows) for f in block])


def _optional(block: list[Frame]) -> dict[str, Quantity | ArrayLike]:
    """Labels that some frames have and others lack."""
    arrays: dict[str, Quantity | ArrayLike] = {}
    for scheme in SCHEMES:
        if any(scheme in frame.labels.charges for frame in block):
            blank = (np.full(len(frame.geometry.positions), np.nan) for frame in block)
            charges = [f.labels.charges.get(scheme, nothing) for f, nothing in zip(block, blank, strict=True)]
            arrays[f"charges_{scheme}"] = Quantity(np.concatenate(charges), "e", CHARGE_DECIMALS)
    if any(frame.labels.dipole is not None for frame in block):
        none = np.full(3, np.nan)
        dipoles = [none if frame.labels.dipole is None else frame.labels.dipole for frame in block]
        arrays["dipole"] = Quantity(np.array(dipoles), "e*bohr")
    return arrays


def _notes(run: _Run) -> Iterator[str]:
    """What whoever takes the frames should know."""
    cycles, marks = run.job.cycles, run.job.marks
    if "limit" in marks:
        yield "the optimisation reached its limit of cycles"
    if "path" in marks:
        line = run.source.line(marks["path"].start)
        yield f"line {line}: energies of the images of a path, whose geometries are in other files, are left out"
    if "other_gradient" in marks:
        mark = marks["other_gradient"]
        title = mark.text.decode("latin-1").strip()
        yield f"line {run.source.line(mark.start)}: {title} is not the gradient of the energy: left out (O6)"
    if run.state and not any(orca_blocks.has_gradient(cycle) for cycle in cycles):
        yield f"the energies are those of {run.state}, as the program calls them final; no gradient of it was asked for"
    double_hybrid = any({"mp2_total", "scf_part"} <= cycle.marks.keys() for cycle in cycles)
    if run.state and double_hybrid:
        yield f"the energies of {run.state} lack the perturbative part of the ground state's"


def _statuses(source: Input, of_one_input: Sequence[Job]) -> list[tuple[Status, str]]:
    """Status of each job of an input, and why it is not complete; ORCA prints one end mark for all of them."""
    status: tuple[Status, str] = ("truncated", "the file ends before ORCA TERMINATED NORMALLY")
    found = []
    for job in reversed(of_one_input):
        if mark := job.marks.get("failed"):
            status = "failed", f"line {source.line(mark.start)}: {mark.text.decode('latin-1').strip()}"
        elif "end" in job.marks:
            status = "complete", ""
        found.append(status)
    return found[::-1]


def _run_kind(job: Job, lines: list[str]) -> RunKind:
    """What the program was asked to do, from the title it prints; frequencies, IRC and paths print none of their own."""
    title = job.marks["title"].text if "title" in job.marks else b""
    kind: RunKind = next((kind for words, kind in _RUN_KINDS if words in title), "unknown")
    asked = set(keywords(lines))
    if "path" in job.marks or any(re.fullmatch(r"(?:zoom-|fast-|loose-|tight-)?neb(?:-\w+)?", word) for word in asked):
        return "neb"
    if kind in ("unknown", "single_point") and "irc" in asked:
        return "irc"
    return "phonon" if kind == "single_point" and asked & {"freq", "anfreq", "numfreq"} else kind


def _is_orca(head: bytes) -> bool:
    """Whether the banner of ORCA stands in `head`."""
    return b"* O   R   C   A *" in head


READER = Reader(
    "orca/out",
    2,
    ("*.orca.out", "*_orca.out"),
    _is_orca,
    read,
    run_of=orca_files.run_of,
    precedence=orca_files.OUT,
)
