"""Rows of ASE's databases, one object a configuration: shared by SQLite and LMDB.

Geometry and what ASE's calculators name (energy and free_energy, forces, stress, moments, charges, dipole) stand where
ASE has them; all else is in `data` under its name here, in the units of the sidecar. `unique_id` is the id of the
configuration. Atoms that were held are in `data`, no constraint: ASE would set their forces to zero.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from ase.calculators.singlepoint import SinglePointCalculator
from ase.db.core import now
from ase.db.row import AtomsRow
from numpy.typing import NDArray

from mlpdata.frames import Frames
from mlpdata.interop.loss import CHANGED, Difference, Mask, uneven_stress, written
from mlpdata.interop.names import EXPORTED, foreign
from mlpdata.interop.selection import Block, Selection
from mlpdata.schema.properties import ATOM, PAIR, PROPERTIES

HELD = frozenset(EXPORTED)
HELD_PARTLY = False
ATTRIBUTES = frozenset({"kind", "energy_kind", "forces_are", "license"})
WHY = "ASE has no place for it"
RESULTS = ("magnetic_moments", "magnetic_moment_vectors", "charges_unspecified", "atomic_energies", "dipole",
           "total_magnetization")  # fmt: skip
"""What ASE keeps among the results of a calculator, beside what `Frames.to_ase` puts there."""
OF_ATOMS = ("initial_magnetic_moments", "initial_magnetic_moment_vectors", "masses", "tags")
"""What ASE keeps among the arrays of the atoms."""
BY_TO_ASE = ("energy", "forces", "stress", "cell")


def differences(frames: Frames) -> Mapping[Difference, Mask]:
    """A stress has six numbers: of one that is not symmetric the upper triangle is written."""
    return {
        (CHANGED, "stress", "not symmetric: ASE has six numbers, those of the upper triangle"): uneven_stress(frames)
    }


def unfit(frames: Frames) -> Mapping[str, Mask]:  # noqa: ARG001  it holds any
    """None: it holds any configuration."""
    return {}


def rows(selection: Selection, block: Block) -> Iterator[tuple[AtomsRow, dict[str, Any], dict[str, Any]]]:
    """Each configuration as a row with its pairs of keys and values and its further numbers."""
    frames = block.frames
    held = {
        name: (frames.get(name), written(frames, name), _ends(frames, name)) for name in frames.arrays if name in HELD
    }
    of_row = selection.of_row[block.part].tolist()
    ids = [one.tobytes().hex() for one in selection.ids[block.part]]
    for i, (atoms, one, calculation) in enumerate(
        zip(frames.to_ase(), ids, (selection.calculations[place] for place in of_row), strict=True)
    ):
        further: dict[str, Any] = {
            "path": calculation.path,
            "energy_kind": calculation.energy_kind,
            "forces_are": calculation.forces_are,
            "license": calculation.license,
            "config_type": calculation.tags.get("config_type"),
        }
        for name, (values, there, ends) in held.items():
            if there[i] and name not in BY_TO_ASE:
                _place(atoms, further, name, _of(values, name, int(frames.n_atoms[i]), ends[i], i))
        # a calculator whose atoms were changed since would keep its results to itself
        atoms.calc = SinglePointCalculator(atoms, **atoms.calc.results)
        row = AtomsRow(atoms)
        row.unique_id, row.user, row.ctime = one, "", now()
        yield row, {"kind": calculation.kind}, {key: value for key, value in further.items() if value is not None}


def _place(atoms: Any, further: dict[str, Any], name: str, value: Any) -> None:
    """Put a property where ASE has it."""
    if name in RESULTS:
        atoms.calc.results[foreign(name)] = value
    elif name in OF_ATOMS:
        atoms.set_array(foreign(name), value, value.dtype.type, value.shape[1:])
    else:
        further[foreign(name)] = value


def _ends(frames: Frames, name: str) -> NDArray[np.int64]:
    """Where the rows of a property end, by configuration."""
    sizes = {ATOM: frames.n_atoms, PAIR: frames.n_atoms**2}.get(PROPERTIES[name].level)
    return np.arange(1, len(frames) + 1) if sizes is None else np.cumsum(sizes)


def _of(values: NDArray[Any], name: str, n_atoms: int, end: int, number: int) -> Any:
    """A property of one configuration."""
    level = PROPERTIES[name].level
    if level == ATOM:
        return values[end - n_atoms : end]
    if level == PAIR:
        return values[end - n_atoms**2 : end].reshape(n_atoms, n_atoms, *values.shape[1:])
    value = values[number]
    return value if value.ndim else value.item()
