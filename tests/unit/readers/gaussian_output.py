"""Gaussian logs of our own making, in the program's layout: numbers of springs between three atoms."""

from __future__ import annotations

import itertools
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mlpdata.frames import Frames, concatenate
from mlpdata.readers.archive import open_input
from mlpdata.readers.gaussian import log as gaussian
from mlpdata.readers.registry import Ending, Header, Opened, Reader
from mlpdata.units import BOHR

WATER = np.array([8, 1, 1])
SHAPES = (
    np.array([[0.0, 0.0, 0.1], [0.0, 0.8, -0.5], [0.0, -0.75, -0.55]]),
    np.array([[0.01, 0.0, 0.11], [0.0, 0.78, -0.48], [0.0, -0.76, -0.52]]),
)
"""Positions in the input's axes [angstrom]."""
RULE = " " + "-" * 69
TURN = np.array([[0.0, 1.0, 0.0], [0.8, 0.0, -0.6], [-0.6, 0.0, -0.8]])
"""From the input's axes to the standard ones."""
SCF_LINKS = " 1/38=1/1;\n 2/12=2,40=1/2;\n 5/5=2,38=5/2;\n 7/29=1/1,2,3,16;\n 99//99;\n"
SINGLE_POINT_LINKS = SCF_LINKS.replace(" 7/29=1/1,2,3,16;\n", "")
MP2_LINKS = SCF_LINKS.replace(" 7/29", " 8/6=4,10=2/1;\n 9/15=2,16=-3/6;\n 10/5=1/2;\n 7/29")
TD_LINKS = SCF_LINKS.replace(" 7/29", " 8/6=1,10=1/1;\n 9/41=3,42=1/14;\n 10/6=2/2;\n 7/29")


def springs(positions: np.ndarray) -> np.ndarray:
    """Forces [hartree/bohr] of springs of 0.9 angstrom between all atoms: no net force, no torque."""
    forces = np.zeros_like(positions)
    for i, j in itertools.combinations(range(len(positions)), 2):
        arm = positions[i] - positions[j]
        forces[[i, j]] += 0.2 * (0.9 / np.linalg.norm(arm) - 1) * np.array([arm, -arm]) / BOHR
    return np.round(forces, 9)


def standard(positions: np.ndarray) -> np.ndarray:
    """The same geometry in standard axes."""
    return np.round((positions - positions.mean(axis=0)) @ TURN.T, 6)


def opening(
    route: str = "# B3LYP/STO-3G force", links: str = SCF_LINKS, state: str = "Charge =  0 Multiplicity = 1"
) -> str:
    lines = "\n ".join(route[i : i + 70] for i in range(0, len(route), 70))
    return f""" Entering Gaussian System, Link 0=g16
 Initial command:
 /home/someone/secret/l1.exe "/scratch/Gau-1.inp" -scrdir="/scratch/"
 Entering Link 1 = /home/someone/secret/l1.exe PID=      4711.

 ******************************************
 Gaussian 16:  ES64L-G16RevC.01  3-Jul-2019
                 1-Jan-2024
 ******************************************
 {"-" * 70}
 {lines}
 {"-" * 70}
{links} -------
 springs
 -------
 Symbolic Z-matrix:
 {state}
"""


def orientation(title: str, positions: np.ndarray, numbers: np.ndarray = WATER) -> str:
    rows = "".join(
        f"{i:7d}{z:11d}{0:12d}    {x:12.6f}{y:12.6f}{w:12.6f}\n"
        for i, (z, (x, y, w)) in enumerate(zip(numbers, positions, strict=True), 1)
    )
    return (
        f"{' ' * (26 if title == 'Input' else 25)}{title} orientation:\n{RULE}\n Center     Atomic      Atomic             Coordinates (Angstroms)\n"
        f" Number     Number       Type             X           Y           Z\n{RULE}\n{rows}{RULE}\n"
    )


def scf(energy: float, label: str = "RB3LYP") -> str:
    return (
        f" Requested convergence on RMS density matrix=1.00D-08 within 128 cycles.\n"
        f" Requested convergence on             energy=1.00D-06.\n SCF Done:  E({label}) = {energy:16.9f}     A.U. after    9 cycles\n"
    )


