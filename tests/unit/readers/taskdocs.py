"""Task documents as atomate2 writes them, with a place for each trap."""

from __future__ import annotations

from typing import Any

CELL = [[4.0, 0.0, 0.0], [0.0, 5.0, 0.0], [1.0, 0.0, 6.0]]
FRACTIONAL = [[0.0, 0.0, 0.0], [0.25, 0.5, -0.5]]
CARTESIAN = [[0.0, 0.0, 0.0], [0.5, 2.5, -3.0]]
FORCES = [[0.125, -0.25, 1.5], [-0.125, 0.25, -1.5]]
STRESS = [[16.02176634, 0.0, 1.0], [0.0, -32.04353268, 0.0], [1.0, 0.0, 0.5]]
FREE, SIGMA0, NO_ENTROPY = -10.5, -10.4, -10.3

Record = dict[str, Any]


def structure(
    fractional: list[list[float]] = FRACTIONAL, symbols: tuple[str, ...] = ("Si", "Ge"), **held: Any
) -> Record:
    sites = [
        {"species": [{"element": symbol, "occu": 1}], "abc": place, "label": symbol, "properties": dict(held)}
        for symbol, place in zip(symbols, fractional, strict=True)
    ]
    return {"@module": "pymatgen.core.structure", "@class": "Structure", "lattice": {"matrix": CELL}, "sites": sites}


def energies(free: float = FREE, no_entropy: float = NO_ENTROPY, sigma0: float = SIGMA0) -> Record:
    return {"e_fr_energy": free, "e_wo_entrp": no_entropy, "e_0_energy": sigma0}


def step(shift: float = 0.0, **changed: Any) -> Record:
    """One ionic step; `shift` moves the second atom along x [fractional] and the energies with it."""
    moved = [FRACTIONAL[0], [FRACTIONAL[1][0] + shift, *FRACTIONAL[1][1:]]]
    last = energies(FREE + shift, NO_ENTROPY + shift, SIGMA0 + shift)
    first = energies(FREE + 0.5, NO_ENTROPY + 0.5, SIGMA0 + 0.5)
    whole = {
        **last,
        "forces": FORCES,
        "stress": STRESS,
        "electronic_steps": [first, last],
        "structure": structure(moved),
    }
    return {name: value for name, value in {**whole, **changed}.items() if value is not None}


INCAR = {"ENCUT": 400, "IBRION": 0, "NSW": 10, "TEBEG": 300, "ISMEAR": 0, "SIGMA": 0.05}
PARAMETERS = {
    "ENMAX": 400.0, "NELECT": 8.0, "NELM": 60, "EDIFF": 1e-06, "ISMEAR": 0, "SIGMA": 0.05, "ISPIN": 1, "GGA": "--",
    "NSW": 10, "IBRION": 0, "ISIF": 2, "PSTRESS": 0.0, "TEBEG": 300.0, "TEEND": 300.0, "LHFCALC": False,
}  # fmt: skip


def calculation(steps: list[Record], name: str = "standard", **changed: Any) -> Record:
    """An entry of `calcs_reversed`."""
    given = {
        "incar": INCAR,
        "kpoints": {
            "generation_style": "Gamma", "kpoints": [[4, 5, 6]], "usershift": [0.0, 0.0, 0.0],
        },
        "nkpoints": 24,
        "potcar_spec": [
            {"titel": "PAW_PBE Si 05Jan2001", "hash": "0a1b2c3d4e5f60718293a4b5c6d7e8f9"},
            {"titel": "PAW_PBE Ge 05Jan2001", "hash": "f9e8d7c6b5a493827160f5e4d3c2b1a0"},
        ],
        "parameters": PARAMETERS,
        "structure": structure(),
    }  # fmt: skip
    made = {
        "dir_name": "node7:/scratch/run", "vasp_version": "6.3.0", "has_vasp_completed": "successful",
        "input": given, "output": {"energy": SIGMA0, "ionic_steps": steps}, "completed_at": "2024-01-02 03:04:05",
        "task_name": name,
    }  # fmt: skip
    for key, value in changed.items():
        if key in given:
            given[key] = value
        else:
            made[key] = value
    return made


def document(*runs: Record) -> Record:
    """A task document of runs in the order in which they were made."""
    return {
        "nsites": 2,
        "state": "successful",
        "calcs_reversed": list(reversed(runs)),
        "task_label": "molecular dynamics",
    }


def job(output: Record) -> Record:
    """What jobflow stores of a job."""
    return {"uuid": "0b1c2d3e-4f50-6172-8394-a5b6c7d8e9f0", "index": 1, "output": output, "@class": "JobStoreDocument"}
