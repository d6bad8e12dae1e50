"""CPU time of reading a Gaussian log: every energy, geometry and set of forces of a long optimisation.

Builds its own run of 24 atoms in Gaussian's layout (numbers from a seeded generator), reads it with this package, and a
shorter one with ASE, cclib and dpdata where they are installed. CPU time of this process, so that a busy machine does
not count; MB/s make the sizes comparable.

    python benchmarks/read_gaussian.py [--megabytes 200] [--peer-megabytes 5]
"""

from __future__ import annotations

import argparse
import importlib.util
import tempfile
from pathlib import Path

import numpy as np
from reading import ours, speed

N_ATOMS = 24
N_VARIABLES = 3 * N_ATOMS
ATOMIC_NUMBERS = np.array([6] * 14 + [1] * 10)
RULE = " " + "-" * 69
ELEMENT = {1: "H", 6: "C"}

HEADER = f""" Entering Gaussian System, Link 0=g16
 Initial command:
 /opt/g16/l1.exe "/scratch/Gau-1.inp" -scrdir="/scratch/"
 Entering Link 1 = /opt/g16/l1.exe PID=      4711.

 Copyright (c) 1988-2019, Gaussian, Inc.  All Rights Reserved.

 ******************************************
 Gaussian 16:  ES64L-G16RevC.01  3-Jul-2019
                 1-Jan-2024
 ******************************************
 -----------------
 # B3LYP/STO-3G opt
 -----------------
 1/14=-1,18=20,19=15,26=3,38=1/1,3;
 2/9=110,12=2,17=6,18=5,40=1/2;
 5/5=2,38=5/2;
 7/25=1/1,2,3,16;
{RULE}
 benchmark
{RULE}
 Charge =  0 Multiplicity = 1
"""
FOOTER = " Normal termination of Gaussian 16 at Mon Jan  1 00:00:00 2024.\n"


def orientation(title: str, positions: np.ndarray) -> str:
    rows = "\n".join(
        f"{i:7d}{z:11d}{0:12d}    {x:12.6f}{y:12.6f}{w:12.6f}"
        for i, (z, (x, y, w)) in enumerate(zip(ATOMIC_NUMBERS, positions, strict=True), 1)
    )
    return "\n".join((
        f"{' ' * 25 if title.startswith('S') else ' ' * 26}{title}:                          ", RULE,
        " Center     Atomic      Atomic             Coordinates (Angstroms)",
        " Number     Number       Type             X           Y           Z", RULE, rows, RULE, "",
    ))  # fmt: skip


def forces(random: np.random.Generator, positions: np.ndarray) -> str:
    """Pair forces along the bonds: they exert no torque."""
    arms = positions[:, None] - positions
    strength = random.normal(size=(N_ATOMS, N_ATOMS)) * 1e-4
    values = ((strength + strength.T)[:, :, None] * arms).sum(axis=1)
    rule = " " + "-" * 67
    rows = "\n".join(
        f"{i:7d}{z:9d}       {x:15.9f}{y:15.9f}{w:15.9f}"
        for i, (z, (x, y, w)) in enumerate(zip(ATOMIC_NUMBERS, values, strict=True), 1)
    )
    return "\n".join((
        " ***** Axes restored to original set *****", rule,
        " Center     Atomic                   Forces (Hartrees/Bohr)",
        " Number     Number              X              Y              Z", rule, rows, rule,
        " Cartesian Forces:  Max     0.000215948 RMS     0.000111163", "",
    ))  # fmt: skip


def distances(positions: np.ndarray) -> str:
    """The distance matrix in blocks of five columns."""
    lengths = np.linalg.norm(positions[:, None] - positions, axis=2)
    lines = ["                    Distance matrix (angstroms):"]
    for first in range(0, N_ATOMS, 5):
        lines.append("         " + "".join(f"{i + 1:11d}" for i in range(first, min(first + 5, N_ATOMS))))
        for i in range(first, N_ATOMS):
            row = "".join(f"{value:11.6f}" for value in lengths[i, first : min(i + 1, first + 5)])
            lines.append(f"{i + 1:6d}  {ELEMENT[int(ATOMIC_NUMBERS[i])]:2s}{row}")
    return "\n".join(lines) + "\n"


