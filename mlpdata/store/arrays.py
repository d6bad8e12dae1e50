"""Write the arrays of a block stream as a Zarr v3 group whose shards can be mapped.

The files are written directly, not through zarr-python: each array grows as one flat file, which is cut into shards,
padded to whole chunks and given its index at the end. Any Zarr v3 reader reads the result.
"""

from __future__ import annotations

import hashlib
import mmap
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlpdata import digest, durable
from mlpdata.errors import UsageError
from mlpdata.frames import Frames
from mlpdata.schema.properties import ATOM, PROPERTIES
from mlpdata.store import layout
from mlpdata.store.layout import ATOM_START, COUNTS, N_ATOMS, PLACES, STARTS, ArrayRecord, FileRecord, Manifest

_PIECE = 1 << 24
"""Bytes copied or filled at a time."""


def write_arrays(folder: Path, blocks: Iterable[Frames], dtypes: Mapping[str, str] | None = None) -> Manifest:
    """Write `blocks` one after the other as a new Zarr v3 group in `folder`, every byte durable.

    Args:
        folder: does not exist yet; its parent does.
        blocks: in the order of the rows. An array that only some blocks have is blank in the others; one that is
            blank everywhere is left out.
        dtypes: element types that differ from the registry's, such as {"positions": "float32"}.

    Raises:
        StoreError: the disk refused.
    """
    writer = ArrayWriter(folder, dtypes)
    try:
        for block in blocks:
            writer.append(block)
    except BaseException:
        writer.close()
        raise
    manifest = writer.finish()
    durable.sync_tree(folder)
    return manifest


class ArrayWriter:
    """A Zarr group that grows block by block and can be cut back to an earlier length before it is finished."""

    def __init__(self, folder: Path, dtypes: Mapping[str, str] | None = None) -> None:
        self._folder = folder
        self._dtypes = dict(dtypes or {})
        self._columns: dict[str, _Column] = {}
        self.n_configurations = 0
        self.n_atoms = 0
        durable.make_scratch(folder)

    def append(self, frames: Frames) -> None:
        """Add the rows of `frames`."""
        counts: dict[str, NDArray[Any]] = {
            N_ATOMS: frames.n_atoms,
            ATOM_START: frames.atom_start[:-1] + self.n_atoms,
        }
        for name, values in {**counts, **frames.arrays}.items():
            if name not in self._columns and name not in COUNTS and _is_blank(name, values):
                continue
            if name in STARTS:
                self._append_pairs(name, frames, values)
            else:
                self._column(name).append(values)
        self.n_configurations += len(frames)
        self.n_atoms += int(frames.atom_start[-1])
        for name, column in self._columns.items():
            if name not in STARTS:
                column.fill(self._rows(name))

    def _append_pairs(self, name: str, frames: Frames, values: NDArray[Any]) -> None:
        """Add the pairs of those configurations that have them, and where they begin."""
        squares = frames.n_atoms**2
        first = squares.cumsum() - squares
        present = (squares > 0) & ~np.isnan(values[np.minimum(first, len(values) - 1), 0, 0])
        column, starts = self._column(name), self._column(STARTS[name])
        before = np.where(present, squares, 0).cumsum() - np.where(present, squares, 0)
        starts.append(np.where(present, column.rows + before, -1))
        column.append(values[np.repeat(present, squares)])

    @property
    def pairs(self) -> dict[str, int]:
        """Rows of each array of pairs so far."""
        return {name: column.rows for name, column in self._columns.items() if name in STARTS}

    def cut(self, n_configurations: int, n_atoms: int, pairs: Mapping[str, int] | None = None) -> None:
        """Forget all rows after the first `n_configurations`, which have `n_atoms` atoms and `pairs`."""
        self.n_configurations, self.n_atoms = n_configurations, n_atoms
        for name, column in list(self._columns.items()):
            if column.begun_at >= n_configurations:  # what stays says nothing in this array
                column.remove()
                del self._columns[name]
            else:
                column.cut((pairs or {}).get(name, 0) if name in STARTS else self._rows(name))

    def close(self) -> None:
        """Close the files of a group that will not be finished."""
        for column in self._columns.values():
            column.stream.close()

    def finish(self) -> Manifest:
        """Cut into shards and write the metadata; `durable.sync_tree` on the folder then makes the group durable.

        Raises:
            StoreError: the disk refused.
        """
        for name in COUNTS:  # a group without rows has them too, so that a reader meets no special case
            self._column(name)
        large = self.n_configurations > layout.LARGE
        arrays: dict[str, ArrayRecord] = {}
        files = {layout.ZARR: _write_json(self._folder / layout.ZARR, _GROUP)}
        for name in sorted(self._columns):
            column = self._columns[name]
            column.stream.close()
            record = column.record(large=large)
            files.update(_finish_array(self._folder, name, record))
            arrays[name] = record
        return Manifest(n_configurations=self.n_configurations, n_atoms=self.n_atoms, arrays=arrays, files=files)

    def _rows(self, name: str) -> int:
        return self.n_atoms if layout.level_of(name) == ATOM else self.n_configurations

    def _column(self, name: str) -> _Column:
        if name not in self._columns:
            dtype = self._dtypes.get(name, layout.dtype_of(name))
            column = self._columns[name] = _Column(self._folder, name, dtype, self.n_configurations)
            if name not in STARTS:
                column.fill(self._rows(name))
        return self._columns[name]


