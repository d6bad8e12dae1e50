"""Small outputs in the layouts of six codes: what a run has printed is a function of how far it has come.

Text only grows: what is printed after three steps begins what is printed after four. It is as short as readers allow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from mlpdata.testing.layouts_vasp import outcar, vasprun_xml
from mlpdata.testing.springs import EDGE, Run, Step, lines, printed
from mlpdata.units import BOHR, HARTREE, RYDBERG

RULE = "-" * 69
PWSCF_OPENING = """
     Program PWSCF v.6.7MaX starts on 21Nov2023 at {clock}

     bravais-lattice index     =            1
     lattice parameter (alat)  = {edge:12.6f}  a.u.
     number of atoms/cell      = {n_atoms:12d}
     number of electrons       = {n_electrons:12.2f}
     kinetic-energy cutoff     =      30.0000  Ry
     charge density cutoff     =     120.0000  Ry
     scf convergence threshold =      1.0E-08
     Exchange-correlation= SLA  PW   PBE  PBE
                           (   1   4   3   4   0   0   0)

     celldm(1)= {edge:10.6f}  celldm(2)=   0.000000  celldm(3)=   0.000000

     crystal axes: (cart. coord. in units of alat)
               a(1) = (   1.000000   0.000000   0.000000 )
               a(2) = (   0.000000   1.000000   0.000000 )
               a(3) = (   0.000000   0.000000   1.000000 )

     atomic species   valence    mass     pseudopotential
        {symbol:2s}             4.00 {mass:11.5f}     {symbol:2s}( 1.00)

     site n.     atom                  positions (alat units)
{sites}
     number of k points=     1
"""
PWSCF_LOOP = """
     Self-consistent Calculation

     iteration #  1     ecut=    30.00 Ry     beta= 0.70
"""
PWSCF_LABELS = """
     End of self-consistent calculation

!    total energy              = {energy:16.8f} Ry
     estimated scf accuracy    <       0.00000001 Ry

     convergence has been achieved in   8 iterations

     Forces acting on atoms (cartesian axes, Ry/au):

{forces}
     Total force =     0.063382     Total SCF correction =     0.000002

     Writing output data file ./run.save/
"""
PWSCF_MOVED = """
     Entering Dynamics:    iteration = {n:5d}

ATOMIC_POSITIONS (angstrom)
{positions}
"""
PWSCF_FAILURE = "\n     convergence NOT achieved after 100 iterations: stopping\n"
PWSCF_CLOSING = "\n=---=\n   JOB DONE.\n=---=\n"


def pwscf(run: Run) -> str:
    """Standard output of pw.x."""
    symbol, _, mass = run.element
    opening = PWSCF_OPENING.format(
        clock=run.clock, edge=EDGE / BOHR, n_atoms=run.n_atoms, n_electrons=4.0 * run.n_atoms, symbol=symbol, mass=mass,
        sites=lines(f"{{n:10d}}           {symbol:2s}  tau({{n:4d}}) = ( {{:12.8f}} {{:12.8f}} {{:12.8f}}  )",
                    run.steps[0].positions / EDGE),
    )  # fmt: skip

    def step(n: int, one: Step) -> str:
        moved = PWSCF_MOVED.format(
            n=n - 1, positions=lines(f"{symbol:2s} {{:20.10f}}{{:20.10f}}{{:20.10f}}", one.positions)
        )
        forces = lines("     atom {n:4d} type  1   force = {:14.8f}{:14.8f}{:14.8f}", one.forces * BOHR / RYDBERG)
        labels = PWSCF_LABELS.format(energy=one.energy / RYDBERG, forces=forces)
        return (moved if n > 1 else "") + PWSCF_LOOP + labels

    return printed(run, opening, step, failed=PWSCF_LOOP + PWSCF_FAILURE, finished=PWSCF_CLOSING)


ORCA_OPENING = """
                                 *****************
                                 * O   R   C   A *
                                 *****************

                         Program Version 5.0.3 -  RELEASE  -

================================================================================
                                       INPUT FILE
================================================================================
|  1> ! PBE def2-SVP Opt
|  2> # started {clock}
|  3>                          ****END OF INPUT****
================================================================================

                       *****************************
                       * Geometry Optimization Run *
                       *****************************
Your calculation utilizes the basis: def2-SVP
"""
ORCA_SETTINGS = """
General Settings:
 Hartree-Fock type      HFTyp           .... RHF
 Total Charge           Charge          ....    0
 Multiplicity           Mult            ....    1
"""
ORCA_STEP = """
         *                GEOMETRY OPTIMIZATION CYCLE {n:3d}            *

---------------------------------
CARTESIAN COORDINATES (ANGSTROEM)
---------------------------------
{positions}
---------------------------------
CARTESIAN COORDINATES (A.U.)
---------------------------------
  NO LB      ZA    FRAG     MASS         X           Y           Z
{atoms}{settings}
               *           SCF CONVERGED AFTER   9 CYCLES          *

