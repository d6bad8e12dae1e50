"""Small configurations and calculations for tests of a store; numbers are drawn, since any will do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mlpdata.frames import Frames
from mlpdata.schema.calculation import Calculation, Source
from mlpdata.schema.method import Method
from mlpdata.schema.records import Snapshot
from mlpdata.store.commit import Repository


def frames(n_configurations: int, seed: int, *, forces: bool = True, periodic: bool = True, most: int = 6) -> Frames:
    """Configurations of 1 to `most` atoms, all labels that a plane-wave code prints."""
    random = np.random.default_rng(seed)
    n_atoms = random.integers(1, most + 1, n_configurations)
    total = int(n_atoms.sum())
    arrays = {
        "atomic_numbers": random.choice([1, 6, 8, 14, 29], total),
        "positions": random.normal(size=(total, 3)) * 4,
        "pbc": np.full((n_configurations, 3), periodic),
        "energy": random.normal(size=n_configurations),
        "energy_sigma0": random.normal(size=n_configurations),
        "step": np.arange(n_configurations),
        "scf_converged": np.ones(n_configurations),
    }
    if periodic:
        arrays["cell"] = np.eye(3) * 9 + random.normal(size=(n_configurations, 3, 3))
        arrays["stress"] = random.normal(size=(n_configurations, 3, 3))
    if forces:
        arrays["forces"] = random.normal(size=(total, 3))
    return Frames(n_atoms, arrays)


def calculation(number: int, **changes: object) -> Calculation:
    """The record of run `number`."""
    path = f"runs/{number}/vasprun.xml"
    source = Source(path=path, sha256=f"{number:064x}", bytes=1000 + number, reader="vasp/xml", reader_version=1)
    record = Calculation(
        path=path,
        identity=f"run {number}",
        sources=(source,),
        method=Method(code="vasp", functional="PBE", cutoff_energy=500.0),
        status="complete",
        run_kind="md",
        kind="aimd",
        energy_kind="free",
        forces_are="physical",
        group=f"group {number % 2}",
        license="CC-BY-4.0",
        tags={"config_type": "liquid"},
    )
    return record.replace(**changes)


def ingest(store: Path, numbers: Sequence[int], n_configurations: int = 3, *, time: str | None = None) -> Snapshot:
    """One commit of the runs `numbers`."""
    repository = Repository.open_or_create(store)
    with repository.stage() as writer:
        for number in numbers:
            writer.begin()
            writer.append(frames(n_configurations, number))
            writer.end(calculation(number))
        return repository.commit(writer, time=time)
