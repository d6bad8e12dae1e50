"""Task documents of atomate, atomate2 and jobflow: what pymatgen read from a run's vasprun.xml, as JSON.

The numbers are those that vasprun.xml prints, stress in kB and positive in compression included, so they share its
pitfalls: energies with shifted tags (V1), enthalpies (V3), steps of a machine-learned force field (V11). The energies of
an ionic step are taken, never `energy` of the document, which is extrapolated to zero smearing. Where VASP's own files
lie beside a document they give the frames.

References:
    Fields: emmet's TaskDoc and Calculation, pymatgen's Vasprun.ionic_steps and Structure.as_dict.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mlpdata.elements import ATOMIC_NUMBERS
from mlpdata.errors import ParseError
from mlpdata.frames import MAX_ATOMS_PER_BLOCK
from mlpdata.readers.archive import Input
from mlpdata.readers.atomate2 import documents
from mlpdata.readers.registry import Ending, Header, Printed, Reader
from mlpdata.readers.text import LARGEST
from mlpdata.readers.vasp import header as vasp_header
from mlpdata.readers.vasp import method as vasp_method
from mlpdata.readers.vasp import xml as vasp_xml
from mlpdata.readers.vasp.steps import NAN, Loop, Step, Tables
from mlpdata.schema.calculation import LeftOut
from mlpdata.schema.method import Kpoints
from mlpdata.units import F64

PRECEDENCE = vasp_header.TEXT + 1
"""The last of a run's files: a document repeats what vasprun.xml says."""
_JSON = re.compile(rb"\s{0,99}[\[{]")
_OF_VASP = (b'"vasp_version"', b'"has_vasp_completed"', b'"e_fr_energy"')
_NAMES = {"remote_job_data.json", "jfremote_out.json", "task.json", "taskdoc.json", "task_doc.json", "outputs.json"}
"""What a document is called that lies in the folder of its run; others were exported from a store."""
_ENERGIES = ("e_fr_energy", "e_wo_entrp", "e_0_energy")
_MESHES = {"gamma": "gamma", "monkhorst": "monkhorst-pack", "automatic": "gamma"}
"""Canonical centring by what pymatgen calls it."""


def magic(head: bytes) -> bool:
    """Whether a file begins like a task document of VASP; those of other codes have the same outer form."""
    if _JSON.match(head) is None:
        return False
    of_run = b'"calcs_reversed"' in head and any(mark in head for mark in _OF_VASP)
    return of_run or (b'"orig_inputs"' in head and b'"incar"' in head)


def run_of(name: str, _head: bytes) -> str | None:
    """A document that lies in the folder of its run is of the run whose files have no suffix there."""
    return "" if name in _NAMES else None


def read(source: Input) -> Iterator[Header | Printed | Ending]:
    """The runs of all documents of a file.

    Raises:
        ParseError: no run of VASP in it that could be read.
        LimitExceeded: larger than can be parsed in memory.
    """
    lost: list[LeftOut] = []
    ending: Ending | None = None
    for found in documents.runs(source):
        opened = found if isinstance(found, LeftOut) else _opened(found)
        if isinstance(opened, LeftOut):
            lost.append(opened)
            continue
        if ending is not None:
            yield ending
        yield opened.shared.header
        account = vasp_xml.Account()
        yield from _blocks(opened, account)
        ending = _ending(opened, account)
    if ending is None:
        nothing = LeftOut(line=1, reason="expected calcs_reversed with a run of VASP, found none.")
        first = (*lost, nothing)[0]
        raise ParseError(first.reason, line=first.line)
    if lost:
        reason = "a part of the file could not be read"
        ending = ending._replace(status="truncated", reason=reason, left_out=(*ending.left_out, *lost))
    yield ending


class _Opened(NamedTuple):
    """A run whose header could be read."""

    found: documents.Run
    shared: vasp_header.Run
    steps: list[Any]
    """Of `ionic_steps`."""


def _opened(found: documents.Run) -> _Opened | LeftOut:
    """A run with what all its steps share, or why it cannot be read."""
    record = found.record
    try:
        if not {"vasp_version", "has_vasp_completed"} & record.keys():
            raise ParseError("expected a run of VASP, found one of another code.")
        steps = _part(record, "output").get("ionic_steps")
        steps = steps if isinstance(steps, list) else []
        return _Opened(found, _shared(record, steps), steps)
    except ParseError as error:
        return LeftOut(line=found.line, reason=error.message)


def _part(record: Any, name: str) -> dict[str, Any]:
    """A part of a record that is one itself; empty where there is none."""
    part = record.get(name) if isinstance(record, dict) else None
    return part if isinstance(part, dict) else {}


