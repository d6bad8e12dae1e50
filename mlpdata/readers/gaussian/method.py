"""What a Gaussian job says of its own method: route, SCF label, basis, dispersion, solvent, pseudopotentials.

What the program prints is asked before the route: a step after `Geom=AllCheck` repeats neither dispersion nor solvent.
"""

from __future__ import annotations

import re

from mlpdata.elements import SYMBOLS
from mlpdata.errors import ParseError
from mlpdata.readers.gaussian.energies import Level
from mlpdata.readers.gaussian.route import Route
from mlpdata.readers.text import number
from mlpdata.schema.calculation import RunKind
from mlpdata.schema.method import Convergence, Kpoints, Method, Pseudopotential
from mlpdata.units import scalar

_FUNCTIONALS = {
    "hf": ("HF", 1.0),
    "svwn": ("SVWN", 0.0), "lsda": ("SVWN", 0.0), "svwn5": ("SVWN5", 0.0), "xalpha": ("Xalpha", 0.0),
    "pbepbe": ("PBE", 0.0), "blyp": ("BLYP", 0.0), "bp86": ("BP86", 0.0), "pw91pw91": ("PW91", 0.0),
    "revpberevpbe": ("revPBE", 0.0), "rpberpbe": ("RPBE", 0.0), "olyp": ("OLYP", 0.0), "b97d": ("B97-D", 0.0),
    "b97d3": ("B97-D3", 0.0), "hcth": ("HCTH407", 0.0), "hcth407": ("HCTH407", 0.0), "sogga11": ("SOGGA11", 0.0),
    "n12": ("N12", 0.0), "tpsstpss": ("TPSS", 0.0), "revtpssrevtpss": ("revTPSS", 0.0), "vsxc": ("VSXC", 0.0),
    "m06l": ("M06-L", 0.0), "m11l": ("M11-L", 0.0), "mn12l": ("MN12-L", 0.0), "mn15l": ("MN15-L", 0.0),
    "thcth": ("tHCTH", 0.0), "b3lyp": ("B3LYP", 0.2), "b3p86": ("B3P86", 0.2), "b3pw91": ("B3PW91", 0.2),
    "pbe1pbe": ("PBE0", 0.25), "pbeh1pbe": ("PBEh1PBE", 0.25), "x3lyp": ("X3LYP", 0.218), "o3lyp": ("O3LYP", 0.1161),
    "mpw1pw91": ("mPW1PW91", 0.25), "mpw1lyp": ("mPW1LYP", 0.25), "mpw1pbe": ("mPW1PBE", 0.25),
    "mpw3pbe": ("mPW3PBE", 0.2), "bhandh": ("BHandH", 0.5), "bhandhlyp": ("BHandHLYP", 0.5), "bmk": ("BMK", 0.42),
    "b1lyp": ("B1LYP", 0.25), "b1b95": ("B1B95", 0.28), "b971": ("B97-1", 0.21), "b972": ("B97-2", 0.21),
    "b98": ("B98", 0.2198), "tpssh": ("TPSSh", 0.1), "thcthhyb": ("tHCTHhyb", 0.15), "m05": ("M05", 0.28),
    "m052x": ("M05-2X", 0.56), "m06": ("M06", 0.27), "m062x": ("M06-2X", 0.54), "m06hf": ("M06-HF", 1.0),
    "m08hx": ("M08-HX", 0.5223), "mn15": ("MN15", 0.44), "sogga11x": ("SOGGA11-X", 0.4015), "apfd": ("APFD", None),
    "apf": ("APF", None), "pw6b95": ("PW6B95", 0.28), "pw6b95d3": ("PW6B95-D3", 0.28), "hseh1pbe": ("HSE06", None),
    "hse2pbe": ("HSE03", None), "ohse1pbe": ("HSE06", None), "cam-b3lyp": ("CAM-B3LYP", None),
    "lc-wpbe": ("LC-wPBE", None), "lc-wpbehpbe": ("LC-wPBE", None), "lc-whpbe": ("LC-wPBEh", None),
    "lc-blyp": ("LC-BLYP", None), "wb97": ("wB97", None), "wb97x": ("wB97X", None), "wb97xd": ("wB97X-D", None),
    "m11": ("M11", None), "n12sx": ("N12-SX", None), "mn12sx": ("MN12-SX", None), "hiss": ("HISS", None),
    "b2plyp": ("B2PLYP", 0.53), "b2plypd": ("B2PLYP-D", 0.53), "b2plypd3": ("B2PLYP-D3", 0.53),
    "mpw2plyp": ("mPW2PLYP", 0.55), "mpw2plypd": ("mPW2PLYP-D", 0.55), "dsdpbep86": ("DSD-PBEP86", None),
    "pbe0dh": ("PBE0-DH", 0.5), "pbeqidh": ("PBE-QIDH", 0.693361),
    "am1": ("AM1", None), "pm3": ("PM3", None), "pm3mm": ("PM3MM", None), "pm6": ("PM6", None), "pm7": ("PM7", None),
    "mndo": ("MNDO", None), "pddg": ("PDDG", None), "cndo": ("CNDO", None), "indo": ("INDO", None),
    "zindo": ("ZINDO/S", None), "zindo/s": ("ZINDO/S", None), "dftb": ("DFTB", None), "dftba": ("DFTBA", None),
    "uff": ("UFF", None), "amber": ("AMBER", None), "dreiding": ("DREIDING", None),
}  # fmt: skip
"""By keyword: canonical name and fraction of exact exchange, None where it varies with distance or has no meaning."""
_SEMIEMPIRICAL = {
    "AM1",
    "PM3",
    "PM3MM",
    "PM6",
    "PM7",
    "MNDO",
    "PDDG",
    "CNDO",
    "INDO",
    "ZINDO/S",
    "DFTB",
    "DFTBA",
    "UFF",
    "AMBER",
    "DREIDING",
}
SPINS = {"R": "restricted", "U": "unrestricted", "RO": "restricted-open"}
_DISPERSION = {"gd2": "D2", "gd3": "D3", "gd3bj": "D3(BJ)", "gd4": "D4", "pfd": "PFD"}
_RUN_KINDS: tuple[tuple[str, RunKind], ...] = (
    ("admp", "md"), ("bomd", "md"), ("irc", "irc"), ("ircmax", "irc"), ("opt", "relax"), ("popt", "relax"),
    ("fopt", "relax"), ("scan", "scan"), ("freq", "phonon"), ("polar", "response"), ("nmr", "response"),
)  # fmt: skip

