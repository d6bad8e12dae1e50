"""ORCA outputs written by hand in the program's layout, piece by piece, and a way to read them."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mlpdata.frames import Frames, concatenate
from mlpdata.readers.archive import open_input
from mlpdata.readers.orca import output as orca
from mlpdata.readers.registry import Ending, Header, Opened, Reader
from mlpdata.units import BOHR, HARTREE

BANNER = """
                                 *****************
                                 * O   R   C   A *
                                 *****************

                         Program Version {version} -  RELEASE  -

"""
SETTINGS = """
------------
SCF SETTINGS
------------
Hamiltonian:
 Density Functional     Method          .... DFT(GTOs)
 Exchange Functional    Exchange        .... PBE
 Correlation Functional Correlation     .... PBE
 LDA part of GGA corr.  LDAOpt          .... PW91-LDA
   Fraction HF Exchange ScalHFX         ....  0.250000

General Settings:
 Hartree-Fock type      HFTyp           .... RHF
 Total Charge           Charge          ....    {charge}
 Multiplicity           Mult            ....    {multiplicity}

 Maximum # iterations   MaxIter         ....   125
Convergence Tolerance:
 Energy Change          TolE            ....  1.000e-08 Eh
"""
CONVERGED = """
               *****************************************************
               *                     SUCCESS                       *
               *           SCF CONVERGED AFTER   9 CYCLES          *
               *****************************************************
"""
UNCONVERGED = CONVERGED.replace("        SCF CONVERGED", "     SCF NOT CONVERGED")
TOTAL = """
----------------
TOTAL SCF ENERGY
----------------

Total Energy       :          -76.10000000 Eh           -2070.78647 eV
"""
END = "\n                             ****ORCA TERMINATED NORMALLY****\nTOTAL RUN TIME: 0 days 0 hours 0 minutes 1 seconds\n"
Z = {"O": 8, "H": 1, "C": 6}
WATER = (("O", 0.0, 0.0, 0.1), ("H", 0.0, 0.75, -0.45), ("H", 0.0, -0.75, -0.5))
STEPS = (
    (WATER, -76.25, ((0.0, 0.001, 0.03), (0.0, 0.012, -0.01), (0.0, -0.013, -0.02))),
    ((("O", 0.0, 0.0, 0.11), *WATER[1:]), -76.26, ((0.0, 0.002, 0.015), (0.0, 0.006, -0.005), (0.0, -0.008, -0.01))),
)


def opening(
    keywords: str = "PBE0 def2-SVP Opt", title: str = "Geometry Optimization Run", *, version: str = "5.0.3"
) -> str:
    echo = (
        f"|  1> ! {keywords}\n|  2> * xyz 0 1\n|  3> O 0 0 0.1\n|  4> H 0 0.75 -0.45\n|  5> H 0 -0.75 -0.5\n|  6> *\n"
    )
    stars = "*" * (len(title) + 4)
    return (
        BANNER.format(version=version)
        + "=" * 80 + "\n                                       INPUT FILE\n" + "=" * 80
        + f"\nNAME = /home/someone/secret.inp\n{echo}|  7>                          ****END OF INPUT****\n"
        + "=" * 80 + f"\n\n                       {stars}\n                       * {title} *\n                       {stars}\n"
        + "Your calculation utilizes the basis: def2-SVP\n"
    )  # fmt: skip


def coordinates(atoms: Sequence[tuple[str, float, float, float]], *, bohr: bool = True) -> str:
    rule, angstrom = "-" * 33, "".join(f"  {s:<3}{x:12.6f}{y:12.6f}{z:12.6f}\n" for s, x, y, z in atoms)
    text = f"\n{rule}\nCARTESIAN COORDINATES (ANGSTROEM)\n{rule}\n{angstrom}\n"
    if not bohr:
        return text
    rows = "".join(
        f"{i:4d} {s:<3}{Z.get(s, 0):9.4f}    0{Z.get(s, 0) * 2.0:10.3f}{x / BOHR:12.6f}{y / BOHR:12.6f}{z / BOHR:12.6f}\n"
        for i, (s, x, y, z) in enumerate(atoms)
    )
    header = "  NO LB      ZA    FRAG     MASS         X           Y           Z\n"
    return f"{text}{rule}\nCARTESIAN COORDINATES (A.U.)\n{rule}\n{header}{rows}\n"


def final(energy: float, suffix: str = "") -> str:
    rule = "-" * 25 + "   " + "-" * 20
    return f"\n{rule}\nFINAL SINGLE POINT ENERGY {energy:21.12f}{suffix}\n{rule}\n"


def gradient(rows: Sequence[Sequence[float]], symbols: str = "OHH", kind: str = "") -> str:
    table = "".join(
        f"{i:4d}   {symbol:<4}:{x:15.9f}{y:15.9f}{z:15.9f}\n"
        for i, (symbol, (x, y, z)) in enumerate(zip(symbols, rows, strict=True), 1)
    )
    blank = "" if kind else "\n"
    rule = "-" * 18
    return (
        f"\n{rule}\nCARTESIAN GRADIENT{kind}\n{rule}\n{blank}{table}\nNorm of the cartesian gradient     ...    0.1\n"
    )


def charges(scheme: str, values: Sequence[float], symbols: str = "OHH") -> str:
    """A table of atomic charges; Hirshfeld's has spins beside them."""
    rows = zip(symbols, values, strict=True)
    if scheme == "HIRSHFELD":
        table = "".join(f"{i:4d} {symbol} {value:11.6f}    0.000000\n" for i, (symbol, value) in enumerate(rows))
        density = (
            "Total integrated alpha density =      4.998117054\nTotal integrated beta density  =      4.998117054\n"
        )
        titles = f"\n{density}\n  ATOM     CHARGE      SPIN    \n"
        return f"\n------------------\nHIRSHFELD ANALYSIS\n------------------\n{titles}{table}\n  TOTAL   0.000000    0.000000\n"
    table = "".join(f"{i:4d} {symbol} :{value:12.6f}\n" for i, (symbol, value) in enumerate(rows))
    end = "Sum of atomic charges:    0.0000000\n" if scheme == "MULLIKEN" else ""
    return f"\n-----------------------\n{scheme} ATOMIC CHARGES\n-----------------------\n{table}{end}\n"


