"""The structure in the header of standard output of pw.x: cell, atoms, charge.

References:
    PW/src/summary.f90 of Quantum ESPRESSO 5.0 to 7.4.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from mlpdata.errors import ParseError
from mlpdata.readers.espresso.names import species_of
from mlpdata.readers.text import number, numbers
from mlpdata.units import F64


class Structure(NamedTuple):
    """What the header prints, with 6 decimals in units of alat for the cell and 7 for the positions."""

    kinds: list[bytes]
    atomic_numbers: list[int]
    alat: float
    """[bohr]"""
    cell: F64
    """[bohr], shape (3, 3)."""
    positions: F64
    """[bohr], shape (n_atoms, 3)."""
    charge: float
    """[e], NaN where the output does not tell."""


def structure_of(head: bytes, most: int) -> Structure:
    """The structure that the text before the first iterations states.

    Args:
        head: that text.
        most: atoms that are allowed.

    Raises:
        ParseError: a part of it is missing or damaged.
    """
    alat = number(_stated(head, rb"celldm\(1\)= *(\S+)"))
    vectors = re.findall(rb"\n +a\([123]\) = \(([^\n]*)\) *(?=\n)", head)[:3]
    n_atoms = int(_stated(head, rb"number of atoms/cell += +(\d{1,9})\n"))
    if n_atoms > most:
        raise ParseError(f"expected at most {most} atoms, found {n_atoms}.")
    table = _stated(head, rb"positions \((?:alat|a_0) units\)\n((?: +\S+ +\S+ +tau\([ \d*]+\) = \([^\n]*\) *\n)+)")
    sites = re.findall(rb"(?<!\S)(\S+) +tau\([ \d*]+\) = \(([^\n]*)\)", table)
    coordinates = numbers(b" ".join(row for _, row in sites), 3 * n_atoms).reshape(-1, 3)
    kinds = [kind for kind, _ in sites]
    species = species_of(_stated(head, rb"atomic species +valence +mass +pseudopotential\n((?: +\S[^\n]*\n)+)"))
    if not species.keys() >= set(kinds):
        raise ParseError(f"expected the kinds {sorted(species)}, found {sorted(set(kinds))}. The header is damaged.")
    electrons = number(_stated(head, rb"number of electrons +=\s*(\S+)"))
    valences = [species[kind].valence for kind in kinds]
    # Valences have two decimals: their sum over many atoms is exact only where they are integers.
    charge = float("nan") if any(v % 1 for v in valences) else round(sum(valences) - electrons, 2)
    z = [species[kind].atomic_number for kind in kinds]
    return Structure(kinds, z, alat, numbers(b" ".join(vectors), 9).reshape(3, 3) * alat, coordinates * alat, charge)


def _stated(head: bytes, pattern: bytes) -> bytes:
    """The first group of `pattern` in the header."""
    match = re.search(pattern, head)
    if match is None:
        raise ParseError(f"expected {pattern[:20]!r} in the header, found nothing. The header is damaged.")
    return match[1]