_SCF_LABEL = re.compile(rb"\n SCF Done: +E\((RO|R|U)([^)]{1,40})\)")
_BASIS = re.compile(rb"\n Standard basis: *([^\s(]{1,40}(?:\([^)\s]{1,20}\))?)")
_GENERAL_BASIS = re.compile(rb"\n General basis read from cards")
_BASIS_KEYWORD = re.compile(
    r"(?:sto-\dg|\d-\d+\+*g|(?:aug-|jul-|jun-|may-|apr-|spaug-|daug-)?cc-p\w+|d95v?|lanl2\w+|sdd\w*|def2\w+|sv[p]?|tzvp?|qzvp|cep-\d+g"
    r"|mg3s?|ugbs\w*|midix|epr-ii+|dgdzvp2?|dgtzvp|cbsb\d\w*|shc|sec|mtsmall)\S*|gen(?:ecp)?"
)
_DISPERSION_SECTION = re.compile(rb"\n R6Disp: +(?:Grimme-|Petersson-Frisch )?([\w()]{1,12})? *[Dd]ispersion energy")
_DFTD = re.compile(rb"^D\d")
_MODEL = re.compile(rb"\n Model +: +([\w-]{1,20})")
_SOLVENT = re.compile(rb"\n Solvent +: +([^,\r\n]{1,60})")
_EPSILON = re.compile(rb"\n (?:Solvent +: [^\r\n]{0,80}Eps *=|Eps +[:=]) *([\d.]{1,20})")
_SCF_ENERGY = re.compile(rb"Requested convergence on +energy= *(\S{1,20}?)\.?[\r\n]")
_SCF_CYCLES = re.compile(rb"Requested convergence on RMS density matrix= *\S{1,20} within *(\d{1,6}) cycles")
_FORCE = re.compile(rb"\n Maximum Force +\S{1,16} +(\d\.\d{6}) ")
_MESH = re.compile(rb"Using k point mesh[^\n]{0,60}\n K space mesh: X= *(\d{1,5}) Y= *(\d{1,5}) Z= *(\d{1,5})")
_ECP = re.compile(rb"\n +Pseudopotential Parameters *\r?\n")
_ECP_CENTER = re.compile(rb"\n +\d{1,6} +(\d{1,3}) +(\d{1,3}) *(?=\r?\n)")


