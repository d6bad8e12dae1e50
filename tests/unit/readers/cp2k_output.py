"""CP2K logs and companion files written by hand in the program's layout, piece by piece, and a way to read them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mlpdata.frames import Frames, concatenate
from mlpdata.readers.registry import Ending, Header, open_run
from mlpdata.units import HARTREE

Atoms = Sequence[tuple[str, float, float, float]]
Rows = Sequence[Sequence[float]]

WATER: Atoms = (("O", 3.0, 3.0, 3.05), ("H", 3.0, 3.76, 2.45), ("H", 3.0, 2.25, 2.5))
MOVED: Atoms = (("O", 3.001, 3.002, 3.053), ("H", 3.01, 3.77, 2.44), ("H", 3.02, 2.24, 2.49))
FARTHER: Atoms = (("O", 3.002, 3.004, 3.056), ("H", 3.02, 3.78, 2.43), ("H", 3.04, 2.23, 2.48))
FORCES: Rows = ((0.001, 0.05, 0.11), (0.0, 0.057, -0.038), (-0.001, -0.107, -0.072))
OTHER_FORCES: Rows = ((0.002, 0.04, 0.1), (0.001, 0.067, -0.03), (-0.003, -0.107, -0.07))
STRESS: Rows = ((1.5, 0.25, -0.125), (0.25, 2.5, 0.5), (-0.125, 0.5, -0.75))
ENERGIES = (-17.128456638203584, -17.133585136412345, -17.139660189654321)
Z = {"O": 8, "H": 1, "Co": 27, "Si": 14}
MASSES = {"O": 15.9994, "H": 1.0079, "Co": 58.9332, "Si": 28.0855}
VALENCE = {"O": 6.0, "H": 1.0, "Co": 17.0, "Si": 4.0}
END = """
 -------------------------------------------------------------------------------
  **** **** ******  **  PROGRAM ENDED AT                 2024-03-01 10:00:09.000
 ***** ** ***  *** **   PROGRAM RAN ON                                     node
"""
CONVERGED = "\n  *** SCF run converged in    12 steps ***\n"
UNCONVERGED = "\n  *** SCF run NOT converged ***\n"


def opening(
    run_type: str = "ENERGY_FORCE", project: str = "water", version: str = "2023.1", *, date: str = "2024-03-01"
) -> str:
    return f""" DBCSR| CPU Multiplication driver                                           XSMM


  **** **** ******  **  PROGRAM STARTED AT               {date} 10:00:00.000
 ***** ** ***  *** **   PROGRAM STARTED ON                                  node
 **    ****   ******    PROGRAM STARTED BY                                  user
 ***** **    ** ** **   PROGRAM PROCESS ID                                  4711
  **** **  *******  **  PROGRAM STARTED IN                                 /tmp/w

 CP2K| version string:                                       CP2K version {version}
 CP2K| Input file name                                                 water.inp

 GLOBAL| Project name {project:>66s}
 GLOBAL| Run type {run_type:>70s}

"""


def cell(
    vectors: Rows = ((6, 0, 0), (0, 6, 0), (0, 0, 6)), *, periodicity: str | None = "XYZ", decimals: int = 6
) -> str:
    rows = np.array(vectors, float)
    lengths = np.linalg.norm(rows, axis=1)
    unit = rows / lengths[:, None]
    angles = np.degrees(np.arccos([unit[1] @ unit[2], unit[0] @ unit[2], unit[0] @ unit[1]]))
    text = f"\n CELL| Volume [angstrom^3]: {abs(np.linalg.det(rows)):51.{decimals}f}\n"
    for name, row, length in zip("abc", rows, lengths, strict=True):
        components = "".join(f"{x:10.3f}" for x in row)
        text += f" CELL| Vector {name} [angstrom]: {components}   |{name}| = {length:12.{decimals}f}\n"
    for label, angle in zip(("(b,c), alpha", "(a,c), beta ", "(a,b), gamma"), angles, strict=True):
        text += f" CELL| Angle {label} [degree]: {angle:44.{decimals}f}\n"
    text += " CELL| Numerically orthorhombic:                                             YES\n"
    return text + (f" CELL| Periodicity {periodicity:>61s}\n" if periodicity else "")


def settings(*, charge: str = "0", multiplicity: str = "1", functional: str | None = None) -> str:
    return f"""
 DFT| Spin restricted Kohn-Sham (RKS) calculation                            RKS
 DFT| Multiplicity {multiplicity:>61s}
 DFT| Charge {charge:>67s}

{functional or PBE}
 QS| Method:                                                                 GPW
 QS| Density cutoff [a.u.]:                                                200.0
 QS| Relative density cutoff [a.u.]:                                        25.0

                        eps_scf:                                        1.00E-07
                        max_scf:                                              60

"""


PBE = """ FUNCTIONAL| PBE:
 FUNCTIONAL| J.P.Perdew, K.Burke, M.Ernzerhof, Phys. Rev. Letter, vol. 77, n 18,
 FUNCTIONAL|  pp. 3865-3868, (1996){spin unpolarized}
