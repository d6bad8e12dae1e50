"""Standard output of pw.x: single points, relaxations, variable cells, molecular dynamics, several runs in one log.

A run is cut into ionic steps at its lines `!    total energy`. What belongs to a step stands between that line and the
next `Self-consistent Calculation`, so that iterations and bands, most of a log, are never looked at. The positions
printed there are those of the next step.

References:
    PW/src/print_energies.f90, forces.f90, stress.f90, output_tau.f90, summary.f90 of Quantum ESPRESSO 5.0 to 7.4.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import groupby

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mlpdata.errors import NotRecognised, ParseError
from mlpdata.frames import by_block
from mlpdata.readers.archive import Input
from mlpdata.readers.espresso.method import BERRY_FIELD, from_header
from mlpdata.readers.espresso.names import run_of
from mlpdata.readers.espresso.steps import ENERGY, FORCES, ITERATIONS, Step, steps, table
from mlpdata.readers.espresso.structure import Structure, structure_of
from mlpdata.readers.espresso.tables import coordinates, fixed, forces, magnetic_moments
from mlpdata.readers.registry import Ending, Header, Printed, Reader
from mlpdata.readers.text import number, numbers
from mlpdata.schema.calculation import ForcesAre, LeftOut, RunKind, Status
from mlpdata.schema.method import Method
from mlpdata.units import F64, Quantity

_PROGRAM = re.compile(rb"Program (PWSCF|CP|NEB|PATH) +v\.?(\S{1,40})([^\n]{0,80}?) starts on *([^\n]{0,80})\n")
_UNIT = re.compile(rb"[A-Z_]+[ ({]*(\w*)[ =]*([\d.]*)")
_FAILURES = (b"Maximum CPU time exceeded", b"convergence NOT achieved after", b"%" * 20)
_FAILURE = re.compile(
    rb"Maximum CPU time exceeded|convergence NOT achieved after[^\n]{0,60}stopping|(?<!%)%{20,}+\s+[^%]{1,2000}"
)
_SCALARS = {
    "energy": "Ry",
    "energy_no_entropy": "Ry",
    "temperature_kinetic": "K",
    "total_magnetization": "muB",
    "fermi_energy": "eV",
}
_LABELS = {"forces", "stress", "converged", "accuracy", "iteration", "band_edges", "moments", *_SCALARS}


def is_espresso_text(head: bytes) -> bool:
    """Whether a file is standard output of a program of Quantum ESPRESSO other than cp.x."""
    found = _PROGRAM.search(head)
    return found is not None and found[1] != b"CP"


def read(source: Input) -> Iterator[Header | Printed | Ending]:
    """The runs of a log, one after the other (pitfall Q6).

    Raises:
        NotRecognised: another program of the suite.
        ParseError: a number of a header that cannot be read.
    """
    programs = list(_PROGRAM.finditer(source.data))
    starts = [program for program in programs if program[1] == b"PWSCF"]
    if not starts:
        found = f"{programs[0][0].decode('latin-1').strip()!r}" if programs else "no line 'Program PWSCF'"
        raise NotRecognised(f"expected standard output of pw.x, found {found}. Give the file that pw.x wrote.")
    ends = [*(program.start() for program in starts[1:]), len(source.data)]
    for program, end in zip(starts, ends, strict=True):
        yield from _Run(source, program, end).read()


READER = Reader("espresso/text", 2, ("*.pwo", "pw.out", "pwscf.out"), is_espresso_text, read, run_of, precedence=1)


class _Run:
    """One run of pw.x in a log."""

    def __init__(self, source: Input, program: re.Match[bytes], end: int) -> None:
        self.source, self.text, self.start, self.end = source, source.data, program.start(), end
        self.version = (program[2] + program[3]).decode("latin-1")
        self.date = " ".join(program[4].decode("latin-1").split())
        self.left_out: list[LeftOut] = []
        self.warnings: list[str] = []
        self.last = self.start
        """The last energy: what ended the run comes after it."""

    def read(self) -> Iterator[Header | Printed | Ending]:
        """The header, the frames in blocks, the ending."""
        yield self.header()
        yield from self.blocks()
        status, reason = self.status()
        yield Ending(status, reason, tuple(self.left_out), tuple(self.warnings))

    @cached_property
    def first(self) -> int:
        """The first energy, the run's end where there is none."""
        match = ENERGY.search(self.text, self.start, self.end)
        return match.start() if match else self.end

    @cached_property
    def head(self) -> bytes:
        """What stands before the first iterations, in whole lines: a cut number is another number."""
        head = self.text[self.start : self.until_iterations(self.start, self.first)]
        return head[: head.rfind(b"\n") + 1]

    @cached_property
    def first_step(self) -> bytes:
        """What the first step prints below its energy: how the ions move is said here; further SCFs may precede it."""
        forces = self.text.find(FORCES, self.first, self.end)
        return self.text[self.first : self.until_iterations(max(self.first, forces), self.end)]

    def until_iterations(self, start: int, end: int) -> int:
        """Where the next SCF begins, at most `end`."""
        found = self.text.find(ITERATIONS, start, end)
        return end if found < 0 else found

    @cached_property
    def method(self) -> Method:
        """The level of theory."""
        return from_header(self.head, self.version)

    def header(self) -> Header:
        """What is known before the first frame."""
        target = re.search(rb"Starting temperature +=\s*(\S+) K\s+temperature is controlled by", self.first_step)
        smearing = self.method.smearing
        # with smearing the line "! total energy" is F = E - TS, and E stands below as the internal energy (pitfall Q2)
        smeared = b"(-TS)" in self.first_step or (smearing is not None and smearing.width is not None)
        return Header(
            method=self.method,
            identity=f"pw.x {self.version}, started {self.date}",
            run_kind=self.run_kind(),
            energy_kind="free" if smeared else "total",
            forces_are=self.forces_are(),
            temperature_target=number(target[1]) if target else None,
            basis_fixed_at="first cell" if self.moves_cell() else None,
        )

    def moves_cell(self) -> bool:
        """Whether the cell varies from step to step."""
        return b"\nCELL_PARAMETERS" in self.first_step or b"press convergence thresh." in self.head

    def run_kind(self) -> RunKind:
        """What the program did with the ions."""
        if re.search(rb"Molecular Dynamics|Langevin Dynamics|Entering Dynamics", self.first_step):
            return "md"
        if re.search(rb"BFGS Geometry|Damped Dynamics", self.first_step) or b"force convergence thresh." in self.head:
            return "vc-relax" if self.moves_cell() else "relax"
        if b"Band Structure Calculation" in self.head:
            return "bands"
        return "single_point" if b"number of atoms/cell" in self.head else "unknown"

    def forces_are(self) -> ForcesAre:
        """Forces on fixed atoms are printed before pw.x sets them to zero, so they are physical (pitfall Q7)."""
        if FORCES not in self.first_step:
            return "absent"
        amplitude = re.search(rb"E field amplitude \[Ha a\.u\.\]: *(\S+)", self.head)
        in_field = BERRY_FIELD in self.head or (amplitude and number(amplitude[1]) != 0)
        return "with_external" if in_field else "physical"

    @cached_property
    def structure(self) -> Structure:
        """The structure at the start; ParseError where a part of it is missing or damaged."""
        return structure_of(self.head, self.source.limits.atoms)

    def frames(self) -> Iterator[Step]:
        """The steps that are frames; of several energies of one geometry the last before the forces (pitfall Q3)."""
        hybrid = self.method.exact_exchange is not None
        superseded = noisy = 0
        for step in steps(self.text, self.start, self.end):
            step.line, self.last = self.source.line(step.start), step.start
            if step.final_scf:
                self.warnings.append(f"line {step.line}: the final SCF in the basis of the relaxed cell (pitfall Q5).")
            if step.superseded:
                superseded += 1
            elif reason := step.unusable(hybrid=hybrid):
                self.leave_out(step, reason)
            else:
                noisy += "noisy" in step.at
                if "unknown_stress" in step.at:
                    self.warnings.append(f"line {step.line}: stress left out: expected Ry/bohr**3, found another unit.")
                yield step
        if noisy:
            self.warnings.append(
                f"{noisy} steps have a large SCF correction, which makes their forces noisy (pitfall Q4)."
            )
        if superseded and not hybrid:
            self.warnings.append(f"{superseded} energies precede another SCF of the same geometry (pitfall Q3).")

    def leave_out(self, step: Step, reason: str) -> None:
        """Record a step that does not become a configuration."""
        self.left_out.append(LeftOut(line=step.line, reason=reason))

    def blocks(self) -> Iterator[Printed]:
        """The frames, those of the same form together; one that cannot be read costs itself only."""
        if self.first == self.end:
            return
        try:
            n_atoms = len(self.structure.kinds)
        except ParseError as error:
            count = sum(1 for _ in self.frames())
            self.left_out.append(LeftOut(line=self.source.line(self.start), reason=error.message, frames=count))
            return
        for _, alike in groupby(self.frames(), self.form):
            for block in by_block((n_atoms, step) for step in alike):
                try:
                    yield self.printed(block)
                except ParseError:
                    if good := [step for step in block if self.is_readable(step)]:
                        yield self.printed(good)

    def form(self, step: Step) -> tuple[object, ...]:
        """What frames of one block have in common: labels and units."""
        labels = sorted(step.at.keys() & _LABELS)
        return *labels, self.unit(step.cell), self.unit(step.positions)

    def unit(self, place: int | None) -> tuple[bytes, bytes]:
        """Unit and alat behind CELL_PARAMETERS or ATOMIC_POSITIONS at `place`; the header's where there is none."""
        match = _UNIT.match(self.text, place) if place is not None else None
        return (match[1], match[2]) if match else (b"", b"")

    def is_readable(self, step: Step) -> bool:
        """Whether every number of a step can be read; records why not."""
        try:
            self.printed([step])
        except ParseError as error:
            self.leave_out(step, error.message)
            return False
        return True

    def printed(self, steps: Sequence[Step]) -> Printed:
        """A block of frames of one form.

        Raises:
            ParseError: a number that is none, or a table that is cut.
        """
        count, n_atoms = len(steps), len(self.structure.kinds)
        arrays: dict[str, Quantity | ArrayLike] = {
            "atomic_numbers": np.tile(self.structure.atomic_numbers, count),
            "pbc": np.ones((count, 3)),
            **self.geometry(steps),
            "scf_converged": self.converged(steps),
            "step": [step.number for step in steps],
            "source_line": [step.line for step in steps],
        }
        for name, unit in _SCALARS.items():
            if name in steps[0].at:
                arrays[name] = Quantity(self.values(steps, name), unit)
        if not np.isnan(self.structure.charge):
            arrays["charge"] = Quantity(np.full(count, self.structure.charge), "e")
        arrays |= self.further(steps)
        if "forces" in steps[0].at:
            arrays["forces"] = Quantity(self.forces(steps), "Ry/bohr", 8)
        if "stress" in steps[0].at:
            table = b"".join(self.table(step.at["stress"], 3) for step in steps)
            # pw.x prints the pressure tensor, positive in compression (pitfall Q1); kbar stand beside it, less finely.
            arrays["stress"] = Quantity(
                -numbers(table, 18 * count).reshape(count, 3, 6)[:, :, :3], "Ry/bohr^3", 8, sign=-1
            )
        return Printed(np.full(count, n_atoms), arrays)

    def further(self, steps: Sequence[Step]) -> dict[str, Quantity | ArrayLike]:
        """What only some runs print: time, band gap, magnetic moments, which coordinates are fixed."""
        arrays: dict[str, Quantity | ArrayLike] = {}
        n_atoms = len(self.structure.kinds)
        if self.time_step is not None and "iteration" in steps[0].at:  # it leads from this step to the next
            fields = [self.line_at(step.at["iteration"]) for step in steps]
            arrays["time"] = Quantity((numbers(b" ".join(fields), len(steps)) - 1) * self.time_step, "aut")
        if "band_edges" in steps[0].at:
            edges = numbers(b" ".join(self.line_at(step.at["band_edges"]) for step in steps), 2 * len(steps))
            arrays["band_gap"] = Quantity(np.maximum(edges[1::2] - edges[::2], 0), "eV")
        if "moments" in steps[0].at:
            tables = (self.table(step.at["moments"], n_atoms) for step in steps)
            moments = [magnetic_moments(table, n_atoms) for table in tables]
            arrays["magnetic_moments"] = Quantity(np.concatenate(moments), "muB")
        if self.fixed is not None:
            arrays["fixed"] = np.tile(self.fixed, (len(steps), 1))
        return arrays

    @cached_property
    def time_step(self) -> float | None:
        """Of molecular dynamics [aut]; pw.x prints it in units of Rydberg, which are twice as long."""
        found = re.search(rb"\n +Time step +=\s*(\S+) a\.u\.", self.first_step)
        return None if found is None else 2 * number(found[1])

    @cached_property
    def fixed(self) -> NDArray[np.int8] | None:
        """Which coordinates the run holds, as the first positions that it prints say; None where none or unknown."""
        place = self.text.find(b"\nATOMIC_POSITIONS", self.first, self.end)
        if place < 0:
            return None
        try:
            return fixed(self.table(place + 1, len(self.structure.kinds)))
        except ParseError as error:
            self.warnings.append(f"line {self.source.line(place + 1)}: fixed atoms are not known: {error.message}")
            return None

    def values(self, steps: Sequence[Step], name: str) -> F64:
        """The number behind the landmark `name`, whose unit must follow, so that no number is a cut one."""
        words = [self.line_at(step.at[name]).split()[:2] for step in steps]
        if any(len(pair) < 2 for pair in words):
            raise ParseError(f"expected {name} and its unit, found the end of the line. The file is cut.")
        return numbers(b" ".join(pair[0] for pair in words), len(steps))

    def line_at(self, place: int) -> bytes:
        """The rest of the line at `place`."""
        end = self.text.find(b"\n", place, self.end)
        return self.text[place : self.end if end < 0 else end]

    def converged(self, steps: Sequence[Step]) -> ArrayLike:
        """1, 0, or -1 where nothing is said.

        With scf_must_converge = .false. pw.x says that convergence has been achieved wherever it stops, so the accuracy
        beside it counts too; thresholds never exceed the first one, except within the updates of exact exchange.
        """
        if "converged" not in steps[0].at:
            return np.full(len(steps), -1)
        threshold = re.search(rb"convergence threshold +=\s*(\S+)", self.head)
        if threshold is None or "accuracy" not in steps[0].at or self.method.exact_exchange is not None:
            return np.ones(len(steps))
        return self.values(steps, "accuracy") <= 1.05 * number(threshold[1])

    def forces(self, steps: Sequence[Step]) -> F64:
        """The first table of each step, the total; contributions follow at high verbosity (pitfall Q4) [Ry/bohr]."""
        n_atoms = len(self.structure.kinds)
        places = [self.text.find(b"\n     atom", step.at["forces"], step.at["forces"] + 200) for step in steps]
        if min(places) < 0:
            raise ParseError("expected a table of forces, found none behind its title. The file is cut.")
        return forces(b"".join([self.table(place, n_atoms) for place in places]), len(steps), n_atoms)

    def geometry(self, steps: Sequence[Step]) -> dict[str, Quantity]:
        """Cell and positions of the steps, all in the unit of the first."""
        count, structure = len(steps), self.structure
        cell, positions = steps[0].cell, steps[0].positions
        cells = Quantity(np.tile(structure.cell, (count, 1, 1)), "bohr")
        unit, alat = self.unit(cell)
        if cell is not None:
            table = b"".join(self.table(step.cell or 0, 3) for step in steps)
            cells = _lengths(
                numbers(table, 9 * count).reshape(count, 3, 3), unit, number(alat or b"0") or structure.alat
            )
        if positions is None:
            return {"cell": cells, "positions": Quantity(np.tile(structure.positions, (count, 1)), "bohr")}
        coordinates = self.coordinates(steps)
        if self.unit(positions)[0] == b"crystal":
            return {
                "cell": cells,
                "positions": Quantity((coordinates @ cells.values).reshape(-1, 3), cells.unit, basis="fractional"),
            }
        places = coordinates.reshape(-1, 3)
        return {
            "cell": cells,
            "positions": _lengths(places, self.unit(positions)[0], number(alat or b"0") or structure.alat),
        }

    def coordinates(self, steps: Sequence[Step]) -> F64:
        """The numbers of ATOMIC_POSITIONS, shape (n_steps, n_atoms, 3)."""
        n_atoms = len(self.structure.kinds)
        table = b"".join([self.table(step.positions or 0, n_atoms) for step in steps])
        return coordinates(table, len(steps), self.structure.kinds)

    def table(self, place: int, rows: int) -> bytes:
        """`rows` whole lines after the line at `place`."""
        return table(self.text, place, rows, self.end)

    def status(self) -> tuple[Status, str]:
        """How the run ended, by its own words."""
        may_fail = any(self.text.find(words, self.last, self.end) >= 0 for words in _FAILURES)
        if may_fail and (failure := _FAILURE.search(self.text, self.last, self.end)):
            words = " ".join(failure[0].decode("latin-1").strip("% \n").split())
            return "failed", f"line {self.source.line(failure.start())}: {words}"
        if self.text.find(b"JOB DONE.", self.last, self.end) >= 0:
            return "complete", ""
        return "truncated", f"expected JOB DONE., found the end of the run at line {self.source.line(self.end)}."


def _lengths(values: F64, unit: bytes, alat: float) -> Quantity:
    """Lengths with the unit that pw.x names, those in units of alat in bohr."""
    if unit in (b"", b"alat"):
        return Quantity(values * alat, "bohr")
    if unit not in (b"angstrom", b"bohr"):
        raise ParseError(f"expected alat, bohr, angstrom or crystal, found the unit {unit.decode('latin-1')!r}.")
    return Quantity(values, unit.decode())
