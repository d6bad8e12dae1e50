"""Runs: one file becomes a stream of checked configurations, each run closed by its calculation."""

from __future__ import annotations

import functools
import logging
import os
import posixpath
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby, product
from pathlib import Path, PurePosixPath
from typing import Literal, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from mlpdata import joining
from mlpdata.checks.gatekeeper import MISTAKEN, Gatekeeper
from mlpdata.checks.measures import Circumstances
from mlpdata.discover import Output
from mlpdata.ends import Ends
from mlpdata.errors import InputError, Unavailable, UnitsUnknown
from mlpdata.frames import Frames, by_block, concatenate
from mlpdata.joining import Beside
from mlpdata.readers.place import Member, Place
from mlpdata.readers.registry import Ending, Header, Opened, Undeclared, open_run, reader_version
from mlpdata.said.sayings import Said, against_output
from mlpdata.schema.calculation import Calculation, ForcesAre, Kind, LeftOut, Source, Status
from mlpdata.schema.method import Kpoints
from mlpdata.units import CONSTANTS, F64

logger = logging.getLogger(__name__)

VOLUME_CHANGE = 0.05
"""Past it the plane waves of the first cell are those of another cutoff: stress and energy drift with the volume."""


class Unread(NamedTuple):
    """A further file of a run that could not be read; the run was read from the others."""

    output: Output
    error: InputError

    def __str__(self) -> str:
        line = f":{self.error.line}" if self.error.line else ""
        return f"{self.output.path.name}{line}, of the same run, could not be read: {self.error.message}"

    @property
    def sources(self) -> tuple[Source, ...]:
        """The file and its companions, for the record of the run: as long as these are the same, nothing is read again.

        A file that was not there for the moment must not be among them, so that it is tried again.
        """
        output, version = self.output, reader_version(self.output.reader) or 0
        held: list[tuple[str, str, int, Literal["unread", "companion"]]] = [
            (output.name, output.sha256, output.size, "unread"),
            *((_beside(output, one.path), one.sha256, one.size, "companion") for one in output.companions),
        ]
        return tuple(
            Source(path=path, sha256=sha256, bytes=size, reader=output.reader, reader_version=version, role=role)
            for path, sha256, size, role in held
        )


CONFLICT = "conflict: "
"""Begins a warning that what is declared contradicts the output."""
Event = Frames | Calculation | Unread
"""Frames of a run in order, then its Calculation, which closes it; last the files that could not be read."""
APART = 7.0
"""An atom nearer to its own images is no isolated one but a crystal's: neighbours in caesium are 5.3 apart [angstrom]."""
FEW_ATOMS = 4096
"""Blocks of fewer atoms are joined: what is asked of a block costs the same for one configuration and for many."""


def read_output(output: Output, lost: Sequence[Unread] = ()) -> Iterator[Event]:
    """The runs of an output, gates applied: what must be rejected is left out with its line and reason.

    Further files of the same run add what they print beyond the first one; a file that turns out to be of another run
    gives a calculation of its own.

    Args:
        output: a file, and the further ones of its run.
        lost: files of the run that could not be read.

    Raises:
        InputError: nothing could be read.
    """
    beside, unread = _read_beside(output.others)
    try:
        yield from _read(output, beside, [*lost, *unread])
    except InputError as error:
        if not beside or any(one.n_agreeing for _, runs in beside for one in runs):
            raise
        # nothing of it was given out: the next file of the run takes its place
        (first, _), *others = beside
        following = replace(first, others=tuple(other for other, _ in others))
        yield from read_output(following, [*lost, *unread, Unread(output, error)])
        return
    yield from (*lost, *unread)
    for other, runs in beside:
        if not all(one.agrees for one in runs):
            yield from read_output(replace(other, others=(), run=""))


_Besides = list[tuple[Output, list[Beside]]]


