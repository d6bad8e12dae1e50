"""Checksums of the blocks under an array, each verified once in an opening, when it is first read."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xxhash

from mlpdata.errors import CorruptError
from mlpdata.frames import I64, ragged_index
from mlpdata.store.layout import BLOCK
from mlpdata.store.ranges import Pages, Pieces, Placed


class Blocks:
    """The blocks of all shards of one array, by the place of their bytes.

    Args:
        placed: shards and blank runs in the order of their rows.
        pages: where the bytes are.
    """

    def __init__(self, placed: Sequence[Placed], pages: Pages | Pieces) -> None:
        self._pages = pages
        self._placed = placed
        counts, start, stop, checksum = [], [], [], []
        for one in placed:
            first, last = one.first_row * pages.row_bytes, (one.first_row + one.rows) * pages.row_bytes
            expected = one.record.checksums() if one.record is not None else np.zeros(1, np.uint64)
            begin = first + np.arange(len(expected)) * BLOCK
            counts.append(_checked_count(one, len(expected), last - first))
            start.append(begin)
            stop.append(np.minimum(begin + BLOCK, last) if one.record is not None else np.array([last]))
            checksum.append(expected)
        self._owner = np.repeat(np.arange(len(placed)), counts)
        self._start: I64 = np.concatenate(start or [np.zeros(0, np.int64)])
        self._stop: I64 = np.concatenate(stop or [np.zeros(0, np.int64)])
        self._checksum = np.concatenate(checksum or [np.zeros(0, np.uint64)])
        blank = np.array([one.path is None for one in placed], bool)
        filled = np.array([(one.first_row + one.filled) * pages.row_bytes for one in placed], np.int64)
        self._good = blank[self._owner] | (self._start >= filled[self._owner])
        self.n_unread = int((~self._good).sum())
        """Blocks that were not verified yet, but for those that hold padding alone: no reading ever comes to them."""

    def check(self, start: I64, stop: I64) -> None:
        """Verify each block that holds a byte of the ranges [start, stop), unless it was verified before.

        Raises:
            CorruptError: names the file and the block.
        """
        some = stop > start
        first = np.searchsorted(self._start, start[some], side="right") - 1
        last = np.searchsorted(self._start, stop[some] - 1, side="right") - 1
        touched = np.unique(ragged_index(first, last - first + 1))
        self._check(touched[~self._good[touched]])

    def check_all(self) -> None:
        """Verify every block that was not verified before.

        Raises:
            CorruptError: names the file and the block.
        """
        self._check(np.flatnonzero(~self._good))

    def _check(self, blocks: I64) -> None:
        for block in blocks.tolist():
            found = xxhash.xxh3_64_intdigest(self._pages.bytes(int(self._start[block]), int(self._stop[block])))
            if found != int(self._checksum[block]):
                owner = self._placed[self._owner[block]]
                number = (int(self._start[block]) - owner.first_row * self._pages.row_bytes) // BLOCK
                raise CorruptError(
                    f"expected checksum {int(self._checksum[block]):016x} of block {number} (bytes {number * BLOCK} on), "
                    f"found {found:016x}. The bytes changed since they were written: restore the file.",
                    path=owner.path,
                )
            self._good[block] = True
        self.n_unread -= len(blocks)


def _checked_count(one: Placed, blocks: int, size: int) -> int:
    """`blocks`, which must be the number of MiB blocks of a shard of `size` bytes."""
    if one.record is not None and blocks != -(-size // BLOCK):
        raise CorruptError(f"expected {-(-size // BLOCK)} block checksums, found {blocks}.", path=one.path)
    return blocks
