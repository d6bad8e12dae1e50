"""Compute the silicon example data with Quantum ESPRESSO.

Writes every pw.x input below ``inputs/``, runs pw.x in throw-away folders and keeps the compressed outputs
below ``raw/``; what is there already is not computed again. All random numbers are seeded. Only the kind
``reaction_path`` needs a computed result: its end points are built from the relaxed ``defect/vacancy00``.
Units are those of pw.x: Angstrom in the inputs, Rydberg for cut-off and smearing, Rydberg atomic units for
time (4.8378e-17 s) and velocity (bohr per that time).
"""

from __future__ import annotations

import argparse
import logging
import lzma
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import product, takewhile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from ase import Atoms
from ase.build import bulk, diamond100, diamond111, make_supercell
from numpy.typing import NDArray

HERE = Path(__file__).parent
SEED = 20240614
A0 = 5.475  # PBE lattice constant with the settings below, Angstrom
MASS_RY = 28.0855 * 1822.888486 / 2  # silicon mass in Rydberg atomic units
KB_RY = 6.333623e-6  # Boltzmann constant, Ry/K
CURVATURE = 22.8  # energy of a random displacement, eV per atom and Angstrom^2 (from a test run)
KB_EV = 8.617333e-5  # Boltzmann constant, eV/K
TIME_STEP = 51.676717  # 2.5 fs in Rydberg atomic units: 8 steps are 20 fs

# One set of k points for all bulk cells: (+-1/4, +-1/4, +-1/4) 2 pi / a, which are the two special points of Chadi
# and Cohen, Phys. Rev. B 8, 5747 (1973), folded into each cell. It has the full symmetry of the crystal, without
# which a cell strained to and fro would differ. Surfaces are metallic and need denser meshes.
K_CUBIC = "automatic\n2 2 2 1 1 1\n"
K_SUPERCELL = "crystal\n4\n0.5 0.5 0.5 1\n0.5 0 0 1\n0 0.5 0 1\n0 0 0.5 1\n"
K_SLAB = {"100": "8 8 1 1 1 0", "111": "6 6 1 0 0 0", "110": "8 6 1 1 1 0"}  # shifted, a hexagonal one is skew
TEMPERATURES = (300, 600, 900)  # kelvin
PRIMITIVE = bulk("Si", "diamond", a=A0)
CUBIC = bulk("Si", "diamond", a=A0, cubic=True)  # 8 atoms
SUPERCELL = PRIMITIVE * (2, 2, 2)  # 16 atoms
Array = NDArray[np.float64]


class Job(NamedTuple):
    """One pw.x run: its name (folder and stem below ``inputs/`` and ``raw/``) and its input text."""

    name: str
    text: str


def rng_of(kind: str, index: int) -> np.random.Generator:
    """Return the random numbers of one structure; adding structures never changes the others."""
    return np.random.default_rng([SEED, *kind.encode(), index])


def pw_input(
    atoms: Atoms, kpoints: str, task: str = "scf", *, control: str = "", system: str = "", ions: str = ""
) -> str:
    """Format a pw.x input for a task (pw.x: calculation), with additions to some of its namelists."""
    # Only disk_io = 'low' makes pw.x 6.7 write the XML file, which is what `random` keeps.
    ions = ions or ("ion_dynamics = 'bfgs'" if task.endswith("relax") else "")
    lines = [
        f"&control\n  calculation = '{task}', prefix = 'si', outdir = './tmp', disk_io = 'low'",
        "  pseudo_dir = '/usr/share/espresso/pseudo', tprnfor = .true., tstress = .true.",
        *([f"  {control}"] if control else []),
        f"/\n&system\n  ibrav = 0, nat = {len(atoms)}, ntyp = 1, ecutwfc = 20, nosym = .true.",
        "  occupations = 'smearing', smearing = 'gaussian', degauss = 0.005",
        *([f"  {system}"] if system else []),
        "/\n&electrons\n  conv_thr = 1e-9, mixing_beta = 0.5, electron_maxstep = 150\n/",
        *([f"&ions\n  {ions}\n/"] if ions else []),
        *(["&cell\n  cell_dynamics = 'bfgs'\n/"] if task == "vc-relax" else []),
        "ATOMIC_SPECIES\nSi 28.0855 Si.pbe-rrkj.UPF\nCELL_PARAMETERS angstrom",
        *(" ".join(f"{x:.8f}" for x in row) for row in atoms.cell),
        "ATOMIC_POSITIONS angstrom",
        *("Si " + " ".join(f"{x:.8f}" for x in row) for row in atoms.positions),
    ]
    return "\n".join(lines) + "\nK_POINTS " + kpoints


