"""What a CP2K log says of its own method: functional, dispersion, basis sets, potentials, grids, k-points, smearing.

FIST is a classical force field, xTB and DFTB are semi-empirical: they are named as what they are.
"""

from __future__ import annotations

import re

from mlpdata.elements import ATOMIC_NUMBERS
from mlpdata.readers.text import first, first_number
from mlpdata.schema.method import Convergence, Hubbard, Kpoints, Method, Pseudopotential, Smearing
from mlpdata.units import BOLTZMANN, scalar

_FUNCTIONALS = {
    ("PBE",): "PBE",
    ("GGA_X_PBE", "GGA_C_PBE"): "PBE",
    ("GGA_X_PBE_R", "GGA_C_PBE"): "revPBE",
    ("GGA_X_PBE_SOL", "GGA_C_PBE_SOL"): "PBEsol",
    ("GGA_X_RPBE", "GGA_C_PBE"): "RPBE",
    ("GGA_X_PW91", "GGA_C_PW91"): "PW91",
    ("PADE",): "LDA-PADE",
    ("LDA_X", "LDA_C_PW"): "LDA-PW",
    ("LDA_X", "LDA_C_PZ"): "LDA",
    ("BECKE88", "LYP"): "BLYP",
    ("GGA_X_B88", "GGA_C_LYP"): "BLYP",
    ("BECKE88", "P86C"): "BP86",
    ("GGA_X_B88", "GGA_C_P86"): "BP86",
    ("OPTX", "LYP"): "OLYP",
    ("HCTH",): "HCTH",
    ("TPSS",): "TPSS",
    ("MGGA_X_TPSS", "MGGA_C_TPSS"): "TPSS",
    ("MGGA_X_SCAN", "MGGA_C_SCAN"): "SCAN",
    ("MGGA_X_RSCAN", "MGGA_C_RSCAN"): "RSCAN",
    ("MGGA_X_R2SCAN", "MGGA_C_R2SCAN"): "R2SCAN",
    ("MGGA_X_M06_L", "MGGA_C_M06_L"): "M06-L",
}
"""By the sections that a log lists, each at full strength and without exact exchange."""
_PBE_OF_REFERENCE = ((b"revPBE", "revPBE"), (b"PBEsol", "PBEsol"), (b"J.P.Perdew, K.Burke, M.Ernzerhof", "PBE"))
_HYBRIDS = {("PBE", 0.25): "PBE0", ("HYB_GGA_XC_B3LYP", 0.2): "B3LYP", ("HYB_GGA_XC_PBEH", 0.25): "PBE0"}
_NONLOCAL = ((b"RVV10", "rVV10"), (b"DRSLL", "vdW-DF"), (b"LMKLL", "vdW-DF2"))
_SMEARINGS = {"FERMI_DIRAC": "fermi-dirac", "ENERGY_WINDOW": "energy window", "LIST": "fixed", "GAUSSIAN": "gaussian"}
_SPINS = {b"RKS": "restricted", b"UKS": "unrestricted", b"LSD": "unrestricted", b"ROKS": "restricted-open"}
_NAME_OF_SECTION = rb"(?!ROUTINE)[A-Z][A-Z0-9_]{1,60}:[ \t\r]*\n"
_SECTION = re.compile(
    rb"(?m)^ FUNCTIONAL\| (?="
    + _NAME_OF_SECTION
    + rb")(\w+):[^\n]*\n((?: FUNCTIONAL\| (?!"
    + _NAME_OF_SECTION
    + rb")[^\n]*\n)*+)"
)
"""The name of a functional, and what is said of it."""
_KIND = re.compile(rb"\n +\d+\. Atomic kind: (\S+) +Number of atoms: +\d+[ \t\r]*\n")
_SYMBOL = re.compile(r"[A-Z][a-z]?")
_SETTINGS = (
    ("EPS_SCF", rb"\n +eps_scf: +(\S+)\n"),
    ("EPS_RHO_RSPACE", rb"eps_rho_rspace: +(\S+)\n"),
    ("REL_CUTOFF [hartree]", rb"QS\| Relative density cutoff \[a\.u\.\]: +(\S+)\n"),
)


