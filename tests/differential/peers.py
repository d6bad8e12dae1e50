"""What other libraries read from files, as one JSON line a file and library; runs where they are installed.

    python peers.py LIST > peers.jsonl      # LIST: lines of "format<tab>path"

Energies in eV, lengths in angstrom, forces in eV/angstrom (minus the gradient). Each reading runs in a process of its
own with a time limit: some of these libraries never come back from some files.
"""

from __future__ import annotations

import bz2
import gzip
import importlib
import json
import lzma
import multiprocessing
import queue as queues
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

Frame = dict[str, Any]
SECONDS = 60
HARTREE, BOHR = 27.21138505, 0.52917721092
"""CODATA 2010, which cclib uses."""
OPENERS: dict[str, Callable[[Path], Any]] = {".gz": gzip.open, ".xz": lzma.open, ".bz2": bz2.open}


def by_ase(path: Path, form: str) -> Iterator[Frame]:
    from ase.io import read

    for atoms in read(path, index=":", format=form):
        results = getattr(atoms.calc, "results", {})
        yield {
            "energy": results.get("free_energy", results.get("energy")),
            "numbers": atoms.numbers.tolist(),
            "positions": atoms.positions.tolist(),
            "forces": listed(results.get("forces")),
        }


def by_pymatgen_vasprun(path: Path, _: str) -> Iterator[Frame]:
    from pymatgen.io.vasp import Vasprun

    run = Vasprun(path, parse_dos=False, parse_eigen=False, parse_potcar_file=False, exception_on_bad_xml=False)
    for step in run.ionic_steps:
        structure = step.get("structure")
        yield {
            "energy": step.get("e_fr_energy"),
            "numbers": [site.specie.Z for site in structure] if structure else None,
            "positions": structure.cart_coords.tolist() if structure else None,
            "forces": listed(step.get("forces")),
        }


def by_pymatgen_gaussian(path: Path, _: str) -> Iterator[Frame]:
    from pymatgen.io.gaussian import GaussianOutput

    output = GaussianOutput(str(path))
    energies = output.energies
    for i, molecule in enumerate(output.structures):
        forces = output.cart_forces[i] if i < len(output.cart_forces or []) else None
        yield {
            "energy": energies[i] * HARTREE if i < len(energies) else None,
            "numbers": list(molecule.atomic_numbers),
            "positions": molecule.cart_coords.tolist(),
            "forces": [[x * HARTREE / BOHR for x in forces[j : j + 3]] for j in range(0, len(forces), 3)]
            if forces
            else None,
        }


def by_dpdata(path: Path, form: str) -> Iterator[Frame]:
    import dpdata
    from ase.data import atomic_numbers

    system = dpdata.LabeledSystem(str(path), fmt=form)
    numbers = [atomic_numbers[system["atom_names"][kind]] for kind in system["atom_types"]]
    for i in range(len(system)):
        yield {
            "energy": float(system["energies"][i]),
            "numbers": numbers,
            "positions": system["coords"][i].tolist(),
            "forces": system["forces"][i].tolist() if "forces" in system.data else None,
        }


def by_cclib(path: Path, code: str) -> Iterator[Frame]:
    import cclib

    found = cclib.io.ccread(str(path))
    energies = getattr(found, "scfenergies", [])
    grads = getattr(found, "grads", [])
    sign = -1 if code == "orca" else 1
    for i, coordinates in enumerate(getattr(found, "atomcoords", [])):
        yield {
            "energy": float(energies[i]) if i < len(energies) else None,
            "numbers": found.atomnos.tolist(),
            "positions": coordinates.tolist(),
            "forces": (sign * grads[i] * HARTREE / BOHR).tolist() if i < len(grads) else None,
        }


def listed(array: Any) -> Any:
    return None if array is None else [[float(x) for x in row] for row in array]


PEERS: dict[str, list[tuple[str, Callable[[Path, str], Iterator[Frame]], str]]] = {
    "vasp-xml": [("ase", by_ase, "vasp-xml"), ("pymatgen", by_pymatgen_vasprun, ""), ("dpdata", by_dpdata, "vasp/xml")],
    "vasp-outcar": [("ase", by_ase, "vasp-out"), ("dpdata", by_dpdata, "vasp/outcar")],
    "gaussian-log": [
        ("ase", by_ase, "gaussian-out"),
        ("pymatgen", by_pymatgen_gaussian, ""),
        ("cclib", by_cclib, "gaussian"),
        ("dpdata", by_dpdata, "gaussian/md"),
    ],
    "orca-out": [("ase", by_ase, "orca-output"), ("cclib", by_cclib, "orca"), ("dpdata", by_dpdata, "orca/spout")],
    "qe-out": [("ase", by_ase, "espresso-out")],
    "cp2k-out": [("dpdata", by_dpdata, "cp2k/output")],
    "gpaw-txt": [("ase", by_ase, "gpaw-out")],
}
"""By format: library, how it is asked, and what it calls the format."""


def plain(path: Path, folder: Path) -> Path:
    """The file without compression, under the name that a code would give it."""
    opener = OPENERS.get(path.suffix)
    if opener is None:
        return path
    out = folder / path.stem
    with opener(path) as stream:
        out.write_bytes(stream.read())
    return out


def answer(read: Callable[[Path, str], Iterator[Frame]], path: Path, form: str, queue: Any) -> None:
    warnings.simplefilter("ignore")
    try:
        with tempfile.TemporaryDirectory() as folder:
            queue.put({"frames": list(read(plain(path, Path(folder)), form))})
    except BaseException as error:  # noqa: BLE001  whatever it is, the library did not read the file
        queue.put({"error": f"{type(error).__name__}: {error}"[:300]})


def asked(read: Callable[[Path, str], Iterator[Frame]], path: Path, form: str) -> dict[str, Any]:
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    process = context.Process(target=answer, args=(read, path, form, queue))
    process.start()
    try:
        found: dict[str, Any] = queue.get(timeout=SECONDS)
    except queues.Empty:
        found = {"error": f"no answer in {SECONDS} s"}
    process.kill()
    process.join()
    return found


def say(value: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def main() -> None:
    for name in ("ase.io", "pymatgen.io.vasp", "pymatgen.io.gaussian", "dpdata", "cclib"):
        importlib.import_module(name)  # once, before the processes part
    libraries = {name: version(name) for name in ("ase", "pymatgen", "dpdata", "cclib")}
    say({"versions": libraries})
    for line in Path(sys.argv[1]).read_text().splitlines():
        form, path = line.split("\t")
        for library, read, name in PEERS.get(form, []):
            found = asked(read, Path(path), name)
            say({"path": path, "format": form, "library": library, **found})


if __name__ == "__main__":
    main()