def dipole(x: float, y: float, z: float) -> str:
    return (
        "\n-------------\nDIPOLE MOMENT\n-------------\n"
        "                                X             Y             Z\n"
        f"Total Dipole Moment    :  {x:13.5f} {y:13.5f} {z:13.5f}\n"
        "                        -----------------------------------------\n"
        "Magnitude (a.u.)       :      0.75007\n"
    )


def cycle(number: int) -> str:
    return f"\n         *                GEOMETRY OPTIMIZATION CYCLE {number:3d}            *\n"


def settings(charge: int = 0, multiplicity: int = 1) -> str:
    return SETTINGS.format(charge=charge, multiplicity=multiplicity)


def single_point(
    energy: str, *, atoms: Sequence[tuple[str, float, float, float]] = WATER, keywords: str = "PBE0"
) -> str:
    """A whole single point; `energy` is all that it prints after the coordinates."""
    start = opening(keywords, "Single Point Calculation")
    return start + coordinates(atoms) + settings() + CONVERGED + TOTAL + energy + END


def optimisation() -> str:
    """Two steps with gradients and the final evaluation, which has none."""
    text = opening()
    for number, (atoms, energy, rows) in enumerate(STEPS, 1):
        text += cycle(number) + coordinates(atoms) + (settings() if number == 1 else "") + CONVERGED + TOTAL
        text += final(energy) + "\nGradient of the Kohn-Sham DFT energy:\n" + gradient(rows)
    text += "\n                 *** FINAL ENERGY EVALUATION AT THE STATIONARY POINT ***\n"
    return text + coordinates(STEPS[1][0]) + CONVERGED + TOTAL + final(-76.2601) + END


CHARGES = {"MULLIKEN": (-0.61, 0.31, 0.3), "LOEWDIN": (-0.41, 0.21, 0.2), "HIRSHFELD": (-0.31, 0.16, 0.15)}
DIPOLE = (0.0, 0.01, -0.75)


def dynamics() -> str:
    """Two steps of a molecular dynamics run with charges, the dipole after the last."""
    text = opening("PBE0 def2-SVP MD", "Molecular Dynamics Simulation")
    for number, (atoms, energy, rows) in enumerate(STEPS):
        tables = "".join(charges(scheme, values) for scheme, values in CHARGES.items())
        text += coordinates(atoms) + ("" if number else settings()) + CONVERGED + TOTAL + tables
        text += final(energy) + "\nGradient of the Kohn-Sham DFT energy:\n" + gradient(rows)
    return text + dipole(*DIPOLE) + END


class Run(NamedTuple):
    header: Header
    frames: Frames | None
    ending: Ending


class Reading(NamedTuple):
    runs: list[Run]

    @property
    def frames(self) -> Frames:
        (run,) = self.runs
        assert run.frames is not None, run.ending.left_out
        return run.frames

    @property
    def header(self) -> Header:
        return self.runs[0].header

    @property
    def ending(self) -> Ending:
        return self.runs[0].ending


def read(text: str | bytes, reader: Reader = orca.READER) -> Reading:
    """Read a text as a file: its runs."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.out"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        with open_input(path) as source:
            items = list(Opened(source, reader).items())
    runs: list[Run] = []
    blocks: list[Frames] = []
    for item in items:
        if isinstance(item, Header):
            header, blocks = item, []
        elif isinstance(item, Frames):
            blocks.append(item)
        else:
            runs.append(Run(header, concatenate(blocks) if blocks else None, item))
    return Reading(runs)


def hartree(frames: Frames) -> list[float]:
    return np.round(frames.energy / HARTREE, 9).tolist()


def has_forces(frames: Frames) -> list[bool]:
    return [not np.isnan(frames.select([index]).forces).any() for index in range(len(frames))]


def rows(frames: Frames | None) -> set[bytes]:
    """Names of the rows of a block, by all of their numbers."""
    return set() if frames is None or not len(frames) else {row.tobytes() for row in frames.ids()}
