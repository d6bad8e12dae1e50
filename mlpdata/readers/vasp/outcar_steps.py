"""Ionic steps of an OUTCAR: window by window, what each step prints becomes one row of a block of frames.

A step begins with its first electronic iteration; within it VASP 5 and 6 print stress, cell, forces, energies, VASP 4
the energies first. All labels of a frame come from one step (pitfall V12). What cannot be read costs its frame, or only
itself where the frame is whole without it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypedDict, TypeVar

from mlpdata.errors import LimitExceeded, ParseError
from mlpdata.readers.archive import Input
from mlpdata.readers.vasp import outcar_blocks as blocks
from mlpdata.readers.vasp.header import Run
from mlpdata.schema.calculation import LeftOut
from mlpdata.schema.properties import UNKNOWN
from mlpdata.units import F64

FIRST_ITERATION = b"(   1)  ---"
BANNER = b" executed on "
WINDOW = 4 << 20
"""Bytes of text looked at once; fits the cache, and no block reaches the bound on its atoms."""
LARGEST_STEP = 64 << 20
"""Bytes of one step that are looked at; what a machine-learned force field prints after it is longer at times."""
SHORT = 120
"""Bytes within which a line begins."""
MOST_LOST = 100_000
"""Frames that are told one by one; a file that loses more is not one of VASP."""
NAN = float("nan")
T = TypeVar("T")


class Segment(NamedTuple):
    """One ionic step: where it stands in the window, and in the file."""

    begin: int
    end: int
    offset: int
    """Of `begin` in the file."""
    opens: bool
    """Whether it begins with the first iteration of a step."""


class Step(NamedTuple):
    """What one ionic step prints, positions and forces apart."""

    rows: int
    """Offset of the first row of positions and forces in the window; -1 where there is no such table."""
    end: int
    ionic: int
    """Ionic step, from 0."""
    line: int
    """Of the heading of the forces, else of the energies."""
    energy: bytes
    """As printed [eV]."""
    energy_sigma0: float
    energy_no_entropy: float
    cell: F64
    stress: list[bytes]
    """As printed [kB]; empty where absent."""
    scf_converged: int
    total_magnetization: float
    moments: F64 | None
    fermi_energy: float
    temperature: float
    born_charges: F64 | None


@dataclass
class Account:
    """What happened on the way through the file."""

    left_out: list[LeftOut] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    n_steps: int = 0
    """Ionic steps of DFT so far."""
    n_frames: int = 0
    unplaced: list[int] = field(default_factory=list)
    """Number of steps without positions, and the line of the first (pitfall V12)."""
    learned: list[int] = field(default_factory=list)
    """Number of tables of a machine-learned force field, and the line of the first (pitfall V11)."""

    def lose(self, line: int, reason: str, frames: int = 1) -> None:
        """A frame was lost.

        Raises:
            LimitExceeded: one of so many that the file is not what it seems.
        """
        if len(self.left_out) >= MOST_LOST:
            raise LimitExceeded(f"expected steps that can be read, found more than {MOST_LOST} that cannot.", line=line)
        self.left_out.append(LeftOut(line=line, reason=reason, frames=frames))

    @staticmethod
    def count(tally: list[int], line: int) -> None:
        """One more of what is told once, with the line of the first."""
        tally[:] = [tally[0] + 1, tally[1]] if tally else [1, line]


def segments(source: Input, begin: int, account: Account) -> Iterator[tuple[bytes, list[Segment]]]:
    """Windows of text from `begin` on, cut at first iterations, so that each step is whole; another run ends them."""
    data, size, end = source.data, WINDOW, len(source.data)
    while begin < end:
        window = data[begin : min(begin + size, end)]
        refuse_long_line(window)
        other = window.find(BANNER)
        if other >= 0:  # its atoms are others
            end, window = begin + other, window[:other]
            account.lose(source.line(end), "expected one run, found that another begins here. Split the file.")
        edges = list(_first_iterations(window))
        opens = edges[:1] == [0]
        edges = edges if opens else [0, *edges]
        if begin + len(window) == end:
            edges.append(len(window))
        elif len(edges) == 1:
            if opens and size < LARGEST_STEP:
                size *= 4
                continue
            edges.append(window.rfind(b"\n") + 1 or len(window))
        yield window, [Segment(a, b, begin + a, opens or a > 0) for a, b in itertools.pairwise(edges)]
        begin, size = begin + edges[-1], WINDOW


def _first_iterations(window: bytes) -> Iterator[int]:
    """Where the lines of first iterations begin; those of linear response, with the same ionic step, are left out."""
    place, before = window.find(FIRST_ITERATION), b""
    while place >= 0:
        nearby = max(0, place - SHORT)
        line = window.rfind(b"\n", nearby, place) + 1
        if line or not nearby:
            number = window[line:place].split()[-1:]
            if number != [before] or not before.isdigit():
                yield line
            before = number[0] if number else b""
        place = window.find(FIRST_ITERATION, place + len(FIRST_ITERATION))


def refuse_long_line(text: bytes) -> None:
    """VASP's lines are short, so that text without an end of line is not its own.

    Raises:
        LimitExceeded: as much as a window without one.
    """
    if len(text) >= WINDOW and b"\n" not in text:
        raise LimitExceeded(f"expected lines as VASP prints them, found one of {WINDOW} bytes or more.")


def steps(source: Input, window: bytes, found: Sequence[Segment], run: Run, cell: F64, account: Account) -> list[Step]:
    """The steps of a window that carry labels.

    Args:
        source: the file.
        window: its text.
        found: where steps stand in it.
        run: what they share.
        cell: of the first step, for those that print none.
        account: what is lost is told here.
    """
    read = []
    for segment in found:
        try:
            step = _step(_Reader(source, window, segment, run, account), cell)
        except ParseError as error:
            account.lose(error.line or source.line(segment.offset), error.message)
        else:
            read += [step] if step else []
    return read


@dataclass
class _Reader:
    """One step being read."""

    source: Input
    window: bytes
    segment: Segment
    run: Run
    account: Account

    def line(self, place: int) -> int:
        """Line of the file at an offset of the window."""
        first = self.source.line(self.segment.offset)  # offsets that only grow are cheap to count to
        return first + self.window.count(b"\n", self.segment.begin, place)

    def at(self, place: int, read: Callable[[], T]) -> T:
        """What `read` gives, its errors with the line of the block at `place`."""
        try:
            return read()
        except ParseError as error:
            error.line = error.line or self.line(place)
            raise

    def optional(self, place: int, absent: T, read: Callable[[bytes, int], T]) -> T:
        """What `read` makes of the block at `place`; `absent` where there is none, with a warning where it is damaged."""
        if place < 0:
            return absent
        try:
            return read(self.window, place)
        except ParseError as error:
            message = error.message.removesuffix("the frame was left out.").removesuffix("The frame was left out.")
            self.account.warnings.append(
                f"line {self.line(place + 1)}: {message.rstrip(' ;.')}; this label was left out."
            )
            return absent


def _step(reader: _Reader, cell: F64) -> Step | None:
    """The labels of one step; None where it has none to have.

    Raises:
        ParseError: it is cut, or a number of it cannot be read.
    """
    text, (begin, end, _, opens), account = reader.window, reader.segment, reader.account
    forces = _force_tables(reader)
    energies = text.find(blocks.ENERGIES, begin, end)
    if not opens:
        if energies >= 0:
            account.n_steps += 1
            raise ParseError("expected the first iteration of the step, found none that can be read.")
        return None
    if energies < 0:
        _check_without_energies(reader)
        return None
    ionic = account.n_steps
    n_energies = text.count(blocks.ENERGIES, energies, end)
    account.n_steps += n_energies
    if n_energies > 1 or len(forces) > 1:
        account.lose(
            reader.line(begin),
            f"expected one ionic step, found {n_energies} energies and {len(forces)} tables of forces. They cannot be "
            "paired for certain (V12).",
            max(n_energies, len(forces)),
        )
        return None
    ended = text.find(blocks.STEP_ENDS, energies, end)
    if not forces:
        if ended < 0:
            raise ParseError("expected positions and forces, found the end of the step. The run was cut.")
        if ionic > 0:
            account.count(account.unplaced, reader.line(energies))
            return None
    return _labels(reader, forces[0] if forces else -1, energies, ended if ended >= 0 else end, ionic, cell)


def _force_tables(reader: _Reader) -> list[int]:
    """Where the tables of forces of DFT have their headings; those of a machine-learned force field are counted."""
    text, (begin, end, _, _) = reader.window, reader.segment
    found = []
    place = text.find(blocks.FORCES, begin, end)
    while place >= 0:
        if text.startswith(blocks.LEARNED, place + len(blocks.FORCES)):
            reader.account.count(reader.account.learned, reader.line(place) if not reader.account.learned else 0)
        else:
            found.append(place)
        place = text.find(blocks.FORCES, place + 1, end)
    return found


def _check_without_energies(reader: _Reader) -> None:
    """A step without final energies: linear response (V4), a kind of run that has none (V6), or one that was cut (V13).

    Raises:
        ParseError: it was cut.
    """
    if reader.run.is_response and reader.account.n_steps:
        born = reader.window.find(blocks.BORN, *reader.segment[:2])
        if born >= 0:
            reader.account.warnings.append(f"line {reader.line(born + 1)}: Born charges of a step that is not known.")
        return
    if reader.window.find(b"\n General timing and accounting", *reader.segment[:2]) >= 0 and not reader.account.n_steps:
        reason = "expected energies and forces, found none. Runs such as GW, BSE and optics have no labels (V6)."
        reader.account.lose(reader.line(reader.segment.begin), reason, 0)
        return
    raise ParseError("expected the final energies of the step, found none. The run was cut.")


def _labels(reader: _Reader, heading: int, energies: int, ended: int, ionic: int, cell: F64) -> Step:
    """The labels of a step whose tables stand at `heading` (-1: none) and `energies`, and which ends at `ended`."""
    text, (begin, end, _, _), run = reader.window, reader.segment, reader.run
    labels_end = max(heading, energies)
    last = max(begin, text.rfind(blocks.ITERATION, begin, labels_end))
    n_atoms = len(run.atomic_numbers)
    energy = reader.at(energies + 1, lambda: blocks.free_energy(text, energies))
    sigma0, no_entropy = reader.optional(energies, (NAN, NAN), blocks.other_energies)
    return Step(
        rows=-1 if heading < 0 else reader.at(heading, lambda: blocks.first_row(text, heading, end)),
        end=end,
        ionic=ionic,
        line=reader.line(heading if heading >= 0 else energies + 1),
        energy=energy,
        energy_sigma0=sigma0,
        energy_no_entropy=no_entropy,
        cell=_cell(reader, last, labels_end, ionic, cell),
        stress=reader.optional(text.find(blocks.STRESS, last, labels_end), [], blocks.stress),
        scf_converged=reader.optional(
            last, UNKNOWN, lambda text, last: blocks.scf_converged(text, last, labels_end, run)
        ),
        fermi_energy=reader.optional(text.find(blocks.FERMI, last, labels_end), NAN, blocks.fermi_energy),
        temperature=reader.optional(
            _place(text, blocks.LATTICE_KINETIC, energies, ended, run.header.run_kind == "md"), NAN, blocks.temperature
        ),
        born_charges=reader.optional(
            _place(text, blocks.BORN, energies, end, run.is_response),
            None,
            lambda text, place: blocks.born_charges(text, place, end, n_atoms),
        ),
        **_spin(reader, last, labels_end, end if run.header.run_kind == "single_point" else ended),
    )


def _place(text: bytes, mark: bytes, begin: int, end: int, asked: bool) -> int:
    """Where a block begins, -1 where there is none or the run is of a kind that has none."""
    return text.find(mark, begin, end) if asked else -1


def _cell(reader: _Reader, last: int, labels_end: int, ionic: int, first: F64) -> F64:
    """The cell that a step prints after its `last` iteration, else the first one where it does not move.

    Raises:
        ParseError: a cell that cannot be read, or none where it moves.
    """
    text = reader.window
    basis = text.find(blocks.BASIS, last, labels_end)
    if basis >= 0:
        return reader.at(basis + 1, lambda: blocks.cell(text, basis, basis + 1000))
    if ionic > 0 and reader.run.header.basis_fixed_at is not None:
        raise ParseError("expected the cell of the step, found none, and it moves. The frame was left out.")
    return first


class _Spin(TypedDict):
    total_magnetization: float
    moments: F64 | None


def _spin(reader: _Reader, last: int, labels_end: int, end: int) -> _Spin:
    """Moments of a step: the total of its `last` iteration, and those of the atoms, which follow where LORBIT asks."""
    text, run = reader.window, reader.run
    if run.header.method.spin == "restricted":
        return {"total_magnetization": NAN, "moments": None}
    n_atoms = len(run.atomic_numbers)
    electrons = text.find(blocks.ELECTRONS, last, labels_end)
    first_table = text.find(blocks.MOMENTS, last, end)
    return {
        "total_magnetization": reader.optional(electrons, NAN, blocks.total_magnetization),
        "moments": reader.optional(first_table, None, lambda text, place: blocks.moments(text, place, end, n_atoms)),
    }
