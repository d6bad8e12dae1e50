"""History: what each snapshot changed. Worked out from records; ids are read only of calculations that came and went."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mlpdata.digest import ID_BYTES
from mlpdata.schema.records import Snapshot
from mlpdata.store import layout
from mlpdata.store.amendments import Key, read_amendment
from mlpdata.store.commit import Repository
from mlpdata.store.index import IdIndex, Ids, as_keys
from mlpdata.store.segment import Kept, kept_calculations, read_segment


class Step(NamedTuple):
    """A snapshot, and what it changed against its first parent."""

    record: Snapshot
    added: int
    """Configurations that it shows and the parent does not, by id."""
    removed: int
    """Configurations that the parent shows and it does not."""
    tags: tuple[str, ...]
    """What stands for it."""


def steps(repository: Repository, limit: int | None = None) -> Iterator[Step]:
    """The snapshots that led to the current one with what each changed, newest first.

    Args:
        repository: the store.
        limit: how many.
    """
    history = _History(repository.path)
    names: dict[str, list[str]] = {}
    for tag, snapshot in repository.tags().items():
        names.setdefault(snapshot, []).append(tag)
    for record in islice(repository.log(), limit):
        parent = repository.read(record.parents[0]) if record.parents else None
        yield Step(record, *history.changed(parent, record), tuple(names.get(record.id, ())))


Rows = tuple[int, int]
"""First row of a calculation in its segment that is shown, and the end."""


class _History:
    """Counts between snapshots; a segment or amendment is read once, however many snapshots name it."""

    def __init__(self, store: Path) -> None:
        self._store = store
        self._kept: dict[str, dict[str, Kept]] = {}
        self._ids: dict[str, Ids] = {}
        self._skips: dict[str, dict[Key, int]] = {}

    def changed(self, before: Snapshot | None, after: Snapshot) -> tuple[int, int]:
        """How many configurations were added and removed."""
        if before is None:
            return after.n_configurations, 0
        if before.content == after.content:
            return 0, 0
        keys = self._touched(before, after)
        old, new = self._shown(before, keys), self._shown(after, keys)
        come = {key: rows for key, rows in new.items() if old.get(key) != rows}
        gone = {key: rows for key, rows in old.items() if new.get(key) != rows}
        added, removed = (sum(end - first for first, end in some.values()) for some in (come, gone))
        same = _in_common(self._ids_of(come), self._ids_of(gone)) if added and removed else 0
        return added - same, removed - same

    def _touched(self, before: Snapshot, after: Snapshot) -> set[Key]:
        """The calculations of which two snapshots may show other rows."""
        keys = _hidden(before) ^ _hidden(after)
        for amendment in set(before.amendments) ^ set(after.amendments):
            keys |= self._skips_of(amendment).keys()
        for segment in set(before.segments) ^ set(after.segments):
            keys |= {(segment, record) for record in self._kept_of(segment)}
        return keys

    def _shown(self, snapshot: Snapshot, keys: Iterable[Key]) -> dict[Key, Rows]:
        """The rows that a snapshot shows of some calculations."""
        hidden, segments = _hidden(snapshot), set(snapshot.segments)
        shown = {}
        for key in keys:
            if key not in hidden and key[0] in segments:
                one, skip = self._kept_of(key[0])[key[1]], self._skip(snapshot, key)
                shown[key] = one.first_row + skip, one.first_row + one.n_configurations
        return shown

    def _skip(self, snapshot: Snapshot, key: Key) -> int:
        """How many of its first configurations a snapshot hides: the last amendment that names it counts."""
        return next(
            (self._skips_of(one)[key] for one in reversed(snapshot.amendments) if key in self._skips_of(one)), 0
        )

    def _skips_of(self, amendment: str) -> dict[Key, int]:
        if amendment not in self._skips:
            changes = read_amendment(self._store, amendment).changes
            self._skips[amendment] = {(one.segment, one.calculation): one.skip for one in changes}
        return self._skips[amendment]

    def _kept_of(self, segment: str) -> dict[str, Kept]:
        if segment not in self._kept:
            self._kept[segment] = {one.record: one for one in kept_calculations(self._store, segment)}
        return self._kept[segment]

    def _ids_of(self, shown: Mapping[Key, Rows]) -> Ids:
        """The ids of some calculations, shape (n_configurations, 16)."""
        parts = [self._ids_in(segment)[first:end] for (segment, _), (first, end) in shown.items()]
        return np.concatenate([np.empty((0, ID_BYTES), np.uint8), *parts])

    def _ids_in(self, segment: str) -> Ids:
        if segment not in self._ids:
            folder = layout.segment_folder(self._store, segment)
            self._ids[segment] = IdIndex(folder, read_segment(self._store, segment)).in_order()
        return self._ids[segment]


def _hidden(snapshot: Snapshot) -> set[Key]:
    return {(one.segment, one.calculation) for one in snapshot.retracted}


def _in_common(one: Ids, other: Ids) -> int:
    """How many configurations two lists of ids have in common, each as often as both have it."""
    (mine, n_mine), (others, n_others) = (np.unique(as_keys(ids), return_counts=True) for ids in (one, other))
    _, here, there = np.intersect1d(mine, others, assume_unique=True, return_indices=True)
    return int(np.minimum(n_mine[here], n_others[there]).sum())
