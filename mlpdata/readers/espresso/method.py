"""The Method of a run of pw.x, from the text before its first SCF iteration or from its XML file.

The form of the lines is fixed by PW/src/summary.f90, that of the elements by https://www.quantum-espresso.org/ns/qes/.
What a version does not print stays unknown.
"""

from __future__ import annotations

import re

from mlpdata.readers.espresso.names import dispersion_of, functional, smearing
from mlpdata.readers.text import number, whole
from mlpdata.readers.xml import Element, text
from mlpdata.schema.method import Convergence, Hubbard, Kpoints, Method, Pseudopotential, Smearing
from mlpdata.units import scalar

_DISPERSIONS = (
    (b"DFT-D3 Dispersion", "D3"),
    (b"Parameters for Dispersion", "D2"),
    (b"DFT-D Dispersion", "D2"),
    (b"Many-body dispersion", "MBD"),
    (b"MBD@rsSCS", "MBD"),
    (b"TS-vdW", "TS"),
    (b"Tkatchenko-Scheffler", "TS"),
    (b"XDM dispersion", "XDM"),
    (b"Exchange-hole dipole", "XDM"),
)
_XML_DISPERSIONS = {"dft-d": "D2", "grimme-d2": "D2", "ts": "TS", "xdm": "XDM", "mbd": "MBD"}
BERRY_FIELD = b"Using Berry phase electric field"
"""What pw.x says of a homogeneous field in a crystal."""
_SHELLS = {b"0": "s", b"1": "p", b"2": "d", b"3": "f"}
_D3 = {"2": "D2", "3": "D3", "4": "D3(BJ)", "5": "D3M", "6": "D3M(BJ)"}


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
    match = re.search(rb"Exchange-correlation *= *([^\n(]{0,200})", header)
    return " ".join(match[1].decode("latin-1").split()) or None if match else None


def _dispersion(header: bytes, name: str | None) -> str | None:
    """D3 without its damping, which standard output does not print."""
    found = next((label for words, label in _DISPERSIONS if words in header), None)
    return found or dispersion_of(name)


def _hubbard(header: bytes) -> tuple[Hubbard, ...]:
    """+U terms: the table up to version 7.0, one line a term since 7.1."""
    terms = re.findall(rb"^[ \t]*U\((\w+)-(\w+)\) *= *(\S+)", header, re.M)
    found = [(species.decode(), orbital.decode(), number(u)) for species, orbital, u in terms]
    table = re.search(
        rb"LDA\+U calculation[^\n]*\n[^\n]*atomic species +L +U [^\n]*\n((?: +\S+ +\d +[\d.-][\d. -]*\n)+)", header
    )
    for row in table[1].splitlines() if table else []:
        species, shell, u = row.split()[:3]
        found.append((species.decode("latin-1"), _SHELLS.get(shell), number(u)))
    scheme = "dudarev" if re.search(rb"Simplified LDA\+U|Dudarev", header) else None
    return tuple(Hubbard(species=species, orbital=orbital, u=u, scheme=scheme) for species, orbital, u in found)


def _kpoints(header: bytes) -> Kpoints | None:
    """Standard output lists the irreducible points; only the XML file knows the mesh."""
    match = re.search(rb"number of k points= *(\d{1,9})(?!\S)", header)
    return Kpoints(count=int(match[1])) if match else None


def _smearing(header: bytes) -> Smearing | None:
    match = re.search(rb"number of k points= *\S+ +(\S[^\n]{0,60}?) +smearing, width \(Ry\)=\s*(\S+)", header)
    if match:
        return smearing(match[1].decode("latin-1"), number(match[2]), "Ry")
    if re.search(rb"number of k points= *\S+ +\(tetrahedron", header):
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
    found = re.findall(rb"Adding external electric field|Assuming isolated system, [^\n]{0,200}|" + BERRY_FIELD, header)
    return tuple(sorted({line.decode("latin-1").strip() for line in found}))


def _pseudopotentials(header: bytes) -> tuple[Pseudopotential, ...]:
    """File names, valences and checksums; the folder is nobody's business."""
    pattern = (
        rb"PseudoPot\. # *\d+ +for +(\w+) +read from file:?\s+(\S+)\s+"
        rb"(?:MD5 check sum: *(\w+)\s+)?(?:Pseudo is [^\n]{0,200}?, *Zval = *(\S+))?"
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
        electronic=_energy(rb"\n +(?:scf )?convergence threshold *=", header),
        ionic_energy=_energy(rb"energy convergence thresh\.\s*=", header) or None,
        ionic_force=scalar(force, "Ry/bohr", "force") if force else None,
    )


