"""Upkeep of a store: compact, remove what nothing needs, delete for good, go back to an earlier version."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow.compute as pc

from mlpdata import digest, durable
from mlpdata.errors import NotFound, StoreError
from mlpdata.schema.noun import STORE_VERSION
from mlpdata.schema.records import Amendment, AmendmentHistory, Revision, Snapshot
from mlpdata.store import layout
from mlpdata.store.amendments import Amendments, Key
from mlpdata.store.commit import Repository, now
from mlpdata.store.compact import due, write_compacted
from mlpdata.store.index import Kept
from mlpdata.store.keeper import DISK, keeper, refuse_bucket
from mlpdata.store.rebase import Change, effective_kept, key_of, rebased
from mlpdata.store.segment import read_segment
from mlpdata.store.state import State, replacing, stand_ins

DAY = 86_400.0
"""Seconds for which what nothing needs any more is kept: readers may still have it open, writers may be about to name it."""


@dataclass
class Compacted:
    """What `compact` did."""

    replaced: tuple[str, ...] = ()
    """Segments that were put together."""
    segment: str = ""
    """The one that stands for them."""
    snapshot: str = ""


@dataclass
class Removed:
    """What `collect_garbage` removed, or would remove."""

    segments: list[str] = field(default_factory=list)
    snapshots: list[str] = field(default_factory=list)
    amendments: list[str] = field(default_factory=list)
    n_bytes: int = 0
    n_too_young: int = 0
    """Segments and records that will go once the time of grace is over."""


@dataclass
class Purged:
    """What `purge` deleted."""

    calculations: list[str] = field(default_factory=list)
    """Records."""
    n_configurations: int = 0
    unreadable: list[str] = field(default_factory=list)
    """Snapshots that show something of it and no longer read."""
    snapshot: str = ""


def compact(repository: Repository, names: Sequence[str] | None = None, *, message: str = "") -> Compacted:
    """Put segments together into one; earlier snapshots are read through it.

    Args:
        repository: the store.
        names: segments of the current snapshot; by default those of which there are too many of one size.
        message: what the log says.

    Raises:
        CorruptError: something in them is damaged; nothing changed.
        StoreError: the disk refused, or another writer compacted the same segments; nothing changed.
    """
    head = repository.head()
    if head is None or (names is None and keeper(repository.path) is not DISK):
        return Compacted(snapshot="" if head is None else head.id)
    refuse_bucket(repository.path, "compaction")
    if names is None:
        names = due({one: read_segment(repository.path, one).arrays.n_configurations for one in head.segments})
    if not names:
        return Compacted(snapshot=head.id)
    with repository.scratch() as folder:
        segment = repository.put_in_place(*write_compacted(repository.path, folder, names, {}))
    message = message or f"compacted {len(names)} segments"
    snapshot = repository.advance(lambda head: _put_together(repository, head, names, segment, {}, message))
    return Compacted(tuple(names), segment, snapshot.id)


def migrate(repository: Repository) -> Compacted:
    """Write anew the segments of an older schema version."""
    head = repository.head()
    segments = head.segments if head is not None else ()
    old = [one for one in segments if read_segment(repository.path, one).schema_version < STORE_VERSION]
    if not old:
        return Compacted(snapshot=head.id if head is not None else "")
    return compact(
        repository, old, message=f"{len(old)} segments of an older schema written as version {STORE_VERSION}"
    )


def purge(repository: Repository, records: Mapping[str, str]) -> Purged:
    """Delete calculations for good, in all versions; snapshots that show them can no longer be read.

    Args:
        repository: the store.
        records: reasons, by digest of the record as stored.

    Raises:
        NotFound: no segment has one of them.
        CorruptError: something beside them is damaged; nothing changed.
        StoreError: the disk refused; nothing changed, or what was deleted is left over as files that nothing names.
    """
    refuse_bucket(repository.path, "deleting for good")
    store, head = repository.path, repository.head()
    named = head.segments if head is not None else ()
    names = [name for name in named if any(repository.index_of(name).with_records(records))]
    found = {one.record for name in names for one in repository.index_of(name).with_records(records)}
    if missing := sorted(records.keys() - found):
        raise NotFound(f"expected calculations of the current snapshot, found no record {missing[0][:12]}.", path=store)
    unreadable = list(_showing(repository, records))
    with repository.scratch() as folder:
        segment = repository.put_in_place(*write_compacted(store, folder, names, records))
    message = f"purged {len(found)} calculations: {'; '.join(sorted(set(records.values())))}"
    snapshot = repository.advance(lambda head: _put_together(repository, head, names, segment, records, message))
    _remove(repository, _holding(repository, records))
    n_lost = head.n_configurations - snapshot.n_configurations if head is not None else 0
    return Purged(sorted(found), n_lost, unreadable, snapshot.id)


def revert(repository: Repository, at: str, *, user: str = "revert", message: str = "") -> Snapshot:
    """A new snapshot that shows what an earlier one showed; nothing is lost of those in between.

    What came since is retracted by hand: no sync shows it again.

    Args:
        repository: the store.
        at: a tag, an id or the start of one, or a date.
        user: who goes back, for the record.
        message: what the log says.

    Raises:
        NotFound: no such snapshot, or a part of it was deleted for good.
    """
    wanted = repository.snapshot(at).record

    def follow(head: Snapshot | None) -> tuple[Snapshot, Amendment | None]:
        return rebased(
            repository.path,
            head,
            _back_to(repository, State(repository.path, wanted), head)._replace(user=user, by=user),
            message or f"reverted to {wanted.id[:12]}",
            now(),
            repository.index_of,
        )

    return repository.advance(follow)


def collect_garbage(repository: Repository, *, grace: float = DAY, dry_run: bool = False) -> Removed:
    """Remove segments and records that no version of the store needs any more.

    Args:
        repository: the store.
        grace: how long they are kept after they were written or replaced [s].
        dry_run: only say what would go.

    Raises:
        StoreError: the disk refused.
    """
    refuse_bucket(repository.path, "removing files")
    durable.refuse_network(repository.path)
    durable.make_folder(repository.work)
    with durable.lock(repository.work / "lock"):
        live = {one.id: one for one in repository.versions()}
        found = _Garbage(repository.path, time.time() - grace)
        found.look(layout.SEGMENTS, _needed(repository, list(live.values())))
        found.look(layout.SNAPSHOTS, {f"{name}.json" for name in live})
        found.look(layout.AMENDMENTS, {f"{name}.json" for one in live.values() for name in one.amendments})
    if not dry_run:
        _remove(repository, found.paths)
    return found.removed


class _Garbage:
    """What nothing needs, and is old enough to go."""

    def __init__(self, store: Path, before: float) -> None:
        self.paths: list[Path] = []
        self.removed = Removed()
        self._store, self._before = store, before
        self._replaced_at = {
            name: layout.segment_folder(store, segment).stat().st_mtime
            for segment, table in replacing(store)
            for name in pc.unique(table["segment"]).to_pylist()
        }

    def look(self, kind: str, needed: Collection[str]) -> None:
        """Find what is not needed of segments, snapshots or amendments."""
        folder = self._store / kind
        names: list[str] = getattr(self.removed, kind)
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            if path.name in needed:
                continue
            if max(path.stat().st_mtime, self._replaced_at.get(path.name, 0.0)) > self._before:
                self.removed.n_too_young += 1
                continue
            self.paths.append(path)
            names.append(path.name.removesuffix(".json"))
            files = path.rglob("*") if path.is_dir() else (path,)
            self.removed.n_bytes += sum(one.stat().st_size for one in files if one.is_file())


def _needed(repository: Repository, live: Sequence[Snapshot]) -> set[str]:
    """The segments in which all versions can be read: those of the head, and what these do not stand for."""
    head = repository.head()
    needed = set(head.segments if head is not None else ())
    others = {name for one in live for name in one.segments} - needed
    return needed | (others - stand_ins(repository.path, others, needed).keys())


def _remove(repository: Repository, paths: Sequence[Path]) -> None:
    """Remove files and folders: each leaves its place at once, so that none stands there in part."""
    with repository.scratch() as folder:
        for path in paths:
            if path.exists():
                durable.rename(path, folder / path.name)
                durable.sync_folder(path.parent)


def _put_together(
    repository: Repository,
    head: Snapshot | None,
    names: Sequence[str],
    segment: str,
    purge: Mapping[str, str],
    message: str,
) -> tuple[Snapshot, AmendmentHistory | None]:
    """The snapshot that shows what `head` shows, but for what is purged, with one segment in place of others.

    Raises:
        StoreError: another writer replaced one of them meanwhile.
    """
    if head is None or not set(names).issubset(head.segments):
        raise StoreError("expected the segments as they were, found that another writer replaced one. Try again.",
                         path=repository.path)  # fmt: skip
    hidden = {(one.segment, one.calculation): one for one in head.retracted}
    gone = _hidden_in_all(repository, names, hidden) - purge.keys()
    moved = {
        (segment, record): one.model_copy(update={"segment": segment})
        for (name, record), one in hidden.items()
        if name in names and record in gone
    } | {key: one for key, one in hidden.items() if key[0] not in names}
    copies = {key for key in hidden if key[0] in names and key[1] not in gone}
    amendments = Amendments.read(repository.path, head.amendments)
    history = amendments.moved(dict.fromkeys(names, segment), copies).without(purge).history_record()
    lost = [
        effective_kept(one, amendments.present.get(key_of(one)))
        for name in names
        for one in repository.index_of(name).with_records(purge)
        if key_of(one) not in hidden
    ]
    place = head.segments.index(next(name for name in head.segments if name in names))
    rest = [name for name in head.segments if name not in names]
    snapshot = Snapshot(
        parents=(head.id,),
        segments=(*rest[:place], segment, *rest[place:]),
        retracted=tuple(moved[key] for key in sorted(moved)),
        amendments=(history.id,) if history.steps else (),
        content=digest.content_id(int(head.content, 16) - sum(one.content for one in lost)),
        n_configurations=head.n_configurations - sum(one.n_configurations for one in lost),
        n_calculations=head.n_calculations - len(lost),
        lost=head.lost,
        time=now(),
        message=message,
    )
    return snapshot, history if history.steps else None


def _hidden_in_all(repository: Repository, names: Sequence[str], hidden: Collection[Key]) -> set[str]:
    """The records of which every copy in these segments is hidden."""
    n_hidden = Counter(record for name, record in hidden if name in names)
    n_copies = Counter(one.record for name in names for one in repository.index_of(name).with_records(n_hidden))
    return {record for record, number in n_hidden.items() if number == n_copies[record]}


def _showing(repository: Repository, records: Collection[str]) -> Iterator[str]:
    """Ids of the versions that show one of these records and can be read so far."""
    for snapshot in repository.versions():
        with suppress(NotFound):
            state = State(repository.path, snapshot)
            keys = (key_of(one) for name in state.segments for one in repository.index_of(name).with_records(records))
            if any(key not in state.hidden for key in keys):
                yield snapshot.id


def _holding(repository: Repository, records: Collection[str]) -> list[Path]:
    """Folders of the segments that have one of these records, named by a snapshot or not."""
    folders = sorted((repository.path / layout.SEGMENTS).iterdir())
    return [one for one in folders if any(repository.index_of(one.name).with_records(records))]


def _back_to(repository: Repository, wanted: State, head: Snapshot | None) -> Change:
    """What must change of the head so that it shows what `wanted` shows."""
    present = State(repository.path, head) if head is not None else wanted
    moved = stand_ins(repository.path, set(wanted.segments) - set(present.segments), present.segments)
    shown: dict[Key, Key] = {}
    for one in (one for name in wanted.segments for one in repository.index_of(name)):
        if key_of(one) not in wanted.hidden:
            shown[moved.get(one.segment, one.segment), one.record] = key_of(one)
    stored = {key_of(one): one for name in present.segments for one in repository.index_of(name)}
    return Change(
        segments=tuple(name for name in wanted.segments if name not in present.segments and name not in moved),
        retract=tuple((*key, "reverted") for key in stored if key not in shown and key not in present.hidden),
        restore=tuple(key for key in shown if key in present.hidden),
        revisions=tuple(_revisions(shown, stored, wanted.amendments.present, present.amendments.present)),
        why="as in an earlier version",
    )


def _revisions(
    shown: Mapping[Key, Key], stored: Mapping[Key, Kept], then: Mapping[Key, Revision], present: Mapping[Key, Revision]
) -> Iterator[Revision]:
    """What makes calculations look as they did then.

    Args:
        shown: where each calculation is now, and where it was then.
        stored: what is stored now.
        then: the revisions that held.
        present: the revisions that hold.
    """
    for key, before in shown.items():
        old, new = then.get(before), present.get(key)
        if old is None and new is not None:
            content = digest.content_id(stored[key].content)
            yield Revision(segment=key[0], calculation=key[1], content=content)
        elif old is not None and (new is None or (old.fields, old.skip) != (new.fields, new.skip)):
            yield old.model_copy(update={"segment": key[0]})
