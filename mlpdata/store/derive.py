"""Work out a damaged record from what is well; its name, a sha256, proves the result."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mlpdata import digest
from mlpdata.errors import MlpdataError
from mlpdata.schema.noun import STORE_VERSION
from mlpdata.store import checked, layout, locate
from mlpdata.store.arrays import file_record
from mlpdata.store.layout import ArrayRecord, FileRecord, Manifest, Segment

MOST_BITS = 8 * 16_384
"""Bits of which each is tried: a second or two."""


def one_bit_back(content: bytes, sha256: str) -> bytes | None:
    """The content with the one bit set back that was flipped; None where that is not what happened."""
    if len(content) * 8 > MOST_BITS:
        return None
    changed = bytearray(content)
    before = hashlib.sha256()
    for at in range(len(content)):
        for bit in range(8):
            changed[at] ^= 1 << bit
            tried = before.copy()
            tried.update(memoryview(changed)[at:])
            if tried.hexdigest() == sha256:
                return bytes(changed)
            changed[at] ^= 1 << bit
        before.update(content[at : at + 1])
    return None


def segment_record(folder: Path, name: str) -> bytes | None:
    """The record of a segment from its files, if these are all well; None where they are not.

    Args:
        folder: of the segment.
        name: its id.
    """
    try:
        segment = _segment(folder)
        for version in range(STORE_VERSION, 0, -1):
            text = digest.canonical_json({**segment.as_json(), "schema_version": version})
            if digest.sha256(text) == name:
                return text
    except (MlpdataError, OSError, ValueError, KeyError, TypeError, pa.ArrowException):
        return None
    return None


def _segment(folder: Path) -> Segment:
    group = folder / layout.ARRAYS
    described = {path.parent.name: json.loads(path.read_bytes()) for path in group.glob(f"*/{layout.ZARR}")}
    arrays = {name: _array(name, one) for name, one in described.items()}
    counted = arrays[layout.N_ATOMS], arrays["atomic_numbers"]
    manifest = Manifest(n_configurations=counted[0].rows, n_atoms=counted[1].rows, arrays=arrays, files={})
    files = {place: file_record(group / place, one.covered) for place, one in locate.shards(manifest).items()}
    files |= {place: _plain(group / place) for place in (layout.ZARR, *(f"{name}/{layout.ZARR}" for name in arrays))}
    calculations = checked.read_checked(folder / "calculations.parquet", ["content"])
    return Segment(
        n_calculations=len(calculations),
        content=digest.content_id(sum(int(one, 16) for one in calculations["content"].to_pylist())),
        arrays=manifest.replace(files=files),
        files={
            path.name: file_record(path)
            for path in folder.iterdir()
            if path.is_file() and path.name != layout.SEGMENT_RECORD
        },
    )


def _array(name: str, described: dict[str, Any]) -> ArrayRecord:
    """The record of an array from its zarr.json."""
    rows, *shape = described["shape"]
    return ArrayRecord(
        level=layout.level_of(name),
        dtype=described["data_type"],
        shape=tuple(shape),
        rows=rows,
        chunk_rows=described["codecs"][0]["configuration"]["chunk_shape"][0],
        shard_rows=described["chunk_grid"]["configuration"]["chunk_shape"][0],
    )


def _plain(path: Path) -> FileRecord:
    """The record of a file without block checksums."""
    content = path.read_bytes()
    return FileRecord(bytes=len(content), sha256=digest.sha256(content))


def told_by_tables(folder: Path) -> dict[str, tuple[str, int]]:
    """Path and number of configurations by record of the calculations of a segment, from whichever table still reads."""
    found: dict[str, tuple[str, int]] = {}
    for name in ("calculations", "configurations", "sources"):
        path = folder / f"{name}.parquet"
        try:
            with pq.ParquetFile(path, page_checksum_verification=True) as file:
                table = file.read(["calculation_record", "path"])
        except (OSError, pa.ArrowException):
            continue
        counts = table.group_by(["calculation_record"]).aggregate([("path", "min"), ("path", "count")])
        for record, first, n in zip(*(counts[one].to_pylist() for one in counts.schema.names), strict=True):
            n_configurations = n if name == "configurations" else found.get(record, ("", 0))[1]
            found[record] = found.get(record, (first, 0))[0] or first, n_configurations
    return found
