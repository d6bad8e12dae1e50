"""ASE: its Atoms objects with what their calculators hold.

The force-consistent energy is asked for; where ASE has only one and the row does not say that it is that, its kind
stays unknown. Numbers that ASE converted are turned back into those printed by ASE's own constants (CODATA 2014,
pitfall X2), so that one set of constants acts on all.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mlpdata.errors import ParseError
from mlpdata.readers.archive import Input
from mlpdata.readers.ase import atoms as ase_atoms
from mlpdata.readers.foreign.frames import Reading, Snapshot, finite, whole_lines
from mlpdata.readers.foreign.table import Code, Units
from mlpdata.readers.text import numbers
from mlpdata.schema.calculation import LeftOut
from mlpdata.schema.properties import YES
from mlpdata.units import BOHR, F64

_VERBATIM = ("qbox",)
"""Formats whose numbers ASE hands on as the code prints them, whatever unit they are in."""


class _Scale(NamedTuple):
    """What ASE multiplied each kind of number by."""

    energy: float
    length: float
    force: float
    stress: float


def read(source: Input, folder: Path, row: Code) -> Reading:
    """What ASE makes of a file, of which it is given a copy in `folder`.

    Raises:
        ParseError: the lengths that ASE forgets are not where the code prints them.
    """
    import ase.io  # noqa: PLC0415  an extra

    path = folder / "output"
    path.write_bytes(whole_lines(source))
    images = ase.io.read(path, index=":", format=row.parser)
    reading = Reading()
    scale = _Scale(1, 1, 1, 1) if row.parser in _VERBATIM else _scale(row.units)
    lengths = _lengths(source, row)
    for number, atoms in enumerate(images, 1):
        if lengths is not None:
            atoms.set_cell(np.asarray(atoms.cell) * lengths[:, None])
        frame = _snapshot(atoms, row, scale)
        if isinstance(frame, Snapshot):
            reading.frames.append(frame._replace(step=number - 1))
            if row.stress and frame.stress is None and "stress" in atoms.calc.results:
                reading.warnings.append(f"image {number} of ASE: the stress left out: expected finite numbers.")
        else:
            reading.left_out.append(LeftOut(line=0, reason=f"image {number} of ASE: {frame}"))
    return reading


def _lengths(source: Input, row: Code) -> F64 | None:
    """Lengths of the lattice vectors [angstrom], where ASE leaves them away."""
    if not row.scale:
        return None
    match = re.search(row.scale, source.data[: 1 << 22])
    if match is None:
        raise ParseError(f"expected lengths of the lattice vectors of {row.code}, found none.")
    return numbers(b" ".join(match.groups()), 3) * BOHR


def _scale(units: Units) -> _Scale:
    """ASE's factors of these units."""
    import ase.units  # noqa: PLC0415  an extra

    hartree, bohr = ase.units.Hartree, ase.units.Bohr
    known = {"eV": 1.0, "angstrom": 1.0, "eV/angstrom": 1.0, "eV/angstrom^3": 1.0, "GPa": ase.units.GPa,
             "hartree": hartree, "bohr": bohr, "hartree/bohr": hartree / bohr}  # fmt: skip
    return _Scale(*(known[unit] for unit in units))


def _snapshot(atoms: Any, row: Code, scale: _Scale) -> Snapshot | str:
    """The frame of one image; why it is none."""
    results = dict(atoms.calc.results) if atoms.calc else {}
    energy = results.get("free_energy", results.get("energy"))
    if energy is None:
        return "expected an energy, found none."
    n_atoms = len(atoms)
    positions, value = finite(atoms.positions, (n_atoms, 3)), finite(energy, ())
    cell = finite(atoms.cell, (3, 3))
    if positions is None or value is None or cell is None or not n_atoms or atoms.numbers.min() < 1:
        return "expected finite numbers of atoms that are elements, found others."
    forces = finite(results.get("forces"), (n_atoms, 3)) if row.forces else None
    if row.forces and forces is None and "forces" in results:
        return f"expected forces of {n_atoms} atoms, found {np.shape(results['forces'])}, or a number that is none."
    stress = finite(results.get("stress"), (6,)) if row.stress else None
    fixed, _ = ase_atoms.held([one.todict() for one in atoms.constraints], n_atoms)
    return Snapshot(
        atoms.numbers.astype(np.uint8),
        positions / scale.length,
        cell / scale.length if atoms.pbc.any() else None,
        atoms.pbc.astype(np.int8),
        float(value) / scale.energy,
        None if forces is None else forces / scale.force,
        None if stress is None else stress[[0, 5, 4, 5, 1, 3, 4, 3, 2]].reshape(3, 3) / scale.stress,
        fixed if fixed is not None and (fixed == YES).any() else None,
    )
