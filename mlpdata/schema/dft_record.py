"""The DFT record: the parameters of one method and the systems it was used on, in the form that people publish."""

from __future__ import annotations

from mlpdata.schema.method import Convergence, Hubbard, Kpoints, Pseudopotential, Smearing
from mlpdata.schema.noun import Noun, Sha256


class FormulaCount(Noun):
    """How many configurations a formula has."""

    formula: str
    """Hill order."""
    configurations: int
    """Labelled by this method."""


class System(Noun):
    """What was computed."""

    name: str
    """Elements, joined by hyphens."""
    composition: tuple[FormulaCount, ...]
    """Sorted by formula."""


class Code(Noun):
    """Program."""

    name: str
    """vasp, quantum-espresso, orca, ..."""
    version: str | None
    """As printed."""


class DftParameters(Noun):
    """Level of theory and settings, as the outputs state them; null is unknown."""

    code: Code
    """Program and version."""
    functional: str | None
    """Exchange and correlation."""
    libxc: tuple[int, ...]
    """Ids of the functional in libxc; empty where it has none or the functional is unknown."""
    exact_exchange: float | None
    """Fraction."""
    correlation: str | None
    """Wavefunction method on top."""
    dispersion: str | None
    """Correction."""
    hubbard: tuple[Hubbard, ...]
    """+U terms."""
    relativity: str | None
    """Treatment."""
    solvent: str | None
    """Model and solvent."""
    external: tuple[str, ...]
    """Fields and corrections that act on the electrons."""
    basis: str | None
    """"plane waves", or the name of the basis set."""
    encut: float | None
    """Plane-wave cutoff of the orbitals [eV]."""
    encut_density: float | None
    """Plane-wave cutoff of the density [eV]."""
    kpoints: Kpoints | None
    """Mesh and centring."""
    kpoint_spacing: tuple[float, ...]
    """Smallest and largest distance of neighbouring points met, 2 pi / (length * divisions) [1/angstrom]."""
    smearing: Smearing | None
    """Method and sigma [eV]."""
    convergence: Convergence
    """Thresholds [eV], [eV/angstrom]."""
    spin: str | None
    """restricted, unrestricted, restricted-open, noncollinear."""
    charge: tuple[float, ...]
    """Total charges met [e]; empty where no output states one."""
    multiplicity: tuple[int, ...]
    """2S + 1 met; empty where no output states one."""
    pseudopotentials: tuple[Pseudopotential, ...]
    """Titles and checksums; never their text, which is licensed."""
    further: dict[str, str | float | int | bool]
    """Settings by the code's own names."""


class Structure(Noun):
    """How a surface model was built. No output states it: to be filled in by hand, null is unknown."""

    slab: str | None = None
    """Facet."""
    layers: int | None = None
    """Atomic layers."""
    supercell: tuple[int, int, int] | None = None
    """Repeats of the unit cell."""
    vacuum: float | None = None
    """[angstrom]"""
    fixed_layers: int | None = None
    """Layers that did not move."""


class DftRecord(Noun):
    """One method and the systems it was used on."""

    method: Sha256
    """Identity of the method in the store."""
    theory: Sha256
    """Identity of the surface."""
    system: System
    """Elements and formulas that were computed."""
    dft_parameters: DftParameters
    """How they were computed."""
    structure: Structure = Structure()
    """How the model was built, where it is a surface."""
