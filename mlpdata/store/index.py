"""The index of ids of a segment: sorted ids with the row of each, in a file that is mapped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mlpdata import digest
from mlpdata.store import layout, tables
from mlpdata.store.layout import Segment

Ids = NDArray[np.uint8]
I64 = NDArray[np.int64]


def id_index(ids: Ids) -> bytes:
    """The sorted ids, 16 bytes each, then the row of each as int64."""
    halves = np.ascontiguousarray(ids).view(">u8").reshape(-1, 2)
    order = np.lexsort((halves[:, 1], halves[:, 0]))
    return ids[order].tobytes() + order.astype("<i8").tobytes()


def split_index(content: NDArray[np.uint8]) -> tuple[Ids, NDArray[np.int64]]:
    """The reverse of `id_index`: sorted ids of shape (n, 16), and their rows."""
    count = len(content) // (digest.ID_BYTES + 8)
    return (
        content[: count * digest.ID_BYTES].reshape(count, digest.ID_BYTES),
        content[count * digest.ID_BYTES :].view("<i8"),
    )


class IdIndex:
    """The ids of one segment, verified when opened.

    Raises:
        CorruptError: the file is not what was written.
    """

    def __init__(self, folder: Path, segment: Segment) -> None:
        path = folder / layout.IDS
        record = layout.file_of(segment, layout.IDS, path)
        tables.check_file(path, record)
        content = np.memmap(path, np.uint8, "r") if record.bytes else np.empty(0, np.uint8)
        self.ids, self.row = split_index(content)
        self._keys = as_keys(self.ids)

    def in_order(self) -> Ids:
        """The id of each row, shape (n, 16)."""
        ids = np.empty_like(self.ids)
        ids[self.row] = self.ids
        return ids

    def find(self, ids: Ids, visible: NDArray[np.bool_]) -> I64:
        """A visible row with each id, or -1, shape (n_ids,).

        Args:
            ids: shape (n_ids, 16).
            visible: whether each row of the segment is shown. The same id may stand in several rows.
        """
        keys = as_keys(ids)
        at = np.searchsorted(self._keys, keys)
        found = np.full(len(ids), -1, np.int64)
        open_ = np.arange(len(ids))
        while len(open_):
            open_ = open_[at[open_] < len(self._keys)]
            open_ = open_[self._keys[at[open_]] == keys[open_]]
            shown = visible[self.row[at[open_]]]
            found[open_[shown]] = self.row[at[open_[shown]]]
            open_ = open_[~shown]
            at[open_] += 1
        return found


def as_keys(ids: Ids) -> NDArray[np.bytes_]:
    """Ids as values that numpy compares byte by byte, shape (n,)."""
    return np.ascontiguousarray(ids).view("S16").reshape(-1)
