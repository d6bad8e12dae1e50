"""data-file-schema.xml of cp.x: one frame, the last step for which energy and forces were worked out.

The file is a restart file, and its `<output>` is no frame: it holds the positions of the step to come (STEP0), beside
the energy of the step before (STEPM), and forces and stress that were halved as if they had been in Rydberg. The frame
is the positions of STEPM, the forces that STEP0 keeps in Hartree, the energy, and the stress times what tells
the two tables of forces apart. Hartree atomic units; the stress is positive in compression.

References:
    CPV/src/cp_restart_new.f90 of Quantum ESPRESSO 6; a run of cp.x 6.7 beside its standard output.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike

from mlpdata.errors import ParseError
from mlpdata.readers.archive import Input
from mlpdata.readers.espresso.method import from_xml
from mlpdata.readers.espresso.names import atomic_number
from mlpdata.readers.registry import Ending, Header, Printed
from mlpdata.readers.text import numbers
from mlpdata.readers.xml import Element, parse, text
from mlpdata.units import F64, Quantity

_AGREE = 1e-6
"""Largest difference of numbers that the file writes twice, relative or in bohr; the shorter have 13 digits."""


def read(source: Input, version: str) -> Iterator[Header | Printed | Ending]:
    """The one frame of a file; none where no energy was computed (conjugate gradients write zero).

    Raises:
        ParseError: an element that is missing or damaged, or positions that are not those of the restart.
    """
    root = parse(source.data[:])
    output = _child(root, "output")
    created = re.search(rb'<created DATE="([^"]{0,40})" TIME="([^"]{0,40})"', source.head)
    when = b" at ".join(created.groups()).decode("latin-1") if created else "unknown"
    asked = _child(root, "input") if root.find("input") is not None else output
    energy = _numbers(_child(output, "total_energy/etot"), 1)[0]
    warnings: list[str] = []
    yield Header(
        method=from_xml(asked, output.find("dft"), None, version),
        identity=f"cp.x {version}, written {' '.join(when.split())}",
        run_kind="md",
        energy_kind="total",
    )
    if energy:
        line = source.line(max(0, source.data.find(b"<total_energy>")))
        yield _frame(root, output, float(energy), line, warnings)
    status = root.find("exit_status") if root.find("exit_status") is not None else root.find("status")
    done = text(status) == "0"
    yield Ending(
        "complete" if done else "truncated", "" if done else "expected status 0, found none.", warnings=tuple(warnings)
    )


def _frame(root: Element, output: Element, energy: float, line: int, warnings: list[str]) -> Printed:
    names = [atom.get("name") or "" for atom in output.iterfind("atomic_structure/atomic_positions/atom")]
    n_atoms = len(names)
    before, now = (_child(root, f"TIMESTEPS/{step}") for step in ("STEPM", "STEP0"))
    places = np.array(
        [numbers(text(atom).encode(), 3) for atom in output.iterfind("atomic_structure/atomic_positions/atom")]
    )
    if not np.allclose(_positions(now, n_atoms), places.reshape(-1, 3), rtol=0, atol=_AGREE):
        raise ParseError("expected the positions of <output> in STEP0, found others. Give the standard output.")
    arrays: dict[str, Quantity | ArrayLike] = {
        "atomic_numbers": [atomic_number(name) for name in names],
        "positions": Quantity(_positions(before, n_atoms), "bohr"),
        "cell": Quantity(_cell(before)[None], "bohr"),
        "pbc": np.ones((1, 3), np.int8),
        "energy": Quantity(np.array([energy]), "hartree"),
        "source_line": [line],
    }
    forces = _numbers(_child(now, "IONS_POSITIONS/force"), 3 * n_atoms).reshape(-1, 3)
    if forces.any():  # what was not computed is written as zeros (pitfall Q6)
        arrays["forces"] = Quantity(forces, "hartree/bohr")
        stress = _stress(output, forces)
        if stress is not None:
            arrays["stress"] = Quantity(-stress[None], "hartree/bohr^3", sign=-1)
        elif output.find("stress") is not None:
            warnings.append(f"line {line}: stress left out: its unit cannot be told, forces are written only once.")
    return Printed([n_atoms], arrays)


def _stress(output: Element, forces: F64) -> F64 | None:
    """The stress [hartree/bohr^3], (3, 3), where the two tables of forces tell by what both were divided."""
    halved, stress = output.find("forces"), output.find("stress")
    if halved is None or stress is None:
        return None
    divided = _numbers(halved, forces.size).reshape(-1, 3)
    largest = np.unravel_index(np.abs(forces).argmax(), forces.shape)
    if not divided[largest]:
        return None
    factor = round(float(forces[largest] / divided[largest]), 6)
    values = _numbers(stress, 9).reshape(3, 3)
    if (
        factor not in (1.0, 2.0)
        or not np.allclose(divided * factor, forces, rtol=_AGREE, atol=1e-12)
        or not values.any()
    ):
        return None
    return values * factor


def _positions(step: Element, n_atoms: int) -> F64:
    """Positions of a step [bohr], shape (n_atoms, 3): scaled ones times the cell."""
    return np.asarray(
        _numbers(_child(step, "IONS_POSITIONS/stau"), 3 * n_atoms).reshape(-1, 3) @ _cell(step), np.float64
    )


def _cell(step: Element) -> F64:
    """Lattice vectors of a step as rows [bohr], shape (3, 3)."""
    return _numbers(_child(step, "CELL_PARAMETERS/ht"), 9).reshape(3, 3)


def _numbers(element: Element, count: int) -> F64:
    return numbers(text(element).encode(), count)


def _child(parent: Element, path: str) -> Element:
    found = parent.find(path)
    if found is None:
        raise ParseError(
            f"expected <{path}> in the XML of cp.x, found none. The file is damaged or of another version."
        )
    return found