"""


def kinds(*rows: tuple[str, str, str]) -> str:
    """`(name, basis, potential)` of each kind."""
    text = "\n ATOMIC KIND INFORMATION\n"
    for number, (name, basis, potential) in enumerate(rows, 1):
        text += (
            f"\n {number:2d}. Atomic kind: {name:<30s}      Number of atoms: {1:7d}\n"
            f"\n     Orbital Basis Set {basis:>57s}\n\n     GTH Potential information for {potential:>45s}\n"
        )
    return text


WATER_KINDS = kinds(("O", "DZVP-GTH", "GTH-PBE-q6"), ("H", "DZVP-GTH", "GTH-PBE-q1"))


def coordinates(atoms: Atoms = WATER, *, unit: str = "ANGSTROM", module: str = "QUICKSTEP") -> str:
    numbers = {symbol: index for index, symbol in enumerate(dict.fromkeys(row[0] for row in atoms), 1)}
    text = f"\n MODULE {module}: ATOMIC COORDINATES IN {unit}\n\n"
    text += "   Atom Kind Element         X             Y             Z       Z(eff)     Mass\n"
    for index, (symbol, x, y, z) in enumerate(atoms, 1):
        text += (
            f"{index:7d} {numbers[symbol]:4d} {symbol:<2s} {Z[symbol]:4d} {x:13.6f} {y:13.6f} {z:13.6f}"
            f" {VALENCE[symbol]:8.4f} {MASSES[symbol]:8.4f}\n"
        )
    return text + "\n"


def energy(value: float = ENERGIES[0], *, unit: str = "[a.u.]:", environment: str = "QS") -> str:
    return f"\n ENERGY| Total FORCE_EVAL ( {environment} ) energy {unit} {value:34.15f}\n"


def forces(rows: Rows = FORCES, symbols: str = "OHH", unit: str = "a.u.") -> str:
    text = f"\n ATOMIC FORCES in [{unit}]\n\n # Atom   Kind   Element          X              Y              Z\n"
    for index, (symbol, row) in enumerate(zip(symbols, rows, strict=True), 1):
        text += f" {index:6d} {1:6d}      {symbol:<2s}     " + "".join(f" {x:14.8f}" for x in row) + "\n"
    return text + " SUM OF ATOMIC FORCES           0.00000000     0.00000000     0.00000000     0.00000000\n"


def new_forces(rows: Rows = FORCES, unit: str = "hartree/bohr") -> str:
    """As CP2K prints them since 2024."""
    text = f"\n FORCES| Atomic forces [{unit}]\n FORCES| Atom     x               y               z               |f|\n"
    for index, row in enumerate(rows, 1):
        text += f" FORCES|{index:7d}" + "".join(f" {x:15.8E}" for x in (*row, float(np.linalg.norm(row)))) + "\n"
    return text + " FORCES| Sum      0.00000000E+00  0.00000000E+00  0.00000000E+00\n"


def stress(rows: Rows = STRESS, unit: str = "GPa") -> str:
    text = f"\n STRESS| Analytical stress tensor [{unit}]\n STRESS|                        x                   y                   z\n"
    for axis, row in zip("xyz", rows, strict=True):
        text += f" STRESS|      {axis} " + "".join(f" {x:19.11E}" for x in row) + "\n"
    return text + " STRESS| 1/3 Trace                                             1.08333333333E+00\n"


def old_stress(rows: Rows = STRESS, unit: str = "GPa") -> str:
    """As CP2K printed it before version 8."""
    text = f"\n STRESS TENSOR [{unit}]\n\n            X               Y               Z\n"
    for axis, row in zip("XYZ", rows, strict=True):
        text += f"  {axis} " + "".join(f" {x:15.8f}" for x in row) + "\n"
    return text + "\n  1/3 Trace(stress tensor):   1.08333333E+00\n"


def md_start(kinetic: float = 0.002850134) -> str:
    return f"""
 MD_INI| MD initialization
 MD_INI| Kinetic energy [hartree] {kinetic:54.12E}
 MD_INI| Temperature [K]                                              300.000000
"""


def md_step(step: int, time: float, kinetic: float = 0.0077456, lengths: Sequence[float] | None = None) -> str:
    text = f"""
 MD| ***************************************************************************
 MD| Step number {step:63d}
 MD| Time [fs] {time:65.6f}
 MD| ---------------------------------------------------------------------------
 MD|                                          Instantaneous             Averages
 MD| Kinetic energy [hartree] {kinetic:31.12E} {kinetic:19.12E}
 MD| Temperature [K] {815.288310:40.6f} {557.6:20.6f}
 MD| ---------------------------------------------------------------------------
"""
    if lengths:
        text += " MD| Cell lengths [ang]          " + "".join(f"{x:16.8E}" for x in lengths) + "\n"
    return text + " MD| " + "*" * 75 + "\n"


def opt_step(step: int, value: float) -> str:
    return f"""
 --------  Informations at step = {step:5d} ------------
  Optimization Method        =                 BFGS
  Total Energy               = {value:20.10f}
 ---------------------------------------------------
