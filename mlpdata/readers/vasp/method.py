"""The level of theory of a VASP run, from its INCAR tags, potentials and k-points, whichever file prints them.

There are the tags that VASP used and those that the user wrote. Both may be printed as stars where a value does not
fit: such a value is unknown, not an error (pitfall V9).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from mlpdata.readers.xml import Element, text
from mlpdata.schema.method import Convergence, Hubbard, Kpoints, Method, Pseudopotential, Smearing

_AS_PRINTED = (
    "PREC", "ALGO", "LREAL", "ADDGRID", "LASPH", "LMAXMIX", "ISYM", "NUPDOWN", "ISMEAR", "PSTRESS", "GGA_COMPAT",
    "PRECFOCK", "ENCUTFOCK", "NKRED", "LMAXTAU", "SYMPREC", "TEBEG", "TEEND", "SMASS", "MDALGO", "POTIM", "ISIF",
)  # fmt: skip
"""Tags whose setting by the user changes the numbers and for which Method has no field."""

_GGA = {
    "PE": "PBE", "PS": "PBEsol", "91": "PW91", "RP": "RPBE", "RE": "revPBE", "AM": "AM05", "BF": "BEEF-vdW",
    "B3": "B3LYP", "B5": "B3LYP", "CA": "LDA", "PZ": "LDA", "VW": "LDA", "WI": "LDA", "HL": "LDA", "03": "B3LYP",
    "05": "B3LYP", "OR": "optPBE", "BO": "optB88", "MK": "optB86b", "ML": "PW86R", "CX": "cx13", "LI": "LIBXC", "NO": "LDA",
}  # fmt: skip
"""Functional by the first two letters of GGA."""
_METAGGA = {
    "R2SCA": "R2SCAN", "RSCAN": "RSCAN", "SCAN": "SCAN", "TPSS": "TPSS", "RTPSS": "revTPSS", "M06L": "M06-L",
    "MBJ": "MBJ", "HLE17": "HLE17", "MS0": "MS0", "MS1": "MS1", "MS2": "MS2", "LAK": "LAK", "LIBXC": "LIBXC",
}  # fmt: skip
_VAN_DER_WAALS = {
    "OR": ("optPBE-vdW", "vdW-DF"), "BO": ("optB88-vdW", "vdW-DF"), "MK": ("optB86b-vdW", "vdW-DF"),
    "ML": ("vdW-DF2", "vdW-DF2"), "RE": ("vdW-DF", "vdW-DF"), "BF": ("BEEF-vdW", "vdW-DF2"),
    "CX": ("vdW-DF-cx", "vdW-DF"),
}  # fmt: skip
"""Functional and dispersion by GGA, where LUSE_VDW is on."""
_IVDW = {
    0: "none", 1: "D2", 10: "D2", 11: "D3", 12: "D3(BJ)", 13: "D4", 15: "sD3", 2: "TS", 20: "TS", 21: "TS-HI",
    202: "MBD", 263: "MBD-FI", 3: "DFT-ulg", 4: "dDsC",
}  # fmt: skip
CENTRING = {"gamma": "gamma", "monkhorst-pack": "monkhorst-pack", "auto": "gamma", "automatic": "gamma"}
"""Canonical centring by the word that VASP uses."""
_TITLE = {"PAW_PBE": "PBE", "PAW_GGA": "PW91", "PAW": "LDA", "PAW_LDA": "LDA", "PAW_RPBE": "RPBE", "PAW_PS": "PBEsol"}


@dataclass(frozen=True)
class Tags:
    """INCAR tags as an output prints them."""

    user: dict[str, str]
    """What the user wrote: `<incar>` of vasprun.xml, INCAR as OUTCAR and vaspout.h5 repeat it."""
    used: dict[str, str]
    """What VASP used: `<parameters>` of vasprun.xml, the listing in OUTCAR."""

    def word(self, name: str) -> str:
        """The tag as text without comment, what VASP used before what the user wrote; "" where unknown."""
        value = self.used.get(name, "")
        if value in {"", "--"}:
            value = self.user.get(name, value)
        return re.split("[!#]", value)[0].strip()

    def number(self, name: str) -> float | None:
        """The tag as a number; None where absent or in stars."""
        return real(self.word(name))

    def whole(self, name: str, default: int) -> int:
        """The tag as an integer."""
        value = self.number(name)
        return default if value is None else int(value)

    def flag(self, name: str) -> bool:
        """Whether a logical tag is on."""
        return self.word(name).strip(".").upper().startswith("T")

    def unreadable(self, names: tuple[str, ...]) -> list[str]:
        """Those of `names` that are printed, and are no numbers."""
        return [name for name in names if self.word(name) and self.number(name) is None]

    def vector(self, name: str) -> list[float]:
        """The tag as numbers; empty where absent or in stars."""
        return _numbers(self.word(name))

    @property
    def energy_tolerance(self) -> float | None:
        """EDIFF [eV], as the user wrote it first; None where it is printed as 0.00000000 (pitfall V9)."""
        value = real(self.user.get("EDIFF", "")) or real(self.used.get("EDIFF", ""))
        return value or None

    @property
    def is_response(self) -> bool:
        """Whether response iterations stand among the SCF iterations (pitfall V4)."""
        return self.flag("LEPSILON") or self.flag("LCALCEPS") or self.whole("IBRION", -1) in {7, 8}

    @property
    def has_field(self) -> bool:
        """Whether an electric field acts; LCALCEPS tries fields after the labels, which are without one."""
        return bool(self.number("EFIELD")) or (any(self.vector("EFIELD_PEAD")) and not self.flag("LCALCEPS"))

    @property
    def is_scaled(self) -> bool:
        """Whether energies and forces are scaled for a thermodynamic integration."""
        return self.number("SCALEE") not in {None, 1.0}

    @property
    def n_images(self) -> int:
        """Images of a nudged elastic band."""
        return self.whole("IMAGES", 0)


def real(word: str) -> float | None:
    """A number; None where absent or in stars."""
    try:
        value = float(word.replace("D", "E").replace("d", "e"))
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _numbers(words: str) -> list[float]:
    """All of `words`, or none where one of them is no number."""
    values = [real(word) for word in words.split()]
    return [] if None in values else [value for value in values if value is not None]


def tags(root: Element) -> Tags:
    """The tags of a run from the root of its header."""
    return Tags(_items(root.find("incar")), _items(root.find("parameters")))


def _items(group: Element | None) -> dict[str, str]:
    if group is None:
        return {}
    found: dict[str, str] = {}
    for item in group.iter("i", "v"):  # the first counts: NELM comes again among the response functions
        found.setdefault(str(item.get("name", "")), text(item))
    return found


def method(
    incar: Tags,
    version: str | None,
    kpoints: Kpoints | None,
    pseudopotentials: tuple[Pseudopotential, ...],
    species: list[str],
) -> Method:
    """The level of theory.

    Args:
        incar: the tags of the run.
        version: of VASP.
        kpoints: sampling of the Brillouin zone.
        pseudopotentials: one for each species.
        species: chemical symbol of each species, in the order of POSCAR.
    """
    functional, printed, dispersion = _functional(incar, pseudopotentials)
    return Method(
        code="vasp",
        code_version=version,
        functional=functional,
        functional_as_printed=printed,
        exact_exchange=incar.number("AEXX") if incar.flag("LHFCALC") else None,
        dispersion=dispersion,
        hubbard=_hubbard(incar, species),
        basis="plane waves",
        cutoff_energy=incar.number("ENMAX") or incar.number("ENCUT"),
        kpoints=kpoints,
        smearing=_smearing(incar),
        pseudopotentials=tuple(sorted(set(pseudopotentials), key=lambda one: (one.element, one.title))),
        relativity="spin-orbit" if incar.flag("LSORBIT") else "scalar",
        spin=_spin(incar),
        solvent=f"VASPsol(eps={incar.word('EB_K') or '78.4'})" if incar.flag("LSOL") else None,
        external=_external(incar),
        convergence=_convergence(incar),
        grid=_grid(incar),
        settings_as_printed={name: incar.user[name] for name in _AS_PRINTED if name in incar.user},
    )


def _functional(incar: Tags, pseudopotentials: tuple[Pseudopotential, ...]) -> tuple[str | None, str, str | None]:
    """Canonical name, what is printed, and the dispersion (pitfall V19: comments, mixed case, cut names, `--`)."""
    gga = incar.word("GGA").upper()[:2].strip("-")
    meta = incar.word("METAGGA").upper().strip("-")
    exchange = {one.exchange for one in pseudopotentials}
    printed = f"GGA={gga or '--'} METAGGA={meta or '--'} POTCAR={','.join(sorted(x or '?' for x in exchange))}"
    name = _GGA.get(gga, gga) if gga else next(iter(exchange)) if len(exchange) == 1 else None
    dispersion = _IVDW.get(incar.whole("IVDW", -1)) or ("D2" if incar.flag("LVDW") else None)
    if meta not in {"", "NONE", "F"}:
        name = next((known for cut, known in _METAGGA.items() if meta.startswith(cut)), meta)
    if incar.flag("LUSE_VDW"):
        rvv10 = meta not in {"", "NONE", "F"} or (real(incar.user.get("BPARAM", "")) or 0.0) > 0.0
        name, dispersion = (name, "rVV10") if rvv10 else _VAN_DER_WAALS.get(gga, (name, "vdW-DF"))
    if incar.flag("LHFCALC"):
        name = _hybrid(name, incar)
        printed += f" AEXX={incar.word('AEXX')} HFSCREEN={incar.word('HFSCREEN')}"
    return name, printed, dispersion


def _hybrid(base: str | None, incar: Tags) -> str:
    """Canonical name of a hybrid; one without a name of its own is spelled out."""
    fraction, screening = incar.number("AEXX"), incar.number("HFSCREEN") or 0.0
    if base == "B3LYP":
        return base
    if fraction == 1.0 and screening == 0.0 and (incar.number("AGGAC") == 0.0 or incar.number("ALDAC") == 0.0):
        return "HF"
    if fraction == 0.25 and not incar.flag("LMODELHF"):
        unscreened = {"PBE": "PBE0", "PBEsol": "PBEsol0", "SCAN": "SCAN0", "R2SCAN": "R2SCAN0"}
        if screening == 0.0 and base in unscreened:
            return unscreened[base]
        if 0.195 < screening < 0.215 and base in {"PBE", "PBEsol"}:  # 0.2 and 0.207 (0.11 / bohr) are both in use
            return {"PBE": "HSE06", "PBEsol": "HSEsol"}[base]
        if screening == 0.3 and base == "PBE":
            return "HSE03"
    kind = "model-hybrid" if incar.flag("LMODELHF") else "hybrid"
    return f"{base or 'unknown'}-{kind}(AEXX={fraction}, HFSCREEN={screening})"


def _hubbard(incar: Tags, species: list[str]) -> tuple[Hubbard, ...]:
    """+U terms; in Dudarev's scheme only U - J matters."""
    if not incar.flag("LDAU"):
        return ()
    kind = incar.whole("LDAUTYPE", 2)
    scheme = {1: "liechtenstein", 2: "dudarev", 4: "liechtenstein without exchange splitting"}.get(kind)
    terms = []
    columns = (incar.vector("LDAUL"), incar.vector("LDAUU"), incar.vector("LDAUJ"))
    for symbol, orbital, u, j in zip(species, *columns, strict=False):
        if 0 <= orbital <= 3 and (u, j) != (0.0, 0.0):
            value, exchange = (u - j, 0.0) if kind == 2 else (u, j)
            terms.append(Hubbard(species=symbol, orbital="spdf"[int(orbital)], u=value, j=exchange, scheme=scheme))
    return tuple(terms)


