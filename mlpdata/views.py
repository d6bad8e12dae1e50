"""Views: what SQL sees beside the tables of a snapshot: the atoms, and the recorded splits."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mlpdata.frames import I64
from mlpdata.schema.noun import from_stored
from mlpdata.schema.properties import PROPERTIES
from mlpdata.schema.records import Split
from mlpdata.store.index import Ids
from mlpdata.store.scanning import Columns, Portion, Scanned
from mlpdata.store.snapshot import OpenSnapshot
from mlpdata.units import F64

SPLITS = pa.schema([("split", pa.string()), ("split_id", pa.string()), ("id", pa.binary(16)), ("part", pa.string())])
VECTOR = pa.list_(pa.float64(), 3)
ATOMS = pa.schema(
    [
        pa.field("id", pa.dictionary(pa.int32(), pa.binary(16))),
        pa.field("atom", pa.int32()),
        pa.field("atomic_number", pa.uint8()),
        pa.field("position", VECTOR, metadata={"unit": PROPERTIES["positions"].unit}),
        pa.field("force", VECTOR, metadata={"unit": PROPERTIES["forces"].unit}),
    ]
)
"""One row an atom: id of its configuration, its number in it, and vectors as lists of three."""
CONFIGURATIONS = 65_536
"""Configurations whose atoms are in memory at a time."""


def splits_table(folder: Path | None) -> pa.Table:
    """The recorded splits of a folder: name and id of the split, id of the configuration, part."""
    batches = []
    for path in sorted(folder.glob("*.json")) if folder is not None and folder.is_dir() else []:
        split = from_stored(Split, path.read_bytes(), str(path))
        for part, members in split.parts.items():
            columns = ([path.stem] * len(members), [split.id] * len(members), map(bytes.fromhex, members))
            arrays = [pa.array(list(column), kind) for column, kind in zip(columns, SPLITS.types, strict=False)]
            batches.append(pa.record_batch([*arrays, pa.array([part] * len(members))], schema=SPLITS))
    return pa.Table.from_batches(batches, SPLITS)


def atoms(snapshot: OpenSnapshot) -> Scanned:
    """The atoms that a snapshot shows: of the columns that are asked for, verified when they are read.

    Where a segment hides nothing the columns are views on its mapped files, not copies.
    """
    # one thread: the flags of the mapping, which say what is verified, are not shared between threads
    return Scanned(ATOMS, lambda _: _portions(snapshot), threads=1)


def _portions(snapshot: OpenSnapshot) -> Iterator[Portion]:
    """Some thousand configurations at a time, so that memory does not grow with the snapshot."""
    first_row, shown = snapshot.mapped.first_row, snapshot.visible_rows()
    for number in range(len(snapshot.segments)):
        first, end = np.searchsorted(shown, first_row[number : number + 2]).tolist()
        for start in range(first, end, CONFIGURATIONS):
            here = slice(start, min(start + CONFIGURATIONS, end))
            yield Portion(functools.partial(_read, snapshot, number, here, shown[here]))


def _read(snapshot: OpenSnapshot, segment: int, here: slice, rows: I64, names: Sequence[str]) -> Columns:
    """Columns of the atoms of the configurations `rows` of a segment, which are the snapshot's configurations `here`."""
    n_atoms = snapshot.mapped.n_atoms[rows]
    columns: dict[str, Callable[[], pa.Array]] = {
        "id": lambda: _ids(snapshot.ids()[here], n_atoms),
        "atom": lambda: pa.array(_number_in_configuration(n_atoms)),
        "atomic_number": lambda: pa.array(_values(snapshot, "atomic_numbers", segment, rows)),
        "position": lambda: _vectors(_values(snapshot, "positions", segment, rows)),
        "force": lambda: _vectors(_values(snapshot, "forces", segment, rows)),
    }
    return {name: pa.chunked_array([columns[name]()]) for name in names}


def _ids(ids: Ids, n_atoms: I64) -> pa.Array:
    """The id of its configuration for each atom."""
    each = pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(16), len(ids), [None, pa.py_buffer(np.ascontiguousarray(ids))]
    )
    return pa.DictionaryArray.from_arrays(np.repeat(np.arange(len(ids), dtype=np.int32), n_atoms), each)


def _number_in_configuration(n_atoms: I64) -> NDArray[np.int32]:
    first = np.cumsum(n_atoms) - n_atoms
    return (np.arange(n_atoms.sum()) - np.repeat(first, n_atoms)).astype(np.int32)


def _values(snapshot: OpenSnapshot, name: str, segment: int, rows: I64) -> NDArray[Any]:
    """A per-atom array of `rows` of a segment: as it lies in memory where they follow each other, else gathered."""
    mapped = snapshot.mapped
    view = mapped.view(name, segment) if rows[-1] - rows[0] + 1 == len(rows) else None
    if view is None:
        return mapped.gather(name, rows)
    start = int(mapped.n_atoms[mapped.first_row[segment] : rows[0]].sum())
    return view[start : start + int(mapped.n_atoms[rows].sum())]


def _vectors(values: F64) -> pa.Array:
    """Vectors (n, 3) as lists of three; a vector of NaN is NULL."""
    flat = pa.Array.from_buffers(pa.float64(), values.size, [None, pa.py_buffer(values)])
    absent = np.isnan(values).any(axis=1)
    return pa.FixedSizeListArray.from_arrays(flat, 3, mask=pa.array(absent) if absent.any() else None)