def strained(atoms: Atoms, strain: Array) -> Atoms:
    """Return a copy whose cell and positions are deformed by a symmetric strain (no unit)."""
    result = atoms.copy()
    result.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
    return result


def random_strain(rng: np.random.Generator, size: float) -> Array:
    """Draw a symmetric strain tensor with components in +-size."""
    half = np.triu(rng.uniform(-size, size, (3, 3)))
    return np.asarray(half + np.triu(half, 1).T, dtype=np.float64)


def rattled(atoms: Atoms, rng: np.random.Generator, sigma: float) -> Atoms:
    """Return a copy with normal displacements, sigma in Angstrom per component."""
    result = atoms.copy()
    result.positions += rng.normal(scale=sigma, size=result.positions.shape)
    return result


def equilibrium() -> Iterator[Job]:
    """Strained cells, and relaxations back from small displacements."""
    for i in range(50):
        rng = rng_of("equilibrium", i)
        atoms = strained(CUBIC, random_strain(rng, 0.03))
        if i % 2:
            atoms = rattled(atoms, rng, rng.uniform(0.01, 0.05))
        yield Job(f"equilibrium/strain{i:02d}", pw_input(atoms, K_CUBIC))
    for i in range(12):
        rng = rng_of("equilibrium", 100 + i)
        free_cell = i >= 9
        atoms = strained(CUBIC, random_strain(rng, 0.01 if free_cell else 0.02))
        atoms = rattled(atoms, rng, rng.uniform(0.05, 0.10))
        steps = 15 if i in {0, 9} else 5  # one of each is followed to its end
        text = pw_input(atoms, K_CUBIC, "vc-relax" if free_cell else "relax", control=f"nstep = {steps}")
        yield Job(f"equilibrium/{'vcrelax' if free_cell else 'relax'}{i:02d}", text)


def aimd() -> Iterator[Job]:
    """Molecular dynamics at constant energy, begun with half of the thermal energy in displacements."""
    # No thermostat: with given velocities those of pw.x 6.7 divide by the temperature before the first step.
    ions = "ion_temperature = 'not_controlled', ion_velocities = 'from_input'\n  "
    ions += "pot_extrapolation = 'second_order', wfc_extrapolation = 'second_order'"
    for kelvin, run in product(TEMPERATURES, range(1, 6)):
        rng = rng_of("aimd", 10 * kelvin + run)
        atoms = rattled(CUBIC, rng, float(np.sqrt(1.5 * KB_EV * kelvin / CURVATURE)))
        velocity = rng.normal(size=(len(atoms), 3))
        velocity -= velocity.mean(axis=0)
        velocity *= np.sqrt(3 * (len(atoms) - 1) * KB_RY * kelvin / (MASS_RY * (velocity**2).sum()))
        card = "\n".join("Si " + " ".join(f"{x:.10f}" for x in row) for row in velocity)
        text = pw_input(atoms, K_CUBIC, "md", control=f"nstep = 44, dt = {TIME_STEP}", ions=ions)
        text = text.replace("K_POINTS", f"ATOMIC_VELOCITIES\n{card}\nK_POINTS")
        yield Job(f"aimd/{kelvin}K/run{run}", text)


def final_positions(output: Path) -> Array:
    """Read the last positions (Angstrom) that a relaxation printed."""
    block = lzma.decompress(output.read_bytes()).decode().rsplit("ATOMIC_POSITIONS (angstrom)\n", 1)[1]
    rows = takewhile(lambda line: line.startswith("Si"), block.splitlines())
    return np.array([[float(x) for x in row.split()[1:4]] for row in rows])


