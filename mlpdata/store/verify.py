"""Verify a store: read every byte that a snapshot or a tag needs, and work out again what can be worked out."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mlpdata import digest
from mlpdata.errors import CorruptError, MlpdataError, NotFound, UsageError
from mlpdata.schema.records import Revision, Snapshot
from mlpdata.store import checked, layout, locate
from mlpdata.store.amendments import Amendments, StoredCalculations
from mlpdata.store.index import CalculationIndex, Kept
from mlpdata.store.inventory import Concerned, Fault, Inventory, files_of
from mlpdata.store.keeper import keeper, opened
from mlpdata.store.layout import FileRecord, Segment
from mlpdata.store.mapping import Mapped
from mlpdata.store.rebase import effective_kept, key_of
from mlpdata.store.rows import row_faults
from mlpdata.store.state import State

Progress = Callable[[int, int, str], None]
"""Called with MB done, MB in all, and the file at hand."""
MEGABYTE = 1_000_000
UNNEEDED = (layout.ZARR,)
"""Files that other readers need and ours do not: no configuration is out of reach without them."""

_CALCULATIONS = "calculations.parquet"


@dataclass
class VerifyReport:
    """What `verify` read and what it found."""

    faults: list[Fault] = field(default_factory=list)
    """Empty for a store that is well."""
    lost: list[Fault] = field(default_factory=list)
    """Faults of what was found damaged before and given up: no current snapshot needs it."""
    n_snapshots: int = 0
    n_segments: int = 0
    n_amendments: int = 0
    n_files: int = 0
    """Files that were looked at."""
    n_bytes: int = 0
    """Their size."""
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether there is no fault."""
        return not self.faults

    def as_json(self) -> dict[str, Any]:
        """The report as JSON values."""
        faults = {name: [one.as_json() for one in getattr(self, name)] for name in ("faults", "lost")}
        return {"ok": self.ok, **vars(self), **faults}


class Part(NamedTuple):
    """The share of the files that one of several runs looks at."""

    number: int
    """From 1."""
    of: int

    def has(self, name: str) -> bool:
        """Whether a file belongs to it; its name alone decides, so that a store that grows moves nothing."""
        return int(digest.sha256(name.encode())[:12], 16) % self.of == self.number - 1


WHOLE = Part(1, 1)


def part_named(text: str) -> Part:
    """The part that `2/7` names.

    Raises:
        UsageError: something else.
    """
    number, slash, of = text.partition("/")
    if not (slash and number.isascii() and of.isascii() and number.isdecimal() and of.isdecimal()):
        raise UsageError(f"expected a part such as 2/7, found {text!r}.")
    part = Part(int(number), int(of))
    if not 1 <= part.number <= part.of:
        raise UsageError(f"expected a part from 1/{part.of} to {part.of}/{part.of}, found {text!r}.")
    return part


def verify(
    path: Path | str, *, quick: bool = False, part: Part = WHOLE, progress: Progress | None = None
) -> VerifyReport:
    """Verify the store at `path`.

    Args:
        path: folder of the store.
        quick: records, names, sizes and shard indices only; bytes of arrays and tables are not read.
        part: of the files of segments those that are read; records are always read.
        progress: called before each file.

    Raises:
        NotFound: there is no store.
        NewerSchema: a newer mlpdata wrote it.
    """
    started = time.perf_counter()
    store = opened(path)
    keeper(store).forget()
    report = _Verification(Inventory(store), quick, part, progress).run()
    report.seconds = round(time.perf_counter() - started, 3)
    return report


