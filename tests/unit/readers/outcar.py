"""OUTCAR by hand: pieces in VASP's layout with numbers of our own, put together by tests."""

from __future__ import annotations

from collections.abc import Sequence

RULE = "-" * 104
CELL = ((4.0, 0.0, 0.0), (-0.5, 5.0, 0.0), (0.25, -0.125, 6.0))
POSITIONS = ((0.1, 0.2, 0.3), (1.5, 2.5, -0.75), (2.25, 3.125, 4.5))
FORCES = ((0.012345, -0.5, 0.25), (-0.112345, 0.75, -1.25), (0.1, -0.25, 1.0))
KBAR = (16.02177, -8.5, 3.25, 0.5, -0.75, 1.125)
"""XX YY ZZ XY YZ ZX, positive in compression."""
FREE, SIGMA0, NO_ENTROPY = -12.345678, -12.34512345, -12.34456789
N_ATOMS = 3


def potential(title: str, element: str, mass: float, valence: float, exchange: str = "PE", digest: str = "") -> str:
    """What VASP repeats of one dataset of POTCAR."""
    return "\n".join((
        f" POTCAR:    {title:29s}",
        *([f"   SHA256 =  {digest} {element}/POTCAR"] if digest else []),
        f"   VRHFIN ={element}: s2p2",
        f"   LEXCH  = {exchange}",
        f"   TITEL  = {title}",
        f"   POMASS ={mass:9.3f}; ZVAL   ={valence:9.3f}    mass and valenz",
        "   ENMAX  =  245.345; ENMIN  =  184.009 eV",
        "  local pseudopotential read in",
    )) + "\n"  # fmt: skip


GE = potential("PAW_PBE Ge 05Jan2001", "Ge", 72.61, 4.0)
SI = potential("PAW_PBE Si 05Jan2001", "Si", 28.085, 4.0)
NAMES = " POTCAR:    PAW_PBE Ge 05Jan2001\n POTCAR:    PAW_PBE Si 05Jan2001\n"


def header(
    version: str = "6.3.0",
    incar: str = "",
    potentials: str = NAMES + GE + SI,
    counts: str = "               1   2",
    kpoints: str = "  generate k-points for:    2    3    1\n",
    extra: str = "",
    **tags: str,
) -> str:
    """Everything before the first ionic step."""
    used = {
        "NWRITE": "2", "PREC": "a", "ICHARG": "2", "ISPIN": "1", "LNONCOLLINEAR": "F", "LSORBIT": "F", "METAGGA": "F",
        "ENCUT": "300.0", "NELM": "60", "EDIFF": "0.1E-05", "EDIFFG": "0.1E-04", "NSW": "2", "IBRION": "0", "ISIF": "2",
        "TEBEG": "300.0", "TEEND": "300.0", "SMASS": "0.00", "PSTRESS": "0.0", "NELECT": "12.0000", "ISMEAR": "0",
        "SIGMA": "0.05", "LDIPOL": "F", "GGA": "--", "LHFCALC": "F", "AEXX": "0.0000", "LEPSILON": "F", **tags,
    }  # fmt: skip
    basis = "\n".join(f"   {a:13.9f}{b:13.9f}{c:13.9f}     0.250000000  0.000000000  0.000000000" for a, b, c in CELL)
    places = "\n".join(f"  {x:11.8f} {y:11.8f} {z:11.8f}" for x, y, z in POSITIONS)
    return f""" vasp.{version} 20Jan22 (build Jan 02 2024 03:04:05) complex

 executed on             LinuxIFC date 2024.01.02  03:04:05
 running on    4 total cores


 INCAR:
{incar}{potentials}
 POSCAR: comment ENCUT = 999 NELM = 1
 exchange correlation table for  LEXCH =        8

 KPOINTS: a comment
Automatic generation of k-mesh.
{kpoints}
 Following reciprocal coordinates:
            Coordinates               Weight
  0.000000  0.000000  0.000000      1.000000
  0.500000  0.333333  0.000000      2.000000

 Dimension of arrays:
   k-points           NKPTS =      2   k-points in BZ     NKDIM =      2   number of bands    NBANDS=      8
   number of dos      NEDOS =    301   number of ions     NIONS =      {N_ATOMS}
   dimension x,y,z NGX =    20 NGY =   24 NGZ =   30
   ions per type = {counts}

 SYSTEM =  a title NSW = 77
{chr(10).join(f"   {name:7s}= {value}   as used" for name, value in used.items())}
  Mass of Ions in am
   POMASS =  72.61 28.09
  Ionic Valenz
   ZVAL   =   4.00  4.00
{extra}
  energy-cutoff  :      300.00
  volume of cell :      120.00
      direct lattice vectors                 reciprocal lattice vectors
{basis}

 position of ions in cartesian coordinates  (Angst):
{places}


{RULE}


"""


def iteration(step: int, number: int, change: float, free: float = FREE, moment: str = "") -> str:
    """One electronic iteration."""
    return f"""----------------------------------------- Iteration {step:6d}({number:4d})  ---------------------------------------


    POTLOK:  cpu time    0.0100: real time    0.0100
      LOOP:  cpu time    0.0800: real time    0.0900

 total energy-change (2. order) :{change:14.7E}  (-0.1000000E-03)
 number of electron      12.0000000 magnetization {moment}
 augmentation part        1.5000000 magnetization {moment}

 Free energy of the ion-electron system (eV)
  ---------------------------------------------------
  free energy    TOTEN  ={free:20.8f} eV

  energy without entropy ={free:19.8f}  energy(sigma->0) ={free:19.8f}


{RULE}


"""