def method(text: bytes, route: Route, version: str | None, level: Level, excited: bool) -> Method:
    """The method of a job.

    Args:
        text: from the start of the job to behind its first energy.
        route: what was asked for.
        version: as the banner prints it.
        level: wavefunction method on top of the reference.
        excited: whether the labels are of an excited state.
    """
    label = _SCF_LABEL.search(text)
    keyword = _functional_keyword(route, label[2].decode("latin-1") if label else None)
    functional, exact = functional_named(keyword or "")
    correlation = level.name if excited or level.name != "EOM-CCSD" else "CCSD"
    return Method(
        code="gaussian",
        code_version=version,
        functional=functional,
        functional_as_printed=f"E({label[1].decode()}{label[2].decode('latin-1')})"
        if label
        else _engine(route) or keyword,
        exact_exchange=exact,
        correlation=correlation,
        dispersion=_dispersion(text, route),
        basis=None if functional in _SEMIEMPIRICAL or _engine(route) else _basis(text, route),
        kpoints=_kpoints(text),
        pseudopotentials=_pseudopotentials(text, route),
        relativity=_relativity(route),
        spin=SPINS[label[1].decode()] if label else None,
        solvent=_solvent(text, route),
        external=external(route),
        state=state(route) if excited else None,
        excited=excited,
        convergence=_convergence(text),
        grid=_grid(route),
        settings_as_printed={"route": route.printed} if route.printed else {},
    )


def functional_named(keyword: str) -> tuple[str | None, float | None]:
    """Canonical name and fraction of exact exchange of a functional by Gaussian's keyword in lower case."""
    return _FUNCTIONALS.get(keyword, (None, None))


def external(route: Route) -> tuple[str, ...]:
    """What acts on the electrons beside the nuclei."""
    names = (("charge", "point charges"), ("field", "electric field"))
    return tuple(name for keyword, name in names if route.has(keyword))


def run_kind(route: Route) -> RunKind:
    """What the program was asked to do."""
    return next((kind for keyword, kind in _RUN_KINDS if route.has(keyword)), "single_point")


def _engine(route: Route) -> str | None:
    """`external='xtb-gaussian'`: another program computed energies and forces."""
    return f"external {' '.join(route.options('external'))}".strip() if route.has("external") else None


def _functional_keyword(route: Route, label: str | None) -> str | None:
    """The functional: of the route, without prefix of the reference; else of the line SCF Done.

    Gaussian 03 prints `B+HF-LYP` for every hybrid of B88 and LYP, so the route comes first.
    """
    for name, _ in route.keywords:
        for keyword in (name, re.sub(r"^(?:ro|r|u)", "", name)):
            if keyword in _FUNCTIONALS:
                return keyword
    spelled = (label or "").lower()
    return next((word for word in (spelled, spelled.replace("-", "")) if word in _FUNCTIONALS), None)


def _dispersion(text: bytes, route: Route) -> str:
    section = _DISPERSION_SECTION.search(text)
    if section and section[1] and _DFTD.match(section[1]):
        return section[1].decode("latin-1")
    asked = (_DISPERSION[option] for option in route.options("empiricaldispersion", "em") if option in _DISPERSION)
    return next(asked, "PFD" if route.has("apfd") else "none")


