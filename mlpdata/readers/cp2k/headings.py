"""The headings of a CP2K log, and how they divide it into runs and evaluations of the energy.

One regular expression finds all headings at the starts of lines. A log holds several runs where a job appended to it.
An evaluation is one total energy with what stands around it: coordinates, cell and convergence before it, forces,
stress and the number of the step behind it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from mlpdata.readers.archive import Buffer

_REST = rb"[^\n]{0,200}(?=\n)"
_HEADINGS = {
    "banner": rb"PROGRAM STARTED AT" + _REST,
    "end": rb"PROGRAM ENDED AT",
    "abort": rb"\[ABORT\]" + _REST,
    "cell": rb"CELL\| Vector a" + _REST,
    "coordinates": rb"MODULE [A-Z /-]{1,40}: {1,2}ATOMIC COORDINATES IN " + _REST,
    "converged": rb"SCF run converged in",
    "unconverged": rb"(?:WARNING in qs_\w{1,30}\.F:\d{1,6} :: )?(?:SCF run NOT converged|outer SCF loop FAILED)",
    "entropy": rb"Electronic entropic energy:" + _REST,
    "mulliken": rb"(?:Mulliken Population Analysis|MULLIKEN POPULATION ANALYSIS)",
    "hirshfeld": rb"Hirshfeld Charges",
    "energy": rb"ENERGY\| Total FORCE_EVAL \( \w{1,20} \) energy " + _REST,
    "free_energy": rb"ENERGY\| Total FORCE_EVAL \( \w{1,20} \) free energy " + _REST,
    "forces": rb"(?:ATOMIC FORCES in|FORCES\| Atomic forces) " + _REST,
    "shells": rb"(?:(?:CORE|SHELL) PARTICLE FORCES in|FORCES\| (?:Core|Shell) particle forces)",
    "stress": rb"(?:(?:NUMERICAL )?STRESS TENSOR|STRESS\| (?:Analytical|Numerical) stress tensor) \[" + _REST,
    "displaced": rb"NUMERICAL STRESS(?: END)? \*",
    "md_start": rb"(?:MD_INI\| MD initialization|GO CP2K GO)",
    "md_step": rb"(?:MD\| Step number|STEP NUMBER +=) " + _REST,
    "opt_step": rb"(?:Informations at step =|OPT\| Step number) " + _REST,
    "again": rb"Reevaluating energy at the minimum",
    "limit": rb"MAXIMUM NUMBER OF OPTIMIZATION STEPS REACHED",
}
_LINE_START = rb"\n[ *-]*+(?=[A-Z\[FHo])"
_HEADING = re.compile(_LINE_START + b"(?:" + b"|".join(_HEADINGS.values()) + b")")
_NAMED = b"|".join(b"(?P<%s>%s)" % (name.encode(), text) for name, text in _HEADINGS.items())
_NAMED_HEADING = re.compile(_LINE_START + b"(?:" + _NAMED + b")")  # four times slower: asked only where there is one
_ENVIRONMENT = re.compile(rb"\( (\w+) \)")

_OF_RUN = {"end", "abort", "limit"}
_BEHIND = {"forces", "shells", "stress", "free_energy", "md_start", "md_step", "opt_step"}
_OUTERMOST = (b"MIXED", b"EMBED", b"QMMMX", b"QMMM")
"""Force environments that call others, each of which prints an energy of its own before theirs."""


class Mark(NamedTuple):
    """A heading that was found."""

    start: int
    """Offset of its first character."""
    name: str
    text: bytes
    """The heading; its whole line where values stand in it."""

    @property
    def end(self) -> int:
        """Offset of the first character after it."""
        return self.start + len(self.text)


@dataclass
class Evaluation:
    """One total energy and what stands around it."""

    marks: dict[str, Mark]
    """Headings by name: the last one before the energy, the first one behind it."""
    cell: Mark | None
    """The cell printed last."""
    cell_of_coordinates: Mark | None
    """The cell that held when the coordinates were printed."""

    @property
    def energy(self) -> Mark:
        """The line of the total energy."""
        return self.marks["energy"]


@dataclass
class Run:
    """What belongs to one Header and one Ending: the program from its start to its end."""

    start: int
    end: int = 0
    marks: list[Mark] = field(default_factory=list)

    def first(self, name: str) -> Mark | None:
        """The first heading of a kind."""
        return next((mark for mark in self.marks if mark.name == name), None)

    def environment(self) -> bytes | None:
        """QS, FIST, QMMM, ...: the force environment whose forces move the atoms; None without any energy."""
        names = dict.fromkeys(_environment(mark) for mark in self.marks if mark.name == "energy")
        return next((name for name in (*_OUTERMOST, *names) if name in names), None)

    def evaluations(self) -> list[Evaluation]:
        """The evaluations of the energy whose forces move the atoms, in order."""
        environment = self.environment()
        found: list[Evaluation] = []
        before: dict[str, Mark] = {}
        cell = cell_of_coordinates = None
        for mark in _without_displaced(self.marks):
            if mark.name == "cell":
                cell = mark
            elif mark.name == "energy":
                if _environment(mark) == environment:
                    found.append(Evaluation({**before, "energy": mark}, cell, cell_of_coordinates))
                    before = {}
            elif mark.name in _BEHIND:
                if found:
                    found[-1].marks.setdefault(mark.name, mark)
            elif mark.name not in _OF_RUN:
                before[mark.name] = mark
                cell_of_coordinates = cell if mark.name == "coordinates" else cell_of_coordinates
        return found


def runs(data: Buffer) -> Iterator[Run]:
    """The runs of a log, from one start of the program to the next."""
    run = Run(0)
    for match in filter(None, (_NAMED_HEADING.match(data, found.start()) for found in _HEADING.finditer(data))):
        name = str(match.lastgroup)
        if name == "banner" and run.first("banner"):
            run.end = match.start()
            yield run
            run = Run(match.start())
        run.marks.append(Mark(match.start(name), name, match[name]))
    run.end = len(data)
    if run.marks:
        yield run


def _environment(energy: Mark) -> bytes:
    """`QS`, `FIST`, `QMMM`: the force environment whose energy a line prints."""
    match = _ENVIRONMENT.search(energy.text)
    return match[1] if match else b""


def _without_displaced(marks: Sequence[Mark]) -> Iterator[Mark]:
    """Without what a numerical stress prints of strained cells: those energies are of geometries that nobody prints."""
    displaced = False
    for mark in marks:
        if mark.name == "displaced":
            displaced = b"END" not in mark.text
        elif not displaced:
            yield mark