def _smearing(incar: Tags) -> Smearing | None:
    kind = incar.number("ISMEAR")
    if kind is None:
        return None
    names = {0: "gaussian", -1: "fermi-dirac", -2: "fixed", -14: "tetrahedron", -15: "tetrahedron"}
    name = names.get(int(kind), "methfessel-paxton" if kind > 0 else "tetrahedron")
    return Smearing(method=name, width=None if name in {"fixed", "tetrahedron"} else incar.number("SIGMA"))


def _spin(incar: Tags) -> str | None:
    if incar.flag("LNONCOLLINEAR"):
        return "noncollinear"
    return {1: "restricted", 2: "unrestricted"}.get(incar.whole("ISPIN", 0))


def _external(incar: Tags) -> tuple[str, ...]:
    """What acts on the electrons besides the nuclei."""
    found = {
        "electric field": incar.has_field,
        "constrained moments": incar.whole("I_CONSTRAINED_M", 0) > 0,
        "coupling to a reference system": incar.is_scaled,
        "dipole correction": incar.flag("LDIPOL"),
        "monopole correction": incar.flag("LMONO"),
    }
    return tuple(name for name, on in found.items() if on)


def _convergence(incar: Tags) -> Convergence:
    ionic = incar.number("EDIFFG") or 0.0
    steps = incar.number("NELM")
    return Convergence(
        electronic=incar.energy_tolerance,
        ionic_energy=ionic if ionic > 0 else None,
        ionic_force=-ionic if ionic < 0 else None,
        max_electronic_steps=None if steps is None else int(steps),
    )


