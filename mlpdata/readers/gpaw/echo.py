"""What the text output of GPAW says of the method: the parameters that it echoes, and the tables before the first SCF."""

from __future__ import annotations

import re
from typing import Any

from mlpdata.errors import ParseError
from mlpdata.readers.gpaw.method import DIPOLE_CORRECTION, GHOSTS, NOT_SELF_CONSISTENT, functional, hubbard, smearing
from mlpdata.readers.text import number
from mlpdata.schema.method import Convergence, Hubbard, Kpoints, Method, Pseudopotential, Smearing

_ECHO = re.compile(rb"[Ii]nput parameters:\s{0,9}\n((?: {2,20}\S[^\n]{0,2000}\n){0,300})")
_PARAMETER = re.compile(r"  ([a-z_]{1,30})(?:: |=)")
_NAME = re.compile(r"name(?:: |=|': )'?([\w:+.-]{1,80})")
_SETUP = re.compile(
    rb"\n {0,4}([A-Z][a-z]?)(?:-setup)?:[^\n]{0,80}\n {1,9}name {0,9}:[^\n]{0,80}\n {1,9}id {0,9}: {0,9}(\w{0,64})\r?\n"
    rb"((?: {1,60}[^ \n][^\n]{0,200}\n){0,10}? {1,9}file {0,9}: {0,9}(\S{1,300}))"
)
MD5_LETTERS = 32
_SPINS = (
    (rb"Spin-paired calculation|Spin-components: 1 ", "restricted"),
    (rb"Spin-polarized calculation|Spin-components: 2 ", "unrestricted"),
    (rb"Non-collinear calculation|Spin-components: 4 ", "noncollinear"),
)
_SMEARING = rb"(Fermi-Dirac|Marzari-Vanderbilt|Methfessel-Paxton)\W{1,40}width[=:]"
_SMEARING_WIDTH = rb"(?:Fermi-Dirac|Marzari-Vanderbilt|Methfessel-Paxton)\W{1,40}width[=:] {0,4}([^\s,]{1,24})"
_MESH = (
    rb"(\d{1,5}) x (\d{1,5}) x (\d{1,5}) Monkhorst-Pack grid|Monkhorst-Pack size: \[(\d{1,5}), (\d{1,5}), (\d{1,5})\]"
)
_POINTS = rb"\n {0,9}(?:(\d{1,6}) k-points?|Number of BZ points: (\d{1,6}))"
_REDUCED = rb"\n {0,9}(?:(\d{1,6}) k-points? in the irreducible|Number of IBZ points: (\d{1,6}))"


class Preamble:
    """The text before the first geometry of a job, behind that of earlier jobs of the same run."""

    def __init__(self, own: bytes, before: bytes = b"") -> None:
        self.texts = (own, before)
        self.parameters = {**_echoed(before), **_echoed(own)}
        """What is echoed, later values in place of earlier ones."""

    def find(self, pattern: bytes) -> re.Match[bytes] | None:
        """The first match in the job's own text, else in what stands before it."""
        return next(filter(None, (re.search(pattern, text) for text in self.texts)), None)

    def word(self, pattern: bytes) -> str | None:
        """The group that matched of the first match."""
        match = self.find(pattern)
        return next(group for group in match.groups() if group is not None).decode("latin-1") if match else None

    def value(self, pattern: bytes) -> float | None:
        """The first match as a number; None where there is none that can be read."""
        word = self.word(pattern)
        try:
            return None if word is None else number(word.encode("latin-1"))
        except ParseError:
            return None

    def named(self, parameter: str) -> str:
        """`HSE06` of `HSE06`, `{name: HSE06, ...}` or `XC(name='HSE06')`."""
        printed = self.parameters.get(parameter, "")
        match = _NAME.search(printed)
        return match[1] if match else printed.strip("'\" ")


def _echoed(text: bytes) -> dict[str, str]:
    """Echoed parameters by name, as text; lines that go on belong to the one before."""
    found: dict[str, str] = {}
    name = ""
    for block in _ECHO.findall(text):
        for line in block.decode("utf-8", "replace").splitlines():
            match = _PARAMETER.match(line)
            if match:
                name = match[1]
                found[name] = line[match.end() :].rstrip(" ,")
            elif name:
                found[name] += " " + line.strip()
    return found


def method(preamble: Preamble, version: str) -> Method:
    """The method of a job."""
    printed = preamble.word(rb"Using the ([\w:+.-]{1,80}) Exchange-Correlation functional")
    cutoff = preamble.value(rb"Cutoff(?: energy)?: ([\d.]{1,20}) eV")
    mesh = _three(preamble.find(_MESH))
    count = _whole(preamble.word(_REDUCED))
    if mesh is None and preamble.word(_POINTS) == "1":
        mesh, count = (1, 1, 1), 1
    setups = [match for text in preamble.texts for match in _SETUP.finditer(text)]
    return Method(
        code="gpaw",
        code_version=version,
        **{**functional(printed or preamble.named("xc") or "LDA"), **_extensions(preamble)},
        basis="plane waves" if cutoff is not None else _basis(preamble),
        cutoff_energy=cutoff,
        kpoints=Kpoints(
            mesh=mesh,
            centring="gamma" if mesh == (1, 1, 1) else "monkhorst-pack" if mesh else None,
            count=count,
        ),
        smearing=_smearing(preamble),
        pseudopotentials=tuple(sorted({_pseudopotential(setup) for setup in setups}, key=lambda one: one.element)),
        hubbard=_hubbard(preamble),
        spin=next((name for pattern, name in _SPINS if preamble.find(pattern)), None),
        relativity="spin-orbit" if preamble.parameters.get("soc") == "True" else "scalar",
        state="core hole" if preamble.find(rb"core hole") else None,
        excited=True if preamble.find(rb"core hole") else None,
        external=_external(preamble),
        convergence=_convergence(preamble),
        grid=f"h={preamble.parameters['h']} angstrom" if "h" in preamble.parameters else None,
    )


