"""Where things lie: names in a store, chunks and shards of an array, and the records that list files.

A shard is the rows of an array one after the other, then the index that Zarr keeps at the end. Because the inner
chunks are whole rows in order and uncompressed, the data part of a shard is the plain array: it can be mapped.

References:
    Zarr v3 core and the sharding_indexed codec: https://zarr-specs.readthedocs.io/en/latest/v3/codecs/sharding-indexed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NamedTuple, TypeVar

import numpy as np
import xxhash
from numpy.typing import NDArray
from pydantic import Field

from mlpdata import digest
from mlpdata.errors import CorruptError, NewerSchema
from mlpdata.frames import I64
from mlpdata.schema.noun import STORE_VERSION, Noun, Sha256, from_stored
from mlpdata.schema.properties import ATOM, CONFIGURATION, PAIR, PROPERTIES
from mlpdata.store.keeper import fetched

HEAD = "HEAD"
SNAPSHOTS = "snapshots"
SEGMENTS = "segments"
AMENDMENTS = "amendments"
REFS = "refs"
SEGMENT_RECORD = "segment.json"
ARRAYS = "arrays"
IDS = "ids.bin"
CALCULATIONS = "calculations.bin"
"""Where each calculation of a segment is; absent in schema version 1."""
TABLES = ("configurations", "calculations", "methods", "sources")
REPLACED = "replaced"
"""Table of the calculations of other segments that a compacted one stands for."""
ZARR = "zarr.json"

N_ATOMS, ATOM_START = "n_atoms", "atom_start"
"""The arrays that cut the per-atom ones into configurations; both per configuration, int64."""
COUNTS = (N_ATOMS, ATOM_START)
STARTS = {name: f"{name}_start" for name, row in PROPERTIES.items() if row.level == PAIR}
"""By array of pairs: the one that says at which of its rows a configuration begins, int64, -1 where it has none.

Few configurations have a Hessian, and a blank one would be large: only those present are written.
"""
PLACES = (*COUNTS, *STARTS.values())
"""Arrays that say where others are, and are no property."""

BLOCK = 1 << 20
"""Bytes under one checksum."""
ALIGNMENT = 65_536
"""Rows: each segment of a mapping starts at a multiple of it, so that any element size starts on a page."""
LARGE = 100_000
"""Configurations past which shards are larger, so that the number of files stays small."""

_CHUNK = {ATOM: 16_384, PAIR: 16_384, CONFIGURATION: 1_024}
_SHARD = {ATOM: 1_048_576, PAIR: 1_048_576, CONFIGURATION: 65_536}
_LARGE_SHARD = {ATOM: 4_194_304, PAIR: 4_194_304, CONFIGURATION: 1_048_576}
_SMALLEST_CHUNK = 64
_NO_CHUNK = np.iinfo(np.uint64).max
"""Offset and length that the index gives to a chunk beyond the end of the array."""

Named = TypeVar("Named", bound=Noun)
PowerOfTwo = Annotated[int, Field(ge=_SMALLEST_CHUNK, le=1 << 24)]
Count = Annotated[int, Field(ge=0, le=1 << 48)]
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.]*(/[A-Za-z0-9_][A-Za-z0-9_.]*)?$")]
"""A file of a segment: at most one folder deep, and never upwards."""


class FileRecord(Noun):
    """One immutable file."""

    bytes: Count
    """Size."""
    sha256: Sha256
    """Of all its bytes."""
    blocks: Annotated[str, Field(pattern=r"^([0-9a-f]{16})*$")] = ""
    """xxh3 of each MiB, 16 digits a block: of a shard's data part, of the whole of a table."""

    def checksums(self) -> NDArray[np.uint64]:
        """The block checksums as integers, shape (n_blocks,)."""
        return np.frombuffer(bytes.fromhex(self.blocks), ">u8").astype(np.uint64)