class _Column:
    """One array while it grows: a flat file at the place of its first shard."""

    def __init__(self, folder: Path, name: str, dtype: str, begun_at: int) -> None:
        self.name = name
        self.begun_at = begun_at
        self.dtype = np.dtype(dtype).newbyteorder("<")
        self.shape = layout.shape_of(name)
        self.rows = 0
        durable.make_scratch(folder / name)
        self.stream = durable.Stream(folder / self.record(large=False).shard_name(name, 0))

    def append(self, values: NDArray[Any]) -> None:
        with np.errstate(over="raise"):
            try:
                stored = np.ascontiguousarray(values, self.dtype)
            except FloatingPointError as error:
                raise UsageError(
                    f"expected {self.name} that {self.dtype.name} can hold, found a larger number."
                ) from error
        self.stream.write(stored.reshape(-1).view(np.uint8).data)
        self.rows += len(values)

    def fill(self, rows: int) -> None:
        """Add blank rows up to `rows`."""
        while self.rows < rows:
            step = min(rows - self.rows, 1 << 19)
            self.append(np.full((step, *self.shape), layout.blank_of(self.name), self.dtype))

    def cut(self, rows: int) -> None:
        if rows <= self.rows:  # also when equal: a write that was interrupted is not counted in rows
            self.stream.truncate(rows * self.row_bytes)
            self.rows = rows

    def remove(self) -> None:
        self.stream.close()
        durable.remove_tree(self.stream.path.parent)

    @property
    def row_bytes(self) -> int:
        return self.dtype.itemsize * int(np.prod(self.shape, dtype=np.int64))

    def record(self, *, large: bool) -> ArrayRecord:
        level = layout.level_of(self.name)
        chunk, shard = layout.grid(level, self.rows, large=large)
        return ArrayRecord(
            level=level,
            dtype=self.dtype.name,
            shape=self.shape,
            rows=self.rows,
            chunk_rows=chunk,
            shard_rows=shard,
        )


def _is_blank(name: str, values: NDArray[Any]) -> bool:
    """Whether no row says anything; required arrays always do."""
    if name in ("atomic_numbers", "positions", "pbc"):
        return False
    absent = PROPERTIES[name].absent
    return bool(np.isnan(values).all() if absent != absent else (values == absent).all())  # noqa: PLR0124  NaN


