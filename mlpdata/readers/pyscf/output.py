"""PySCF's output at verbose 4 or more: mean fields, MP2 and coupled cluster, gradients, optimisations, dynamics.

Every build of a molecule prints its geometry, every calculation a banner, every gradient a table [hartree/bohr] whose
negative are the forces. The name of the table says whose gradient it is, and the energy of that very method is its label: a
mean field's never goes with a correlated gradient. PySCF has no end mark: a file is complete where everything that
begins in it also ends.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mlpdata.digest import sha256_json
from mlpdata.errors import ParseError
from mlpdata.frames import by_block
from mlpdata.readers.archive import Buffer, Input, located
from mlpdata.readers.pyscf import blocks
from mlpdata.readers.pyscf.blocks import Cycle, Geometry, Mark
from mlpdata.readers.pyscf.method import method
from mlpdata.readers.registry import Ending, Header, Printed, Reader
from mlpdata.schema.calculation import LeftOut, RunKind
from mlpdata.schema.method import Method
from mlpdata.schema.properties import NO, YES
from mlpdata.units import F64, Quantity

_REST = rb"[^\n]{0,200}(?=\n)"  # without its end a number may be cut
_EVENTS = {
    "version": rb"PySCF version " + _REST,
    "date": rb"Date: " + _REST,
    "build": rb"\[INPUT\] verbose = ",
    "atoms": rb"\[INPUT\] num\. atoms = " + _REST,
    "electrons": rb"\[INPUT\] (?:charge|spin \([^\n]{0,60}\)) = *-?\d{1,6}(?=\s)",
    "rows": rb"\[INPUT\] {0,3}1 [A-Za-z]",
    "new": rb"New geometry *\n",
    "lattice": rb"lattice vectors  a1 ",
    "dimension": rb"dimension = [0-3](?=\s)",
    "basis": rb"basis = [^\n]{0,2000}(?=\n)",
    "ecp": rb"ecp = " + _REST,
    "field": rb"\*{8} <class '[\w.]{1,200}'> \*{8} *\nmethod = \w{1,100}",
    "banner": rb"\*{8} (?:LR )?<class 'pyscf\.[\w.]{1,200}'>" + _REST,
    "energy": rb"(?:converged )?SCF energy = " + _REST,
    "smeared": rb" *Total E\(T\) = " + _REST,
    "correlated": rb"E\([A-Za-z][^\n=]{0,40}\) = " + _REST,
    "triples": rb"[A-Z]{0,3}CCSD\(T\) correction = " + _REST,
    "casscf": rb"CASSCF energy = " + _REST,
    "casci": rb"CASCI E = " + _REST,
    "states": rb"CASCI state[ -]",
    "failed": rb"\w{1,20} not converged(?=[ \r]*\n)",
    "gradient": rb"-{5,20} [^\n]{1,80} gradients(?: for state \d{1,4})? -{5,20}",
    "rule": rb"-{40,60}(?=[ \r]*\n)",
    "dipole": rb"Dipole moment\(X, Y, Z, Debye\): " + _REST,
    "optimisation": rb"Geometry optimization cycle \d{1,9}",
    "dynamics": rb"BOMD Time ",
}
_EVENT = re.compile(
    b"^(?:" + b"|".join(b"(?P<%s>%s)" % (name.encode(), text) for name, text in _EVENTS.items()) + b")", re.M
)
_ECHO, _ECHO_END = b"#INFO: **** input file is", b"#INFO: ******************** input file end"
_WORKS = blocks.CORRELATED | {"grad"}
"""Modules of PySCF whose banner promises a result."""
SAME_ENERGY = 1e-5
"""How far two energies of one geometry may be apart [hartree]."""


@dataclass
class Build:
    """What one build of a molecule printed, and the cycles until the next."""

    version: str | None = None
    date: str | None = None
    marks: dict[str, Mark] = field(default_factory=dict)
    """First event of each kind that concerns the molecule."""
    charge: float = float("nan")
    """[e]; NaN where it cannot be read."""
    multiplicity: int = 0
    """2S + 1; 0 where it cannot be read."""
    cycles: list[Cycle] = field(default_factory=list)
    run_kind: RunKind = "single_point"
    geometry: int = -1
    """Offset of the last geometry printed."""
    unfinished: str = "the file ends before a calculation has begun"
    """What has begun and not ended."""


class Frame(NamedTuple):
    """One configuration as printed."""

    method: Method
    geometry: Geometry
    energies: tuple[float, float, float]
    """Free, sigma->0, no entropy [hartree]; NaN where absent."""
    gradient: F64 | None
    """[hartree/bohr]"""
    scf_converged: int
    dipole: F64
    """[debye]; NaN where absent."""
    line: int
    """Of the energy of the mean field."""
    step: int = -1
    """Which calculation on this build it is, from 0; those that are lost count."""


def read(source: Input) -> Iterator[Header | Printed | Ending]:
    """The builds of a file; in each the calculations of one method are a run.

    Raises:
        ParseError: no molecule in it.
    """
    builds = list(_builds(source.data))
    if not builds:
        raise ParseError("expected the [INPUT] of a molecule, found none. PySCF prints it at verbose = 4 or more.")
    seen = 0
    for build in [one for one in builds if one.cycles] or builds[-1:]:
        last = build is builds[-1]
        for run in _runs(source, build):
            seen += 1
            yield from run.items(build, seen, last)


class _Run(NamedTuple):
    """Frames of one method."""

    level: Method
    frames: list[Frame]
    left_out: list[LeftOut]
    warnings: list[str]
    lattice: tuple[F64, NDArray[np.int8]] | None

    def items(self, build: Build, number_in_file: int, is_last: bool) -> Iterator[Header | Printed | Ending]:
        """The run as the registry wants it."""
        start = self.frames[0].geometry.positions.tolist() if self.frames else []
        external = self.level.external
        yield Header(
            method=self.level,
            identity=sha256_json({"version": build.version, "date": build.date, "run": number_in_file, "start": start}),
            run_kind=build.run_kind,
            energy_kind="free" if self.level.smearing else "total",
            forces_are="with_external" if external else "physical",
        )
        for block in by_block((len(frame.geometry.labels), frame) for frame in self.frames):
            yield _printed(block, build, self.lattice)
        reason = build.unfinished if is_last else ""
        yield Ending("truncated" if reason else "complete", reason, tuple(self.left_out), tuple(self.warnings))


def _builds(data: Buffer) -> Iterator[Build]:
    """The builds of a file, their events filed."""
    build: Build | None = None
    version = date = None
    for name, mark in _events(data):
        if name == "version":
            version = mark.text.decode("latin-1").removeprefix("PySCF version ").strip() or None
        elif name == "date":
            date = mark.text.decode("latin-1")[6:].strip()
        elif name == "build":
            if build is not None:
                yield build
            build = Build(version, date)
        elif build is not None:
            _file(build, name, mark)
    if build is not None:
        yield build


def _events(data: Buffer) -> Iterator[tuple[str, Mark]]:
    """The events of a file without those in the script that PySCF echoes: it may quote any line of an output."""
    begin = 0
    while begin < len(data):
        echo = data.find(_ECHO, begin)
        for match in _EVENT.finditer(data, begin, len(data) if echo < 0 else echo):
            yield str(match.lastgroup), Mark(match.start(), match[0])
        after = len(data) if echo < 0 else data.find(_ECHO_END, echo)
        begin = after if after >= 0 else len(data)
        begin += len(_ECHO_END) if 0 <= after < len(data) else 0


def _file(build: Build, name: str, mark: Mark) -> None:
    """Put an event where it belongs."""
    if name in ("rows", "new"):
        build.geometry = mark.start
        if name == "new" and build.run_kind == "single_point":
            build.run_kind = "unknown"
    elif name in ("optimisation", "dynamics"):
        build.run_kind = "relax" if name == "optimisation" else "md"
        build.unfinished = f"the file ends before {mark.text.decode('latin-1').strip()} has ended"
    elif name == "electrons":
        value = int(mark.text.rpartition(b"=")[2])
        if b"charge" in mark.text:
            build.charge = value
        else:
            build.multiplicity = value + 1  # PySCF's spin is the number of unpaired electrons
    elif name == "field" or (name == "energy" and (not build.cycles or "energy" in build.cycles[-1].marks)):
        build.cycles.append(Cycle(mark.start, build.geometry))
    if name in ("atoms", "lattice", "dimension", "basis", "ecp"):
        build.marks.setdefault(name, mark)
    elif build.cycles:
        build.cycles[-1].marks.setdefault(name, []).append(mark)
    _note_work(build, name, mark)


def _note_work(build: Build, name: str, mark: Mark) -> None:
    """Keep in mind what has begun and promises a result, until the result comes."""
    kind = re.search(rb"'pyscf\.([\w.]+)'", mark.text)
    if name == "field" or (name == "banner" and kind and not _WORKS.isdisjoint(kind[1].decode("latin-1").split("."))):
        build.unfinished = f"the file ends before {kind[1].decode('latin-1') if kind else 'the SCF'} has ended"
    elif name == "gradient":
        build.unfinished = "the file ends within a table of gradients"
    elif name == "rule" and build.unfinished.endswith("gradients"):
        build.unfinished = ""
    elif name in ("energy", "correlated", "casscf", "casci") and build.run_kind not in ("relax", "md"):
        build.unfinished = ""  # an optimisation and a dynamics go on to the gradient


def _runs(source: Input, build: Build) -> list[_Run]:
    """The cycles of a build as frames, those of one method together."""
    frames: list[Frame] = []
    left_out: list[LeftOut] = []
    warnings = [f"the {name} was not read" for name, known in _electrons(build).items() if not known]
    lattice = blocks.lattice(source.data, build.marks)
    for step, cycle in enumerate(build.cycles):
        try:
            frames.append(_frame(source, build, cycle, warnings)._replace(step=step))
        except ParseError as error:
            left_out.append(LeftOut(line=error.line or source.line(cycle.start), reason=error.message))
    frames = _without_contradictions(frames, left_out)
    if not frames:
        flags = blocks.flags(source.data, build.cycles[0]) if build.cycles else ""
        return [_Run(_method(build, flags, None), [], left_out, warnings, lattice)]
    runs = []
    for level_of_theory, alike in itertools.groupby(frames, lambda frame: frame.method):
        runs.append(_Run(level_of_theory, list(alike), left_out, warnings, lattice))
        left_out, warnings = [], []
    return runs


def _electrons(build: Build) -> dict[str, bool]:
    """Whether charge and multiplicity could be read."""
    return {"charge": not np.isnan(build.charge), "multiplicity": build.multiplicity > 0}


def _without_contradictions(frames: Sequence[Frame], left_out: list[LeftOut]) -> list[Frame]:
    """The frames without those of one geometry and method whose energies differ.

    A script may hold several molecules; the last geometry printed is then not that of each calculation.
    """
    same: dict[tuple[int, Method], list[float]] = {}
    for frame in frames:
        same.setdefault((frame.geometry.start, frame.method), []).append(frame.energies[0])
    kept = []
    for frame in frames:
        energies = same[frame.geometry.start, frame.method]
        if max(energies) - min(energies) > SAME_ENERGY:
            found = f"found {min(energies)} and {max(energies)} hartree"
            left_out.append(LeftOut(line=frame.line, reason=f"expected one energy of a geometry, {found}."))
        else:
            kept.append(frame)
    return kept


def _frame(source: Input, build: Build, cycle: Cycle, warnings: list[str]) -> Frame:
    """The frame of a cycle.

    Raises:
        ParseError: it has no geometry or no label, or one that cannot be read.
    """
    final = cycle.last("energy")
    if final is None:
        raise ParseError("expected the energy of the SCF, found none. The file is cut.")
    table = cycle.last("gradient")
    with located(source, final.start):
        energies = blocks.energies(cycle)
        name, gradient = blocks.labelled(cycle, energies, warnings)
    moves = [mark.start for mark in (*cycle.marks.get("new", ()), *cycle.marks.get("rows", ()))]
    if cycle.rows < 0 or any(start < (table or final).start for start in moves):
        raise ParseError("expected one geometry before its energy, found none or another one in between.")
    with located(source, cycle.rows):
        geometry = blocks.geometry(source.data, cycle.rows, build.marks.get("atoms"))
    forces = None
    if gradient is not None:
        with located(source, gradient.start):
            forces = blocks.gradient(source.data, gradient, geometry)
    flags = blocks.flags(source.data, cycle)
    level_of_theory = _method(build, flags, name)
    if not geometry.atomic_numbers.all():
        external = (*level_of_theory.external, "ghost functions")
        level_of_theory = level_of_theory.replace(external=external)
    return Frame(
        method=level_of_theory,
        geometry=geometry,
        energies=blocks.free(cycle, energies, name, level_of_theory, warnings),
        gradient=forces,
        scf_converged=NO if blocks.has_failed(cycle, name) else YES,
        dipole=_dipole(source, build, cycle, name, warnings),
        line=source.line(final.start),
    )


def _dipole(source: Input, build: Build, cycle: Cycle, name: str | None, warnings: list[str]) -> F64:
    """Dipole of a neutral molecule at the level of its mean field; that of an ion, about the origin, is no property."""
    mark = cycle.last("dipole")
    if mark is not None and build.charge == 0 and name is None:
        try:
            return blocks.dipole(mark)
        except ParseError as error:
            warnings.append(f"line {source.line(mark.start)}: the dipole was not read: {error.message}")
    return np.full(3, np.nan)


def _method(build: Build, flags: str, correlation: str | None) -> Method:
    basis, ecp = (
        build.marks[name].text.decode("latin-1").partition("=")[2].strip() if name in build.marks else None
        for name in ("basis", "ecp")
    )
    return method(flags, basis, ecp, build.version, correlation)


def _printed(block: Sequence[Frame], build: Build, lattice: tuple[F64, NDArray[np.int8]] | None) -> Printed:
    """A block of frames; ghosts are no atoms."""
    real = [frame.geometry.atomic_numbers > 0 for frame in block]
    free, zero, total = np.array([frame.energies for frame in block]).T
    arrays: dict[str, Quantity | ArrayLike] = {
        "atomic_numbers": np.concatenate(
            [frame.geometry.atomic_numbers[mask] for frame, mask in zip(block, real, strict=True)]
        ),
        "positions": Quantity(
            np.concatenate([frame.geometry.positions[mask] for frame, mask in zip(block, real, strict=True)]),
            "bohr",
            12,
        ),
        "pbc": np.tile(np.zeros(3, np.int8) if lattice is None else lattice[1], (len(block), 1)),
        "energy": Quantity(free, "hartree"),
        "charge": Quantity(np.full(len(block), build.charge), "e"),
        "multiplicity": np.full(len(block), build.multiplicity),
        "scf_converged": [frame.scf_converged for frame in block],
        "step": [frame.step for frame in block],
        "source_line": [frame.line for frame in block],
    }
    if lattice is not None:
        arrays["cell"] = Quantity(np.tile(lattice[0], (len(block), 1, 1)), "bohr")
    for name, values in (("energy_sigma0", zero), ("energy_no_entropy", total)):
        if not np.isnan(values).all():
            arrays[name] = Quantity(values, "hartree")
    dipoles = np.array([frame.dipole for frame in block])
    if not np.isnan(dipoles).all():
        arrays["dipole"] = Quantity(dipoles, "debye")
    if any(frame.gradient is not None for frame in block):
        blank = [np.full((len(frame.geometry.labels), 3), np.nan) for frame in block]
        rows = [
            -frame.gradient if frame.gradient is not None else none for frame, none in zip(block, blank, strict=True)
        ]
        forces = np.concatenate([row[mask] for row, mask in zip(rows, real, strict=True)])
        arrays["forces"] = Quantity(forces, "hartree/bohr", blocks.GRADIENT_DECIMALS)
    return Printed([int(mask.sum()) for mask in real], arrays)


def _is_pyscf(head: bytes) -> bool:
    """Whether `head` is of PySCF: its version, or the script that it echoes first."""
    return re.search(rb"^PySCF version ", head, re.M) is not None or head.startswith(_ECHO)


def _run_of(_name: str, head: bytes) -> str | None:
    """The checkpoint that the output names: it is of the same run."""
    match = re.search(rb"^chkfile to save SCF result = (?:[^\n]{0,1000}/)?([^/\n]{1,255})$", head, re.M)
    return match[1].decode("utf-8", "replace") if match else None


READER = Reader("pyscf/out", 1, (), _is_pyscf, read, run_of=_run_of)