class _Verification:
    """One walk over a store; a fault is noted and the walk goes on."""

    def __init__(self, inventory: Inventory, quick: bool, part: Part, progress: Progress | None) -> None:
        self.inventory, self.store = inventory, inventory.store
        self.quick, self.part, self.progress = quick, part, progress
        self.report = VerifyReport()
        self.faults: list[Fault] = list(inventory.faults)
        self.kept: dict[str, list[Kept]] = {}
        """The calculations of the segments whose table of them is well."""
        self.n_due = 0

    def run(self) -> VerifyReport:
        inventory, report = self.inventory, self.report
        report.n_snapshots, report.n_amendments = len(inventory.snapshots), len(inventory.amendments)
        report.n_segments = len(
            {inventory.moved.get(name, name) for one in inventory.snapshots.values() for name in one.segments}
        )
        self.records()
        self.n_due = sum(file.bytes for one in inventory.segments.values() for file in files_of(one).values())
        for name, segment in inventory.segments.items():
            self.segment(name, segment)
        for name in inventory.amendments:
            self.amendment(name)
        for snapshot in inventory.snapshots.values():
            self.totals(snapshot)
        for fault in self.faults:
            (report.lost if inventory.known(fault) else report.faults).append(fault)
        return report

    def records(self) -> None:
        """Count the records, which were read."""
        inventory = self.inventory
        for path in (
            *(layout.snapshot_file(self.store, name) for name in inventory.snapshots),
            *(layout.amendment_file(self.store, name) for name in inventory.amendments),
            *(layout.segment_folder(self.store, name) / layout.SEGMENT_RECORD for name in inventory.segments),
        ):
            self.count(keeper(path).size(path))

    def count(self, size: int) -> None:
        self.report.n_files += 1
        self.report.n_bytes += size

    @contextmanager
    def noting(self, path: Path, name: str) -> Iterator[None]:
        """What is raised inside becomes a fault of `path`, a file of the segment or amendment `name`."""
        try:
            yield
        except MlpdataError as error:
            self.fault(error.path or path, error.message, name)
        except (OSError, ValueError, KeyError) as error:
            self.fault(path, f"expected what was written, found: {error}.", name)

    def fault(self, path: str | Path, what: str, name: str) -> None:
        self.faults.append(Fault(str(path), what, self.inventory.needing(name)))

    def segment(self, name: str, segment: Segment) -> None:
        """Every file of one segment, then what its rows say of themselves."""
        folder, files, before = layout.segment_folder(self.store, name), files_of(segment), len(self.faults)
        for place, file in files.items():
            with self.noting(folder / place, name):
                self.file(name, folder / place, file)
        index = layout.CALCULATIONS if layout.CALCULATIONS in files else _CALCULATIONS
        if not any(Path(fault.path).name == index for fault in self.faults[before:]):
            with self.noting(folder / index, name):
                self.kept[name] = list(CalculationIndex(self.store, name, segment))
        if len(self.faults) == before:
            with self.noting(folder, name):
                self.rows(folder, name, segment)
        self.faults[before:] = [self.located(fault, folder, name, segment) for fault in self.faults[before:]]
        self.strangers(folder, {*files, layout.SEGMENT_RECORD})

    def file(self, name: str, path: Path, expected: FileRecord) -> None:
        """Size, and the digest of all bytes."""
        place = path.relative_to(self.store).as_posix()
        if self.progress:
            self.progress(self.report.n_bytes // MEGABYTE, self.n_due // MEGABYTE, place)
        size = keeper(path).size(path)
        if size != expected.bytes:
            self.fault(path, f"expected {expected.bytes} bytes, found {size}.", name)
        if self.quick or not self.part.has(place):
            self.count(0)
            return
        self.count(size)
        if size == expected.bytes and keeper(path).sha256(path) != expected.sha256:
            found = "found another. The bytes changed since they were written."
            self.fault(path, f"expected sha256 {expected.sha256}, {found}", name)

    def rows(self, folder: Path, name: str, segment: Segment) -> None:
        """Shard indices and counts; ids, contents and columns, unless this run is quick or of another part."""
        Mapped([(folder / layout.ARRAYS, segment.arrays)]).close()
        if not self.quick and self.part.has(f"{folder.relative_to(self.store).as_posix()}/rows"):
            for place, what in row_faults(folder, segment, self.kept[name]):
                self.fault(folder / place, what, name)

    def strangers(self, folder: Path, known: set[str]) -> None:
        """Files that no record names; they concern nothing."""
        for path in keeper(folder).files(folder):
            if path.relative_to(folder).as_posix() not in known:
                what = "expected no such file, found one. It is not part of the segment; remove it."
                self.faults.append(Fault(str(path), what))

    def located(self, fault: Fault, folder: Path, name: str, segment: Segment) -> Fault:
        """The fault with the configurations and calculations under the bytes that changed."""
        mask = concerned_rows(Path(fault.path), folder, segment)
        kept = self.kept.get(name, [])
        counts = locate.within(mask, [one.first_row for one in kept], [one.n_configurations for one in kept])
        some = {one.record: count for one, count in zip(kept, counts, strict=True) if count}
        paths = self.paths(folder, segment, list(some))
        calculations = tuple(Concerned(paths.get(record, ""), name, record, count) for record, count in some.items())
        return replace(fault, rows=locate.runs(mask), calculations=calculations)

    def paths(self, folder: Path, segment: Segment, records: list[str]) -> dict[str, str]:
        """Paths of calculations by their record."""
        if not records:
            return {}
        file = folder / _CALCULATIONS
        columns = ["calculation_record", "path"]
        try:
            table = checked.read_table(file, layout.file_of(segment, file.name, file), columns)
        except CorruptError:  # it is named already
            return {}
        wanted = set(records)
        rows = zip(*(table[name].to_pylist() for name in columns), strict=True)
        return {record: path for record, path in rows if record in wanted}

    def amendment(self, name: str) -> None:
        """Each revision names a calculation that is there, and what it adds to content follows from it."""
        path = layout.amendment_file(self.store, name)
        with self.noting(path, name):
            records = self.inventory.amendments[name]
            changes = sorted((one for _, record in records for one in record.changes), key=lambda one: one.segment)
            for segment, some in itertools.groupby(changes, key=lambda one: one.segment):
                if segment in self.kept:
                    self.revisions(path, name, segment, list(some))
                elif self.inventory.needing(segment) == ():
                    self.fault(path, f"expected a calculation of a snapshot, found no segment {segment}.", name)

    def revisions(self, path: Path, name: str, segment: str, some: list[Revision]) -> None:
        """The revisions of one segment; with its rows those that need them."""
        present = {one.record for one in self.kept[segment]}
        for revision in some:
            if revision.calculation not in present:
                self.fault(path, f"expected a calculation of a snapshot, found no record {revision.calculation}.", name)
        if self.quick or not self.part.has(path.relative_to(self.store).as_posix()) or self.is_damaged(segment):
            return
        stored = StoredCalculations(self.store, segment)
        for revision in some:
            if revision.calculation in present and stored.content(revision) != revision.content:
                what = f"expected the content of record {revision.calculation} as amended, found another."
                self.fault(path, what, name)

    def is_damaged(self, segment: str) -> bool:
        """Whether something of a segment is named already."""
        folder = layout.segment_folder(self.store, segment)
        return any(Path(fault.path).is_relative_to(folder) for fault in self.faults)

    def totals(self, snapshot: Snapshot) -> None:
        """What a snapshot says it shows."""
        inventory = self.inventory
        segments = {inventory.moved.get(name, name) for name in snapshot.segments}
        if not (segments <= set(self.kept) and set(snapshot.amendments) <= set(inventory.amendments)):
            return  # the damaged segment or amendment is named already
        try:
            state = State(self.store, snapshot)
        except NotFound:  # a part of it was purged
            return
        records = (one for name in snapshot.amendments for one in inventory.amendments[name])
        present = state.placed(Amendments(records)).present
        kept = (one for name in state.segments for one in self.kept[name])
        shown = [effective_kept(one, present.get(key_of(one))) for one in kept if key_of(one) not in state.hidden]
        path = layout.snapshot_file(self.store, snapshot.id)
        if digest.content_id(sum(one.content for one in shown)) != snapshot.content:
            what = "expected content to be that of the calculations shown, found another."
            self.faults.append(Fault(str(path), what, (snapshot.id,)))
        counts = (len(shown), sum(one.n_configurations for one in shown))
        if counts != (snapshot.n_calculations, snapshot.n_configurations):
            what = f"expected {counts} calculations and configurations, found other counts."
            self.faults.append(Fault(str(path), what, (snapshot.id,)))


def concerned_rows(path: Path, folder: Path, segment: Segment) -> locate.Mask:
    """The configurations that a damaged file of a segment concerns: for a shard those under its changed blocks."""
    n, group = segment.arrays.n_configurations, folder / layout.ARRAYS
    if path.name in UNNEEDED:
        return np.zeros(n, bool)
    place = path.relative_to(group).as_posix() if path.is_relative_to(group) else ""
    shard = locate.shards(segment.arrays).get(place)
    if shard is None or shard.name in layout.PLACES:
        return np.ones(n, bool)
    blocks = locate.changed_blocks(path, segment.arrays.files[place], shard.covered)
    try:
        return locate.touched(group, segment.arrays, shard, blocks)
    except CorruptError:  # the counts are damaged as well
        return np.ones(n, bool)
