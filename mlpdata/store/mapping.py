"""Read configurations from mapped shards: many segments, one array each, at the speed of memory.

Each array has one reserved address range. The data part of every shard of every segment is mapped into it; segments
start at multiples of 65,536 rows and what a segment lacks is mapped to blank pages. A batch is then one `take`.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

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
FEW = 1 << 20
"""Configurations of which it is kept in memory where they lie; of more it is looked up batch by batch."""


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
        self._n_atoms_of_part = np.array([manifest.n_atoms for manifest in manifests], np.int64)
        kind = Pages if reserve and Pages.possible() else Pieces
        starts = [STARTS[name] for name in self.names if name in STARTS]
        self._arrays = {name: self._open(name, kind) for name in (*COUNTS, *starts, *self.names)}
        self._bit = {name: 1 << index for index, name in enumerate(self.names)}
        shift = self._base[CONFIGURATION][:-1] - self._first_row[:-1]
        self._shift: I64 = shift
        """What is added to a row of each part to give its row in the per-configuration ranges."""
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

    @functools.cached_property
    def n_atoms(self) -> I64:
        """Atoms of each configuration, verified, shape (n_configurations,)."""
        self._arrays[N_ATOMS].blocks.check_all()
        sizes = np.diff(self._first_row)
        return np.concatenate(
            [np.empty(0, np.int64)]
            + [
                self._arrays[N_ATOMS].pages.slice(first, first + rows)
                for first, rows in zip(self._base[CONFIGURATION].tolist(), sizes.tolist(), strict=False)
            ]
        )

    def check_counts(self) -> None:
        """Refuse counts of atoms and starts that do not fit together.

        Raises:
            CorruptError: a start that is not the sum of the counts before it.
        """
        rows = np.arange(self.n_configurations)
        where = self._located(rows)
        start = where.start - self._base[ATOM].take(self._part_of(rows))
        layout.check_counts(self._parts, self._first_row, where.n_atoms, start)

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
        where = self._located(self._checked_rows(rows))
        self._verify(names, where)
        return self._take(names, where, out or {})

    def _located(self, rows: I64) -> _Located:
        """Where configurations lie."""
        whole = self._all
        if whole is None:
            return self._looked_up(rows)
        return _Located(rows, whole.place.take(rows), whole.n_atoms.take(rows), whole.start.take(rows))

    @functools.cached_property
    def _all(self) -> _Located | None:
        """Where all lie, if they are few, and if nothing of what says so is damaged: the rest is read all the same."""
        try:
            return self._looked_up(np.arange(self.n_configurations)) if self.n_configurations <= FEW else None
        except CorruptError:
            return None

    def _looked_up(self, rows: I64) -> _Located:
        """Where configurations lie, from the arrays that say so, which are verified when they are first read."""
        part = self._part_of(rows)
        place = rows + self._shift.take(part)
        counts, starts = self._arrays[N_ATOMS], self._arrays[ATOM_START]
        fresh = counts.blocks.n_unread + starts.blocks.n_unread
        for column in (counts, starts) if fresh else ():
            column.blocks.check(place * column.pages.row_bytes, (place + 1) * column.pages.row_bytes)
        n_atoms, start = counts.pages.take(place), starts.pages.take(place)
        if fresh:
            self._refuse_outside(part, n_atoms, start)
        return _Located(rows, place, n_atoms, start + self._base[ATOM].take(part))

    def _part_of(self, rows: I64) -> I64:
        return np.searchsorted(self._first_row, rows, side="right") - 1

    def _refuse_outside(self, part: I64, n_atoms: I64, start: I64) -> None:
        most = self._n_atoms_of_part.take(part)
        if len(start) and ((n_atoms < 0) | (start < 0) | (start + n_atoms > most)).any():
            raise CorruptError(
                f"expected {ATOM_START} and {N_ATOMS} inside the rows of a segment, found more. Restore the segment.",
                path=self._parts[0][0],
            )

    def _take(self, names: Sequence[str], where: _Located, out: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        atoms: I64 | None = None
        taken = {}
        for name in names:
            column = self._arrays.get(name)
            if column is None:
                taken[name] = self._blank(name, where, out.get(name))
                continue
            if column.level == PAIR:
                taken[name] = self._take_pairs(name, column, where, out.get(name))
                continue
            index = where.place
            if column.level == ATOM:
                index = atoms = ragged_index(where.start, where.n_atoms) if atoms is None else atoms
            taken[name] = column.pages.take(index, out.get(name))
        return taken

    def _pair_starts(self, name: str, column: _Column, where: _Located) -> I64:
        """First row of the pairs of each configuration in their range; -1 where it has none."""
        start: I64 = self._arrays[STARTS[name]].pages.take(where.place)
        part = self._part_of(where.rows)
        first: I64 = start + column.bases[part]
        if ((start >= 0) & (first + where.n_atoms**2 > column.bases[part + 1])).any():
            raise CorruptError(f"expected {STARTS[name]} inside the rows of {name}, found more. Restore the segment.")
        return np.where(start < 0, -1, first)

    def _take_pairs(self, name: str, column: _Column, where: _Located, out: NDArray[Any] | None) -> NDArray[Any]:
        """Pairs of atoms of configurations, blank where one has none."""
        squares, start = where.n_atoms**2, self._pair_starts(name, column, where)
        present = start >= 0
        blank = self._blank(name, where, out)
        taken = column.pages.take(ragged_index(start[present], squares[present]))
        blank[np.repeat(present, squares)] = taken
        return blank

    def _blank(self, name: str, where: _Located, out: NDArray[Any] | None) -> NDArray[Any]:
        if name not in PROPERTIES:
            raise UsageError(f"expected one of {', '.join(PROPERTIES)}, found {name!r}.")
        row, atoms = PROPERTIES[name], where.n_atoms
        blank = row.blank(int({ATOM: atoms.sum(), PAIR: atoms @ atoms}.get(row.level, len(where.rows))))
        if out is None:
            return blank
        out[...] = blank
        return out

    def frames(self, rows: ArrayLike) -> Frames:
        """The configurations `rows` as Frames (f64), in that order."""
        where = self._located(self._checked_rows(rows))
        names = tuple(dict.fromkeys((*REQUIRED, *self.names)))
        self._verify(names, where)
        return Frames(where.n_atoms, self._take(names, where, {}))

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

    def _verify(self, names: Sequence[str], where: _Located) -> None:
        """Check the blocks under `names` of configurations, unless each of these was read before."""
        wanted = 0
        for name in names:
            wanted |= self._bit.get(name, 0)  # a name that no part has is blank
        if wanted & ~self._whole == 0:
            return
        flags = self._flags.take(where.rows)
        if int(np.bitwise_and.reduce(flags)) & wanted == wanted:
            return
        for name in self._bit.keys() & set(names):
            bit = self._bit[name]
            fresh = (flags & np.uint64(bit)) == 0
            column = self._arrays[name]
            start, stop = self._span(name, column, where.those(fresh))
            column.blocks.check(start * column.pages.row_bytes, stop * column.pages.row_bytes)
            self._flags[where.rows[fresh]] |= np.uint64(bit)
            if column.blocks.n_unread == 0:
                self._whole |= bit

    def _span(self, name: str, column: _Column, where: _Located) -> tuple[I64, I64]:
        """First row and end of what an array holds of each configuration."""
        if column.level == ATOM:
            return where.start, where.start + where.n_atoms
        if column.level == CONFIGURATION:
            return where.place, where.place + 1
        places = self._arrays[STARTS[name]]
        places.blocks.check(where.place * places.pages.row_bytes, (where.place + 1) * places.pages.row_bytes)
        start = self._pair_starts(name, column, where)
        begin = np.maximum(start, 0)
        return begin, begin + np.where(start < 0, 0, where.n_atoms**2)


class _Located(NamedTuple):
    """Where configurations lie."""

    rows: I64
    place: I64
    """Rows in the per-configuration ranges."""
    n_atoms: I64
    start: I64
    """First atoms in the per-atom ranges."""

    def those(self, some: NDArray[np.bool_]) -> _Located:
        """A part of them."""
        return _Located(*(values[some] for values in self))


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