RESTORED = " ***** Axes restored to original set *****\n"


def force_table(forces: np.ndarray, numbers: np.ndarray = WATER) -> str:
    rule = " " + "-" * 67
    rows = "".join(
        f"{i:7d}{z:9d}       {x:15.9f}{y:15.9f}{w:15.9f}\n"
        for i, (z, (x, y, w)) in enumerate(zip(numbers, forces, strict=True), 1)
    )
    return (
        f"{rule}\n Center     Atomic                   Forces (Hartrees/Bohr)\n"
        f" Number     Number              X              Y              Z\n{rule}\n{rows}{rule}\n"
        " Cartesian Forces:  Max     0.066019420 RMS     0.034092282\n"
        "         Item               Value     Threshold  Converged?\n Maximum Force            0.066019     0.000450     NO\n"
    )


def both(positions: np.ndarray) -> str:
    return orientation("Input", positions) + orientation("Standard", standard(positions))


def step(positions: np.ndarray, energy: float, label: str = "RB3LYP") -> str:
    return both(positions) + scf(energy, label) + RESTORED + force_table(springs(positions))


MULLIKEN = (
    " Mulliken charges:\n               1\n     1  O   -0.330000\n     2  H    0.160000\n     3  H    0.170000\n"
    " Sum of Mulliken charges =   0.00000\n"
)
DIPOLE = (
    " Dipole moment (field-independent basis, Debye):\n"
    "    X=              0.1000    Y=              0.2000    Z=             -1.7000  Tot=              1.7146\n"
)
END = " Normal termination of Gaussian 16 at Mon Jan  1 00:00:00 2024.\n"
ENERGIES = (-75.3, -75.31)


def optimisation(route: str = "# B3LYP/STO-3G opt") -> str:
    """Two steps, and the last geometry once more."""
    steps = "".join(step(shape, energy) for shape, energy in zip(SHAPES, ENERGIES, strict=True))
    return opening(route) + steps + " Optimization completed.\n" + both(SHAPES[1]) + MULLIKEN + DIPOLE + END


def next_job(route: str = "#N Geom=AllCheck Guess=TCheck SCRF=Check GenChk RB3LYP/STO-3G Freq") -> str:
    """The head of an internal job step."""
    return " Link1:  Proceeding to internal job step number  2.\n" + opening(route).split("******\n", 2)[2].replace(
        "Symbolic Z-matrix", "Structure from the checkpoint file"
    )


def archive(positions: np.ndarray, separator: str = "\\") -> str:
    """The archive entry, in lines of 70 characters."""
    rows = separator.join(f"{s},{','.join(f'{v:.10f}' for v in row)}" for s, row in zip("OHH", positions, strict=True))
    two = separator * 2
    text = "1|1|GINC-X|Force|RB3LYP|STO-3G|H2O1|X|01-Jan-2024|0||# B3LYP/STO-3G force||springs||0,1|{}||Version=X|HF=-75.3||@"
    text = text.replace("||", "\0").replace("|", separator).replace("\0", two).format(rows)
    return "".join(f" {text[i : i + 70]}\n" for i in range(0, len(text), 70)) + "\n"


@dataclass
class Run:
    """What came of one job."""

    header: Header
    frames: Frames | None
    ending: Ending


@dataclass
class Output:
    """What came of a file."""

    runs: list[Run]

    @property
    def header(self) -> Header:
        return self.runs[0].header

    @property
    def ending(self) -> Ending:
        return self.runs[0].ending

    @property
    def frames(self) -> Frames:
        """All frames of the file."""
        return concatenate([run.frames for run in self.runs if run.frames is not None])


def read(text: str | bytes, reader: Reader = gaussian.READER) -> Output:
    runs, blocks, header = [], [], None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "run.log")
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        with open_input(path) as source:
            for item in Opened(source, reader).items():
                if isinstance(item, Header):
                    header, blocks = item, []
                elif isinstance(item, Ending):
                    assert header is not None
                    runs.append(Run(header, concatenate(blocks) if blocks else None, item))
                else:
                    assert isinstance(item, Frames)
                    blocks.append(item)
    return Output(runs)
