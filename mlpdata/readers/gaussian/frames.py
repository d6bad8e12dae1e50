"""Geometries of a Gaussian job with the energy and the forces that belong to them.

Forces are printed in the input's axes wherever `Axes restored to original set` stands before them, else in the axes of
the last geometry (pitfall G1). A step may print a table in standard axes first: the last one counts (G2). Where the
input's geometry is not printed (more than 50 atoms) there are no positions for the forces (G3). The torque of the
forces, which vanishes in the right axes only, is the guard at runtime. Dynamics print energies in tables of their own
too, and forces without any energy: the energy of a step is that of its SCF, between its geometry and its forces (G12).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from mlpdata.errors import ParseError
from mlpdata.readers.archive import Buffer, Input
from mlpdata.readers.gaussian import archive, tables
from mlpdata.readers.gaussian.energies import Level, energies, energy_mark, printed_energy
from mlpdata.readers.gaussian.jobs import INPUT, STANDARD, Cycle, Job, Mark
from mlpdata.readers.gaussian.tables import FORCES, ORIENTATION, Centers, Rows
from mlpdata.schema.calculation import LeftOut
from mlpdata.schema.properties import NO, UNKNOWN, YES
from mlpdata.units import BOHR, F64

TORQUE, RELATIVE_TORQUE = 1e-2, 0.02
"""Largest torque that noise leaves [hartree], and largest share of sum |r||F|; both must be exceeded. Of 1,102 tables
of real logs, the cavity of a solvent model leaves at most 2.4e-3 hartree."""
NO_INPUT_AXES = "the geometry is printed in standard orientation only and its forces are in the input's: forces dropped"
NO_ARCHIVE = "expected the last geometry in the axes of its forces, those of the input, found neither input orientation nor archive entry."
WRONG_AXES = "the forces exert a torque in the axes of the geometry, they are in others: forces dropped"
OTHER_AXES = "the forces exert a torque in the axes of the input and none in standard orientation: paired with that"


@dataclass
class Losses:
    """What a job loses on the way."""

    source: Input
    left_out: list[LeftOut] = field(default_factory=list)
    warnings: dict[str, list[int]] = field(default_factory=dict)
    """Lines by what happened there."""

    def lose(self, error: ParseError, mark: Mark) -> None:
        """A frame that cannot be read."""
        self.left_out.append(LeftOut(line=error.line or mark.line, reason=error.message))

    def warn(self, text: str, mark: Mark) -> None:
        """A label that cannot be used."""
        self.warnings.setdefault(text, []).append(mark.line)

    def as_text(self) -> tuple[str, ...]:
        """The warnings, each with its first line and how often it was met."""
        return tuple(
            f"line {lines[0]}: {text}" + (f" ({len(lines)} times)" if len(lines) > 1 else "")
            for text, lines in self.warnings.items()
        )


class Plan(NamedTuple):
    """Which of the tables and lines of a cycle belong together."""

    cycle: Cycle
    step: int
    geometry: Mark
    other: Mark | None
    """The geometry in other axes, where that was printed too."""
    forces: Mark | None
    energy: Mark | None
    scf_converged: int
    archived_before: int = 0
    """Where not 0: the forces are in axes whose positions only the archive entry has, which ends before this offset."""

    @property
    def label(self) -> Mark:
        """The heading that the frame's line is of."""
        return self.cycle.first_label


class Frame(NamedTuple):
    """One planned frame, its tables still text."""

    plan: Plan
    centers: Centers
    geometry: Rows
    forces: Rows | None
    forced: Centers | None
    """Of the rows of the forces."""
    energy: bytes
    """As printed [hartree]; empty where it cannot be told."""

    @property
    def shape(self) -> tuple[object, ...]:
        """Frames of one shape are converted together."""
        forces = self.forces and (id(self.forced), self.forces.length)
        return id(self.centers), self.geometry.length, forces, self.plan.archived_before


class Batch(NamedTuple):
    """Frames of the same atoms, converted."""

    frames: list[Frame]
    energies: F64
    """[hartree], shape (n_frames,); NaN where it cannot be told."""
    positions: F64
    """[angstrom], shape (n_frames, n_atoms, 3)."""
    translations: F64
    """Lattice vectors [angstrom], shape (n_frames, 0 to 3, 3)."""
    forces: F64
    """[hartree/bohr], shape (n_frames, n_atoms, 3); NaN where absent."""