def _basis(text: bytes, route: Route) -> str | None:
    """The basis set by its printed name, else by that of the route; "general" where it was read from cards."""
    printed = _BASIS.search(text)
    if printed:
        return printed[1].decode("latin-1").strip()
    if _GENERAL_BASIS.search(text):
        return "general"
    names = (name + (f"({','.join(options)})" if options else "") for name, options in route.keywords)
    return next((name for name in names if _BASIS_KEYWORD.fullmatch(name)), None)


def _solvent(text: bytes, route: Route) -> str | None:
    """`SMD(Water)`, `PCM(Toluene)`; a solvent that has no name is named by its dielectric constant."""
    solvent, model = _SOLVENT.search(text), _MODEL.search(text)
    if solvent is None and model is None:
        asked = {option for option in route.options("scrf") if option != "check"}
        return f"SCRF({', '.join(sorted(asked)) or 'unknown'})" if asked else None
    printed = model[1].decode("latin-1") if model else "PCM"
    name = "SMD" if b"SMD-Coulomb" in text else {"C-PCM": "CPCM", "COSMO": "CPCM"}.get(printed, printed)
    epsilon = _EPSILON.search(text)
    of = solvent[1].decode("latin-1").strip() if solvent else f"epsilon={epsilon[1].decode()}" if epsilon else "unknown"
    return f"{name}({of})"


def _relativity(route: Route) -> str:
    options = set(route.options("int", "integral", "integrals"))
    if options & {"dkh4", "dkhso"}:
        return "DKH4" if "dkh4" in options else "DKH-SO"
    if options & {"dkh", "dkh2", "douglaskrollhess"}:
        return "DKH2"
    return "DKH0" if "dkh0" in options else "RESC" if "resc" in options else "none"


def state(route: Route) -> str:
    """The excited state whose gradient is followed: `root 1`, `triplet root 2`."""
    options = route.options("td", "tda", "cis", "eomccsd", "zindo")
    root = next((option.split("=")[1] for option in options if re.fullmatch(r"root=\d{1,4}", option)), "1")
    return f"triplet root {root}" if "triplets" in options else f"root {root}"


def _grid(route: Route) -> str | None:
    """As asked for; the default varies with the version."""
    options = route.options("int", "integral", "integrals")
    named = (option.removeprefix("grid=") for option in options)
    return next(
        (name for name in named if "grid" in name or name in ("ultrafine", "superfine", "fine", "coarse")), None
    )


def _kpoints(text: bytes) -> Kpoints | None:
    mesh = _MESH.search(text)
    return Kpoints(mesh=(int(mesh[1]), int(mesh[2]), int(mesh[3]))) if mesh else None


def _pseudopotentials(text: bytes, route: Route) -> tuple[Pseudopotential, ...]:
    """One an element: the name of its basis set, and its valence electrons."""
    section = _ECP.search(text)
    if section is None:
        return ()
    body = text[section.end() : section.end() + (1 << 20)].split(b"\n\n", 1)[0]
    title = _basis(text, route) or "general"
    found = {(int(z), int(valence)) for z, valence in _ECP_CENTER.findall(body)}
    named = [
        Pseudopotential(element=SYMBOLS[z], title=title, valence=float(valence))
        for z, valence in found
        if 0 < z < len(SYMBOLS) and valence < z
    ]
    return tuple(sorted(named, key=lambda potential: potential.element))


def _convergence(text: bytes) -> Convergence:
    energy, force, cycles = _value(_SCF_ENERGY, text), _value(_FORCE, text), _value(_SCF_CYCLES, text)
    return Convergence(
        electronic=None if energy is None else scalar(energy, "hartree", "energy"),
        ionic_force=None if force is None else scalar(force, "hartree/bohr", "force"),
        max_electronic_steps=None if cycles is None else int(cycles),
    )


def _value(pattern: re.Pattern[bytes], text: bytes) -> float | None:
    match = pattern.search(text)
    try:
        return number(match[1]) if match else None
    except ParseError:
        return None
