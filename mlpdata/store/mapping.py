"""Read configurations from mapped shards: many segments, one array each, at the speed of memory.

Each array has one reserved address range. The data part of every shard of every segment is mapped into it; segments
start at multiples of 65,536 rows and what a segment lacks is mapped to blank pages. A batch is then one `take`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mlpdata.errors import CorruptError, NotFound, UsageError
from mlpdata.frames import I64, Frames, ragged_index
from mlpdata.schema.properties import ATOM, CONFIGURATION, PAIR, PROPERTIES, REQUIRED
from mlpdata.store import layout
from mlpdata.store.blocks import Blocks
from mlpdata.store.layout import ATOM_START, COUNTS, N_ATOMS, STARTS, Manifest
from mlpdata.store.ranges import Pages, Pieces, Placed, open_shards

Part = tuple[Path, Manifest]


class Mapped:
    """Configurations of several folders, numbered through, read-only.

    Args:
        parts: folders of Zarr groups with their manifests; their rows follow each other.
        reserve: map into one address range an array; False reads each file through a mapping of its own.

    Raises:
        CorruptError: a file is missing or has another size or index than its manifest says.
    """

    def __init__(self, parts: Sequence[Part], *, reserve: bool = True) -> None:
        self._parts = list(parts)
        manifests = [manifest for _, manifest in parts]
        found = {name for manifest in manifests for name in manifest.arrays}
        self.names = tuple(name for name in PROPERTIES if name in found)
        """Properties that at least one part has, in the order of the registry."""
        self._first_row = _cumulative([manifest.n_configurations for manifest in manifests])
        self._base = {
            CONFIGURATION: _cumulative([_aligned(manifest.n_configurations) for manifest in manifests]),
            ATOM: _cumulative([_aligned(manifest.n_atoms) for manifest in manifests]),
        }
        kind = Pages if reserve and Pages.possible() else Pieces
        starts = [STARTS[name] for name in self.names if name in STARTS]
        self._arrays = {name: self._open(name, kind) for name in (*COUNTS, *starts, *self.names)}
        self._bit = {name: 1 << index for index, name in enumerate(self.names)}
        self._read_counts()
        self._flags = np.zeros(self.n_configurations, np.uint64)
        self._whole = 0

    def _open(self, name: str, kind: type[Pages | Pieces]) -> _Column:
        """Map the shards of one array of all parts."""
        level = layout.level_of(name)
        record = next(
            (manifest.arrays[name] for _, manifest in self._parts if name in manifest.arrays),
            layout.counts_record(),
        )
        sizes = [_rows(manifest, name) for _, manifest in self._parts]
        bases = self._base[level] if level != PAIR else _cumulative([_aligned(rows) for rows in sizes])
        placed: list[Placed] = []
        for (folder, manifest), rows, base in zip(self._parts, sizes, bases.tolist(), strict=False):
            placed.extend(open_shards(folder, manifest, name, rows, record, base=base))
        pages = kind(int(bases[-1]), record, layout.blank_of(name), placed)
        return _Column(level, pages, Blocks(placed, pages), bases)

    def _read_counts(self) -> None:
        """Verify and load `n_atoms` and where the atoms of each configuration begin."""
        sizes = np.diff(self._first_row)
        self._place: I64 = np.arange(self._first_row[-1]) + np.repeat(
            self._base[CONFIGURATION][:-1] - self._first_row[:-1], sizes
        )
        """Row of each configuration in the per-configuration ranges."""
        for name in COUNTS:
            self._arrays[name].blocks.check_all()
        self.n_atoms: I64 = self._arrays[N_ATOMS].pages.take(self._place)
        """Atoms of each configuration, shape (n_configurations,)."""
        start = self._arrays[ATOM_START].pages.take(self._place)
        layout.check_counts(self._parts, self._first_row, self.n_atoms, start)
        self._start: I64 = start + np.repeat(self._base[ATOM][:-1], sizes)
        """First atom of each configuration in the per-atom ranges."""

    @property
    def n_configurations(self) -> int:
        """Rows of all parts."""
        return int(self._first_row[-1])

    @property
    def first_row(self) -> I64:
        """Row at which each part begins, and the end, shape (n_parts + 1,)."""
        return self._first_row

    def gather(self, name: str, rows: ArrayLike, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """The array `name` of the configurations `rows`, in that order; dtype as stored.

        Args:
            name: a property; one that no part has is returned blank.
            rows: from 0 to n_configurations, in any order.
            out: array to fill, of the right shape and dtype.

        Returns:
            Per-atom arrays concatenated over the rows, shape (atoms of rows, ...), others (n_rows, ...).

        Raises:
            CorruptError: a block under these rows is not what was written.
            NotFound: a row outside the store.
        """
        return self.gather_many((name,), rows, None if out is None else {name: out})[name]

    def gather_many(
        self, names: Sequence[str], rows: ArrayLike, out: Mapping[str, NDArray[Any]] | None = None
    ) -> dict[str, NDArray[Any]]:
        """Several arrays of the same configurations: one check and one index for all of them. See `gather`."""
        index = self._checked_rows(rows)
        self._verify(names, index)
        return self._take(names, index, out or {})

    def _take(self, names: Sequence[str], rows: I64, out: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        place: I64 | None = None
        atoms: I64 | None = None
        taken = {}
        for name in names:
            column = self._arrays.get(name)
            if column is None:
                taken[name] = self._blank(name, rows, out.get(name))
                continue
            if column.level == PAIR:
                taken[name] = self._take_pairs(name, column, rows, out.get(name))
                continue
            if column.level == ATOM:
                index = atoms = (
                    ragged_index(self._start.take(rows), self.n_atoms.take(rows)) if atoms is None else atoms
                )
            else:
                index = place = self._place.take(rows) if place is None else place
            taken[name] = column.pages.take(index, out.get(name))
        return taken

    def _pair_starts(self, name: str, column: _Column, rows: I64) -> I64:
        """First row of the pairs of each configuration in their range; -1 where it has none."""
        start: I64 = self._arrays[STARTS[name]].pages.take(self._place.take(rows))
        part = np.searchsorted(self._first_row, rows, side="right") - 1
        first = start + column.bases[part]
        if ((start >= 0) & (first + self.n_atoms.take(rows) ** 2 > column.bases[part + 1])).any():
            raise CorruptError(f"expected {STARTS[name]} inside the rows of {name}, found more. Restore the segment.")
        return np.where(start < 0, -1, first)

    def _take_pairs(self, name: str, column: _Column, rows: I64, out: NDArray[Any] | None) -> NDArray[Any]:
        """Pairs of atoms of the configurations `rows`, blank where one has none."""
        squares, start = self.n_atoms.take(rows) ** 2, self._pair_starts(name, column, rows)
        present = start >= 0
        blank = self._blank(name, rows, out)
        taken = column.pages.take(ragged_index(start[present], squares[present]))
        blank[np.repeat(present, squares)] = taken
        return blank

    def _blank(self, name: str, rows: I64, out: NDArray[Any] | None) -> NDArray[Any]:
        if name not in PROPERTIES:
            raise UsageError(f"expected one of {', '.join(PROPERTIES)}, found {name!r}.")
        row = PROPERTIES[name]
        atoms = self.n_atoms.take(rows)
        blank = row.blank(int({ATOM: atoms.sum(), PAIR: atoms @ atoms}.get(row.level, len(rows))))
        if out is None:
            return blank
        out[...] = blank
        return out

    def frames(self, rows: ArrayLike) -> Frames:
        """The configurations `rows` as Frames (f64), in that order."""
        index = self._checked_rows(rows)
        names = tuple(dict.fromkeys((*REQUIRED, *self.names)))
        self._verify(names, index)
        return Frames(self.n_atoms.take(index), self._take(names, index, {}))

    def view(self, name: str, part: int) -> NDArray[Any] | None:
        """The array `name` of one part as it lies in memory, verified whole and read-only; None where it has none.

        An array of pairs holds only those of the configurations that have it.

        It stays valid as long as it is referred to, also after `close`.
        """
        column = self._arrays.get(name)
        if column is None or name not in self._parts[part][1].arrays:
            return None
        record = self._parts[part][1].arrays[name]
        first = int(column.bases[part])
        column.blocks.check(np.array([first * record.row_bytes]), np.array([(first + record.rows) * record.row_bytes]))
        return column.pages.slice(first, first + record.rows)

    def close(self) -> None:
        """Release the mappings; arrays that were gathered stay valid."""
        self._arrays = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _checked_rows(self, rows: ArrayLike) -> I64:
        if not self._arrays:
            raise UsageError("expected an open mapping, found a closed one. Open the snapshot again.")
        index = np.ascontiguousarray(rows, np.int64).reshape(-1)
        # a negative row is a large one when read as unsigned: one pass checks both ends
        if len(index) and np.maximum.reduce(index.view(np.uint64)) >= self.n_configurations:
            raise NotFound(
                f"expected rows from 0 to {self.n_configurations - 1}, found {index.min()} to {index.max()}."
            )
        return index

    def _verify(self, names: Sequence[str], rows: I64) -> None:
        """Check the blocks under `rows` of `names`, unless each of these configurations was read before."""
        wanted = 0
        for name in names:
            wanted |= self._bit.get(name, 0)  # a name that no part has is blank
        if wanted & ~self._whole == 0:
            return
        flags = self._flags.take(rows)
        if int(np.bitwise_and.reduce(flags)) & wanted == wanted:
            return
        first, new = self._start.take(rows), self._place.take(rows)
        for name in self._bit.keys() & set(names):
            bit = self._bit[name]
            fresh = (flags & np.uint64(bit)) == 0
            column = self._arrays[name]
            start, stop = self._span(name, column, rows[fresh], first[fresh], new[fresh])
            column.blocks.check(start * column.pages.row_bytes, stop * column.pages.row_bytes)
            self._flags[rows[fresh]] |= np.uint64(bit)
            if column.blocks.n_unread == 0:
                self._whole |= bit

    def _span(self, name: str, column: _Column, rows: I64, atom: I64, place: I64) -> tuple[I64, I64]:
        """First row and end of what an array holds of each configuration."""
        if column.level == ATOM:
            return atom, atom + self.n_atoms.take(rows)
        if column.level == CONFIGURATION:
            return place, place + 1
        places = self._arrays[STARTS[name]]
        places.blocks.check(place * places.pages.row_bytes, (place + 1) * places.pages.row_bytes)
        start = self._pair_starts(name, column, rows)
        begin = np.maximum(start, 0)
        return begin, begin + np.where(start < 0, 0, self.n_atoms.take(rows) ** 2)


class _Column:
    """One array: where its bytes are and what is known of them."""

    __slots__ = ("bases", "blocks", "level", "pages")

    def __init__(self, level: str, pages: Pages | Pieces, blocks: Blocks, bases: I64) -> None:
        self.level = level
        self.pages = pages
        self.blocks = blocks
        self.bases = bases


def _rows(manifest: Manifest, name: str) -> int:
    """How many rows an array of one part has, or would have."""
    level = layout.level_of(name)
    if level == PAIR:
        return manifest.arrays[name].rows if name in manifest.arrays else 0
    return manifest.n_atoms if level == ATOM else manifest.n_configurations


def _aligned(rows: int) -> int:
    return -(-rows // layout.ALIGNMENT) * layout.ALIGNMENT


def _cumulative(sizes: Sequence[int]) -> I64:
    return np.concatenate(([0], np.cumsum(np.array(sizes, np.int64)))).astype(np.int64)
