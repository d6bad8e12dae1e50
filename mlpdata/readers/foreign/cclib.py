"""cclib: what belongs together by the order in which its parsers meet it.

cclib returns lists of geometries, energies and gradients of different lengths; paired by index they mislabel (an
optimisation by NWChem gives 7 geometries and 5 energies). Its parsers go through a file line by line, so that the line
at which each list grows tells which energy and gradient follow which geometry.

Energies in eV are turned back into hartree by cclib's own factor (CODATA 2010, pitfall X2).
"""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator, Mapping
from types import MethodType
from typing import Any, NamedTuple

import numpy as np

from mlpdata.errors import ParseError
from mlpdata.readers.archive import Input
from mlpdata.readers.foreign.frames import Reading, Snapshot, finite, text, whole_lines
from mlpdata.readers.foreign.table import Code
from mlpdata.schema.calculation import LeftOut

_WATCHED = ("atomcoords", "scfenergies", "grads")
_CORRELATED = {"mpenergies": "perturbation theory", "ccenergies": "coupled clusters"}
_SAME = 1e-6
"""Coordinates that agree so well [angstrom] are one geometry, printed again."""


class _Growth(NamedTuple):
    """A list of the parser that grew."""

    name: str
    value: Any
    line: int


class _Lines(io.StringIO):
    """Text that counts the lines that were read."""

    number = 0

    def __next__(self) -> str:  # type: ignore[override]  # typeshed calls every stream one of bytes
        line = super().__next__()
        self.number += 1
        return line

    def seek(self, offset: int, whence: int = 0, /) -> int:
        if offset == whence == 0:
            self.number = 0
        return super().seek(offset, whence)


def read(source: Input, row: Code) -> Reading:
    """What cclib makes of a file.

    Raises:
        ParseError: it found no geometry.
    """
    import cclib.parser  # noqa: PLC0415  an extra
    from cclib.parser.utils import convertor  # noqa: PLC0415

    lines = _Lines(whole_lines(source).decode("utf-8", "replace"))
    parser = getattr(cclib.parser, row.parser)(lines, loglevel=logging.CRITICAL + 1)
    growth: list[_Growth] = []
    _watch(parser, lines, growth)
    known = parser.parse()
    numbers = np.asarray(getattr(known, "atomnos", ()))
    if not len(numbers) or numbers.min() < 1:
        raise ParseError("expected atoms, found none or dummy atoms, which cclib does not tell from atoms.")
    reading = Reading(method=_method(known.metadata, vars(known), row))
    reading.charge = float(getattr(known, "charge", np.nan))
    reading.multiplicity = int(getattr(known, "mult", 0))
    beyond = [words for name, words in _CORRELATED.items() if hasattr(known, name)]
    if beyond:
        reading.left_out.append(
            LeftOut(line=0, reason=f"expected an energy of one method, found {beyond[0]} too, which cclib does not "
                    "tell the gradient or final energy of. Read such a run by a reader of its own.")
        )  # fmt: skip
        return reading
    unit = row.units.energy
    excited = hasattr(known, "etenergies")
    if excited:
        reading.warnings.append(
            "forces are left out: the run has excited states, and cclib does not say whose they are"
        )
    cycles = list(_cycles(growth))
    if not row.forces:
        cycles = _only_point(cycles, reading)
    for step, cycle in enumerate(cycles):
        _frame(
            step,
            cycle,
            numbers.astype(np.uint8),
            row.forces and not excited,
            reading,
            lambda e: convertor(e, "eV", unit),
        )
    return reading


def _watch(parser: Any, lines: _Lines, growth: list[_Growth]) -> None:
    """Note what each line adds to the lists of a parser."""
    extract = parser.extract
    lengths = dict.fromkeys(_WATCHED, 0)

    def watched(_parser: Any, inputfile: Any, line: str) -> None:
        start = lines.number
        extract(inputfile, line)
        for name in _WATCHED:
            values = getattr(parser, name, ())
            growth.extend(_Growth(name, value, start) for value in values[lengths[name] :])
            lengths[name] = len(values)

    parser.extract = MethodType(watched, parser)  # cclib counts the arguments


