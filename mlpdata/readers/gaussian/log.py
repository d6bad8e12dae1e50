"""Gaussian's log files: single points, optimisations, frequencies, scans, paths, dynamics; Gaussian 98 to 16.

A run a job: `gaussian.jobs` finds the headings, `gaussian.energies` which energy is the label, `gaussian.frames` which
forces and positions share their axes. What cannot be paired for certain is left out with its line and the reason.

References:
    Gaussian 16 user's reference, https://gaussian.com/man.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mlpdata.digest import sha256, sha256_json
from mlpdata.errors import ParseError
from mlpdata.frames import MAX_ATOMS_PER_BLOCK
from mlpdata.readers.archive import Input
from mlpdata.readers.gaussian.energies import Level, level
from mlpdata.readers.gaussian.fixed import fixed
from mlpdata.readers.gaussian.frames import Batch, Frame, Losses, Plan, batch, frames, plans
from mlpdata.readers.gaussian.jobs import INPUT, STANDARD, Job, jobs
from mlpdata.readers.gaussian.method import external, method, run_kind
from mlpdata.readers.gaussian.properties import Found, properties
from mlpdata.readers.gaussian.route import Route, route
from mlpdata.readers.gaussian.tables import ORIENTATION, centers, rows
from mlpdata.readers.registry import Ending, Header, Printed, Reader
from mlpdata.schema.calculation import ForcesAre, LeftOut, Status
from mlpdata.units import F64, Quantity

HEADER_BYTES = 8 << 20
"""Where the method is looked for: from the start of a job to behind its first geometry's labels."""
COORDINATE_DECIMALS, FORCE_DECIMALS = 6, 9

_VERSION = re.compile(rb" Gaussian (\d\d|DV): +(\S{1,60}) +(\S{1,20}) *\r?\n *(\S{1,20})")
_CHARGE = re.compile(rb" Charge = *([+-]?\d{1,4}) Multiplicity = *(\d{1,4})(?![\d.*])[ \r\n]*?([a-z][^\r\n]*)?\r?\n")
_PID = re.compile(rb"\n Entering Link 1 = [^\r\n]{0,400}PID= *(\d{1,10})")


class State(NamedTuple):
    """Charge and multiplicity of a job; NaN and 0 where it prints none."""

    charge: float = np.nan
    multiplicity: int = 0


def read(source: Input) -> Iterator[Header | Printed | Ending]:
    """The jobs of a file, each a Header, its frames, an Ending.

    Raises:
        ParseError: nothing in the file is of Gaussian.
    """
    found = jobs(source.data)
    first = next(found, None)
    if first is None:
        raise ParseError("expected a Gaussian log, found no heading of one. The file is cut or of another program.")
    for job in itertools.chain([first], found):
        yield from _read_job(source, job)


def _read_job(source: Input, job: Job) -> Iterator[Header | Printed | Ending]:
    """One job; a frame that cannot be read costs itself only."""
    opening = source.data[job.start : min(job.first_geometry, job.start + HEADER_BYTES)]
    asked = route(opening)
    gradient = asked.prints_forces or job.last_forced is not None
    known = level(asked)
    known = known._replace(excited=known.excited and gradient)  # without forces the ground state is the label (G6)
    losses = Losses(source)
    planned = plans(job, known, gradient, losses)
    yield _header(source, job, asked, known, planned)
    try:
        state = _state(source, job)
    except ParseError as error:
        losses.left_out += (
            [LeftOut(line=job.charge[0].line, reason=error.message, frames=len(planned))] if planned else []
        )
    else:
        of_scf = known.name is None and not known.excited
        guarded = not external(asked)
        for alike in _alike(frames(source.data, planned, losses)):
            result = batch(source.data, alike, losses, guarded)
            if result is not None:
                held = fixed(opening, len(alike[0].centers.is_atom))
                yield from _printed(source, result, state, of_scf, held, losses)
    if job.displaced:
        losses.warn(
            "numerical differentiation begins: what follows, of displaced geometries or in fields, is not read",
            job.displaced,
        )
    status, reason = _status(source, job)
    yield Ending(status, reason, tuple(sorted(losses.left_out, key=lambda one: one.line)), losses.as_text())