def _shared(record: dict[str, Any], steps: Sequence[Any]) -> vasp_header.Run:
    """All that the steps of a run share.

    Raises:
        ParseError: no structure, or no tags.
    """
    stated = _part(record, "input")
    user, used = _words(_part(stated, "incar")), _words(_part(stated, "parameters"))
    if not (user or used):
        raise ParseError("expected the tags of the run, found neither incar nor parameters.")
    used.setdefault("IBRION", user.get("IBRION", "-1" if user.get("NSW", "0") in {"0", "1"} else "0"))
    is_neutral = "NELECT" not in user  # VASP's default; the valences of the potentials are not in a document
    if is_neutral:
        used.pop("NELECT", None)
    structure = _part(stated, "structure") or _part(steps[0] if steps else None, "structure")
    symbols = _symbols(structure)
    printed = [str(record.get(name) or "") for name in ("vasp_version", "completed_at", "task_name")]
    tags = vasp_method.Tags(user, used)
    run = vasp_header.shared(
        tags,
        _species(symbols, stated.get("potcar_spec")),
        np.array([ATOMIC_NUMBERS[symbol] for symbol in symbols], np.uint8),
        printed,
        _kpoints(stated),
        vasp_header.enthalpies(tags),
    )
    return replace(run, charge=0.0 if is_neutral else run.charge, fixed=_fixed(structure))


def _words(tags: dict[str, Any]) -> dict[str, str]:
    """INCAR tags as INCAR writes them."""
    words = {}
    for name, value in tags.items():
        values = value if isinstance(value, list) else [value]
        if all(isinstance(one, str | int | float) for one in values):
            words[name.upper()] = " ".join(str(one)[:1] if isinstance(one, bool) else str(one) for one in values)
    return words


def _symbols(structure: dict[str, Any]) -> list[str]:
    """Chemical symbol of each site.

    Raises:
        ParseError: no sites, or one that is not one whole atom.
    """
    sites = structure.get("sites")
    try:
        found = [site["species"] for site in sites or ()]
        symbols = [kinds[0]["element"] for kinds in found]
        whole = all(len(kinds) == 1 and kinds[0].get("occu", 1) == 1 for kinds in found)
    except (KeyError, IndexError, TypeError, AttributeError):
        raise ParseError("expected sites with their species, found others. The structure is damaged.") from None
    if not symbols or not whole or not all(isinstance(one, str) and one in ATOMIC_NUMBERS for one in symbols):
        raise ParseError("expected sites of one atom each, found none or others. The structure is no run's.")
    return symbols


def _species(symbols: Sequence[str], specification: Any) -> list[vasp_header.Species]:
    """The kinds of atom in the order of POSCAR, each with its potential where one is listed for it."""
    rows = specification if isinstance(specification, list) else []
    groups = [(symbol, len(list(sites))) for symbol, sites in groupby(symbols)]
    by_place = rows if len(rows) == len(groups) else [None] * len(groups)  # neighbours may be of one element
    species = []
    for (symbol, count), row in zip(groups, by_place, strict=True):
        potential = next((one for one in (row, *rows) if _is_of(one, symbol)), None)
        title, digest = _text(potential, "titel"), _text(potential, "hash")
        identity = vasp_method.pseudopotential(symbol, title, None, digest=f"md5:{digest}" if digest else None)
        species.append(vasp_header.Species(count, ATOMIC_NUMBERS[symbol], identity))
    return species


def _is_of(row: Any, symbol: str) -> bool:
    """Whether a row of `potcar_spec` is of an element, by its title."""
    title = _text(row, "titel")
    return bool(title) and vasp_header.element(symbol, title, "")[0] == ATOMIC_NUMBERS[symbol]


def _text(record: Any, name: str) -> str:
    value = record.get(name) if isinstance(record, dict) else None
    return value if isinstance(value, str) else ""


def _fixed(structure: dict[str, Any]) -> NDArray[np.int8] | None:
    """Which atoms selective dynamics holds; None where not every site says so."""
    flags = [_part(site, "properties").get("selective_dynamics") for site in structure["sites"]]
    if not all(isinstance(one, list) and len(one) == 3 and {*map(type, one)} == {bool} for one in flags):
        return None
    cell = _numbers(_part(structure, "lattice").get("matrix"), (3, 3), "a cell")
    return vasp_header.held(np.array(flags), along_axes=not cell[~np.eye(3, dtype=bool)].any())


def _kpoints(stated: dict[str, Any]) -> Kpoints | None:
    """The sampling, as pymatgen writes what vasprun.xml says of it."""
    record, count = _part(stated, "kpoints"), stated.get("nkpoints")
    if not record:
        return None
    style = _text(record, "generation_style").lower()
    mesh = shift = None
    if style in _MESHES:
        with suppress(ParseError):
            a, b, c = _numbers(record.get("kpoints"), (1, 3), "divisions")[0].tolist()
            mesh = (int(a), int(b), int(c))
            x, y, z = _numbers(record.get("usershift"), (3,), "a shift").tolist()
            shift = (x, y, z)
    centring = _MESHES.get(style, "line" if style == "line_mode" else "list")
    return Kpoints(mesh=mesh, shift=shift, centring=centring, count=count if isinstance(count, int) else None)


