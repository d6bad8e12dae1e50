"""The ionic steps of a run of pw.x on standard output: where the numbers of each stand.

A step begins at its line `!    total energy`. What belongs to it stands between that line and the next
`Self-consistent Calculation`, so that iterations and bands, most of a log, are never looked at; only the geometry,
which is that of the next step, is looked for up to the next energy.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from mlpdata.errors import ParseError
from mlpdata.readers.archive import Buffer

ENERGY = re.compile(rb"\n(!!?) +total energy +=")
FORCES = b"Forces acting on atoms"
"""Title of a table of forces; its unit follows."""
_BEFORE_FORCES = tuple(
    (name, literal, re.compile(rest))
    for name, literal, rest in (
        ("accuracy", b"estimated scf accuracy", rb" +<"),
        ("energy_no_entropy", b"internal energy E=F+TS", rb" +="),
        ("total_magnetization", b"total magnetization", rb" +=(?= +\S+ +Bohr)"),
        ("converged", b"convergence has been achieved", b""),
        ("converged", b"EXX self-consistency reached", b""),
    )
)
"""What is looked for between an energy and its forces: name, the text that is found, what must follow it."""
_FROM_FORCES = tuple(
    (name, literal, re.compile(rest))
    for name, literal, rest in (
        ("forces", FORCES, rb" \([^)\n]*Ry/au\)"),
        ("unknown_forces", FORCES, rb"(?! \([^)\n]*Ry/au\))"),
        ("unknown_stress", b"total   stress  (", rb"(?!Ry/bohr\*\*3\))"),
        ("noisy", b"SCF correction compared to forces is", b""),
        ("stress", b"total   stress  (Ry/bohr**3)", b""),
        ("settled", b"Dynamics", b""),
        ("settled", b"BFGS Geometry", b""),
        ("settled", b"Writing ", b""),
        ("settled", b"init_run", b""),
        ("iteration", b"Entering Dynamics:    iteration =", b""),
        ("temperature_kinetic", b"\n     temperature ", rb" +=(?= +\S+ +K)"),
        ("final", b"inal scf calculation", b""),
    )
)
"""The same between the forces and the next SCF, or between the energy and it where no forces are printed. The first
force table is the total, contributions follow it at high verbosity (pitfall Q4). Titles state the unit: one that is not
known is not taken for another (Q1)."""
_LEVELS = (
    ("fermi_energy", b"the Fermi energy is ", re.compile(rb" *(?=\S+ +ev *\n)")),
    ("band_edges", b"highest occupied, lowest unoccupied level (ev):", re.compile(rb"(?= +\S+ +\S+ *\n)")),
)
"""What stands between the bands and their energy."""
_LEVELS_BEFORE = 200
"""So many bytes before the energy."""
_MOMENTS = b"Magnetic moment per site"
_ITERATION = b"     iteration #"
ITERATIONS = b"Self-consistent Calculation"


@dataclass
class Step:
    """One energy, and where what belongs to it stands."""

    start: int
    """Where the line of the energy begins."""
    at: dict[str, int]
    """End of each landmark between this energy and the next SCF, by name."""
    number: int
    """Ionic step in its run, from 0."""
    cell: int | None
    """Where the cell of this step is printed; None for the header's."""
    positions: int | None
    """Where the positions of this step are printed; None for the header's."""
    labelled: bool
    """Whether an earlier step has forces of the same positions."""
    exact_exchange: bool
    """Whether the line begins with `!!`, as for a hybrid functional after the last update of its exchange."""
    followed: bool = True
    """Whether another energy comes after it in this run."""
    final_scf: bool = False
    """Whether it is the SCF that follows a variable-cell relaxation, in the basis of the relaxed cell (pitfall Q5)."""

    line: int = 0
    """Number of its first line in the file, filled in by the reader."""

    @property
    def superseded(self) -> bool:
        """Whether another SCF of the same geometry follows: the last before the forces counts (pitfall Q3)."""
        return self.followed and not {"forces", "unknown_forces", "positions"} & self.at.keys()

    def unusable(self, *, hybrid: bool) -> str:
        """Why it is no frame, "" where it is one."""
        if hybrid and not self.exact_exchange:
            return (
                "expected the energy after the last update of exact exchange, found one before it. The run did not end."
            )
        if "unknown_forces" in self.at:
            return "expected forces in Ry/au, found another title of their table. The version is unknown; report it."
        if self.labelled and "forces" in self.at:
            return "expected new positions since the last forces, found none. A part of the file is missing."
        if not self.followed and not {"stress", "settled"} & self.at.keys():
            return "expected what follows the energy, found the end of the run. The file is cut."
        return ""


