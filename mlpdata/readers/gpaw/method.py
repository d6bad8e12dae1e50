"""What GPAW's files say of the method: parameters of a .gpw file, tables and echoed parameters of a text file.

References:
    GPAW's manual, https://gpaw.readthedocs.io/documentation/manual.html; short names of functionals in gpaw.xc.libxc.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from mlpdata.readers.ase.atoms import as_numbers
from mlpdata.readers.text import number
from mlpdata.schema.calculation import ForcesAre
from mlpdata.schema.method import Convergence, Hubbard, Kpoints, Method, Smearing
from mlpdata.units import F64

_FUNCTIONALS = {
    "LDA": "LDA-PW", "LDA_X+LDA_C_PW": "LDA-PW", "LDA_X+LDA_C_PZ": "LDA", "GGA_X_PBE+GGA_C_PBE": "PBE",
    "GGA_X_PBE_SOL+GGA_C_PBE_SOL": "PBEsol", "GGA_X_PBE_R+GGA_C_PBE": "revPBE", "GGA_X_RPBE+GGA_C_PBE": "RPBE",
    "GGA_X_B88+GGA_C_LYP": "BLYP", "MGGA_X_SCAN+MGGA_C_SCAN": "SCAN", "MGGA_X_R2SCAN+MGGA_C_R2SCAN": "R2SCAN",
    "MGGA_X_TPSS+MGGA_C_TPSS": "TPSS", "HYB_GGA_XC_B3LYP": "B3LYP", "HYB_GGA_XC_PBEH": "PBE0",
    "HYB_GGA_XC_HSE06": "HSE06", "HYB_GGA_XC_HSE03": "HSE03", "EXX": "HF",
}  # fmt: skip
"""Canonical names, where GPAW's is another; libxc's B3LYP has the local part that Gaussian's has."""
_EXACT_EXCHANGE = {"HF": 1.0, "PBE0": 0.25, "HSE03": 0.25, "HSE06": 0.25, "B3LYP": 0.2} | dict.fromkeys(
    ("LDA-PW", "LDA", "PBE", "PBEsol", "revPBE", "RPBE", "BLYP", "PW91", "SCAN", "R2SCAN", "TPSS", "revTPSS", "M06-L"),
    0.0,
)
_NONLOCAL = ("vdW-DF", "BEEF-vdW", "optPBE-vdW", "optB88-vdW", "C09-vdW", "rVV10")
"""Beginnings of the names of functionals that hold dispersion; mBEEF-vdW ends as BEEF-vdW does."""
_SMEARINGS = {
    "fermi-dirac": "fermi-dirac", "fermidirac": "fermi-dirac", "marzari-vanderbilt": "marzari-vanderbilt",
    "methfessel-paxton": "methfessel-paxton", "tetrahedron-method": "tetrahedron",
    "improved-tetrahedron-method": "tetrahedron", "fixed": "fixed",
}  # fmt: skip
_HUBBARD = re.compile(r"(?:;|:|^)([spdf]),(\d{1,6}(?:\.\d{1,8})?)(?:,[01])?")
DIPOLE_CORRECTION = "dipole correction"
_NO_FIELD = ("d3", "solvation")
"""Extensions that are a part of the method itself."""
_DEFAULT_WIDTH = 0.1
"""Width of Fermi-Dirac smearing [eV] where a system is periodic and nothing is said."""


def functional(printed: str) -> dict[str, Any]:
    """Fields of a `Method` that follow from the name of a functional, `PBE` or `PBE0:backend=pw`; unknown ones are kept."""
    short = printed.partition(":")[0]
    name = _FUNCTIONALS.get(short, short)
    nonlocal_part = any(part in name for part in _NONLOCAL)
    return {
        "functional": name,
        "functional_as_printed": printed,
        "exact_exchange": _EXACT_EXCHANGE.get(name),
        "dispersion": name if nonlocal_part else "none",
    }


def smearing(name: str, width: float | None) -> Smearing | None:
    """A smearing, of a width that may be unknown; None for occupations that are whole."""
    method = _SMEARINGS.get(name.lower().replace("_", "-").replace(" ", "-"))
    if method is None or (width == 0 and method != "tetrahedron"):
        return None
    return Smearing(method=method, width=width)


