"""Work out again what a segment says of its rows: ids, what each calculation adds to content, columns beside arrays."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mlpdata import digest
from mlpdata.frames import I64, by_block
from mlpdata.schema.properties import CONFIGURATION, PROPERTIES
from mlpdata.store import checked, layout, tables
from mlpdata.store.columns import ids_of
from mlpdata.store.index import IdIndex, Ids, Kept
from mlpdata.store.layout import Segment
from mlpdata.store.mapping import Mapped

BATCH, ATOMS = 8192, 1 << 19
"""Configurations, and atoms, in memory at a time."""
_NOT_AS_STORED = {"scf_converged", "pbc"}
"""Columns that spell what the array of the same name holds in other words."""

Found = Iterator[tuple[str, str]]
"""File of the segment, and what was expected and found."""


def row_faults(folder: Path, segment: Segment, kept: list[Kept]) -> Found:
    """What does not follow from the arrays of a segment whose files are as they were written.

    Memory grows by 16 bytes a configuration, the ids of one segment.

    Raises:
        CorruptError: a file is damaged.
    """
    for name in (_CALCULATIONS, _CONFIGURATIONS):
        checked.check_file(folder / name, layout.file_of(segment, name, folder / name))
    with Mapped([(folder / layout.ARRAYS, segment.arrays)]) as mapped:
        ends = np.cumsum([0, *(one.n_configurations for one in kept)])
        if [one.first_row for one in kept] != ends[:-1].tolist() or ends[-1] != mapped.n_configurations:
            yield _CALCULATIONS, "expected calculations that follow each other to the last row, found gaps."
            return
        if len(kept) != segment.n_calculations:
            yield _CALCULATIONS, f"expected {segment.n_calculations} calculations, found {len(kept)}."
        ids = np.empty((mapped.n_configurations, digest.ID_BYTES), np.uint8)
        yield from _contents(mapped, kept, ids)
        if digest.content_id(sum(one.content for one in kept)) != segment.content:
            yield layout.SEGMENT_RECORD, "expected content to be that of its calculations, found another."
        if not _same_ids(IdIndex(folder, segment), ids):
            yield layout.IDS, "expected the ids of the rows, found others."
        yield from _records(folder / _CALCULATIONS, kept)
        yield from _columns(folder / _CONFIGURATIONS, mapped, kept, ids)


_CALCULATIONS, _CONFIGURATIONS = (f"{name}.parquet" for name in ("calculations", "configurations"))


def _contents(mapped: Mapped, kept: list[Kept], ids: Ids) -> Found:
    """Fill `ids` from the arrays; compare what calculations add to content."""
    for some in by_block(((one.n_configurations, one) for one in kept), BATCH):
        first, end = some[0].first_row, some[-1].first_row + some[-1].n_configurations
        for start, stop in pieces(mapped.n_atoms, first, end):
            ids[start:stop] = mapped.frames(np.arange(start, stop)).ids()
        for one in some:
            if digest.shown(one.record, ids[one.first_row : one.first_row + one.n_configurations]) != one.content:
                yield _CALCULATIONS, f"expected the content of record {one.record}, found another."


def pieces(n_atoms: I64, first: int, end: int) -> Iterator[tuple[int, int]]:
    """Rows from `first` to `end` in pieces that fit in memory."""
    at = first
    while at < end:
        atoms = np.cumsum(n_atoms[at : min(at + BATCH, end)])
        stop = at + max(1, int(np.searchsorted(atoms, ATOMS, side="right")))
        yield at, stop
        at = stop


def _same_ids(index: IdIndex, ids: Ids) -> bool:
    """Whether an index names each row once, under its id, in the order of ids."""
    if len(index.row) != len(ids) or (len(ids) and not 0 <= index.row.min() <= index.row.max() < len(ids)):
        return False
    seen = np.zeros(len(ids), bool)
    last = b""
    for at in range(0, len(ids), ATOMS):
        rows, stored = index.row[at : at + ATOMS], index.ids[at : at + ATOMS]
        seen[rows] = True
        keys = np.ascontiguousarray(stored).view(">u8").reshape(-1, 2)
        ordered = (keys[1:, 0] > keys[:-1, 0]) | ((keys[1:, 0] == keys[:-1, 0]) & (keys[1:, 1] >= keys[:-1, 1]))
        if not np.array_equal(ids[rows], stored) or stored[0].tobytes() < last or not ordered.all():
            return False
        last = stored[-1].tobytes()
    return bool(seen.all())


def _records(path: Path, kept: list[Kept]) -> Found:
    """Each record is named by its digest, and the columns that repeat parts of it, or the index, say the same."""
    expected, at = [(one.record, one.content, one.first_row, one.n_configurations) for one in kept], 0
    names = ["calculation_record", "content", "first_row", "n_configurations", "path", "json"]
    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        for batch in file.iter_batches(BATCH, columns=names):
            for row in batch.to_pylist():
                record, text = row["calculation_record"], row["json"]
                found = record, int(row["content"], 16), row["first_row"], row["n_configurations"]
                if digest.sha256(text.encode()) != record or json.loads(text)["path"] != row["path"]:
                    yield path.name, f"expected the record {record}, found another text."
                if found != expected[at]:
                    yield (
                        path.name,
                        f"expected record {expected[at][0]} as the index has it, found {record} or other numbers.",
                    )
                at += 1


def _columns(path: Path, mapped: Mapped, kept: list[Kept], ids: Ids) -> Found:
    """The columns of the table of configurations that repeat ids, arrays and places."""
    names = [
        name
        for name in tables.FROM_FRAMES
        if name in PROPERTIES and PROPERTIES[name].level == CONFIGURATION and not PROPERTIES[name].shape
    ]
    names = [name for name in names if name not in _NOT_AS_STORED]
    first, records = [one.first_row for one in kept], np.array([one.record for one in kept], "S64")
    wrong: dict[str, int] = {}
    seen = np.zeros(len(ids), bool)
    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        for batch in file.iter_batches(
            tables.ROW_GROUP, columns=["id", "row", "n_atoms", "calculation_record", *names]
        ):
            rows = batch["row"].to_numpy()
            if len(rows) and not 0 <= rows.min() <= rows.max() < len(ids):
                yield path.name, "expected rows of the segment, found others."
                return
            seen[rows] = True
            arrays = {**mapped.gather_many(names, rows), "n_atoms": mapped.n_atoms.take(rows)}
            owner = records[np.searchsorted(first, rows, side="right") - 1]
            columns: dict[str, tuple[Any, Any]] = {
                "id": (ids_of(batch["id"]), ids[rows]),
                "calculation_record": (batch["calculation_record"].to_numpy(zero_copy_only=False).astype("S64"), owner),
                **{name: (_filled(name, batch[name]), array) for name, array in arrays.items()},
            }
            for name, (found, expected) in columns.items():
                different = (found != expected) & ~((found != found) & (expected != expected))  # noqa: PLR0124  NaN
                wrong[name] = wrong.get(name, 0) + int(different.reshape(len(rows), -1).any(axis=1).sum())
    if not seen.all():
        yield path.name, f"expected a line for each row, found none for {int((~seen).sum())}."
    for name, count in wrong.items():
        if count:
            yield path.name, f"expected {name} of the rows, found another in {count} of them."


def _filled(name: str, column: pa.Array) -> NDArray[Any]:
    """A column as its array holds it: NULL is the blank of the array."""
    if column.null_count:
        column = column.fill_null(pa.scalar(PROPERTIES[name].absent, column.type))
    found: NDArray[Any] = column.to_numpy(zero_copy_only=False)
    return found