class Grid(NamedTuple):
    """How the rows of an array are divided."""

    chunk_rows: int
    shard_rows: int

    @property
    def index_bytes(self) -> int:
        """Size of the index at the end of a shard."""
        return self.shard_rows // self.chunk_rows * 16

    def padded(self, rows: int) -> int:
        """`rows` rounded up to whole chunks: the rows that the data part of their shard holds."""
        return -(-rows // self.chunk_rows) * self.chunk_rows

    def shard_index(self, rows: int, row_bytes: int) -> bytes:
        """The index of a shard of which the first `rows` rows are inside the array."""
        table = np.full((self.shard_rows // self.chunk_rows, 2), _NO_CHUNK, "<u8")
        present = self.padded(rows) // self.chunk_rows
        table[:present, 0] = np.arange(present, dtype=np.uint64) * np.uint64(self.chunk_rows * row_bytes)
        table[:present, 1] = self.chunk_rows * row_bytes
        return table.tobytes()


def grid(level: str, rows: int, *, large: bool) -> Grid:
    """Chunks and shards for an array of `rows` rows; smaller powers of two where the array is small."""
    full = _LARGE_SHARD[level] if large else _SHARD[level]
    chunk = min(_CHUNK[level], max(_SMALLEST_CHUNK, _floor_power(rows // 8)))
    return Grid(chunk, min(full, max(chunk, 1 << max(rows - 1, 0).bit_length())))


def _floor_power(number: int) -> int:
    return 1 << (number.bit_length() - 1) if number else 0


class ArrayRecord(Noun):
    """One array of a segment or a view."""

    level: Annotated[str, Field(pattern="^(atom|pair|configuration)$")]
    """One row an atom, a pair of atoms of the configurations that have it, or a configuration."""
    dtype: Annotated[str, Field(pattern="^(float64|float32|uint8|int8|int16|int32|int64)$")]
    """Element type on disk, little-endian."""
    shape: Annotated[tuple[Annotated[int, Field(ge=1, le=1024)], ...], Field(max_length=4)]
    """Shape of one row."""
    rows: Count
    """Length of the array."""
    chunk_rows: PowerOfTwo
    """Rows of an inner chunk."""
    shard_rows: PowerOfTwo
    """Rows of a whole shard."""

    @property
    def grid(self) -> Grid:
        """Chunks and shards."""
        return Grid(self.chunk_rows, self.shard_rows)

    @property
    def row_bytes(self) -> int:
        """Size of one row."""
        return np.dtype(self.dtype).itemsize * math.prod(self.shape)

    @property
    def n_shards(self) -> int:
        """How many files hold it."""
        return -(-self.rows // self.shard_rows)

    def rows_of(self, shard: int) -> int:
        """Rows of shard number `shard` that are inside the array."""
        return min(self.shard_rows, self.rows - shard * self.shard_rows)

    def shard_name(self, name: str, shard: int) -> str:
        """File of shard number `shard`, relative to the group."""
        return f"{name}/c.{shard}" + ".0" * len(self.shape)


class Manifest(Noun):
    """The arrays of a folder, their files and the checksums: all that a reader needs."""

    n_configurations: Count
    """Rows of the per-configuration arrays."""
    n_atoms: Count
    """Rows of the per-atom arrays."""
    arrays: dict[FileName, ArrayRecord]
    """By name of the property, and those that say where others are."""
    files: dict[FileName, FileRecord]
    """By path relative to the folder."""


class Segment(Noun):
    """The immutable files of one commit; its identity is the sha256 of this record."""

    schema_version: int = STORE_VERSION
    """Of the layout."""
    n_calculations: Count
    """Rows of the table of calculations."""
    content: Sha256
    """Sum of what its calculations contribute to a snapshot's content, hidden ones included."""
    arrays: Manifest
    """Of the Zarr group."""
    files: dict[FileName, FileRecord]
    """Tables and the index of ids."""

    @property
    def id(self) -> Sha256:
        """Digest of the record."""
        return digest.sha256_json(self.as_json())


def level_of(name: str) -> str:
    """What an array of the store has one row for: atom, pair or configuration."""
    return CONFIGURATION if name in PLACES else PROPERTIES[name].level


def blank_of(name: str) -> float:
    """What stands for absence in an array of the store."""
    return 0 if name in COUNTS else -1 if name in PLACES else PROPERTIES[name].absent


def dtype_of(name: str) -> str:
    """Element type of an array of the store."""
    return "int64" if name in PLACES else PROPERTIES[name].dtype


def shape_of(name: str) -> tuple[int, ...]:
    """Shape of one row of an array of the store."""
    return () if name in PLACES else PROPERTIES[name].shape


def block_checksums(content: memoryview) -> str:
    """xxh3 of each MiB of `content`, 16 hexadecimal digits a block."""
    return "".join(xxhash.xxh3_64_hexdigest(content[at : at + BLOCK]) for at in range(0, len(content), BLOCK))


def segment_folder(store: Path, segment: str) -> Path:
    """Folder of a segment."""
    return store / SEGMENTS / segment


def snapshot_file(store: Path, snapshot: str) -> Path:
    """File of a snapshot."""
    return store / SNAPSHOTS / f"{snapshot}.json"


def amendment_file(store: Path, amendment: str) -> Path:
    """File of an amendment."""
    return store / AMENDMENTS / f"{amendment}.json"


def work_folder(store: Path) -> Path:
    """The folder beside the store for lock and staging; never tracked."""
    return store.with_name(store.name + ".work")


def counts_record() -> ArrayRecord:
    """Type of an array of places where no part has any."""
    return ArrayRecord(level=CONFIGURATION, dtype="int64", shape=(), rows=0, chunk_rows=64, shard_rows=64)


def check_counts(parts: Sequence[tuple[Path, Manifest]], first_row: I64, n_atoms: I64, atom_start: I64) -> None:
    """Refuse counts that would make a reader look outside its arrays.

    Raises:
        CorruptError: a negative count, or starts that are not the running sum of the counts.
    """
    for (folder, manifest), first, last in zip(parts, first_row[:-1], first_row[1:], strict=True):
        counts, starts = n_atoms[first:last], atom_start[first:last]
        ends = np.cumsum(counts)
        total = int(ends[-1]) if len(ends) else 0
        if (counts < 0).any() or total != manifest.n_atoms or not np.array_equal(starts, ends - counts):
            raise CorruptError(
                "expected atom_start to be the running sum of n_atoms, found other numbers.", path=folder
            )


@fetched
def read_record(kind: type[Named], path: Path, name: str) -> Named:
    """A record that is named by the sha256 of its bytes.

    Raises:
        CorruptError: it is missing, or its bytes are not those that its name says.
        NewerSchema: a newer mlpdata wrote it.
    """
    return from_stored(kind, read_named(path, name, f"a {kind.__name__}"), str(path))


def read_named(path: Path, name: str, what: str) -> bytes:
    """The bytes of a record that is named by their sha256; see `read_record`."""
    try:
        text = path.read_bytes()
    except OSError as error:
        raise CorruptError(f"expected {what}, found: {error.strerror}. Restore the file.", path=path) from error
    found = digest.sha256(text)
    if found != name:
        raise CorruptError(f"expected bytes with sha256 {name}, found {found}. Restore the file.", path=path)
    refuse_newer(text, path)
    return text


def refuse_newer(text: bytes, path: Path) -> None:
    """Refuse a record of a later schema before its unknown fields look like damage.

    Raises:
        NewerSchema: a newer mlpdata wrote it.
        CorruptError: not JSON.
    """
    try:
        version = json.loads(text).get("schema_version", 0)
    except (ValueError, AttributeError) as error:
        raise CorruptError("expected a JSON object, found something else.", path=path) from error
    if not isinstance(version, int) or version > STORE_VERSION:
        raise NewerSchema(
            f"expected schema version {STORE_VERSION} or lower, found {version}. Update mlpdata to read this store.",
            path=path,
        )


def file_of(segment: Segment, name: str, path: Path) -> FileRecord:
    """The record of a table or the index.

    Raises:
        CorruptError: the segment names no such file.
    """
    if name not in segment.files:
        raise CorruptError(f"expected {name} in {SEGMENT_RECORD}, found no such file.", path=path)
    return segment.files[name]
