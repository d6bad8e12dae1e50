"""Inspection: what a file holds, without a store, as one JSON object a file."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlpdata.elements import SYMBOLS, hill
from mlpdata.errors import MlpdataError, NotRecognised, UsageError
from mlpdata.frames import Frames
from mlpdata.readers.bundles import fetch
from mlpdata.readers.members import Entry, is_archive
from mlpdata.readers.place import Member, Place
from mlpdata.readers.registry import Ending, Header, Undeclared, Unplaced, open_run, recognise_file
from mlpdata.scan import Cache, Seen
from mlpdata.schema.properties import CONFIGURATION, NO, PROPERTIES
from mlpdata.schema.sidecar import Declared
from mlpdata.search import files_below
from mlpdata.tree import Folder, folders


def outputs_below(paths: Sequence[Path]) -> Iterator[Place]:
    """The files among `paths`; in a folder or an archive those that a reader knows.

    Args:
        paths: files, folders, archives, and members of archives as `show` names them: runs.tar.gz!a/OUTCAR.

    Raises:
        UsageError: a path that does not exist.
    """
    for path in paths:
        archive, member = path, ""
        if not path.exists():
            archive, member = _taken_apart(path)
        if archive.is_dir():
            for folder in folders(archive):
                yield from _in_folder(folder)
        elif is_archive(archive.name):
            yield from _in_archive(archive, member)
        else:
            yield archive


def _taken_apart(path: Path) -> tuple[Path, str]:
    """The archive and the path in it that a name such as runs.tar.gz!a/OUTCAR means.

    Raises:
        UsageError: it means nothing that is there.
    """
    text = str(path)
    for mark in re.finditer("!", text):
        archive = Path(text[: mark.start()])
        if is_archive(archive.name) and archive.is_file():
            return archive, text[mark.end() :]
    raise UsageError("expected a file or folder, found nothing there.", path=path)


def _in_folder(folder: Folder) -> Iterator[Place]:
    for entry in folder.entries:
        path = folder.path / entry.name
        if is_archive(entry.name):
            yield from _in_archive(path)
        elif _may_be_output(path):
            yield path


def _in_archive(archive: Path, member: str = "") -> Iterator[Place]:
    """The outputs of an archive with their bytes, or the one that is asked for; what keeps it from being whole as well.

    Raises:
        UsageError: it holds no such member.
    """
    bundles: dict[str, Sequence[Entry[Seen]]] = {}
    for file in files_below(archive, archive.absolute().parent, Cache(None), follow_links=False, passed_over=[]):
        if not file.member:
            yield Member(archive, "", b"", fault=file.seen.refusal().message)
        elif file.member == member or (not member and (file.seen.reader or file.seen.error)):
            bundles[file.member] = file.entries
    if member and not bundles:
        raise UsageError("expected a file in the archive, found none of this name.", path=f"{archive}!{member}")
    for _, (first, *_) in fetch(archive, bundles):
        yield first


def _may_be_output(file: Path) -> bool:
    """Whether a reader knows a file; one that cannot be opened is reported when it is inspected."""
    try:
        recognise_file(file)
    except NotRecognised:
        return False
    except MlpdataError:
        pass
    return True


def inspect_file(path: Place, declared: Declared | None = None) -> dict[str, Any]:
    """What `path` holds: method, counts, the first and the last frame. A file that cannot be read gives `error`.

    `first` and `last` are of the frames with forces, of all labelled frames where none has forces, of all frames where
    none is labelled. `units` says in which units the numbers are; null where the file states none and nobody declared
    any. Stress is positive in tension.
    """
    seen = _Seen()
    try:
        with open_run(path, declared=declared) as opened:
            seen.reader = opened.reader.name
            for item in opened.items():
                seen.take(item)
    except MlpdataError as error:
        return {**seen.as_json(str(path)), "error": error.as_json()}
    return seen.as_json(str(path))


class _Seen:
    """What has been seen of a file."""

    def __init__(self) -> None:
        self.reader: str | None = None
        self.headers: list[Header] = []
        self.endings: list[Ending] = []
        self.n_frames = self.n_labelled = self.n_with_forces = self.n_unconverged = 0
        self.forced: list[dict[str, Any]] = []
        self.labelled: list[dict[str, Any]] = []
        self.bare: list[dict[str, Any]] = []
        self.formula: str | None = None
        self.undeclared = False
        self.keys: dict[str, str] = {}

    def take(self, item: Header | Frames | Undeclared | Unplaced | Ending) -> None:
        """Note one item of a file."""
        if isinstance(item, Header):
            self.headers.append(item)
        elif isinstance(item, Ending):
            self.endings.append(item)
        elif isinstance(item, Undeclared):
            self.undeclared = True
            self.keys.update(item.keys)
            self._take_frames(Frames(item.n_atoms, item.arrays))
        elif isinstance(item, Unplaced):
            self._take_unplaced(item)
        else:
            self._take_frames(item)

    def _take_unplaced(self, labels: Unplaced) -> None:
        """Labels without a geometry: shown, though nothing can be stored of them."""
        frame = unplaced_json(labels)
        self.n_with_forces += frame["forces"] is not None
        for ends, there in ((self.forced, frame["forces"]), (self.labelled, frame["energy"])):
            if there is not None:
                ends[1:] = [frame]
                if len(ends) == 1:
                    ends.insert(0, frame)

    def _take_frames(self, frames: Frames) -> None:
        energies = ~np.isnan(frames.energy)
        forces = ~np.isnan(frames.forces[:, 0])[np.minimum(frames.atom_start[:-1], len(frames.forces) - 1)]
        self.n_frames += len(frames)
        self.n_labelled += int((energies | forces).sum())
        self.n_with_forces += int(forces.sum())
        self.n_unconverged += int((frames.get("scf_converged") == NO).sum())
        self.formula = self.formula or _formula(frames.atomic_numbers[: int(frames.n_atoms[0])])
        labelled = energies | forces
        for ends, which in ((self.forced, forces), (self.labelled, labelled), (self.bare, ~labelled)):
            if which.any():
                rows = np.flatnonzero(which)
                ends[1:] = [frame_json(frames, int(rows[-1]))]
                if len(ends) == 1:
                    ends.insert(0, frame_json(frames, int(rows[0])))

    def as_json(self, path: str) -> dict[str, Any]:
        """One object a file."""
        ends = self.forced or self.labelled or self.bare
        header = self.headers[0] if self.headers else None
        last = ends[-1] if ends else {}
        stated = {"atomic_numbers": list(header.atomic_numbers)} if header and header.atomic_numbers else {}
        return {
            "path": path,
            "error": None,
            "reader": self.reader,
            "n_runs": len(self.headers),
            "n_frames": self.n_frames,
            "n_labelled": self.n_labelled,
            "n_with_forces": self.n_with_forces,
            "n_unconverged": self.n_unconverged,
            "formula": self.formula,
            "units": {name: self._unit(name) for name in last if name in PROPERTIES and last[name] is not None},
            "keys": self.keys,
            "charge": last.get("charge") if last else header and header.charge,
            "multiplicity": last.get("multiplicity") if last else header and header.multiplicity,
            "run_kind": header.run_kind if header else None,
            "energy_kind": header.energy_kind if header else None,
            "forces_are": header.forces_are if header else None,
            "status": _worst([ending.status for ending in self.endings]),
            "reason": "; ".join(ending.reason for ending in self.endings if ending.reason),
            "method": header.method.as_json() if header else None,
            "left_out": [one.as_json() for ending in self.endings for one in ending.left_out],
            "warnings": [one for ending in self.endings for one in ending.warnings],
            "first": ends[0] if ends else stated or None,
            "last": ends[-1] if ends else stated or None,
        }

    def _unit(self, name: str) -> str | None:
        return None if self.undeclared and PROPERTIES[name].dimension else PROPERTIES[name].unit


def _worst(statuses: Sequence[str]) -> str | None:
    return next((status for status in ("failed", "truncated", "complete") if status in statuses), None)


def frame_json(frames: Frames, index: int) -> dict[str, Any]:
    """One configuration as JSON values; what is absent is null."""
    one = frames.select([index])
    values: dict[str, Any] = {}
    for name, row in PROPERTIES.items():
        array = one.get(name)
        value = array[0] if row.level == CONFIGURATION else array
        absent = (
            np.isnan(value).any()
            if array.dtype.kind == "f"
            else name not in one or (value.ndim == 0 and value == row.absent)
        )
        values[name] = None if absent else value.tolist()
    return {**values, "energies": _energies(values)}


def unplaced_json(labels: Unplaced) -> dict[str, Any]:
    """Labels without a geometry as JSON values."""
    values: dict[str, Any] = dict.fromkeys(PROPERTIES)
    for name, value in labels.arrays.items():
        row = PROPERTIES[name]
        shape = row.shape if row.level == CONFIGURATION else (labels.n_atoms, *row.shape)
        values[name] = value.values.reshape(shape).tolist()
    return {**values, "energies": _energies(values)}


def _energies(values: dict[str, Any]) -> dict[str, Any]:
    return {"free": values["energy"], "sigma0": values["energy_sigma0"], "no_entropy": values["energy_no_entropy"]}


def _formula(atomic_numbers: NDArray[np.uint8]) -> str:
    numbers, counts = np.unique(atomic_numbers, return_counts=True)
    return hill({SYMBOLS[number]: count for number, count in zip(numbers.tolist(), counts.tolist(), strict=True)})
