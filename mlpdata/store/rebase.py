"""The next snapshot: what a writer wants, worked out upon the current head, whoever changed that in between."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from mlpdata import digest
from mlpdata.errors import NotFound
from mlpdata.schema.records import Retraction, Snapshot
from mlpdata.store.segment import Kept, kept_calculations


class Change(NamedTuple):
    """What a commit asks for."""

    segment: str | None
    """The new segment."""
    wanted: dict[int, str]
    """What shall be shown: what each calculation adds to content, and its record."""
    retract: tuple[tuple[str, str, str], ...]
    """Segment, record and reason."""
    restore: tuple[tuple[str, str], ...]
    """Segment and record."""


def rebased(store: Path, head: Snapshot | None, change: Change, message: str, time: str) -> Snapshot:
    """The snapshot that follows `head`.

    Raises:
        NotFound: a calculation to retract or restore is not in the store.
    """
    old = head.segments if head is not None else ()
    new = () if change.segment is None or change.segment in old else (change.segment,)
    kept = [one for segment in (*old, *new) for one in kept_calculations(store, segment)]
    hidden = {(one.segment, one.calculation): one for one in (head.retracted if head is not None else ())}
    _retract_and_restore(store, kept, hidden, change)
    _show_once(kept, hidden, change, set(new))
    if all(_key(one) in hidden for one in kept if one.segment in new):
        kept = [one for one in kept if one.segment not in new]
        hidden = {key: one for key, one in hidden.items() if key[0] not in new}
        new = ()
    shown = [one for one in kept if _key(one) not in hidden]
    return Snapshot(
        parents=(head.id,) if head is not None else (),
        segments=(*old, *new),
        retracted=tuple(hidden[key] for key in sorted(hidden)),
        content=digest.content_id(sum(one.content for one in shown)),
        n_configurations=sum(one.n_configurations for one in shown),
        n_calculations=len(shown),
        time=time,
        message=message,
    )


Hidden = dict[tuple[str, str], Retraction]


def _key(one: Kept) -> tuple[str, str]:
    return one.segment, one.record


def _retract_and_restore(store: Path, kept: list[Kept], hidden: Hidden, change: Change) -> None:
    present = {_key(one) for one in kept}
    for segment, record, *_ in (*change.retract, *change.restore):
        if (segment, record) not in present:
            raise NotFound(
                f"expected a calculation of segment {segment[:12]}, found no record {record[:12]} there.", path=store
            )
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
