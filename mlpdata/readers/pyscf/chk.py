"""PySCF's checkpoint (`mf.chkfile`), HDF5: the molecule as JSON and the total energy of its mean field.

A checkpoint does not say which functional the energy is of, nor whether the SCF converged, and PySCF stores no forces.
The molecule is read as JSON, never evaluated; older versions stored Python source, which is refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np

from mlpdata.digest import sha256_json
from mlpdata.errors import ParseError
from mlpdata.readers.archive import Buffer, Input
from mlpdata.readers.hdf5 import File, opened, own_errors
from mlpdata.readers.pyscf.blocks import element
from mlpdata.readers.registry import Ending, Header, Printed, Reader
from mlpdata.readers.rehearsal import rehearsed
from mlpdata.schema.method import Method
from mlpdata.units import Quantity

MOST_JSON = 64 << 20
"""Bytes of the molecule; a larger one is a mistake."""
_CORRELATED = ("mcscf", "ccsd", "mp2", "cisd", "fciqmc")
"""Groups that results on top of the mean field are stored in."""


@rehearsed
def read(source: Input) -> Iterator[Header | Printed | Ending]:
    """The one configuration of a checkpoint.

    Raises:
        ParseError: no HDF5, no molecule, a crystal, or no energy.
    """
    _refuse_endless_heaps(source.data)
    with opened(source.data) as file, own_errors():
        molecule = _molecule(file)
        energy = _energy(file)
        spin, warnings = _occupations(file)
    numbers, positions = _geometry(molecule)
    real = numbers > 0
    basis = molecule.get("basis")
    method = Method(code="pyscf", spin=spin, basis=None if basis is None else str(basis).strip("'"))
    yield Header(
        method, sha256_json({"positions": positions.tolist(), "charge": molecule.get("charge")}), "single_point"
    )
    yield Printed(
        [int(real.sum())],
        {
            "atomic_numbers": numbers[real],
            "positions": Quantity(positions[real], "bohr"),
            "pbc": np.zeros((1, 3), np.int8),
            "energy": Quantity(np.array([np.nan if warnings else energy]), "hartree"),
            "charge": Quantity(np.array([_whole(molecule, "charge")], float), "e"),
            "multiplicity": [_whole(molecule, "spin") + 1],
        },
    )
    yield Ending("complete", warnings=warnings)


def _refuse_endless_heaps(data: Buffer) -> None:
    """Refuse a heap of texts whose objects do not follow each other to its end: the HDF5 library circles in such a one.

    Raises:
        ParseError: an object of no length, or one that leaves its heap.

    References:
        HDF5 File Format Specification, III.E. Global Heap.
    """
    begin = data.find(b"GCOL\x01")
    while begin >= 0:
        at = begin + 16
        end = begin + int.from_bytes(data[begin + 8 : at], "little")
        while at + 16 <= end:
            is_free = data[at : at + 2] == b"\0\0"
            size = int.from_bytes(data[at + 8 : at + 16], "little")
            step = size if is_free else 16 + (size + 7) // 8 * 8
            if step < 16 or at + step > min(end, len(data)):
                raise ParseError("expected a heap of texts, found objects that do not fit. The checkpoint is damaged.")
            at += step
        begin = data.find(b"GCOL\x01", begin + 16)


def _molecule(file: File) -> dict[str, Any]:
    """The molecule.

    Raises:
        ParseError: none, a crystal, or not JSON.
    """
    found = file.dataset("mol")
    if found.shape != () or found.dtype.kind not in "OS":
        raise ParseError("expected the molecule as text in /mol, found none.")
    text = found[()]
    if not isinstance(text, bytes) or len(text) > MOST_JSON:
        raise ParseError("expected the molecule as text in /mol, found something else.")
    try:
        molecule = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise ParseError(
            "expected the molecule as JSON, found something else. PySCF before 1.5 wrote Python."
        ) from error
    if not isinstance(molecule, dict):
        raise ParseError("expected the molecule as a JSON object, found something else.")
    if molecule.get("a") is not None or "_pseudo_a" in molecule:
        raise ParseError("expected a molecule, found a crystal. Its checkpoint is not read; its output is.")
    return molecule


def _refuse(constant: str) -> None:
    """JSON knows no NaN, Python's does."""
    raise ValueError(constant)


def _energy(file: File) -> float:
    """The total energy of the mean field [hartree].

    Raises:
        ParseError: none, or no finite number.
    """
    energy = float(file.numbers("scf/e_tot", ()))
    if not np.isfinite(energy):
        raise ParseError(f"expected a finite energy in /scf/e_tot, found {energy}.")
    return energy


def _occupations(file: File) -> tuple[str | None, tuple[str, ...]]:
    """Restricted or not, and why the energy may not be the label.

    Raises:
        ParseError: occupations that are no finite numbers.
    """
    correlated = [name for name in _CORRELATED if file.has(name)]
    if correlated:
        return None, (f"energy not read: /{correlated[0]} holds another one, and which is meant cannot be told",)
    found = file.dataset("scf/mo_occ") if file.has("scf/mo_occ") else None
    if found is None or found.dtype.kind != "f" or not 0 < (found.size or 0) <= MOST_JSON // 8:
        return None, ()
    occupied = np.asarray(found)
    if not np.isfinite(occupied).all():
        raise ParseError("expected finite occupations in /scf/mo_occ, found others. The checkpoint is damaged.")
    if (np.abs(occupied - np.round(occupied)) > 1e-8).any():
        return None, ("energy not read: occupations are fractional, and the free energy is not stored",)
    if occupied.ndim == 2:
        return "unrestricted", ()
    return ("restricted-open" if (occupied == 1).any() else "restricted"), ()


def _geometry(
    molecule: dict[str, Any],
) -> tuple[np.ndarray[Any, np.dtype[np.uint8]], np.ndarray[Any, np.dtype[np.float64]]]:
    """Z, 0 for a ghost, and positions [bohr].

    Raises:
        ParseError: no table of atoms.
    """
    try:
        atoms = molecule["_atom"]
        numbers = np.array([element(str(label)) for label, _ in atoms], np.uint8)
        positions = np.array([position for _, position in atoms], np.float64).reshape(len(numbers), 3)
    except (KeyError, TypeError, ValueError) as error:
        raise ParseError("expected symbols and positions in /mol, found something else.") from error
    if not len(numbers) or not numbers.any() or not np.isfinite(positions).all():
        raise ParseError("expected atoms with finite positions in /mol, found none.")
    return numbers, positions


def _whole(molecule: dict[str, Any], name: str) -> int:
    value = molecule.get(name)
    if not isinstance(value, int) or abs(value) > 10_000:
        raise ParseError(f"expected a whole number as {name} in /mol, found {str(value)[:40]!r}.")
    return value


def _is_checkpoint(head: bytes) -> bool:
    """Whether the names of a checkpoint's two entries stand in the first objects of an HDF5 file."""
    return head.startswith(b"\x89HDF\r\n\x1a\n") and b"mol\0" in head and b"scf\0" in head


READER = Reader("pyscf/chk", 1, (), _is_checkpoint, read, run_of=lambda name, _head: name, precedence=1)
