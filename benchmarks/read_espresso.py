"""CPU time of reading a long molecular dynamics log of pw.x: every energy, geometry, force table and stress.

Builds its own run of 64 atoms in the layout of pw.x 6.7 (numbers from a seeded generator), reads it with this package,
and a shorter one with ASE where it is installed. CPU time of this process, so that a busy machine does
not count; MB/s make the sizes comparable.

    python benchmarks/read_espresso.py [--megabytes 100] [--peer-megabytes 5]
"""

from __future__ import annotations

import argparse
import importlib.util
import tempfile
import warnings
from pathlib import Path

import numpy as np
from reading import ours, speed

N_ATOMS = 64
N_BANDS = 128
N_POINTS = 4
CELL = 20.522

OPENING = f"""
     Program PWSCF v.6.7MaX starts on 21Nov2023 at 10:14:36

     bravais-lattice index     =            1
     lattice parameter (alat)  =      20.5220  a.u.
     unit-cell volume          =    8642.9286 (a.u.)^3
     number of atoms/cell      =           {N_ATOMS}
     number of atomic types    =            1
     number of electrons       =       256.00
     number of Kohn-Sham states=          {N_BANDS}
     kinetic-energy cutoff     =      30.0000  Ry
     charge density cutoff     =     120.0000  Ry
     scf convergence threshold =      1.0E-08
     Exchange-correlation= SLA  PW   PBE  PBE
                           (   1   4   3   4   0   0   0)

     celldm(1)=  20.522000  celldm(2)=   0.000000  celldm(3)=   0.000000

     crystal axes: (cart. coord. in units of alat)
               a(1) = (   1.000000   0.000000   0.000000 )
               a(2) = (   0.000000   1.000000   0.000000 )
               a(3) = (   0.000000   0.000000   1.000000 )

     atomic species   valence    mass     pseudopotential
        Si             4.00    28.08550     Si( 1.00)

   Cartesian axes

     site n.     atom                  positions (alat units)
"""
POINTS = (
    f"number of k points=     {N_POINTS}\n                       cart. coord. in units 2pi/alat\n"
    + "".join(
        f"        k({i:5d}) = (   0.0000000   0.0000000{i / 10:12.7f}), wk =   0.5000000\n"
        for i in range(1, N_POINTS + 1)
    )
    + "\n"
)
STEP_HEAD = """
     Molecular Dynamics Calculation
     mass Si               =    28.09
     Time step             =    20.00 a.u.,  0.9676 femto-seconds
"""
END = "\n   This run was terminated on:  10:20: 0  21Nov2023\n\n=---=\n   JOB DONE.\n=---=\n"


def iterations(random: np.random.Generator, energy: float) -> str:
    return "\n     Self-consistent Calculation\n" + "".join(
        f"\n     iteration # {i:2d}     ecut=    30.00 Ry     beta= 0.70\n     Davidson diagonalization with overlap\n"
        f"     ethr =  1.00E-0{i},  avg # of iterations =  3.5\n\n     total cpu time spent up to now is      {100 * random.random():7.1f} secs\n\n"
        f"     total energy              = {energy + 10.0**-i:16.8f} Ry\n     estimated scf accuracy    < {10.0**-i:16.8f} Ry\n"
        for i in range(1, 9)
    )


def bands(random: np.random.Generator) -> str:
    text = "\n     End of self-consistent calculation\n"
    for _ in range(N_POINTS):
        levels = np.sort(random.normal(size=N_BANDS))
        rows = "".join("  " + "".join(f"{e:9.4f}" for e in levels[i : i + 8]) + "\n" for i in range(0, N_BANDS, 8))
        text += f"\n          k = 0.0000 0.0000 0.0000 ( 14211 PWs)   bands (ev):\n\n{rows}"
    return text + "\n     highest occupied level (ev):     6.2345\n"


def step(random: np.random.Generator, number: int, positions: np.ndarray) -> str:
    energy = -1000 + random.normal()
    forces = "".join(
        f"     atom {i:4d} type  1   force = {x:14.8f}{y:14.8f}{z:14.8f}\n"
        for i, (x, y, z) in enumerate(0.01 * random.normal(size=(N_ATOMS, 3)), 1)
    )
    pressure = random.normal(size=(3, 3)) / 1000
    stress = "".join(
        f"{x:14.8f}{y:14.8f}{z:14.8f}{1471 * x:14.2f}{1471 * y:12.2f}{1471 * z:12.2f}\n"
        for x, y, z in pressure + pressure.T
    )
    rows = "".join(f"Si       {x:20.10f}{y:20.10f}{z:20.10f}\n" for x, y, z in positions)
    return (
        f"{iterations(random, energy)}{bands(random)}\n!    total energy              = {energy:16.8f} Ry\n"
        "     estimated scf accuracy    <       0.00000001 Ry\n\n     convergence has been achieved in   8 iterations\n"
        f"\n     Forces acting on atoms (cartesian axes, Ry/au):\n\n{forces}\n     Total force =     0.063382     Total SCF correction =     0.000002\n"
        f"\n\n     Computing stress (Cartesian axis) and pressure\n\n          total   stress  (Ry/bohr**3)                   (kbar)     P=      -12.73\n{stress}\n"
        f"{STEP_HEAD if number == 0 else ''}\n     Entering Dynamics:    iteration = {number + 1:5d}\n                           time      = {number / 1000:8.4f} pico-seconds\n"
        f"\n\nATOMIC_POSITIONS (bohr)\n{rows}\n\n     kinetic energy (Ekin) =           0.10000000 Ry\n     temperature           =         300.00000000 K\n"
        f"     Ekin + Etot (const)   = {energy + 0.1:16.8f} Ry\n\n\n     Writing output data file ./si.save/\n"
    )  # fmt: skip


def write(path: Path, megabytes: float) -> None:
    """A run of some `megabytes`: 100 different steps, repeated."""
    random = np.random.default_rng(0)
    start = CELL * random.random((N_ATOMS, 3))
    sites = "".join(
        f"      {i:4d}           Si  tau({i:4d}) = ({x:12.7f}{y:12.7f}{z:12.7f}  )\n"
        for i, (x, y, z) in enumerate(start / CELL, 1)
    )
    steps = [step(random, number, start + 0.01 * random.normal(size=start.shape)) for number in range(101)]
    with path.open("w") as file:
        file.write(f"{OPENING}{sites}\n     {POINTS}{steps[0]}")
        for _ in range(max(1, round(megabytes * 1e6 / len("".join(steps))))):
            file.write("".join(steps[1:]))
        file.write(END)


def with_ase(path: Path) -> int:
    from ase.io import read

    return len(read(path, index=":", format="espresso-out"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=float, default=100)
    parser.add_argument("--peer-megabytes", type=float, default=5)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        large, small = Path(folder, "large.out"), Path(folder, "small.out")
        write(large, options.megabytes)
        write(small, options.peer_megabytes)
        print(f"pw.x MD of {N_ATOMS} atoms, {options.megabytes:.0f} MB (peers: {options.peer_megabytes:.0f} MB)")
        mine, count = speed(ours, large)
        print(f"mlpdata           {mine:7.1f} MB/s   {count} frames, file digest included")
        for name, read in (("ase", with_ase),):
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