-------------------------   --------------------
FINAL SINGLE POINT ENERGY {energy:21.12f}
-------------------------   --------------------

------------------
CARTESIAN GRADIENT
------------------

{gradient}
Norm of the cartesian gradient     ...    0.1
"""
ORCA_FAILURE = """
               *        SCF NOT CONVERGED AFTER 125 CYCLES         *

ORCA finished by error termination in SCF
"""
ORCA_CLOSING = "\n                             ****ORCA TERMINATED NORMALLY****\n"


def orca(run: Run) -> str:
    """Standard output of an optimisation by ORCA."""
    symbol, charge, mass = run.element

    def step(n: int, one: Step) -> str:
        atom = f"{{n:4d}} {symbol:<2s}{charge:10.4f}    0{mass:10.3f}{{:12.6f}}{{:12.6f}}{{:12.6f}}"
        return ORCA_STEP.format(
            n=n,
            positions=lines(f"  {symbol:<2s}{{:14.6f}}{{:12.6f}}{{:12.6f}}", one.positions),
            atoms=lines(atom, one.positions / BOHR),
            settings=ORCA_SETTINGS if n == 1 else "",
            energy=one.energy / HARTREE,
            gradient=lines(f"{{n:4d}}   {symbol:<4s}:{{:15.9f}}{{:15.9f}}{{:15.9f}}", -one.forces * BOHR / HARTREE),
        )

    return printed(run, ORCA_OPENING.format(clock=run.clock), step, failed=ORCA_FAILURE, finished=ORCA_CLOSING)


GAUSSIAN_OPENING = """ Entering Gaussian System, Link 0=g16
 Initial command:
 l1.exe "Gau-1.inp" -scrdir="."
 Entering Link 1 = l1.exe PID= {started:9d}.

 ******************************************
 Gaussian 16:  ES64L-G16RevC.01  3-Jul-2019
                 1-Jan-2024
 ******************************************
 -----------------
 # B3LYP/STO-3G opt
 -----------------
 1/14=-1,18=20,19=15,26=3,38=1/1,3;
 5/5=2,38=5/2;
 7/25=1/1,2,3,16;
 -------
 springs
 -------
 Charge =  0 Multiplicity = 1
"""
GAUSSIAN_GEOMETRY = """                          Input orientation:
 {rule}
 Center     Atomic      Atomic             Coordinates (Angstroms)
 Number     Number       Type             X           Y           Z
 {rule}
{positions} {rule}
"""
GAUSSIAN_LABELS = """ SCF Done:  E(RB3LYP) = {energy:16.9f}     A.U. after    9 cycles
 ***** Axes restored to original set *****
 {rule}
 Center     Atomic                   Forces (Hartrees/Bohr)
 Number     Number              X              Y              Z
 {rule}
{forces} {rule}
 Cartesian Forces:  Max     0.000215948 RMS     0.000111163
"""
GAUSSIAN_FAILURE = """ >>>>>>>>>> Convergence criterion not met.
 Convergence failure -- run terminated.
 Error termination via Lnk1e in l502.exe at Mon Jan  1 00:00:00 2024.
"""
GAUSSIAN_CLOSING = " Normal termination of Gaussian 16 at Mon Jan  1 00:00:00 2024.\n"


def gaussian(run: Run) -> str:
    """Log of an optimisation by Gaussian."""
    charge = run.element[1]

    def geometry(one: Step) -> str:
        rows = lines(f"{{n:7d}}{charge:11d}{0:12d}    {{:12.6f}}{{:12.6f}}{{:12.6f}}", one.positions)
        return GAUSSIAN_GEOMETRY.format(rule=RULE, positions=rows)

    def step(_: int, one: Step) -> str:
        forces = lines(f"{{n:7d}}{charge:9d}       {{:15.9f}}{{:15.9f}}{{:15.9f}}", one.forces * BOHR / HARTREE)
        return geometry(one) + GAUSSIAN_LABELS.format(rule=RULE, energy=one.energy / HARTREE, forces=forces)

    failure = geometry(run.steps[-1]) + GAUSSIAN_FAILURE
    opening = GAUSSIAN_OPENING.format(started=run.started)
    return printed(run, opening, step, failed=failure, finished=GAUSSIAN_CLOSING)


CP2K_OPENING = """
  **** **** ******  **  PROGRAM STARTED AT               2024-03-01 {clock}.000
 ***** **    ** ** **   PROGRAM PROCESS ID                                  4711

 CP2K| version string:                                       CP2K version 2023.1
 CP2K| Input file name                                                springs.inp

 GLOBAL| Project name                                                        run
 GLOBAL| Run type                                                             MD

 CELL| Vector a [angstrom]: {edge:10.3f}{zero:10.3f}{zero:10.3f}   |a| = {edge:12.6f}
 CELL| Vector b [angstrom]: {zero:10.3f}{edge:10.3f}{zero:10.3f}   |b| = {edge:12.6f}
 CELL| Vector c [angstrom]: {zero:10.3f}{zero:10.3f}{edge:10.3f}   |c| = {edge:12.6f}
 CELL| Angle (b,c), alpha [degree]:                                    90.000000
 CELL| Angle (a,c), beta  [degree]:                                    90.000000
 CELL| Angle (a,b), gamma [degree]:                                    90.000000
 CELL| Periodicity                                                           XYZ

 DFT| Spin restricted Kohn-Sham (RKS) calculation                            RKS
 DFT| Multiplicity                                                             1
 DFT| Charge                                                                   0

 FUNCTIONAL| PBE:

 QS| Method:                                                                 GPW
 QS| Density cutoff [a.u.]:                                                200.0

 MODULE QUICKSTEP: ATOMIC COORDINATES IN ANGSTROM

   Atom Kind Element         X             Y             Z       Z(eff)     Mass
{atoms}
 MD_PAR| Ensemble type                                                       NVT
 MD_PAR| Temperature [K]                                              300.000000
