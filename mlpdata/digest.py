"""Digests: of bytes, files, canonical JSON, rows, geometries, and of what a snapshot shows.

Everything that is named by its content is named here, so that a rebuild elsewhere gives the same names.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

GEOMETRY_VERSION = 1
"""Raised when the rounding or the fields of `geometry_id` change; the ids can be recomputed from the rows."""
GEOMETRY_STEP = 1e-6
"""Positions and cells are rounded to this before hashing [angstrom]."""
ID_BYTES = 16
MODULUS = 1 << 256

ROW_FIELDS = (
    "atomic_numbers",
    "positions",
    "cell",
    "pbc",
    "charge",
    "multiplicity",
    "energy",
    "forces",
    "stress",
)
GEOMETRY_FIELDS = ("atomic_numbers", "positions", "cell", "pbc")

Bytes = bytes | bytearray | memoryview


def sha256(data: Bytes) -> str:
    """Hexadecimal sha256 of `data`."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """Hexadecimal sha256 of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_start(file: IO[bytes], n_bytes: int) -> str:
    """Hexadecimal sha256 of the first `n_bytes` of an opened file."""
    digest = hashlib.sha256()
    file.seek(0)
    while n_bytes and (piece := file.read(min(n_bytes, 1 << 20))):
        digest.update(piece)
        n_bytes -= len(piece)
    return digest.hexdigest()


def canonical_json(value: Any) -> bytes:
    """The one byte string of a JSON value: sorted keys, no spaces, UTF-8, no NaN, -0.0 as 0.0; keys are text.

    Raises:
        ValueError: NaN or infinity, which JSON does not have.
    """
    text = _dumps(value)
    return (_dumps(_without_negative_zero(value)) if "-0.0" in text else text).encode()


def _dumps(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _without_negative_zero(value: Any) -> Any:
    if isinstance(value, float):
        return 0.0 if value == 0 else value
    if isinstance(value, dict):
        return {key: _without_negative_zero(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_negative_zero(item) for item in value]
    return value


def sha256_json(value: Any) -> str:
    """Hexadecimal sha256 of the canonical JSON of `value`."""
    return sha256(canonical_json(value))


def row_ids(fields: Mapping[str, NDArray[Any]], n_atoms: NDArray[np.integer[Any]]) -> NDArray[np.uint8]:
    """The `id` of each configuration: 128 bits of sha256 over its exact numbers, shape (n_configurations, 16).

    Args:
        fields: the arrays named in `ROW_FIELDS` that are present, per atom (n, ...) or per configuration
            (n_configurations, ...). An absent field and one that is NaN give the same id.
        n_atoms: atoms of each configuration, shape (n_configurations,).
    """
    return _ids(fields, ROW_FIELDS, n_atoms, b"row/1")


def geometry_ids(fields: Mapping[str, NDArray[Any]], n_atoms: NDArray[np.integer[Any]]) -> NDArray[np.uint8]:
    """The `geometry_id` of each configuration, shape (n_configurations, 16): species, positions, cell, pbc, rounded."""
    rounded = dict(fields)
    for name in ("positions", "cell"):
        if name in fields:
            rounded[name] = np.round(np.asarray(fields[name], "<f8") / GEOMETRY_STEP)
    return _ids(rounded, GEOMETRY_FIELDS, n_atoms, b"geometry/%d" % GEOMETRY_VERSION)


def _ids(
    fields: Mapping[str, NDArray[Any]],
    names: tuple[str, ...],
    n_atoms: NDArray[np.integer[Any]],
    label: bytes,
) -> NDArray[np.uint8]:
    """Hash the little-endian bytes of `names`, one configuration after the other.

    A field that is absent as a whole in one configuration (NaN) contributes nothing but its name, so that adding an
    array of NaN to a block does not rename its rows.
    """
    counts = np.asarray(n_atoms, np.int64)
    atom_ends = np.cumsum(counts)
    atoms = ((atom_ends - counts).tolist(), atom_ends.tolist())
    rows_of_one = (list(range(len(counts))), list(range(1, len(counts) + 1)))
    parts = []
    for name in names:
        if name in fields:
            rows, present = _row_bytes(name, np.asarray(fields[name]))
            per_atom = name in ("atomic_numbers", "positions", "forces")
            first, last = atoms if per_atom else rows_of_one
            parts.append((name.encode(), rows.tobytes(), rows.shape[1], present, first, last))
    found = []
    for index in range(len(counts)):
        pieces = [label]
        for name_bytes, data, width, present, first, last in parts:
            a, b = first[index], last[index]
            if a < b and present[a]:
                pieces += (name_bytes, data[a * width : b * width])
        found.append(hashlib.sha256(b"".join(pieces)).digest()[:ID_BYTES])
    return np.frombuffer(bytearray().join(found), np.uint8).reshape(len(counts), ID_BYTES)


def _row_bytes(name: str, values: NDArray[Any]) -> tuple[NDArray[np.uint8], list[bool]]:
    """`values` as bytes, one line a row, and which rows hold a value: not NaN, no multiplicity of 0."""
    rows = values.reshape(len(values), math.prod(values.shape[1:]))
    if rows.dtype.kind == "f":
        present = ~np.isnan(rows).any(axis=1)
        rows = np.ascontiguousarray(rows, "<f8") + 0.0  # -0.0 + 0.0 is 0.0
    else:
        present = rows[:, 0] != 0 if name == "multiplicity" else np.ones(len(rows), bool)
        rows = np.ascontiguousarray(rows, "<i8")
    width = rows.shape[1] * 8
    return rows.view(np.uint8).reshape(len(rows), width), present.tolist()


def content(digests: Iterable[Bytes]) -> int:
    """Sum modulo 2^256 of sha256 digests: equal for equal sets, whatever the order; additive over segments."""
    return sum(int.from_bytes(digest, "big") for digest in digests) % MODULUS


def content_id(total: int) -> str:
    """Hexadecimal name of a content sum."""
    return f"{total % MODULUS:064x}"


def shown(calculation: str, ids: NDArray[np.uint8]) -> int:
    """Contribution to `content` of one calculation: its record's digest and each of its rows, in their order.

    Args:
        calculation: hexadecimal digest of the calculation's record.
        ids: the rows, shape (n_configurations, 16).
    """
    record = bytes.fromhex(calculation)
    rows = (
        hashlib.sha256(b"shown/1" + record + index.to_bytes(8, "little") + row.tobytes()).digest()
        for index, row in enumerate(ids)
    )
    return (content(rows) + int.from_bytes(hashlib.sha256(b"record/1" + record).digest(), "big")) % MODULUS


def is_hex(text: str, length: int = 64) -> bool:
    """Whether `text` is a lower-case hexadecimal name of `length` digits; asked of all that comes from outside."""
    return len(text) == length and set(text) <= set("0123456789abcdef")


def finite_or_none(value: float) -> float | None:
    """`value`, or None where it is NaN: JSON has no NaN."""
    return float(value) if math.isfinite(value) else None
