"""Compact: one segment in place of many, with a table of what it stands for.

Every calculation that a snapshot may show is carried over as it was stored, once; so old snapshots, whose segments may
be removed afterwards, are read through the new one. What is copied is verified first.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mlpdata import digest, durable
from mlpdata.store import checked, layout, tables
from mlpdata.store.arrays import ArrayWriter, file_record
from mlpdata.store.index import IdIndex, calculation_index, id_index
from mlpdata.store.layout import Segment
from mlpdata.store.mapping import Mapped
from mlpdata.store.segment import read_segment

MOST = 16
"""Segments of one size class; one more, and they are compacted."""
SMALLEST = 1_024
"""Configurations up to which a segment is of the first size class; each further class is `MOST` times as large."""
_BATCH = 4_096
"""Configurations copied at a time."""


def due(sizes: Mapping[str, int]) -> list[str]:
    """The segments that should be compacted: those of the size classes that have too many.

    Args:
        sizes: configurations by segment, in the order of the snapshot.
    """
    classes: dict[int, list[str]] = {}
    for name, size in sizes.items():
        number = 0
        while size > SMALLEST * MOST**number:
            number += 1
        classes.setdefault(number, []).append(name)
    full = {name for some in classes.values() if len(some) > MOST for name in some}
    return [name for name in sizes if name in full]


class _Origin(NamedTuple):
    """A segment that is replaced, and what is carried over of it."""

    name: str
    folder: Path
    segment: Segment
    table: pa.Table
    """Its calculations."""
    carried: NDArray[np.bool_]
    """Which of them."""

    @property
    def rows(self) -> NDArray[np.bool_]:
        """Which configurations are carried over, shape (n_configurations,)."""
        return np.repeat(self.carried, self.table["n_configurations"].to_numpy())


def write_compacted(store: Path, staging: Path, names: Sequence[str], purge: Mapping[str, str]) -> tuple[Segment, Path]:
    """A segment that stands for others, complete and synced: its record and its folder.

    Args:
        store: folder of the store.
        staging: folder for scratch files; must be empty.
        names: the segments that it replaces.
        purge: reasons by record of calculations that are not carried over.

    Raises:
        CorruptError: something that is to be carried over is damaged.
        StoreError: the disk refused.
    """
    folder = staging / "segment"
    durable.make_scratch(folder)
    origins = _origins(store, names, purge)
    arrays = _copy_arrays(folder / layout.ARRAYS, origins)
    ids = [IdIndex(one.folder, one.segment).in_order()[one.rows] for one in origins]
    durable.stage(folder / layout.IDS, id_index(np.concatenate([np.empty((0, digest.ID_BYTES), np.uint8), *ids])))
    calculations = _calculations(origins)
    columns = ("content", "calculation_record", "first_row", "n_configurations")
    rows = zip(*(calculations[name].to_pylist() for name in columns), strict=True)
    index = calculation_index([(int(content, 16), *rest) for content, *rest in rows])
    durable.stage(folder / layout.CALCULATIONS, index)
    contents: dict[str, tuple[Iterator[pa.Table], Mapping[str, pa.DataType]]] = {
        "configurations": (_configurations(staging, origins), tables.CONFIGURATIONS),
        "calculations": (iter([calculations]), tables.CALCULATIONS),
        "methods": (iter([_methods(origins, calculations)]), tables.METHODS),
        "sources": (iter([_of_carried(origins, "sources", tables.SOURCES)]), tables.SOURCES),
        layout.REPLACED: (iter([_replaced(origins, purge)]), tables.REPLACED),
    }
    for name, (batches, kinds) in contents.items():
        tables.write_table(folder / f"{name}.parquet", batches, kinds)
    files = (*(f"{name}.parquet" for name in contents), layout.IDS, layout.CALCULATIONS)
    segment = Segment(
        n_calculations=len(calculations),
        content=digest.content_id(sum(int(one, 16) for one in calculations["content"].to_pylist())),
        arrays=arrays,
        files={name: file_record(folder / name) for name in files},
    )
    durable.stage(folder / layout.SEGMENT_RECORD, digest.canonical_json(segment.as_json()))
    durable.sync_tree(folder)
    return segment, folder


def _origins(store: Path, names: Sequence[str], purge: Mapping[str, str]) -> list[_Origin]:
    """The segments, each with those of its calculations that no earlier one has and that are not purged."""
    seen, found = set(purge), []
    for name in names:
        folder, segment = layout.segment_folder(store, name), read_segment(store, name)
        table = _read(folder, segment, "calculations")
        records = table["calculation_record"].to_pylist()
        found.append(_Origin(name, folder, segment, table, np.array([one not in seen for one in records], bool)))
        seen.update(records)
    return found


def _read(folder: Path, segment: Segment, name: str) -> pa.Table:
    path = folder / f"{name}.parquet"
    return checked.read_table(path, layout.file_of(segment, path.name, path))


def _copy_arrays(folder: Path, origins: Sequence[_Origin]) -> layout.Manifest:
    """The arrays of what is carried over, verified as they are read."""
    with closing(ArrayWriter(folder)) as writer:
        for origin in origins:
            with Mapped([(origin.folder / layout.ARRAYS, origin.segment.arrays)]) as mapped:
                rows = np.flatnonzero(origin.rows)
                for at in range(0, len(rows), _BATCH):
                    writer.append(mapped.frames(rows[at : at + _BATCH]))
        return writer.finish()


def _calculations(origins: Sequence[_Origin]) -> pa.Table:
    """The calculations carried over, with the rows at which they now begin."""
    table = pa.concat_tables([_empty(tables.CALCULATIONS), *(_carried(one, one.table) for one in origins)])
    sizes = table["n_configurations"].to_numpy()
    number = table.schema.get_field_index("first_row")
    return table.set_column(number, table.schema.field(number), pa.array(np.cumsum(sizes) - sizes))


def _carried(origin: _Origin, table: pa.Table) -> pa.Table:
    """The rows of a table of calculations that are carried over."""
    return table.filter(pa.array(origin.carried)).replace_schema_metadata()


def _empty(columns: Mapping[str, pa.DataType]) -> pa.Table:
    return tables.schema(columns).empty_table()


def _of_carried(origins: Sequence[_Origin], name: str, columns: Mapping[str, pa.DataType]) -> pa.Table:
    """The rows of the table `name` that belong to calculations carried over."""
    parts = [_empty(columns)]
    for origin in origins:
        table = _read(origin.folder, origin.segment, name)
        carried = origin.table["calculation_record"].filter(pa.array(origin.carried)).combine_chunks()
        parts.append(table.filter(pc.is_in(table["calculation_record"], carried)))
    return pa.concat_tables(parts)


def _methods(origins: Sequence[_Origin], calculations: pa.Table) -> pa.Table:
    """Each method of the calculations, once, sorted by id."""
    found = pa.concat_tables([_empty(tables.METHODS), *(_read(one.folder, one.segment, "methods") for one in origins)])
    used = found.filter(pc.is_in(found["method_id"], calculations["method_id"].combine_chunks()))
    return tables.first_of_each(used, "method_id").sort_by("method_id")


def _configurations(staging: Path, origins: Sequence[_Origin]) -> Iterator[pa.Table]:
    """The table of configurations, sorted by formula, one row group at a time; scratch files keep it out of memory."""
    paths, first = [], 0
    for origin in origins:
        rows = origin.rows
        number = first + np.cumsum(rows) - 1
        table = _read(origin.folder, origin.segment, "configurations").replace_schema_metadata()
        row = table["row"].to_numpy()
        column = table.schema.get_field_index("row")
        table = table.set_column(column, table.schema.field(column), pa.array(number[row])).filter(pa.array(rows[row]))
        paths.append(staging / f"{secrets.token_hex(8)}.arrow")
        tables.spill_table(paths[-1], table)
        first += int(rows.sum())
    return tables.sorted_batches(tables.read_spills(paths, tables.CONFIGURATIONS))


def _replaced(origins: Sequence[_Origin], purge: Mapping[str, str]) -> pa.Table:
    """What the segment stands for: the calculations of those it replaces, and what these stood for."""
    parts = [_empty(tables.REPLACED)]
    for origin in origins:
        records = origin.table["calculation_record"].combine_chunks()
        names = pa.array([origin.name]).take(pa.array(np.zeros(len(records), np.int64)))
        parts.append(_with_reasons(names, records, pa.nulls(len(records), pa.string()), purge))
        if f"{layout.REPLACED}.parquet" in origin.segment.files:
            before = _read(origin.folder, origin.segment, layout.REPLACED)
            segments, records, purged = (column.combine_chunks() for column in before.select(list(tables.REPLACED)))
            parts.append(_with_reasons(segments, records, purged, purge))
    return pa.concat_tables(parts)


def _with_reasons(segments: pa.Array, records: pa.Array, purged: pa.Array, purge: Mapping[str, str]) -> pa.Table:
    if purge:
        reasons = pa.array([purge.get(one) for one in records.to_pylist()], pa.string())
        purged = pc.coalesce(purged, reasons)
    return pa.table([segments, records, purged], schema=tables.schema(tables.REPLACED))