"""
CP2K_STEP = """
  *** SCF run converged in    12 steps ***

 ENERGY| Total FORCE_EVAL ( QS ) energy [a.u.]: {energy:33.15f}

 ATOMIC FORCES in [a.u.]

 # Atom   Kind   Element          X              Y              Z
{forces} SUM OF ATOMIC FORCES           0.00000000     0.00000000     0.00000000     0.00000000
"""
CP2K_BEGUN = "\n MD_INI| MD initialization\n"
CP2K_MOVED = """
 MD| Step number {n:63d}
 MD| Time [fs] {time:65.6f}
"""
CP2K_FAILURE = """
 *   ___                                                                       *
 *  [ABORT]  SCF run NOT converged. To continue the calculation regardless,    *
"""
CP2K_CLOSING = "\n  **** **** ******  **  PROGRAM ENDED AT                 2024-03-01 23:59:59.000\n"


def cp2k(run: Run) -> str:
    """Log of molecular dynamics by CP2K, whose positions are in `cp2k_positions`."""
    symbol, charge, mass = run.element
    atom = f"{{n:7d}}    1 {symbol:2s} {charge:4d} {{:13.6f}} {{:13.6f}} {{:13.6f}}   4.0000 {mass:8.4f}"
    opening = CP2K_OPENING.format(clock=run.clock, edge=EDGE, zero=0.0, atoms=lines(atom, run.steps[0].positions))

    def step(n: int, one: Step) -> str:
        forces = lines(f"{{n:7d}}      1      {symbol:2s} {{:15.8f}}{{:15.8f}}{{:15.8f}}", one.forces * BOHR / HARTREE)
        moved = CP2K_MOVED.format(n=n - 1, time=n - 1) if n > 1 else CP2K_BEGUN
        return CP2K_STEP.format(energy=one.energy / HARTREE, forces=forces) + moved

    return printed(run, opening, step, failed=CP2K_FAILURE, finished=CP2K_CLOSING)


def cp2k_positions(run: Run) -> str:
    """The trajectory that CP2K writes beside its log."""
    return "".join(
        f"{run.n_atoms:8d}\n i = {n:8d}, time = {n:12.3f}, E = {one.energy / HARTREE:19.10f}\n"
        + lines(f"  {run.element[0]:2s}{{:20.10f}}{{:20.10f}}{{:20.10f}}", one.positions)
        for n, one in enumerate(run.steps)
    )


def extxyz(run: Run) -> str:
    """Frames of an extended XYZ file, which states neither units nor when it was written."""
    lattice = " ".join(f"{x:.1f}" for x in (EDGE * np.eye(3)).flat)
    return "".join(
        f'{run.n_atoms}\nLattice="{lattice}" Properties=species:S:1:pos:R:3:forces:R:3 energy={one.energy:.8f} pbc="T T T"\n'
        + lines(f"{run.element[0]:2s}" + "{:14.8f}" * 6, one.positions, one.forces)
        for one in run.steps
    )


LAYOUTS: Mapping[str, Mapping[str, Callable[[Run], str]]] = MappingProxyType({
    "vasp": {"vasprun.xml": vasprun_xml, "OUTCAR": outcar},
    "vasprun": {"vasprun.xml": vasprun_xml},
    "outcar": {"OUTCAR": outcar},
    "pwscf": {"pw.out": pwscf},
    "orca": {"orca.out": orca},
    "gaussian": {"gaussian.log": gaussian},
    "cp2k": {"run.out": cp2k, "run-pos-1.xyz": cp2k_positions},
    "extxyz": {"frames.extxyz": extxyz},
})  # fmt: skip
"""The files of a run by code, and what prints them."""
UNITS = "units: {energy: eV, length: angstrom}\n"
"""What a sidecar has to say of extended XYZ."""


def files(run: Run) -> dict[str, bytes]:
    """The files of a run by name, as far as it has come."""
    return {name: text(run).encode() for name, text in LAYOUTS[run.code].items()}
