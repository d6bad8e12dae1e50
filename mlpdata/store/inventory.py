"""What a store should hold: all that its records name, and those records that cannot be read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlpdata import digest
from mlpdata.errors import CorruptError, MlpdataError, NewerSchema, NotFound
from mlpdata.schema.records import Amendment, Snapshot
from mlpdata.store import layout
from mlpdata.store.amendments import read_amendments
from mlpdata.store.commit import Repository
from mlpdata.store.keeper import keeper
from mlpdata.store.layout import FileRecord, Segment
from mlpdata.store.refs import named_id
from mlpdata.store.segment import read_segment
from mlpdata.store.state import is_there, stand_ins


@dataclass(frozen=True)
class Concerned:
    """A calculation that a fault touches."""

    path: str
    """Of the calculation, as it was stored."""
    segment: str
    record: str
    """Digest of its record as stored."""
    n_configurations: int
    """How many of its configurations are touched."""

    def as_json(self) -> dict[str, Any]:
        """The calculation as JSON values."""
        return dict(vars(self))


@dataclass(frozen=True)
class Fault:
    """One thing that is not as it was written."""

    path: str
    """The file."""
    what: str
    """Expected, found."""
    snapshots: tuple[str, ...] = ()
    """Those that need the file."""
    calculations: tuple[Concerned, ...] = ()
    """Those that cannot be read whole without it, as far as that can be told."""
    rows: tuple[tuple[int, int], ...] = ()
    """Their configurations that it touches: first row and end of each run of rows, in the arrays of the segment."""

    def as_json(self) -> dict[str, Any]:
        """The fault as JSON values."""
        calculations = [one.as_json() for one in self.calculations]
        return {**vars(self), "calculations": calculations, "snapshots": list(self.snapshots), "rows": list(self.rows)}


class Inventory:
    """The records of a store, from HEAD and the tags down; what cannot be read is a fault, and the walk goes on.

    Where HEAD or a snapshot cannot be read, the chain is broken: all snapshots that are there count then.

    Args:
        store: folder of the store.

    Raises:
        NotFound: there is no store.
        NewerSchema: a newer mlpdata wrote it.
    """

    def __init__(self, store: Path) -> None:
        self.store = store
        self._repository = Repository(store)
        self.faults: list[Fault] = []
        self.head: Snapshot | None = None
        """None before the first commit, and where it cannot be read."""
        self.tags: dict[str, str] = {}
        self.snapshots: dict[str, Snapshot] = {}
        self.segments: dict[str, Segment] = {}
        """Those in which the snapshots are read: one that is gone is replaced by the one that stands for it."""
        self.moved: dict[str, str] = {}
        """By segment that is gone: the one that replaced it."""
        self.amendments: dict[str, list[tuple[str, Amendment]]] = {}
        """By the name of the file: those in it with their ids."""
        self._read_names()
        self._read_snapshots()
        self._read_parts()
        self.given_up: frozenset[str] = frozenset(self.head.lost if self.head is not None else ())
        """Names of segments, amendments and snapshots that are known to be damaged for good."""

    def _read_names(self) -> None:
        if not keeper(self.store).exists(self.store / layout.HEAD) and not self._present():
            Repository.open(self.store)  # says that there is none
        with self.noting(self.store / layout.HEAD):
            self.head = self._repository.head()
        folder, keep = self.store / layout.REFS, keeper(self.store)
        for name in keep.names(folder):
            if not name.endswith(".tmp"):
                with self.noting(folder / name):
                    self.tags[name] = named_id(keep.pointer(folder / name), folder / name)

    def _present(self) -> list[str]:
        """Names of the files of snapshots."""
        names = keeper(self.store).names(self.store / layout.SNAPSHOTS)
        found = [name.removesuffix(".json") for name in names if name.endswith(".json")]
        return [name for name in found if digest.is_hex(name)]

    def _read_snapshots(self) -> None:
        """What HEAD, the tags and their parents name; all that is there where one of these cannot be read."""
        self._walk([*([self.head.id] if self.head is not None else []), *self.tags.values()])
        if self.faults:
            for name in self._present():
                if name not in self.snapshots and self.is_well(name):
                    self._walk([name])

    def _walk(self, names: list[str]) -> None:
        unread = {fault.path for fault in self.faults}
        while names:
            name = names.pop()
            path = layout.snapshot_file(self.store, name)
            if name not in self.snapshots and str(path) not in unread:
                unread.add(str(path))
                with self.noting(path):
                    self.snapshots[name] = self._repository.read(name)
                    names += self.snapshots[name].parents

    def is_well(self, snapshot: str) -> bool:
        """Whether a snapshot can be read."""
        try:
            self._repository.read(snapshot)
        except CorruptError:
            return False
        return True

    def _read_parts(self) -> None:
        named = dict.fromkeys(name for one in self.snapshots.values() for name in one.segments)
        gone = [name for name in named if not is_there(self.store, name)]
        with self.noting(self.store / layout.SEGMENTS):
            self.moved = stand_ins(self.store, gone)
        for name in dict.fromkeys(self.moved.get(name, name) for name in named):
            with self.noting(layout.segment_folder(self.store, name)):
                self.segments[name] = read_segment(self.store, name)
        for name in dict.fromkeys(name for one in self.snapshots.values() for name in one.amendments):
            with self.noting(layout.amendment_file(self.store, name)):
                self.amendments[name] = read_amendments(self.store, name)

    @contextmanager
    def noting(self, path: Path) -> Iterator[None]:
        """What is raised inside becomes a fault of `path`."""
        try:
            yield
        except (NotFound, NewerSchema):
            raise
        except MlpdataError as error:
            self.note(error.path or path, error.message)
        except (OSError, ValueError, KeyError) as error:
            self.note(path, f"expected what was written, found: {error}.")

    def note(self, path: str | Path, what: str) -> None:
        """Add a fault, with the snapshots that need the file."""
        name = self.name_of(Path(path))
        is_snapshot = Path(path) == layout.snapshot_file(self.store, name)
        self.faults.append(Fault(str(path), what, (name,) if is_snapshot else self.needing(name)))

    def name_of(self, path: Path) -> str:
        """The segment, amendment or snapshot that a file of the store is or is a part of; else empty."""
        parts = path.relative_to(self.store).parts
        return parts[1].removesuffix(".json") if len(parts) > 1 and parts[0] != layout.REFS else ""

    def needing(self, name: str) -> tuple[str, ...]:
        """The snapshots that name a segment or an amendment."""
        names = {name, *(gone for gone, stand_in in self.moved.items() if stand_in == name)}
        return tuple(
            key for key, one in self.snapshots.items() if name in one.amendments or not names.isdisjoint(one.segments)
        )

    def ends(self) -> list[Snapshot]:
        """The snapshots that no other names as a parent, the newest first."""
        parents = {parent for one in self.snapshots.values() for parent in one.parents}
        ends = (one for name, one in self.snapshots.items() if name not in parents)
        return sorted(ends, key=lambda one: one.time, reverse=True)

    def known(self, fault: Fault) -> bool:
        """Whether a fault is of something that was given up."""
        return self.name_of(Path(fault.path)) in self.given_up


def files_of(segment: Segment) -> dict[str, FileRecord]:
    """All files of a segment but its record, by path relative to its folder."""
    arrays = {f"{layout.ARRAYS}/{place}": file for place, file in segment.arrays.files.items()}
    return {**arrays, **segment.files}
