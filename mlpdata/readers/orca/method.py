"""What an ORCA output says of its own method: keyword lines, SCF settings, dispersion, solvation, relativity.

The program's own tables are asked first, the keyword lines (`! B3LYP def2-SVP`) where no table tells.
"""

from __future__ import annotations

import re

from mlpdata.readers.archive import Buffer
from mlpdata.readers.text import first, first_number
from mlpdata.schema.method import Convergence, Method, Smearing
from mlpdata.units import BOLTZMANN, scalar

_ECHO = re.compile(rb"\n\| *\d+> ?([^\r\n]*)")
_COMMENT = re.compile(r"#[^#]*(?:#|$)")

_FUNCTIONAL_OF_PARTS = {
    ("Slater", "VWN-5", 0.0): "SVWN5",
    ("B88", "P86", 0.0): "BP86",
    ("B88", "LYP", 0.0): "BLYP",
    ("PBE", "PBE", 0.0): "PBE",
    ("TPSS", "TPSS", 0.0): "TPSS",
    ("PBE", "PBE", 0.25): "PBE0",
    ("TPSS", "TPSS", 0.1): "TPSSh",
    ("B88", "LYP", 0.2): "B3LYP",
    ("B88", "LYP", 0.5): "BHandHLYP",
}
"""Exchange, correlation and fraction of exact exchange as the SCF settings print them."""

_FUNCTIONAL_OF_KEYWORD = {
    "lda": "SVWN5", "bp86": "BP86", "bp": "BP86", "blyp": "BLYP", "pbe": "PBE", "revpbe": "revPBE", "rpbe": "RPBE",
    "tpss": "TPSS", "tpssh": "TPSSh", "m06l": "M06-L", "m06": "M06", "m062x": "M06-2X", "scanfunc": "SCAN",
    "r2scan": "R2SCAN", "r2scan0": "R2SCAN0", "r2scanh": "R2SCANh", "r2scan-3c": "R2SCAN-3c", "b97-3c": "B97-3c",
    "pbeh-3c": "PBEh-3c", "hf-3c": "HF-3c", "wb97x-3c": "wB97X-3c", "b97-d3": "B97-D3", "pbe0": "PBE0",
    "b3lyp": "B3LYP", "b3lyp/g": "B3LYP", "x3lyp": "X3LYP", "cam-b3lyp": "CAM-B3LYP", "lc-blyp": "LC-BLYP",
    "wb97": "wB97", "wb97x": "wB97X", "wb97x-d3": "wB97X-D3", "wb97x-d3bj": "wB97X-D3(BJ)", "wb97x-d4": "wB97X-D4",
    "wb97x-v": "wB97X-V", "wb97m-v": "wB97M-V", "wb97m-d3bj": "wB97M-D3(BJ)", "wb97m-d4": "wB97M-D4",
    "b2plyp": "B2PLYP", "b2gp-plyp": "B2GP-PLYP", "dsd-blyp": "DSD-BLYP", "dsd-pbep86": "DSD-PBEP86",
    "pwpb95": "PWPB95", "wb2plyp": "wB2PLYP", "wpbepp86": "wPBEPP86", "wb88pp86": "wB88PP86", "b97m-v": "B97M-V",
}  # fmt: skip

_CORRELATED = re.compile(
    r"(?:eom-|steom-|(?:ip|ea)-eom-)?((?:dlpno-|ri-|auto-|lpno-|oo-|scs-|f12-)*"
    r"(?:mp[2-5]|cc2|ccsd|ccsdt|qcisd|cisd|cepa/?[1-3n]?|nevpt2|caspt2)(?:\(t1?\)|-f12|/rik)*)"
)
_BASIS = re.compile(r"(?:ma-)?(?:def2|sto|cc|aug-cc|dkh|zora|pc|pcseg|sv|tzv|qzv|svp|tzvp|qzvp|\d-\d+)[-\w+*(),]*")
_DISPERSION_OF_KEYWORD = {"d2": "D2", "d3zero": "D3", "d3": "D3(BJ)", "d3bj": "D3(BJ)", "d4": "D4", "nl": "VV10"}
_SPIN = {"R": "restricted", "U": "unrestricted", "RO": "restricted-open"}