def _alike(found: Iterator[Frame]) -> Iterator[list[Frame]]:
    """Consecutive frames of one shape, as many as a block holds."""
    alike: list[Frame] = []
    for frame in found:
        full = (len(alike) + 1) * len(frame.centers.atoms) > MAX_ATOMS_PER_BLOCK
        if alike and (full or frame.shape != alike[0].shape):
            yield alike
            alike = []
        alike.append(frame)
    if alike:
        yield alike


def _header(source: Input, job: Job, asked: Route, known: Level, planned: list[Plan]) -> Header:
    """What a job says of itself before and around its first labels."""
    version, date = _version(source, job)
    after = planned[1].cycle.first.start if len(planned) > 1 else job.end
    text = source.data[job.start : min(after, job.start + HEADER_BYTES)]
    forces: ForcesAre = "absent"
    if any(plan.forces for plan in planned):
        forces = "with_external" if external(asked) else "physical"
    pid = _PID.search(text)
    geometry = planned[0].geometry if planned else None
    start = sha256(source.data[geometry.start : geometry.end]) if geometry else None
    return Header(
        method=method(text, asked, version, known, known.excited),
        identity=sha256_json(
            {"version": version, "date": date, "pid": pid[1].decode() if pid else None, "job": job.number}
            | {"route": asked.printed, "start": start}
        ),
        run_kind=run_kind(asked),
        energy_kind="total",
        forces_are=forces,
        **_stated(source, job),
    )


def _stated(source: Input, job: Job) -> dict[str, Any]:
    """Charge, multiplicity and atoms of a job, which a user wants to see of one without labels too."""
    stated: dict[str, Any] = {}
    with suppress(ParseError):
        state = _state(source, job)
        if state.multiplicity:
            stated = {"charge": state.charge, "multiplicity": state.multiplicity}
        geometry = job.cycles[0].last(INPUT, STANDARD) if job.cycles else None
        if geometry is not None:
            stated["atomic_numbers"] = tuple(centers(rows(source.data, geometry), ORIENTATION).atoms.tolist())
    return stated


def _version(source: Input, job: Job) -> tuple[str | None, str | None]:
    """`16 ES64L-G16RevA.03`, and the date of the run; of the banner printed last before the job's first geometry."""
    mark = job.version
    match = _VERSION.match(source.data[mark.start : mark.start + 300]) if mark else None
    if match is None:
        return None, None
    return f"{match[1].decode()} {match[2].decode('latin-1')}", match[4].decode("latin-1")


def _state(source: Input, job: Job) -> State:
    """Charge and multiplicity of the whole system; lines of fragments and of ONIOM's model are passed over (G8).

    Raises:
        ParseError: the line is damaged.
    """
    for mark in job.charge:
        match = _CHARGE.match(source.data[mark.start : mark.start + 200])
        if match is None:
            raise ParseError("expected charge and multiplicity, found a line that is damaged.")
        if match[3] is None or b"supermolecule" in match[3] or b"real" in match[3]:
            return State(float(match[1]), int(match[2]))
    return State()


def _printed(
    source: Input, result: Batch, state: State, of_scf: bool, held: NDArray[np.int8] | None, losses: Losses
) -> Iterator[Printed]:
    """A batch as blocks: frames with the same optional properties stand together."""
    found = [properties(source.data, frame, of_scf, state.charge, losses) for frame in result.frames]
    for _, group in itertools.groupby(range(len(found)), key=lambda index: tuple(found[index])):
        which = np.array(list(group))
        yield _block(result, which, [found[index] for index in which], state, held)


