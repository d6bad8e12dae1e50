"""Freeze: a selection packed for reading, named by what a reader gets.

A view is a folder::

    view.json      the record: parts, arrays, digest of ids and labels
    manifest.json  the files below, with their checksums
    arrays/        Zarr v3 group: float32, energies and cells float64; parts one after the other, each shuffled
    ids            16 bytes a row
    rows.parquet   kind and group of each row
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import ArrayLike, NDArray

from mlpdata import durable
from mlpdata.digest import canonical_json, sha256_json
from mlpdata.errors import CorruptError, NewerSchema, NotFound, StoreError, UsageError
from mlpdata.frames import MAX_ATOMS_PER_BLOCK, Frames
from mlpdata.schema.noun import SCHEMA_VERSION, Noun, from_stored
from mlpdata.schema.properties import PROPERTIES
from mlpdata.schema.records import View
from mlpdata.store.arrays import file_record, write_arrays
from mlpdata.store.layout import FileRecord, Manifest
from mlpdata.store.mapping import Mapped

I64 = NDArray[np.int64]
Ids = NDArray[np.uint8]

KEPT = (
    "atomic_numbers", "positions", "forces", "force_mask", "magnetic_moments", "energy", "cell", "pbc", "stress",
    "charge", "multiplicity", "total_magnetization",
)  # fmt: skip
"""What a model learns from; where a configuration came from stays in the store."""
EXACT = ("energy", "cell")
"""Kept in double precision: total energies need it, and cells are small."""
PACKED = {name: "float32" for name in KEPT if PROPERTIES[name].dtype == "float64" and name not in EXACT}


class Rows(Protocol):
    """Configurations that can be read by row."""

    @property
    def n_atoms(self) -> I64:
        """Atoms of each configuration, shape (n_configurations,)."""
        ...

    def frames(self, rows: ArrayLike) -> Frames:
        """The configurations `rows`, in that order."""
        ...


class ViewManifest(Noun):
    """The files of a view."""

    arrays: Manifest
    """Of the Zarr group."""
    files: dict[str, FileRecord]
    """`ids` and `rows.parquet`."""


@dataclass(frozen=True)
class OpenView:
    """A view, mapped for reading."""

    record: View
    """What it is."""
    mapped: Mapped
    """Its arrays by row."""
    ids: Ids
    """Shape (n_configurations, 16)."""
    kinds: NDArray[np.str_]
    """Kind of each configuration, shape (n_configurations,)."""
    groups: NDArray[np.str_]
    """Group of each configuration, shape (n_configurations,)."""

    def rows(self, part: str) -> I64:
        """Rows of one part.

        Raises:
            NotFound: no such part.
        """
        if part not in self.record.parts:
            raise NotFound(f"expected one of the parts {', '.join(self.record.parts)}, found {part!r}.")
        return np.arange(*self.record.parts[part])


def freeze(
    source: Rows,
    ids: Ids,
    parts: Mapping[str, ArrayLike],
    out: Path,
    *,
    content: str,
    kinds: Sequence[str] | NDArray[np.str_],
    groups: Sequence[str] | NDArray[np.str_],
    split_id: str | None = None,
    query: str = "",
    seed: int = 0,
) -> View:
    """Pack a selection into the folder `out`, which appears whole or not at all.

    The order inside a part depends on the ids and the seed alone, so that the same selection frozen elsewhere is the
    same view. A configuration that the source holds twice is packed once.

    Args:
        source: the configurations, such as `Mapped`.
        ids: of every row of the source, shape (n_rows, 16).
        parts: rows of the source in each part.
        out: folder of the view; one that is there is replaced.
        content: what the snapshot shows that is frozen.
        kinds: of every row of the source.
        groups: of every row of the source.
        split_id: the split that named the parts.
        query: how the selection was made; recorded.
        seed: of the order.

    Raises:
        UsageError: a configuration in two parts, or none at all.
        StoreError: the disk refused; what was at `out` stands.
    """
    shuffled = {name: _shuffled(ids, np.asarray(rows, np.int64), seed) for name, rows in parts.items()}
    order = np.concatenate(list(shuffled.values())) if shuffled else np.empty(0, np.int64)
    if not len(order):
        raise UsageError("expected configurations to freeze, found none. Widen the selection.")
    if len(np.unique(ids[order], axis=0)) != len(order):
        raise UsageError("expected each configuration in one part, found some in two. Repair the split.")
    durable.make_folder(out.parent)
    staging = _fresh(out.with_name(out.name + ".tmp"))
    manifest = write_arrays(staging / "arrays", _blocks(source, order), PACKED)
    durable.write(staging / "ids", ids[order].tobytes())
    durable.write(staging / "rows.parquet", _side_table(np.asarray(kinds)[order], np.asarray(groups)[order]))
    files = {name: file_record(staging / name) for name in ("ids", "rows.parquet")}
    view = View(
        content=content,
        split=split_id,
        query=query,
        ids=_digest(manifest, files),
        parts=_ranges(shuffled),
        arrays=_described(manifest),
        n_configurations=len(order),
    )
    durable.write(staging / "manifest.json", canonical_json(ViewManifest(arrays=manifest, files=files).as_json()))
    durable.write(staging / "view.json", canonical_json(view.as_json()))
    durable.sync_folder(staging)
    _put(staging, out)
    return view


def open_view(path: Path) -> OpenView:
    """Map a view for reading.

    Raises:
        NotFound: no view there.
        NewerSchema: written by a newer mlpdata.
        CorruptError: a file is not what was written.
    """
    view, manifest = _read_records(path)
    for name, file in manifest.files.items():
        _refuse_other_bytes(path / name, file)
    side = pq.read_table(path / "rows.parquet")
    return OpenView(
        view,
        Mapped([(path / "arrays", manifest.arrays)]),
        np.fromfile(path / "ids", np.uint8).reshape(-1, 16),
        *(np.array(side[name].to_pylist(), str) for name in ("kind", "group")),
    )


def read_ids(path: Path) -> tuple[View, Ids]:
    """The record of a view and its ids, shape (n_configurations, 16), without the arrays.

    Raises:
        NotFound, NewerSchema, CorruptError: see `open_view`.
    """
    view, manifest = _read_records(path)
    _refuse_other_bytes(path / "ids", manifest.files["ids"])
    return view, np.fromfile(path / "ids", np.uint8).reshape(-1, 16)


def _read_records(path: Path) -> tuple[View, ViewManifest]:
    """What a view says of itself, and of its files."""
    record_file = path / "view.json"
    if not record_file.is_file():
        raise NotFound("expected a view, found none. Make one by `mlpdata freeze`.", path=path)
    text = record_file.read_bytes()
    _refuse_newer(text, record_file)
    view = from_stored(View, text, str(record_file))
    manifest_file = path / "manifest.json"
    if not manifest_file.is_file():
        raise CorruptError("expected a file of the view, found none. Freeze it again.", path=manifest_file)
    manifest = from_stored(ViewManifest, manifest_file.read_bytes(), str(manifest_file))
    if view.ids != _digest(manifest.arrays, manifest.files):
        raise CorruptError("expected the files that view.json names, found others. Freeze it again.", path=path)
    return view, manifest


def _refuse_other_bytes(path: Path, file: FileRecord) -> None:
    if not path.is_file() or file_record(path) != file:
        raise CorruptError("expected the bytes that were written, found others. Freeze it again.", path=path)


def _refuse_newer(text: bytes, path: Path) -> None:
    """A newer layout may have fields that this version does not know: its number is read before the rest."""
    version = re.search(rb'"schema_version":\s*(\d{1,9})\b', text)
    if version and int(version[1]) > SCHEMA_VERSION:
        raise NewerSchema(
            f"expected a view of schema {SCHEMA_VERSION}, found {int(version[1])}. Update mlpdata.", path=path
        )


def _shuffled(ids: Ids, rows: I64, seed: int) -> I64:
    """`rows`, each id once, in the order of sha256(seed, id)."""
    unique = rows[np.unique(ids[rows], axis=0, return_index=True)[1]] if len(rows) else rows
    prefix = f"view/1 {seed} ".encode()
    drawn = [hashlib.sha256(prefix + ids[row].tobytes()).digest() for row in unique]
    return unique[np.array(sorted(range(len(drawn)), key=drawn.__getitem__), np.int64)]


def _blocks(source: Rows, order: I64) -> Iterator[Frames]:
    """The rows in `order`, in blocks of bounded size, without what no model learns from."""
    ends = np.cumsum(source.n_atoms[order])
    start = 0
    while start < len(order):
        before = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + MAX_ATOMS_PER_BLOCK, side="right")))
        block = source.frames(order[start:stop])
        yield block.without(*(name for name in block.arrays if name not in KEPT))
        start = stop


def _side_table(kinds: NDArray[np.str_], groups: NDArray[np.str_]) -> bytes:
    buffer = io.BytesIO()
    table = pa.table({"kind": pa.array(kinds.tolist(), pa.string()), "group": pa.array(groups.tolist(), pa.string())})
    pq.write_table(table, buffer, write_page_checksum=True)
    return buffer.getvalue()


def _ranges(shuffled: Mapping[str, I64]) -> dict[str, tuple[int, int]]:
    ends = np.cumsum([len(rows) for rows in shuffled.values()]).tolist()
    return {name: (end - len(rows), end) for (name, rows), end in zip(shuffled.items(), ends, strict=True)}


def _described(manifest: Manifest) -> dict[str, dict[str, object]]:
    """Unit, shape and dtype of each array."""
    return {
        name: {**PROPERTIES[name].array.metadata(), "dtype": record.dtype}
        for name, record in sorted(manifest.arrays.items())
        if name in PROPERTIES
    }


def _digest(manifest: Manifest, files: Mapping[str, FileRecord]) -> str:
    """Digest of the ordered ids and of the labels as they are stored."""
    labels = {name: file.sha256 for name, file in manifest.files.items()}
    return sha256_json({"ids": files["ids"].sha256, "labels": labels})


def _fresh(folder: Path) -> Path:
    """An empty staging folder; what a killed run left is removed."""
    if folder.exists():
        durable.remove_tree(folder)
    durable.make_folder(folder)
    return folder


def _put(staging: Path, out: Path) -> None:
    """Put the finished folder in its place; an older one steps aside first, is removed last, and returns on failure."""
    aside = out.with_name(out.name + ".old.tmp")
    if aside.exists():
        durable.remove_tree(aside)
    if out.exists():
        durable.rename(out, aside)
    try:
        durable.rename(staging, out)
    except StoreError:
        if aside.exists() and not out.exists():
            durable.rename(aside, out)
        raise
    if aside.exists():
        durable.remove_tree(aside)


_TOKEN = re.compile(
    r"""'(?:[^']|'')*' | \$(\w*)\$.*?\$\1\$ | "(?:[^"]|"")*" | --[^\n]* | /\*.*?\*/ | [A-Za-z_]\w*(?:\s*\()? | [()]""",
    re.VERBOSE | re.DOTALL,
)
_UNSTABLE = re.compile(
    r"(random|uuid|uuidv4|uuidv7|gen_random_uuid|nextval|now|get_current_time\w*|today|current_(date|time\w*)"
    r"|transaction_timestamp|any_value|arbitrary)\($"
)
_UNSTABLE_WORDS = {"sample", "tablesample", "current_date", "current_time", "current_timestamp", "localtimestamp"}


def refuse_unstable(query: str) -> None:
    """Refuse a query whose answer may differ from one run to the next.

    Raises:
        UsageError: random(), the clock, a sample, or LIMIT and OFFSET without ORDER BY on their level.
    """
    ordered = [False]
    limited = [False]
    words = [re.sub(r"\s", "", match[0]).lower() for match in _TOKEN.finditer(query)]
    for word in words:
        if _UNSTABLE.fullmatch(word) or word.removesuffix("(") in _UNSTABLE_WORDS:
            raise UsageError(
                f"expected a query with one answer, found {word.rstrip('(')}. A view is a fixed selection."
            )
        ordered[-1] |= word == "order"
        limited[-1] |= word.removesuffix("(") in {"limit", "offset"}
        if word == ")" and len(ordered) > 1:
            _refuse_unordered(ordered.pop(), limited.pop())
        elif word.endswith("("):
            ordered.append(False)
            limited.append(False)
    for order, limit in zip(ordered, limited, strict=True):
        _refuse_unordered(order, limit)


def _refuse_unordered(ordered: bool, limited: bool) -> None:
    if limited and not ordered:
        raise UsageError("expected ORDER BY beside LIMIT, found none. Which rows come first is not fixed without it.")
