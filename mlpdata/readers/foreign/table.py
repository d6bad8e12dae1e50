"""Further codes, one row a code: what recognises it, which library reads it, and what that library's numbers mean.

Each row was held against real outputs of its code: units, which of several energies the library takes, the sign of
the forces (by the change of the energy along steps, or by a difference of energies) and of the stress. What could not
be shown is not taken: such a row gives energies and geometries only, and says so. What a library is known to pair
wrongly is refused by the words of such runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from mlpdata.schema.calculation import EnergyKind

Library = Literal["ase", "cclib", "dpdata"]


class Units(NamedTuple):
    """Units of the numbers of one code, as it prints them."""

    energy: str
    length: str
    force: str
    stress: str = "eV/angstrom^3"


EV = Units("eV", "angstrom", "eV/angstrom")
GPA = EV._replace(stress="GPa")
ATOMIC = Units("hartree", "bohr", "hartree/bohr")
GAUSSIAN_LIKE = Units("hartree", "angstrom", "hartree/bohr")


class Refused(NamedTuple):
    """Words of runs that are not taken."""

    words: bytes
    reason: str
    """What such a run is, and what the library makes of it."""


@dataclass(frozen=True, kw_only=True)
class Code:
    """One row of the table."""

    code: str
    """As `Method.code` has it."""
    library: Library
    """Which reads it."""
    parser: str
    """Name of the library's format or parser."""
    marks: tuple[bytes, ...]
    """All of these are in the first 64 KiB of its outputs, and not in those of another code."""
    ends: tuple[bytes, ...] = ()
    """The code's own words at a good end, any of them; none where it prints none: such a run is never complete."""
    energy_kind: EnergyKind
    """What the library's energy is, by the code's manual and the library's source."""
    units: Units
    forces: bool = False
    """Whether sign and frame of the library's forces were shown to be right."""
    stress: bool = False
    """Whether the sign of the library's stress was shown to be right."""
    labels: bytes = b""
    """Words that the code prints once beside each energy that should be a frame."""
    single: bool = False
    """Whether the library reads one geometry: a file with several of `labels` is refused."""
    version: bytes = b""
    """Pattern of the version of the code, where the library does not tell."""
    functional: bytes = b""
    """Pattern of what the code calls its functional, where the library does not tell."""
    refused: tuple[Refused, ...] = ()
    """Runs whose numbers the library pairs wrongly."""
    shifted: bytes = b""
    """Pattern of a row whose first columns have merged, of which the library takes the wrong ones."""
    unconverged: bytes = b""
    """Words that a failed self-consistent loop prints; the rest of the file goes unpaired with them, so it is refused."""
    last_mispaired: bytes = b""
    """Words of runs whose last frame the library gives the geometry of another."""
    scale: bytes = b""
    """Pattern of the three lengths [bohr] that the library forgets to multiply lattice vectors by."""
    lost: bytes = b""
    """Words that the code prints for each geometry whose loop failed, where the library leaves those away unsaid."""
    tells_method: bool = False
    """Whether the library tells Hartree-Fock from density functionals."""
    b3lyp: str = "B3LYP"
    """Which form the code calls B3LYP: Gaussian's, or B3LYP5."""
    solvent: bytes = b""
    """Words that say that a solvent acts."""
    companions: tuple[str, ...] = ()
    """Globs, from its folder, of files without which the library cannot read it."""
    note: str = ""
    """What whoever takes the frames should know."""

    @property
    def name(self) -> str:
        """Name of its reader."""
        return f"{self.code}/{self.library}"

    def recognises(self, head: bytes) -> bool:
        """Whether the first 64 KiB of a file are of this code."""
        return all(mark in head for mark in self.marks)