def _grid(incar: Tags) -> str | None:
    mesh = [incar.word(name) for name in ("NGX", "NGY", "NGZ")]
    parts = [incar.word("PREC").lower(), "x".join(mesh) if all(mesh) else ""]
    return " ".join(part for part in parts if part) or None


def kpoints(root: Element) -> Kpoints | None:
    """The sampling that vasprun.xml states."""
    group = root.find("kpoints")
    if group is None:
        return None
    points = group.find("varray[@name='kpointlist']")
    count = None if points is None else len(points.findall("v"))
    made = group.find("generation")
    if made is None:
        return Kpoints(centring="list", count=count)
    param = str(made.get("param", "")).lower()
    if param == "listgenerated":
        return Kpoints(centring="line", count=count)
    mesh, shift = _vector(made, "divisions"), _vector(made, "usershift")
    return Kpoints(
        mesh=(int(mesh[0]), int(mesh[1]), int(mesh[2])) if len(mesh) == 3 else None,
        shift=(shift[0], shift[1], shift[2]) if len(shift) == 3 else None,
        centring=CENTRING.get(param, param or None),
        count=count,
    )


def _vector(group: Element, name: str) -> list[float]:
    return _numbers(text(group.find(f"v[@name='{name}']")))


def pseudopotential(
    element: str, title: str, valence: float | None, exchange: str = "", digest: str | None = None
) -> Pseudopotential:
    """Identity of one POTCAR.

    Args:
        element: chemical symbol.
        title: its TITEL, whose first word names the exchange that it was made with: `PAW_PBE Zr_sv 07Sep2000`.
        valence: its ZVAL.
        exchange: its LEXCH, which says it better.
        digest: checksum, with its kind.
    """
    words = title.split()
    made_with = _GGA.get(exchange.upper()) or (_TITLE.get(words[0]) if words else None)
    return Pseudopotential(element=element, title=" ".join(words), exchange=made_with, valence=valence, digest=digest)