def plans(job: Job, known: Level, gradient: bool, losses: Losses) -> list[Plan]:
    """The frames of a job: every geometry with an energy or forces.

    Args:
        job: the job.
        known: its level; excited where its forces are.
        gradient: whether it prints forces: all its geometries are then in the axes of these.
        losses: where losses are noted.
    """
    labelled = [cycle for cycle in job.cycles if cycle.labelled]
    found = []
    for step, cycle in enumerate(labelled):
        try:
            plan = _plan(cycle, step, known, gradient, losses)
            if plan.archived_before:
                plan = _archived(plan, job, cycle is labelled[-1], losses)
            found.append(plan)
        except ParseError as error:
            losses.lose(error, cycle.first_label)
    return found


def _plan(cycle: Cycle, step: int, known: Level, gradient: bool, losses: Losses) -> Plan:
    """Pair the headings of a cycle (G2, G9).

    Raises:
        ParseError: nothing that can be labelled.
    """
    in_input = cycle.last("forces") if INPUT in cycle.marks else None
    forces = in_input or cycle.last("standard_forces") or cycle.last("forces")
    before = forces.start if forces else None
    geometry, other = _axes(cycle, forces, gradient)
    printed = geometry or other
    if printed is None:
        raise ParseError("expected a geometry before its forces, found none.")
    line = energy_mark(cycle, known, before)
    if line is None:
        if not cycle.has_energy(before):
            raise ParseError(
                "expected an energy between these coordinates and their forces, found none. "
                "The forces may be those of other coordinates."
            )
        if forces is None:
            raise ParseError(
                f"expected the energy of the method that was asked for, found others. {known.doubt}".strip()
            )
        losses.warn(
            f"{known.doubt or 'the energy of the method that was asked for is not printed'}: energy absent", forces
        )
    return Plan(cycle, step, printed, other, forces, line, _converged(cycle), int(geometry is None))


def _archived(plan: Plan, job: Job, is_last: bool, losses: Losses) -> Plan:
    """A frame whose axes are not printed: the archive entry has those of the last, others lose their forces (G3).

    Raises:
        ParseError: there is no archive entry, and with it there would be other positions.
    """
    if not is_last:
        losses.warn(NO_INPUT_AXES, plan.forces or plan.label)
        return plan._replace(forces=None, archived_before=0)
    if job.ended is None or plan.forces is None:
        raise ParseError(NO_ARCHIVE)
    return plan._replace(archived_before=job.end)


def _axes(cycle: Cycle, forces: Mark | None, gradient: bool) -> tuple[Mark | None, Mark | None]:
    """The geometry whose axes the forces are in, None where it is not printed; and the one in other axes (G1).

    A geometry without forces is taken in the axes of its run's others; where no forces are computed in standard
    orientation, in which the dipole is printed.
    """
    if forces is None:
        return (cycle.last(INPUT), cycle.last(STANDARD)) if gradient else (cycle.last(INPUT, STANDARD), None)
    inputs, standard = cycle.last(INPUT, before=forces.start), cycle.last(STANDARD, before=forces.start)
    printed = cycle.last(INPUT, STANDARD, before=forces.start)
    restored = cycle.last("restored", before=forces.start)
    in_input = printed is inputs or (restored is not None and printed is not None and restored.start > printed.start)
    if forces.name == "standard_forces" or not in_input:
        return standard, inputs
    return inputs, standard


def _converged(cycle: Cycle) -> int:
    """Whether the last SCF of a cycle converged (G10); another may follow one that failed."""
    done, failed = cycle.last("scf"), cycle.last("unconverged")
    if done is None:
        return NO if failed else UNKNOWN
    earlier = [mark for mark in cycle.marks["scf"] if mark is not done]
    since = earlier[-1].start if earlier else 0
    return NO if failed and failed.start > since else YES


def frames(data: Buffer, found: Sequence[Plan], losses: Losses) -> Iterator[Frame]:
    """The planned frames with their text; one that cannot be read is lost."""
    for plan in found:
        try:
            yield _frame(data, plan)
        except ParseError as error:
            losses.lose(error, plan.label)


def _frame(data: Buffer, plan: Plan) -> Frame:
    """The text of a frame's tables, and its energy.

    Raises:
        ParseError: one of them cannot be read, or their atoms differ.
    """
    value = b"" if plan.energy is None else printed_energy(data, plan.energy)
    geometry = tables.rows(data, plan.geometry)
    centers = tables.centers(geometry, ORIENTATION)
    forces, forced = None, None
    if plan.forces is not None:
        forces = tables.rows(data, plan.forces)
        forced = tables.centers(forces, FORCES)
        if not np.array_equal(forced.atoms, centers.atoms):
            raise ParseError("expected forces on the atoms of the geometry, found other atoms.")
    return Frame(plan, centers, geometry, forces, forced, value)


