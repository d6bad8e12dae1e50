"""Small runs in folders, as a campaign leaves them, and what a store shows of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from mlpdata.api import Store
from mlpdata.intake import sync
from mlpdata.testing.layouts import files
from mlpdata.testing.springs import Run

MD = Run("outcar", seed=3, n_steps=3, started=3600)
"""Molecular dynamics of five atoms that still goes on."""
DONE = MD.ended("finished")
OTHER = replace(DONE, seed=5, started=7200)
"""Another run of other atoms."""


def put(folder: Path, run: Run, name: str = "") -> Path:
    """Bring the file of a run to what it has computed; its only or first file."""
    first, content = next(iter(files(run).items()))
    path = folder / (name or first)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def text(run: Run) -> bytes:
    """What `put` writes."""
    return next(iter(files(run).values()))


def rows(store: Path | str, columns: str, table: str = "calculations", order: str = "path") -> list[tuple[object, ...]]:
    """Columns of what a store shows."""
    answer = Store(store).snapshot().sql(f"SELECT {columns} FROM {table} ORDER BY {order}")
    return list(zip(*(column.to_pylist() for column in answer.columns), strict=True))


def fresh(tree: Path, store: Path) -> str | None:
    """The content of one exact sync of a tree into a store of its own, which all others must reach."""
    return sync(tree, store, exact=True).content


def as_fresh(tree: Path, store: Path) -> bool:
    """Whether a store shows what one fresh exact sync of the tree shows."""
    with TemporaryDirectory() as folder:
        return bool(Store(store).snapshot().content == fresh(tree, Path(folder) / "store"))
