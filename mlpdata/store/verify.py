"""Verify a store: read every byte that a snapshot names, and work out again what can be worked out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mlpdata import digest
from mlpdata.errors import MlpdataError, NewerSchema, NotFound
from mlpdata.schema.records import Amendment, Snapshot
from mlpdata.store import layout, tables
from mlpdata.store.amendments import Amendments, StoredCalculations, read_amendments
from mlpdata.store.columns import ids_of
from mlpdata.store.commit import Repository
from mlpdata.store.index import CalculationIndex, IdIndex, Kept
from mlpdata.store.layout import FileRecord, Segment
from mlpdata.store.mapping import Mapped
from mlpdata.store.rebase import effective_kept
from mlpdata.store.segment import read_segment

BATCH = 8192
"""Configurations whose ids are worked out at a time."""


@dataclass(frozen=True)
class Fault:
    """One thing that is not as it was written."""

    path: str
    """The file."""
    what: str
    """Expected, found."""


@dataclass
class VerifyReport:
    """What `verify` read and what it found."""

    faults: list[Fault] = field(default_factory=list)
    """Empty for a store that is well."""
    n_snapshots: int = 0
    n_segments: int = 0
    n_amendments: int = 0
    n_files: int = 0
    n_bytes: int = 0

    @property
    def ok(self) -> bool:
        """Whether there is no fault."""
        return not self.faults

    def as_json(self) -> dict[str, Any]:
        """The report as JSON values."""
        return {
            "ok": self.ok,
            "faults": [{"path": fault.path, "what": fault.what} for fault in self.faults],
            "n_snapshots": self.n_snapshots,
            "n_segments": self.n_segments,
            "n_amendments": self.n_amendments,
            "n_files": self.n_files,
            "n_bytes": self.n_bytes,
        }


def verify(path: Path | str, *, quick: bool = False) -> VerifyReport:
    """Verify the store at `path`.

    Args:
        path: folder of the store.
        quick: sizes, records, tags and shard indices only; bytes of arrays and tables are not read.

    Raises:
        NotFound: there is no store.
        NewerSchema: a newer mlpdata wrote it.
    """
    return _Verification(Path(path), quick=quick).run()


class _Verification:
    """One walk over a store; a fault is noted and the walk goes on."""

    def __init__(self, store: Path, *, quick: bool) -> None:
        self.store = store
        self.quick = quick
        self.report = VerifyReport()
        self.kept: dict[str, list[Kept]] = {}
        self.damaged: set[str] = set()
        """Segments of which nothing can be said."""
        self.amendments: dict[str, list[tuple[str, Amendment]]] = {}
        self.opened: dict[str, StoredCalculations] = {}

    def run(self) -> VerifyReport:
        snapshots = self.snapshots()
        for name in dict.fromkeys(name for snapshot in snapshots for name in snapshot.segments):
            self.report.n_segments += 1
            self.damaged.add(name)
            with self.noting(layout.segment_folder(self.store, name)):
                self.kept[name] = self.segment(name)
                self.damaged.remove(name)
        for name in dict.fromkeys(name for snapshot in snapshots for name in snapshot.amendments):
            self.report.n_amendments += 1
            with self.noting(layout.amendment_file(self.store, name)):
                self.amendments[name] = read_amendments(self.store, name)
                self.amendment(name)
        for snapshot in snapshots:
            self.totals(snapshot)
        return self.report

    @contextmanager
    def noting(self, path: Path) -> Iterator[None]:
        """What is raised inside becomes a fault of `path`."""
        try:
            yield
        except (NotFound, NewerSchema):
            raise
        except MlpdataError as error:
            self.fault(error.path or path, error.message)
        except (OSError, ValueError, KeyError) as error:
            self.fault(path, f"expected what was written, found: {error}.")

    def fault(self, path: str | Path, what: str) -> None:
        self.report.faults.append(Fault(str(path), what))

    def snapshots(self) -> list[Snapshot]:
        """All snapshots that HEAD, the tags and their parents name."""
        repository = Repository(self.store)
        waiting: list[str] = []
        with self.noting(self.store / layout.HEAD):
            head = Repository.open(self.store).head()
            waiting += [head.id] if head is not None else []
        with self.noting(self.store / layout.REFS):
            waiting += repository.tags().values()
        found: dict[str, Snapshot] = {}
        while waiting:
            name = waiting.pop()
            path = layout.snapshot_file(self.store, name)
            if name not in found:
                with self.noting(path):
                    found[name] = repository.read(name)
                    waiting += found[name].parents
                    self.count(path)
        self.report.n_snapshots = len(found)
        return list(found.values())

    def count(self, path: Path) -> None:
        self.report.n_files += 1
        self.report.n_bytes += path.stat().st_size

    def segment(self, name: str) -> list[Kept]:
        """Every file of one segment, then what its rows say of themselves."""
        folder = layout.segment_folder(self.store, name)
        segment = read_segment(self.store, name)
        self.count(folder / layout.SEGMENT_RECORD)
        before = len(self.report.faults)
        files = {f"{layout.ARRAYS}/{place}": file for place, file in segment.arrays.files.items()} | segment.files
        for place, file in files.items():
            with self.noting(folder / place):
                self.file(folder / place, file)
        self.strangers(folder, {*files, layout.SEGMENT_RECORD})
        kept = list(CalculationIndex(self.store, name, segment))
        with Mapped([(folder / layout.ARRAYS, segment.arrays)]) as mapped:
            if not self.quick and len(self.report.faults) == before:
                self.rows(folder, segment, mapped, kept)
        return kept

    def file(self, path: Path, expected: FileRecord) -> None:
        """Size, and the digest of all bytes."""
        self.count(path)
        size = path.stat().st_size
        if size != expected.bytes:
            self.fault(path, f"expected {expected.bytes} bytes, found {size}.")
        elif not self.quick and digest.sha256_file(path) != expected.sha256:
            self.fault(
                path, f"expected sha256 {expected.sha256}, found another. The bytes changed since they were written."
            )

    def strangers(self, folder: Path, expected: Iterable[str]) -> None:
        """Files that no record names."""
        known = set(expected)
        for path in sorted(folder.rglob("*")):
            if not path.is_dir() and path.relative_to(folder).as_posix() not in known:
                self.fault(path, "expected no such file, found one. It is not part of the segment; remove it.")

    def rows(self, folder: Path, segment: Segment, mapped: Mapped, kept: list[Kept]) -> None:
        """Ids from the numbers themselves, against the index, the table and what each calculation adds to content."""
        mapped.check_counts()
        n = mapped.n_configurations
        parts = [mapped.frames(np.arange(at, min(at + BATCH, n))).ids() for at in range(0, n, BATCH)]
        ids = np.concatenate([np.empty((0, digest.ID_BYTES), np.uint8), *parts])
        if not np.array_equal(IdIndex(folder, segment).in_order(), ids):
            self.fault(folder / layout.IDS, "expected the ids of the rows, found others.")
        path = folder / "configurations.parquet"
        table = tables.read_table(path, layout.file_of(segment, path.name, path), ["id", "row"])
        if not np.array_equal(ids_of(table["id"]), ids[table["row"].to_numpy()]):
            self.fault(path, "expected the ids of the rows, found others.")
        for one in kept:
            if digest.shown(one.record, ids[one.first_row : one.first_row + one.n_configurations]) != one.content:
                self.fault(
                    folder / "calculations.parquet", f"expected the content of record {one.record}, found another."
                )
        if digest.content_id(sum(one.content for one in kept)) != segment.content:
            self.fault(
                folder / layout.SEGMENT_RECORD, "expected content to be that of its calculations, found another."
            )

    def amendment(self, name: str) -> None:
        """Each revision names a calculation that is there, and what it adds to content follows from it."""
        path = layout.amendment_file(self.store, name)
        self.count(path)
        for revision in (one for _, amendment in self.amendments[name] for one in amendment.changes):
            record = revision.calculation
            if revision.segment in self.damaged:
                continue  # it is named already
            stored = self.stored(revision.segment) if revision.segment in self.kept else None
            if stored is None or record not in stored:
                self.fault(path, f"expected a calculation of a snapshot, found no record {record}.")
            elif not self.quick and stored.content(revision) != revision.content:
                self.fault(path, f"expected the content of record {record} as amended, found another.")

    def stored(self, segment: str) -> StoredCalculations:
        """The calculations of a segment, opened once."""
        if segment not in self.opened:
            self.opened[segment] = StoredCalculations(self.store, segment)
        return self.opened[segment]

    def totals(self, snapshot: Snapshot) -> None:
        """What a snapshot says it shows."""
        if not (set(snapshot.segments) <= set(self.kept) and set(snapshot.amendments) <= set(self.amendments)):
            return  # the damaged segment or amendment is named already
        hidden = {(one.segment, one.calculation) for one in snapshot.retracted}
        present = Amendments(one for name in snapshot.amendments for one in self.amendments[name]).present
        kept = ((one.segment, one.record, one) for name in snapshot.segments for one in self.kept[name])
        shown = [
            effective_kept(one, present.get((segment, record)))
            for segment, record, one in kept
            if (segment, record) not in hidden
        ]
        path = layout.snapshot_file(self.store, snapshot.id)
        if digest.content_id(sum(one.content for one in shown)) != snapshot.content:
            self.fault(path, "expected content to be that of the calculations shown, found another.")
        counts = (len(shown), sum(one.n_configurations for one in shown))
        if counts != (snapshot.n_calculations, snapshot.n_configurations):
            self.fault(path, f"expected {counts} calculations and configurations, found other counts.")
