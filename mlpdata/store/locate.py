"""Which configurations lie under bytes that changed: from blocks of a shard to rows, calculations and snapshots."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import xxhash
from numpy.typing import NDArray

from mlpdata.errors import CorruptError
from mlpdata.frames import I64
from mlpdata.schema.properties import ATOM, CONFIGURATION
from mlpdata.store.layout import ATOM_START, BLOCK, N_ATOMS, STARTS, ArrayRecord, FileRecord, Manifest

Mask = NDArray[np.bool_]
"""Whether each configuration of a segment is touched."""


class Shard(NamedTuple):
    """A file of an array."""

    name: str
    """Of the array."""
    number: int
    array: ArrayRecord

    @property
    def first_row(self) -> int:
        """Row of the array at which it begins."""
        return self.number * self.array.shard_rows

    @property
    def rows(self) -> int:
        """Rows of the array that it holds."""
        return self.array.rows_of(self.number)

    @property
    def covered(self) -> int:
        """Bytes under block checksums: all but the index at the end."""
        return self.array.grid.padded(self.rows) * self.array.row_bytes

    @property
    def closing(self) -> bytes:
        """The index at its end, which follows from the manifest."""
        return self.array.grid.shard_index(self.rows, self.array.row_bytes)


def shards(manifest: Manifest) -> dict[str, Shard]:
    """All shards by their path relative to the group."""
    every = (Shard(name, number, one) for name, one in manifest.arrays.items() for number in range(one.n_shards))
    return {shard.array.shard_name(shard.name, shard.number): shard for shard in every}


def changed_blocks(path: Path, record: FileRecord, covered: int) -> I64:
    """Numbers of the MiB blocks of a file that are not as they were written; all where it cannot be read."""
    expected = record.checksums()
    changed = np.ones(len(expected), bool)
    try:
        with path.open("rb") as file:
            for number, checksum in enumerate(expected.tolist()):
                block = file.read(min(BLOCK, covered - number * BLOCK))
                changed[number] = xxhash.xxh3_64_intdigest(block) != checksum
    except OSError:
        pass
    return np.flatnonzero(changed)


def touched(folder: Path, manifest: Manifest, shard: Shard, blocks: I64) -> Mask:
    """The configurations that have a row under some blocks of a shard.

    Args:
        folder: of the group; its counts are well.
        manifest: of the group.
        shard: the file.
        blocks: numbers of its blocks.
    """
    row_bytes, mask = shard.array.row_bytes, np.zeros(manifest.n_configurations, bool)
    first = np.minimum(blocks * BLOCK // row_bytes, shard.rows) + shard.first_row
    end = np.minimum(-(-(blocks + 1) * BLOCK // row_bytes), shard.rows) + shard.first_row
    if shard.array.level == CONFIGURATION:
        begin, length = np.arange(len(mask)), np.ones(len(mask), np.int64)
    elif shard.array.level == ATOM:
        begin, length = (read_array(folder, manifest, name) for name in (ATOM_START, N_ATOMS))
    else:
        begin = read_array(folder, manifest, STARTS[shard.name])
        length = np.where(begin < 0, 0, read_array(folder, manifest, N_ATOMS) ** 2)
    for one, last in zip(first.tolist(), end.tolist(), strict=True):
        mask |= (begin < last) & (begin + length > one)
    return mask


def read_array(folder: Path, manifest: Manifest, name: str) -> NDArray[np.int64]:
    """A whole array of places or counts as it is on disk, shape (n_configurations,).

    Raises:
        CorruptError: a file is missing or too short.
    """
    array = manifest.arrays[name]
    parts = [np.empty(0, np.int64)]
    for number in range(array.n_shards):
        path = folder / array.shard_name(name, number)
        try:
            parts.append(np.fromfile(path, "<i8", array.rows_of(number)).astype(np.int64))
        except OSError as error:
            raise CorruptError(f"expected {name}, found: {error.strerror}.", path=path) from error
    whole = np.concatenate(parts)
    if len(whole) != array.rows:
        raise CorruptError(f"expected {array.rows} rows of {name}, found {len(whole)}.", path=folder)
    return whole


def runs(mask: Mask) -> tuple[tuple[int, int], ...]:
    """First row and end of each run of rows that are touched."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], mask, [False]))))
    return tuple((int(first), int(end)) for first, end in edges.reshape(-1, 2))


def within(mask: Mask, first: Sequence[int], n: Sequence[int]) -> list[int]:
    """How many rows are touched of each calculation, by its first row and its number of rows."""
    before = np.concatenate(([0], np.cumsum(mask)))
    start = np.array(first, np.int64)
    return [int(count) for count in before[start + np.array(n, np.int64)] - before[start]]
