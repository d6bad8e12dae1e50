"""ORCA 6's `job.property.json`: energy, gradient, charges and dipole of every geometry of a run, with all digits.

`Single_Point_Data.FinalEnergy` is what the standard output calls FINAL SINGLE POINT ENERGY: with dispersion (pitfall
O2), and of an excited root where excitations were asked for (O3): the state is found by comparison with the energies
that the file lists. `Nuclear_Gradient` is a gradient: its sign is turned (O1).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from mlpdata.digest import sha256_json
from mlpdata.errors import LimitExceeded, ParseError
from mlpdata.frames import by_block
from mlpdata.readers.archive import Input
from mlpdata.readers.orca import files as orca_files
from mlpdata.readers.orca.tables import Rows
from mlpdata.readers.registry import Ending, Header, Printed, Reader
from mlpdata.schema.calculation import ForcesAre, LeftOut
from mlpdata.schema.method import Method
from mlpdata.schema.properties import NO, UNKNOWN, YES
from mlpdata.units import F64, HARTREE, Quantity

_MAGIC = re.compile(rb'\s*+\{\s*+"(?:Calculation_Info|Calculation_Status|Geometries|Calculation_Timings)"')
_UNITS = {"a.u.": "bohr", "bohr": "bohr", "angstrom": "angstrom"}
_LARGEST = 512 << 20
_SAME = 1e-8
"""Energies of one state agree within this [hartree]."""
_SCHEMES = {"charges_mulliken": "Mulliken_Population_Analysis", "charges_loewdin": "Loewdin_Population_Analysis"}


class Frame(NamedTuple):
    """One geometry and its labels."""

    rows: Rows
    positions: F64
    unit: str
    """bohr or angstrom."""
    energy: float
    """[hartree]"""
    method: str
    """What the energy is of: SCF, MP2, MDCI(SD), ..."""
    state: str | None
    gradient: F64 | None
    """[hartree/bohr], shape (n_atoms, 3)."""
    scf_converged: int
    step: int
    line: int
    charges: dict[str, F64]
    dipole: F64 | None


@dataclass
class _Found:
    """What was noticed while frames were read."""

    left_out: list[LeftOut] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def read(source: Input) -> Iterator[Header | Printed | Ending]:
    """The geometries of the file.

    Raises:
        ParseError: no JSON, or not of ORCA.
        LimitExceeded: larger than such a file can be.
    """
    record = _parsed(source)
    found = _Found()
    charge, multiplicity = (_integer(_part(record, "Calculation_Info"), name, found) for name in ("Charge", "Mult"))
    frames = _frames(source, record, charge, found)
    yield _header(record, frames, found)
    for block in by_block((len(frame.positions), frame) for frame in frames):
        yield _printed(block, charge, multiplicity)
    status = _part(record, "Calculation_Status").get("Status")
    normal = status == "NORMAL TERMINATION"
    reason = "" if normal else f"the status is {str(status)[:80]!r}"
    yield Ending("complete" if normal else "failed", reason, tuple(found.left_out), tuple(found.warnings))


def _parsed(source: Input) -> dict[str, Any]:
    """The whole file."""
    if len(source.data) > _LARGEST:
        raise LimitExceeded(f"expected at most {_LARGEST} bytes, found {len(source.data)}.")
    try:
        record = json.loads(source.data[:], parse_constant=_refuse)
    except json.JSONDecodeError as error:
        raise ParseError(f"expected JSON, found {error.msg}. The file is cut or damaged.", line=error.lineno) from error
    except (ValueError, RecursionError) as error:
        raise ParseError("expected JSON of numbers and names, found something else.") from error
    if not isinstance(record, dict) or not isinstance(record.get("Geometries"), list):
        raise ParseError("expected a list of Geometries, found none. The file is of another program or version.")
    return record


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def _part(record: object, *names: str) -> dict[str, Any]:
    """An object inside others; empty where it is missing."""
    for name in names:
        record = record.get(name) if isinstance(record, dict) else None
    return record if isinstance(record, dict) else {}


def _entries(geometry: object, name: str) -> list[dict[str, Any]]:
    """A list of objects; empty where it is missing."""
    listed = geometry.get(name) if isinstance(geometry, dict) else None
    return [entry for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []


def _numbers(value: object, what: str, count: int | None = None) -> F64:
    """A nested list of numbers as a flat array."""
    try:
        array = np.array(value, np.float64).ravel()
    except (TypeError, ValueError) as error:
        raise ParseError(f"expected numbers for {what}, found something else.") from error
    if not np.isfinite(array).all() or (count is not None and len(array) != count):
        raise ParseError(f"expected {count or ''} finite numbers for {what}, found others.")
    return array


def _integer(record: dict[str, Any], name: str, found: _Found) -> int | None:
    """A small whole number; None with a warning where there is none."""
    value = record.get(name)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 15:
        return value
    found.warnings.append(f"{name} left out: expected a whole number, found {str(value)[:20]!r}")
    return None


def _frames(source: Input, record: dict[str, Any], charge: int | None, found: _Found) -> list[Frame]:
    lines = _lines(source, len(record["Geometries"]))
    frames: list[Frame] = []
    for step, (geometry, line) in enumerate(zip(record["Geometries"], lines, strict=True)):
        try:
            frame = _frame(geometry, step, line, charge, found)
            if frames and (frame.state, frame.unit) != (frames[0].state, frames[0].unit):
                raise ParseError(f"expected {frames[0].unit} and the state {frames[0].state}, found others.")
            frames.append(frame)
        except ParseError as error:
            found.left_out.append(LeftOut(line=line, reason=error.message))
    return frames


def _lines(source: Input, count: int) -> list[int]:
    """The line of each final energy; that of the list where some geometry has none."""
    places = [match.start() for match in re.finditer(rb'"FinalEnergy"', source.data)]
    if len(places) != count:
        places = [max(0, source.data.find(b'"Geometries"'))] * count
    return [source.line(place) for place in places]


def _frame(geometry: object, step: int, line: int, charge: int | None, found: _Found) -> Frame:
    """One geometry and its labels.

    Raises:
        ParseError: no coordinates or no final energy that can be understood.
    """
    rows, positions, unit = _coordinates(_part(geometry, "Geometry", "Coordinates"))
    single = _part(geometry, "Single_Point_Data")
    if not isinstance(single.get("FinalEnergy"), float):
        raise ParseError("expected FinalEnergy, found none. The run ended before.")
    (energy,) = _numbers(single["FinalEnergy"], "FinalEnergy", 1).tolist()
    method, state = _level(geometry, energy)
    converged = single.get("Converged")
    scf_converged = UNKNOWN if not isinstance(converged, bool) else YES if converged else NO
    gradient = _gradient(geometry, method, rows, line, found)
    simple = method == "SCF" and state is None
    charges = _charges(geometry, rows, line, found) if simple else {}
    dipole = _dipole(geometry, line, found) if simple and charge == 0 else None
    return Frame(
        rows, positions[rows.is_atom], unit, energy, method, state, gradient, scf_converged, step, line, charges, dipole
    )


def _coordinates(record: dict[str, Any]) -> tuple[Rows, F64, str]:
    """Labels and coordinates; the unit is what the record says."""
    listed = record.get("Cartesians")
    unit = _UNITS.get(str(record.get("Units")).lower())
    if unit is None or record.get("Type", "Cartesians") != "Cartesians":
        raise ParseError(
            f"expected Cartesian coordinates in a.u. or angstrom, found {str(record.get('Units'))[:20]!r}."
        )
    if not isinstance(listed, list) or not listed:
        raise ParseError("expected coordinates, found none.")
    if not all(isinstance(row, list) and len(row) == 4 and isinstance(row[0], str) for row in listed):
        raise ParseError("expected a symbol and three numbers an atom, found something else.")
    none = (b"",) * len(listed)
    rows = Rows(none, tuple(row[0].replace(" ", "").encode() for row in listed), none)
    assert rows.external is not None  # an unknown kind of row raises
    return rows, _numbers([row[1:] for row in listed], "coordinates", 3 * len(listed)).reshape(-1, 3), unit


def _level(geometry: object, final: float) -> tuple[str, str | None]:
    """The method and the electronic state that the final energy is of; it may hold dispersion.

    Raises:
        ParseError: excitations are listed, and the energy is of no state of them.
    """
    dispersion = _part(geometry, "VdW_Correction").get("vdW")
    corrections = (0.0, dispersion) if isinstance(dispersion, float) else (0.0,)
    blocks = _entries(geometry, "Energy")
    is_excited = ["Root" in block or "e0" in block for block in blocks]
    for block, excited in reversed(list(zip(blocks, is_excited, strict=True))):
        energies = _numbers(block.get("totalEnergy"), "totalEnergy")
        for root, energy in enumerate(energies.tolist(), 1):
            if any(abs(final - energy - one) < _SAME for one in corrections):
                return str(block.get("Method")), f"root {root}" if excited else None
    ground = [block for block, excited in zip(blocks, is_excited, strict=True) if not excited]
    spectra = _entries(geometry, "Absorption_Spectrum")
    if ground and spectra:
        return str(ground[-1].get("Method")), _root(ground[-1], spectra[0], final)
    if any(is_excited):
        raise ParseError("expected the final energy to be of the ground state or of a root, found another.")
    return str(ground[-1].get("Method")) if ground else "SCF", None


def _root(reference: dict[str, Any], spectrum: dict[str, Any], final: float) -> str:
    """The root whose excitation energy [eV] leads from the reference to the final energy (EOM lists no totals)."""
    rows, states = spectrum.get("ExcitationEnergies"), spectrum.get("States")
    if (
        not isinstance(rows, list)
        or not isinstance(states, list)
        or not all(isinstance(row, list) and row for row in rows)
    ):
        raise ParseError("expected excitation energies, found something else.")
    excitations = _numbers([row[0] for row in rows], "excitation energies")
    total = _numbers(reference.get("totalEnergy"), "totalEnergy")[-1] + excitations / HARTREE
    near = np.flatnonzero(np.abs(total - final) < 1e-6)
    if len(near) == 0:
        raise ParseError("expected the final energy to be of the reference or of a root, found another.")
    return f"root {int(near[0]) + 1}"


def _gradient(geometry: object, method: str, rows: Rows, line: int, found: _Found) -> F64 | None:
    """The gradient of the final energy; None where there is none, or none that is certainly its own (O6)."""
    listed = _entries(geometry, "Nuclear_Gradient")
    if not listed:
        return None
    if len(listed) > 1 or listed[0].get("Method") != method:
        found.warnings.append(f"line {line}: gradients of {len(listed)} kinds, none certainly of the energy: left out")
        return None
    values, n_atoms = _numbers(listed[0].get("grad"), "grad"), int(rows.is_atom.sum())
    if values.size == 3 * len(rows.is_atom):
        values = values.reshape(-1, 3)[rows.is_atom]
    if values.size != 3 * n_atoms:
        raise ParseError(f"expected a gradient on {n_atoms} atoms, found {values.size} numbers.")
    return values.reshape(-1, 3)


def _charges(geometry: object, rows: Rows, line: int, found: _Found) -> dict[str, F64]:
    """Charges by scheme [e], where the density was analysed once."""
    charges: dict[str, F64] = {}
    for name, key in _SCHEMES.items():
        listed = _entries(geometry, key)
        if len(listed) == 1:
            try:
                charges[name] = _numbers(listed[0].get("AtomicCharges"), key, len(rows.is_atom))[rows.is_atom]
            except ParseError as error:
                found.warnings.append(f"line {line}: {name} left out: {error.message}")
    return charges


def _dipole(geometry: object, line: int, found: _Found) -> F64 | None:
    """The total dipole [e*bohr] of a neutral system."""
    listed = _entries(geometry, "Dipole_Moment")
    if len(listed) != 1:
        return None
    try:
        return _numbers(listed[0].get("dipoleTotal"), "dipoleTotal", 3)
    except ParseError as error:
        found.warnings.append(f"line {line}: the dipole left out: {error.message}")
        return None


def _header(record: dict[str, Any], frames: list[Frame], found: _Found) -> Header:
    """The method, as far as the file states one."""
    version = _part(record, "Calculation_Status").get("version")
    first = frames[0] if frames else None
    external = tuple(sorted({name for frame in frames for name in frame.rows.external}))
    geometries = record["Geometries"]
    solvent = _part(geometries[0] if geometries else None, "Solvation_Details").get("Solvent")
    forces: ForcesAre = "absent"
    if any(frame.gradient is not None for frame in frames):
        forces = "with_external" if external else "physical"
    if first and first.state and not any(frame.gradient is not None for frame in frames):
        found.warnings.append(f"the energies are those of {first.state}, as the program calls them final")
    method = Method(
        code="orca",
        code_version=version if isinstance(version, str) else None,
        correlation=first.method if first and first.method not in ("SCF", "TDA/CIS", "TDDFT", "RPA") else None,
        dispersion=None,
        solvent=f"CPCM({solvent})" if isinstance(solvent, str) else None,
        external=external,
        state=first.state if first else None,
        excited=first.state is not None if first else None,
    )
    start = first.positions.tolist() if first else None
    return Header(method, sha256_json({"version": str(version), "start": start}), "unknown", "total", forces)


def _printed(block: list[Frame], charge: int | None, multiplicity: int | None) -> Printed:
    """A block of frames."""
    n_atoms = [len(frame.positions) for frame in block]
    arrays: dict[str, Quantity | ArrayLike] = {
        "atomic_numbers": np.concatenate([frame.rows.atomic_numbers[frame.rows.is_atom] for frame in block]),
        "positions": Quantity(np.concatenate([frame.positions for frame in block]), block[0].unit),
        "pbc": np.zeros((len(block), 3), np.int8),
        "energy": Quantity(np.array([frame.energy for frame in block]), "hartree"),
        "charge": Quantity(np.full(len(block), np.nan if charge is None else charge), "e"),
        "multiplicity": [multiplicity or 0] * len(block),
        "scf_converged": [frame.scf_converged for frame in block],
        "step": [frame.step for frame in block],
        "source_line": [frame.line for frame in block],
    }
    if any(frame.gradient is not None for frame in block):
        rows = [np.full_like(f.positions, np.nan) if f.gradient is None else -f.gradient for f in block]
        arrays["forces"] = Quantity(np.concatenate(rows), "hartree/bohr", sign=-1)
    for name in _SCHEMES:
        if any(name in frame.charges for frame in block):
            charges = [frame.charges.get(name, np.full(len(frame.positions), np.nan)) for frame in block]
            arrays[name] = Quantity(np.concatenate(charges), "e")
    if any(frame.dipole is not None for frame in block):
        dipoles = [np.full(3, np.nan) if frame.dipole is None else frame.dipole for frame in block]
        arrays["dipole"] = Quantity(np.array(dipoles), "e*bohr")
    return Printed(n_atoms, arrays)


READER = Reader(
    "orca/property",
    1,
    ("*.property.json",),
    lambda head: _MAGIC.match(head) is not None and b"Geometries" in head,
    read,
    run_of=orca_files.run_of,
    precedence=orca_files.PROPERTY,
)