def vacancy_ends(neighbour: int) -> tuple[Atoms, Array]:
    """Return the cell with site 0 vacant, and the positions after ``neighbour`` has jumped into it.

    Inversion about the middle of the bond maps the crystal onto itself and exchanges the two sites, so one
    relaxed vacancy gives both ends. Positions in Angstrom, atoms in the same order in both.
    """
    sites = SUPERCELL.positions
    moved = final_positions(HERE / "raw" / "defect" / "vacancy00.out.xz") - sites[1:]
    shift = np.vstack([np.zeros(3), moved - moved.mean(axis=0)])
    jump = SUPERCELL.get_distance(neighbour, 0, mic=True, vector=True)
    image = (2 * sites[0] - jump - sites) @ np.linalg.inv(SUPERCELL.cell.array)
    offset = image[:, None, :] - SUPERCELL.get_scaled_positions()[None, :, :]
    partner = np.abs(offset - np.round(offset)).max(axis=2).argmin(axis=1)
    end = sites - shift[partner]
    end[neighbour] += jump - shift[neighbour]
    start = SUPERCELL[1:]
    start.positions += shift[1:]
    return start, end[1:]


def reaction_path() -> Iterator[Job]:
    """A neighbour jumps into a vacancy: straight lines between relaxed ends in different surroundings."""
    neighbours = np.argsort(SUPERCELL.get_distances(0, range(16), mic=True), kind="stable")[1:5]
    for path in range(10):
        rng = rng_of("reaction_path", path)
        start, end = vacancy_ends(int(neighbours[path % 4]))
        change = end - start.positions
        strain = random_strain(rng, 0.02)
        surroundings = rng.normal(scale=0.04, size=change.shape)
        for image in range(7):
            atoms = start.copy()
            atoms.positions += image / 6 * change + surroundings
            atoms = rattled(strained(atoms, strain), rng, 0.02)
            yield Job(f"reaction_path/path{path + 1:02d}/image{image:02d}", pw_input(atoms, K_SUPERCELL))


def random() -> Iterator[Job]:
    """Strongly displaced and strained cells; pairs closer than 2.0 Angstrom are drawn again."""
    for i, sigma in enumerate(np.linspace(0.04, 0.13, 80)):
        rng = rng_of("random", i)
        volume = rng.uniform(-0.05, 0.05)
        strain = random_strain(rng, 0.03)
        strain += np.eye(3) * (np.cbrt(1 + volume) - 1 - np.trace(strain) / 3)
        perfect = strained(CUBIC, strain)
        atoms = rattled(perfect, rng, sigma)
        while atoms.get_all_distances(mic=True)[np.triu_indices(8, 1)].min() < 2.0:
            atoms = rattled(perfect, rng, sigma)
        yield Job(f"random/rattle{i:02d}", pw_input(atoms, K_CUBIC))


def slab(facet: str) -> Atoms:
    """Return an unreconstructed slab of 8 layers or 8 atoms with 10 Angstrom of vacuum."""
    if facet == "100":
        atoms = diamond100("Si", (1, 1, 8), a=A0)
    elif facet == "111":
        atoms = diamond111("Si", (1, 1, 10), a=A0)
        del atoms[[0, 9]]  # the outermost layers would hang on one bond; whole double layers remain
    else:
        atoms = make_supercell(PRIMITIVE, [[1, -1, 0], [1, 1, -1], [0, 0, 2]])
        atoms.set_cell(atoms.cell.standard_form()[0], scale_atoms=True)
        atoms.wrap(eps=1e-6)
    atoms.center(vacuum=5.0, axis=2)
    atoms.pbc = True
    return atoms


