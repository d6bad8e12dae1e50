"""Merge two histories of one store, or two stores: a snapshot with two parents that loses nothing of either.

For each calculation the side counts that changed it since the last common snapshot; where both did, hidden counts
before shown, and of two sets of attributes those that were set later.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from mlpdata import digest, durable
from mlpdata.errors import CorruptError, NotFound
from mlpdata.schema.records import Amendment, AmendmentHistory, Retraction, Revision, Snapshot, Step
from mlpdata.store import checked, layout
from mlpdata.store.amendments import Key
from mlpdata.store.arrays import file_record, pieces
from mlpdata.store.commit import Repository, now
from mlpdata.store.index import IdIndex, Ids, Kept
from mlpdata.store.keeper import refuse_bucket
from mlpdata.store.rebase import effective_kept, key_of
from mlpdata.store.segment import read_segment
from mlpdata.store.state import State, replacing, stand_ins
from mlpdata.store.upkeep import purge

BY = "merge"


@dataclass
class Merged:
    """What `merge` did."""

    snapshot: Snapshot | None
    """The current one afterwards; None where both stores are empty."""
    brought: list[str] = field(default_factory=list)
    """Records of the calculations that are shown and were not before."""
    hidden: list[str] = field(default_factory=list)
    """Records of those that were shown and are no longer."""
    conflicts: list[str] = field(default_factory=list)
    """What both sides changed, and which side counts."""
    kept_tags: list[str] = field(default_factory=list)
    """Tags that stand for other snapshots in the other store; they stay as they are here."""


def merge(repository: Repository, other: Repository, *, message: str = "") -> Merged:
    """Bring what another store holds, with its history, into this one.

    Args:
        repository: the store that is changed.
        other: a clone that went its own way, or any other store.
        message: what the log says.

    Raises:
        CorruptError: something in the other store is damaged; nothing changed.
        StoreError: the disk refused; nothing changed.
    """
    refuse_bucket(repository.path, "merging")
    refuse_bucket(other.path, "merging")
    before, theirs = repository.head(), other.head()
    if theirs is None:
        return Merged(before)
    kept_tags = _take_files(repository, other)
    report = Merged(None, kept_tags=kept_tags)

    def follow(head: Snapshot | None) -> tuple[Snapshot, AmendmentHistory | None]:
        base = _common(repository, head, theirs)
        if head is not None and base is not None and base.id == theirs.id:
            return head, None
        if head is None or (base is not None and base.id == head.id):
            return theirs, None
        union = _Union(repository, head, theirs, base)
        report.conflicts = union.conflicts
        return union.snapshot(message or f"merged {theirs.id[:12]}")

    report.snapshot = repository.advance(follow)
    if again := _purged_before(repository, report.snapshot):
        purge(repository, again)
        report.snapshot = repository.head()
    shown, was = _shown(repository, report.snapshot), _shown(repository, before)
    report.brought, report.hidden = sorted(shown - was), sorted(was - shown)
    return report


def _purged_before(repository: Repository, snapshot: Snapshot) -> dict[str, str]:
    """What one side deleted for good and the other one brought back, with the reasons."""
    reasons = {
        record: reason
        for _, table in replacing(repository.path)
        for record, reason in zip(table["calculation_record"].to_pylist(), table["purged"].to_pylist(), strict=True)
        if reason is not None
    }
    found = {one.record for name in snapshot.segments for one in repository.index_of(name).with_records(reasons)}
    return {record: reasons[record] for record in found}


def _shown(repository: Repository, snapshot: Snapshot | None) -> set[str]:
    """The records that a snapshot shows."""
    if snapshot is None:
        return set()
    state = State(repository.path, snapshot, whole=False)
    return {
        one.record for name in state.segments for one in repository.index_of(name) if key_of(one) not in state.hidden
    }


def _take_files(repository: Repository, other: Repository) -> list[str]:
    """Copy the segments and records that are not there yet; the tags that mean something else here."""
    versions = list(other.versions())
    wanted = dict.fromkeys(name for one in versions for name in _readable(other.path, one))
    replaced = stand_ins(repository.path, wanted)
    for name in wanted:
        if name not in replaced and not layout.segment_folder(repository.path, name).is_dir():
            _copy_segment(repository, other.path, name)
    for name in dict.fromkeys(name for one in versions for name in one.amendments):
        _copy_record(layout.amendment_file(other.path, name), layout.amendment_file(repository.path, name), name)
    for one in reversed(versions):
        _copy_record(layout.snapshot_file(other.path, one.id), layout.snapshot_file(repository.path, one.id), one.id)
    mine = repository.tags()
    for tag, snapshot in other.tags().items():
        if tag not in mine:
            repository.tag(tag, snapshot)
    return [tag for tag, snapshot in other.tags().items() if mine.get(tag, snapshot) != snapshot]


def _readable(store: Path, snapshot: Snapshot) -> tuple[str, ...]:
    """The segments in which a snapshot is read; none where a part of it was purged."""
    try:
        return State(store, snapshot).segments
    except NotFound:
        return ()


def _copy_segment(repository: Repository, source: Path, name: str) -> None:
    """Copy a segment, each file compared with its record on the way."""
    segment, origin = read_segment(source, name), layout.segment_folder(source, name)
    files = {f"{layout.ARRAYS}/{place}": one for place, one in segment.arrays.files.items()} | segment.files
    with repository.scratch() as scratch:
        folder = scratch / name
        for place in sorted({"", layout.ARRAYS, *(str(Path(place).parent) for place in files)} - {"."}, key=len):
            durable.make_scratch(folder / place)
        for place, expected in files.items():
            durable.stage(folder / place, pieces(origin / place))
            if file_record(folder / place).sha256 != expected.sha256:
                raise CorruptError("expected the bytes that were written, found others. Verify that store.",
                                   path=origin / place)  # fmt: skip
        durable.stage(folder / layout.SEGMENT_RECORD, digest.canonical_json(segment.as_json()))
        durable.sync_tree(folder)
        repository.put_in_place(segment, folder)


def _copy_record(source: Path, target: Path, name: str) -> None:
    if not target.exists():
        durable.make_folder(target.parent)
        durable.replace(target, layout.read_named(source, name, "a record"))


def _common(repository: Repository, one: Snapshot | None, other: Snapshot) -> Snapshot | None:
    """The latest snapshot from which both come."""
    ancestors = {snapshot.id for snapshot in repository.log_of(one)}
    return next((snapshot for snapshot in repository.log_of(other) if snapshot.id in ancestors), None)


class _Side(NamedTuple):
    """What one of the snapshots says of each calculation, by record."""

    places: Mapping[str, Key]
    """Where each calculation is that it has: shown, if any copy is."""
    hidden: Mapping[str, Retraction]
    """Why it is hidden."""
    revisions: Mapping[str, Revision]
    times: Mapping[str, str]
    """When a revision was made."""

    def shows(self, record: str) -> bool:
        return record in self.places and record not in self.hidden


class _Union:
    """Two snapshots and what they have in common, put together."""

    def __init__(self, repository: Repository, ours: Snapshot, theirs: Snapshot, base: Snapshot | None) -> None:
        self.conflicts: list[str] = []
        self._repository, self._parents = repository, (ours, theirs)
        states = [State(repository.path, one, whole=False) for one in self._parents]
        names = tuple(dict.fromkeys(name for state in states for name in state.segments))
        self._lost = {name for one in self._parents for name in one.lost} - set(names)
        """What both sides gave up, or one that alone had it."""
        moved = stand_ins(repository.path, names, names)
        self._segments = tuple(name for name in names if name not in moved)
        self._moved = moved
        self._ours, self._theirs = (_side(repository, state) for state in states)
        self._base = (
            _side(repository, State(repository.path, base, whole=False)) if base is not None else _Side({}, {}, {}, {})
        )
        self._amendments = states[0].amendments.joined(states[1].amendments).moved(moved, ())

    def snapshot(self, message: str) -> tuple[Snapshot, AmendmentHistory | None]:
        """The snapshot that shows both."""
        shown = self._shown()
        hidden, kept = dict[Key, Retraction](), dict[str, Kept]()
        for one in (one for name in self._segments for one in self._repository.index_of(name)):
            if one.record in shown and one.record not in kept:
                kept[one.record] = one
            else:
                hidden[key_of(one)] = self._retraction(one, shown)
        revised = {record: self._revision(record) for record in kept}
        history = self._history(kept, revised)
        total = [effective_kept(one, revised[record]) for record, one in kept.items()]
        snapshot = Snapshot(
            parents=tuple(one.id for one in self._parents),
            segments=self._segments,
            retracted=tuple(hidden[key] for key in sorted(hidden)),
            amendments=() if history is None else (history.id,),
            content=digest.content_id(sum(one.content for one in total)),
            n_configurations=sum(one.n_configurations for one in total),
            n_calculations=len(total),
            lost=tuple(sorted(self._lost)),
            time=now(),
            message=message,
        )
        return snapshot, history

    def _shown(self) -> set[str]:
        """The records that are shown: as the side says that changed it."""
        ours, theirs, base = self._ours, self._theirs, self._base
        shown = set()
        for record in ours.places.keys() | theirs.places.keys():
            mine = ours.shows(record)
            changed = ours.shows(record) != base.shows(record)
            if mine if changed or record not in theirs.places else theirs.shows(record):
                shown.add(record)
        return shown - self._outdated(shown)

    def _outdated(self, shown: set[str]) -> set[str]:
        """Of two readings of one run that came from two sides: the one that the other contains, else the older one."""
        new = [one for one in shown if self._ours.shows(one) != self._theirs.shows(one)]
        runs: dict[str, list[str]] = {}
        for run, record in _runs(self._repository, self._segments, shown):
            runs.setdefault(run, []).append(record)
        lost = set()
        for run, readings in runs.items():
            if len(readings) > 1 and set(readings).intersection(new):
                lost |= set(readings) - {self._best(run, readings)}
        return lost

    def _best(self, run: str, readings: Sequence[str]) -> str:
        """The reading that begins with the others, else that of the later snapshot."""
        ids = {record: self._ids(record).tobytes() for record in readings}
        longest = max(readings, key=lambda record: (len(ids[record]), self._is_of_later(record), record))
        if all(ids[longest].startswith(ids[record]) for record in readings):
            return longest
        best = max(readings, key=lambda record: (self._is_of_later(record), len(ids[record]), record))
        self.conflicts.append(f"run {run}: read otherwise on both sides; the reading of the later snapshot is shown")
        return best

    def _is_of_later(self, record: str) -> bool:
        later = max(range(2), key=lambda side: (self._parents[side].time, side))
        return (self._ours, self._theirs)[later].shows(record)

    def _ids(self, record: str) -> Ids:
        for name in self._segments:
            one = self._repository.index_of(name).get(record)
            if one is not None:
                folder = layout.segment_folder(self._repository.path, name)
                ids = IdIndex(folder, read_segment(self._repository.path, name)).in_order()
                return ids[one.first_row : one.first_row + one.n_configurations]
        raise CorruptError(
            f"expected a calculation with the record {record[:12]}, found none.", path=self._repository.path
        )

    def _retraction(self, one: Kept, shown: set[str]) -> Retraction:
        said = self._ours.hidden.get(one.record) or self._theirs.hidden.get(one.record)
        if one.record in shown:
            reason = "stored in another segment, too"
        elif said is not None:
            return said.model_copy(update={"segment": one.segment})
        else:
            reason = "another reading of the run was merged"
        return Retraction(segment=one.segment, calculation=one.record, reason=reason)

    def _revision(self, record: str) -> Revision | None:
        """The attributes of the side that changed them; the later ones where both did."""
        mine, other, before = (side.revisions.get(record) for side in (self._ours, self._theirs, self._base))
        if record not in self._ours.places or (_said(mine) == _said(before) and record in self._theirs.places):
            return other
        if record in self._theirs.places and _said(other) not in (_said(before), _said(mine)):
            self.conflicts.append(f"record {record[:12]}: amended on both sides; what was said later counts")
            return other if self._theirs.times.get(record, "") > self._ours.times.get(record, "") else mine
        return mine

    def _history(self, kept: Mapping[str, Kept], revised: Mapping[str, Revision | None]) -> AmendmentHistory | None:
        """All amendments of both sides, and a last one where they do not end as wanted."""
        wanted = [
            Revision(segment=one.segment, calculation=record, content=digest.content_id(one.content))
            if revision is None
            else revision.model_copy(update={"segment": one.segment})
            for record, one in kept.items()
            for revision in (revised[record],)
        ]
        present = self._amendments.present
        changes = [one for one in wanted if _said(one) != _said(present.get((one.segment, one.calculation)))]
        steps = self._amendments.history_record().steps
        if changes:
            last = Amendment(by=BY, time=now(), why="as the side said that counts", changes=tuple(changes))
            steps = (*steps, Step(id=last.id, amendment=last))
        return AmendmentHistory(steps=steps) if steps else None


def _said(revision: Revision | None) -> tuple[object, int]:
    return (revision.fields, revision.skip) if revision is not None else ({}, 0)


def _side(repository: Repository, state: State) -> _Side:
    """What a snapshot says of each calculation."""
    places: dict[str, Key] = {}
    hidden: dict[str, Retraction] = {}
    for key in (key_of(one) for name in state.segments for one in repository.index_of(name)):
        record = key[1]
        if key not in state.hidden:
            places[record] = key
            hidden.pop(record, None)
        elif record not in places:
            places[record], hidden[record] = key, state.hidden[key]
    present = state.amendments.present
    revisions = {record: present[key] for record, key in places.items() if key in present}
    times = state.amendments.times()
    return _Side(places, hidden, revisions, {record: times[places[record]] for record in revisions})


def _runs(repository: Repository, segments: Sequence[str], shown: set[str]) -> Iterator[tuple[str, str]]:
    """Run and record of the calculations shown."""
    seen: set[str] = set()
    for name in segments:
        path = layout.segment_folder(repository.path, name) / "calculations.parquet"
        record = layout.file_of(read_segment(repository.path, name), path.name, path)
        table = checked.read_table(path, record, ["calculation_id", "calculation_record"])
        for run, one in zip(*(column.to_pylist() for column in table.columns), strict=True):
            if one in shown and one not in seen:
                seen.add(one)
                yield run, one
