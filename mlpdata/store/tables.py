"""The Parquet tables of a segment: configurations, calculations, methods, sources.

Pages carry checksums and are read with verification; the footer and the page headers, which Parquet leaves
unprotected, are covered by the block checksums of segment.json.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mlpdata import digest, durable
from mlpdata.schema.calculation import Calculation
from mlpdata.schema.method import Method
from mlpdata.schema.properties import PROPERTIES
from mlpdata.store import layout

ROW_GROUP = 65_536
"""Rows of a row group."""
RECORDS = 1_024
"""Rows of a row group where each holds a whole record, of which few are read at a time."""
TAGS = pa.map_(pa.string(), pa.string())

FROM_FRAMES: dict[str, pa.DataType] = {
    "id": pa.binary(16),
    "geometry_id": pa.binary(16),
    "formula": pa.string(),
    "reduced_formula": pa.string(),
    "elements": pa.list_(pa.string()),
    "composition": pa.map_(pa.string(), pa.int32()),
    "n_atoms": pa.int64(),
    "volume": pa.float64(),
    "density": pa.float64(),
    "pbc": pa.string(),
    "energy": pa.float64(),
    "energy_per_atom": pa.float64(),
    "energy_sigma0": pa.float64(),
    "energy_no_entropy": pa.float64(),
    "max_force": pa.float64(),
    "rms_force": pa.float64(),
    "net_force": pa.float64(),
    "torque": pa.float64(),
    "pressure": pa.float64(),
    "min_distance": pa.float64(),
    "temperature_kinetic": pa.float64(),
    "step": pa.int32(),
    "scf_converged": pa.bool_(),
    "charge": pa.float64(),
    "multiplicity": pa.int16(),
    "total_magnetization": pa.float64(),
    "band_gap": pa.float64(),
    "fermi_energy": pa.float64(),
    "time": pa.float64(),
    "image": pa.int16(),
    "has_forces": pa.bool_(),
    "has_stress": pa.bool_(),
    "source_line": pa.int32(),
    "source_index": pa.int32(),
    "row": pa.int64(),
}
"""Columns of the configurations table that are worked out of the configurations themselves."""

FROM_CALCULATION: dict[str, pa.DataType] = {
    "calculation_id": pa.string(),
    "calculation_record": pa.string(),
    "method_id": pa.string(),
    "theory": pa.string(),
    "code": pa.string(),
    "functional": pa.string(),
    "kind": pa.string(),
    "config_type": pa.string(),
    "run_kind": pa.string(),
    "status": pa.string(),
    "energy_kind": pa.string(),
    "forces_are": pa.string(),
    "temperature_target": pa.float64(),
    "group": pa.string(),
    "system": pa.string(),
    "license": pa.string(),
    "tags": TAGS,
    "path": pa.string(),
}
"""Columns of the configurations table that every configuration of a calculation shares."""

CALCULATIONS: dict[str, pa.DataType] = {
    **FROM_CALCULATION,
    "settings": pa.string(),
    "identity": pa.string(),
    "status_reason": pa.string(),
    "citation": pa.string(),
    "continues": pa.string(),
    "warnings": pa.list_(pa.string()),
    "n_left_out": pa.int64(),
    "n_configurations": pa.int64(),
    "first_row": pa.int64(),
    "content": pa.string(),
    "json": pa.string(),
}
METHODS: dict[str, pa.DataType] = {
    "method_id": pa.string(),
    "theory": pa.string(),
    "settings": pa.string(),
    "code": pa.string(),
    "code_version": pa.string(),
    "functional": pa.string(),
    "correlation": pa.string(),
    "dispersion": pa.string(),
    "basis": pa.string(),
    "cutoff_energy": pa.float64(),
    "kpoints": pa.list_(pa.int32()),
    "smearing": pa.string(),
    "smearing_width": pa.float64(),
    "spin": pa.string(),
    "json": pa.string(),
}
SOURCES: dict[str, pa.DataType] = {
    "path": pa.string(),
    "source_index": pa.int32(),
    "role": pa.string(),
    "sha256": pa.string(),
    "bytes": pa.int64(),
    "reader": pa.string(),
    "reader_version": pa.int32(),
    "calculation_id": pa.string(),
    "calculation_record": pa.string(),
}

REPLACED: dict[str, pa.DataType] = {
    "segment": pa.string(),
    "calculation_record": pa.string(),
    "purged": pa.string(),
}
"""Of a compacted segment: the calculations of others that it stands for; why one was deleted for good, else NULL."""

_UNITS = {
    "volume": "angstrom^3",
    "density": "g/cm^3",
    "energy_per_atom": "eV",
    "max_force": "eV/angstrom",
    "rms_force": "eV/angstrom",
    "net_force": "eV/angstrom",
    "torque": "eV",
    "pressure": "eV/angstrom^3",
    "min_distance": "angstrom",
    "temperature_target": "K",
    "cutoff_energy": "eV",
    "smearing_width": "eV",
    "bytes": "B",
}
_MEANINGS = {
    "rms_force": "Root of the mean square of all components.",
    "net_force": "Length of the sum of the forces.",
    "torque": "Length of the sum of moments about the centroid; molecules only.",
    "pressure": "Minus a third of the trace of the stress: positive in compression.",
    "min_distance": "Shortest distance, periodic images included; NULL where none is below 2.5 angstrom.",
    "pbc": "T or F along each lattice vector.",
    "row": "Row in the arrays of the segment.",
}


class Stored(NamedTuple):
    """A calculation with its place in a segment."""

    calculation: Calculation
    json: bytes
    """The calculation's record, canonical."""
    record: str
    """Digest of that."""
    first_row: int
    n_configurations: int
    content: int
    """What it adds to a snapshot's content."""


