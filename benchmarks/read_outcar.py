"""CPU time of reading OUTCAR: every energy, cell, positions, forces, stress and SCF convergence.

Builds its own molecular dynamics of 64 atoms in VASP's layout (numbers from a seeded generator), with what VASP prints
between: electronic iterations, bands, partial forces. Reads it with this package, and a shorter one with ASE and dpdata
where they are installed. CPU time of this process, so that a busy machine does not count; MB/s make the sizes comparable.

    python benchmarks/read_outcar.py [--megabytes 200] [--peer-megabytes 20]
"""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np
from reading import ours, speed

N_ATOMS = 64
N_BANDS = 160
N_ITERATIONS = 12
RULE = "-" * 104
CELL = np.diag([10.86, 10.86, 10.86])

HEADER = """ vasp.6.3.0 20Jan22 (build Jan 01 2024 00:00:00) complex

 executed on             LinuxIFC date 2024.01.01  00:00:00
 running on    1 total cores


 INCAR:
   EDIFF = 1E-06
   IBRION = 0

 POTCAR:    PAW_PBE Si 05Jan2001
 POTCAR:    PAW_PBE Si 05Jan2001
   VRHFIN =Si: s2p2
   LEXCH  = PE
   EATOM  =   103.0669 eV,    7.5752 Ry

   TITEL  = PAW_PBE Si 05Jan2001
   POMASS =   28.085; ZVAL   =    4.000    mass and valenz
   ENMAX  =  245.345; ENMIN  =  184.009 eV

 POSCAR: silicon
  positions in direct lattice

Automatic generation of k-mesh.
 generate k-points for:    1    1    1

 Dimension of arrays:
   k-points           NKPTS =      1   k-points in BZ     NKDIM =      1   number of bands    NBANDS=    160
   number of dos      NEDOS =    301   number of ions     NIONS =     64
   dimension x,y,z NGX =    64 NGY =   64 NGZ =   64
   ions per type =              64

   PREC   = normal    normal or accurate (medium, high low for compatibility)
   ICHARG =      2    charge: 1-file 2-atom 10-const
   ISPIN  =      1    spin polarized calculation?
   ENCUT  =  400.0 eV  29.40 Ry    5.42 a.u.
   NELM   =     60;   NELMIN=  4; NELMDL=  0     # of ELM steps
   EDIFF  = 0.1E-05   stopping-criterion for ELM
   NSW    =  10000    number of steps for IOM
   IBRION =      0    ionic relax: 0-MD 1-quasi-New 2-CG
   ISIF   =      2    stress and relaxation
   TEBEG  =  300.0;   TEEND  = 300.0 temperature during run
   PSTRESS=    0.0 pullay stress
   NELECT =     256.0000    total number of electrons
   ISMEAR =     0;   SIGMA  =   0.05  broadening in eV -4-tet -1-fermi 0-gaus

"""

ITERATION = """----------------------------------------- Iteration {step:6d}({number:4d})  ---------------------------------------


    POTLOK:  cpu time    2.7472: real time    2.7472
    SETDIJ:  cpu time    0.2371: real time    0.2371
    EDDIAG:  cpu time    0.0289: real time    0.0289
  RMM-DIIS:  cpu time    0.0536: real time    0.0536
    ORTHCH:  cpu time    0.0097: real time    0.0097
       DOS:  cpu time    0.0000: real time    0.0000
    CHARGE:  cpu time    0.1977: real time    0.1977
    MIXING:  cpu time    0.0910: real time    0.0910
    --------------------------------------------
      LOOP:  cpu time    3.3659: real time    3.3660

 eigenvalue-minimisations  :    24
 total energy-change (2. order) : 0.3637436E-{number:02d}  (-0.1514950E-{number:02d})
 number of electron     256.0000001 magnetization
 augmentation part       31.4051504 magnetization

 Broyden mixing:
  rms(total) = 0.44609E+00    rms(broyden)= 0.44607E+00
  rms(prec ) = 0.54163E+00
  weight for this iteration     100.00

 eigenvalues of (default mixing * dielectric matrix)
  average eigenvalue GAMMA=   0.9523
  0.9523

 Free energy of the ion-electron system (eV)
  ---------------------------------------------------
  alpha Z        PSCENC =         0.89700515
  Ewald energy   TEWEN  =     -7968.87223147
  -Hartree energ DENC   =      -843.30387941
  -exchange      EXHF   =         0.00000000
  -V(xc)+E(xc)   XCENC  =        66.76391762
  PAW double counting   =       880.91709234     -885.25738070
  entropy T*S    EENTRO =        -0.00000000
  eigenvalues    EBANDS =      -232.29695492
  atomic energy  EATOM  =      6596.28206254
  Solvation  Ediel_sol  =         0.00000000
  ---------------------------------------------------
  free energy    TOTEN  ={free:20.8f} eV

  energy without entropy ={free:19.8f}  energy(sigma->0) ={free:19.8f}


{rule}




"""