def method(text: bytes, environment: bytes | None, elements: dict[str, str]) -> Method:
    """The method of a run.

    Args:
        text: from the start of the run to its first energy.
        environment: QS, FIST, QMMM, ...: whose energy is the label.
        elements: chemical symbols by name of the kind, where the table of coordinates tells them.
    """
    version = first(rb"CP2K\| version string: +CP2K version ([^\n]+)", text)
    functional, printed, exact = _functional(text, environment)
    kinds = _kinds(text)
    bases = sorted({basis for _, block in kinds if (basis := first(rb"Orbital Basis Set +(\S+)", block))})
    cutoff = first_number(rb"QS\| Density cutoff \[a\.u\.\]: +(\S+)\n", text)
    temperature = first_number(rb"Electronic temperature \[K\]: +(\S+)\n", text)
    return Method(
        code="cp2k",
        code_version=version,
        functional=functional,
        functional_as_printed=printed,
        exact_exchange=exact,
        dispersion=_dispersion(text),
        hubbard=_hubbard(text, kinds, elements),
        basis=", ".join(bases) or None,
        cutoff_density=None if cutoff is None else scalar(cutoff, "hartree", "energy"),
        kpoints=_kpoints(text),
        smearing=_smearing(text, temperature),
        pseudopotentials=_potentials(kinds, elements),
        spin=next(
            (spin for word, spin in _SPINS.items() if re.search(rb"\n DFT\| Spin [^\n]+ " + word + rb"\n", text)), None
        ),
        external=_external(text, environment),
        convergence=_convergence(text),
        grid=first(rb"QS\| Density plane wave grid type +([^\n]+)", text),
        settings_as_printed=_settings(text),
    )


def has_smearing(text: bytes) -> bool:
    """Whether occupations are smeared, so that the total energy is a free energy."""
    return re.search(rb"\n +Smear method: +(?:FERMI_DIRAC|GAUSSIAN|METHFESSEL|MARZARI)", text) is not None


def _functional(text: bytes, environment: bytes | None) -> tuple[str | None, str | None, float | None]:
    """Canonical name, what the log lists, fraction of exact exchange."""
    if environment in (b"FIST", b"NNP", b"EIP"):
        return (
            {b"FIST": "classical force field", b"NNP": "neural network", b"EIP": "empirical potential"}[environment],
            None,
            None,
        )
    if environment in (b"MIXED", b"EMBED"):
        return None, None, None  # several methods in one energy
    if parameters := first(rb"\n xTB\| Parameter file +(\S+)", text):
        return ("GFN1-xTB" if parameters == "xTB_parameters" else "xTB"), parameters, None
    if b"\n DFTB| " in text:
        return "DFTB", "DFTB", None
    if named := first(rb"\n SE\| Method: +(\S+)", text):
        return named, named, None
    return _density_functional(text)


def _density_functional(text: bytes) -> tuple[str | None, str | None, float | None]:
    sections = _SECTION.findall(text)
    exact = first_number(rb"HFX_INFO\| FRACTION: +(\S+)\n", text)
    names = tuple(name.decode() for name, _ in sections)
    if not names:
        nothing = b"\n FUNCTIONAL| NO EXCHANGE-CORRELATION" in text
        return ("HF" if exact == 1.0 else None), ("none" if nothing else None), exact
    scaled = any(re.search(rb"sx=|sc=|scale=0|scale=[^1]", text_of) for _, text_of in sections)
    printed = "+".join(names) + (" scaled" if scaled else "") + (f" + {exact:g} HF" if exact else "")
    name = _FUNCTIONALS.get(names, "+".join(names))
    if names == ("PBE",):
        reference = sections[0][1].replace(b" FUNCTIONAL| ", b"")
        name = next((kind for words, kind in _PBE_OF_REFERENCE if words in reference), printed)
    if not exact and not scaled:
        return name, printed, 0.0
    return _hybrid(text, sections, name, exact or 0.0, printed), printed, exact or 0.0


def _hybrid(text: bytes, sections: list[tuple[bytes, bytes]], name: str, exact: float, printed: str) -> str:
    """PBE0 and its truncated form, HSE06, B3LYP of libxc; any other mixture keeps the name that is printed."""
    potential = first(rb"HFX_INFO\| Interaction Potential: +(\S+)\n", text)
    omega = first_number(rb"HFX_INFO\| Omega: +(\S+)\n", text)
    names = {section.decode() for section, _ in sections}
    if names == {"PBE", "XWPBE"} and exact == 0.25 and potential == "SHORTRANGE" and omega == 0.11:
        return "HSE06"
    if names == {"PBE", "PBE_HOLE_T_C_LR"} and exact == 0.25 and potential == "TRUNCATED":
        return "PBE0-TC-LRC"
    scales = re.findall(rb"sx=(\d\.\d{3})sc=(\d\.\d{3})", b"".join(lines for _, lines in sections))
    complete = names != {"PBE"} or scales == [(b"0.750", b"1.000")]
    full_range = potential in ("COULOMB", "TRUNCATED")
    return _HYBRIDS.get((name, exact), printed) if complete and full_range else printed


