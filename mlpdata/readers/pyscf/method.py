"""What a PySCF output says of its own method: the flags of the mean field, its functional, solvation, smearing.

References:
    PySCF, https://pyscf.org; Q. Sun et al., J. Chem. Phys. 153, 024109 (2020).
"""

from __future__ import annotations

import re

from mlpdata.errors import ParseError
from mlpdata.readers.text import number
from mlpdata.schema.method import Convergence, Kpoints, Method, Smearing
from mlpdata.units import scalar

_FUNCTIONALS = {
    "pbe": ("PBE", 0.0), "pbe,pbe": ("PBE", 0.0), "pbesol": ("PBEsol", 0.0), "revpbe": ("revPBE", 0.0),
    "rpbe": ("RPBE", 0.0), "blyp": ("BLYP", 0.0), "b88,lyp": ("BLYP", 0.0), "bp86": ("BP86", 0.0),
    "b88,p86": ("BP86", 0.0), "lda,vwn": ("SVWN5", 0.0), "svwn": ("SVWN5", 0.0), "tpss": ("TPSS", 0.0),
    "m06l": ("M06-L", 0.0), "m06-l": ("M06-L", 0.0), "scan": ("SCAN", 0.0), "r2scan": ("R2SCAN", 0.0),
    "pbe0": ("PBE0", 0.25), "pbe1pbe": ("PBE0", 0.25), "b3lyp5": ("B3LYP5", 0.2), "b3lypg": ("B3LYP", 0.2),
    "tpssh": ("TPSSh", 0.1), "m06": ("M06", 0.27), "m062x": ("M06-2X", 0.54), "m06-2x": ("M06-2X", 0.54),
    "camb3lyp": ("CAM-B3LYP", None), "cam-b3lyp": ("CAM-B3LYP", None), "hse06": ("HSE06", 0.25),
    "wb97x": ("wB97X", None), "wb97x-v": ("wB97X-V", None), "wb97x_v": ("wB97X-V", None),
    "wb97m-v": ("wB97M-V", None), "wb97m_v": ("wB97M-V", None), "b97m-v": ("B97M-V", 0.0), "hf": ("HF", 1.0),
}  # fmt: skip
"""Canonical name and fraction of exact exchange of what `xc` may say, in small letters."""
_DISPERSIONS = {"d3zero": "D3", "d3bj": "D3(BJ)", "d4": "D4"}
_SPINS = {"R": "restricted", "U": "unrestricted", "RO": "restricted-open", "G": "noncollinear", "D": "noncollinear"}
_SPIN = re.compile(r"(RO|[RUGD])(?:KS|HF)|K?(RO|[RUG])(?:KS|HF)")
_LEVEL = re.compile(r"(?:DF)?-?(?:RO|[RUG])?(MP2|CC2|CCSD|CCSD\(T\)|CISD|CASSCF|CASCI|FCI)")


def level(name: str) -> str:
    """A correlated method without what it says of spin and density fitting: RMP2 is MP2.

    >>> level("DFUMP2"), level("RCCSD")
    ('MP2', 'CCSD')
    """
    match = _LEVEL.fullmatch(name)
    return match[1] if match else name


def method(flags: str, basis: str | None, ecp: str | None, version: str | None, correlation: str | None) -> Method:
    """The method of one calculation.

    Args:
        flags: from the banner of the mean field to its first energy.
        basis: as printed for the molecule.
        ecp: as printed for the molecule.
        version: of PySCF.
        correlation: correlated method whose energies are the labels, None for the mean field.
    """
    name = _said(flags, r"method") or ""
    functional, exchange, dispersion = _functional(_said(flags, r"XC functionals"), version)
    spin = _SPIN.search(name)
    return Method(
        code="pyscf",
        code_version=version,
        functional=functional,
        functional_as_printed=_said(flags, r"XC functionals") or (name.removesuffix("_Scanner") or None),
        exact_exchange=exchange,
        correlation=correlation,
        dispersion=dispersion,
        basis=basis,
        auxiliary_basis=_said(flags, r"auxbasis"),
        relativity=_relativity(name),
        spin=_SPINS[spin[1] or spin[2]] if spin else None,
        solvent=_solvent(flags),
        external=("point charges",) if "** Add background charges" in flags else (),
        kpoints=None if (count := _count(_said(flags, r"N kpts"))) is None else Kpoints(count=count),
        smearing=_smearing(flags),
        convergence=Convergence(
            electronic=_energy(_said(flags, r"SCF conv_tol")),
            max_electronic_steps=_count(_said(flags, r"SCF max_cycles")),
        ),
        grid=None if (dense := _said(flags, r"grids dens level")) is None else f"level {dense}",
        settings_as_printed={} if ecp in (None, "{}") else {"ecp": str(ecp)[:200]},
    )


def _said(flags: str, key: str) -> str | None:
    """The value of the first line `key = value` or `key: value`."""
    match = re.search(rf"^{key} *[=:] *([^\n]{{1,200}})", flags, re.MULTILINE)
    return match[1].strip() if match else None


def _functional(xc: str | None, version: str | None) -> tuple[str | None, float | None, str | None]:
    """Canonical functional, its exact exchange, and the dispersion that `xc` names after it."""
    if xc is None:
        return "HF", 1.0, None
    text = xc.lower().replace(" ", "")
    plain, _, suffix = text.rpartition("-")
    if suffix in _DISPERSIONS:
        text, dispersion = plain, _DISPERSIONS[suffix]
    else:
        dispersion = None
    if text == "b3lyp":  # the form with VWN5 before PySCF 2.3, Gaussian's since
        return ("B3LYP" if _is_at_least(version, 2, 3) else "B3LYP5"), 0.2, dispersion
    functional, exchange = _FUNCTIONALS.get(text, (None, None))
    return functional, exchange, dispersion


def _is_at_least(version: str | None, major: int, minor: int) -> bool:
    match = re.match(r"(\d{1,4})\.(\d{1,4})", version or "")
    return match is not None and (int(match[1]), int(match[2])) >= (major, minor)


def _relativity(name: str) -> str | None:
    if "sfX2C1e" in name:
        return "sf-X2C-1e"
    return "X2C" if "X2C" in name else None


def _solvent(flags: str) -> str | None:
    """`C-PCM(eps=78.3553)`."""
    match = re.search(r"<class 'pyscf\.solvent\.(?!_)\w+\.(\w+)'> \*{8}", flags)
    if match is None:
        return None
    rest = flags[match.end() :]
    kind = (_said(rest, r"method") or match[1]) if match[1] == "PCM" else match[1]
    eps = _said(rest, r"eps")
    return kind if eps is None else f"{kind}(eps={eps})"


def _smearing(flags: str) -> Smearing | None:
    """The width is printed, the kind of occupations is not."""
    match = re.search(r"^ +sigma = (\S+)  Optimized mu", flags, re.MULTILINE)
    return Smearing(method="unknown", width=_energy(match[1])) if match else None


def _energy(text: str | None) -> float | None:
    """A threshold in hartree, as eV."""
    try:
        return None if text is None else scalar(number(text.encode()), "hartree", "energy")
    except ParseError:
        return None


def _count(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() and len(text) < 9 else None