LABELS = """------------------------ aborting loop because EDIFF is reached ----------------------------------------


    CHARGE:  cpu time    0.1981: real time    0.1981
    FORLOC:  cpu time    0.3138: real time    0.3138

  FORCE on cell =-STRESS in cart. coord.  units (eV):
  Direction    XX          YY          ZZ          XY          YZ          ZX
  --------------------------------------------------------------------------------------
  Alpha Z     0.89701     0.89701     0.89701
  Ewald     -37.78103   -62.17243   168.82554   -25.04698    24.58938   -60.21377
  Hartree   246.06036   242.91145   374.53304   -19.50123   -10.77994     4.77240
  E(xc)     -72.04402   -72.15038   -71.64995    -0.01804     0.18563    -0.34030
  Local    -397.16945  -376.25165  -706.20338    43.57899    -1.35440    33.03151
  n-local   -60.60872   -60.88565   -59.86597    -0.08060     0.28357    -0.64219
  augment    14.19230    14.61316    12.44467     0.03181    -0.84087     1.49832
  Kinetic   305.10655   312.44204   277.99182     1.25728   -12.69392    23.39258
  Fock        0.00000     0.00000     0.00000     0.00000     0.00000     0.00000
  -------------------------------------------------------------------------------------
  Total      -1.34701    -0.59646    -3.02722     0.22123    -0.61055     1.49855
  in kB  {stress}
  external pressure =       -2.65 kB  Pullay stress =        0.00 kB

 VOLUME and BASIS-vectors are now :
 -----------------------------------------------------------------------------
  energy-cutoff  :      400.00
  volume of cell :     1280.82
      direct lattice vectors                 reciprocal lattice vectors
{cell}

  length of vectors
    10.860000000 10.860000000 10.860000000     0.092081031  0.092081031  0.092081031


 FORCES acting on ions
    electron-ion (+dipol)            ewald-force                    non-local-force                 convergence-correction
 -----------------------------------------------------------------------------------------------
{partial}
 -----------------------------------------------------------------------------------------------


 POSITION                                       TOTAL-FORCE (eV/Angst)
 -----------------------------------------------------------------------------------
{table}
 -----------------------------------------------------------------------------------
    total drift:                               -0.005850     -0.002026      0.008629


{rule}



  FREE ENERGIE OF THE ION-ELECTRON SYSTEM (eV)
  ---------------------------------------------------
  free  energy   TOTEN  ={free:20.8f} eV

  energy  without entropy={free:19.8f}  energy(sigma->0) ={free:19.8f}



{rule}


  kinetic energy EKIN   =         2.481734
  kin. lattice  EKIN_LAT=         0.000000  (temperature  304.12 K)
     LOOP+:  cpu time   28.0009: real time   28.0281


"""