def schema(columns: Mapping[str, pa.DataType]) -> pa.Schema:
    """Arrow schema with unit and meaning beside each column."""
    return pa.schema([pa.field(name, kind, metadata=_metadata(name)) for name, kind in columns.items()])


def _metadata(name: str) -> dict[str, str]:
    row = PROPERTIES.get(name)
    unit = _UNITS.get(name) or (row.unit if row is not None and row.dimension else "")
    meaning = _MEANINGS.get(name) or (row.meaning if row is not None else "")
    return {key: value for key, value in (("unit", unit), ("meaning", meaning)) if value}


@functools.lru_cache(maxsize=256)
def _names(method: Method) -> tuple[str, str, str]:
    """Id, theory and settings of a method, which most calculations share with others."""
    return method.id, method.theory, method.settings


def calculations_table(stored: Sequence[Stored]) -> pa.Table:
    """One row a calculation, in the order of their rows."""
    return pa.Table.from_pylist([_calculation_row(one) for one in stored], schema=schema(CALCULATIONS))


def _calculation_row(stored: Stored) -> dict[str, Any]:
    """The values of `CALCULATIONS`."""
    calculation, method = stored.calculation, stored.calculation.method
    name_of_method, theory, settings = _names(method)
    return {
        "calculation_id": calculation.id,
        "calculation_record": stored.record,
        "method_id": name_of_method,
        "theory": theory,
        "code": method.code,
        "functional": method.functional,
        "kind": calculation.kind,
        "config_type": calculation.tags.get("config_type"),
        "run_kind": calculation.run_kind,
        "status": calculation.status,
        "energy_kind": calculation.energy_kind,
        "forces_are": calculation.forces_are,
        "temperature_target": calculation.temperature_target,
        "group": calculation.group,
        "system": calculation.system,
        "license": calculation.license,
        "tags": sorted(calculation.tags.items()),
        "path": calculation.path,
        "settings": settings,
        "identity": calculation.identity,
        "status_reason": calculation.status_reason,
        "citation": calculation.citation,
        "continues": calculation.continues,
        "warnings": list(calculation.warnings),
        "n_left_out": len(calculation.left_out),
        "n_configurations": stored.n_configurations,
        "first_row": stored.first_row,
        "content": digest.content_id(stored.content),
        "json": stored.json.decode(),
    }


def methods_table(stored: Sequence[Stored], calculations: pa.Table) -> pa.Table:
    """One row a distinct method, sorted by id.

    Args:
        stored: the calculations.
        calculations: their table, which has the ids.
    """
    ids = calculations["method_id"].to_pylist()
    methods = dict(zip(ids, (one.calculation.method for one in stored), strict=True))
    rows = [
        {
            **{name: getattr(method, name) for name in METHODS if name in type(method).model_fields},
            "method_id": name_of_method,
            "theory": _names(method)[1],
            "settings": _names(method)[2],
            "kpoints": method.kpoints.mesh if method.kpoints else None,
            "smearing": method.smearing.method if method.smearing else None,
            "smearing_width": method.smearing.width if method.smearing else None,
            "json": digest.canonical_json(method.as_json()).decode(),
        }
        for name_of_method, method in sorted(methods.items())
    ]
    return pa.Table.from_pylist(rows, schema=schema(METHODS))


