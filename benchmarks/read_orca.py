"""CPU time of reading a long ORCA optimisation: every final energy, geometry, gradient, atomic charge.

Builds its own optimisation of 48 atoms in the layout of ORCA 5 (numbers from a seeded generator), reads it with this
package, and a shorter one with ASE, cclib and dpdata where they are installed. CPU time of this process, so that a
busy machine does not count; MB/s make the sizes comparable.

    python benchmarks/read_orca.py [--megabytes 200] [--peer-megabytes 10]
"""

from __future__ import annotations

import argparse
import importlib.util
import logging
import tempfile
import warnings
from pathlib import Path

import numpy as np
from reading import ours, speed

N_ATOMS = 48
SYMBOLS = np.array(["O", "H", "H"] * (N_ATOMS // 3))
CHARGES = {"O": 8, "H": 1}
MASSES = {"O": 15.999, "H": 1.008}
N_ORBITALS = 240
BOHR = 0.529177210903
STARS, RULE = "*" * 53, "-" * 33

OPENING = """
                                 *****************
                                 * O   R   C   A *
                                 *****************

                         Program Version 5.0.3 -  RELEASE  -

================================================================================
                                       INPUT FILE
================================================================================
NAME = water.inp
|  1> ! PBE0 def2-SVP Opt
|  2> * xyzfile 0 1 water.xyz
|  3>                          ****END OF INPUT****
================================================================================

                       *****************************
                       * Geometry Optimization Run *
                       *****************************

Convergence Tolerances:
Energy Change            TolE     ....  1.0000e-05 Eh
Max. Gradient            TolMAXG  ....  2.0000e-03 Eh/bohr
RMS Gradient             TolRMSG  ....  1.0000e-03 Eh/bohr
Max. Displacement        TolMAXD  ....  5.0000e-03 bohr
RMS Displacement         TolRMSD  ....  3.0000e-03 bohr
"""
CONVERGENCE = """
---------------
SCF CONVERGENCE
---------------

  Last Energy change         ...   -2.1000e-09  Tolerance :   1.0000e-08
  Last MAX-Density change    ...    1.2000e-06  Tolerance :   1.0000e-07
  Last RMS-Density change    ...    1.4000e-07  Tolerance :   5.0000e-09
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
 Total Charge           Charge          ....    0
 Multiplicity           Mult            ....    1
Convergence Tolerance:
 Energy Change          TolE            ....  1.000e-08 Eh
"""
END = "\n                             ****ORCA TERMINATED NORMALLY****\nTOTAL RUN TIME: 0 days 1 hours 0 minutes 1 seconds 0 msec\n"


def heading(title: str) -> str:
    return f"\n{'-' * len(title)}\n{title}\n{'-' * len(title)}\n"


def coordinates(positions: np.ndarray) -> str:
    angstrom = "".join(
        f"  {s:<2}{x:14.6f}{y:12.6f}{z:12.6f}\n" for s, (x, y, z) in zip(SYMBOLS, positions, strict=True)
    )
    bohr = "".join(
        f"{i:4d} {s:<2}{CHARGES[s]:10.4f}    0{MASSES[s]:10.3f}{x:12.6f}{y:12.6f}{z:12.6f}\n"
        for i, (s, (x, y, z)) in enumerate(zip(SYMBOLS, positions / BOHR, strict=True))
    )
    titles = "  NO LB      ZA    FRAG     MASS         X           Y           Z\n"
    internal = "".join(
        f" {s:<2}{i:8d}{i:5d}{i:5d}{x:19.12f}{100 + y:16.8f}{180 - z:16.8f}\n"
        for i, (s, (x, y, z)) in enumerate(zip(SYMBOLS, positions, strict=True))
    )
    return (
        f"{heading('CARTESIAN COORDINATES (ANGSTROEM)')}{angstrom}{heading('CARTESIAN COORDINATES (A.U.)')}{titles}{bohr}"
        + heading("INTERNAL COORDINATES (ANGSTROEM)") + internal + heading("INTERNAL COORDINATES (A.U.)") + internal
    )  # fmt: skip


def scf(random: np.random.Generator, energy: float) -> str:
    iterations = "".join(
        f"{i:3d}  {energy + 10.0**-i:16.10f}  {-(10.0**-i):15.12f} {0.1 / (i + 1):10.8f}  {0.01 / (i + 1):10.8f}  0.0277451 0.7000\n"
        for i in range(14)
    )
    levels = np.sort(random.normal(size=N_ORBITALS))
    orbitals = "".join(
        f"{i:4d}   {2.0 if i < 80 else 0.0:6.4f}{e:16.6f}{27.2114 * e:17.4f} \n" for i, e in enumerate(levels)
    )
    return (
        f"{heading('SCF ITERATIONS')}ITER       Energy         Delta-E        Max-DP      RMS-DP      [F,P]     Damp\n{iterations}"
        f"\n               {STARS}\n               *{'SUCCESS':^51}*\n               *{'SCF CONVERGED AFTER  14 CYCLES':^51}*\n               {STARS}\n"
        f"{heading('TOTAL SCF ENERGY')}\nTotal Energy       :   {energy:18.8f} Eh  {27.2114 * energy:18.5f} eV\n"
        f"{CONVERGENCE}{heading('ORBITAL ENERGIES')}\n  NO   OCC          E(Eh)            E(eV) \n{orbitals}"
    )


def charges(random: np.random.Generator, scheme: str) -> str:
    values = 0.3 * random.normal(size=N_ATOMS)
    rows = "".join(f"{i:4d} {s:<2}:{q:12.6f}\n" for i, (s, q) in enumerate(zip(SYMBOLS, values, strict=True)))
    orbitals = "".join(
        f"{i:3d} {s:<2}s       :{1 + q:13.6f}  s :{1 + q:13.6f}\n      pz      :{q:13.6f}  p :{q:13.6f}\n      px      :{q:13.6f}\n      py      :{q:13.6f}\n"
        for i, (s, q) in enumerate(zip(SYMBOLS, values, strict=True))
    )
    total = "Sum of atomic charges:    0.0000000\n" if scheme == "MULLIKEN" else ""
    return f"{heading(f'{scheme} ATOMIC CHARGES')}{rows}{total}{heading(f'{scheme} REDUCED ORBITAL CHARGES')}{orbitals}"


def step(random: np.random.Generator, positions: np.ndarray) -> str:
    energy = -1219.0 + 0.01 * random.normal()
    rows = "".join(
        f"{i:4d}   {s:<4}:{x:15.9f}{y:15.9f}{z:15.9f}\n"
        for i, (s, (x, y, z)) in enumerate(zip(SYMBOLS, 0.01 * random.normal(size=(N_ATOMS, 3)), strict=True), 1)
    )
    internal = "".join(
        f"{i:5d}. B(H{i:4d},O{i:4d})        {abs(x):12.4f}{y:12.6f}{z:10.4f}{abs(x):12.4f}\n"
        for i, (x, y, z) in enumerate(random.normal(size=(3 * N_ATOMS, 3)), 1)
    )
    return (
        "\n         *************************************************************\n"
        "         *                GEOMETRY OPTIMIZATION CYCLE   1            *\n"
        "         *************************************************************\n"
        + coordinates(positions) + f"Number of atoms                         .... {N_ATOMS}\n" + SETTINGS + scf(random, energy) + charges(random, "MULLIKEN") + charges(random, "LOEWDIN")
        + f"\n-------------------------   --------------------\nFINAL SINGLE POINT ENERGY {energy:21.12f}\n-------------------------   --------------------\n"
        + f"\nGradient of the Kohn-Sham DFT energy:\n{heading('CARTESIAN GRADIENT')}\n{rows}\nNorm of the cartesian gradient     ...    0.1\n"
        + f"\n                      *          ORCA SCF GRADIENT CALCULATION              *\n{heading('ORCA GEOMETRY RELAXATION STEP')}"
        + f"{heading('Redundant Internal Coordinates')}\n{internal}"
    )  # fmt: skip


def final(positions: np.ndarray) -> str:
    """The energy at the stationary point, which has no gradient."""
    title = (
        "\n***        THE OPTIMIZATION HAS CONVERGED     ***\n*** FINAL ENERGY EVALUATION AT THE STATIONARY POINT ***\n"
    )
    count = f"Number of atoms                         .... {N_ATOMS}\n"
    return f"{title}{coordinates(positions)}{count}\nFINAL SINGLE POINT ENERGY     -1219.000000000000\n"


def write(path: Path, megabytes: float) -> None:
    """A run of some `megabytes`: 100 different steps, repeated."""
    random = np.random.default_rng(0)
    start = 12 * random.random((N_ATOMS, 3))
    steps = "".join(step(random, start + 0.01 * random.normal(size=start.shape)) for _ in range(100))
    with path.open("w") as file:
        file.write(OPENING)
        for _ in range(max(1, round(megabytes * 1e6 / len(steps)))):
            file.write(steps)
        file.write(final(start) + END)


def with_ase(path: Path) -> int:
    from ase.io import read

    return len(read(path, index=":", format="orca-output"))


def with_cclib(path: Path) -> int:
    from cclib.io import ccread

    return len(ccread(str(path), loglevel=logging.CRITICAL).grads)


def with_dpdata(path: Path) -> int:
    from dpdata import LabeledSystem

    return len(LabeledSystem(str(path), fmt="orca/spout"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=float, default=200)
    parser.add_argument("--peer-megabytes", type=float, default=10)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        large, small = Path(folder, "large.out"), Path(folder, "small.out")
        write(large, options.megabytes)
        write(small, options.peer_megabytes)
        print(
            f"ORCA optimisation of {N_ATOMS} atoms, {options.megabytes:.0f} MB (peers: {options.peer_megabytes:.0f} MB)"
        )
        mine, count = speed(ours, large)
        print(f"mlpdata           {mine:7.1f} MB/s   {count} frames, file digest included")
        for name, read in (("ase", with_ase), ("cclib", with_cclib), ("dpdata", with_dpdata)):
            if importlib.util.find_spec(name) is None:
                print(f"{name:17s} not installed")
                continue
            try:
                rate, count = speed(read, small)
            except Exception as error:  # noqa: BLE001  a peer that cannot read the file has no speed
                print(f"{name:17s} cannot read it: {type(error).__name__}")
                continue
            print(f"{name:17s} {rate:7.1f} MB/s   {count} frames; mlpdata is {mine / rate:.1f} x")


if __name__ == "__main__":
    main()
