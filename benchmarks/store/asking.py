"""SQL over millions of configurations, checksums of what is read verified, beside programs that verify nothing.

`mlpdata.query.run_sql` is asked on a snapshot that was just opened, and then again. DuckDB and polars read the same
Parquet files of the store directly; every answer is compared. ase.db has 5,000 of the configurations, whose energy per
atom and largest force it was given as key-value pairs to select by. Wall time on all cores, CPU time in brackets.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import ase.db
import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

import mlpdata
from mlpdata.query import run_sql
from store.report import Spent, best, explained, milliseconds, spent, table

TIMES = 2
FEW = 5_000
LOW, SMALL = -5.3, 4.0
"""Bounds of the filter: energy per atom [eV], largest force [eV/angstrom]."""
QUERIES = {
    "filter": f"SELECT id FROM configurations WHERE energy_per_atom < {LOW} AND max_force < {SMALL}",
    "count": f"SELECT count(*) AS n FROM configurations WHERE min_distance < 2.0 AND max_force < {SMALL}",
    "group": "SELECT formula, count(*) AS n, avg(energy_per_atom) AS e FROM configurations GROUP BY formula ORDER BY formula",
}  # fmt: skip
WHAT = {"filter": "ids by energy and force", "count": "count by distance and force", "group": "count and mean energy by formula"}  # fmt: skip
_GOALS = {1_000_000: 0.04, 10_000_000: 0.3}


def figures(store: Path, scratch: Path) -> str:
    """Markdown for one store."""
    n_configurations = len(mlpdata.Store(store).snapshot())
    goal = _GOALS.get(n_configurations)
    rows = [row for name in QUERIES for row in _compared(store, name)]
    rows += _ase(store, scratch)
    heading = f"## SQL over {n_configurations:,} configurations\n\n{explained(__doc__)}\n\n"
    said = f"Goal of the filter: {milliseconds(goal)}.\n\n" if goal else ""
    return heading + said + table(("query", "by", "first", "again", "rows"), rows)


def _compared(store: Path, name: str) -> Iterator[tuple[str, ...]]:
    """One query, by ours and by those that read Parquet."""
    files = [str(path) for path in sorted(store.glob("segments/*/configurations.parquet"))]
    answers: list[pa.Table] = []
    snapshot = mlpdata.Store(store).snapshot().opened
    ways: dict[str, Callable[[], pa.Table]] = {
        "mlpdata": lambda: run_sql(snapshot, QUERIES[name]),
        "DuckDB on the files": lambda: _duckdb(files, QUERIES[name]),
        "polars on the files": lambda: _polars(files, name).to_arrow(),
    }
    for by, ask in ways.items():
        first = spent(lambda ask=ask: answers.append(ask()))
        again = best(ask, TIMES)
        yield WHAT[name], by, _both(first), _both(again), f"{answers[-1].num_rows:,}"
    for other in answers[1:]:
        _same(answers[0], other)


def _both(took: Spent) -> str:
    return f"{milliseconds(took.wall)} ({milliseconds(took.cpu)})"


def _duckdb(files: list[str], query: str) -> pa.Table:
    with duckdb.connect() as connection:
        connection.read_parquet(files).create_view("configurations")
        return connection.sql(query).to_arrow_table()


def _polars(files: list[str], name: str) -> pl.DataFrame:
    frame = pl.scan_parquet(files)
    small = pl.col("max_force") < SMALL
    if name == "filter":
        return frame.filter((pl.col("energy_per_atom") < LOW) & small).select("id").collect()
    if name == "count":
        return frame.filter((pl.col("min_distance") < 2.0) & small).select(n=pl.len()).collect()
    by_formula = frame.group_by("formula").agg(n=pl.len(), e=pl.col("energy_per_atom").mean())
    return by_formula.sort("formula").collect()


def _same(ours: pa.Table, other: pa.Table) -> None:
    """Whether both are the same rows in any order; means to rounding."""
    assert ours.num_rows == other.num_rows, f"{ours.num_rows} rows are not {other.num_rows}"
    for name in ours.column_names:
        mine, found = (
            pc.sort_indices(one[name].combine_chunks().cast(pa.binary() if name == "id" else one[name].type))
            for one in (ours, other)
        )
        left, right = ours[name].take(mine).to_pylist(), other[name].take(found).to_pylist()
        if name == "e":
            assert np.allclose(left, right, rtol=1e-12)
        else:
            assert left == right, f"another {name}"


def _ase(store: Path, scratch: Path) -> Iterator[tuple[str, ...]]:
    """ase.db.select over few configurations."""
    snapshot = mlpdata.Store(store).snapshot()
    mapped = snapshot.opened.mapped
    frames = mapped.frames(np.arange(FEW))
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    force = np.sqrt(np.maximum.reduceat((frames.forces**2).sum(axis=1), frames.atom_start[:-1]))
    with ase.db.connect(scratch / "few.db") as database:
        for atoms, energy, largest in zip(frames.to_ase(), frames.energy / frames.n_atoms, force, strict=True):
            database.write(atoms, energy_per_atom=float(energy), max_force=float(largest))
    found: list[int] = []

    def ask() -> None:
        rows = ase.db.connect(scratch / "few.db").select(f"energy_per_atom<{LOW},max_force<{SMALL}")
        found[:] = [row.id for row in rows]

    first, again = spent(ask), best(ask, TIMES)
    assert len(found) == int(((frames.energy / frames.n_atoms < LOW) & (force < SMALL)).sum())
    yield WHAT["filter"], f"ase.db of {FEW:,}", _both(first), _both(again), f"{len(found):,}"
    shutil.rmtree(scratch)
