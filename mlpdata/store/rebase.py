"""The next snapshot: what a writer wants, worked out upon the current head, whoever changed that in between."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from mlpdata import digest
from mlpdata.errors import NotFound
from mlpdata.schema.records import Amendment, Retraction, Revision, Snapshot
from mlpdata.store.amendments import Amendments, Key
from mlpdata.store.segment import Kept


class Change(NamedTuple):
    """What a commit asks for."""

    segments: tuple[str, ...] = ()
    """New ones."""
    wanted: Mapping[int, str] = {}
    """What shall be shown: what each calculation adds to content as stored, and its record."""
    retract: tuple[tuple[str, str, str], ...] = ()
    """Segment, record and reason."""
    restore: tuple[Key, ...] = ()
    """Segment and record."""
    revisions: tuple[Revision, ...] = ()
    """Calculations that shall be shown with other attributes."""
    lost: tuple[str, ...] = ()
    """Names of segments, amendments and snapshots that are given up because they are damaged."""
    by: str = ""
    """Who asks for these."""
    why: str = ""
    """Reason."""


def rebased(
    store: Path,
    head: Snapshot | None,
    change: Change,
    message: str,
    time: str,
    kept_of: Callable[[str], Sequence[Kept]],
) -> tuple[Snapshot, Amendment | None]:
    """The snapshot that follows `head`, and the amendment that it adds.

    Args:
        store: folder of the store.
        head: the current snapshot.
        change: what the commit asks for.
        message: what the log says.
        time: ISO 8601.
        kept_of: the calculations of a segment.

    Raises:
        NotFound: a calculation to retract, to restore or to amend is not in the store.
    """
    lost = {*change.lost, *(head.lost if head is not None else ())}
    old = tuple(segment for segment in (head.segments if head is not None else ()) if segment not in lost)
    new = tuple(segment for segment in dict.fromkeys(change.segments) if segment not in old)
    kept = [one for segment in (*old, *new) for one in kept_of(segment)]
    hidden = {(one.segment, one.calculation): one for one in (head.retracted if head is not None else ())}
    _refuse_strangers(store, kept, change)
    _retract_and_restore(hidden, change)
    _show_once(kept, hidden, change, set(new))
    names = tuple(name for name in (head.amendments if head is not None else ()) if name not in lost)
    present = Amendments.read(store, names).present
    fresh = _fresh_revisions(kept, hidden, present, change)

    useless = {segment for segment in new if all(_key(one) in hidden for one in kept if one.segment == segment)}
    new = tuple(segment for segment in new if segment not in useless)
    kept = [one for one in kept if one.segment not in useless]
    hidden = {key: one for key, one in hidden.items() if key[0] not in useless}
    fresh = {key: one for key, one in fresh.items() if key[0] not in useless}

    amendment = Amendment(by=change.by, time=time, why=change.why, changes=tuple(fresh.values())) if fresh else None
    present |= fresh
    shown = [effective_kept(one, present.get(_key(one))) for one in kept if _key(one) not in hidden]
    snapshot = Snapshot(
        parents=(head.id,) if head is not None else (),
        segments=(*old, *new),
        retracted=tuple(hidden[key] for key in sorted(hidden)),
        amendments=names if amendment is None else (*names, amendment.id),
        content=digest.content_id(sum(one.content for one in shown)),
        n_configurations=sum(one.n_configurations for one in shown),
        n_calculations=len(shown),
        lost=tuple(sorted(lost)),
        time=time,
        message=message,
    )
    return snapshot, amendment


Hidden = dict[Key, Retraction]


def _key(one: Kept) -> Key:
    return one.segment, one.record


def _refuse_strangers(store: Path, kept: list[Kept], change: Change) -> None:
    present = {_key(one) for one in kept}
    amended = ((one.segment, one.calculation) for one in change.revisions)
    for segment, record, *_ in (*change.retract, *change.restore, *amended):
        if (segment, record) not in present and segment not in change.lost:
            raise NotFound(
                f"expected a calculation of segment {segment[:12]}, found no record {record[:12]} there.", path=store
            )


def _retract_and_restore(hidden: Hidden, change: Change) -> None:
    for key in change.restore:
        hidden.pop(key, None)
    for segment, record, reason in change.retract:
        hidden.setdefault((segment, record), Retraction(segment=segment, calculation=record, reason=reason))


def _show_once(kept: list[Kept], hidden: Hidden, change: Change, new: set[str]) -> None:
    """Each wanted calculation is shown, and by one segment only: the one that has shown it longest."""
    places: dict[int, list[Kept]] = {}
    for one in kept:
        if one.content in change.wanted:
            places.setdefault(one.content, []).append(one)
    for copies in places.values():
        shown = [one for one in copies if _key(one) not in hidden]
        first = shown[0] if shown else copies[0]
        hidden.pop(_key(first), None)
        for one in copies:
            if one is not first and one.segment in new:
                reason = f"stored before in segment {first.segment}"
                hidden[_key(one)] = Retraction(segment=one.segment, calculation=one.record, reason=reason)


def _fresh_revisions(
    kept: list[Kept], hidden: Hidden, present: Mapping[Key, Revision], change: Change
) -> dict[Key, Revision]:
    """The revisions wanted that say anything new.

    Where another writer brought the same calculation meanwhile, its copy is the one that is shown and amended.
    """
    stored = {_key(one): one for one in kept}
    shown = {one.content: key for key, one in stored.items() if key not in hidden}
    fresh: dict[Key, Revision] = {}
    for revision in change.revisions:
        key = revision.segment, revision.calculation
        if key in hidden:
            key = shown.get(stored[key].content, key)
        before = present.get(key)
        fresh.pop(key, None)
        if (revision.fields, revision.skip) != ((before.fields, before.skip) if before else ({}, 0)):
            fresh[key] = revision.replace(segment=key[0])
    return fresh


def effective_kept(one: Kept, revision: Revision | None) -> Kept:
    """What a snapshot counts of a stored calculation."""
    if revision is None:
        return one
    return one._replace(content=int(revision.content, 16), n_configurations=one.n_configurations - revision.skip)
