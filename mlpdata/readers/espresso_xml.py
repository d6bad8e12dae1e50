"""data-file-schema.xml of pw.x (the qes schema, version 6.2 and newer): `<step>` elements, then one `<output>`.

The file is cut into its elements, each parsed by itself, so that memory does not grow with it and a damaged or missing
end costs what is damaged only. Numbers are in Hartree atomic units; the stress is positive in compression, as on
standard output (pitfall Q1).

What `<output>` holds depends on the run. After molecular dynamics, and after a relaxation that ran out of steps, its
structure is the next one, its labels are those of the last step. After variable-cell dynamics its forces and stress
are changed by the integrator. Only after the final SCF of a variable-cell relaxation is it a frame of its own.

References:
    https://www.quantum-espresso.org/ns/qes/ and PW/src/pw_restart_new.f90, add_qexsd_step.f90.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from mlpdata.errors import NotRecognised, ParseError
from mlpdata.frames import by_block
from mlpdata.readers.archive import Input
from mlpdata.readers.espresso_method import atomic_number, dispersion_of, functional, smearing
from mlpdata.readers.registry import Ending, Header, Printed, Reader
from mlpdata.readers.text import number, numbers
from mlpdata.readers.xml import Element, parse, text
from mlpdata.schema.calculation import LeftOut, RunKind, Status
from mlpdata.schema.method import Convergence, Hubbard, Kpoints, Method, Pseudopotential, Smearing
from mlpdata.units import F64, Quantity, scalar

_KINDS: dict[str, RunKind] = {
    "scf": "single_point",
    "relax": "relax",
    "vc-relax": "vc-relax",
    "md": "md",
    "vc-md": "md",
    "nscf": "bands",
    "bands": "bands",
}
_D3 = {"2": "D2", "3": "D3", "4": "D3(BJ)", "5": "D3M", "6": "D3M(BJ)"}
_DISPERSIONS = {"dft-d": "D2", "grimme-d2": "D2", "ts": "TS", "ts-vdw": "TS", "xdm": "XDM", "mbd": "MBD"}
_UNITS = {
    "energy": "hartree",
    "energy_no_entropy": "hartree",
    "forces": "hartree/bohr",
    "stress": "hartree/bohr^3",
    "positions": "bohr",
    "cell": "bohr",
    "charge": "e",
    "total_magnetization": "muB",
}
_ABSENT = {"forces": (3,), "stress": (3, 3), "energy_no_entropy": (), "total_magnetization": ()}


@dataclass
class _Frame:
    """One frame: its numbers by name of the property, in the units of `_UNITS`."""

    line: int
    converged: int
    numbers: dict[str, F64] = field(default_factory=dict)
    atomic_numbers: list[int] = field(default_factory=list)
    step: int = 0


def is_espresso_xml(head: bytes) -> bool:
    """Whether a file is XML of Quantum ESPRESSO, of the present or the former schema."""
    return b"<qes:espresso" in head or (b"<?iotk" in head and b"<Root>" in head)


def read(source: Input) -> Iterator[Header | Printed | Ending]:
    """The one run of a file.

    Raises:
        NotRecognised: the former schema, which holds no energies, or another program of the suite.
        ParseError: the file ends before its `<input>` does, or its header cannot be read.
    """
    yield from _Document(source).read()


READER = Reader("espresso/xml", 1, ("data-file-schema*.xml",), is_espresso_xml, read)


class _Document:
    """One file, cut into elements."""

    def __init__(self, source: Input) -> None:
        self.source, self.text = source, source.data
        self.left_out: list[LeftOut] = []
        self.warnings: list[str] = []
        head = source.head
        if b"<qes:espresso" not in head:
            raise NotRecognised(
                "expected data-file-schema.xml, found data-file.xml of pw.x before 6.2, which holds no energies. "
                "Give the standard output of the run."
            )
        creator = re.search(rb'<creator NAME="([^"]*)" VERSION="([^"]*)"', head)
        if creator is None or creator[1] != b"PWSCF":
            found = creator[1].decode("latin-1") if creator else "no <creator>"
            raise NotRecognised(f"expected the XML file of pw.x, found that of {found}. Only pw.x is read so far.")
        self.version = creator[2].decode("latin-1")

    def element(self, name: bytes, start: int = 0, end: int | None = None) -> Element | None:
        """The first whole element `name` between two places; None where there is none."""
        end = len(self.text) if end is None else end
        match = re.compile(rb"<%b[ >]" % re.escape(name)).search(self.text, start, end)
        stop = self.text.find(b"</%b>" % name, match.end(), end) if match else -1
        if match is None or stop < 0:
            return None
        line = self.source.line(match.start())
        return parse(self.text[match.start() : stop + len(name) + 3], line=line)

    @cached_property
    def input(self) -> Element:
        """What was asked for."""
        found = self.element(b"input")
        if found is None:
            raise ParseError(
                "expected the end of <input>, found the end of the file. The run was interrupted while it wrote.",
                line=self.source.line(len(self.text)),
            )
        return found

    @cached_property
    def output(self) -> tuple[int, int] | None:
        """Where the whole `<output>` stands, None where it is cut."""
        start = self.text.find(b"<output>")
        end = self.text.find(b"</output>", start)
        return (start, end) if 0 <= start < end else None

    def asked(self, path: str) -> str:
        """The text of an element below `<input>`."""
        return text(self.input.find(path))

    @property
    def calculation(self) -> str:
        """scf, relax, md, ...; "" where a file does not say."""
        return self.asked("control_variables/calculation")

    @cached_property
    def free(self) -> F64 | None:
        """1 where a coordinate may move, shape (n_atoms, 3); None where nothing is said."""
        flags = self.asked("free_positions")
        return numbers(flags.encode()).reshape(-1, 3) if flags else None

    @cached_property
    def zeroed(self) -> bool:
        """Whether forces on fixed coordinates are zero: relaxations and dynamics zero them before they write (Q7)."""
        first = self.element(b"forces")
        if self.free is None or self.free.all() or first is None:
            return False
        forces = numbers(text(first).encode(), self.free.size).reshape(-1, 3)
        return bool((forces[self.free == 0] == 0).all())

    def read(self) -> Iterator[Header | Printed | Ending]:
        """The header, the frames in blocks, the ending."""
        yield self.header()
        for block in by_block((len(frame.atomic_numbers), frame) for frame in self.frames()):
            yield self.printed(block)
        status, reason = self.status()
        yield Ending(status, reason, tuple(self.left_out), tuple(self.warnings))

    def header(self) -> Header:
        """What is known before the first frame."""
        created = re.search(rb'<created DATE="([^"]*)" TIME="([^"]*)"', self.source.head)
        when = " ".join(b" at ".join(created.groups()).decode("latin-1").split()) if created else "unknown"
        method = self.method()
        smeared = method.smearing is not None and method.smearing.width is not None
        amplitude = self.asked("electric_field/electric_field_amplitude")
        external = bool(amplitude) and number(amplitude.encode()) != 0
        forces = self.text.find(b"<forces ") >= 0
        return Header(
            method=method,
            identity=f"pw.x {self.version}, written {when}",
            run_kind=_KINDS.get(self.calculation, "unknown"),
            energy_kind="free" if smeared else "total",
            forces_are=("zeroed_on_fixed" if self.zeroed else "with_external" if external else "physical")
            if forces
            else "absent",
            basis_fixed_at="first cell" if self.calculation.startswith("vc-") else None,
        )

    def frames(self) -> Iterator[_Frame]:
        """Steps, the last of them joined with `<output>`, or `<output>` as a frame of its own."""
        pending: _Frame | None = None
        count = 0
        for start, end in self.steps():
            if pending is not None:
                yield pending
            pending = self.readable(start, end, count)
            count += 1
        last = self.readable(*self.output, count) if self.output else None
        if count == 0 and last is not None and self.calculation in ("md", "vc-md"):
            self.left_out.append(LeftOut(line=last.line, reason="expected <step>, found none: <output> holds the next positions."))
            last = None
        if pending is None or last is None or self.joined(pending, last):
            last = last if pending is None else None if self.is_same_scf(pending, last) else last
        yield from (frame for frame in (pending, last) if frame is not None)
