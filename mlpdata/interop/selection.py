"""What is exported: rows of a snapshot in their order, read block by block, each with the calculation it is of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mlpdata.errors import UsageError
from mlpdata.frames import I64, MAX_ATOMS_PER_BLOCK, Frames
from mlpdata.schema.calculation import Calculation
from mlpdata.schema.properties import PAIR, PROPERTIES
from mlpdata.store.snapshot import OpenSnapshot

Ids = NDArray[np.uint8]
PAIRS_PER_ATOM = 64
"""Pairs of atoms that weigh as much as one atom where a block is filled; blocks with pairs stay below some 300 MB."""


class Selection:
    """Configurations of a snapshot, each once.

    Args:
        snapshot: where they are.
        rows: global rows, distinct, in the order of the export.
        ids: of those rows, shape (n_configurations, 16).
        calculations: those that the rows are of.
        of_row: place of each row's calculation among them, shape (n_configurations,).
        n_repeated: rows with an id that was there before, which were passed over.
    """

    def __init__(
        self,
        snapshot: OpenSnapshot,
        rows: I64,
        ids: Ids,
        calculations: Sequence[Calculation],
        of_row: I64,
        n_repeated: int = 0,
    ) -> None:
        self.snapshot = snapshot
        self.rows = rows
        self.ids = ids
        self.calculations = tuple(calculations)
        self.of_row = of_row
        self.n_repeated = n_repeated

    @classmethod
    def of(cls, snapshot: OpenSnapshot, ids: Ids | None = None) -> Selection:
        """The configurations `ids` in their order, or all; one that is named or stored twice is there once.

        Raises:
            NotFound: an id that the snapshot does not show.
            UsageError: nothing is selected.
        """
        rows = snapshot.visible_rows() if ids is None else None
        ids = snapshot.ids() if ids is None else np.ascontiguousarray(ids, np.uint8).reshape(-1, 16)
        first = np.sort(np.unique(ids.view("V16").ravel(), return_index=True)[1])
        if not len(first):
            raise UsageError("expected configurations to export, found none. Widen the selection.")
        n_repeated = len(ids) - len(first)
        ids = ids[first]
        rows = snapshot.rows(ids) if rows is None else rows[first]
        return cls(snapshot, rows, ids, *_calculations(snapshot, rows), n_repeated)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def n_atoms(self) -> I64:
        """Atoms of each configuration, shape (n_configurations,)."""
        return self.snapshot.mapped.n_atoms[self.rows]

    def take(self, which: NDArray[np.bool_] | I64) -> Selection:
        """Those at `which` (indices or a mask), in that order; of calculations those that they are of."""
        of_row = self.of_row[which]
        used, renumbered = np.unique(of_row, return_inverse=True)
        return Selection(
            self.snapshot, self.rows[which], self.ids[which], [self.calculations[one] for one in used], renumbered
        )

    def blocks(self, names: Sequence[str] | None = None) -> Iterator[Block]:
        """The configurations in order, in blocks of bounded size.

        Args:
            names: properties to be read; all by default.

        Raises:
            CorruptError: bytes are not those that were written.
        """
        mapped, n_atoms = self.snapshot.mapped, self.n_atoms
        weight = n_atoms
        if any(PROPERTIES[name].level == PAIR for name in (mapped.names if names is None else names)):
            weight = n_atoms + n_atoms**2 // PAIRS_PER_ATOM
        for part in pieces(weight):
            rows = self.rows[part]
            if names is None:
                yield Block(part, mapped.frames(rows))
            else:
                yield Block(part, Frames(n_atoms[part], mapped.gather_many(names, rows)))


class Terms(NamedTuple):
    """How a selection is to be written."""

    present: Mapping[str, int]
    """Configurations that have it, by property."""
    about: dict[str, Any]
    """Snapshot, content, query and format; a writer adds what a reader of the sidecar needs."""
    prefix: str = ""
    """Put before the names of energy, forces and stress, where the format lets one choose."""


class Block(NamedTuple):
    """A part of a selection."""

    part: slice
    """Where it stands in the selection."""
    frames: Frames


def pieces(weight: I64, limit: int = MAX_ATOMS_PER_BLOCK) -> Iterator[slice]:
    """Ranges that weigh at most `limit`, at least one item each."""
    ends = np.cumsum(weight)
    start = 0
    while start < len(weight):
        before = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + limit, side="right")))
        yield slice(start, stop)
        start = stop


def _calculations(snapshot: OpenSnapshot, rows: I64) -> tuple[list[Calculation], I64]:
    """The calculations of `rows`, and the place of each row's one among them."""
    wanted = np.sort(rows)
    found: list[Calculation] = []
    first_rows: list[int] = []
    for segment, record, calculation, hidden in snapshot.keyed():
        if hidden:
            continue
        shown = snapshot.rows_of(segment, record)
        if np.searchsorted(wanted, shown.start) < np.searchsorted(wanted, shown.stop):
            found.append(calculation)
            first_rows.append(shown.start)
    order = np.argsort(first_rows)
    place = order[np.searchsorted(np.array(first_rows)[order], rows, side="right") - 1]
    return found, place
