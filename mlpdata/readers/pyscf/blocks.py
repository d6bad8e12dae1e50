"""Blocks of a PySCF output: energies, tables of atoms and of gradients, and which of them belong together."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mlpdata.elements import atomic_number
from mlpdata.errors import InputError, ParseError
from mlpdata.readers.archive import Buffer
from mlpdata.readers.pyscf.method import level
from mlpdata.readers.text import number, numbers
from mlpdata.schema.method import Method
from mlpdata.units import F64

_ROW = re.compile(rb"^(?:\[INPUT\])? *(\d{1,9}) +(\S{1,30}) +([^\n]{10,90}) AA +([^\n]{10,90}) Bohr", re.M)
_GRADIENT_ROW = re.compile(rb"(\d{1,9}) (\S{1,30}) +([^\n]{10,90})\n")
_TITLE = re.compile(r"-+ (?P<name>\S+)(?: \(\+[^)]*\))? gradients(?P<state> for state \d+)? -+")
CORRELATED = frozenset(("mp", "cc", "ci", "mcscf", "fci", "adc", "mrpt", "agf2"))
"""Modules of PySCF that work on top of a mean field."""
GRADIENT_DECIMALS = 10
MOST_FLAGS = 1 << 20
"""Bytes after a banner in which the settings are looked for."""


class Mark(NamedTuple):
    """Where an event stands."""

    start: int
    text: bytes


class Geometry(NamedTuple):
    """A table of atoms as printed."""

    start: int
    """Offset of the table."""
    atomic_numbers: NDArray[np.uint8]
    """0 for a ghost."""
    positions: F64
    """[bohr]"""
    labels: tuple[bytes, ...]
    """As the table of gradients repeats them."""


@dataclass
class Cycle:
    """One mean field and what was worked out on top of it, for one geometry."""

    start: int
    rows: int
    """Offset of its geometry; -1 where several could be meant."""
    marks: dict[str, list[Mark]] = field(default_factory=dict)

    def last(self, name: str) -> Mark | None:
        """The last event of a kind."""
        return self.marks[name][-1] if name in self.marks else None


SCF = ""
"""Name of the mean field among the energies of a cycle."""


def energies(cycle: Cycle) -> dict[str, float]:
    """Energies of a cycle by level [hartree]: the mean field's, then the correlated ones.

    Raises:
        ParseError: one that is no number.
    """
    found = {SCF: _value(cycle.marks["energy"][-1])}
    for mark in cycle.marks.get("correlated", ()):
        name = mark.text[2 : mark.text.index(b") =")].decode("latin-1")
        if not name.startswith("SCS-"):
            found[level(name)] = _value(mark)
    if "triples" in cycle.marks and "CCSD" in found:
        found["CCSD(T)"] = found["CCSD"] + _value(cycle.marks["triples"][-1])
    for kind in ("casscf", "casci"):
        # with several states the CASSCF energy is an average of theirs
        if kind in cycle.marks and "CASSCF" not in found and "states" not in cycle.marks:
            found[kind.upper()] = _value(cycle.marks[kind][-1])
    return found


def labelled(cycle: Cycle, energies: dict[str, float], warnings: list[str]) -> tuple[str | None, Mark | None]:
    """The level whose energy is the label, None for the mean field, and the table of gradients that belongs to it.

    Raises:
        ParseError: it cannot be told for certain which energy is meant.
    """
    correlated = [name for name in energies if name != SCF]
    table = cycle.last("gradient")
    match = _TITLE.fullmatch(table.text.decode("latin-1")) if table else None
    if table and match and not match["state"]:
        name = match["name"].removesuffix("_Scanner")
        if name == _field(cycle):
            return None, table
        if level(name) in energies:
            return level(name), table
        raise ParseError(
            f"expected the energy of {name}, whose gradient is printed, found none. The frame was left out."
        )
    if table:  # of an excited state, whose energy is no label of the ground state
        warnings.append(f"{table.text.decode('latin-1').strip('- ')}: not read, its energy is not printed")
    if {"CCSD", "CCSD(T)"} == set(correlated):
        return "CCSD(T)", None
    if len(correlated) > 1:
        raise ParseError(f"expected one correlated energy, found {', '.join(correlated)}. The frame was left out.")
    if not correlated and (works := _correlated_works(cycle)):
        raise ParseError(f"expected the energy of {works[0]}, found none. The frame was left out.")
    return (correlated[0] if correlated else None), None


def _correlated_works(cycle: Cycle) -> list[str]:
    """Correlated calculations that a cycle begins; excitations leave the ground state what it is."""
    texts = [mark.text.decode("latin-1") for mark in cycle.marks.get("banner", ())]
    modules = [text.split("'")[1].split(".") for text in texts if " for <" not in text]
    return [".".join(parts) for parts in modules if set(parts[1:-1]) & CORRELATED]


def has_failed(cycle: Cycle, name: str | None) -> bool:
    """Whether the SCF or the iterations on top of it did not converge."""
    return not cycle.marks["energy"][-1].text.startswith(b"converged") or (name is not None and "failed" in cycle.marks)


def free(
    cycle: Cycle, energies: dict[str, float], name: str | None, used: Method, warnings: list[str]
) -> tuple[float, float, float]:
    """Energy that the forces derive from, sigma->0, without entropy [hartree]; with smearing all three are printed."""
    if used.smearing is None or name is not None:
        return energies[SCF if name is None else name], np.nan, np.nan
    mark = cycle.last("smeared")
    found = [] if mark is None else re.findall(rb"= *([^\s=]{1,40})", mark.text)
    if len(found) != 3:
        warnings.append("energies: not read, the free energy is not printed")
        return np.nan, np.nan, np.nan
    total, free, zero = (number(one) for one in found)
    return free, zero, total


def _value(mark: Mark) -> float:
    """The number after the first equals sign of an event."""
    fields = mark.text.split(b" = ", 1)[1].split()
    return number(fields[0] if fields else b"")


def _field(cycle: Cycle) -> str:
    """Class of the mean field, as gradients name it."""
    mark = cycle.last("field")
    return mark.text.split()[-1].decode("latin-1").removesuffix("_Scanner") if mark else ""


def dipole(mark: Mark) -> F64:
    """Dipole of the mean field about the origin [debye].

    Raises:
        ParseError: no three numbers.
    """
    return numbers(mark.text.split(b":")[1].replace(b",", b" "), 3)


def geometry(data: Buffer, start: int, announced: Mark | None) -> Geometry:
    """The table of atoms at `start`, with as many rows as the molecule is announced to have.

    Raises:
        ParseError: fewer or more rows than atoms, or one that cannot be read.
    """
    n_atoms = -1 if announced is None else int(_value(announced))
    symbols, labels, rows = [], [], []
    at = data.find(b"\n", start) + 1 if data[start : start + 3] == b"New" else start
    for i in range(n_atoms):
        match = _ROW.match(data, at)
        if match is None or int(match[1]) != i + 1:
            raise ParseError(f"expected {n_atoms} rows of atoms, found {i}. The frame was left out.")
        labels.append(match[2])
        symbols.append(element(match[2].decode("latin-1")))
        rows.append(match[4])
        at = (data.find(b"\n", match.end()) + 1) or len(data)
    if n_atoms < 1 or _ROW.match(data, at):
        raise ParseError(f"expected {n_atoms} rows of atoms, found others. The frame was left out.")
    positions = numbers(b" ".join(rows), 3 * n_atoms).reshape(n_atoms, 3)
    return Geometry(start, np.array(symbols, np.uint8), positions, tuple(labels))


def element(label: str) -> int:
    """Z of `O`, `O1`, `H@2`; 0 of a ghost, `GHOST-O` or `X-O`.

    Raises:
        ParseError: no element.
    """
    if re.match(r"(?i:ghost)|X(?![a-z])", label):
        return 0
    match = re.match(r"[A-Za-z]{1,2}", label)
    try:
        return atomic_number(match[0] if match else label)
    except InputError as error:
        raise ParseError(f"expected a chemical symbol, found {label!r}. The frame was left out.") from error


def gradient(data: Buffer, table: Mark, geometry: Geometry) -> F64:
    """The table of gradients [hartree/bohr], shape (n_atoms, 3).

    Raises:
        ParseError: not a row for each atom in order, no end, or a field that is no number.
    """
    at = data.find(b"\n", table.start) + 1
    at = data.find(b"\n", at) + 1
    rows = []
    for i, label in enumerate(geometry.labels):
        match = _GRADIENT_ROW.match(data, at) if at else None
        if match is None or int(match[1]) != i or match[2] != label:
            raise ParseError(f"expected a gradient of atom {i}, found none. The frame was left out.")
        rows.append(match[3])
        at = match.end()
    if data[at : at + 5] != b"-----":
        raise ParseError("expected the end of the gradients, found none. The file is cut.")
    return numbers(b" ".join(rows), 3 * len(rows)).reshape(-1, 3)


def lattice(data: Buffer, marks: Mapping[str, Mark]) -> tuple[F64, NDArray[np.int8]] | None:
    """Lattice vectors [bohr] and periodic directions of a crystal; None for a molecule.

    Raises:
        ParseError: vectors that cannot be read.
    """
    mark = marks.get("lattice")
    if mark is None:
        return None
    rows = re.findall(rb"a[123] \[([^\]\n]{1,120})\]", data[mark.start : mark.start + 500])
    vectors = numbers(b" ".join(rows).replace(b",", b" "), 9).reshape(3, 3)
    dimension = int(marks["dimension"].text.split()[-1]) if "dimension" in marks else 3
    return vectors, (np.arange(3) < dimension).astype(np.int8)


def flags(data: Buffer, cycle: Cycle) -> str:
    """What is printed between the banner of a mean field and its energy."""
    final = cycle.last("energy")
    end = final.start if final else cycle.start + MOST_FLAGS
    return bytes(data[cycle.start : min(end, cycle.start + MOST_FLAGS)]).decode("latin-1")