def optimiser(random: np.random.Generator) -> str:
    """What Berny's algorithm prints of a step."""
    values = random.normal(size=(N_VARIABLES, 6))
    rows = "\n".join(f"{f'R{i + 1}':>6s}" + "".join(f"{value:10.5f}" for value in row) for i, row in enumerate(values))
    eigenvalues = "\n".join(
        "     Eigenvalues ---" + "".join(f"{v:11.5f}" for v in np.abs(random.normal(size=5))) for _ in range(14)
    )
    thresholds = "".join(
        f" {name:23s}{0.000216:10.6f}{0.00045:13.6f}     YES\n"
        for name in ("Maximum Force", "RMS     Force", "Maximum Displacement", "RMS     Displacement")
    )
    return (
        f" Berny optimization.\n ITU=  0\n{eigenvalues}\n Variable       Old X    -DE/DX   Delta X   Delta X   Delta X     New X\n"
        f"                                 (Linear)    (Quad)   (Total)\n{rows}\n"
        f"         Item               Value     Threshold  Converged?\n{thresholds}"
    )


def step(random: np.random.Generator, positions: np.ndarray) -> str:
    integrals = "\n".join(f" ICntrl=       500 IOpCl=  0 I1Cent=   200000004 NGrid=           {i}" for i in range(12))
    energy = f" SCF Done:  E(RB3LYP) = {-382.3 + 0.01 * random.normal():16.9f}     A.U. after    9 cycles\n"
    turned = positions[:, [1, 2, 0]]
    return "".join((
        orientation("Input orientation", positions), distances(positions), orientation("Standard orientation", turned),
        integrals, "\n", energy, forces(random, positions), optimiser(random),
    ))  # fmt: skip


def write(path: Path, megabytes: float) -> None:
    """A run of some `megabytes`: 200 different steps, repeated."""
    random = np.random.default_rng(0)
    start = np.stack(np.meshgrid(*[np.arange(3)] * 3), -1).reshape(-1, 3)[:N_ATOMS] * 1.4
    steps = "".join(step(random, start + 0.01 * random.normal(size=start.shape)) for _ in range(200))
    with path.open("w") as file:
        file.write(HEADER)
        for _ in range(max(1, round(megabytes * 1e6 / len(steps)))):
            file.write(steps)
        file.write(FOOTER)


def with_ase(path: Path) -> int:
    from ase.io import read

    return len(read(path, index=":", format="gaussian-out"))


def with_cclib(path: Path) -> int:
    import cclib

    return len(cclib.io.ccread(str(path)).grads)


def with_dpdata(path: Path) -> int:
    import dpdata

    return len(dpdata.LabeledSystem(str(path), fmt="gaussian/md"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=float, default=200)
    parser.add_argument("--peer-megabytes", type=float, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        large, small = Path(folder, "large.log"), Path(folder, "small.log")
        write(large, options.megabytes)
        write(small, options.peer_megabytes)
        sizes = f"{large.stat().st_size / 1e6:.0f} MB (peers: {small.stat().st_size / 1e6:.0f} MB)"
        print(f"Gaussian log of {N_ATOMS} atoms, {sizes}")
        mine, count = speed(ours, large)
        print(f"mlpdata           {mine:7.1f} MB/s   {count} frames, file digest included")
        for name, module, read in (
            ("ASE", "ase", with_ase),
            ("cclib", "cclib", with_cclib),
            ("dpdata", "dpdata", with_dpdata),
        ):
            if importlib.util.find_spec(module) is None:
                print(f"{name:17s} not installed")
                continue
            rate, _ = speed(read, small)
            print(f"{name:17s} {rate:7.1f} MB/s   mlpdata is {mine / rate:.1f} x")


if __name__ == "__main__":
    main()
