"""Checksums of the blocks under an array, each verified once in an opening, when it is first read."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xxhash

from mlpdata.errors import CorruptError
from mlpdata.frames import I64, ragged_index
from mlpdata.store.keeper import Block, fetch_blocks, keeper
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
        wrong = self._wrong(blocks)
        if len(wrong):
            fetch_blocks([self._kept(block) for block in wrong.tolist()])
            wrong = self._wrong(wrong)
        self.n_unread = int((~self._good).sum())
        if len(wrong):
            one = self._kept(int(wrong[0]))
            raise CorruptError(
                f"expected checksum {one.checksum:016x} of block {one.offset // BLOCK} (bytes {one.offset} on), "
                f"found {self._found(int(wrong[0])):016x}. The bytes changed since they were written: restore the file.",
                path=keeper(one.path).address(one.path),
            )

    def _wrong(self, blocks: I64) -> I64:
        """Those of `blocks` that are not what was written; the others are known to be good from here on."""
        for block in blocks.tolist():
            self._good[block] = self._found(block) == int(self._checksum[block])
        wrong: I64 = blocks[~self._good[blocks]]
        return wrong

    def _found(self, block: int) -> int:
        return xxhash.xxh3_64_intdigest(self._pages.bytes(int(self._start[block]), int(self._stop[block])))

    def _kept(self, block: int) -> Block:
        """A block by the place of its bytes in its file."""
        owner = self._placed[self._owner[block]]
        assert owner.path is not None  # blank rows are good from the start
        start, stop = int(self._start[block]), int(self._stop[block])
        return Block(
            owner.path, start - owner.first_row * self._pages.row_bytes, stop - start, int(self._checksum[block])
        )


def _checked_count(one: Placed, blocks: int, size: int) -> int:
    """`blocks`, which must be the number of MiB blocks of a shard of `size` bytes."""
    if one.record is not None and blocks != -(-size // BLOCK):
        raise CorruptError(f"expected {-(-size // BLOCK)} block checksums, found {blocks}.", path=one.path)
    return blocks
