"""Views: what SQL sees beside the tables of a snapshot: the atoms, and the recorded splits."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mlpdata.frames import I64
from mlpdata.schema.noun import from_stored
from mlpdata.schema.properties import PROPERTIES
from mlpdata.schema.records import Split
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


def atoms_table(snapshot: OpenSnapshot) -> pa.Table:
    """The atoms that a snapshot shows, one record batch a segment, verified.

    Where a segment hides nothing the columns are views on its mapped files, not copies.
    """
    return pa.Table.from_batches(list(_atom_batches(snapshot)), ATOMS)


def _atom_batches(snapshot: OpenSnapshot) -> Iterator[pa.RecordBatch]:
    mapped, shown, ids = snapshot.mapped, snapshot.visible_rows(), snapshot.ids()
    for number in range(len(snapshot.segments)):
        first, end = (int(row) for row in mapped.first_row[number : number + 2])
        here = slice(*np.searchsorted(shown, (first, end)).tolist())
        rows = shown[here]
        n_atoms = mapped.n_atoms[rows]
        whole = len(rows) == end - first
        numbers, positions, forces = (
            _column(snapshot, name, number, rows, whole) for name in ("atomic_numbers", "positions", "forces")
        )
        configuration = np.repeat(np.arange(len(rows), dtype=np.int32), n_atoms)
        atom = np.arange(len(numbers), dtype=np.int32) - np.repeat(np.cumsum(n_atoms) - n_atoms, n_atoms)
        names = pa.FixedSizeBinaryArray.from_buffers(
            pa.binary(16), len(rows), [None, pa.py_buffer(np.ascontiguousarray(ids[here]))]
        )
        arrays = [
            pa.DictionaryArray.from_arrays(pa.array(configuration), names),
            pa.array(atom.astype(np.int32)),
            pa.Array.from_buffers(pa.uint8(), len(numbers), [None, pa.py_buffer(numbers)]),
            _vectors(positions),
            _vectors(forces),
        ]
        yield pa.record_batch(arrays, schema=ATOMS)


def _column(snapshot: OpenSnapshot, name: str, segment: int, rows: I64, whole: bool) -> NDArray[Any]:
    """A per-atom array of a segment: as it lies in memory where all of it is shown, else gathered."""
    view = snapshot.mapped.view(name, segment) if whole else None
    return snapshot.mapped.gather(name, rows) if view is None else view


def _vectors(values: F64) -> pa.Array:
    """Vectors (n, 3) as lists of three; a vector of NaN is NULL."""
    flat = pa.Array.from_buffers(pa.float64(), values.size, [None, pa.py_buffer(values)])
    absent = np.isnan(values).any(axis=1)
    return pa.FixedSizeListArray.from_arrays(flat, 3, mask=pa.array(absent) if absent.any() else None)