def from_xml(asked: Element, dft: Element | None, points: Element | None, version: str) -> Method:
    """The Method that an XML file states.

    Args:
        asked: its `<input>`.
        dft: `<dft>` of its `<output>`, which also holds what the pseudopotentials decided.
        points: `<nks>`, the number of irreducible points.
        version: of pw.x.
    """
    theory = asked.find("dft") if dft is None else dft
    printed = "" if theory is None else text(theory.find("functional"))
    name = functional(printed)
    fraction = "" if theory is None else text(theory.find("hybrid/exx_fraction"))
    return Method(
        code="quantum-espresso",
        code_version=version,
        functional=name,
        functional_as_printed=printed or None,
        exact_exchange=number(fraction.encode()) if fraction else None,
        dispersion=_xml_dispersion(theory) or dispersion_of(name),
        hubbard=_xml_hubbard(asked),
        basis="plane waves",
        cutoff_energy=_xml_energy(asked, "basis/ecutwfc"),
        cutoff_density=_xml_energy(asked, "basis/ecutrho"),
        kpoints=_xml_kpoints(asked, points),
        smearing=_xml_smearing(asked),
        pseudopotentials=_xml_pseudopotentials(asked),
        relativity="spin-orbit" if text(asked.find("spin/spinorbit")) == "true" else None,
        spin=_xml_spin(asked),
        external=_xml_external(asked),
        convergence=_xml_convergence(asked),
    )


def _xml_energy(asked: Element, path: str) -> float | None:
    value = text(asked.find(path))
    return scalar(number(value.encode()), "hartree", "energy") if value else None


def _xml_dispersion(dft: Element | None) -> str | None:
    """The correction by its usual name; version 4 of DFT-D3 is Becke-Johnson damping."""
    name = "" if dft is None else text(dft.find("vdW/vdw_corr")).lower()
    if dft is None or name in ("", "none"):
        return None
    if name.startswith(("dft-d3", "grimme-d3")):
        return _D3.get(text(dft.find("vdW/dftd3_version")) or "3", "D3")
    return next((usual for start, usual in _XML_DISPERSIONS.items() if name.startswith(start)), name)


def _xml_hubbard(asked: Element) -> tuple[Hubbard, ...]:
    """+U terms as asked for, in eV; `<output>` repeats them in Ry (6.7)."""
    scheme = {"0": "dudarev", "1": "liechtenstein"}.get(text(asked.find("dft/dftU/lda_plus_u_kind")))
    terms = [(term, number(text(term).encode())) for term in asked.findall("dft/dftU/Hubbard_U")]
    return tuple(
        Hubbard(species=term.get("specie", ""), orbital=term.get("label"), u=u, scheme=scheme) for term, u in terms if u
    )


def _xml_kpoints(asked: Element, points: Element | None) -> Kpoints:
    """The mesh as asked for, and the number of irreducible points."""
    grid, count = asked.find("k_points_IBZ/monkhorst_pack"), None if points is None else whole(text(points))
    if grid is None:
        return Kpoints(count=count, centring="list")
    printed = [whole(grid.get(name, "0")) for name in ("nk1", "nk2", "nk3", "k1", "k2", "k3")]
    n = [one for one in printed if one is not None]
    if len(n) < len(printed):
        return Kpoints(count=count)
    return Kpoints(mesh=(n[0], n[1], n[2]), shift=(n[3] / 2, n[4] / 2, n[5] / 2), count=count)


def _xml_smearing(asked: Element) -> Smearing | None:
    occupations, element = text(asked.find("bands/occupations")), asked.find("bands/smearing")
    if occupations == "smearing" and element is not None:
        return smearing(text(element), number(element.get("degauss", "").encode()), "hartree")
    if occupations.startswith("tetra"):
        return Smearing(method="tetrahedron")
    return Smearing(method="fixed") if occupations else None


def _xml_spin(asked: Element) -> str | None:
    if text(asked.find("spin/noncolin")) == "true":
        return "noncollinear"
    return {"true": "unrestricted", "false": "restricted"}.get(text(asked.find("spin/lsda")))


def _xml_external(asked: Element) -> tuple[str, ...]:
    """What acts on the electrons besides the nuclei."""
    isolated = text(asked.find("boundary_conditions/assume_isolated"))
    field = text(asked.find("electric_field/electric_potential"))
    return tuple(one for one in (f"assume_isolated {isolated}" if isolated not in ("", "none") else "", field) if one)


def _xml_pseudopotentials(asked: Element) -> tuple[Pseudopotential, ...]:
    """File names; the file does not hold checksums."""
    found = {
        (re.sub(r"[^A-Za-z].*", "", one.get("name", "")), text(one.find("pseudo_file")).rsplit("/", 1)[-1])
        for one in asked.findall("atomic_species/species")
    }
    return tuple(Pseudopotential(element=element, title=title) for element, title in sorted(found))


def _xml_convergence(asked: Element) -> Convergence:
    """Thresholds at which the run stopped iterating."""
    force, steps = text(asked.find("control_variables/forc_conv_thr")), text(asked.find("electron_control/max_nstep"))
    ionic = text(asked.find("control_variables/calculation")) in ("relax", "vc-relax")
    return Convergence(
        electronic=_xml_energy(asked, "electron_control/conv_thr"),
        ionic_energy=_xml_energy(asked, "control_variables/etot_conv_thr") if ionic else None,
        ionic_force=scalar(number(force.encode()), "hartree/bohr", "force") if ionic and force else None,
        max_electronic_steps=whole(steps),
    )
