"""Filter queries over the configurations of a store: CPU time as a multiple of DuckDB's on the same Parquet files.

Ours verifies block and page checksums, DuckDB and polars none. All take turns, query by query, each with a connection of
its own, so that a noisy machine does not matter; `first` opens the snapshot and verifies what the query touches, `later`
asks one that is open. ase.db has 5,000 rows, since it writes some hundred a second.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from mlpdata.frames import Frames
from mlpdata.query import run_sql
from mlpdata.schema.calculation import Calculation, Source
from mlpdata.schema.method import Method
from mlpdata.store.amendments import Amended
from mlpdata.store.commit import Repository

RUN = 50
"""Configurations of a calculation."""
METHODS = [Method(code="vasp", functional=name, cutoff_energy=500.0) for name in ("PBE", "SCAN", "PBEsol")]
QUERIES = {
    "one number, few rows": "SELECT id FROM configurations WHERE energy < -7",
    "one number, half of the rows": "SELECT count(*) FROM configurations WHERE energy < 0",
    "two numbers": "SELECT id, energy FROM configurations WHERE max_force < 0.5 AND energy < -5",
    "one formula": "SELECT id, energy FROM configurations WHERE formula = 'H2O'",
    "one calculation": "SELECT id FROM configurations WHERE path = 'runs/7/107/vasprun.xml'",
    "group by formula": "SELECT formula, count(*), min(energy) FROM configurations GROUP BY 1",
    "in a list": "SELECT count(*) FROM configurations WHERE list_contains(elements, 'Si')",
    "in a map": "SELECT count(*) FROM configurations WHERE composition['H'] = 2",
    "ten whole rows": "SELECT * FROM configurations LIMIT 10",
    "count": "SELECT count(*) FROM configurations",
}
Ask = Callable[[str], int]


def block(random: np.random.Generator) -> Frames:
    """Fragments of one to three atoms: a table does not know how large they are."""
    n_atoms = random.integers(1, 4, RUN)
    total = int(n_atoms.sum())
    return Frames(
        n_atoms,
        {
            "atomic_numbers": random.choice([1, 6, 7, 8, 14, 29], total),
            "positions": random.normal(size=(total, 3)) * 4,
            "forces": random.normal(size=(total, 3)),
            "energy": random.normal(size=RUN) * 3,
            "pbc": np.zeros((RUN, 3)),
            "step": np.arange(RUN),
        },
    )


def calculation(number: int) -> Calculation:
    path = f"runs/{number % 100}/{number}/vasprun.xml"
    source = Source(path=path, sha256=f"{number:064x}", bytes=1000, reader="vasp/xml", reader_version=1)
    return Calculation(
        path=path, identity=f"run {number}", sources=(source,), method=METHODS[number % 3], status="complete",
        run_kind="md", kind="aimd", energy_kind="free", forces_are="physical", group=f"group {number % 7}",
        license="CC0-1.0", tags={"config_type": f"type {number % 11}"},
    )  # fmt: skip


def build(store: Path, n_configurations: int, n_segments: int) -> None:
    """A store of random configurations in runs of fifty."""
    random, repository = np.random.default_rng(1), Repository.create(store)
    runs = np.array_split(np.arange(n_configurations // RUN), n_segments)
    for some in runs:
        with repository.stage() as writer:
            for number in some.tolist():
                writer.begin()
                writer.append(block(random))
                writer.end(calculation(number))
            repository.commit(writer)


def hide_half(store: Path) -> None:
    """Retract every other calculation."""
    repository = Repository.open(store)
    keys = [(segment, record, "benchmark") for segment, record, _, _ in repository.snapshot().keyed()]
    repository.commit(retract=keys[::2])


def amend_some(store: Path) -> None:
    """Give every hundredth calculation another kind."""
    repository = Repository.open(store)
    keyed = list(repository.snapshot().keyed())[1::100]
    repository.commit(amend=[Amended(segment, record, one.replace(kind="random")) for segment, record, one, _ in keyed])


def peers(store: Path) -> dict[str, Ask]:
    """DuckDB and polars on the Parquet files, and ours on a snapshot that is opened for the query or was before."""
    import duckdb
    import polars as pl

    files = sorted(map(str, store.glob("segments/*/configurations.parquet")))

    def by_duckdb(query: str) -> int:
        with duckdb.connect() as connection:
            connection.execute(f"CREATE VIEW configurations AS SELECT * FROM read_parquet({files!r})")
            return len(connection.sql(query).to_arrow_table())

    def by_polars(query: str) -> int:
        return len(pl.SQLContext(configurations=pl.scan_parquet(files)).execute(query, eager=True))

    opened = Repository.open(store).snapshot()
    return {
        "duckdb": by_duckdb,
        "first": lambda query: run_sql(Repository.open(store).snapshot(), query).num_rows,
        "later": lambda query: run_sql(opened, query).num_rows,
        "polars": by_polars,
    }


def seconds(ask: Ask, query: str) -> tuple[float, float]:
    """CPU and wall time of one query; NaN where polars does not know its functions."""
    wall, cpu = time.perf_counter(), time.process_time()
    try:
        ask(query)
    except Exception as error:
        if type(error).__module__.startswith("polars"):
            return float("nan"), float("nan")
        raise
    return time.process_time() - cpu, time.perf_counter() - wall


def report(store: Path, title: str, turns: int) -> None:
    """One line a query."""
    asked = peers(store)
    for name, query in QUERIES.items():
        taken: dict[str, list[tuple[float, float]]] = {peer: [] for peer in asked}
        for _ in range(turns):
            for peer, ask in asked.items():
                taken[peer].append(seconds(ask, query))
        cpu = {peer: min(times)[0] for peer, times in taken.items()}
        wall = {peer: min(time for _, time in times) for peer, times in taken.items()}
        ours = ", ".join(
            f"{peer} {cpu[peer] / cpu['duckdb']:.2f} of DuckDB ({cpu[peer] * 1e3:.0f} ms CPU, {wall[peer] * 1e3:.0f} ms)"
            for peer in ("first", "later")
        )
        print(
            f"{title}, {name}: {ours}; DuckDB {cpu['duckdb'] * 1e3:.0f}, polars {cpu['polars'] * 1e3:.0f} ms CPU",
            flush=True,
        )


def report_ase(folder: Path, turns: int) -> None:
    """The same filter on 5,000 rows by ase.db."""
    from ase import Atoms
    from ase.calculators.singlepoint import SinglePointCalculator
    from ase.db import connect

    random = np.random.default_rng(2)
    with connect(folder / "rows.db", append=False) as database:
        for _ in range(5_000):
            atoms = Atoms(random.choice([1, 6, 7, 8], 3), random.normal(size=(3, 3)))
            atoms.calc = SinglePointCalculator(atoms, energy=random.normal() * 3, forces=random.normal(size=(3, 3)))
            database.write(atoms)
    for query in ("energy<-7", "energy<0", "formula=H2O"):
        taken = [seconds(lambda text: sum(1 for _ in database.select(text)), query) for _ in range(turns)]
        print(f"ase.db, 5000 rows, {query}: {statistics.median(cpu for cpu, _ in taken) * 1e3:.0f} ms CPU", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--configurations", type=int, default=1_000_000)
    parser.add_argument("--segments", type=int, nargs="*", default=[1, 30])
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--store", type=Path, help="Measure this store, which is only read, instead of new ones.")
    options = parser.parse_args()
    if options.store:
        report(options.store, str(options.store), options.turns)
        return
    folder = Path(tempfile.mkdtemp())
    try:
        report_ase(folder, options.turns)
        for n_segments in options.segments:
            store, title = folder / f"store-{n_segments}", f"{options.configurations} in {n_segments} segments"
            build(store, options.configurations, n_segments)
            report(store, title, options.turns)
            amend_some(store)
            report(store, f"{title}, 1 % amended", options.turns)
            hide_half(store)
            report(store, f"{title}, half hidden", options.turns)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