def step(random: np.random.Generator, number: int, start: np.ndarray) -> str:
    free = -340.0 + random.normal()
    iterations = [
        ITERATION.format(step=number, number=i + 1, free=free + 10.0**-i, rule=RULE) for i in range(N_ITERATIONS)
    ]
    bands = "\n".join(f"{i + 1:7d}{-12 + 0.1 * i:13.4f}{2.0 if i < 128 else 0.0:13.5f}" for i in range(N_BANDS))
    positions = start + 0.01 * random.normal(size=start.shape)
    forces = random.normal(size=start.shape)
    cell = "\n".join(
        "   " + "".join(f"{x:13.9f}" for x in row) + "   " + "".join(f"{x / 117.9:13.9f}" for x in row) for row in CELL
    )
    labels = LABELS.format(
        stress="".join(f"{one:12.5f}" for one in 10 * random.normal(size=6)),
        cell=cell,
        partial="\n".join(["   -.133E+02 -.440E+02 0.707E+00   0.164E+02 0.891E+02 -.876E+01   -.326E+01 -.457E+02 0.841E+01"
                           "   0.835E-05 0.421E-03 -.103E-03"] * N_ATOMS),
        table="\n".join("".join(f"{x:13.5f}" for x in p) + "   " + "".join(f"{x:14.6f}" for x in f)
                        for p, f in zip(positions, forces, strict=True)),
        free=free,
        rule=RULE,
    )  # fmt: skip
    return f"{''.join(iterations)}\n E-fermi :   6.5950     XC(G=0):  -1.0103     alpha+bet : -0.2602\n\n\n k-point     1 :       0.0000    0.0000    0.0000\n  band No.  band energies     occupation\n{bands}\n\n\n{labels}"


def write(path: Path, megabytes: float) -> None:
    """A run of some `megabytes`: 200 different steps, repeated."""
    random = np.random.default_rng(0)
    start = random.random((N_ATOMS, 3)) * 10.86
    cell = "\n".join("   " + "".join(f"{x:13.9f}" for x in (*row, *row / 117.9)) for row in CELL)
    steps = "".join(step(random, number + 1, start) for number in range(200))
    with path.open("w") as file:
        points = (
            " k-points in reciprocal lattice and weights: Gamma\n   0.00000000  0.00000000  0.00000000       1.000\n\n"
        )
        file.write(
            HEADER + points + f"      direct lattice vectors                 reciprocal lattice vectors\n{cell}\n\n"
        )
        for _ in range(max(1, round(megabytes * 1e6 / len(steps)))):
            file.write(steps)
        file.write("\n General timing and accounting informations for this job:\n ====\n")


def with_ase(path: Path) -> int:
    from ase.io import read

    return len(read(path, index=":", format="vasp-out"))


def with_dpdata(path: Path) -> int:
    import dpdata

    return len(dpdata.LabeledSystem(str(path), fmt="vasp/outcar"))


PEERS = (("ASE", "ase", with_ase), ("dpdata", "dpdata", with_dpdata))


def peak_memory(path: Path) -> float:
    """Peak memory of a process that reads `path` [MB], the mapped file apart."""
    command = [sys.executable, __file__, "--only-read", str(path)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def anonymous_peak(path: Path) -> float:
    """Read `path`, then say the peak of memory that is not the mapped file [MB]."""
    peak, done = [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(0.005):
            status = Path("/proc/self/status").read_text()
            peak[0] = max(peak[0], float(status.split("RssAnon:")[1].split()[0]) / 1024)

    thread = threading.Thread(target=watch)
    thread.start()
    ours(path)
    done.set()
    thread.join()
    return peak[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=float, default=200)
    parser.add_argument("--peer-megabytes", type=float, default=20)
    parser.add_argument("--only-read", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only_read:
        print(anonymous_peak(options.only_read))
        return
    with tempfile.TemporaryDirectory() as folder:
        large, small = Path(folder, "OUTCAR"), Path(folder, "OUTCAR_small")
        write(large, options.megabytes)
        write(small, options.peer_megabytes)
        size, peer = options.megabytes, options.peer_megabytes
        print(f"OUTCAR of {N_ATOMS} atoms, {size:.0f} MB (peers: {peer:.0f} MB)")
        mine, count = speed(ours, large)
        print(f"mlpdata           {mine:7.1f} MB/s   {count} frames, file digest included")
        for name, module, read in PEERS:
            if importlib.util.find_spec(module) is None:
                print(f"{name:17s} not installed")
                continue
            rate, _ = speed(read, small)
            print(f"{name:17s} {rate:7.1f} MB/s   mlpdata is {mine / rate:.1f} x")
        low, high = peak_memory(small), peak_memory(large)
        print(f"peak memory       {low:7.1f} MB at {peer:.0f} MB, {high:.1f} MB at {size:.0f} MB (mapped file apart)")


if __name__ == "__main__":
    main()
