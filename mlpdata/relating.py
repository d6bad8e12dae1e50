"""Relating: what the relations of runs change in the records of a snapshot that is about to be committed.

Relations are worked out anew from all that the snapshot will show, never from what was worked out before: the same files
give the same records, in whatever order they came.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlpdata.frames import I64
from mlpdata.known import Key, Known
from mlpdata.relations import Run, relations
from mlpdata.schema.calculation import Calculation
from mlpdata.store.amendments import AMENDABLE, Amended
from mlpdata.store.commit import Repository, Staged
from mlpdata.store.snapshot import OpenSnapshot

BY = "mlpdata"
WHY = "relations of the runs in the store"
_COLUMNS = ["calculation_record", "segment", "global_row", "formula", "geometry_id", "energy", "temperature_kinetic"]
_DERIVED = ("continues", "group", "system", "kind", "temperature_target", "rests_on")
"""What relations say of a calculation."""
_DECLARABLE = {name: name for name in ("license", "citation", "kind", "group", "system", "continues")} | {
    "temperature": "temperature_target"
}
"""Attributes of a calculation by the name under which they are declared."""


class _Shown(NamedTuple):
    """A calculation that the snapshot will show."""

    key: Key
    present: Calculation
    """As it would be shown without further amendment."""
    skip: int
    base: Calculation
    """As stored, with what users declared."""
    rows: I64
    """Where its configurations are among those of the touched, in their order, hidden ones included."""


def amendments(
    repository: Repository,
    staged: Sequence[Staged],
    known: Known,
    retract: Sequence[tuple[str, str, str]],
) -> list[Amended]:
    """How calculations of the snapshot to be shall be shown, where that is otherwise than they would be.

    Args:
        repository: the store.
        staged: what the commit will bring.
        known: what it held before, and what will be shown again; an exact sync forgets what was annotated.
        retract: what the commit will hide.
    """
    gone = {record for _, record, _ in retract}
    again = {record for _, record in (*known.restored, *known.annotated())}
    come = again.union(*(one.wanted.values() for one in staged))
    if not (gone or come):
        return []
    pending = repository.pending(staged, retract=retract, restore=known.restored)
    plain = _unamended(pending)
    configurations = _touched(plain, come, _formulas(known, gone))
    shown = _shown(pending, plain, configurations, exact=known.exact)
    found = relations(_runs(shown, plain, configurations))
    wanted = (
        (one, one.base.model_copy(update={name: getattr(relation, name) for name in _DERIVED}), relation.skip)
        for one, relation in zip(shown, found, strict=True)
    )
    return [
        Amended(*one.key, calculation, skip)
        for one, calculation, skip in wanted
        if skip != one.skip or any(getattr(calculation, name) != getattr(one.present, name) for name in AMENDABLE)
    ]


def _unamended(snapshot: OpenSnapshot) -> OpenSnapshot:
    """The same snapshot as stored: with the overlaps of restarts that amendments hide."""
    return OpenSnapshot(snapshot.store, snapshot.record.replace(amendments=()))


def _formulas(known: Known, records: Collection[str]) -> pa.Array:
    """The formulas of calculations that were held before."""
    if known.snapshot is None or not records:
        return pa.array([], pa.string())
    held = _unamended(known.snapshot).table("configurations", ["calculation_record", "formula"])
    return held.filter(_among(held["calculation_record"], records))["formula"].unique()


def _touched(plain: OpenSnapshot, come: Collection[str], formulas: pa.Array) -> pa.Table:
    """The configurations of a composition that something enters or leaves: no others can be related to it.

    Args:
        plain: the snapshot to be.
        come: records of the calculations that enter, are shown again, or are shown otherwise than before.
        formulas: what something leaves.
    """
    table = plain.table("configurations", _COLUMNS)
    entered = table.filter(_among(table["calculation_record"], come))["formula"]
    touched = pa.chunked_array([*entered.chunks, formulas], pa.string()).unique()
    while True:  # a calculation of several compositions joins all that has one of them
        records = table.filter(pc.is_in(table["formula"], touched))["calculation_record"].unique()
        whole = table.filter(pc.is_in(table["calculation_record"], records))
        if len(joined := whole["formula"].unique()) == len(
            touched.filter(pc.is_in(touched, table["formula"].unique()))
        ):
            return whole
        touched = joined


def _among(column: pa.ChunkedArray, values: Collection[object]) -> pa.ChunkedArray:
    """Which rows hold one of some values."""
    return pc.is_in(column, pa.array(list(values), column.type))


def _shown(pending: OpenSnapshot, plain: OpenSnapshot, configurations: pa.Table, *, exact: bool) -> list[_Shown]:
    """The calculations of some configurations."""
    rows_of = _rows_by_key(configurations, plain.state.segments)
    stored = plain.calculations_of(rows_of)
    present = {key: pending.as_shown(key, one) for key, one in stored.items()}
    return [
        _Shown(
            key,
            present[key],
            len(rows) - pending.n_shown(*key),
            stored[key] if exact else _with_declared(stored[key], present[key]),
            rows,
        )
        for key, rows in rows_of.items()
    ]


def _rows_by_key(configurations: pa.Table, segments: Sequence[str]) -> dict[Key, I64]:
    """The rows of each calculation, in the order in which its configurations are stored."""
    if not len(configurations):
        return {}
    place = configurations["global_row"].to_numpy()
    number = configurations["segment"].to_numpy()
    codes = configurations["calculation_record"].combine_chunks().dictionary_encode()
    records, code = codes.dictionary.to_pylist(), codes.indices.to_numpy()
    order = np.lexsort((place, code, number))
    starts = np.flatnonzero(np.diff(number[order], prepend=-1) | np.diff(code[order], prepend=-1))
    return {(segments[number[rows[0]]], records[code[rows[0]]]): rows for rows in np.split(order, starts[1:].tolist())}


def _with_declared(stored: Calculation, present: Calculation) -> Calculation:
    """The record as stored, with what users declared of it since then."""
    if present.declared == stored.declared:
        return stored
    fields = {
        attribute for name, attribute in _DECLARABLE.items() if present.declared.get(name) != stored.declared.get(name)
    }
    if any(name.startswith("tags.") for name in present.declared.keys() ^ stored.declared.keys()):
        fields.add("tags")
    said = {name: words for name, words in present.rests_on.items() if name in fields}
    return stored.model_copy(
        update={
            **{name: getattr(present, name) for name in fields},
            "declared": present.declared,
            "rests_on": {**stored.rests_on, **said},
        }
    )


def _runs(shown: Sequence[_Shown], plain: OpenSnapshot, configurations: pa.Table) -> list[Run]:
    """What relations are worked out from; arrays are read for all runs together."""
    if not shown:
        return []
    ids = np.frombuffer(b"".join(configurations["geometry_id"].to_pylist()), np.uint8).reshape(-1, 16)
    energy, temperature = (configurations[name].to_numpy() for name in ("energy", "temperature_kinetic"))
    place = configurations["global_row"].to_numpy()
    ends = [one.rows[sorted({0, max(0, len(one.rows) - 2), len(one.rows) - 1})] for one in shown]
    frames = plain.mapped.frames(place[np.concatenate(ends)])
    last = np.cumsum([len(some) for some in ends])
    return [
        Run(
            one.base,
            ids[one.rows],
            energy[one.rows],
            frames.select(np.arange(end - len(some), end)),
            temperature[one.rows],
        )
        for one, some, end in zip(shown, ends, last.tolist(), strict=True)
    ]