REACHED = "------------------------ aborting loop because EDIFF is reached ----------------------------------------\n"
NOT_REACHED = (
    "------------------------ aborting loop EDIFF was not reached (unconverged)  ----------------------------\n"
)


def stress(kbar: Sequence[float] = KBAR, row: str | None = None) -> str:
    """The block of the stress."""
    values = row if row is not None else "".join(f"{one:12.5f}" for one in kbar)
    return f"""
  FORCE on cell =-STRESS in cart. coord.  units (eV):
  Direction    XX          YY          ZZ          XY          YZ          ZX
  Total       1.20000    -0.63663     0.24342     0.03745    -0.05617     0.08426
  in kB  {values}
  external pressure =        3.59 kB  Pullay stress =        0.00 kB
"""


def cell(rows: Sequence[Sequence[float]] = CELL) -> str:
    """The block of the cell."""
    basis = "\n".join(f"   {a:13.9f}{b:13.9f}{c:13.9f}     0.250000000  0.000000000  0.000000000" for a, b, c in rows)
    return f"""
 VOLUME and BASIS-vectors are now :
 -----------------------------------------------------------------------------
  energy-cutoff  :      300.00
  volume of cell :      120.00
      direct lattice vectors                 reciprocal lattice vectors
{basis}

  length of vectors
     4.000000000  5.024937811  6.006506473     0.250000000  0.200000000  0.166666667

"""


def forces(
    positions: Sequence[Sequence[float]] = POSITIONS,
    values: Sequence[Sequence[float]] = FORCES,
    title: str = " POSITION                                       TOTAL-FORCE (eV/Angst)",
    further: str = "",
) -> str:
    """The table of positions and forces; `further` ends each row."""
    rows = "\n".join(
        "".join(f"{one:13.5f}" for one in place) + "   " + "".join(f"{one:14.6f}" for one in force) + further
        for place, force in zip(positions, values, strict=True)
    )
    rule = " " + "-" * 83
    drift = "    total drift:                                0.000000      0.000000      0.000000"
    return f"{title}\n{rule}\n{rows}\n{rule}\n{drift}\n\n\n{RULE}\n\n\n"


def energies(free: str | None = None, others: str | None = None, more: str = "") -> str:
    """The final energies of a step."""
    free = free or f"  free  energy   TOTEN  ={FREE:20.8f} eV"
    others = others or f"  energy  without entropy={NO_ENTROPY:19.8f}  energy(sigma->0) ={SIGMA0:19.8f}"
    return f"""
  FREE ENERGIE OF THE ION-ELECTRON SYSTEM (eV)
  ---------------------------------------------------
{free}

{others}
{more}


"""


LOOP_ENDS = (
    "     LOOP+:  cpu time    1.0000: real time    1.1000\n    4ORBIT:  cpu time    0.0000: real time    0.0000\n"
)
END = """
 General timing and accounting informations for this job:
 ========================================================

                  Total CPU time used (sec):        9.000
"""


def moments(values: Sequence[float], axis: str = "x") -> str:
    """The table of atomic moments along one axis."""
    rows = "\n".join(f"{i:5d}     {0.0:8.3f}{one:8.3f}{one:8.3f}" for i, one in enumerate(values, 1))
    total = sum(values)
    return f"""
 magnetization ({axis})

# of ion       s       p       tot
------------------------------------------
{rows}
--------------------------------------------------
tot       {0.0:8.3f}{total:8.3f}{total:8.3f}

"""


def learned(free: float = -12.5) -> str:
    """What a machine-learned force field prints of a step."""
    return (
        stress((0.0,) * 6).replace("  FORCE on", "  ML FORCE on")
        + forces(title="  POSITION                                       TOTAL-FORCE (eV/Angst) (ML)")
        + f"  ML FREE ENERGIE OF THE ION-ELECTRON SYSTEM (eV)\n  free  energy ML TOTEN  ={free:20.8f} eV\n\n"
        + f"  ML energy  without entropy={free:16.8f}  ML energy(sigma->0) ={free:16.8f}\n\n"
    )


def step(
    number: int = 1,
    n_iterations: int = 2,
    change: float = 1e-3,
    aborting: str = REACHED,
    on_cell: str | None = None,
    basis: str | None = None,
    table: str | None = None,
    final: str | None = None,
    between: str = "",
    after: str = "",
    moment: str = "",
) -> str:
    """One ionic step as VASP 5 and 6 print it."""
    loops = "".join(iteration(number, i + 1, change, FREE - change, moment) for i in range(n_iterations))
    return "".join((
        loops, "\n E-fermi :   2.5000     XC(G=0):  -9.6474     alpha+bet : -9.6808\n\n", aborting, between,
        stress() if on_cell is None else on_cell, cell() if basis is None else basis,
        "\n", forces() if table is None else table, energies() if final is None else final, after, LOOP_ENDS,
    ))  # fmt: skip


def outcar(*steps: str, head: str | None = None, end: str = END) -> str:
    """A whole file."""
    return (header() if head is None else head) + "".join(steps) + end