def _read_beside(others: Iterable[Output]) -> tuple[_Besides, list[Unread]]:
    """The runs of further files, whole, and those files that cannot be read."""
    beside: _Besides = []
    unread: list[Unread] = []
    for other in others:
        try:
            with open_run(other.path, declared=other.sidecar.of_numbers, likely=other.reader) as opened:
                items = [item for item in opened.items() if isinstance(item, Header | Frames | Ending)]
                beside.append((other, joining.beside(_sources(other, opened), items)))
        except InputError as error:
            unread.append(Unread(other, error))
    return beside, unread


def _read(output: Output, beside: _Besides, unread: Sequence[Unread]) -> Iterator[Event]:
    """The runs of the first file, each joined with its counterpart in the other files."""
    with open_run(output.path, declared=output.sidecar.of_numbers, likely=output.reader) as opened:
        run: _Run | None = None
        number = 0
        for item in _in_larger_blocks(opened.items()):
            if isinstance(item, Header):
                number += 1
                partners = [runs[number - 1] for _, runs in beside if len(runs) >= number]
                run = _Run(item, opened, output, number, partners)
            elif isinstance(item, Undeclared):
                raise _without_units(item, output)
            elif run is not None and isinstance(item, Frames):
                yield from run.passed(run.joined(item))
            elif run is not None and isinstance(item, Ending):
                for rest in run.rests():
                    yield from run.passed(rest)
                yield run.closed(item, unread)
                run = None


def _in_larger_blocks(items: Iterable[object]) -> Iterator[object]:
    """The items of a file, small blocks that follow each other joined into one."""
    for are_frames, alike in groupby(items, lambda item: isinstance(item, Frames)):
        if are_frames:
            sized = ((len(frames.atomic_numbers), frames) for frames in cast("Iterator[Frames]", alike))
            yield from map(concatenate, by_block(sized, FEW_ATOMS))
        else:
            yield from alike


def _sources(output: Output, opened: Opened) -> tuple[Source, ...]:
    """A file and its companions as they were read."""
    return tuple(
        Source(
            path=output.name if file is opened.input else _beside(output, file.path),
            sha256=file.sha256,
            bytes=file.stored_bytes,
            reader=opened.reader.name,
            reader_version=opened.reader.version,
            role="output" if file is opened.input else "companion",
        )
        for file in (opened.input, *opened.input.companions)
    )


def _beside(output: Output, companion: Place) -> str:
    """Root-relative name of a companion of an output."""
    if isinstance(companion, Member):
        inside = output.path.path if isinstance(output.path, Member) else ""
        return output.name.removesuffix(inside) + companion.path
    way = os.path.relpath(companion, Path(str(output.path)).parent)
    return posixpath.normpath(posixpath.join(posixpath.dirname(output.name), Path(way).as_posix()))


def _without_units(found: Undeclared, output: Output) -> UnitsUnknown:
    """What to say of numbers without units, and of the names that the file gives them."""
    labels = ", ".join(f"{name} as {key!r}" for name, key in found.keys.items()) or "no labels"
    return UnitsUnknown(
        f"expected numbers with units, found a file that states none ({labels}). "
        "Say what they are: --units energy=eV,length=angstrom, or units: in mlpdata.yaml beside the file.",
        path=str(output.path),
    )


