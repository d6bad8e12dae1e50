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
from mlpdata.readers.espresso import cp_xml as espresso_cp_xml
from mlpdata.readers.espresso.method import from_xml
from mlpdata.readers.espresso.names import atomic_number, run_of
from mlpdata.readers.registry import Ending, Header, Printed, Reader
from mlpdata.readers.text import number, numbers, whole
from mlpdata.readers.xml import Element, parse, text
from mlpdata.schema.calculation import LeftOut, RunKind, Status
from mlpdata.units import F64, Quantity

_KINDS: dict[str, RunKind] = {
    "scf": "single_point",
    "relax": "relax",
    "vc-relax": "vc-relax",
    "md": "md",
    "vc-md": "md",
    "nscf": "bands",
    "bands": "bands",
}
_UNITS = {
    "energy": "hartree",
    "energy_no_entropy": "hartree",
    "forces": "hartree/bohr",
    "stress": "hartree/bohr^3",
    "positions": "bohr",
    "cell": "bohr",
    "charge": "e",
    "total_magnetization": "muB",
    "fermi_energy": "hartree",
    "band_gap": "hartree",
}


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
    begin = head[:4096]
    return b"<qes:espresso" in begin or (b"<?iotk" in begin and b"<Root>" in begin)


def read(source: Input) -> Iterator[Header | Printed | Ending]:
    """The one run of a file of pw.x or cp.x.

    Raises:
        NotRecognised: the former schema, which holds no energies, or another program of the suite.
        ParseError: the file ends before its `<input>` does, or its header cannot be read.
    """
    creator = re.search(rb'<creator NAME="CP" VERSION="([^"]{0,80})"', source.head)
    yield from (
        _Document(source).read() if creator is None else espresso_cp_xml.read(source, creator[1].decode("latin-1"))
    )