def hubbard(species: str, text: str) -> tuple[Hubbard, ...]:
    """The +U terms of a setup as it is asked for: `:d,6.0`, `paw:d,3.5,0;p,1.0`."""
    terms = _HUBBARD.findall(text[text.find(":") :][:200]) if ":" in text else []
    return tuple(
        Hubbard(species=species, orbital=orbital, u=number(u.encode()), scheme="dudarev") for orbital, u in terms
    )


def forces_are(method: Method) -> ForcesAre:
    """What forces are beside what acts on the electrons; a dipole correction belongs to the cell, not to the outside."""
    return "with_external" if set(method.external) - {DIPOLE_CORRECTION} else "physical"


def run_of(name: str, _head: bytes) -> str:
    """`relax.txt` and `relax.gpw` of one folder are one run: the text has all of its geometries, the other the last."""
    return name.rpartition(".")[0] or name


# -- .gpw


def from_parameters(parameters: Mapping[str, Any], *, periodic: bool, n_spins: int | None) -> Method:
    """The method of a .gpw file.

    Args:
        parameters: those that differ from GPAW's defaults.
        periodic: in any direction.
        n_spins: components of the density, 1, 2 or 4 (noncollinear); None where the file does not tell.
    """
    xc = parameters.get("xc", "LDA")
    mode = _named(parameters.get("mode", "fd"))
    plane_waves = mode.get("name") == "pw"
    convergence = parameters.get("convergence")
    return Method(
        code="gpaw",
        **{**functional(str(_named(xc).get("name"))), **_extensions(parameters.get("extensions"))},
        basis="plane waves" if plane_waves else _basis(str(mode.get("name")), parameters.get("basis")),
        cutoff_energy=_real(mode.get("ecut", 340.0)) if plane_waves else None,
        kpoints=_kpoints(parameters.get("kpts")),
        smearing=_occupations(parameters, periodic),
        hubbard=_hubbard_of_setups(parameters.get("setups")),
        spin={1: "restricted", 2: "unrestricted", 4: "noncollinear"}.get(n_spins or 0),
        relativity="spin-orbit" if _spin_orbit(parameters) else "scalar",
        external=external(parameters),
        convergence=Convergence(max_electronic_steps=_whole(parameters.get("maxiter"))),
        grid=None if (spacing := _real(parameters.get("h"))) is None else f"h={spacing:g} angstrom",
        settings_as_printed={
            f"convergence {name}": value
            for name, value in sorted(convergence.items() if isinstance(convergence, Mapping) else ())
            if isinstance(value, int | float | str)
        },
    )


def external(parameters: Mapping[str, Any]) -> tuple[str, ...]:
    """What acts on the electrons beside the nuclei."""
    found = []
    field = parameters.get("external")
    if field is not None:
        found.append(str(_named(field).get("name", "external potential"))[:60])
    solver = parameters.get("poissonsolver")
    if isinstance(solver, Mapping) and solver.get("dipolelayer") is not None:
        found.append(DIPOLE_CORRECTION)
    if parameters.get("background_charge") is not None:
        found.append("background charge")
    names = _names_of(parameters.get("extensions"))
    return tuple(sorted([*found, *(name for name in names if name not in _NO_FIELD)]))


def _named(value: Any) -> Mapping[str, Any]:
    """`pw` and {"name": "pw", "ecut": 400} alike as a mapping."""
    return value if isinstance(value, Mapping) else {"name": str(value)}


def _real(value: Any) -> float | None:
    number = as_numbers(value)
    return float(number) if number is not None and number.ndim == 0 and np.isfinite(number) else None


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) else None


def _basis(mode: str, basis: Any) -> str:
    """`lcao (dzp)`, `fd`: the numbers of both are not those of plane waves."""
    named = basis if isinstance(basis, str) else ", ".join(f"{kind}: {name}" for kind, name in _pairs(basis))
    return f"{mode} ({named})" if mode == "lcao" and named else mode


def _pairs(value: Any) -> list[tuple[str, Any]]:
    return sorted((str(key), one) for key, one in value.items()) if isinstance(value, Mapping) else []


NOT_SELF_CONSISTENT = (
    "expected the energy of a ground state, found {}: bands at a density that was held fixed. "
    "No force derives from such an energy."
)