class _Run:
    """One run while it is read."""

    def __init__(self, header: Header, opened: Opened, output: Output, number: int, partners: Sequence[Beside]) -> None:
        self.header, self.output, self.partners = header, output, partners
        self.name = output.name if number == 1 else f"{output.name}#{number}"
        self.run = output.run if number == 1 or not output.run else f"{output.run}#{number}"
        self.sources = _sources(output, opened)
        self.left_out: list[LeftOut] = []
        self.gates = Gatekeeper(Circumstances.of(header.method, header.forces_are, header.energy_kind))
        self.forces_seen = False
        self.notes: list[str] = []
        self.cell: F64 | None = None
        self.volume_change = 0.0
        self.few: Kind | None = None
        self.ends = Ends()

    def joined(self, frames: Frames) -> Frames:
        """Configurations of the first file with what the others print beyond it."""
        for partner in self.partners:
            frames = partner.add_to(frames)
        return frames

    def rests(self) -> Iterator[Frames]:
        """Configurations that only a further file of the run has."""
        place = len(self.sources)
        for partner in self._agreeing():
            rest = partner.rest(place)
            place += len(partner.sources)
            if rest is not None:
                lines = f"{len(rest)} configurations come from {PurePosixPath(partner.sources[0].path).name}"
                self.notes.append(f"{lines}: {PurePosixPath(self.name).name} lacks them")
                yield rest

    def _agreeing(self) -> list[Beside]:
        return [partner for partner in self.partners if partner.agrees]

    def passed(self, frames: Frames) -> Iterator[Frames]:
        """The configurations that no gate rejects."""
        if self.output.image is not None and "image" not in frames:
            frames = frames.with_arrays(image=np.full(len(frames), self.output.image))
        self.forces_seen |= "forces" in frames and not bool(np.isnan(frames.forces).all())
        if self.cell is None and len(frames):
            self.cell = frames.cell[0]
        if self.header.basis_fixed_at and self.cell is not None:
            self.volume_change = max(self.volume_change, _volume_change(frames, self.cell))
        self.few = self.few or _of_few_atoms(frames)
        labelled = _labelled(frames)
        self.left_out += [
            LeftOut(line=max(0, int(line)), reason="expected an energy, forces or a Hessian, found a bare geometry.")
            for line in frames.get("source_line")[~labelled]
        ]
        kept, rejected = self.gates.admit(frames if labelled.all() else frames.select(labelled))
        self.left_out += rejected
        if len(kept):
            self.ends.add(kept)
            yield kept

    def closed(self, ending: Ending, unread: Sequence[Unread]) -> Calculation:
        """The record of the run."""
        sidecar, partners = self.output.sidecar, self._agreeing()
        remarks = self.gates.remarks()
        for mistake in (one for one in remarks if one.startswith(MISTAKEN)):
            logger.warning("%s: %s", self.name, mistake)
        if self.volume_change > VOLUME_CHANGE:
            self.notes.append(
                f"the volume changed by {self.volume_change:.1%} and the plane waves are those of the first cell: "
                "energies and stress are not those of the stated cutoff."
            )
        status, reason = _joint_status(ending, partners)
        starts = np.cumsum([len(self.sources), *(len(partner.sources) for partner in partners)])
        others = [
            replace(entry, source=int(start))
            for start, partner in zip(starts, partners, strict=False)
            for entry in partner.ending.ledger
        ]
        calculation = Calculation(
            path=self.name,
            identity=self.header.identity,
            sources=(
                *self.sources,
                *(source for partner in partners for source in partner.sources),
                *(source for one in unread if not isinstance(one.error, Unavailable) for source in one.sources),
            ),
            run=self.run,
            method=functools.reduce(joining.completed, (one.header.method for one in partners), self.header.method),
            status=status,
            status_reason=reason,
            run_kind=self.header.run_kind,
            kind=sidecar.kind or self._kind(),
            image_of=self.output.group,
            energy_kind=self.header.energy_kind,
            forces_are=self._forces_are(),
            temperature_target=sidecar.temperature or self.header.temperature_target,
            kpoint_spacing=_spacing(self.header.method.kpoints, self.cell),
            license=sidecar.license,
            citation=sidecar.citation,
            tags=self.output.tags,
            declared=sidecar.declared(),
            rests_on=dict(self.output.rests_on),
            basis_fixed_at=self.header.basis_fixed_at,
            ledger=(*ending.ledger, *others),
            constants=CONSTANTS,
            left_out=(*ending.left_out, *self.left_out),
            warnings=(
                *ending.warnings,
                *map(str, unread),
                *self.notes,
                *self._contradictions(),
                *remarks,
            ),
        )
        grouped = calculation.model_copy(
            update={"group": _group(calculation, self.output), "system": sidecar.system or ""}
        )
        return self.ends.told(grouped)

    def _contradictions(self) -> Iterator[str]:
        """Where what is declared is not what the output prints."""
        header, sidecar = self.header, self.output.sidecar
        for conflict in against_output(self.name, Said(sidecar), header.run_kind, header.temperature_target):
            yield (
                f"{CONFLICT}{conflict.field} is declared as {conflict.winner.value}, "
                f"while the output says {conflict.loser.value}."
            )

    def _forces_are(self) -> ForcesAre:
        return self.header.forces_are if self.forces_seen else "absent"

    def _kind(self) -> Kind:
        """What the run itself says; a relaxation's early steps are no equilibrium, so that one stays unknown."""
        if self.output.image is not None or self.header.run_kind in ("neb", "irc"):
            return "reaction_path"
        if self.header.run_kind == "md":
            return "aimd"
        return self.few or "unknown"


