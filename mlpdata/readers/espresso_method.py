"""What the two readers of pw.x share: names of elements, functionals, smearings and dispersion corrections.

`from_header` works out the Method from the text that pw.x prints before its first SCF iteration. The form of the lines
is fixed by PW/src/summary.f90; where a version does not print something it stays unknown.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from mlpdata.errors import ParseError
from mlpdata.readers.text import number
from mlpdata.schema.method import Convergence, Hubbard, Kpoints, Method, Pseudopotential, Smearing
from mlpdata.units import scalar

_SYMBOLS = (
    "H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr "
    "Rb Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu "
    "Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U Np Pu Am Cm Bk Cf Es Fm Md No Lr "
    "Rf Db Sg Bh Hs Mt Ds Rg Cn Nh Fl Mc Lv Ts Og"
).split()
_NUMBER = {symbol: index for index, symbol in enumerate(_SYMBOLS, 1)}

_FUNCTIONALS = {
    "SLA PW PBX PBC": "PBE",
    "SLA PW PBE PBE": "PBE",
    "SLA PW PSX PSC": "PBEsol",
    "PBESOL": "PBEsol",
    "SLA PW REVX PBC": "revPBE",
    "SLA PW RPB PBC": "revPBE",
    "REVPBE": "revPBE",
    "SLA PW GGX GGC": "PW91",
    "SLA PZ NOGX NOGC": "LDA",
    "PZ": "LDA",
    "SLA PW NOGX NOGC": "LDA-PW",
    "PW": "LDA-PW",
    "SLA LYP B88 BLYP": "BLYP",
    "SLA PZ B88 P86": "BP86",
    "BP": "BP86",
    "HSE": "HSE06",
    "GAUP": "GauPBE",
    "GAUPBE": "GauPBE",
    "VDW-DF": "vdW-DF",
    "VDW-DF2": "vdW-DF2",
    "VDW-DF-CX": "vdW-DF-cx",
    "RVV10": "rVV10",
}
_NONLOCAL = {"vdW-DF": "vdW-DF", "vdW-DF2": "vdW-DF2", "vdW-DF-cx": "vdW-DF-cx", "rVV10": "rVV10"}
_SMEARINGS = {
    "gauss": "gaussian",
    "marzari-vanderbilt": "marzari-vanderbilt",
    "cold": "marzari-vanderbilt",
    "mv": "marzari-vanderbilt",
    "methfessel-paxton": "methfessel-paxton",
    "mp": "methfessel-paxton",
    "fermi-dirac": "fermi-dirac",
    "fd": "fermi-dirac",
}
_DISPERSIONS = (
    (rb"Parameters for DFT-D3 Dispersion Correction|DFT-D3 Dispersion", "D3"),
    (rb"Parameters for Dispersion|DFT-D Dispersion", "D2"),
    (rb"Many-body dispersion|MBD@rsSCS", "MBD"),
    (rb"TS-vdW|Tkatchenko-Scheffler", "TS"),
    (rb"XDM dispersion|Exchange-hole dipole", "XDM"),
)


def atomic_number(kind: str) -> int:
    """Z of a kind of atom; what pw.x allows after the symbol is dropped: Fe1, Fe_a, C-h (pitfall Q7).

    Raises:
        ParseError: no element begins the name.
    """
    letters = re.match(r"[A-Za-z]{0,2}", kind)
    name = letters[0].capitalize() if letters else ""
    z = _NUMBER.get(name) or _NUMBER.get(name[:1])
    if z is None:
        raise ParseError(f"expected the name of a kind to begin with a chemical symbol, found {kind!r}.")
    return z


class Species(NamedTuple):
    """One kind of atom."""

    atomic_number: int
    valence: float
    """Electrons of its pseudopotential."""


def species_of(table: bytes) -> dict[bytes, Species]:
    """Kinds by name, from the rows below `atomic species   valence    mass     pseudopotential`.

    The pseudopotential names the element where it can, since a kind may be called anything (pitfall Q7).
    """
    found = {}
    for row in table.splitlines():
        kind, valence, _, symbol = row.replace(b"(", b" ").split()[:4]
        name = symbol.decode("latin-1").capitalize()
        z = _NUMBER.get(name) or atomic_number(kind.decode("latin-1"))
        found[kind] = Species(z, number(valence))
    return found


def functional(printed: str) -> str | None:
    """Canonical name of a functional as pw.x prints it; a name that is not in the table is kept."""
    words = " ".join(printed.upper().split())
    return _FUNCTIONALS.get(words, words) or None


def dispersion_of(name: str | None) -> str | None:
    """The dispersion that is part of a functional with a non-local correlation."""
    return _NONLOCAL.get(name or "")


def smearing(name: str, width: float, unit: str) -> Smearing:
    """A smearing by any of the names that pw.x gives it."""
    key = name.strip().lower()
    method = next((full for short, full in _SMEARINGS.items() if key.startswith(short)), key)
    return Smearing(method=method, width=scalar(width, unit, "energy"))


def from_header(header: bytes, version: str) -> Method:
    """The Method that the text before the first SCF iteration states."""
    printed = _functional_as_printed(header)
    name = functional(printed) if printed else None
    fraction = _value(rb"EXX-fraction\s*=", header)
    return Method(
        code="quantum-espresso",
        code_version=version,
        functional=name,
        functional_as_printed=printed,
        exact_exchange=fraction or None,
        dispersion=_dispersion(header, name),
        hubbard=_hubbard(header),
        basis="plane waves",
        cutoff_energy=_energy(rb"kinetic-energy cutoff\s*=", header),
        cutoff_density=_energy(rb"charge density cutoff\s*=", header),
        kpoints=_kpoints(header),
        smearing=_smearing(header),
        pseudopotentials=_pseudopotentials(header),
        relativity="spin-orbit" if b"calculation with spin-orbit" in header else None,
        spin=_spin(header),
        external=_external(header),
        convergence=_convergence(header),
    )


def _value(label: bytes, header: bytes) -> float | None:
    match = re.search(label + rb"\s*(\S+)", header)
    return None if match is None else number(match[1])


def _energy(label: bytes, header: bytes) -> float | None:
    value = _value(label, header)
    return None if value is None else scalar(value, "Ry", "energy")


def _functional_as_printed(header: bytes) -> str | None:
    """The names between `=` and the indices in brackets, which newer versions print on the next line."""
    match = re.search(rb"Exchange-correlation\s*=\s*([^\n(]*)", header)
    return " ".join(match[1].decode("latin-1").split()) or None if match else None


def _dispersion(header: bytes, name: str | None) -> str | None:
    """D3 without its damping, which standard output does not print."""
    found = next((label for pattern, label in _DISPERSIONS if re.search(pattern, header)), None)
    return found or dispersion_of(name)


def _hubbard(header: bytes) -> tuple[Hubbard, ...]:
    """+U terms: the table up to version 7.0, one line a term since 7.1."""
    terms = re.findall(rb"^\s*U\((\w+)-(\w+)\)\s*=\s*(\S+)", header, re.M)
    found = [(species.decode(), orbital.decode(), number(u)) for species, orbital, u in terms]
    table = re.search(rb"LDA\+U calculation.*?\n.*atomic species +L +U .*\n((?:\s+\S+\s+\d\s+[\d. -]+\n)+)", header)
    for row in table[1].splitlines() if table else []:
        species, shell, u = row.split()[:3]
        found.append((species.decode(), "spdf"[int(shell)], number(u)))
    scheme = "dudarev" if re.search(rb"Simplified LDA\+U|Dudarev", header) else None
    return tuple(Hubbard(species=species, orbital=orbital, u=u, scheme=scheme) for species, orbital, u in found)


def _kpoints(header: bytes) -> Kpoints | None:
    """Standard output lists the irreducible points; only the XML file knows the mesh."""
    match = re.search(rb"number of k points=\s*(\d+)", header)
    return Kpoints(count=int(match[1])) if match else None


def _smearing(header: bytes) -> Smearing | None:
    match = re.search(rb"number of k points=\s*\d+ +(\S.*?) +smearing, width \(Ry\)=\s*(\S+)", header)
    if match:
        return smearing(match[1].decode("latin-1"), number(match[2]), "Ry")
    if re.search(rb"number of k points=\s*\d+ +\(tetrahedron", header):
        return Smearing(method="tetrahedron")
    return Smearing(method="fixed") if b"number of k points=" in header else None


def _spin(header: bytes) -> str | None:
    if b"Noncollinear calculation" in header or b"Non magnetic calculation with spin-orbit" in header:
        return "noncollinear"
    if b"Starting magnetic structure" in header:
        return "unrestricted"
    return "restricted" if b"number of electrons" in header else None


def _external(header: bytes) -> tuple[str, ...]:
    """What acts on the electrons besides the nuclei, in the words of the output."""
    found = re.findall(rb"Adding external electric field|Assuming isolated system, [^\n]*", header)
    return tuple(sorted({line.decode("latin-1").strip() for line in found}))


def _pseudopotentials(header: bytes) -> tuple[Pseudopotential, ...]:
    """File names, valences and checksums; the folder is nobody's business."""
    pattern = (
        rb"PseudoPot\. # *\d+ +for +(\w+) +read from file:?\s+(\S+)\s+"
        rb"(?:MD5 check sum: *(\w+)\s+)?(?:Pseudo is .*?, *Zval = *(\S+))?"
    )
    found = {
        (symbol.decode(), path.decode("latin-1").rsplit("/", 1)[-1], valence, digest)
        for symbol, path, digest, valence in re.findall(pattern, header)
    }
    return tuple(
        Pseudopotential(
            element=symbol,
            title=title,
            valence=number(valence) if valence else None,
            digest=f"md5:{digest.decode()}" if digest else None,
        )
        for symbol, title, valence, digest in sorted(found)
    )


def _convergence(header: bytes) -> Convergence:
    """Thresholds; molecular dynamics prints zeros for those of a relaxation."""
    force = _value(rb"force convergence thresh\.\s*=", header)
    return Convergence(
        electronic=_energy(rb"\n\s+(?:scf )?convergence threshold\s*=", header),
        ionic_energy=_energy(rb"energy convergence thresh\.\s*=", header) or None,
        ionic_force=scalar(force, "Ry/bohr", "force") if force else None,
    )
