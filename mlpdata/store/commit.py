"""A store that is written: stage, commit, the log of snapshots.

HEAD names the current snapshot, and replacing it by rename is the one point at which a commit happens. All before it
only adds files that no snapshot names yet; so a crash leaves the old version or the new one.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from mlpdata import digest, durable
from mlpdata.errors import CommitUncertain, CorruptError, NotFound, StoreError, UsageError
from mlpdata.schema.records import Amendment, Snapshot
from mlpdata.store import layout
from mlpdata.store.amendments import Amended, revisions
from mlpdata.store.layout import Segment
from mlpdata.store.rebase import Change, rebased
from mlpdata.store.segment import Kept, Writer, kept_calculations, read_segment
from mlpdata.store.snapshot import OpenSnapshot

EMPTY = "empty"
"""What HEAD says before the first commit."""
_TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_SHORTEST_PREFIX = 8


class Staged(NamedTuple):
    """What a writer brought, in its place in the store, though no snapshot names it yet."""

    segment: str | None
    """None where the store has all of it already."""
    wanted: Mapping[int, str]
    """What the commit shall show: what each calculation adds to content as stored, and its record."""


class Repository:
    """A store on disk; `create`, `open` or `open_or_create` make one.

    Args:
        path: folder of the store.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.work = layout.work_folder(path.absolute())
        self._kept: dict[str, list[Kept]] = {}

    @classmethod
    def create(cls, path: Path | str) -> Repository:
        """A new, empty store.

        Raises:
            StoreError: the folder holds something else, or the disk refused.
        """
        store = Path(path)
        parts = {layout.SNAPSHOTS, layout.SEGMENTS, layout.AMENDMENTS, layout.REFS, f"{layout.HEAD}.tmp"}
        if store.exists() and not store.is_dir():
            raise StoreError("expected a folder for the store, found a file. Choose another name.", path=store)
        found = {child.name for child in store.iterdir()} if store.is_dir() else set()
        if found - parts:
            raise StoreError("expected an empty folder, found files. Choose another folder for the store.", path=store)
        repository = cls(store)
        repository._refuse_missing_head()
        durable.make_folder(store)
        durable.refuse_network(store)
        repository._make_folders()
        durable.replace(store / layout.HEAD, f"{EMPTY}\n".encode())
        return repository

    @classmethod
    def open(cls, path: Path | str) -> Repository:
        """A store that exists.

        Raises:
            NotFound: there is none.
            NewerSchema: a newer mlpdata wrote it.
            CorruptError: HEAD or the snapshot that it names is damaged.
        """
        repository = cls(Path(path))
        if not (repository.path / layout.HEAD).exists():
            repository._refuse_missing_head()
            raise NotFound(
                "expected a store, found none. `mlpdata ingest` makes one; --store or MLPDATA_STORE names another.",
                path=repository.path,
            )
        repository.head()
        return repository

    @classmethod
    def open_or_create(cls, path: Path | str) -> Repository:
        """The store at `path`, made if there is none."""
        return cls.open(path) if (Path(path) / layout.HEAD).exists() else cls.create(path)

    def head(self) -> Snapshot | None:
        """The current snapshot; None before the first commit."""
        path = self.path / layout.HEAD
        try:
            name = path.read_bytes()
        except OSError as error:
            raise CorruptError(f"expected HEAD, found: {error.strerror}. Restore the file.", path=path) from error
        return None if name == f"{EMPTY}\n".encode() else self.read(_named(name, path))

    def read(self, snapshot: str) -> Snapshot:
        """The snapshot with the full id `snapshot`."""
        return layout.read_record(Snapshot, layout.snapshot_file(self.path, snapshot), snapshot)

    def log(self) -> Iterator[Snapshot]:
        """The snapshots that led to the current one, newest first."""
        head = self.head()
        waiting = [] if head is None else [(_backwards(head.time), head.id, head)]
        seen = {entry[1] for entry in waiting}
        while waiting:
            _, _, snapshot = heapq.heappop(waiting)
            yield snapshot
            for parent in snapshot.parents:
                if parent not in seen:
                    seen.add(parent)
                    record = self.read(parent)
                    heapq.heappush(waiting, (_backwards(record.time), parent, record))

    def snapshot(self, at: str | None = None) -> OpenSnapshot:
        """The current snapshot, or the one that `at` names, opened for reading.

        Args:
            at: a tag, an id, the first 8 or more digits of one, or an ISO date: the last snapshot up to then.

        Raises:
            NotFound: no such snapshot, or none at all yet.
        """
        record = self.head() if at is None else self._named_by(at)
        if record is None:
            raise NotFound("expected a snapshot, found an empty store. `mlpdata ingest` fills it.", path=self.path)
        return OpenSnapshot(self.path, record)

    def tag(self, name: str, at: str | None = None) -> Snapshot:
        """Let `name` stand for a snapshot.

        Raises:
            UsageError: not a name.
            NotFound: no such snapshot.
        """
        if not _TAG.fullmatch(name) or name.endswith(".tmp"):
            raise UsageError(f"expected letters, digits, '.', '_' and '-', found the tag {name!r}.")
        record = self.snapshot(at).record
        durable.make_folder(self.path / layout.REFS)
        durable.replace(self.path / layout.REFS / name, f"{record.id}\n".encode())
        return record

    def tags(self) -> dict[str, str]:
        """Snapshot ids by tag."""
        folder = self.path / layout.REFS
        files = sorted(folder.iterdir()) if folder.is_dir() else []
        return {path.name: _named(path.read_bytes(), path) for path in files if not path.name.endswith(".tmp")}

    @contextmanager
    def stage(self) -> Iterator[Writer]:
        """A writer for the calculations of one commit; its scratch files go when the block ends.

        Raises:
            StoreError: the disk refused.
        """
        durable.refuse_network(self.path)
        head = self.head()
        stored = {kept.content for segment in head.segments for kept in self._kept_of(segment)} if head else set()
        staging = self.work / "staging"
        durable.make_folder(staging)
        with durable.lock(self.work / "lock"):
            writer = Writer(staging, stored.__contains__)
        try:
            yield writer
        finally:
            writer.discard()

    def adopt(self, writer: Writer) -> Staged | None:
        """Finish what a writer staged and move it to its place, where `commit` and `pending` find it.

        Returns:
            What to give to them; None where the writer brought nothing.

        Raises:
            StoreError: the disk refused; nothing changed.
        """
        finished = writer.finish()
        wanted = dict(writer.wanted)
        if finished is not None:
            return Staged(self._in_its_place(*finished), wanted)
        return Staged(None, wanted) if wanted else None

    def pending(
        self,
        staged: Iterable[Staged] = (),
        *,
        retract: Iterable[tuple[str, str, str]] = (),
        restore: Iterable[tuple[str, str]] = (),
    ) -> OpenSnapshot:
        """The snapshot that such a `commit` would make now, opened for reading; nothing is written.

        Raises:
            NotFound: a calculation to retract or restore is not in the store.
        """
        change = _change(staged, retract, restore)
        snapshot, _ = rebased(self.path, self.head(), change, "", _now(), self._kept_of)
        return OpenSnapshot(self.path, snapshot)

    def commit(
        self,
        writer: Writer | None = None,
        *,
        staged: Iterable[Staged] = (),
        retract: Iterable[tuple[str, str, str]] = (),
        restore: Iterable[tuple[str, str]] = (),
        amend: Iterable[Amended] = (),
        by: str = "",
        why: str = "",
        message: str = "",
        time: str | None = None,
    ) -> Snapshot:
        """Make what was staged, retracted, restored and amended the current version, whole or not at all.

        Args:
            writer: from `stage`. A calculation that is stored already is shown again rather than stored twice.
            staged: from `adopt`, what further writers brought.
            retract: segment, record and reason of calculations to hide.
            restore: segment and record of calculations to show again.
            amend: stored calculations, also of what is staged, as they shall be shown. What changes nothing is
                dropped; of two writers that amend the same calculation the later one's attributes count.
            by: who amends.
            why: the reason.
            message: what the log says.
            time: ISO 8601, now by default.

        Returns:
            The new snapshot, or the current one where nothing changed.

        Raises:
            StoreError: the disk refused; nothing changed.
            CommitUncertain: the disk refused after HEAD was replaced.
            NotFound: a calculation to retract, to restore or to amend is not in the store.
            UsageError: an amendment of what is no attribute.
        """
        durable.refuse_network(self.path)
        mine = self.adopt(writer) if writer is not None else None
        change = _change([*staged, *([mine] if mine is not None else [])], retract, restore)
        change = change._replace(revisions=tuple(revisions(self.path, amend)), by=by, why=why)
        durable.make_folder(self.work)
        with durable.lock(self.work / "lock"):
            self._sweep()
            head = self.head()
            snapshot, amendment = rebased(self.path, head, change, message, time or _now(), self._kept_of)
            if head is not None and _what_is_shown(snapshot) == _what_is_shown(head):
                durable.sync_folder(self.path)  # whoever renamed onto HEAD may have died before this
                return head
            self._publish(snapshot, amendment)
        return snapshot

    def _kept_of(self, segment: str) -> list[Kept]:
        """The calculations of a segment, which never changes: read once."""
        if segment not in self._kept:
            self._kept[segment] = kept_calculations(self.path, segment)
        return self._kept[segment]

    def _in_its_place(self, segment: Segment, folder: Path) -> str:
        """Move a finished segment to its place; one from an attempt that died is taken as it is."""
        self._make_folders()
        target = layout.segment_folder(self.path, segment.id)
        if target.exists():
            read_segment(self.path, segment.id)
            durable.sync_folder(target.parent)
            return segment.id
        try:
            durable.rename(folder, target)
        except CommitUncertain as error:
            raise StoreError(
                "expected to sync the segment, found a disk error. Nothing changed.", path=target
            ) from error
        return segment.id

    def _publish(self, snapshot: Snapshot, amendment: Amendment | None) -> None:
        self._make_folders()
        try:
            if amendment is not None:
                durable.make_folder(self.path / layout.AMENDMENTS)
                file = layout.amendment_file(self.path, amendment.id)
                durable.replace(file, digest.canonical_json(amendment.as_json()))
            file = layout.snapshot_file(self.path, snapshot.id)
            durable.replace(file, digest.canonical_json(snapshot.as_json()))
        except CommitUncertain as error:
            raise StoreError(
                "expected to write the snapshot, found an error of the disk. Nothing changed.", path=error.path
            ) from error
        durable.replace(self.path / layout.HEAD, f"{snapshot.id}\n".encode())

    def _make_folders(self) -> None:
        for name in (layout.SNAPSHOTS, layout.SEGMENTS, layout.REFS):
            durable.make_folder(self.path / name)

    def _sweep(self) -> None:
        """Remove the staging folders of writers that died; a living one holds a lock on its folder."""
        staging = self.work / "staging"
        for folder in staging.iterdir() if staging.is_dir() else ():
            durable.remove_dead(folder)

    def _refuse_missing_head(self) -> None:
        snapshots = self.path / layout.SNAPSHOTS
        if snapshots.is_dir() and any(path.suffix == ".json" for path in snapshots.iterdir()):
            raise CorruptError(
                "expected HEAD beside the snapshots, found none. Restore it: it holds the id of the current snapshot.",
                path=self.path / layout.HEAD,
            )

    def _named_by(self, at: str) -> Snapshot:
        tag = self.path / layout.REFS / at
        if _TAG.fullmatch(at) and tag.is_file():
            return self.read(_named(tag.read_bytes(), tag))
        return self._by_prefix(at) or self._by_date(at)

    def _by_prefix(self, at: str) -> Snapshot | None:
        if not (_SHORTEST_PREFIX <= len(at) <= 64 and digest.is_hex(at, len(at))):
            return None
        folder = self.path / layout.SNAPSHOTS
        found = sorted(path.stem for path in folder.glob(f"{at}*.json")) if folder.is_dir() else []
        if len(found) > 1:
            raise NotFound(
                f"expected one snapshot, found {len(found)} that begin with {at}. Give more digits.", path=self.path
            )
        return self.read(found[0]) if found else None

    def _by_date(self, at: str) -> Snapshot:
        try:
            moment = datetime.fromisoformat(at)
        except ValueError:
            moment = None
        if moment is None:
            raise NotFound(
                f"expected a tag, at least 8 digits of an id, or a date such as 2026-01-31, found {at!r}. "
                "`mlpdata log` lists the snapshots.",
                path=self.path,
            )
        if re.fullmatch(r"\d{4}-?\d{2}-?\d{2}", at):
            moment += timedelta(days=1, microseconds=-1)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        for snapshot in self.log():
            if _moment(snapshot.time) <= moment:
                return snapshot
        raise NotFound(f"expected a snapshot of {at} or before, found none. `mlpdata log` lists them.", path=self.path)


def _change(
    staged: Iterable[Staged], retract: Iterable[tuple[str, str, str]], restore: Iterable[tuple[str, str]]
) -> Change:
    brought = list(staged)
    return Change(
        segments=tuple(one.segment for one in brought if one.segment is not None),
        wanted={content: record for one in brought for content, record in one.wanted.items()},
        retract=tuple(retract),
        restore=tuple(restore),
    )


def _what_is_shown(snapshot: Snapshot) -> tuple[object, ...]:
    return snapshot.segments, snapshot.retracted, snapshot.amendments


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _named(content: bytes, path: Path) -> str:
    """The snapshot id that HEAD or a tag holds."""
    name = content.decode("ascii", "replace")
    if not (name.endswith("\n") and digest.is_hex(name[:-1])):
        raise CorruptError("expected the id of a snapshot, found something else. Restore the file.", path=path)
    return name[:-1]


def _moment(time: str) -> datetime:
    moment = datetime.fromisoformat(time)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _backwards(time: str) -> float:
    return -_moment(time).timestamp()
