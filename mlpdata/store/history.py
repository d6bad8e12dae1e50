"""History: what each snapshot changed. Worked out from records; ids are read only of calculations that came and went."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import NamedTuple

import numpy as np

from mlpdata.digest import ID_BYTES
from mlpdata.errors import NotFound
from mlpdata.schema.records import Snapshot
from mlpdata.store import layout
from mlpdata.store.amendments import Key
from mlpdata.store.commit import Repository
from mlpdata.store.index import IdIndex, Ids, as_keys
from mlpdata.store.rebase import kept_of, key_of
from mlpdata.store.segment import read_segment
from mlpdata.store.snapshot import OpenSnapshot
from mlpdata.store.state import State, stand_ins


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
    history = _History(repository)
    names: dict[str, list[str]] = {}
    for tag, snapshot in repository.tags().items():
        names.setdefault(snapshot, []).append(tag)
    for record in islice(repository.log(), limit):
        parent = repository.read(record.parents[0]) if record.parents else None
        yield Step(record, *history.changed(parent, record), tuple(names.get(record.id, ())))


Rows = tuple[int, int]
"""First row of a calculation in its segment that is shown, and the end."""


class _History:
    """Counts between snapshots; the ids of a segment are read once, however many snapshots name it."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._ids: dict[str, Ids] = {}

    def changed(self, before: Snapshot | None, after: Snapshot) -> tuple[int, int]:
        """How many configurations were added and removed."""
        if before is None:
            return after.n_configurations, 0
        if before.content == after.content:
            return 0, 0
        try:
            old, new = State(self._repository.path, before), State(self._repository.path, after)
        except NotFound:  # a part of one of them was purged
            return max(after.n_configurations - before.n_configurations, 0), max(
                before.n_configurations - after.n_configurations, 0
            )
        if stand_ins(self._repository.path, set(old.segments) - set(new.segments), new.segments):
            return self._by_ids(before, after)
        keys = self._touched(old, new, amended=before.amendments != after.amendments)
        were, are = self._shown(old, keys), self._shown(new, keys)
        come = {key: rows for key, rows in are.items() if were.get(key) != rows}
        gone = {key: rows for key, rows in were.items() if are.get(key) != rows}
        added, removed = (sum(end - first for first, end in some.values()) for some in (come, gone))
        same = _in_common(self._ids_of(come), self._ids_of(gone)) if added and removed else 0
        return added - same, removed - same

    def _by_ids(self, before: Snapshot, after: Snapshot) -> tuple[int, int]:
        """The same where what was shown has moved to other segments."""
        old, new = (OpenSnapshot(self._repository.path, one).ids() for one in (before, after))
        same = _in_common(old, new)
        return len(new) - same, len(old) - same

    def _touched(self, before: State, after: State, *, amended: bool) -> set[Key]:
        """The calculations of which two snapshots may show other rows."""
        keys = before.hidden.keys() ^ after.hidden.keys()
        if amended:
            keys |= before.amendments.present.keys() | after.amendments.present.keys()
        for segment in set(before.segments) ^ set(after.segments):
            keys |= {key_of(one) for one in self._repository.index_of(segment)}
        return keys

    def _shown(self, state: State, keys: Iterable[Key]) -> dict[Key, Rows]:
        """The rows that a snapshot shows of some calculations."""
        shown = [key for key in keys if key not in state.hidden and key[0] in state.segments]
        present = state.amendments.present
        return {
            key: (one.first_row + (present[key].skip if key in present else 0), one.first_row + one.n_configurations)
            for key, one in kept_of(shown, self._repository.index_of).items()
        }

    def _ids_of(self, shown: Mapping[Key, Rows]) -> Ids:
        """The ids of some calculations, shape (n_configurations, 16)."""
        parts = [self._ids_in(segment)[first:end] for (segment, _), (first, end) in shown.items()]
        return np.concatenate([np.empty((0, ID_BYTES), np.uint8), *parts])

    def _ids_in(self, segment: str) -> Ids:
        if segment not in self._ids:
            folder = layout.segment_folder(self._repository.path, segment)
            self._ids[segment] = IdIndex(folder, read_segment(self._repository.path, segment)).in_order()
        return self._ids[segment]


def _in_common(one: Ids, other: Ids) -> int:
    """How many configurations two lists of ids have in common, each as often as both have it."""
    (mine, n_mine), (others, n_others) = (np.unique(as_keys(ids), return_counts=True) for ids in (one, other))
    _, here, there = np.intersect1d(mine, others, assume_unique=True, return_indices=True)
    return int(np.minimum(n_mine[here], n_others[there]).sum())