def _block(
    result: Batch, which: NDArray[np.int64], found: list[Found], state: State, held: NDArray[np.int8] | None
) -> Printed:
    """The frames at `which` of a batch."""
    chosen = [result.frames[index] for index in which]
    n_frames, n_atoms = len(chosen), result.positions.shape[1]
    n_periodic = result.translations.shape[1]
    arrays: dict[str, Quantity | ArrayLike] = {
        "atomic_numbers": np.tile(chosen[0].centers.atoms, n_frames),
        "positions": Quantity(result.positions[which].reshape(-1, 3), "angstrom", COORDINATE_DECIMALS),
        "pbc": np.tile(np.arange(3) < n_periodic, (n_frames, 1)).astype(np.int8),
        "charge": Quantity(np.full(n_frames, state.charge), "e"),
        "multiplicity": [state.multiplicity] * n_frames,
        "scf_converged": [frame.plan.scf_converged for frame in chosen],
        "step": [frame.plan.step for frame in chosen],
        "source_line": [frame.plan.label.line for frame in chosen],
    }
    if not np.isnan(result.energies[which]).all():
        arrays["energy"] = Quantity(result.energies[which], "hartree")
    if chosen[0].forces is not None:
        arrays["forces"] = Quantity(result.forces[which].reshape(-1, 3), "hartree/bohr", FORCE_DECIMALS)
    if held is not None:
        mine = held[chosen[0].centers.is_atom]
        arrays["fixed"] = np.tile(mine, (n_frames, 1))
        if chosen[0].forces is not None:
            zeroed = ~result.forces[which].any(axis=2) & mine.any(axis=1)
            arrays["force_mask"] = (~zeroed).astype(np.int8).ravel()
    if n_periodic:
        arrays["cell"] = Quantity(_cells(result.translations[which]), "angstrom", COORDINATE_DECIMALS)
    for name, (first, unit) in found[0].items():
        rows = [one[name][0] for one in found]
        arrays[name] = Quantity(
            np.concatenate(rows) if len(first) == n_atoms and name not in _OF_FRAME else np.stack(rows), unit
        )
    return Printed([n_atoms] * n_frames, arrays)


_OF_FRAME = {"dipole", "polarizability"}


def _cells(translations: F64) -> F64:
    """Translation vectors as rows of a cell, zero along directions that are not periodic (G4), (n_frames, 3, 3)."""
    cells = np.zeros((len(translations), 3, 3))
    cells[:, : translations.shape[1]] = translations[:, :3]
    return cells


def _status(source: Input, job: Job) -> tuple[Status, str]:
    """Gaussian prints an end mark a job."""
    if job.ended is None:
        return "truncated", "the file ends before Normal termination of Gaussian"
    if job.ended.name == "end":
        return "complete", ""
    text = source.data[job.ended.start : job.ended.start + 200].split(b"\n", 1)[0].decode("latin-1")
    return "failed", f"line {job.ended.line}: {text.split(' in /')[0].split(' at ')[0].strip()}"


def run_of(name: str, _head: bytes) -> str | None:
    """The stem of the name: a log and a formatted checkpoint file of one stem are of one run."""
    return re.sub(r"(?i)(\.gjf|\.com)?\.(log|out|fchk|fch|g\d\d|gaussianlog|gaussianfchk)$", "", name)


def _is_gaussian(head: bytes) -> bool:
    """Whether the banner of Gaussian stands in `head`."""
    return (
        b" Entering Gaussian System, Link 0=" in head
        or re.search(rb"Copyright \(c\) 1988,1990,[^\n]{0,100}Gaussian, Inc\.", head) is not None
        or re.search(rb"\n Gaussian (?:\d\d|DV): +\S+-G(?:\d\d|DV)Rev", head) is not None
    )


READER = Reader("gaussian/log", 1, ("*.gjf.log", "*.gaussianlog"), _is_gaussian, read, run_of=run_of)
