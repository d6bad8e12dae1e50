"""One snapshot, opened for reading: tables, arrays, ids. What was retracted is not there."""

from __future__ import annotations

import functools

import numpy as np

from mlpdata.errors import NotFound
from mlpdata.frames import I64, Frames
from mlpdata.store import layout
from mlpdata.store.index import IdIndex, Ids
from mlpdata.store.mapping import Mapped
from mlpdata.store.snapshot_tables import SnapshotTables


class OpenSnapshot(SnapshotTables):
    """One version of a store, read-only; what was once read stays verified for as long as it is open.

    Args:
        store: folder of the store.
        record: the snapshot.
    """

    @functools.cached_property
    def mapped(self) -> Mapped:
        """The arrays of all segments, hidden rows included; rows are those of `rows` and `visible_rows`."""
        return Mapped(
            [(self._folder(number) / layout.ARRAYS, segment.arrays) for number, segment in enumerate(self.segments)]
        )

    def visible_rows(self) -> I64:
        """The global rows that the snapshot shows, ascending, shape (n_configurations,)."""
        return np.flatnonzero(self._visible)

    def ids(self) -> Ids:
        """The ids of `visible_rows`, shape (n_configurations, 16)."""
        parts = [index.in_order() for index in self._indices]
        whole = np.concatenate([np.empty((0, 16), np.uint8), *parts])
        return whole[self._visible]

    def rows(self, ids: Ids) -> I64:
        """Global rows of `ids`, in their order, shape (n_ids,).

        Args:
            ids: shape (n_ids, 16).

        Raises:
            NotFound: names the first id that the snapshot does not show.
        """
        wanted = np.ascontiguousarray(ids, np.uint8).reshape(-1, 16)
        found = np.full(len(wanted), -1, np.int64)
        for number, index in enumerate(self._indices):
            first, last = self._first_row[number : number + 2]
            missing = np.flatnonzero(found < 0)
            if not len(missing):
                break
            rows = index.find(wanted[missing], self._visible[first:last])
            found[missing] = np.where(rows < 0, -1, rows + first)
        if (found < 0).any():
            one = wanted[int(np.argmin(found >= 0))].tobytes().hex()
            raise NotFound(f"expected a configuration of this snapshot, found no id {one}.", path=self.store)
        return found

    def rows_of(self, segment: str, record: str) -> slice:
        """The global rows that are shown of a calculation.

        Args:
            segment: where it is stored.
            record: digest of its record as stored.

        Raises:
            NotFound: no such calculation.
        """
        number = self.state.segments.index(segment)
        one = self._index_of(number).get(record)
        if one is None:
            raise NotFound(
                f"expected a calculation of segment {segment[:12]}, found no {record[:12]}.", path=self.store
            )
        first = int(self._first_row[number]) + one.first_row
        return slice(first + self.skipped(segment, record), first + one.n_configurations)

    def n_shown(self, segment: str, record: str) -> int:
        """How many configurations are shown of a calculation."""
        rows = self.rows_of(segment, record)
        return int(rows.stop - rows.start)

    def ids_of(self, segment: str, record: str, *, skipped: bool = False) -> Ids:
        """The ids of the configurations that are shown of a calculation, in order, shape (n_configurations, 16).

        Args:
            segment: where it is stored.
            record: digest of its record as stored.
            skipped: also of its first ones that an amendment hides.
        """
        number, rows = self.state.segments.index(segment), self.rows_of(segment, record)
        first = int(self._first_row[number])
        start = rows.start - (self.skipped(segment, record) if skipped else 0)
        return self._indices[number].in_order()[start - first : rows.stop - first]

    def read(self, ids: Ids) -> Frames:
        """The configurations `ids`, in their order.

        Raises:
            NotFound: an id that the snapshot does not show.
            CorruptError: bytes are not those that were written.
        """
        return self.mapped.frames(self.rows(ids))

    def close(self) -> None:
        """Release the mappings."""
        self.mapped.close()

    @functools.cached_property
    def _indices(self) -> list[IdIndex]:
        return [IdIndex(self._folder(number), segment) for number, segment in enumerate(self.segments)]
