"""The next snapshot: what a writer wants, worked out upon the current head, whoever changed that in between.

Only what a change touches is looked at: a store of a million calculations takes one more as quickly as a small one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from mlpdata import digest
from mlpdata.errors import NotFound
from mlpdata.schema.records import Amendment, Retraction, Revision, Snapshot
from mlpdata.store.amendments import Amendments, Key
from mlpdata.store.index import CalculationIndex, Kept
from mlpdata.store.state import stand_ins

IndexOf = Callable[[str], CalculationIndex]
"""The index of the calculations of a segment."""
Hidden = dict[Key, Retraction]


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
    by: str = ""
    """Who asks for these."""
    why: str = ""
    """Reason."""


class _Totals:
    """What a snapshot says it shows, while calculations come and go."""

    def __init__(self, head: Snapshot | None) -> None:
        self.content = int(head.content, 16) if head is not None else 0
        self.n_configurations = head.n_configurations if head is not None else 0
        self.n_calculations = head.n_calculations if head is not None else 0

    def add(self, one: Kept, sign: int = 1) -> None:
        self.content += sign * one.content
        self.n_configurations += sign * one.n_configurations
        self.n_calculations += sign


def rebased(
    store: Path, head: Snapshot | None, change: Change, message: str, time: str, index_of: IndexOf
) -> tuple[Snapshot, Amendment | None]:
    """The snapshot that follows `head`, and the amendment that it adds.

    Args:
        store: folder of the store.
        head: the current snapshot.
        change: what the commit asks for.
        message: what the log says.
        time: ISO 8601.
        index_of: the calculations of a segment.

    Raises:
        NotFound: a calculation to retract, to restore or to amend is not in the store.
    """
    old = head.segments if head is not None else ()
    change = _where_it_is_now(store, old, change)
    new = tuple(segment for segment in dict.fromkeys(change.segments) if segment not in old)
    before = {(one.segment, one.calculation): one for one in (head.retracted if head is not None else ())}
    _refuse_strangers(store, (*old, *new), change, index_of)
    hidden = _shown_once(_retracted_and_restored(before, change), (*old, *new), change.wanted, set(new), index_of)
    useless = _useless(new, hidden, index_of)
    new = tuple(segment for segment in new if segment not in useless)
    hidden = {key: one for key, one in hidden.items() if key[0] not in useless}

    names = head.amendments if head is not None else ()
    touched = {key for key in before.keys() ^ hidden.keys() if key[0] in old}
    present = Amendments.read(store, names).present if touched or change.revisions else {}
    fresh = _fresh_revisions((*old, *new), hidden, present, change.revisions, index_of)
    amendment = Amendment(by=change.by, time=time, why=change.why, changes=tuple(fresh.values())) if fresh else None

    totals = _Totals(head)
    for key, one in kept_of({*touched, *(key for key in fresh if key[0] in old)}, index_of).items():
        if key not in before:
            totals.add(effective_kept(one, present.get(key)), -1)
        if key not in hidden:
            totals.add(effective_kept(one, fresh.get(key, present.get(key))))
    for one in (one for segment in new for one in index_of(segment)):
        if key_of(one) not in hidden:
            totals.add(effective_kept(one, fresh.get(key_of(one))))
    snapshot = Snapshot(
        parents=(head.id,) if head is not None else (),
        segments=(*old, *new),
        retracted=tuple(hidden[key] for key in sorted(hidden)),
        amendments=names if amendment is None else (*names, amendment.id),
        content=digest.content_id(totals.content),
        n_configurations=totals.n_configurations,
        n_calculations=totals.n_calculations,
        time=time,
        message=message,
    )
    return snapshot, amendment


def key_of(one: Kept) -> Key:
    """Segment and record of a calculation."""
    return one.segment, one.record


def kept_of(keys: Iterable[Key], index_of: IndexOf) -> dict[Key, Kept]:
    """What is known of the calculations with these keys; those that are not there are left out."""
    by_segment: dict[str, list[str]] = {}
    for segment, record in keys:
        by_segment.setdefault(segment, []).append(record)
    found = (one for segment, records in by_segment.items() for one in index_of(segment).with_records(records))
    return {key_of(one): one for one in found}


def effective_kept(one: Kept, revision: Revision | None) -> Kept:
    """What a snapshot counts of a stored calculation."""
    if revision is None:
        return one
    return one._replace(content=int(revision.content, 16), n_configurations=one.n_configurations - revision.skip)


def _where_it_is_now(store: Path, old: Sequence[str], change: Change) -> Change:
    """The change as asked for, in segments of the head where others were compacted into them meanwhile."""
    amended = ((one.segment, one.calculation) for one in change.revisions)
    named = {segment for segment, *_ in (*change.retract, *change.restore, *amended)}
    if not (strange := named.difference(old, change.segments)):
        return change
    moved = stand_ins(store, strange, old)

    def now(segment: str) -> str:
        return moved.get(segment, segment)

    return change._replace(
        retract=tuple((now(segment), record, reason) for segment, record, reason in change.retract),
        restore=tuple((now(segment), record) for segment, record in change.restore),
        revisions=tuple(one.replace(segment=now(one.segment)) for one in change.revisions),
    )


def _refuse_strangers(store: Path, segments: Sequence[str], change: Change, index_of: IndexOf) -> None:
    amended = [(one.segment, one.calculation) for one in change.revisions]
    named = {(segment, record) for segment, record, *_ in (*change.retract, *change.restore, *amended)}
    found = kept_of([key for key in named if key[0] in segments], index_of)
    for segment, record in sorted(named - found.keys()):
        raise NotFound(
            f"expected a calculation of segment {segment[:12]}, found no record {record[:12]} there.", path=store
        )


def _retracted_and_restored(before: Hidden, change: Change) -> Hidden:
    restored = set(change.restore)
    hidden = {key: one for key, one in before.items() if key not in restored}
    for segment, record, reason in change.retract:
        hidden.setdefault((segment, record), Retraction(segment=segment, calculation=record, reason=reason))
    return hidden


def _shown_once(
    hidden: Hidden, segments: Sequence[str], wanted: Mapping[int, str], new: set[str], index_of: IndexOf
) -> Hidden:
    """Each wanted calculation is shown, and by one segment only: the one that has shown it longest."""
    places: dict[int, list[Kept]] = {}
    for segment in segments if wanted else ():
        for one in index_of(segment).with_content(wanted):
            places.setdefault(one.content, []).append(one)
    for copies in places.values():
        first = next((one for one in copies if key_of(one) not in hidden), copies[0])
        hidden.pop(key_of(first), None)
        for one in copies:
            if one is not first and one.segment in new:
                reason = f"stored before in segment {first.segment}"
                hidden[key_of(one)] = Retraction(segment=one.segment, calculation=one.record, reason=reason)
    return hidden


def _useless(new: Iterable[str], hidden: Hidden, index_of: IndexOf) -> set[str]:
    """New segments of which nothing would be shown."""
    n_hidden: dict[str, int] = {}
    for segment, _ in hidden:
        n_hidden[segment] = n_hidden.get(segment, 0) + 1
    return {segment for segment in new if n_hidden.get(segment, 0) == len(index_of(segment))}


def _fresh_revisions(
    segments: Sequence[str],
    hidden: Hidden,
    present: Mapping[Key, Revision],
    revisions: Sequence[Revision],
    index_of: IndexOf,
) -> dict[Key, Revision]:
    """The revisions wanted that say anything new.

    Where another writer brought the same calculation meanwhile, its copy is the one that is shown and amended.
    """
    fresh: dict[Key, Revision] = {}
    for revision in revisions:
        key = revision.segment, revision.calculation
        if key in hidden:
            key = _shown_copy(segments, key, hidden, index_of)
        before = present.get(key)
        fresh.pop(key, None)
        if (revision.fields, revision.skip) != ((before.fields, before.skip) if before else ({}, 0)):
            fresh[key] = revision.replace(segment=key[0])
    return fresh


def _shown_copy(segments: Sequence[str], key: Key, hidden: Hidden, index_of: IndexOf) -> Key:
    """The calculation that is shown in place of a hidden copy; the copy itself where there is none."""
    stored = index_of(key[0]).get(key[1])
    copies = [one for segment in segments for one in index_of(segment).with_content([stored.content] if stored else [])]
    return next((key_of(one) for one in reversed(copies) if key_of(one) not in hidden), key)
