"""Method: the level of theory and its numerical settings, as the output states them; unknown is a value.

`theory` hashes the fields that name the potential-energy surface, `settings` those that say how finely it was
computed. Both are shortcuts for "the same" only; how two methods that differ compare is a rule of curation.
"""

from __future__ import annotations

from mlpdata.digest import sha256_json
from mlpdata.schema.noun import Noun, Sha256

_THEORY = (
    "functional", "exact_exchange", "correlation", "dispersion", "hubbard", "relativity", "solvent", "external",
    "state", "excited", "auxiliary_basis",
)  # fmt: skip
_SETTINGS = (
    "code", "code_version", "cutoff_energy", "cutoff_density", "kpoints", "smearing", "convergence", "grid", "spin",
    "settings_as_printed",
)  # fmt: skip


class Smearing(Noun):
    """Broadening of the occupations."""

    method: str
    """gaussian, marzari-vanderbilt, methfessel-paxton, fermi-dirac, tetrahedron, fixed."""
    width: float | None = None
    """sigma [eV]; for fermi-dirac k_B T."""


class Kpoints(Noun):
    """Sampling of the Brillouin zone."""

    mesh: tuple[int, int, int] | None = None
    """Divisions along the reciprocal vectors."""
    shift: tuple[float, float, float] | None = None
    """Offset of the mesh in units of its step."""
    centring: str | None = None
    """gamma, monkhorst-pack, list, line."""
    count: int | None = None
    """Irreducible points."""


class Pseudopotential(Noun):
    """Identity of a potential; never its text, which is often licensed."""

    element: str
    """Chemical symbol."""
    title: str
    """TITEL of a POTCAR, file name of a UPF."""
    exchange: str | None = None
    """Exchange and correlation it was made with."""
    valence: float | None = None
    """Valence electrons."""
    digest: str | None = None
    """Checksum of the potential as the output prints it, with its kind: `sha256:...`, `md5:...`."""


class Hubbard(Noun):
    """One +U term."""

    species: str
    """Chemical symbol or the code's name of the kind."""
    orbital: str | None = None
    """2p, 3d, 4f."""
    u: float
    """U, or U - J where the scheme takes the difference [eV]."""
    j: float = 0.0
    """J [eV]."""
    scheme: str | None = None
    """dudarev, liechtenstein."""


class Convergence(Noun):
    """Thresholds at which the run stopped iterating."""

    electronic: float | None = None
    """Energy change of the electronic loop [eV]."""
    ionic_energy: float | None = None
    """Energy change of the ionic loop [eV]."""
    ionic_force: float | None = None
    """Largest force of the ionic loop [eV/angstrom]."""
    max_electronic_steps: int | None = None
    """Bound of the electronic loop."""


class Method(Noun):
    """Level of theory and settings of one calculation, from its output."""

    code: str
    """vasp, quantum-espresso, orca, ..."""
    code_version: str | None = None
    """As printed."""
    functional: str | None = None
    """Canonical name: PBE, PBEsol, R2SCAN, HSE06, B3LYP, HF, ..."""
    functional_as_printed: str | None = None
    """What the file says, from which `functional` was worked out."""
    exact_exchange: float | None = None
    """Fraction of exact exchange."""
    correlation: str | None = None
    """Wavefunction method on top: MP2, CCSD(T), ... None for plain DFT."""
    dispersion: str | None = None
    """D2, D3, D3(BJ), D4, TS, MBD, rVV10, ...; "none" where the output says so."""
    hubbard: tuple[Hubbard, ...] = ()
    """+U terms; empty where there are none."""
    basis: str | None = None
    """"plane waves", or the name of the basis set."""
    auxiliary_basis: str | None = None
    """RI or density-fitting basis."""
    cutoff_energy: float | None = None
    """Plane-wave cutoff of the orbitals [eV]."""
    cutoff_density: float | None = None
    """Plane-wave cutoff of the density [eV]."""
    kpoints: Kpoints | None = None
    """Sampling of the Brillouin zone."""
    smearing: Smearing | None = None
    """Broadening of the occupations."""
    pseudopotentials: tuple[Pseudopotential, ...] = ()
    """Sorted by element."""
    relativity: str | None = None
    """none, scalar, spin-orbit, ZORA, DKH2."""
    spin: str | None = None
    """restricted, unrestricted, restricted-open, noncollinear."""
    solvent: str | None = None
    """Model and solvent, CPCM(water)."""
    external: tuple[str, ...] = ()
    """Fields, point charges, dipole corrections that act on the electrons."""
    state: str | None = None
    """Electronic state if not the ground state."""
    excited: bool | None = None
    """Whether the energies are those of an excited state."""
    convergence: Convergence = Convergence()
    """Thresholds."""
    grid: str | None = None
    """Integration grid, PREC, FFT mesh."""
    settings_as_printed: dict[str, str | float | int | bool] = {}
    """Further settings that change the numbers, by the code's own names (PSTRESS, LREAL, tefield)."""

    @property
    def theory(self) -> Sha256:
        """Digest of what names the surface; not of spin: where the moment vanishes it is one surface."""
        theory = {name: value for name, value in self.as_json().items() if name in _THEORY}
        theory["basis"] = "plane waves" if self.cutoff_energy is not None else self.basis
        theory["pseudopotentials"] = sorted({(p.element, p.title) for p in self.pseudopotentials})
        if self.smearing and self.smearing.method == "fermi-dirac":
            theory["electronic_width"] = self.smearing.width
        return sha256_json(theory)

    @property
    def settings(self) -> Sha256:
        """Digest of how finely the surface was computed."""
        return sha256_json({name: value for name, value in self.as_json().items() if name in _SETTINGS})

    @property
    def id(self) -> Sha256:
        """Digest of the whole record."""
        return sha256_json(self.as_json())