GHOSTS = "expected atoms, found ghost setups among them. Which atoms they stand for is not told apart from the others."


def unusable(parameters: Mapping[str, Any]) -> str:
    """Why the frames cannot be used: not of a ground state, or not all atoms are atoms; "" where nothing says so."""
    if "ghost" in str(parameters.get("setups")):
        return GHOSTS
    kpts = parameters.get("kpts")
    if parameters.get("fixdensity") is True:
        return NOT_SELF_CONSISTENT.format("fixdensity")
    if isinstance(kpts, Mapping) and "path" in kpts:
        return NOT_SELF_CONSISTENT.format("a path of k-points")
    points = as_numbers(kpts)
    if points is not None and points.ndim == 2 and len(points) > 1 and _mesh_of(points) is None:
        return NOT_SELF_CONSISTENT.format("k-points that are no mesh")
    return ""


def _mesh_of(points: F64) -> tuple[int, int, int] | None:
    """Divisions of the mesh that a list of k-points makes; None where it makes none."""
    if points.shape[1:] != (3,):
        return None
    axes = [np.unique(column.round(6)) for column in points.T]
    even = all(np.allclose(np.diff(axis), 1 / len(axis), atol=1e-5) for axis in axes)
    first, second, third = (len(axis) for axis in axes)
    return (first, second, third) if even and first * second * third == len(points) else None


def _kpoints(kpts: Any) -> Kpoints:
    """The sampling: a mesh, a mapping that says how to make one, or a list of points."""
    if isinstance(kpts, Mapping):
        if "points" in kpts or "kpts" in kpts:
            return _kpoints(kpts.get("points", kpts.get("kpts")))
        centring = "gamma" if kpts.get("gamma") is True else "monkhorst-pack"
        return Kpoints(mesh=_mesh(kpts.get("size")), centring=centring)
    points = as_numbers([[0.0, 0.0, 0.0]] if kpts is None else kpts)
    if points is not None and points.shape == (3,):
        return Kpoints(mesh=_mesh(points), centring="monkhorst-pack")
    if points is None or points.ndim != 2:
        return Kpoints()
    if len(points) == 1 and not points.any():
        return Kpoints(mesh=(1, 1, 1), centring="gamma")
    mesh = _mesh_of(points)
    return Kpoints(mesh=mesh, centring="monkhorst-pack" if mesh else "list", count=None if mesh else len(points))


def _mesh(size: Any) -> tuple[int, int, int] | None:
    divisions = as_numbers(size)
    if divisions is None or divisions.shape != (3,) or not np.isfinite(divisions).all():
        return None
    first, second, third = (int(n) for n in divisions)
    return first, second, third


def _occupations(parameters: Mapping[str, Any], periodic: bool) -> Smearing | None:
    """The smearing asked for; where nothing is, GPAW smears what is periodic."""
    width = _real(parameters.get("width"))
    asked = parameters.get("occupations")
    if asked is None:
        return smearing("fermi-dirac", width if width is not None else _DEFAULT_WIDTH if periodic else 0.0)
    occupations = _named(asked)
    return smearing(str(occupations.get("name", "")), _real(occupations.get("width")) or 0.0)


def _hubbard_of_setups(setups: Any) -> tuple[Hubbard, ...]:
    by_kind = {"default": setups} if isinstance(setups, str) else dict(_pairs(setups))
    return tuple(term for kind, text in by_kind.items() if isinstance(text, str) for term in hubbard(kind, text))


def _spin_orbit(parameters: Mapping[str, Any]) -> bool:
    experimental = parameters.get("experimental")
    return bool(parameters.get("soc") or (isinstance(experimental, Mapping) and experimental.get("soc")))


def _names_of(extensions: Any) -> list[str]:
    return [str(_named(one).get("name", ""))[:60] for one in extensions] if isinstance(extensions, list) else []


def _extensions(extensions: Any) -> dict[str, Any]:
    """Fields that follow from what is added to the energy: dispersion, a solvent."""
    names = _names_of(extensions)
    fields: dict[str, Any] = {}
    if "d3" in names:
        fields["dispersion"] = "D3"
    if "solvation" in names or "sjm" in names:
        fields["solvent"] = "continuum"
    return fields