READER = Reader("espresso/xml", 2, ("data-file-schema*.xml",), is_espresso_xml, read, run_of)


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
            raise NotRecognised(f"expected the XML file of pw.x, found that of {found}. pw.x and cp.x are read.")
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
    def body(self) -> int:
        """Where what was computed begins."""
        return self.text.find(b"</input>")

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
        flags = numbers(self.asked("free_positions").encode())
        if len(flags) % 3:
            raise ParseError(f"expected three flags an atom in <free_positions>, found {len(flags)} in all.")
        return flags.reshape(-1, 3) if len(flags) else None

    @cached_property
    def zeroed(self) -> bool:
        """Whether forces on fixed coordinates are zero: relaxations and dynamics zero them before they write (Q7)."""
        first = self.element(b"forces", self.body)
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
        dft, points = (self.element(name, *self.output) if self.output else None for name in (b"dft", b"nks"))
        method = from_xml(self.input, dft, points, self.version)
        smeared = method.smearing is not None and method.smearing.width is not None
        fields = (self.asked(f"electric_field/electric_field_{name}") for name in ("amplitude", "vector"))
        external = bool(numbers(" ".join(fields).encode()).any())
        forces = self.element(b"forces", self.body) is not None
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
        """The steps, the last joined with what `<output>` knows of it, and `<output>` where it is a frame of its own."""
        pending: _Frame | None = None
        for count, (start, end) in enumerate(self.steps()):
            if pending is not None:
                yield pending
            pending = self.readable(start, end, count)
        last = self.readable(*self.output, self.n_steps) if self.output else None
        if pending is not None and last is not None and pending.numbers["energy"] == last.numbers["energy"]:
            _join(pending, last)
            last = None
        if last is not None and (reason := self.unusable()):
            self.left_out.append(LeftOut(line=last.line, reason=reason))
            last = None
        if last is not None and self.n_steps:
            self.warnings.append(f"line {last.line}: the final SCF in the basis of the relaxed cell (pitfall Q5).")
        yield from (frame for frame in (pending, last) if frame is not None)

    def steps(self) -> Iterator[tuple[int, int]]:
        """Begin and end of each whole `<step>`."""
        self.n_steps = 0
        for match in re.finditer(rb"<step[ >]", self.text):
            end = self.text.find(b"</step>", match.end())
            self.n_steps += 1
            if end < 0:
                line = self.source.line(match.start())
                self.left_out.append(LeftOut(line=line, reason="expected </step>, found the end of the file."))
                return
            yield match.start(), end

    def unusable(self) -> str:
        """Why `<output>`, whose energy no step has, is no frame; "" where it is one."""
        if self.output and self.scf(*self.output)[0] == "false":
            return "expected a converged SCF, found one that stopped before."
        if not self.n_steps and self.calculation not in ("md", "vc-md"):
            return ""
        optimised = self.element(b"opt_conv", *(self.output or (0, 0)))
        done = optimised is not None and text(optimised.find("convergence_achieved")) == "true"
        if self.calculation == "vc-relax" and done:
            return ""
        return "expected the energy of the last <step> in <output>, found another, whose positions it does not hold."

    def readable(self, start: int, end: int, count: int) -> _Frame | None:
        """The frame of a `<step>` or of `<output>`, None where it has no labels or cannot be read."""
        try:
            return self.frame(start, end, count)
        except ParseError as error:
            line = error.line or self.source.line(start)
            self.left_out.append(LeftOut(line=line, reason=error.message))
            return None

    def frame(self, start: int, end: int, count: int) -> _Frame | None:
        """The frame between two places; None where no energy was computed.

        Raises:
            ParseError: an element that is missing or damaged.
        """
        energies = self.element(b"total_energy", start, end)
        etot = _numbers(energies, "etot", 1) if energies is not None else np.zeros(1)
        if etot[0] == 0:
            return None
        found = _Frame(self.source.line(start), self.converged(start, end), step=count)
        found.numbers["energy"] = etot[0]
        if energies is not None and energies.find("demet") is not None:  # etot is F = E - TS, demet is -TS (Q2)
            found.numbers["energy_no_entropy"] = etot[0] - _numbers(energies, "demet", 1)[0]
        self.add_structure(found, start, end)
        n_atoms = len(found.atomic_numbers)
        forces = self.element(b"forces", start, end)
        if forces is not None:
            values = numbers(text(forces).encode(), 3 * n_atoms).reshape(-1, 3)
            if values.any() or self.calculation != "scf" or self.asked("control_variables/forces") == "true":
                found.numbers["forces"] = values
        stress = self.element(b"stress", start, end)
        pressure = numbers(text(stress).encode(), 9).reshape(3, 3) if stress is not None else np.zeros((3, 3))
        if pressure.any():  # what was not computed is written as zeros (pitfall Q6)
            found.numbers["stress"] = -pressure
        magnetization = self.element(b"magnetization", start, end)
        if magnetization is not None and text(magnetization.find("lsda")) == "true":
            found.numbers["total_magnetization"] = _numbers(magnetization, "total", 1)[0]
        self.add_levels(found, start, end)
        return found

    def add_levels(self, found: _Frame, start: int, end: int) -> None:
        """Fermi energy of a smeared run, band gap of another that knows an empty level; `<output>` only has them."""
        fermi, highest, lowest = (
            self.element(name, start, end)
            for name in (b"fermi_energy", b"highestOccupiedLevel", b"lowestUnoccupiedLevel")
        )
        if fermi is not None:
            found.numbers["fermi_energy"] = numbers(text(fermi).encode(), 1)[0]
        if highest is not None and lowest is not None:
            filled, empty = numbers(f"{text(highest)} {text(lowest)}".encode(), 2)
            found.numbers["band_gap"] = np.maximum(empty - filled, 0)

    def add_structure(self, found: _Frame, start: int, end: int) -> None:
        """Cell, positions and elements."""
        structure = self.element(b"atomic_structure", start, end)
        atoms = structure.findall("atomic_positions/atom") if structure is not None else []
        if structure is None or len(atoms) != whole(structure.get("nat", "")) or not atoms:
            raise ParseError("expected <atomic_structure> with its atoms, found less.", line=self.source.line(start))
        if len(atoms) > self.source.limits.atoms:
            raise ParseError(f"expected at most {self.source.limits.atoms} atoms, found {len(atoms)}.")
        vectors = " ".join(text(structure.find(f"cell/a{i}")) for i in (1, 2, 3))
        found.numbers["cell"] = numbers(vectors.encode(), 9).reshape(3, 3)
        places = " ".join(text(atom) for atom in atoms)
        found.numbers["positions"] = numbers(places.encode(), 3 * len(atoms)).reshape(-1, 3)
        found.atomic_numbers = [atomic_number(atom.get("name", "")) for atom in atoms]

    def scf(self, start: int, end: int) -> tuple[str, str]:
        """What `<scf_conv>` says of convergence, and its error; not `<opt_conv>`, whose child has the same name (Q5)."""
        found = self.element(b"scf_conv", start, end)
        return ("", "") if found is None else (text(found.find("convergence_achieved")), text(found.find("scf_error")))

    def converged(self, start: int, end: int) -> int:
        """1, 0, or -1 where nothing is said.

        With scf_must_converge = .false. pw.x says true wherever it stops, so the error beside it counts; that of a step
        is in Ry up to 6.7, hence the factor of two.
        """
        said, error = self.scf(start, end)
        threshold = self.asked("electron_control/conv_thr")
        hybrid = self.input.find("dft/hybrid") is not None
        reached = hybrid or not (threshold and error) or number(error.encode()) <= 2.1 * number(threshold.encode())
        return {"true": 1 if reached else 0, "false": 0}.get(said, -1)

    def printed(self, frames: list[_Frame]) -> Printed:
        """A block of frames; what some lack is a row of NaN."""
        n_atoms = np.array([len(frame.atomic_numbers) for frame in frames])
        arrays: dict[str, Quantity | ArrayLike] = {
            "atomic_numbers": np.concatenate([frame.atomic_numbers for frame in frames]),
            "pbc": np.ones((len(frames), 3)),
            "scf_converged": [frame.converged for frame in frames],
            "step": [frame.step for frame in frames],
            "source_line": [frame.line for frame in frames],
        }
        charge = self.asked("bands/tot_charge")
        for frame in frames:
            if charge:
                frame.numbers["charge"] = np.array(number(charge.encode()))
        for name in sorted({name for frame in frames for name in frame.numbers}):
            rows = [frame.numbers.get(name, _blank(name, len(frame.atomic_numbers))) for frame in frames]
            values = np.concatenate(rows) if name in ("positions", "forces") else np.array(rows)
            arrays[name] = Quantity(values, _UNITS[name])
        if self.free is not None and not self.free.all() and (n_atoms == len(self.free)).all():
            arrays["fixed"] = np.tile(self.free == 0, (len(frames), 1))
        if self.zeroed and self.free is not None and "forces" in arrays:
            arrays["force_mask"] = np.tile(self.free.all(axis=1), len(frames))
        return Printed(n_atoms, arrays)

    def status(self) -> tuple[Status, str]:
        """How the run ended, by its own words."""
        tail = self.text[max(0, len(self.text) - 4096) :]
        if b"</qes:espresso>" not in tail or self.source.cut:
            line = self.source.line(len(self.text))
            return "truncated", f"expected </qes:espresso>, found the end of the file at line {line}."
        code = re.search(rb"<(?:exit_)?status>\s*(-?\d+)\s*<", tail)
        if self.output and self.scf(*self.output)[0] == "false":
            return "failed", "the SCF did not converge."
        if code and int(code[1]) == 3:
            self.warnings.append("the ions did not converge (exit status 3).")
        elif code and int(code[1]) != 0:
            return "failed", f"exit status {int(code[1])}."
        return "complete", ""


def _join(step: _Frame, output: _Frame) -> None:
    """Give the last step what only `<output>` holds: labels of the same SCF, never its structure."""
    if not np.array_equal(step.numbers.get("forces", np.nan), output.numbers.get("forces", np.nan), equal_nan=True):
        return  # variable-cell dynamics changes forces and stress before it writes them
    for name in ("stress", "total_magnetization", "fermi_energy", "band_gap"):
        if name in output.numbers:
            step.numbers.setdefault(name, output.numbers[name])


def _blank(name: str, n_atoms: int) -> F64:
    """What stands where a frame lacks a label."""
    shape = {"forces": (n_atoms, 3), "stress": (3, 3)}.get(name, ())
    return np.full(shape, np.nan)


def _numbers(parent: Element, name: str, count: int) -> F64:
    """The numbers of a child element."""
    return numbers(text(parent.find(name)).encode(), count)