CCLIB = (
    Code(
        code="nwchem",
        library="cclib",
        parser="NWChem",
        marks=(b"Northwest Computational Chemistry Package",),
        ends=(b"Total times  cpu:",),
        energy_kind="total",
        units=GAUSSIAN_LIKE,
        tells_method=True,
        forces=True,
        refused=(
            Refused(b"NWChem QMD Module", "a dynamics run, whose geometries cclib gives to the energies before them"),
            Refused(b"NWChem PSPW", "a plane-wave run, of which cclib reads no cell"),
            Refused(b"TDDFT Gradient Module", "an excited state, whose gradient cclib gives to the ground state"),
        ),
        unconverged=b"Calculation failed to converge",
        solvent=b"COSMO solvation results",
    ),
    Code(
        code="psi4",
        library="cclib",
        parser="Psi4",
        marks=(b"Psi4: An Open-Source Ab Initio",),
        ends=(b"Psi4 exiting successfully",),
        energy_kind="total",
        units=GAUSSIAN_LIKE,
        forces=True,
        unconverged=b"Could not converge SCF",
        solvent=b"Polarizable Continuum",
    ),
    Code(
        code="qchem",
        library="cclib",
        parser="QChem",
        marks=(b"Q-Chem, Inc.", b"Welcome to Q-Chem"),
        ends=(b"Thank you very much for using Q-Chem",),
        energy_kind="total",
        units=GAUSSIAN_LIKE,
        tells_method=True,
        forces=True,
        unconverged=b"SCF failed to converge",
        solvent=b"SOLVENT_METHOD",
    ),
    Code(
        code="molpro",
        library="cclib",
        parser="Molpro",
        marks=(b"PROGRAM SYSTEM MOLPRO",),
        ends=(b"Variable memory released", b"Molpro calculation terminated"),
        energy_kind="total",
        units=GAUSSIAN_LIKE,
    ),
    Code(
        code="gamess",
        library="cclib",
        parser="GAMESS",
        marks=(b"GAMESS VERSION",),
        ends=(b"TERMINATED NORMALLY",),
        energy_kind="total",
        units=GAUSSIAN_LIKE,
        unconverged=b"SCF IS UNCONVERGED",
        solvent=b"PCM",
    ),
    Code(
        code="dalton",
        library="cclib",
        parser="DALTON",
        marks=(b"Dalton - An Electronic Structure Program",),
        ends=(b"wall time used in DALTON",),
        energy_kind="total",
        units=GAUSSIAN_LIKE,
        tells_method=True,
        b3lyp="B3LYP5",
        unconverged=b"WARNING: Wave function not converged",
    ),
    Code(
        code="jaguar",
        library="cclib",
        parser="Jaguar",
        marks=(b"Jaguar version", b"Schrodinger"),
        ends=(b" completed on",),
        energy_kind="total",
        units=GAUSSIAN_LIKE,
    ),
    Code(
        code="openmolcas",
        library="cclib",
        parser="Molcas",
        marks=(b"MOLCAS", b"&GATEWAY"),
        ends=(b"Happy landing",),
        energy_kind="total",
        units=GAUSSIAN_LIKE,
    ),
    Code(
        code="turbomole",
        library="cclib",
        parser="Turbomole",
        marks=(b"TURBOMOLE GmbH", b"nuclear repulsion energy"),
        ends=(b"dscf ended normally", b"ridft ended normally", b"dscf : all done", b"ridft : all done"),
        energy_kind="total",
        units=GAUSSIAN_LIKE,
    ),
)

