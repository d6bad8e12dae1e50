"""CP2K's log with its companion files: energies, forces, optimisations, dynamics; CP2K 2.6 to 2026.

`cp2k.headings` divides a log into runs and evaluations, be it one or thousands (pitfall C5), `cp2k.steps` finds the
geometry and the labels of each, `cp2k.companions` the files that hold what the log lacks. The total energy holds -TS
where occupations are smeared, so it is the one that the forces derive from.

References:
    CP2K manual, https://manual.cp2k.org.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mlpdata.digest import sha256_json
from mlpdata.errors import ParseError
from mlpdata.frames import by_block
from mlpdata.readers.archive import Input, located
from mlpdata.readers.cp2k import companions as cp2k_companions
from mlpdata.readers.cp2k import path as cp2k_path
from mlpdata.readers.cp2k.companions import Companions
from mlpdata.readers.cp2k.facts import Facts
from mlpdata.readers.cp2k.headings import Run, runs
from mlpdata.readers.cp2k.method import has_smearing, method
from mlpdata.readers.cp2k.steps import Frame, Steps
from mlpdata.readers.registry import Ending, Header, Printed, Reader, Unplaced
from mlpdata.schema.calculation import EnergyKind, ForcesAre, LeftOut, Status
from mlpdata.schema.properties import ATOM, NO, PROPERTIES, YES
from mlpdata.units import F64, Quantity

HEADER_BYTES = 16 << 20
"""Where the method is looked for: it stands before the first energy."""
HEADER_BYTES_WITHOUT_ENERGY = 1 << 20
UNBALANCED = 1e-3
"""Sum of all forces over the largest one above which a force of exactly zero is one that was set to zero."""
LEARNED = b"NNP"
"""The force environment of a neural network, whose labels are no label (pitfall V11)."""
NOISE = 0.01
"""The largest force counts as no less than this: sums of forces are noisy by some 1e-6 hartree/bohr."""


def read(source: Input) -> Iterator[Header | Printed | Unplaced | Ending]:
    """The runs of a log, each a Header, its frames, an Ending.

    Raises:
        ParseError: nothing in the file is of CP2K.
    """
    beside = cp2k_companions.read(source)
    found = list(runs(source.data))
    if not found:
        raise ParseError("expected a log of CP2K, found no heading of one. The file is cut or of another program.")
    evaluated = [run for run in found if run.first("energy")] or found[-1:]
    for run in evaluated:
        yield from _read_run(source, run, beside)


def _read_run(source: Input, run: Run, beside: Companions) -> Iterator[Header | Printed | Unplaced | Ending]:
    """One run; a frame that cannot be read costs itself only."""
    evaluations = [one for one in run.evaluations() if "again" not in one.marks]  # once more at the last geometry
    first = run.first("energy")
    bound = min(first.start, run.start + HEADER_BYTES) if first else run.start + HEADER_BYTES_WITHOUT_ENERGY
    text = source.data[run.start : min(bound, run.end)]
    facts = Facts.of(text)
    steps = Steps(source, evaluations, beside, facts.kind, facts.ensemble, facts.pbc, facts.writes_velocities)
    steps.find_first_geometry(run.first("coordinates"))
    unplaced: list[Unplaced] = []
    frames, left_out = cp2k_path.images(source, run, steps) if facts.kind == "neb" else _frames(steps, unplaced)
    steps.say_what_is_missing(frames)
    masked = _zeroed(frames)
    yield _header(text, run, steps, facts, frames, masked)
    for group in _of_equal_units(frames):
        for block in by_block((len(frame.atomic_numbers), frame) for frame in group):
            yield _printed(block, facts, masked)
    yield from unplaced
    limit = ("the optimisation reached its limit of steps",) if run.first("limit") else ()
    warnings = (*facts.warnings, *steps.warnings, *beside.all_warnings(), *limit)
    yield Ending(*_status(source, run), tuple(left_out), warnings)


def _frames(steps: Steps, unplaced: list[Unplaced]) -> tuple[list[Frame], list[LeftOut]]:
    """The frames of a run, and what did not become one; labels without a geometry are added to `unplaced`."""
    frames: list[Frame] = []
    left_out: list[LeftOut] = []
    for index, (evaluation, number_of_step) in enumerate(zip(steps.evaluations, steps.numbered(), strict=True)):
        try:
            with located(steps.source, evaluation.energy.start):
                frames.append(steps.frame(index, number_of_step))
        except ParseError as error:
            left_out.append(LeftOut(line=error.line or 0, reason=error.message))
            if frames and steps.lacks_geometry(index):
                unplaced += _unplaced(steps, index, len(frames[-1].atomic_numbers))
    return frames, left_out


def _unplaced(steps: Steps, index: int, n_atoms: int) -> Iterator[Unplaced]:
    """The labels of an evaluation that has no geometry."""
    with suppress(ParseError):
        labels = steps.labels(index, n_atoms)
        yield Unplaced(n_atoms, {name: Quantity(label.values, label.unit) for name, label in labels.items()})


def _zeroed(frames: Sequence[Frame]) -> NDArray[np.bool_] | None:
    """Atoms whose force is exactly zero in every frame though the others do not balance: the program held them fixed.

    A log does not name fixed atoms; it prints zeros in place of their forces.
    """
    forces = [frame.labels["forces"].values for frame in frames if "forces" in frame.labels]
    if not forces or len({len(one) for one in forces}) > 1:
        return None
    zero = np.logical_and.reduce([(one == 0).all(axis=1) for one in forces])
    unbalanced = any(np.linalg.norm(one.sum(axis=0)) > UNBALANCED * max(np.abs(one).max(), NOISE) for one in forces)
    return zero if zero.any() and unbalanced else None


def _header(
    text: bytes, run: Run, steps: Steps, facts: Facts, frames: Sequence[Frame], masked: NDArray[np.bool_] | None
) -> Header:
    environment = run.environment()
    level = method(text, environment, steps.elements(text))
    forces: ForcesAre = "absent"
    if any("forces" in frame.labels for frame in frames):
        forces = "physical" if masked is None else "zeroed_on_fixed"
        forces = "with_external" if level.external else forces
        forces = "biased" if facts.is_biased else forces
        forces = "ml" if environment == LEARNED else forces
    energy_kind: EnergyKind = "ml" if environment == LEARNED else "free" if has_smearing(text) else "total"
    return Header(
        method=level,
        identity=sha256_json({"version": level.code_version, "started": facts.started}),
        run_kind=facts.kind,
        energy_kind=energy_kind,
        forces_are=forces,
        temperature_target=facts.temperature,
        basis_fixed_at="first cell" if facts.moves_cell else None,
    )


def _of_equal_units(frames: Sequence[Frame]) -> Iterator[list[Frame]]:
    """Frames in their order, divided where a label comes in another unit than before."""
    group: list[Frame] = []
    units: dict[str, str] = {}
    for frame in frames:
        own = {name: label.unit for name, label in frame.labels.items()}
        if any(units.get(name, unit) != unit for name, unit in own.items()):
            yield group
            group, units = [], {}
        group.append(frame)
        units |= own
    if group:
        yield group


def _printed(block: Sequence[Frame], facts: Facts, masked: NDArray[np.bool_] | None) -> Printed:
    """A block of frames; a label that only some have is absent in the others."""
    arrays: dict[str, Quantity | ArrayLike] = {
        "atomic_numbers": np.concatenate([frame.atomic_numbers for frame in block]),
        "pbc": np.array([frame.pbc for frame in block], np.int8),
        "scf_converged": [frame.scf_converged for frame in block],
        "step": [frame.step for frame in block],
        "source_line": [frame.line for frame in block],
        "multiplicity": [facts.multiplicity] * len(block),
    }
    if any(frame.image >= 0 for frame in block):
        arrays["image"] = [frame.image for frame in block]
    if facts.charge is not None:
        arrays["charge"] = Quantity(np.full(len(block), facts.charge), "e")
    if masked is not None:
        arrays["force_mask"] = np.tile(np.where(masked, NO, YES), len(block)).astype(np.int8)
    units = {name: label.unit for frame in block for name, label in frame.labels.items()}
    for name, unit in units.items():
        arrays[name] = Quantity(_joined(name, block), unit)
    return Printed([len(frame.atomic_numbers) for frame in block], arrays)


def _joined(name: str, block: Sequence[Frame]) -> F64:
    """One label of all frames, one row an atom or a frame."""
    row = PROPERTIES[name]
    rows = [frame.labels[name].values if name in frame.labels else _absent(name, frame) for frame in block]
    joined: F64 = np.concatenate(rows) if row.level == ATOM else np.stack(rows)
    return joined


def _absent(name: str, frame: Frame) -> F64:
    row = PROPERTIES[name]
    shape = (len(frame.atomic_numbers), *row.shape) if row.level == ATOM else row.shape
    return np.full(shape, np.nan)


def _status(source: Input, run: Run) -> tuple[Status, str]:
    if mark := run.first("abort"):
        box = source.data[mark.end - len(mark.text) : mark.end + 400]
        words = b" ".join(re.findall(rb"(?<=[ \[])[\w\].,<>'()/-]{2,}(?=[ .])", box)).decode("latin-1")
        return "failed", f"line {source.line(mark.start)}: [{words[:300]}"
    if run.first("end"):
        return "complete", ""
    return "truncated", "the log ends before PROGRAM ENDED"


def _is_cp2k(head: bytes) -> bool:
    """Whether a log of CP2K begins so."""
    return b"\n CP2K| " in head or (b"PROGRAM STARTED AT" in head and b"DBCSR|" in head)


READER = Reader(
    "cp2k/out", 1, ("*.cp2k.out", "cp2k.out", "cp2k.log"), _is_cp2k, read, companions=cp2k_companions.companions
)