"""


def ensemble(name: str = "NVE", temperature: float = 300.0, *, velocities: bool = False) -> str:
    text = f"""
 MD_PAR| Molecular dynamics protocol (MD input parameters)
 MD_PAR| Ensemble type {name:>61s}
 MD_PAR| Temperature [K] {temperature:59.6f}
"""
    return text + (
        " MD_PAR| Velocities           1                             water-vel-1.xyz\n" if velocities else ""
    )


def single_point(labels: str, *, start: str | None = None, end: str = END) -> str:
    """A whole single point of water; `labels` is all that it prints after its SCF."""
    start = start if start is not None else opening() + cell() + settings() + WATER_KINDS + coordinates()
    return start + CONVERGED + labels + end


def dynamics(*, between: str = "", name: str = "NVE", end: str = END, log_forces: bool = True) -> str:
    """Three steps; forces in the log unless they stand in a companion."""
    text = opening("MD") + cell() + settings() + WATER_KINDS + coordinates() + ensemble(name)
    tables = (FORCES, OTHER_FORCES, FORCES)
    for step, (value, table) in enumerate(zip(ENERGIES, tables, strict=True)):
        text += CONVERGED + energy(value) + (forces(table) if log_forces else "") + between
        text += md_start() if step == 0 else md_step(step, 0.5 * step)
    return text + end


def optimisation(*, run_type: str = "GEO_OPT", end: str = END) -> str:
    """Three steps and the last energy once more."""
    text = opening(run_type) + cell() + settings() + WATER_KINDS + coordinates()
    for step, value in enumerate(ENERGIES):
        text += CONVERGED + energy(value) + forces() + opt_step(step, value)
    return text + "\n                    Reevaluating energy at the minimum\n" + CONVERGED + energy(ENERGIES[2]) + end


def xyz(*frames: tuple[int, float, Sequence[Sequence[str | float]]], time: bool = True) -> str:
    """`(step, energy, rows)` of each frame; a row is a label and three numbers."""
    text = ""
    for step, value, rows in frames:
        clock = f" time = {0.5 * step:12.3f}," if time else ""
        text += f"{len(rows):8d}\n i = {step:8d},{clock} E = {value:20.10f}\n"
        for label, *numbers in rows:
            text += f"{label:>3s}" + "".join(f"{float(x):20.10f}" for x in numbers) + "\n"
    return text


def positions(time: bool = True) -> str:
    return xyz(*zip((0, 1, 2), ENERGIES, (WATER, MOVED, FARTHER), strict=True), time=time)


def labelled(rows: Rows, symbols: str = "OHH") -> list[tuple[str | float, ...]]:
    """Rows of an xyz file."""
    return [(symbol, *row) for symbol, row in zip(symbols, rows, strict=True)]


def cells(*rows: tuple[int, Sequence[float]]) -> str:
    """A `.cell` file of rectangular cells: `(step, lengths)`."""
    axes = "".join(f"       {vector}{axis} [Angstrom]" for vector in "ABC" for axis in "xyz")
    text = f"#   Step   Time [fs]{axes}      Volume [Angstrom^3]\n"
    for step, lengths in rows:
        numbers = "".join(f"{x:20.10f}" for x in np.diag(lengths).ravel())
        text += f"{step:8d}{0.5 * step:12.3f}{numbers}{float(np.prod(lengths)):25.10f}\n"
    return text


class Run(NamedTuple):
    header: Header
    frames: Frames | None
    ending: Ending


class Read(NamedTuple):
    runs: list[Run]

    @property
    def header(self) -> Header:
        return self.runs[0].header

    @property
    def ending(self) -> Ending:
        return self.runs[0].ending

    @property
    def frames(self) -> Frames:
        frames = self.runs[0].frames
        assert frames is not None
        return frames


def read(folder: Path, text: str, **companions: str) -> Read:
    """Read a log of the project `water`, with companions such as `pos` (`water-pos-1.xyz`) and `cell`."""
    (folder / "water.out").write_text(text)
    for kind, content in companions.items():
        name = "water-1.cell" if kind == "cell" else f"water-{kind.replace('_', '-')}-1.xyz"
        (folder / name).write_text(content)
    return read_file(folder / "water.out")


def read_file(path: Path) -> Read:
    found: list[Run] = []
    blocks: list[Frames] = []
    with open_run(path) as opened:
        assert opened.reader.name == "cp2k/out"
        for item in opened.items():
            if isinstance(item, Header):
                header, blocks = item, []
            elif isinstance(item, Frames):
                blocks.append(item)
            elif isinstance(item, Ending):
                found.append(Run(header, concatenate(blocks) if blocks else None, item))
    return Read(found)


def hartree(frames: Frames) -> list[float]:
    """Energies [hartree] to 12 decimals."""
    return [round(float(value) / HARTREE, 12) for value in frames.energy]
