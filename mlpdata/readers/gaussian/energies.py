"""Which of the energies that Gaussian prints for a geometry is the one that its forces derive from (pitfall G6).

`SCF Done` is the reference of a correlated calculation, the ground state of an excited one, one of several parts of an
ONIOM or counterpoise energy. What the route asks for names the line; the list of links that the program prints below
the route must agree, else the energy is unknown: compound methods (G3, CBS) name no level at all.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mlpdata.errors import ParseError
from mlpdata.readers.archive import Buffer
from mlpdata.readers.gaussian.jobs import Cycle, Mark
from mlpdata.readers.gaussian.route import Route
from mlpdata.readers.text import number, numbers
from mlpdata.units import F64

_CORRELATED = {
    "mp2": ("mp2",), "mp3": ("mp3",), "mp4": ("mp4",), "mp4(sdtq)": ("mp4",), "mp4(sdq)": ("mp4sdq",),
    "mp4(dq)": ("mp4dq",), "mp5": ("mp5",), "ccd": ("correlated",), "ccsd": ("correlated",), "qcisd": ("correlated",),
    "bd": ("correlated",), "ccsd(t)": ("ccsd(t)",), "qcisd(t)": ("qcisd(t)",), "bd(t)": ("bd(t)",), "cid": ("ci",),
    "cisd": ("ci",), "eomccsd": ("correlated",),
}  # fmt: skip
"""Headings of the total energy of each wavefunction method; the last one printed holds."""
_VALUE = {
    "scf": rb" SCF Done: +E\([^)]{1,40}\) *= *(\S+)",
    "energy": rb" Energy= *(\S+) *NIter=",
    "recovered": rb" Recovered energy= *(\S+)",
    "mp2": rb" E2 ?=.{1,30}? EUMP2 ?= *(\S+)",
    "mp3": rb" E3=.{1,40}?EUMP3= *(\S+)",
    "mp4dq": rb" E4\(DQ\)=.{1,40}?UMP4\(DQ\)= *(\S+)",
    "mp4sdq": rb" E4\(SDQ\)=.{1,40}?UMP4\(SDQ\)= *(\S+)",
    "mp4": rb" E4\(SDTQ\)=.{1,40}?UMP4\(SDTQ\)= *(\S+)",
    "mp5": rb" DEMP5 =.{1,40}? MP5 *= *(\S+)",
    "correlated": rb" (?:DE\(C(?:orr|ORR)\)=.{1,30}?|Wavefunction amplitudes converged\. +)E\(C(?:orr|ORR)\) *= *(\S+)",
    "ci": rb" DE\(CI\)=.{1,30}?E\(CI\) *= *(\S+)",
    "ccsd(t)": rb" CCSD\(T\)= *(\S+)",
    "qcisd(t)": rb" QCISD\(T\)= *(\S+)",
    "bd(t)": rb" BD\(T\)= *(\S+)",
    "double_hybrid": rb" E2\([^)]{1,20}\) ?=.{1,30}? E\([^)]{1,20}\) ?= *(\S+)",
    "excited": rb" Total Energy, E\([^)]{1,20}\) *= *(\S+)",
    "oniom": rb" ONIOM: extrapolated energy *= *(\S+)",
    "counterpoise": rb" Counterpoise: corrected energy *= *(\S+)",
}
_PATTERNS = {name: re.compile(text) for name, text in _VALUE.items()}
_EXCITED = {"td", "tda", "cis", "cis(d)", "eomccsd", "zindo"}
_SCF = ("scf", "recovered", "energy")
_WHOLE = ("oniom", "counterpoise")
"""Energies made of several others: where one is printed no other is the label."""


class Level(NamedTuple):
    """What the energies of a job are."""

    name: str | None
    """Wavefunction method on top of the reference: MP2, CCSD(T); None for Hartree-Fock, DFT, semiempirical."""
    ground: tuple[str, ...]
    """Headings of the ground state's energy; empty where it cannot be told."""
    excited: bool
    """Whether forces are those of an excited state."""
    doubt: str = ""
    """Why the energy cannot be told."""


def level(route: Route) -> Level:
    """The level of a job, from its route and the links that it runs."""
    excited = bool(_EXCITED & set(route.methods)) or route.has("td", "tda")
    named = next((name for name in route.methods if name in _CORRELATED), None)
    if route.links is None:
        beyond, multi = False, False
    else:
        beyond, multi = route.links.correlated, route.links.multiconfigurational
    if multi or route.has("casscf", "cas", "gvb", "sac-ci", "sacci"):
        return Level(
            "CASSCF" if multi else None, (), excited, "the total energy of a multiconfigurational method is not known"
        )
    if route.double_hybrid:
        return Level(None, ("double_hybrid",), excited)
    if named:
        ground = _CORRELATED[named]
        if route.links is not None and not beyond:
            return Level(
                None, (), excited, f"the route asks for {named.upper()}, the links that run compute no correlation"
            )
        return Level(named.upper().replace("EOMCCSD", "EOM-CCSD"), ground, excited)
    if beyond and not excited:
        return Level(None, (), excited, "the links that run go beyond the SCF and the route names no method")
    return Level(None, _SCF, excited)


def energy_mark(cycle: Cycle, known: Level, before: int | None) -> Mark | None:
    """The heading of the energy that belongs to a geometry; None where it cannot be told.

    Args:
        cycle: the geometry and its labels.
        known: level of the job; excited where its forces are.
        before: offset of the forces that derive from it, None where there are none.
    """
    if whole := cycle.last(*_WHOLE, before=before):
        return whole
    if known.excited:
        return cycle.last("excited", before=before)
    for name in known.ground if known.ground == _SCF else ():
        if mark := cycle.last(name, before=before):
            return mark
    return cycle.last(*known.ground, before=before)


def printed_energy(data: Buffer, mark: Mark) -> bytes:
    """The field of the total energy in the line of a heading [hartree].

    Raises:
        ParseError: there is none.
    """
    line, ended, _ = data[mark.start : mark.start + 200].partition(b"\n")
    match = _PATTERNS[mark.name].match(line)
    if match is None or not ended:
        raise ParseError(
            f"expected a total energy, found {line.decode('latin-1').strip()[:60]!r}. The line is damaged."
        )
    return match[1]


def energies(fields: Sequence[bytes]) -> tuple[F64, list[ParseError | None]]:
    """The numbers in fields as printed, NaN where they are empty, and why one of them cannot be read."""
    values = np.full(len(fields), np.nan)
    errors: list[ParseError | None] = [None] * len(fields)
    try:
        if all(fields):
            return numbers(b" ".join(fields), len(fields)), errors
    except ParseError:
        pass  # found below
    for index, field in enumerate(fields):
        try:
            values[index] = number(field) if field else np.nan
        except ParseError as error:
            errors[index] = error
    return values, errors
