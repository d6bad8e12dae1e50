"""Calculation and Source: one run of a code, and the files it was read from."""

from __future__ import annotations

from typing import Literal

from mlpdata.digest import sha256_json
from mlpdata.schema.method import Method
from mlpdata.schema.noun import Noun, Sha256
from mlpdata.units import Conversion

Status = Literal["complete", "truncated", "failed"]
RunKind = Literal[
    "single_point", "relax", "vc-relax", "md", "neb", "phonon", "response", "scan", "irc", "bands", "unknown"
]
ForcesAre = Literal["physical", "projected", "biased", "with_external", "zeroed_on_fixed", "ml", "absent"]
Kind = Literal[
    "equilibrium", "aimd", "reaction_path", "random", "defect", "isolated_atom", "dimer", "strained", "phonon",
    "liquid_amorphous", "unknown",
]  # fmt: skip
"""Kinds of configuration, by what they are there for."""
EnergyKind = Literal["free", "total", "enthalpy", "ml", "unknown"]
"""free: force-consistent with smearing (F = E - TS); total: no smearing, the same thing; ml: of a learned potential."""


class Source(Noun):
    """One file as it was read."""

    path: str
    """Relative to the root of its ingest, `/` between parts; an archive's member follows `!`."""
    sha256: Sha256
    """Of the stored bytes, compressed or not."""
    bytes: int
    """Stored size."""
    reader: str
    """`vasp/xml`, ..."""
    reader_version: int
    """Raised when the reader gives other numbers for the same bytes."""
    role: Literal["output", "companion", "unread"] = "output"
    """companion: a part of the run that is no output of its own, such as a file of positions or the input; unread: an
    output of the run from which nothing could be taken."""


class LeftOut(Noun):
    """Something of a source that did not become a configuration."""

    line: int
    """Line in the source, from 1; 0 where it concerns the whole file."""
    reason: str
    """Expected, found, cause."""
    frames: int = 1
    """How many configurations it cost."""


class Calculation(Noun):
    """One run of a code: sources, method, status, license and tags."""

    path: str
    """Root-relative path of the first source."""
    identity: str
    """What the code prints that tells this run from others: version, date, host-free header digest."""
    sources: tuple[Source, ...]
    """Files it was read from."""
    method: Method
    """Level of theory."""
    run: str = ""
    """What the files of one run share, by their names: folder, code, stem; empty where a file stands for itself."""
    status: Status
    """complete: the program's own end mark was found."""
    status_reason: str = ""
    """Why not complete."""
    run_kind: RunKind = "unknown"
    """What the program was asked to do."""
    kind: Kind = "unknown"
    """What the configurations are there for."""
    energy_kind: EnergyKind = "unknown"
    """What `energy` is."""
    forces_are: ForcesAre = "absent"
    """What `forces` are."""
    temperature_target: float | None = None
    """Set point of the thermostat [K]."""
    kpoint_spacing: float | None = None
    """Largest distance of neighbouring k points in the first cell, 2 pi / (length * divisions) [1/angstrom]."""
    group: str = ""
    """Configurations of one group never straddle a split."""
    image_of: str = ""
    """Root-relative folder of the reaction path that it is an image of, where the files around it say so; else empty."""
    system: str = ""
    """What was calculated: its name as declared, else the formula and the directions in which it is periodic."""
    continues: str = ""
    """Path of the calculation whose trajectory this one continues; empty where it begins one."""
    rests_on: dict[str, str] = {}
    """By field (kind, temperature_target, group, system, continues): who declared it, or what it was worked out from."""
    license: str | None = None
    """SPDX expression; None is unknown and blocks publishing."""
    citation: str | None = None
    """How to cite the data."""
    tags: dict[str, str] = {}
    """Free marks."""
    declared: dict[str, str] = {}
    """What was said of the run at ingest, by option or sidecar; the rest was worked out from its output."""
    basis_fixed_at: Literal["first cell"] | None = None
    """Variable-cell runs keep the plane waves of the first cell."""
    ledger: tuple[Conversion, ...] = ()
    """How numbers were converted."""
    constants: str = ""
    """Set of constants the conversions used."""
    left_out: tuple[LeftOut, ...] = ()
    """What did not enter, and why."""
    warnings: tuple[str, ...] = ()
    """What a reader noticed."""

    @property
    def id(self) -> Sha256:
        """Identity of the run: license, tags and reader may change and it is still this run."""
        return sha256_json({"identity": self.identity, "path": self.path})

    @property
    def record(self) -> Sha256:
        """Digest of the whole record."""
        return sha256_json(self.as_json())
