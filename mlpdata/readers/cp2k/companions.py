"""Files that CP2K writes beside its log: `PROJECT-pos-1.xyz`, `-frc-1.xyz`, `-vel-1.xyz`, `-1.cell` (pitfall C3).

They are found by the name of the project in the log, or by the log's own name. A frame of theirs is taken by the number
of its step and the energy in its comment, never by its place in the file: strides differ, and a restart computes
its first step anew. Their `-1.stress` has the kinetic part and is not the label (C2).

An xyz file states no unit. Positions are in angstrom and forces in hartree/bohr unless the input asked for another
unit, which is looked for where the log prints the same numbers, or velocities the kinetic energy.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mlpdata.elements import ATOMIC_NUMBERS
from mlpdata.errors import ParseError
from mlpdata.readers.archive import Input
from mlpdata.readers.place import COMPRESSED, Belonging
from mlpdata.readers.registry import plain_name
from mlpdata.readers.text import number, numbers
from mlpdata.units import F64

_PROJECT = re.compile(rb"GLOBAL\| Project name +(\S+)[ \t\r]*\n")
_RUN_TYPE = re.compile(rb"GLOBAL\| Run type +(\S+)[ \t\r]*\n")
_WITHOUT_STEPS = {b"ENERGY", b"ENERGY_FORCE", b"WAVEFUNCTION_OPTIMIZATION", b"WFN_OPT"}
_NAME = re.compile(r"-(?:pos-Replica_nr_(\d{1,4})|(?:[^/]{1,80}-)?(pos|frc|vel))-\d{1,4}\.xyz|-\d{1,4}\.(cell)")
"""What follows the stem: the image of a band, or what the file holds."""
_PART = re.compile(rf"(?:{_NAME.pattern}){COMPRESSED}\Z")
_COMMENT = re.compile(
    rb"(?:\A|\n)[ \t]*(\d{1,9})[ \t\r]*\n"
    rb"(?:[ \t]*i = +(\S{1,20}?), (?:time = +\S{1,40}, )?E = +(\S{1,40})[ \t\r]*\n"
    rb"|[^\n]{0,400}? Step=(\S{1,20}) Time=\S{1,40} Energy=(\S{1,40})[ \t\r]*\n)"
)
_CELL_COLUMNS = re.compile(rb"# +Step +Time \[fs\] +Ax \[Angstrom\] +Ay \[Angstrom\] [^\n]{1,400}\n")

SAME_ENERGY = 1.5e-9
"""Energies printed with ten decimals agree within this [hartree]."""
SAME_POSITION = 2e-4
"""Positions printed with six decimals agree within this, cells of CP2K before 8 with three [angstrom]."""


class Snapshot(NamedTuple):
    """One frame of an xyz file, not yet read."""

    step: int
    energy: float
    """[hartree]"""
    n_atoms: int
    start: int
    """Offset of its rows."""
    end: int


class Atoms(NamedTuple):
    """The rows of a snapshot."""

    atomic_numbers: NDArray[np.uint8]
    """0 where a label is no element."""
    values: F64
    """Shape (n_atoms, 3), in the unit of the file."""


@dataclass
class Trajectory:
    """One xyz file, its comments read and its rows not."""

    source: Input
    damaged: list[int] = field(default_factory=list)
    """Lines of comments that cannot be read."""

    @property
    def name(self) -> str:
        """Of the file."""
        return self.source.path.name

    @cached_property
    def snapshots(self) -> list[Snapshot]:
        """In the order of the file."""
        found = []
        comments = list(_COMMENT.finditer(self.source.data))
        ends = [following.start() + 1 for following in comments[1:]] + [len(self.source.data)]
        for comment, end in zip(comments, ends, strict=False):  # one end too many where there is no comment
            try:
                step, energy = number(comment[2] or comment[4]), number(comment[3] or comment[5])
            except ParseError:
                self.damaged.append(self.source.line(comment.end() - 1))
            else:
                found.append(Snapshot(int(step), energy, int(comment[1]), comment.end(), end))
        return found

    @cached_property
    def _by_step(self) -> dict[int, list[Snapshot]]:
        steps = defaultdict(list)
        for snapshot in self.snapshots:
            steps[snapshot.step].append(snapshot)
        return steps

    @cached_property
    def _by_energy(self) -> tuple[F64, list[Snapshot]]:
        ordered = sorted(self.snapshots, key=lambda snapshot: snapshot.energy)
        return np.array([snapshot.energy for snapshot in ordered]), ordered

    def find(self, step: int | None, energy: float) -> Snapshot | None:
        """The frame of a step whose energy [hartree] is the one printed; where the step is not known, that of the energy.

        Raises:
            ParseError: the frame of this step has another energy: it is of another run, or of a restart.
        """
        if step is not None:
            frames = self._by_step.get(step, [])
            same = [one for one in frames if abs(one.energy - energy) <= SAME_ENERGY]
            if frames and not same:
                raise ParseError(
                    f"expected step {step} of {self.name} to have the energy {energy:.10f}, found "
                    f"{frames[-1].energy:.10f}. It is of another run; nothing was paired."
                )
            return same[-1] if same else None
        energies, ordered = self._by_energy
        first, last = np.searchsorted(energies, (energy - SAME_ENERGY, energy + SAME_ENERGY))
        return ordered[first] if last - first == 1 else None

    def read(self, snapshot: Snapshot) -> Atoms:
        """The rows of a frame.

        Raises:
            ParseError: rows that are lost, or no numbers; its line is that of the file, as the message says.
        """
        text = self.source.data[snapshot.start : snapshot.end]
        fields = text.split()
        where = f"{self.name}, step {snapshot.step}"
        if (
            not text.endswith(b"\n")
            or len(fields) != 4 * snapshot.n_atoms
            or text.rstrip().count(b"\n") + 1 != snapshot.n_atoms
        ):
            raise ParseError(f"expected {snapshot.n_atoms} rows in {where}, found others. It is damaged or cut.")
        columns = [field for column in (1, 2, 3) for field in fields[column::4]]
        try:
            values = numbers(b" ".join(columns), 3 * snapshot.n_atoms).reshape(3, -1).T
        except ParseError as error:
            raise ParseError(f"{where}: {error.message}") from None
        return Atoms(_atomic_numbers(fields[::4]), values)


def _atomic_numbers(labels: list[bytes]) -> NDArray[np.uint8]:
    z = {label: ATOMIC_NUMBERS.get(label.decode("latin-1"), 0) for label in set(labels)}
    return np.array([z[label] for label in labels], np.uint8)


@dataclass
class Companions:
    """The files beside one log."""

    positions: list[Trajectory] = field(default_factory=list)
    forces: list[Trajectory] = field(default_factory=list)
    velocities: list[Trajectory] = field(default_factory=list)
    images: dict[int, list[Trajectory]] = field(default_factory=lambda: defaultdict(list))
    """Positions by image of a band, from 1."""
    cells: dict[int, F64] = field(default_factory=dict)
    """By step [angstrom], shape (3, 3)."""
    warnings: list[str] = field(default_factory=list)

    def all_warnings(self) -> list[str]:
        """What could not be read of them."""
        images = (one for trajectories in self.images.values() for one in trajectories)
        trajectories = (*self.positions, *self.forces, *self.velocities, *images)
        return self.warnings + [
            f"{one.name}:{line}: expected a step and an energy, found something else; this frame is left out"
            for one in trajectories
            for line in one.damaged
        ]


def companions(source: Input) -> Belonging:
    """The files beside a log that hold parts of its steps."""
    head = source.head
    run_type = _RUN_TYPE.search(head)
    if run_type is None or run_type[1] in _WITHOUT_STEPS:
        return Belonging()
    project = _PROJECT.search(head)
    stems = {re.sub(r"\.(?:out|log)$", "", plain_name(source.path))}
    stems |= {os.fsdecode(project[1])} if project else set()
    return Belonging(pattern=f"(?:{'|'.join(map(re.escape, sorted(stems)))})(?:{_NAME.pattern}){COMPRESSED}")


def read(source: Input) -> Companions:
    """The companions of a log, sorted by what they hold."""
    found = Companions()
    kinds = {"pos": found.positions, "frc": found.forces, "vel": found.velocities}
    for companion in source.companions:
        part = _PART.search(companion.path.name)
        if part is None:
            continue
        if part[1]:
            found.images[int(part[1])].append(Trajectory(companion))
        elif part[2]:
            kinds[part[2]].append(Trajectory(companion))
        else:
            _add_cells(found, companion)
    return found


def _add_cells(found: Companions, companion: Input) -> None:
    """The rows of a `.cell` file; one that cannot be read is said and left."""
    data = companion.data[:]
    heading = _CELL_COLUMNS.match(data)
    if heading is None:
        found.warnings.append(f"{companion.path.name}: expected columns in angstrom, found others; not used")
        return
    for line, row in enumerate(_lines(data[heading.end() :]), 2):
        try:
            values = numbers(row, 12)
        except ParseError as error:
            found.warnings.append(f"{companion.path.name}:{line}: {error.message}")
        else:
            found.cells[int(values[0])] = values[2:11].reshape(3, 3)


def _lines(text: bytes) -> Iterator[bytes]:
    """The whole lines of a text; what is cut has no end."""
    yield from text.split(b"\n")[:-1]


def find(trajectories: Sequence[Trajectory], step: int | None, energy: float) -> tuple[Trajectory, Snapshot] | None:
    """The frame of a step in any of several files.

    Raises:
        ParseError: only frames with another energy have this number.
    """
    refused: ParseError | None = None
    for trajectory in trajectories:
        try:
            snapshot = trajectory.find(step, energy)
        except ParseError as error:
            refused = error
        else:
            if snapshot is not None:
                return trajectory, snapshot
    if refused is not None:
        raise refused
    return None