def unusable(preamble: Preamble) -> str:
    """Why the frames cannot be used: not of a ground state, or not all atoms are atoms; "" where nothing says so."""
    if "ghost" in preamble.parameters.get("setups", ""):
        return GHOSTS
    points = _whole(preamble.word(_POINTS))
    if preamble.parameters.get("fixdensity") == "True":
        return NOT_SELF_CONSISTENT.format("fixdensity")
    if "path" in preamble.parameters.get("kpts", ""):
        return NOT_SELF_CONSISTENT.format("a path of k-points")
    if points is not None and points > 1 and preamble.find(_MESH) is None:
        return NOT_SELF_CONSISTENT.format("k-points that are no mesh")
    return ""


def _three(match: re.Match[bytes] | None) -> tuple[int, int, int] | None:
    groups = [int(group) for group in match.groups() if group is not None] if match else []
    return (groups[0], groups[1], groups[2]) if groups else None


def _whole(word: str | None) -> int | None:
    return int(word) if word is not None and word.isdecimal() else None


def _smearing(preamble: Preamble) -> Smearing | None:
    """The smearing with its width, where that can be read; None where occupations are whole."""
    found = preamble.find(_SMEARING)
    return smearing(found[1].decode(), preamble.value(_SMEARING_WIDTH)) if found else None


def _basis(preamble: Preamble) -> str:
    """`lcao (dzp)` or `fd`: no mode is finite differences."""
    printed = preamble.parameters.get("mode", "fd").lower()
    mode = next((name for name in ("lcao", "tb", "pw") if re.search(rf"\b{name}\b", printed)), "fd")
    basis = preamble.parameters.get("basis", "").strip("'\"")
    return f"lcao ({basis})" if mode == "lcao" and basis else mode


def _pseudopotential(setup: re.Match[bytes]) -> Pseudopotential:
    """Identity of a PAW setup: its file's name, and the checksum that GPAW prints as its id."""
    valence = re.search(rb"valence *: *(\d{1,3}(?:\.\d{1,3})?)", setup[3])
    return Pseudopotential(
        element=setup[1].decode(),
        title=setup[4].decode("latin-1").rpartition("/")[2].removesuffix(".gz"),
        valence=float(valence[1]) if valence else None,
        digest=f"md5:{setup[2].decode()}" if len(setup[2]) == MD5_LETTERS else None,
    )


def _hubbard(preamble: Preamble) -> tuple[Hubbard, ...]:
    """The +U terms asked for: `{Ni: :d,6.0}`, `{'Ni': ':d,6.0'}`, `:d,6.0` for all."""
    printed = preamble.parameters.get("setups", "")
    pairs = re.findall(r"['\"]?(\w{1,20})['\"]?: ['\"]?(\w{0,40}:[spdf],[\w.,;]{1,80})", printed)
    if not pairs and ":" in printed:
        pairs = [("default", printed.strip("'\""))]
    return tuple(term for species, text in pairs for term in hubbard(species, text.rstrip(",")))


def _external(preamble: Preamble) -> tuple[str, ...]:
    """What acts on the electrons beside the nuclei."""
    found = [preamble.named("external")[:60]] if preamble.parameters.get("external", "None") != "None" else []
    if "dipolelayer" in preamble.parameters.get("poissonsolver", ""):
        found.append(DIPOLE_CORRECTION)
    if preamble.parameters.get("background_charge", "None") != "None":
        found.append("background charge")
    return tuple(sorted(found))


def _extensions(preamble: Preamble) -> dict[str, Any]:
    """Fields that follow from what is added to the energy: dispersion, a solvent."""
    printed = preamble.parameters.get("extensions", "").lower()
    fields = {}
    if "d3" in printed:
        fields["dispersion"] = "D3"
    if "solvation" in printed or "sjm" in printed:
        fields["solvent"] = "continuum"
    return fields


def _convergence(preamble: Preamble) -> Convergence:
    """Thresholds; the energy's is printed per electron."""
    change = preamble.value(
        rb"Maximum \[?total energy\]? change[^:\n]{0,40}: ([\d.e+-]{1,20}) eV / (?:valence )?electron"
    )
    electrons = preamble.value(rb"(?:Number of valence|Valence) electrons: (\d{1,7})")
    return Convergence(
        electronic=None if change is None or electrons is None else change * electrons,
        max_electronic_steps=_whole(preamble.word(rb"(?i)maximum number of (?:scf )?\[?iter\]?ations: (\d{1,9})")),
    )
