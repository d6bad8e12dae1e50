"""What a CP2K log says of a run before its first energy, method apart: what it does, charge, spin, thermostat."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from mlpdata.errors import ParseError
from mlpdata.readers.cp2k.blocks import periodic
from mlpdata.readers.text import number
from mlpdata.schema.calculation import RunKind

_RUN_KINDS: dict[str, RunKind] = {
    "ENERGY": "single_point",
    "ENERGY_FORCE": "single_point",
    "WAVEFUNCTION_OPTIMIZATION": "single_point",
    "WFN_OPT": "single_point",
    "LINEAR_RESPONSE": "response",
    "LR": "response",
    "GEO_OPT": "relax",
    "GEOMETRY_OPTIMIZATION": "relax",
    "CELL_OPT": "vc-relax",
    "MD": "md",
    "MOLECULAR_DYNAMICS": "md",
    "BAND": "neb",
    "VIBRATIONAL_ANALYSIS": "phonon",
    "NORMAL_MODES": "phonon",
}
_RUN_TYPE = re.compile(rb"\n GLOBAL\| Run type +(\S+)[ \t\r]*\n")
_ENSEMBLE = re.compile(rb"\n MD(?:_PAR)?\| Ensemble [Tt]ype +(\S+)[ \t\r]*\n")
_TEMPERATURE = re.compile(rb"\n MD(?:_PAR)?\| Temperature \[K\] +(\S+)[ \t\r]*\n")
_CHARGE = re.compile(rb"\n DFT\| Charge +(\S+)[ \t\r]*\n")
_MULTIPLICITY = re.compile(rb"\n DFT\| Multiplicity +(\S+)[ \t\r]*\n")
_PERIODICITY = re.compile(rb"\n POISSON\| Periodicity +(\S+)[ \t\r]*\n")
_STARTED = re.compile(rb"PROGRAM STARTED AT +(\S+ \S+)[ \t\r]*\n")
_PROCESS = re.compile(rb"PROGRAM PROCESS ID +(\d+)[ \t\r]*\n")
_VELOCITIES = re.compile(rb"\n MD(?:_PAR)?\| Velocities +[1-9]\d{0,8} ")
_BIAS = re.compile(rb"\n METADYN\||\n DOF\| Number of inter?(?:intra)?molecular restraints +[1-9]")


@dataclass
class Facts:
    """What holds for a whole run."""

    kind: RunKind
    ensemble: str | None
    """NVE, NVT, NPT_I, ...; None where nothing moves in time."""
    temperature: float | None
    """Set point of the thermostat [K]; None where there is none."""
    charge: float | None
    """[e]; None where the log does not say (xTB, FIST)."""
    multiplicity: int
    """2S + 1; 0 where the log does not say."""
    pbc: tuple[int, int, int] | None
    """Along which vectors the Poisson equation is solved periodically."""
    writes_velocities: bool
    """Whether a file of velocities is named."""
    is_biased: bool
    """Whether metadynamics or restraints act on the atoms."""
    started: str
    """Date and process, which tell this run from others."""
    warnings: tuple[str, ...] = field(default=())

    @property
    def moves_cell(self) -> bool:
        """Whether the cell varies, while the numbers of points of the grids stay those of the first one."""
        return self.kind == "vc-relax" or (self.ensemble or "").startswith(("NPT", "NPE", "MSST", "HYDROSTATICSHOCK"))

    @classmethod
    def of(cls, text: bytes) -> Facts:
        """From the text of a run before its first energy; what cannot be read is absent, and said."""
        warnings: list[str] = []

        def value(pattern: re.Pattern[bytes], name: str) -> float | None:
            match = pattern.search(text)
            try:
                return number(match[1]) if match else None
            except ParseError as error:
                warnings.append(f"the {name} is not known: {error.message}")
                return None

        ensemble = _word(_ENSEMBLE, text)
        moved_by_heat = ensemble is not None and not ensemble.startswith("NVE")
        multiplicity = value(_MULTIPLICITY, "multiplicity")
        periodicity = _PERIODICITY.search(text)
        return cls(
            kind=_RUN_KINDS.get(_word(_RUN_TYPE, text) or "", "unknown"),
            ensemble=ensemble,
            temperature=value(_TEMPERATURE, "temperature of the thermostat") if moved_by_heat else None,
            charge=value(_CHARGE, "charge"),
            multiplicity=int(multiplicity or 0),
            pbc=periodic(periodicity[1]) if periodicity else None,
            writes_velocities=_VELOCITIES.search(text) is not None,
            is_biased=_BIAS.search(text) is not None,
            started=f"{_word(_STARTED, text)} {_word(_PROCESS, text)}",
            warnings=tuple(warnings),
        )


def _word(pattern: re.Pattern[bytes], text: bytes) -> str | None:
    match = pattern.search(text)
    return match[1].decode("latin-1") if match else None
