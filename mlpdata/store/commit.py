"""A store that is written: stage, commit, the log of snapshots.

HEAD names the current snapshot, and replacing it by rename is the one point at which a commit happens. All before it
only adds files that no snapshot names yet; so a crash leaves the old version or the new one.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from mlpdata import digest, durable
from mlpdata.errors import CommitUncertain, CorruptError, NotFound, StoreError
from mlpdata.schema.records import Amendment, AmendmentHistory, Snapshot
from mlpdata.store import layout, refs
from mlpdata.store.amendments import Amended, revisions
from mlpdata.store.index import CalculationIndex
from mlpdata.store.keeper import keeper, opened
from mlpdata.store.layout import Segment
from mlpdata.store.rebase import Change, rebased
from mlpdata.store.segment import Writer, read_segment
from mlpdata.store.snapshot import OpenSnapshot
from mlpdata.store.versions import Versions, said

Follow = Callable[[Snapshot | None], tuple[Snapshot, Amendment | AmendmentHistory | None]]
"""What comes after a snapshot, or after none."""


class Staged(NamedTuple):
    """What a writer brought, in its place in the store, though no snapshot names it yet."""

    segment: str | None
    """None where the store has all of it already."""
    wanted: Mapping[int, str]
    """What the commit shall show: what each calculation adds to content as stored, and its record."""


class Repository(Versions):
    """A store that can be written to; `create`, `open` or `open_or_create` make one.

    Args:
        path: folder of the store.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.work = layout.work_folder(path.absolute())
        self._indices: dict[str, CalculationIndex] = {}

    @classmethod
    def create(cls, path: Path | str) -> Repository:
        """A new, empty store.

        Raises:
            StoreError: the folder holds something else, or the disk refused.
        """
        store = opened(path)
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
        keeper(store).swap(store / layout.HEAD, None, said(None))
        return repository

    @classmethod
    def open(cls, path: Path | str) -> Repository:
        """A store that exists.

        Raises:
            NotFound: there is none.
            NewerSchema: a newer mlpdata wrote it.
            CorruptError: HEAD or the snapshot that it names is damaged.
        """
        repository = cls(opened(path))
        if not keeper(repository.path).exists(repository.path / layout.HEAD):
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
        store = opened(path)
        return cls.open(store) if keeper(store).exists(store / layout.HEAD) else cls.create(store)

    def tag(self, name: str, at: str | None = None, *, move: bool = False) -> Snapshot:
        """Let `name` stand for a snapshot.

        Args:
            name: letters, digits, '.', '_' and '-'.
            at: as `snapshot` takes it.
            move: a tag that stands for another snapshot is moved.

        Raises:
            UsageError: not a name, or a tag that stands for another snapshot.
            NotFound: no such snapshot.
        """
        record = self.snapshot(at).record
        with self._locked():
            refs.put_tag(self.path, name, record.id, move=move)
        return record

    def untag(self, name: str) -> str:
        """Forget a tag; the id of the snapshot that it stood for.

        Raises:
            NotFound: no such tag.
        """
        with self._locked():
            return refs.remove_tag(self.path, name)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """The store, held against other writers."""
        durable.refuse_network(self.path)
        durable.make_folder(self.work)
        with durable.lock(self.work / "lock"):
            yield

    @contextmanager
    def stage(self) -> Iterator[Writer]:
        """A writer for the calculations of one commit; its scratch files go when the block ends.

        Raises:
            StoreError: the disk refused.
        """
        durable.refuse_network(self.path)
        head = self.head()
        segments = head.segments if head is not None else ()
        staging = self.work / "staging"
        durable.make_folder(staging)
        with durable.lock(self.work / "lock"):
            writer = Writer(staging, lambda content: self._has(segments, content))
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
            return Staged(self.put_in_place(*finished), wanted)
        return Staged(None, wanted) if wanted else None

    def pending(
        self,
        staged: Iterable[Staged] = (),
        *,
        retract: Iterable[tuple[str, str, str]] = (),
        restore: Iterable[tuple[str, str]] = (),
        user: str = "",
    ) -> OpenSnapshot:
        """The snapshot that such a `commit` would make now, opened for reading; nothing is written.

        Raises:
            NotFound: a calculation to retract or restore is not in the store.
        """
        change = _change(staged, retract, restore, user)
        snapshot, _ = rebased(self.path, self.head(), change, "", now(), self.index_of)
        return OpenSnapshot(self.path, snapshot)

    def commit(
        self,
        writer: Writer | None = None,
        *,
        staged: Iterable[Staged] = (),
        retract: Iterable[tuple[str, str, str]] = (),
        restore: Iterable[tuple[str, str]] = (),
        user: str = "",
        amend: Iterable[Amended] = (),
        lost: Iterable[str] = (),
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
            user: who retracts and restores by hand; an ingest neither shows nor stores again what a user retracted.
            amend: stored calculations, also of what is staged, as they shall be shown. What changes nothing is
                dropped; of two writers that amend the same calculation the later one's attributes count.
            lost: names of segments, amendments and older snapshots that are given up because they are damaged.
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
        mine = self.adopt(writer) if writer is not None else None
        change = _change([*staged, *([mine] if mine is not None else [])], retract, restore, user)
        change = change._replace(revisions=tuple(revisions(self.path, amend)), lost=tuple(lost), by=by, why=why)
        return self.advance(lambda head: rebased(self.path, head, change, message, time or now(), self.index_of))

    def advance(self, follow: Follow) -> Snapshot:
        """Replace the head by what follows from it, whole or not at all; see `commit`.

        Args:
            follow: the next snapshot, and what it amends, from the head that is current once no one else can change it.
        """
        with self._locked():
            self._sweep()
            while True:  # once, but in a bucket as often as a writer on another machine comes first
                head = self.head()
                snapshot, amendment = follow(head)
                if head is not None and _what_is_shown(snapshot) == _what_is_shown(head):
                    durable.sync_folder(self.path)  # whoever renamed onto HEAD may have died before this
                    return head
                if self._publish(head, snapshot, amendment):
                    return snapshot

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """An empty folder for scratch files, which goes when the block ends.

        Raises:
            StoreError: the disk refused.
        """
        durable.refuse_network(self.path)
        folder = self.work / "staging" / secrets.token_hex(8)
        durable.make_folder(folder.parent)
        with durable.lock(self.work / "lock"):
            durable.make_scratch(folder)
            alive = durable.mark_alive(folder)
        try:
            yield folder
        finally:
            durable.remove_tree(folder)
            os.close(alive)

    def _has(self, segments: Iterable[str], content: int) -> bool:
        return any(any(self.index_of(segment).with_content([content])) for segment in segments)

    def index_of(self, segment: str) -> CalculationIndex:
        """Where the calculations of a segment are; it never changes and is opened once.

        Raises:
            CorruptError: the segment is missing or damaged.
        """
        if segment not in self._indices:
            self._indices[segment] = CalculationIndex(self.path, segment, read_segment(self.path, segment))
        return self._indices[segment]

    def put_in_place(self, segment: Segment, folder: Path) -> str:
        """Move a finished segment to its place; one from an attempt that died is taken as it is."""
        self._make_folders()
        target = layout.segment_folder(self.path, segment.id)
        keeper(self.path).upload(folder, target)
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

    def _publish(
        self, head: Snapshot | None, snapshot: Snapshot, amendment: Amendment | AmendmentHistory | None
    ) -> bool:
        """Replace `head` by `snapshot`, unless another writer did so before."""
        self._make_folders()
        keep = keeper(self.path)
        try:
            if amendment is not None:
                durable.make_folder(self.path / layout.AMENDMENTS)
                file = layout.amendment_file(self.path, amendment.id)
                keep.publish(file, digest.canonical_json(amendment.as_json()))
            file = layout.snapshot_file(self.path, snapshot.id)
            keep.publish(file, digest.canonical_json(snapshot.as_json()))
        except CommitUncertain as error:
            raise StoreError(
                "expected to write the snapshot, found an error of the disk. Nothing changed.", path=error.path
            ) from error
        return keep.swap(self.path / layout.HEAD, said(head), said(snapshot))

    def _make_folders(self) -> None:
        for name in (layout.SNAPSHOTS, layout.SEGMENTS, layout.REFS):
            durable.make_folder(self.path / name)

    def _sweep(self) -> None:
        """Remove the staging folders of writers that died; a living one holds a lock on its folder."""
        staging = self.work / "staging"
        for folder in staging.iterdir() if staging.is_dir() else ():
            durable.remove_dead(folder)

    def _refuse_missing_head(self) -> None:
        if any(name.endswith(".json") for name in keeper(self.path).names(self.path / layout.SNAPSHOTS)):
            raise CorruptError(
                "expected HEAD beside the snapshots, found none. Restore it: it holds the id of the current snapshot.",
                path=self.path / layout.HEAD,
            )


def _change(
    staged: Iterable[Staged], retract: Iterable[tuple[str, str, str]], restore: Iterable[tuple[str, str]], user: str
) -> Change:
    brought = list(staged)
    return Change(
        segments=tuple(one.segment for one in brought if one.segment is not None),
        wanted={content: record for one in brought for content, record in one.wanted.items()},
        retract=tuple(retract),
        restore=tuple(restore),
        user=user,
    )


def _what_is_shown(snapshot: Snapshot) -> tuple[object, ...]:
    return snapshot.segments, snapshot.retracted, snapshot.amendments, snapshot.lost


def now() -> str:
    """The time for records: UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")