def _cycles(growth: list[_Growth]) -> Iterator[list[_Growth]]:
    """What follows each geometry, until another one."""
    cycle: list[_Growth] = []
    for one in growth:
        if one.name == "atomcoords" and not (cycle and _same(cycle[0].value, one.value)):
            if cycle:
                yield cycle
            cycle = [one]
        elif one.name != "atomcoords":
            cycle.append(one)
    if cycle:
        yield cycle


def _only_point(cycles: list[list[_Growth]], reading: Reading) -> list[list[_Growth]]:
    """The one energy of the one geometry, whichever is printed first; without forces nothing shows what goes together."""
    growth = [one for cycle in cycles for one in cycle]
    geometries = [one for one in growth if one.name == "atomcoords"]
    energies = [one for one in growth if one.name == "scfenergies"]
    if geometries and len(energies) == 1 and all(_same(geometries[0].value, one.value) for one in geometries):
        return [[geometries[0], energies[0]]]
    if energies:
        reason = f"expected one energy and one geometry, found {len(energies)} and {len(geometries)}."
        reading.left_out.append(LeftOut(line=energies[0].line, reason=reason, frames=len(energies)))
    return []


def _same(one: Any, other: Any) -> bool:
    a, b = np.asarray(one, float), np.asarray(other, float)
    return a.shape == b.shape and a.ndim == 2 and bool(np.allclose(a, b, rtol=0, atol=_SAME))


def _frame(step: int, cycle: list[_Growth], numbers: Any, with_forces: bool, reading: Reading, printed: Any) -> None:
    """The frame of a cycle, where one energy and at most one gradient follow its geometry."""
    energies = [one for one in cycle if one.name == "scfenergies"]
    gradients = [one for one in cycle if one.name == "grads"]
    if not energies and not gradients:
        return  # a geometry that is printed once more, or where the run ended
    line = (energies or cycle)[0].line
    shape = (len(numbers), 3)
    geometry = cycle[0].value if cycle[0].name == "atomcoords" else None
    positions = finite(geometry, shape)
    if positions is None or len(energies) != 1 or len(gradients) > 1:
        found = f"{len(energies)} energies and {len(gradients)} gradients after {'a' if geometry is not None else 'no'} geometry"
        reason = f"expected one energy and at most one gradient after a geometry, found {found}. They cannot be paired."
        reading.left_out.append(LeftOut(line=line, reason=reason, frames=max(len(energies), 1)))
        return
    energy = float(printed(energies[0].value))
    forces = finite(gradients[0].value, shape) if gradients and with_forces else None
    if energy == 0 or not np.isfinite(energy) or (gradients and with_forces and forces is None):
        reason = f"expected an energy and a gradient of every atom, found an energy of {energy:g} or another shape."
        reading.left_out.append(LeftOut(line=line, reason=reason))
        return
    pbc = np.zeros(3, np.int8)
    if forces is not None:
        forces = -forces  # cclib's grads are dE/dx for the codes of the table (pitfall O1)
    reading.frames.append(Snapshot(numbers, positions, None, pbc, energy, forces, line=line, step=step))


def _method(metadata: Mapping[str, Any], known: Mapping[str, Any], row: Code) -> dict[str, Any]:
    """What cclib tells of the level of theory; of some codes it calls every method Hartree-Fock."""
    functional = text(metadata, "functional") if row.tells_method or row.code == "psi4" else None
    methods = {name for name in metadata.get("methods", ()) if isinstance(name, str)}
    if functional is None and row.tells_method and methods == {"HF"}:
        functional = "HF"
    return {
        "code_version": text(metadata, "package_version"),
        "functional_as_printed": functional,
        "basis": text(metadata, "basis_set"),
        "dispersion": "unspecified" if "dispersionenergies" in known else None,
    }