def batch(data: Buffer, alike: list[Frame], losses: Losses, guarded: bool) -> Batch | None:
    """Convert frames of one shape; those with damaged numbers are lost. None where nothing is left.

    Args:
        data: the file.
        alike: the frames.
        losses: where losses are noted.
        guarded: whether forces without a torque are expected.
    """
    coordinates, errors = tables.numbers_of([frame.geometry for frame in alike], ORIENTATION)
    if alike[0].plan.archived_before and errors[0] is None:
        try:
            coordinates[0] = _from_archive(data, alike[0], coordinates[0])
        except ParseError as fault:
            errors[0] = fault
    values, energy_errors = energies([frame.energy for frame in alike])
    errors = [error or after for error, after in zip(energy_errors, errors, strict=True)]
    centers, forced = alike[0].centers, alike[0].forced
    printed = [frame.forces for frame in alike if frame.forces is not None]
    if forced is not None:
        rows, force_errors = tables.numbers_of(printed, FORCES)
        forces = rows[:, forced.is_atom]
        errors = [error or after for error, after in zip(errors, force_errors, strict=True)]
    else:
        forces = np.full((len(alike), int(centers.is_atom.sum()), 3), np.nan)
    for frame, error in zip(alike, errors, strict=True):
        if error is not None:
            losses.lose(error, frame.plan.label)
    kept = np.array([error is None for error in errors])
    if not kept.any():
        return None
    result = Batch(
        [frame for frame, good in zip(alike, kept, strict=True) if good],
        values[kept],
        coordinates[kept][:, centers.is_atom],
        coordinates[kept][:, centers.atomic_numbers == tables.TRANSLATION],
        forces[kept],
    )
    if printed and guarded and not result.translations.shape[1]:
        _guard(data, result, losses)
    return result


def _from_archive(data: Buffer, frame: Frame, printed: F64) -> F64:
    """The positions of a job's last forces, from its archive entry (G3), in the place of those printed, (n_rows, 3).

    Raises:
        ParseError: it has none for this geometry.
    """
    is_atom = frame.centers.is_atom
    start, end = frame.plan.label.start, frame.plan.archived_before
    found = archive.positions(data, start, end, frame.centers.atoms, printed[is_atom])
    if found is None:
        raise ParseError(NO_ARCHIVE)
    positions = printed.copy()
    positions[is_atom] = found
    return positions


def torque(positions: F64, forces: F64) -> tuple[F64, F64]:
    """Net torque [hartree] about the centroid, and the sum of |r||F| that bounds it, of each frame.

    Args:
        positions: [angstrom], shape (n_frames, n_atoms, 3).
        forces: [hartree/bohr], shape (n_frames, n_atoms, 3).
    """
    arms = (positions - positions.mean(axis=1, keepdims=True)) / BOHR
    total = np.linalg.norm(np.cross(arms, forces).sum(axis=1), axis=1)
    bound = (np.linalg.norm(arms, axis=2) * np.linalg.norm(forces, axis=2)).sum(axis=1)
    return total, bound


def _guard(data: Buffer, result: Batch, losses: Losses) -> None:
    """Where forces exert a torque in the axes of the geometry, take the other axes if they exert none there; else drop them."""
    total, bound = torque(result.positions, result.forces)
    for bad in np.flatnonzero((total > TORQUE) & (total > RELATIVE_TORQUE * bound)):
        plan = result.frames[bad].plan
        other = _other_positions(data, result, int(bad))
        if other is not None and torque(other[None], result.forces[bad : bad + 1])[0][0] < 0.1 * total[bad]:
            losses.warn(OTHER_AXES, plan.label)
            result.positions[bad] = other
        else:
            losses.warn(WRONG_AXES, plan.label)
            result.forces[bad] = np.nan


def _other_positions(data: Buffer, result: Batch, index: int) -> F64 | None:
    """The positions of a frame in the other axes that were printed for it, shape (n_atoms, 3)."""
    frame = result.frames[index]
    if frame.plan.other is None:
        return None
    try:
        rows = tables.rows(data, frame.plan.other)
        centers = tables.centers(rows, ORIENTATION)
        coordinates, errors = tables.numbers_of([rows], ORIENTATION)
    except ParseError:
        return None
    if errors[0] is not None or not np.array_equal(centers.atoms, frame.centers.atoms):
        return None
    positions: F64 = coordinates[0][centers.is_atom]
    return positions
