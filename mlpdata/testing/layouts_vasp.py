"""The layouts of VASP: vasprun.xml and OUTCAR, as short as the readers allow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from mlpdata.testing.springs import EDGE, Run, Step, lines, printed
from mlpdata.units import F64


def _tags(values: Mapping[str, object]) -> str:
    return "".join(f'<i name="{name}">{value}</i>\n' for name, value in values.items())


def _varray(name: str, rows: F64) -> str:
    return f'<varray name="{name}" >\n{lines("<v>{:16.8f}{:16.8f}{:16.8f}</v>", rows)}</varray>\n'


def _array(name: str, fields: Sequence[str], rows: str) -> str:
    named = "".join(f"<field>{field}</field>\n" for field in fields)
    return f'<array name="{name}" >\n{named}<set>\n{rows}</set>\n</array>\n'


def _structure(positions: F64, name: str = "") -> str:
    named = f' name="{name}"' if name else ""
    crystal = f"<crystal>\n{_varray('basis', EDGE * np.eye(3))}</crystal>\n"
    return f"<structure{named} >\n{crystal}{_varray('positions', positions / EDGE)}</structure>\n"


def vasprun_xml(run: Run) -> str:
    """vasprun.xml of VASP, which closes its tags where it ends."""
    symbol, _, mass = run.element
    generator = {"program": "vasp", "version": "6.3.0", "date": "2024 01 02", "time": run.clock}
    parameters = {"ENMAX": 400.0, "NELECT": 4.0 * run.n_atoms, "NELM": 60, "EDIFF": 1e-6, "ISMEAR": 0, "SIGMA": 0.05,
                  "ISPIN": 1, "GGA": "--", "NSW": 100, "IBRION": 0, "ISIF": 2, "TEBEG": 300.0, "TEEND": 300.0}  # fmt: skip
    atoms = f"<rc><c>{symbol}</c><c>1</c></rc>\n" * run.n_atoms
    kind = f"<rc><c>{run.n_atoms}</c><c>{symbol}</c><c>{mass}</c><c>4.0</c><c>PAW_PBE {symbol} 05Jan2001</c></rc>\n"
    opening = (
        '<?xml version="1.0" encoding="ISO-8859-1"?>\n<modeling>\n'
        f"<generator>\n{_tags(generator)}</generator>\n<incar>\n</incar>\n"
        '<kpoints>\n<generation param="Gamma">\n<v type="int" name="divisions">1 1 1</v>\n</generation>\n</kpoints>\n'
        f'<parameters>\n<separator name="electronic" >\n{_tags(parameters)}</separator>\n</parameters>\n'
        f"<atominfo>\n<atoms>{run.n_atoms}</atoms>\n<types>1</types>\n"
        f"{_array('atoms', ('element', 'atomtype'), atoms)}"
        f"{_array('atomtypes', ('atomspertype', 'element', 'mass', 'valence', 'pseudopotential'), kind)}</atominfo>\n"
        + _structure(run.steps[0].positions, "initialpos")
    )

    def step(_: int, one: Step) -> str:
        energy = _tags(dict.fromkeys(("e_fr_energy", "e_wo_entrp", "e_0_energy"), f"{one.energy:.8f}"))
        energies = f"<energy>\n{energy}</energy>\n"
        loop = f"<scstep>\n{energies}</scstep>\n"
        return (
            f"<calculation>\n{loop}{_structure(one.positions)}{_varray('forces', one.forces)}{energies}</calculation>\n"
        )

    closing = _structure(run.steps[-1].positions, "finalpos") + "</modeling>\n"
    return printed(run, opening, step, finished=closing)


OUTCAR_OPENING = """ vasp.6.3.0 20Jan22 (build Jan 02 2024 03:04:05) complex

 executed on             LinuxIFC date 2024.01.02  {clock}
 running on    1 total cores

 INCAR:
 POTCAR:    PAW_PBE {symbol} 05Jan2001
   VRHFIN ={symbol}: s2p2
   LEXCH  = PE
   TITEL  = PAW_PBE {symbol} 05Jan2001
   POMASS ={mass:9.3f}; ZVAL   =    4.000    mass and valenz

 POSCAR: springs
Automatic generation of k-mesh.
  generate k-points for:    1    1    1

 Dimension of arrays:
   number of dos      NEDOS =    301   number of ions     NIONS = {n_atoms:6d}
   ions per type = {n_atoms:6d}

   ISPIN  =      1    spin polarized calculation?
   ENCUT  =  400.0 eV
   NELM   =     60;   NELMIN=  4
   EDIFF  = 0.1E-05   stopping-criterion for ELM
   NSW    =    100    number of steps for IOM
   IBRION =      0    ionic relax: 0-MD
   ISIF   =      2    stress and relaxation
   TEBEG  =  300.0;   TEEND  = 300.0
   NELECT = {n_electrons:11.4f}
   ISMEAR =     0;   SIGMA  =   0.05
   GGA    =    --    GGA type

      direct lattice vectors                 reciprocal lattice vectors
{cell}
 position of ions in cartesian coordinates  (Angst):
{positions}

"""
OUTCAR_LOOP = """----------------------------------------- Iteration {n:6d}(   1)  ---------------------------------------

 total energy-change (2. order) : 1.0000000E-08  (-0.1000000E-08)

"""
OUTCAR_LABELS = """------------------------ aborting loop because EDIFF is reached ----------------------------------------

 VOLUME and BASIS-vectors are now :
      direct lattice vectors                 reciprocal lattice vectors
{cell}
 POSITION                                       TOTAL-FORCE (eV/Angst)
 ------------------------------------------------------------------------------
{table} ------------------------------------------------------------------------------

  FREE ENERGIE OF THE ION-ELECTRON SYSTEM (eV)
  ---------------------------------------------------
  free  energy   TOTEN  ={energy:20.8f} eV

  energy  without entropy={energy:19.8f}  energy(sigma->0) ={energy:19.8f}

     LOOP+:  cpu time    1.0000: real time    1.1000
"""
OUTCAR_CLOSING = "\n General timing and accounting informations for this job:\n ====\n"


def outcar(run: Run) -> str:
    """OUTCAR of VASP."""
    symbol, _, mass = run.element
    cell = lines("   {:13.9f}{:13.9f}{:13.9f}     0.125000000  0.000000000  0.000000000", EDGE * np.eye(3))
    opening = OUTCAR_OPENING.format(
        clock=run.clock, symbol=symbol, mass=mass, n_atoms=run.n_atoms, n_electrons=4.0 * run.n_atoms, cell=cell,
        positions=lines("  {:11.8f} {:11.8f} {:11.8f}", run.steps[0].positions),
    )  # fmt: skip

    def step(n: int, one: Step) -> str:
        table = lines("{:13.5f}{:13.5f}{:13.5f}   {:14.6f}{:14.6f}{:14.6f}", one.positions, one.forces)
        return OUTCAR_LOOP.format(n=n) + OUTCAR_LABELS.format(cell=cell, table=table, energy=one.energy)

    failure = (
        OUTCAR_LOOP.format(n=run.n_steps + 1) + " LAPACK: Routine ZPOTRF failed!           7           1           8\n"
    )
    return printed(run, opening, step, failed=failure, finished=OUTCAR_CLOSING)