def _of_few_atoms(frames: Frames) -> Kind:
    """What the first of some configurations is by its number of atoms alone."""
    periodic = frames.pbc[0].astype(bool)
    if frames.n_atoms[0] == 2 and not periodic.any():
        return "dimer"
    return "isolated_atom" if frames.n_atoms[0] == 1 and _period(frames.cell[0][periodic]) > APART else "unknown"


def _period(vectors: F64) -> float:
    """How far an atom is from its nearest image [angstrom].

    Args:
        vectors: of the lattice along which there are images, shape (n, 3).
    """
    steps = np.array(list(product(range(-2, 3), repeat=len(vectors))))
    lengths = np.linalg.norm(steps @ vectors, axis=1)[steps.any(axis=1)]
    return float(lengths.min(initial=np.inf))


def _labelled(frames: Frames) -> NDArray[np.bool_]:
    """Which configurations have an energy, forces or a Hessian, shape (n_configurations,)."""
    labelled: NDArray[np.bool_] = ~np.isnan(frames.energy)
    if "forces" in frames:
        labelled[frames.configuration_of_atom[~np.isnan(frames.forces[:, 0])]] = True
    if "hessian" in frames:
        pairs = np.repeat(np.arange(len(frames)), frames.n_atoms**2)
        labelled[pairs[~np.isnan(frames.get("hessian")[:, 0, 0])]] = True
    return labelled


def _volume_change(frames: Frames, cell: F64) -> float:
    """Largest relative difference of the volumes of configurations from that of `cell`."""
    volume = float(np.abs(np.linalg.det(cell)))
    return float(np.nanmax(np.abs(frames.volume / volume - 1), initial=0.0)) if volume > 0 else 0.0


def _spacing(kpoints: Kpoints | None, cell: F64 | None) -> float | None:
    """Largest distance of neighbouring points of a mesh in a cell [1/angstrom]."""
    if kpoints is None or kpoints.mesh is None or cell is None or np.isnan(cell).any() or not np.linalg.det(cell):
        return None
    lengths = 2 * np.pi * np.linalg.norm(np.linalg.inv(cell), axis=0)
    return float((lengths / np.maximum(kpoints.mesh, 1)).max())


def _joint_status(ending: Ending, partners: Sequence[Beside]) -> tuple[Status, str]:
    """Status of a run: one of its files may be cut while another holds the program's own end mark."""
    if ending.status == "truncated":
        for partner in partners:
            if partner.ending.status != "truncated":
                return partner.ending.status, partner.ending.reason
    return ending.status, ending.reason


def _group(calculation: Calculation, output: Output) -> str:
    """The name under which splits keep configurations together: the run, its folder or path, or what the sidecar says."""
    rule = output.sidecar.group or output.group or "file"
    if rule == "file":
        return f"{calculation.path} {calculation.id[:8]}"
    return str(PurePosixPath(calculation.path).parent) if rule == "folder" else rule