def defect() -> Iterator[Job]:
    """Rattled vacancies, relaxed for a few steps, and rattled bare surfaces."""
    for i in range(13):
        rng = rng_of("defect", i)
        # The first is the start of the reaction paths: unstrained, and nearly symmetric.
        atoms = strained(SUPERCELL[1:], random_strain(rng, 0.02)) if i else SUPERCELL[1:]
        atoms = rattled(atoms, rng, rng.uniform(0.03, 0.12) if i else 0.02)
        text = pw_input(atoms, K_SUPERCELL, "relax", control=f"nstep = {3 if i else 10}")
        yield Job(f"defect/vacancy{i:02d}", text)
    for i, facet in enumerate(["100", "111", "110"] * 8):
        rng = rng_of("defect", 100 + i)
        in_plane = random_strain(rng, 0.02) * np.outer([1, 1, 0], [1, 1, 0])
        atoms = rattled(strained(slab(facet), in_plane), rng, rng.uniform(0.02, 0.10))
        yield Job(f"defect/surface{facet}_{i:02d}", pw_input(atoms, f"automatic\n{K_SLAB[facet]}\n"))


def isolated_atom() -> Iterator[Job]:
    """Yield the reference energy: one spin-polarised atom in a box without cubic symmetry."""
    atoms = Atoms("Si", cell=(10.0, 10.5, 11.0), pbc=True)  # Angstrom
    text = pw_input(atoms, "automatic\n1 1 1 0 0 0\n", system="nspin = 2, tot_magnetization = 2")
    yield Job("isolated_atom/atom", text)


KINDS: dict[str, Callable[[], Iterator[Job]]] = {
    kind.__name__: kind for kind in (isolated_atom, equilibrium, random, defect, reaction_path, aimd)
}


def run(job: Job) -> None:
    """Write the input, run pw.x unless its result is there, and keep the compressed result."""
    source = HERE / "inputs" / (job.name + ".in")
    source.parent.mkdir(parents=True, exist_ok=True)
    source.write_text(job.text, encoding="utf-8")
    is_xml = job.name.startswith("random/")
    target = HERE / "raw" / (job.name + (".xml.xz" if is_xml else ".out.xz"))
    if target.exists():
        return
    with tempfile.TemporaryDirectory() as scratch:
        # Input comes from standard input, so that no file name is printed. The exit code says little: a
        # relaxation that stops after its last allowed step is no success for pw.x, but one for us.
        command = [shutil.which("pw.x") or "pw.x"]
        done = subprocess.run(command, input=job.text.encode(), cwd=scratch, capture_output=True, check=False)  # noqa: S603
        if b"JOB DONE" not in done.stdout or b"convergence NOT achieved" in done.stdout:
            raise RuntimeError(job.name + done.stdout[-2000:].decode())
        xml = Path(scratch, "tmp", "si.save", "data-file-schema.xml")
        result = xml.read_bytes() if is_xml else done.stdout
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(lzma.compress(result, preset=9))
    logging.info("%s done", job.name)


def write_sidecars() -> None:
    """Write the facts that pw.x outputs do not say, for the folders they hold in."""
    sidecars = {
        ".": 'license: CC0-1.0\ncitation: "mlpdata silicon example, computed with Quantum ESPRESSO 6.7"\n',
        **{kind: f"kind: {kind}\n" for kind in KINDS},
        "reaction_path": "kind: reaction_path\ngroup: folder\n",
        **{f"aimd/{kelvin}K": f"temperature: {kelvin}\n" for kelvin in TEMPERATURES},
    }
    for folder, text in sidecars.items():
        target = HERE / "raw" / folder / "mlpdata.yaml"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")


def main() -> None:
    """Run what is missing."""
    parser = argparse.ArgumentParser(description="Compute the silicon example data with pw.x.")
    parser.add_argument("--jobs", type=int, default=1, help="pw.x runs at the same time")
    parser.add_argument("--only", choices=sorted(KINDS), help="compute this kind only")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # small cells: more than one thread slows pw.x down
    write_sidecars()
    kinds = [options.only] if options.only else list(KINDS)
    if "reaction_path" in kinds:
        run(next(defect()))  # vacancy00, from which the paths are built
    with ThreadPoolExecutor(options.jobs) as pool:
        for kind in kinds:
            list(pool.map(run, KINDS[kind]()))


if __name__ == "__main__":
    main()
