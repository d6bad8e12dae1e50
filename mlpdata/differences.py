"""Differences: what one snapshot shows that another does not, down to the labels of the same geometry.

Both are compared by ids, which are digests of what was computed: rows that both show from the same place are set aside
unread, the others are matched by id, and what is left by geometry. All of it is arithmetic on whole columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mlpdata.attribute_changes import AttributeChanges, attribute_changes
from mlpdata.frames import I64
from mlpdata.store.snapshot import OpenSnapshot
from mlpdata.units import F64

MILLI = 1e3
"""meV in an eV."""
BY_CALCULATION = pa.schema(
    [
        ("path", pa.string()),
        ("calculation_id", pa.string()),
        *((name, pa.int64()) for name in ("added", "removed", "relabelled")),
        *((f"{how}_{what}_change", pa.float64()) for what in ("energy", "force") for how in ("max", "mean")),
    ]
)
"""Changes are those of `Differences`, in its units."""
ROWS_AT_A_TIME = 65_536
"""Configurations whose forces are in memory together."""
_COLUMNS = ["id", "geometry_id", "calculation_id", "path", "n_atoms", "energy"]


class Spread(NamedTuple):
    """How far labels moved."""

    largest: float | None
    """None where no two labels could be compared."""
    mean: float | None
    n: int
    """How many configurations have the label on both sides."""

    def as_json(self) -> dict[str, Any]:
        """The spread as JSON values."""
        return {"max": self.largest, "mean": self.mean, "n": self.n}


NOTHING = Spread(None, None, 0)
"""Of no labels."""


@dataclass(frozen=True)
class Differences:
    """What a snapshot shows otherwise than an earlier one."""

    before: OpenSnapshot
    after: OpenSnapshot
    added: int = 0
    """Configurations of a geometry that has none, or fewer, in the earlier one."""
    removed: int = 0
    relabelled: int = 0
    """Configurations whose geometry stays, and whose labels are others."""
    energy: Spread = NOTHING
    """|energy difference| of the relabelled [meV/atom]."""
    forces: Spread = NOTHING
    """|force difference| on their atoms [meV/angstrom]: the largest of a configuration, the mean over atoms."""
    calculations: pa.Table = field(default_factory=BY_CALCULATION.empty_table)
    """What changed of the configurations of each calculation, columns `BY_CALCULATION`, by path."""
    attributes: AttributeChanges = field(default_factory=AttributeChanges)
    """What calculations say of themselves, and which came and went."""

    @property
    def none(self) -> bool:
        """Whether both show the same."""
        return self.before.content == self.after.content

    def as_json(self) -> dict[str, Any]:
        """The differences as JSON values."""
        return {
            "before": _named(self.before),
            "after": _named(self.after),
            "configurations": {"added": self.added, "removed": self.removed, "relabelled": self.relabelled},
            "energy_change": {"unit": "meV/atom", **self.energy.as_json()},
            "force_change": {"unit": "meV/angstrom", **self.forces.as_json()},
            "by_calculation": self.calculations.to_pylist(),
            **self.attributes.as_json(),
        }


def _named(snapshot: OpenSnapshot) -> dict[str, Any]:
    record = snapshot.record
    counts = {"n_configurations": record.n_configurations, "n_calculations": record.n_calculations}
    return {"snapshot": record.id, "content": record.content, "time": record.time, **counts}


def differences(before: OpenSnapshot, after: OpenSnapshot) -> Differences:
    """What `after` shows otherwise than `before`; both are snapshots of one store.

    Raises:
        CorruptError: bytes are not those that were written.
    """
    if before.content == after.content:
        return Differences(before, after)
    old, new = (_Side(*both) for both in ((before, _apart(before, after)), (after, _apart(after, before))))
    same, old_left, new_left = _matched(old, new, ["id"])
    relabelled, old_left, new_left = _matched(old_left, new_left, ["calculation_id", "geometry_id"])
    others, removed, added = _matched(old_left, new_left, ["geometry_id"])
    relabelled = relabelled.and_(others)
    energy, forces = relabelled.energy_changes(), relabelled.force_changes()
    return Differences(
        before,
        after,
        len(added),
        len(removed),
        len(relabelled.new),
        _spread(energy),
        _force_spread(forces, relabelled.n_atoms),
        _by_calculation(removed, added, relabelled, energy, forces),
        attribute_changes(before, after, pa.concat_tables([same.calculations(), relabelled.calculations()])),
    )


class _Side:
    """Configurations of one snapshot: columns that are compared, in the order of their rows.

    Args:
        snapshot: which shows them.
        rows: their global rows, ascending.
        table: their columns; read where it is not given.
    """

    def __init__(self, snapshot: OpenSnapshot, rows: I64, table: pa.Table | None = None) -> None:
        self.snapshot, self.rows = snapshot, rows
        self.table = _table(snapshot, rows) if table is None else table

    def __len__(self) -> int:
        return len(self.rows)

    def some(self, chosen: NDArray[Any]) -> _Side:
        """Those at the positions `chosen`, or where a mask says so."""
        positions = np.flatnonzero(chosen) if chosen.dtype == bool else chosen
        return _Side(self.snapshot, self.rows[positions], self.table.take(pa.array(positions)))

    def and_(self, other: _Side) -> _Side:
        """These and further ones."""
        rows = np.concatenate([self.rows, other.rows])
        return _Side(self.snapshot, rows, pa.concat_tables([self.table, other.table]))


class _Matched(NamedTuple):
    """Configurations of two snapshots, one and one."""

    old: _Side
    new: _Side

    def and_(self, other: _Matched) -> _Matched:
        """These and further ones."""
        return _Matched(self.old.and_(other.old), self.new.and_(other.new))

    def calculations(self) -> pa.Table:
        """Which calculations have configurations in common: ids `old` and `new`, each pair once."""
        both = {"old": self.old.table["calculation_id"], "new": self.new.table["calculation_id"]}
        return pa.table(both).group_by(["old", "new"]).aggregate([])

    def energy_changes(self) -> F64:
        """|energy difference| of each [meV/atom], NaN where a side has none, shape (n,)."""
        energies = (np.asarray(side.table["energy"].to_numpy(), np.float64) for side in self)
        change: F64 = np.abs(np.subtract(*energies)) / self.n_atoms * MILLI
        return change

    def force_changes(self) -> F64:
        """Largest and summed |force difference| on the atoms of each [meV/angstrom], NaN as above, shape (n, 2)."""
        parts = [np.empty((0, 2))]
        for start in range(0, len(self.old), ROWS_AT_A_TIME):
            some = slice(start, start + ROWS_AT_A_TIME)
            forces = (side.snapshot.mapped.gather("forces", side.rows[some]) for side in self)
            change = np.linalg.norm(np.subtract(*forces), axis=1) * MILLI
            ends = np.cumsum(self.n_atoms[some])
            starts = ends - self.n_atoms[some]
            parts.append(np.column_stack([np.maximum.reduceat(change, starts), np.add.reduceat(change, starts)]))
        return np.concatenate(parts)

    @property
    def n_atoms(self) -> I64:
        """Atoms of each, shape (n,)."""
        return np.asarray(self.new.table["n_atoms"].to_numpy(), np.int64)


def _apart(mine: OpenSnapshot, other: OpenSnapshot) -> I64:
    """The global rows that `mine` shows and `other` does not show from the same segment and row."""
    shown, others = mine.visible_rows(), other.visible_rows()
    apart = np.ones(len(shown), bool)
    for number, segment in enumerate(mine.state.segments):
        if segment in other.state.segments:
            first, end = mine.mapped.first_row[number : number + 2]
            first_there = other.mapped.first_row[there := other.state.segments.index(segment)]
            end_there = other.mapped.first_row[there + 1]
            is_theirs = np.zeros(end - first, bool)
            is_theirs[others[slice(*np.searchsorted(others, (first_there, end_there)))] - first_there] = True
            here = slice(*np.searchsorted(shown, (first, end)))
            apart[here] = ~is_theirs[shown[here] - first]
    return shown[apart]


def _table(snapshot: OpenSnapshot, rows: I64) -> pa.Table:
    """What is compared of some configurations; segments that have none of them are not read."""
    first = snapshot.mapped.first_row
    segments = np.unique(np.searchsorted(first, rows, side="right") - 1)
    here = pc.field("segment").isin(pa.array(segments, pa.int32()))
    table = snapshot.dataset("configurations").to_table(columns=[*_COLUMNS, "segment", "row"], filter=here)
    place = first[table["segment"].to_numpy()] + table["row"].to_numpy()
    at = np.full(int(first[-1]), -1)
    at[place] = np.arange(len(place))
    return table.select(_COLUMNS).take(pa.array(at[rows])).combine_chunks()


def _matched(old: _Side, new: _Side, names: Sequence[str]) -> tuple[_Matched, _Side, _Side]:
    """Pairs that agree in columns, each value as often as both sides have it; and what is left of both sides."""
    codes = np.zeros(len(old) + len(new), np.int64)
    for name in names:
        both = pa.chunked_array([*old.table[name].chunks, *new.table[name].chunks], old.table[name].type)
        values = both.combine_chunks().dictionary_encode()
        codes = codes * (len(values.dictionary) + 1) + values.indices.to_numpy()
        codes = np.unique(codes, return_inverse=True)[1] if len(names) > 1 else codes
    mine, others = (_numbered(part, len(codes)) for part in np.split(codes, [len(old)]))
    _, first, second = np.intersect1d(mine, others, assume_unique=True, return_indices=True)
    left_old, left_new = np.ones(len(old), bool), np.ones(len(new), bool)
    left_old[first], left_new[second] = False, False
    return _Matched(old.some(first), new.some(second)), old.some(left_old), new.some(left_new)


def _numbered(codes: I64, n: int) -> I64:
    """Codes below `n` made distinct: the first of each, the second of each, ... are equal wherever they stand."""
    order = np.argsort(codes, kind="stable")
    starts = np.flatnonzero(np.diff(codes[order], prepend=-1))
    rank = np.empty_like(codes)
    rank[order] = np.arange(len(codes)) - np.repeat(starts, np.diff(starts, append=len(codes)))
    return codes * n + rank


def _spread(changes: F64) -> Spread:
    known = changes[~np.isnan(changes)]
    return Spread(float(known.max()), float(known.mean()), len(known)) if len(known) else NOTHING


def _force_spread(changes: F64, n_atoms: I64) -> Spread:
    known = ~np.isnan(changes[:, 0])
    if not known.any():
        return NOTHING
    largest, total = changes[known].T
    return Spread(float(largest.max()), float(total.sum() / n_atoms[known].sum()), int(known.sum()))


def _by_calculation(removed: _Side, added: _Side, relabelled: _Matched, energy: F64, forces: F64) -> pa.Table:
    """The table `BY_CALCULATION`: what is relabelled counts for the calculation that shows it now."""
    sides = {"removed": removed, "added": added, "relabelled": relabelled.new}
    sizes = [len(side) for side in sides.values()]
    rows = {name: pa.chunked_array([c for side in sides.values() for c in side.table[name].chunks], pa.string())
            for name in ("calculation_id", "path")}  # fmt: skip
    rows |= {name: np.repeat(np.eye(3, dtype=np.int64)[at], sizes) for at, name in enumerate(sides)}
    blank = np.full(len(removed) + len(added), np.nan)
    largest, total, n_atoms = forces[:, 0], forces[:, 1], np.where(np.isnan(forces[:, 0]), np.nan, relabelled.n_atoms)
    for name, values in (("energy", energy), ("largest", largest), ("total", total), ("atoms", n_atoms)):
        rows[name] = pa.array(np.concatenate([blank, values]), from_pandas=True)  # NaN is NULL, which is left out
    found = pa.table(rows).group_by("calculation_id", use_threads=False).aggregate([
        ("path", "first"), ("added", "sum"), ("removed", "sum"), ("relabelled", "sum"), ("energy", "max"),
        ("energy", "mean"), ("largest", "max"), ("total", "sum"), ("atoms", "sum"),
    ])  # fmt: skip
    mean_force = pc.divide(found["total_sum"], found["atoms_sum"])
    columns = [
        "path_first",
        "calculation_id",
        "added_sum",
        "removed_sum",
        "relabelled_sum",
        "energy_max",
        "energy_mean",
    ]
    whole = [*(found[name] for name in columns), found["largest_max"], mean_force]
    return pa.table(whole, schema=BY_CALCULATION).sort_by("path")
