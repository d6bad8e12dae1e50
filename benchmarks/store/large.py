"""A valid store of millions of configurations, made once and measured often.

A store that is there and has fewer commits than asked for goes on where it stopped.

    python -m store.large --configurations 10000000 --folder build/store-1e7
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from mlpdata.schema.calculation import Calculation, Source
from mlpdata.schema.method import Method
from mlpdata.store.commit import Repository
from store.configurations import block

N_ATOMS = (8, 16)
RUN_LENGTH = 100
"""Configurations of a calculation."""
N_COMMITS = 16
METHODS = tuple(Method(code="vasp", functional="PBE", cutoff_energy=float(cutoff)) for cutoff in (400, 500, 600))
KINDS = ("aimd", "random", "strained", "liquid_amorphous")


def calculation(number: int) -> Calculation:
    """The record of run `number`."""
    path = f"runs/{number // 1000:04d}/{number % 1000:03d}/vasprun.xml"
    return Calculation(
        path=path,
        identity=f"run {number}",
        sources=(Source(path=path, sha256=f"{number:064x}", bytes=1000, reader="vasp/xml", reader_version=1),),
        method=METHODS[number % len(METHODS)],
        status="complete",
        run_kind="md",
        kind=KINDS[number % len(KINDS)],
        energy_kind="free",
        forces_are="physical",
        temperature_target=float(300 * (1 + number % 4)),
        group=f"group {number // 10}",
        license="CC-BY-4.0",
    )


def commit(repository: Repository, first: int, n_calculations: int) -> None:
    """One commit of the calculations from number `first` on."""
    per_block = 40
    with repository.stage() as writer:
        for start in range(first, first + n_calculations, per_block):
            numbers = range(start, min(start + per_block, first + n_calculations))
            frames = block(RUN_LENGTH * len(numbers), N_ATOMS, seed=start)
            for place, number in enumerate(numbers):
                writer.begin()
                writer.append(frames.select(np.arange(RUN_LENGTH) + place * RUN_LENGTH))
                writer.end(calculation(number))
        repository.commit(writer, message=f"calculations from {first} on")


def store(folder: Path, n_configurations: int, n_commits: int = N_COMMITS) -> Path:
    """The store below `folder`, made or completed where it is not there."""
    repository = Repository.open_or_create(folder / "store")
    per_commit = n_configurations // RUN_LENGTH // n_commits
    for number in range(len(list(repository.log())), n_commits):
        wall, cpu = time.perf_counter(), time.process_time()
        commit(repository, number * per_commit, per_commit)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        print(f"commit {number + 1} of {n_commits}: {per_commit * RUN_LENGTH / cpu:,.0f} configurations/s of CPU time "
              f"({cpu:.1f} s; {wall:.1f} s of wall time)", flush=True)  # fmt: skip
    return repository.path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--configurations", type=int, default=10_000_000)
    parser.add_argument("--folder", type=Path, default=Path("build/store-1e7"))
    options = parser.parse_args()
    store(options.folder, options.configurations)


if __name__ == "__main__":
    main()