def input_parts(data: Buffer, start: int, end: int) -> list[list[str]]:
    """Lines of the input echoed between two offsets, comments removed, divided at `$new_job`; at least one part."""
    first = data.find(b"INPUT FILE", start, end)
    last = data.find(b"****END OF INPUT****", first, end)
    echo = data[first:last] if 0 <= first < last else b""
    lines = [_COMMENT.sub("", line.decode("utf-8", "replace")).strip() for line in _ECHO.findall(echo)]
    parts: list[list[str]] = [[]]
    for line in lines:
        if line.lower().startswith("$new_job"):
            parts.append([])
        elif line:
            parts[-1].append(line)
    return parts


def keywords(lines: list[str]) -> list[str]:
    """Words of the `!` lines, in lower case."""
    return [word for line in lines if line.startswith("!") for word in line[1:].lower().split()]


def method(text: bytes, version: str | None, lines: list[str], excited_state: str | None) -> Method:
    """The method of a job.

    Args:
        text: from the start of the job to its first energy.
        version: as the banner prints it.
        lines: the job's part of the input.
        excited_state: name of the state whose energies are the labels, None for the ground state.
    """
    words = keywords(lines)
    functional, printed, exact = _functional(text, words)
    active = re.search(rb"active electrons +\.\.\. +(\d+)\s+Number of active orbitals +\.\.\. +(\d+)", text)
    wavefunction = next((match[1] for match in map(_CORRELATED.fullmatch, words) if match), None)
    correlation = wavefunction.upper() if wavefunction else None
    if active:
        space = f"CASSCF({int(active[1])},{int(active[2])})"
        correlation = f"{space}+{correlation}" if correlation else space
    state = excited_state or _average(text)
    return Method(
        code="orca",
        code_version=version,
        functional=functional,
        functional_as_printed=printed,
        exact_exchange=exact,
        correlation=correlation,
        dispersion=_dispersion(text, words),
        basis=_bases(text, b"basis") or next((word for word in words if _BASIS.fullmatch(word)), None),
        auxiliary_basis=_bases(text, b"auxiliary basis"),
        relativity=_relativity(text, words),
        solvent=_solvent(text, words),
        spin=_spin(text),
        smearing=_smearing(lines),
        state=state,
        excited=state is not None,
        convergence=_convergence(text),
        grid=_grid(text),
        external=_external(lines),
    )


def _functional(text: bytes, words: list[str]) -> tuple[str | None, str | None, float | None]:
    """Canonical name, what the file says, fraction of exact exchange.

    The word B3LYP means VWN-5 in ORCA and VWN-3 in Gaussian (and in ORCA's B3LYP/G): two functionals, B3LYP5 and B3LYP.
    """
    named = [word for word in words if word in _FUNCTIONAL_OF_KEYWORD]
    if re.search(rb"Ab initio Hamiltonian +Method +\.+ +Hartree-Fock", text) and not named:
        return "HF", "Hartree-Fock(GTOs)", 1.0
    exchange = first(rb"Exchange Functional +Exchange +\.+ +(\S+)", text)
    correlation = first(rb"Correlation Functional Correlation +\.+ +(\S+)", text)
    local = first(rb"LDA part of GGA corr\. +LDAOpt +\.+ +(\S+)", text)
    stated = rb"Fraction HF Exchange ScalHFX +\.+ +(\S+)"
    fraction = first_number(stated, text)
    if exchange is None or correlation is None:
        return (_FUNCTIONAL_OF_KEYWORD[named[0]], named[0], fraction) if named else (None, None, fraction)
    double_hybrid = (first_number(rb"Perturbative correction +\.+ +(\S+)", text) or 0.0) != 0.0
    if first(stated, text) is None:
        fraction = 0.0
    known = not double_hybrid and fraction is not None
    parts = _FUNCTIONAL_OF_PARTS.get((exchange, correlation, fraction or 0.0)) if known else None
    name = _FUNCTIONAL_OF_KEYWORD[named[0]] if named else parts
    printed = f"{named[0] if named else ''} {exchange}/{correlation}/{local} {'?' if fraction is None else format(fraction, 'g')}".strip()
    return ("B3LYP5" if name == "B3LYP" and local == "VWN-5" else name), printed, fraction


def _dispersion(text: bytes, words: list[str]) -> str | None:
    """Name of the pairwise correction, from its section; "none" where the energy is complete without one."""
    if b"DFTD4" in text or b"DFT-D4" in text:
        return "D4"
    if b"DFT DISPERSION CORRECTION" in text:
        if b"USING Becke-Johnson damping" in text:
            return "D3(BJ)"
        if b"USING zero damping" in text:
            return "D3"
    return next((_DISPERSION_OF_KEYWORD[word] for word in words if word in _DISPERSION_OF_KEYWORD), "none")