def _dispersion(text: bytes) -> str:
    """Name of the correction, from its section; "none" where there is none."""
    if b"\n vdW POTENTIAL|" not in text:
        return "none"
    section = b"\n".join(re.findall(rb"\n vdW POTENTIAL\| ([^\n]*)", text))
    if b"DFT-D4" in section:
        return "D4"
    if b"DFT-D3" in section:
        return "D3(BJ)" if b"BJ Damping" in section else "D3"
    if b"DFT-D2" in section:
        return "D2"
    return next((name for word, name in _NONLOCAL if word in section), "unnamed")


def _kinds(text: bytes) -> list[tuple[str, bytes]]:
    """Names of the atomic kinds, and what is printed of each."""
    parts = _KIND.split(text)
    return [(name.decode("latin-1"), block) for name, block in zip(parts[1::2], parts[2::2], strict=True)]


def _element(kind: str, elements: dict[str, str]) -> str:
    """The chemical symbol of a kind: by the table of coordinates, else what its name begins with."""
    symbol = _SYMBOL.match(kind)
    letters = symbol[0] if symbol else kind
    guess = letters if letters in ATOMIC_NUMBERS else letters[:1]
    return elements.get(kind, guess)


def _potentials(kinds: list[tuple[str, bytes]], elements: dict[str, str]) -> tuple[Pseudopotential, ...]:
    found = set()
    for kind, block in kinds:
        if title := first(rb"(?:GTH|SGP) Potential information for +(\S+)", block):
            valence = re.search(r"-q(\d{1,3})$", title)
            exchange = re.match(r"(?:GTH|SGP)-(\w+?)(?:-q\d+)?$", title)
            found.add(
                (_element(kind, elements), title, exchange[1] if exchange else None, valence and float(valence[1]))
            )
    return tuple(
        Pseudopotential(element=element, title=title, exchange=exchange, valence=valence)
        for element, title, exchange, valence in sorted(found, key=lambda row: row[:2])
    )


def _hubbard(text: bytes, kinds: list[tuple[str, bytes]], elements: dict[str, str]) -> tuple[Hubbard, ...]:
    scheme = first(rb"DFT\+U\| Method +(\S+)", text)
    found = []
    for kind, block in kinds:
        u = first_number(rb"U\(eff\) = \(U - J\) value in \[eV\]: +(\S+)\n", block)
        momentum = first_number(rb"Angular quantum momentum number L: +(\S+)\n", block)
        if u:
            orbital = "spdf"[int(momentum)] if momentum in (0, 1, 2, 3) else None
            found.append(
                Hubbard(species=_element(kind, elements), orbital=orbital, u=u, scheme=scheme and scheme.lower())
            )
    return tuple(sorted(set(found), key=lambda term: (term.species, term.u)))


def _kpoints(text: bytes) -> Kpoints | None:
    grid = re.search(rb"BRILLOUIN\| K-Point grid +(\d{1,4}) +(\d{1,4}) +(\d{1,4})\n", text)
    scheme = first(rb"BRILLOUIN\| K-point scheme +(\S+)\n", text)
    if scheme is None:
        return Kpoints(mesh=(1, 1, 1), centring="gamma", count=1) if b"\n QS|" in text else None
    count = first_number(rb"BRILLOUIN\| List of Kpoints [^\n]*? (\d+)\n", text)
    mesh = (int(grid[1]), int(grid[2]), int(grid[3])) if grid else None
    return Kpoints(mesh=mesh, centring=scheme.lower(), count=None if count is None else int(count))


def _smearing(text: bytes, temperature: float | None) -> Smearing | None:
    name = first(rb"\n +Smear method: +(\S+)\n", text)
    if name is None:
        return None
    width = BOLTZMANN * temperature if temperature is not None and name == "FERMI_DIRAC" else None
    return Smearing(method=_SMEARINGS.get(name, name.lower()), width=width)


def _external(text: bytes, environment: bytes | None) -> tuple[str, ...]:
    """What acts on the electrons beside the nuclei; a field of a molecule (EFIELD) is printed by no version."""
    found = [("electric field", b"\n PERIODIC_EFIELD|" in text), ("implicit solvent", b"\n SCCS|" in text)]
    found.append(("QM/MM", environment in (b"QMMM", b"QMMMX")))
    return tuple(name for name, there in found if there)


def _convergence(text: bytes) -> Convergence:
    steps = first_number(rb"\n +max_scf: +(\S+)\n", text)
    return Convergence(max_electronic_steps=None if steps is None else int(steps))


def _settings(text: bytes) -> dict[str, str | float | int | bool]:
    """Thresholds of the density matrix and grids, which are no energies."""
    found: dict[str, str | float | int | bool] = {}
    for name, pattern in _SETTINGS:
        if (value := first_number(pattern, text)) is not None:
            found[name] = value
    if named := first(rb"\n QS\| Method: +(\S+)\n", text):
        found["METHOD"] = named
    return found
