"""A store of several segments: outputs of six codes, files of ASE, and drawn configurations with what those lack."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from compared import DECLARED

from mlpdata.api import Snapshot, Store
from mlpdata.frames import Frames, concatenate
from mlpdata.intake import ingest
from mlpdata.schema.sidecar import Sidecar
from mlpdata.store.amendments import Amended
from mlpdata.store.commit import Repository
from mlpdata.testing.samples import calculation, frames

DATA = Path(__file__).parents[2] / "data"
OUTPUTS = (
    "vasp/OUTCAR_md", "vasp/vasprun_md.xml", "vasp/OUTCAR_response", "espresso/md.xml", "espresso/relax_fixed.xml",
    "espresso/md_magnetic.out", "cp2k/md", "cp2k/silicon", "gaussian", "orca", "pyscf",
)  # fmt: skip
"""Of molecules, crystals and slabs, with and without stress, moments, velocities, charges and Hessians."""
TAGS = {"config_type": 'a "slab" = 1\nof | <two>'}


def odd() -> Frames:
    """What hardly any output holds: mixed periodicity, labels of some atoms only, uneven stress, moments as vectors."""
    block = concatenate([frames(4, 7, most=3), frames(3, 8, periodic=False, forces=False)])
    n = int(block.atom_start[-1])
    random = np.random.default_rng(5)
    pbc = block.pbc.copy()
    pbc[0], pbc[1] = (1, 1, 0), (0, 1, 0)
    cell = block.cell.copy()
    cell[1, 2] = 0.0  # a layer without a third vector
    forces = block.forces.copy()
    forces[block.atom_start[3] - 1] = np.nan  # a ghost
    stress = block.stress + block.stress.transpose(0, 2, 1)
    stress[0, 0, 1] += 0.25
    vectors = np.full((n, 3), np.nan)
    vectors[: block.atom_start[2]] = random.normal(size=(int(block.atom_start[2]), 3))
    tags = np.full(n, -(2**31))
    tags[: block.atom_start[3]] = random.integers(-3, 3, int(block.atom_start[3]))
    return block.with_arrays(
        pbc=pbc,
        cell=cell,
        forces=forces,
        stress=stress,
        magnetic_moment_vectors=vectors,
        magnetic_moments=random.normal(size=n),
        masses=random.uniform(1, 50, n),
        tags=tags,
        charge=[np.nan, 1, -1, 0, 0.5, np.nan, 0],
        multiplicity=[0, 1, 2, 3, 1, 1, 0],
        polarizability=random.normal(size=(7, 3, 3)),
        band_gap=random.uniform(size=7),
    )


@pytest.fixture(scope="session")
def interop_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store, not to be written to: three segments, one calculation hidden, two amended."""
    store = tmp_path_factory.mktemp("interop") / "store"
    said = Sidecar(license="CC-BY-4.0", citation="A. Author, 2026")
    ingest([DATA / one for one in OUTPUTS], store, default=said)
    ingest([DATA / "extxyz", DATA / "ase/mixed.db"], store, default=DECLARED)
    repository = Repository.open(store)
    with repository.stage() as writer:
        for number, block in ((1, odd()), (2, frames(7, 3)), (3, frames(5, 4))):
            writer.begin()
            writer.append(block)
            writer.end(calculation(number, forces_are="projected" if number == 1 else "physical", tags=TAGS))
        repository.commit(writer)
    _hide_and_amend(repository)
    return store


def _hide_and_amend(repository: Repository) -> None:
    keyed = {one.path: (segment, record, one) for segment, record, one, _ in repository.snapshot().keyed()}
    segment, record, melt = next(found for path, found in keyed.items() if path.endswith("vasprun_md.xml"))
    *named, drawn = keyed["runs/2/vasprun.xml"]
    hidden = keyed["runs/3/vasprun.xml"]
    repository.commit(
        retract=[(*hidden[:2], "wrong pseudopotential")],
        amend=[
            Amended(segment, record, melt.replace(tags={"it's": 'molten; -- \\ "so"'}, license="CC0-1.0"), skip=1),
            Amended(*named, drawn.replace(kind="random", temperature_target=None, citation=None, group="one")),
        ],
    )


@pytest.fixture
def snapshot(interop_store: Path) -> Snapshot:
    return Store(interop_store).snapshot()


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """In memory where there is such a folder: a sync of a shared disk takes milliseconds."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as folder:
        yield Path(folder)