def _bases(text: bytes, which: bytes) -> str | None:
    """The basis sets of a kind that the run says it uses, in alphabetical order."""
    found = re.findall(rb"Your calculation utilizes the " + which + rb": *([^\r\n]+)", text)
    names = {name.decode("latin-1").strip() for name in found}
    return ", ".join(sorted(names)) or None


def _relativity(text: bytes, words: list[str]) -> str:
    scalar_method = first(rb"[Ss]calar relativistic method +\.+ +(\S+)", text)
    keyword = next((word for word in words if re.fullmatch(r"zora|iora|dkh[12]?|x2c", word)), None)
    name = (scalar_method or keyword or "none").upper()
    return {"NONE": "none", "DKH": "DKH2"}.get(name, name)


def _solvent(text: bytes, words: list[str]) -> str | None:
    """`CPCM(WATER)`, `SMD(TOLUENE)`; a solvent that only has a dielectric constant is named by it."""
    matches = (re.fullmatch(r"(c-?pcm|smd|cosmo|alpb)\(([^)]+)\)", word) for word in words)
    named = next(filter(None, matches), None)
    if b"CPCM SOLVATION MODEL" not in text:
        return f"{named[1].upper()}({named[2].upper()})" if named else None
    model = "SMD" if b"SMD-CDS" in text else first(rb"Epsilon function type +\.+ +(\S+)", text) or "CPCM"
    solvent = first(rb"Solvent: +\.+ +(\S+)", text)
    if solvent in (None, "CUSTOM"):
        epsilon = first_number(rb"Epsilon +\.+ +(\S+)", text)
        solvent = named[2].upper() if named else f"epsilon={epsilon:g}" if epsilon is not None else "unknown"
    return f"{model}({solvent})"


def _spin(text: bytes) -> str | None:
    kind = re.search(rb"HFTyp +\.+ +(RO|R|U)(?:HF|KS)", text)
    return _SPIN[kind[1].decode()] if kind else None


def _average(text: bytes) -> str | None:
    """Multi-root CASSCF: what is called final is the average, of no state of its own (pitfall O3)."""
    roots = sum(map(int, re.findall(rb"#\(Roots\) +\.\.\. +(\d{1,4})\s", text)))
    return f"average of {roots} roots" if roots > 1 else None


def _smearing(lines: list[str]) -> Smearing | None:
    temperature = first_number(rb"(?i)\bsmeartemp[ =]+(\d+\.?\d*)", "\n".join(lines).encode())
    return Smearing(method="fermi-dirac", width=BOLTZMANN * temperature) if temperature else None


def target_temperature(lines: list[str]) -> float | None:
    """Set point of the thermostat of `%md`, `Thermostat CSVR, 300_K` [K]."""
    return first_number(rb"(?i)\bthermostat +[a-z]{1,20} *, *(\d+\.?\d*)_?k\b", "\n".join(lines).encode())


def _convergence(text: bytes) -> Convergence:
    electronic = first_number(rb"Energy Change +TolE +\.\.\.\. +(\d\.\d{3}e\S+) Eh", text)
    ionic = first_number(rb"Energy Change +TolE +\.\.\.\. +(\d\.\d{4}e\S+) Eh", text)
    force = first_number(rb"Max\. Gradient +TolMAXG +\.\.\.\. +(\S+) Eh/bohr", text)
    steps = first_number(rb"Maximum # iterations +MaxIter +\.\.\.\. +(\d+)", text)
    return Convergence(
        electronic=None if electronic is None else scalar(electronic, "hartree", "energy"),
        ionic_energy=None if ionic is None else scalar(ionic, "hartree", "energy"),
        ionic_force=None if force is None else scalar(force, "hartree/bohr", "force"),
        max_electronic_steps=None if steps is None else int(steps),
    )


def _grid(text: bytes) -> str | None:
    accuracy = first(rb"General Integration Accuracy +IntAcc +\.+ +(\S+)", text)
    angular = first(rb"Angular Grid \(max\. a\w+\.\) +AngularGrid +\.+ +([^\r\n]+)", text)
    return ", ".join(part for part in (accuracy and f"IntAcc {accuracy}", angular) if part) or None


def _external(lines: list[str]) -> tuple[str, ...]:
    """What acts on the electrons beside the nuclei, as the input asks for it."""
    text = "\n".join(lines).lower()
    names = (("efield", "electric field"), ("pointcharges", "point charges"))
    return tuple(name for word, name in names if re.search(rf"\b{word}\b", text))