def _numbers(value: Any, shape: tuple[int, ...], what: str) -> F64:
    """A table of numbers.

    Raises:
        ParseError: another shape, or what is no finite number: JSON is read with NaN and Infinity, which it forbids.
    """
    try:
        table = np.array(value)
    except ValueError:
        table = np.empty(0, object)
    if table.dtype.kind not in "if" or table.shape != shape:
        raise ParseError(f"expected {what} of {' x '.join(map(str, shape)) or 'one number'}, found something else.")
    if not (np.abs(table) < LARGEST).all():
        raise ParseError(f"expected {what} of finite numbers, found others. The frame was left out.")
    return table.astype(np.float64)


def _blocks(opened: _Opened, account: vasp_xml.Account) -> Iterator[Printed]:
    """The steps of a run as blocks of at most `MAX_ATOMS_PER_BLOCK` atoms."""
    shared, line = opened.shared, opened.found.line
    size = max(1, MAX_ATOMS_PER_BLOCK // len(shared.atomic_numbers))
    for first in range(0, len(opened.steps), size):
        kept, rows, loops = [], [], []
        for ionic, step in enumerate(opened.steps[first : first + size], start=first):
            try:
                rows.append(_row(step, shared))
            except ParseError as error:
                account.left_out.append(LeftOut(line=line, reason=f"ionic step {ionic}: {error.message}"))
                continue
            kept.append(Step(0, 0, line, ionic))
            loops.append(_loop(step, shared.max_electronic_steps))
        if rows:
            tables = Tables(*(np.array(column) for column in zip(*rows, strict=True)))
            yield from vasp_xml.block(kept, tables, loops, shared, account)


def _row(step: Any, shared: vasp_header.Run) -> tuple[F64, F64, F64, F64, F64]:
    """Cell, fractional positions, forces, stress, energies of one step as vasprun.xml prints them.

    Raises:
        ParseError: no structure or no energy, other atoms, or a number that is none.
    """
    structure, n_atoms = _part(step, "structure"), len(shared.atomic_numbers)
    if [ATOMIC_NUMBERS[symbol] for symbol in _symbols(structure)] != shared.atomic_numbers.tolist():
        raise ParseError("expected the atoms that the run began with, found others.")
    cell = _numbers(_part(structure, "lattice").get("matrix"), (3, 3), "a cell")
    positions = _numbers([site.get("abc") for site in structure["sites"]], (n_atoms, 3), "fractional positions")
    forces, stress = np.full((n_atoms, 3), NAN), np.full((3, 3), NAN)
    if step.get("forces") is not None:
        forces = _numbers(step["forces"], (n_atoms, 3), "forces")
    if step.get("stress") is not None:
        stress = _numbers(step["stress"], (3, 3), "a stress")
    energies = np.array([_energy(step, name) for name in _ENERGIES])
    _numbers(float(energies[0]), (), "e_fr_energy")
    return cell, positions, forces, stress, energies


def _energy(record: Any, name: str) -> float:
    """An energy [eV]; NaN where there is none that is finite."""
    value = record.get(name) if isinstance(record, dict) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return NAN
    return float(value) if abs(value) < LARGEST else NAN


def _loop(step: dict[str, Any], max_iterations: int | None) -> Loop:
    """The electronic iterations of a step; without them nothing is known of their energies."""
    iterations = step.get("electronic_steps")
    if not isinstance(iterations, list) or not iterations:
        count = step.get("num_electronic_steps")
        return Loop(count if isinstance(count, int) else 0, (NAN, NAN, NAN), NAN)
    free, no_entropy, sigma0 = (_energy(iterations[-1], name) for name in _ENERGIES)
    change = free - _energy(iterations[-2], _ENERGIES[0]) if 1 < len(iterations) == max_iterations else NAN
    return Loop(len(iterations), (free, no_entropy, sigma0), change)


def _ending(opened: _Opened, account: vasp_xml.Account) -> Ending:
    """Complete where the document says so; what it says of a whole chain is not what it says of one run."""
    left_out, warnings = vasp_xml.told(opened.shared, account)
    said = opened.found.record.get("has_vasp_completed")
    if not opened.steps:
        reason = "expected ionic_steps, found none: the document keeps its trajectory elsewhere."
        left_out = (*left_out, LeftOut(line=opened.found.line, reason=reason, frames=0))
    if said in (True, "successful"):
        return Ending("complete", "", left_out, warnings)
    if said in (False, "failed", "error"):
        return Ending(
            "failed",
            "the workflow says that VASP did not complete: not converged, or it ended early.",
            left_out,
            warnings,
        )
    return Ending("truncated", "expected has_vasp_completed, found none.", left_out, warnings)


READER = Reader("vasp/taskdoc", 1, (), magic, read, run_of, PRECEDENCE)
