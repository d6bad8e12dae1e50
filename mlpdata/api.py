"""The public Store and Snapshot: a facade over what lies below."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mlpdata.errors import NotFound
from mlpdata.frames import Frames
from mlpdata.schema.calculation import Calculation
from mlpdata.schema.method import Method
from mlpdata.schema.noun import from_stored
from mlpdata.schema.records import Snapshot as SnapshotRecord
from mlpdata.schema.records import Split
from mlpdata.store.commit import Repository
from mlpdata.store.keeper import keeper, opened
from mlpdata.store.snapshot import OpenSnapshot
from mlpdata.store.verify import VerifyReport, verify

if TYPE_CHECKING:
    from mlpdata.interop.export import Export
    from mlpdata.loader.loader import Loader

Ids = NDArray[np.uint8] | list[str] | list[bytes]
"""Ids as (n, 16) bytes, or as a list of 32 hexadecimal digits or of 16 bytes each."""


class Store:
    """A store of configurations, opened: a folder, or `s3://bucket/path` with the usual AWS_* variables set.

    >>> store = Store("store")  # doctest: +SKIP
    >>> store.snapshot().sql("SELECT formula, count(*) FROM configurations GROUP BY 1")  # doctest: +SKIP

    Raises:
        NotFound: no store there.
        NewerSchema: written by a newer mlpdata.
    """

    def __init__(self, path: str | Path = "store") -> None:
        self.path = opened(path)
        self._repository = Repository.open(self.path)

    def __repr__(self) -> str:
        head = self._repository.head()
        shown = (
            "empty" if head is None else f"{head.n_configurations} configurations of {head.n_calculations} calculations"
        )
        return f"Store({keeper(self.path).address(self.path)!r}): {shown}"

    def snapshot(self, at: str | None = None) -> Snapshot:
        """The current snapshot, or the one named by a tag, an id or the start of one, or a date (ISO 8601).

        Raises:
            NotFound: no such snapshot, or none at all yet.
        """
        return Snapshot(self._repository.snapshot(at), self.path)

    def log(self) -> Iterator[SnapshotRecord]:
        """The snapshots, newest first."""
        return self._repository.log()

    def tag(self, name: str, at: str | None = None, *, move: bool = False) -> SnapshotRecord:
        """Let `name` stand for a snapshot; one that stands for another is moved only where `move` says so.

        Raises:
            UsageError: not a name, or a tag that stands for another snapshot.
            NotFound: no such snapshot.
        """
        return self._repository.tag(name, at, move=move)

    def tags(self) -> dict[str, str]:
        """Snapshot ids by tag."""
        return self._repository.tags()

    def verify(self, *, quick: bool = False) -> VerifyReport:
        """Compare what is on disk with the checksums that were recorded; `quick` looks at sizes and records only."""
        return verify(self.path, quick=quick)


class Snapshot:
    """What a store shows at one commit."""

    def __init__(self, opened: OpenSnapshot, store: Path) -> None:
        self._opened = opened
        self._store = store

    def __repr__(self) -> str:
        record = self.record
        return (
            f"Snapshot {record.id[:12]}, content {record.content[:12]}: {record.n_configurations} configurations of "
            f"{record.n_calculations} calculations, {record.time}"
        )

    def __len__(self) -> int:
        return self.record.n_configurations

    @property
    def record(self) -> SnapshotRecord:
        """The commit."""
        return self._opened.record

    @property
    def content(self) -> str:
        """Name of what is shown, whatever its history: splits, views and checkpoints refer to it."""
        return self.record.content

    @property
    def opened(self) -> OpenSnapshot:
        """The snapshot as the floors below know it."""
        return self._opened

    def calculations(self) -> list[Calculation]:
        """The calculations that are shown."""
        return self._opened.calculations()

    def methods(self) -> list[Method]:
        """The distinct levels of theory and settings."""
        return list({one.method.id: one.method for one in self.calculations()}.values())

    def sql(self, query: str, timeout: float = 300.0) -> pa.Table:
        """The result of a SELECT over configurations, calculations, methods, sources, splits and atoms.

        Raises:
            UsageError: a mistake in the query, or anything but one reading statement.
        """
        from mlpdata.query import run_sql  # noqa: PLC0415  duckdb is loaded where it is asked

        return run_sql(self._opened, query, splits=keeper(self._store).beside(self._store) / "splits", timeout=timeout)

    def ids(self) -> NDArray[np.uint8]:
        """The ids shown, shape (n_configurations, 16)."""
        return self._opened.ids()

    def read(self, ids: Ids | pa.Table | None = None) -> Frames:
        """The configurations with these ids, in their order; all of them where none are given.

        Args:
            ids: ids, or the table that a query with the column `id` gave.

        Raises:
            NotFound: an id that the snapshot does not show.
            CorruptError: bytes that are not those that were written.
        """
        return self._opened.read(self.ids() if ids is None else as_ids(ids))

    def export(
        self,
        path: str | Path,
        format: str | None = None,  # noqa: A002  the field's word
        ids: Ids | pa.Table | None = None,
        *,
        query: str = "",
        prefix: str = "",
        force: bool = False,
    ) -> Export:
        """Write configurations for another program, with provenance, attribution and what the format does not hold.

        Args:
            path: file or folder to write.
            format: extxyz, ase-db, aselmdb, hdf5 or deepmd; else as `path` ends.
            ids: those wanted, as in `read`; all by default.
            query: how they were chosen; recorded.
            prefix: put before energy, forces and stress in extended XYZ, such as `REF_`.
            force: replace what is there.

        Raises:
            UsageError: no such format, a package is missing, or something is there.
            NotFound: an id that the snapshot does not show.
            StoreError: the disk refused; what was there stands.
        """
        from mlpdata.interop.export import export  # noqa: PLC0415  loaded where it is asked

        chosen = None if ids is None else as_ids(ids)
        return export(self._opened, Path(path), format, chosen, query=query, prefix=prefix, force=force)

    def split(self, name: str = "main") -> Split:
        """The recorded split `name`.

        Raises:
            NotFound: no such split.
        """
        path = keeper(self._store).beside(self._store) / "splits" / f"{name}.json"
        if not path.is_file():
            raise NotFound(f"expected the split {name!r}, found none. Make it by `mlpdata split`.", path=path)
        return from_stored(Split, path.read_bytes(), str(path))

    def loader(self, split: str = "train", *, name: str = "main", **options: Any) -> Loader:
        """Batches of torch tensors of one part of a split, in an order fixed by `seed`.

        Args:
            split: part of the split, such as train, valid, test.
            name: name of the split.
            options: of `mlpdata.loader.Loader`: batch_size, cutoff [angstrom], seed, shuffle, threads, device.

        Raises:
            NotFound: no such split or part.
        """
        from mlpdata.loader import Loader  # noqa: PLC0415  loads torch

        parts = self.split(name).parts
        if split not in parts:
            raise NotFound(f"expected one of the parts {', '.join(parts)}, found {split!r}.")
        rows = self._opened.rows(as_ids(list(parts[split])))
        return Loader(self._opened.mapped, rows, **{"batch_size": 32, "cutoff": 5.0, **options})


def as_ids(ids: Ids | pa.Table) -> NDArray[np.uint8]:
    """Ids in any of their forms as bytes, shape (n, 16).

    Raises:
        UsageError: a table without the column `id`.
        NotFound: text that is no id.
    """
    if isinstance(ids, pa.Table):
        from mlpdata.query import ids_of  # noqa: PLC0415  duckdb is loaded where it is asked

        return ids_of(ids)
    if isinstance(ids, np.ndarray):
        return np.ascontiguousarray(ids, np.uint8).reshape(-1, 16)
    try:
        whole = b"".join(one if isinstance(one, bytes) else bytes.fromhex(one) for one in ids)
        return np.frombuffer(whole, np.uint8).reshape(-1, 16)
    except ValueError as error:
        raise NotFound("expected ids of 32 hexadecimal digits, found something else.") from error