def _finish_array(folder: Path, name: str, record: ArrayRecord) -> Iterator[tuple[str, FileRecord]]:
    """Shards and metadata of one array."""
    _split(folder, name, record)
    for shard in range(record.n_shards):
        place = record.shard_name(name, shard)
        yield place, _finish_shard(folder / place, name, record, shard)
    if record.n_shards == 0:
        (folder / record.shard_name(name, 0)).unlink()
    place = f"{name}/{layout.ZARR}"
    yield place, _write_json(folder / place, _array_metadata(name, record))


def _split(folder: Path, name: str, record: ArrayRecord) -> None:
    """Move what is beyond the first shard of the flat file into files of its own, the last first."""
    flat = folder / record.shard_name(name, 0)
    size = record.shard_rows * record.row_bytes
    for shard in range(record.n_shards - 1, 0, -1):
        durable.stage(folder / record.shard_name(name, shard), pieces(flat, shard * size))
        with durable.Stream(flat, "a") as stream:
            stream.truncate(shard * size)


def pieces(path: Path, start: int = 0) -> Iterator[bytes]:
    """The bytes of a file from `start` on, a few at a time."""
    with path.open("rb") as file:
        file.seek(start)
        while piece := file.read(_PIECE):
            yield piece


def _finish_shard(path: Path, name: str, record: ArrayRecord, shard: int) -> FileRecord:
    """Pad a shard to whole chunks, append its index, and take its checksums."""
    rows, cut = record.rows_of(shard), record.grid
    dtype = np.dtype(record.dtype).newbyteorder("<")
    padding = np.full((cut.padded(rows) - rows, *record.shape), layout.blank_of(name), dtype)
    with durable.Stream(path, "a") as stream:
        stream.write(padding.tobytes() + cut.shard_index(rows, record.row_bytes))
    return file_record(path, path.stat().st_size - cut.index_bytes)


def file_record(path: Path, covered: int | None = None) -> FileRecord:
    """Size, sha256 and block checksums of a finished file; the blocks cover its first `covered` bytes, else all."""
    size = path.stat().st_size
    if size == 0:
        return FileRecord(bytes=0, sha256=digest.sha256(b""))
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        whole = memoryview(mapped)
        try:
            blocks = layout.block_checksums(whole[: size if covered is None else covered])
            return FileRecord(bytes=size, sha256=hashlib.sha256(whole).hexdigest(), blocks=blocks)
        finally:
            whole.release()


def _write_json(path: Path, value: Mapping[str, Any]) -> FileRecord:
    text = digest.canonical_json(value)
    durable.stage(path, text)
    return FileRecord(bytes=len(text), sha256=digest.sha256(text))


_GROUP = {"zarr_format": 3, "node_type": "group", "attributes": {}}
_LITTLE_ENDIAN = {"name": "bytes", "configuration": {"endian": "little"}}


def _array_metadata(name: str, record: ArrayRecord) -> dict[str, Any]:
    """The zarr.json of one array."""
    inner = list(record.shape)
    dtype = np.dtype(record.dtype)
    sharding = {
        "chunk_shape": [record.chunk_rows, *inner],
        "codecs": [_LITTLE_ENDIAN if dtype.itemsize > 1 else {"name": "bytes"}],
        "index_codecs": [_LITTLE_ENDIAN],
        "index_location": "end",
    }
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": [record.rows, *inner],
        "data_type": record.dtype,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [record.shard_rows, *inner]}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "."}},
        "codecs": [{"name": "sharding_indexed", "configuration": sharding}],
        "fill_value": "NaN" if dtype.kind == "f" else int(layout.blank_of(name)),
        "attributes": _attributes(name, record),
    }


def _attributes(name: str, record: ArrayRecord) -> dict[str, Any]:
    """Unit, shape, dtype and sign convention, from the registry of properties."""
    if name in PLACES:
        meaning = {N_ATOMS: "Atoms of each configuration.", ATOM_START: "First atom, from the start of this group."}
        starts = "First row in the array of pairs; -1 where the configuration has none."
        return {"unit": "1", "shape": [], "dtype": record.dtype, "sign": meaning.get(name, starts)}
    row = PROPERTIES[name]
    return {**row.array.metadata(), "dtype": record.dtype, "sign": row.meaning}
