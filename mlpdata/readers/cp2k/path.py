"""The images of a band: energies and forces of the log, positions of `PROJECT-pos-Replica_nr_N-1.xyz`.

The log prints the forces of each image in atomic units before springs and tangent are applied, so that they are
physical (pitfall V14 does not hold here). An image is found by its number and its energy.

References:
    `neb_utils.F` of CP2K.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from mlpdata.errors import ParseError
from mlpdata.readers.archive import Input
from mlpdata.readers.cp2k.companions import SAME_ENERGY, Snapshot, Trajectory
from mlpdata.readers.cp2k.headings import Run
from mlpdata.readers.cp2k.steps import Frame, Label, Steps
from mlpdata.readers.text import number, numbers
from mlpdata.schema.calculation import LeftOut
from mlpdata.schema.properties import UNKNOWN

_IMAGE = re.compile(
    rb"(?<=\n) NEB\| REPLICA Nr\. +(\d{1,6})- Energy and Forces[ \t\r]*"
    rb"\n NEB\| +Total energy: +(\S+)[ \t\r]*\n NEB\| +ATOM[^\n]*\n((?: NEB\| {5,7}[^\s|][^\n]*\n)*+)"
)


class Image(NamedTuple):
    """One energy of one image in the log."""

    start: int
    energy: bytes
    rows: bytes


def images(source: Input, run: Run, steps: Steps) -> tuple[list[Frame], list[LeftOut]]:
    """The frames of a band, image by image, and what did not become one."""
    printed: dict[int, list[Image]] = defaultdict(list)
    for match in _IMAGE.finditer(source.data, run.start, run.end):
        printed[int(match[1])].append(Image(match.start(), match[2], match[3]))
    frames: list[Frame] = []
    left_out: list[LeftOut] = []
    used = 0
    for place, snapshot, trajectory in _snapshots(steps):
        try:
            match_of = _same(printed.get(place, []), snapshot)
            frames.append(_frame(source, run, steps, place, match_of, trajectory, snapshot))
            used += 1
        except ParseError as error:
            left_out.append(LeftOut(line=error.line or 0, reason=f"image {place}: {error.message}"))
    total = sum(map(len, printed.values()))
    if total > used:
        line = source.line(next(iter(printed.values()))[0].start)
        reason = (
            "expected positions of each energy of the band, found those of its steps only, not of its line searches."
        )
        left_out.append(LeftOut(line=line, reason=reason, frames=total - used))
    return frames, left_out


def _snapshots(steps: Steps) -> Iterator[tuple[int, Snapshot, Trajectory]]:
    for place, trajectories in sorted(steps.companions.images.items()):
        for trajectory in trajectories:
            for snapshot in trajectory.snapshots:
                yield place, snapshot, trajectory


def _same(printed: list[Image], snapshot: Snapshot) -> Image:
    """The energy of the log that a frame of a companion file names; the last one of equal ones."""
    for image in reversed(printed):
        try:
            if abs(number(image.energy) - snapshot.energy) <= SAME_ENERGY:
                return image
        except ParseError:
            continue
    raise ParseError(f"expected the energy {snapshot.energy:.10f} of step {snapshot.step} in the log, found none.")


def _frame(
    source: Input, run: Run, steps: Steps, place: int, image: Image, trajectory: Trajectory, snapshot: Snapshot
) -> Frame:
    atoms = trajectory.read(snapshot)
    n_atoms = len(atoms.values)
    atomic_numbers = atoms.atomic_numbers
    if steps.geometry is not None and len(steps.geometry.atomic_numbers) == n_atoms:
        atomic_numbers = steps.geometry.atomic_numbers
    if not atomic_numbers.all():
        raise ParseError(f"expected names of elements in {trajectory.name}, found names of kinds.")
    fields = image.rows.replace(b"NEB|", b"").split()
    if len(fields) != 4 * n_atoms:
        raise ParseError(f"expected forces on {n_atoms} atoms, found {len(fields) / 4:g} rows.")
    forces = numbers(b" ".join(field for column in (1, 2, 3) for field in fields[column::4]), 3 * n_atoms)
    cell, pbc = steps.printed_cell(run.first("cell"))
    labels = {
        "positions": Label(atoms.values, "angstrom"),
        "energy": Label(np.array(number(image.energy)), "hartree"),
        "forces": Label(forces.reshape(3, n_atoms).T, "hartree/bohr"),
    }
    if any(pbc):
        if cell is None:
            raise ParseError("expected a cell in the log, found none.")
        labels["cell"] = Label(cell.vectors, cell.unit)
    return Frame(atomic_numbers, pbc, labels, UNKNOWN, snapshot.step, source.line(image.start), place - 1)