def sources_table(stored: Sequence[Stored], calculations: pa.Table) -> pa.Table:
    """One row a source file of a calculation; as `methods_table`."""
    ids = calculations["calculation_id"].to_pylist()
    rows = [
        {**source.as_json(), "source_index": i, "calculation_id": name, "calculation_record": one.record}
        for one, name in zip(stored, ids, strict=True)
        for i, source in enumerate(one.calculation.sources)
    ]
    return pa.Table.from_pylist(rows, schema=schema(SOURCES))


def write_table(path: Path, batches: Iterator[pa.Table], columns: Mapping[str, pa.DataType]) -> None:
    """Write `batches` as one Parquet file with a checksum on every page; not synced.

    Raises:
        StoreError: the disk refused.
    """
    text = [name for name, kind in columns.items() if kind == pa.string()]
    with (
        durable.staged_by_library(path),
        pq.ParquetWriter(
            path,
            schema(columns),
            compression="zstd",
            use_dictionary=text,
            write_page_checksum=True,
            store_schema=True,
        ) as writer,
    ):
        for batch in batches:
            writer.write_table(batch, row_group_size=RECORDS if columns is CALCULATIONS else ROW_GROUP)


def spill(path: Path, columns: Mapping[str, pa.Array]) -> None:
    """Put the columns `FROM_FRAMES` of some rows on disk as scratch.

    Raises:
        StoreError: the disk refused.
    """
    spill_table(path, pa.table({name: columns[name].cast(kind) for name, kind in FROM_FRAMES.items()}))


def spill_table(path: Path, table: pa.Table) -> None:
    """Put a table on disk as scratch.

    Raises:
        StoreError: the disk refused.
    """
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    durable.stage(path, memoryview(sink.getvalue()))


def read_spills(paths: Sequence[Path], columns: Mapping[str, pa.DataType] = FROM_FRAMES) -> pa.Table:
    """All rows that were spilled, in mapped memory."""
    found = [pa.ipc.open_file(pa.memory_map(str(path))).read_all().replace_schema_metadata() for path in paths]
    return pa.concat_tables([schema(columns).empty_table().replace_schema_metadata(), *found])


def configuration_batches(
    spilled: pa.Table, calculation: NDArray[np.int64], calculations: pa.Table
) -> Iterator[pa.Table]:
    """The configurations table sorted by formula, one row group at a time.

    Args:
        spilled: the columns `FROM_FRAMES`, any order of rows; may lie in mapped files.
        calculation: row in `calculations` of the calculation of each row of `spilled`.
        calculations: the calculations table.
    """
    for rows in _by_formula(spilled):
        both = {name: spilled.column(name).take(rows) for name in FROM_FRAMES}
        which = pa.array(calculation[rows.to_numpy()])
        both |= {name: calculations.column(name).take(which) for name in FROM_CALCULATION}
        yield pa.table(both, schema=schema(CONFIGURATIONS))


def sorted_batches(configurations: pa.Table) -> Iterator[pa.Table]:
    """A whole configurations table sorted by formula, one row group at a time; it may lie in mapped files."""
    for rows in _by_formula(configurations):
        yield pa.table(configurations.take(rows).columns, schema=schema(CONFIGURATIONS))


def _by_formula(table: pa.Table) -> Iterator[pa.Array]:
    """The rows of each row group of a table of configurations, once it is sorted."""
    order = pc.sort_indices(table.select(["formula", "row"]), [("formula", "ascending"), ("row", "ascending")])
    return (order.slice(start, ROW_GROUP) for start in range(0, table.num_rows, ROW_GROUP))


def first_of_each(table: pa.Table, column: str) -> pa.Table:
    """The table without later rows that repeat a value of `column`."""
    _, first = np.unique(table[column].to_numpy(zero_copy_only=False).astype(str), return_index=True)
    return table.take(pa.array(np.sort(first)))


CONFIGURATIONS = {**FROM_FRAMES, **FROM_CALCULATION}
COLUMNS = dict(
    zip(layout.TABLES, (CONFIGURATIONS, CALCULATIONS, METHODS, SOURCES), strict=True),
)
"""Columns of each table as stored."""