ASE = (
    Code(
        code="fhi-aims",
        library="ase",
        parser="aims-output",
        marks=(b"Invoking FHI-aims ...",),
        ends=(b"Have a nice day.",),
        energy_kind="free",  # `| Electronic free energy`, which the forces derive from
        units=EV,
        forces=True,
        stress=True,
        labels=b"| Total energy uncorrected      :",
        version=rb"\n +(?:FHI-aims version +: +|Version )(\S{1,40})",
        functional=rb"\n +XC: +(?:Running with |Using )([^\n]{1,80}?)\.? *\n",
        refused=(
            Refused(b"\n  sc_self_energy", "a self-consistent GW run"),
            Refused(b"\n  total_energy_method", "an energy worked out after the self-consistent loop"),
        ),
        shifted=rb"\n +\|" + 3 * rb" +-?\d{1,20}\.\d{15}E[+-]\d\d" + rb" *\n",
        unconverged=b"SELF-CONSISTENCY CYCLE DID NOT CONVERGE",
        last_mispaired=b"Advancing structure using Born-Oppenheimer Molecular Dynamics",
    ),
    Code(
        code="castep",
        library="ase",
        parser="castep-castep",
        marks=(b"CASTEP version", b"General Parameters"),
        ends=(b"Finalisation time   =",),
        energy_kind="free",  # `Final free energy`, or `Final energy` where occupations are fixed
        units=GPA,
        forces=True,
        stress=True,
        note="energies are not corrected for the finite basis, which shows where the cell changes",
        version=rb"CASTEP version ([\d.]{1,20})",
        functional=rb"using functional +: ([^\n]{1,80}?) *\n",
        refused=(
            Refused(b"transition state search", "a transition-state search, whose energies ASE gives to one geometry"),
            Refused(b"TPSD: starting iteration", "a TPSD optimisation, whose steps ASE does not tell apart"),
        ),
    ),
    Code(
        code="abinit",
        library="ase",
        parser="abinit-out",
        marks=(b".Version", b" of ABINIT"),
        ends=(b"Calculation completed.",),
        energy_kind="free",  # `Etotal`, the sum of the components of the total free energy
        units=EV,
        forces=True,
        stress=True,
        labels=b"cartesian forces (eV/Angstrom) at end",
        single=True,
        scale=rb"\n +acell +(\S{1,40}) +(\S{1,40}) +(\S{1,40}) +Bohr",
        version=rb"\.Version +(\S{1,20}) +of ABINIT",
    ),
    Code(
        code="qbox",
        library="ase",
        parser="qbox",
        marks=(b"<fpmd:simulation",),
        ends=(b"</fpmd:simulation>",),
        energy_kind="total",
        units=ATOMIC,  # ASE hands on what Qbox prints as if it were eV and angstrom
        forces=True,
        labels=b"<etotal>",
        version=rb"I qbox ([\w.\-]{1,20})",
    ),
    Code(
        code="turbomole",
        library="ase",
        parser="turbomole-gradient",
        marks=(b"$grad", b"SCF energy =", b"|dE/dxyz| ="),
        ends=(b"\n$end",),
        energy_kind="total",
        units=ATOMIC,
        forces=True,
        labels=b"cycle =",
        note="the file `gradient` as Turbomole writes it; xtb and others write it too",
    ),
)

DPDATA = (
    Code(
        code="siesta",
        library="dpdata",
        parser="siesta/output",
        marks=(b"siesta: ", b"redata: "),
        ends=(b">> End of run:", b"Job completed"),
        energy_kind="unknown",  # E_KS, which is not the free energy of a metal
        units=EV,
        forces=True,
        labels=b"siesta: E_KS(eV) =",
        version=rb"Siesta Version *: +(\S{1,40})",
        note="energies are E_KS, which lacks the entropy of the occupations",
    ),
    Code(
        code="abacus",
        library="dpdata",
        parser="abacus",
        marks=(b"WELCOME TO ABACUS",),
        ends=(b"Finish Time",),
        energy_kind="free",
        units=EV,
        forces=True,
        lost=b"convergence has not been achieved",
        companions=("../INPUT", "../STRU", "MD_dump", "STRU_ION*_D"),
        version=rb"\n +(?:Version: (?:Parallel, )?|ABACUS )(v[\d.]{1,20})",
    ),
    Code(
        code="pwmat",
        library="dpdata",
        parser="pwmat/movement",
        marks=(b" atoms,Iteration (fs) =", b"Etot,Ep,Ek (eV) ="),
        energy_kind="unknown",
        units=EV,
        forces=True,
        labels=b"Etot,Ep,Ek (eV) =",
    ),
    Code(
        code="dftb+",
        library="dpdata",
        parser="dftbplus",
        marks=(b"Calculation with static geometry", b"Total Mermin free energy:"),
        energy_kind="total",
        units=GAUSSIAN_LIKE,
        forces=True,
        companions=("dftb_pin.hsd",),
    ),
)

CODES: tuple[Code, ...] = CCLIB + ASE + DPDATA
"""All of them, in the order in which they are asked."""