def steps(text: Buffer, start: int, end: int) -> Iterator[Step]:
    """Every energy of the run between two places of a log."""
    match = ENERGY.search(text, start, end)
    head = text[start : match.start() if match else end]
    step = Step(start, _geometry_in(head, start), -1, None, None, labelled=False, exact_exchange=False)
    before = head
    while match:
        following = ENERGY.search(text, match.end(), end)
        between = text[match.end() : following.start() if following else end]
        step = _next(step, match, {"energy": match.end(), **_landmarks_in(between, match.end())})
        step.followed = following is not None
        step.at |= _above(before, match.start() - len(before))
        yield step
        match, before = following, between


def _next(before: Step, energy: re.Match[bytes], at: dict[str, int]) -> Step:
    """The step after `before`, behind whose energy the geometry of this one stands."""
    moved = "positions" in before.at
    return Step(
        start=energy.start() + 1,
        at=at,
        number=before.number + 1 if moved else max(before.number, 0),
        cell=before.at.get("cell", before.cell) if moved else before.cell,
        positions=before.at.get("positions", before.positions),
        labelled=not moved and (before.labelled or "forces" in before.at),
        exact_exchange=energy[1] == b"!!",
        final_scf="final" in before.at,
    )


def _above(before: bytes, start: int) -> dict[str, int]:
    """Where the levels and the magnetic moments of an energy stand, in the text before it, which begins at `start`."""
    at = {}
    for name, literal, rest in _LEVELS:
        place = before.rfind(literal, max(0, len(before) - _LEVELS_BEFORE))
        if place >= 0 and (found := rest.match(before, place + len(literal))):
            at[name] = start + found.end()
    place = before.rfind(_MOMENTS)
    if place >= 0 and before.find(_ITERATION, place) < 0:
        at["moments"] = start + place
    return at


def _landmarks_in(between: bytes, start: int) -> dict[str, int]:
    """Where the landmarks stand in the text between two energies, which begins at `start`."""
    scf = between.find(ITERATIONS)
    below = between if scf < 0 else between[:scf]
    at = _geometry_in(between, start)
    forces = below.find(FORCES)
    for landmarks, first, last in (
        (_BEFORE_FORCES, 0, len(below) if forces < 0 else forces),
        (_FROM_FORCES, max(forces, 0), len(below)),
    ):
        for name, literal, rest in landmarks:
            place = -1 if name in at else below.find(literal, first, last)
            if place >= 0 and (found := rest.match(below, place + len(literal))):
                at[name] = start + found.end()
    return at


def _geometry_in(between: bytes, start: int) -> dict[str, int]:
    """Where the last cell and positions of a text stand: those of the energy that follows it."""
    found = {"cell": between.rfind(b"\nCELL_PARAMETERS"), "positions": between.rfind(b"\nATOMIC_POSITIONS")}
    return {name: start + place + 1 for name, place in found.items() if place >= 0}


def table(text: Buffer, place: int, rows: int, end: int) -> bytes:
    """`rows` whole lines after the line at `place`, before `end`.

    Raises:
        ParseError: the text ends before they do.
    """
    start = text.find(b"\n", place, end) + 1
    width = text.find(b"\n", start, end) + 1 - start
    if start == 0 or width <= 0:
        raise ParseError(f"expected a table of {rows} rows, found the end of the file.")
    lines = text[start : min(start + rows * width, end)]
    if lines.endswith(b"\n") and lines.count(b"\n") == rows:
        return lines
    stop = start  # rows of several widths: only some atoms have flags
    for _ in range(rows):
        stop = text.find(b"\n", stop, end) + 1
        if stop == 0:
            raise ParseError(f"expected a table of {rows} rows, found the end of the file.")
    return text[start:stop]
