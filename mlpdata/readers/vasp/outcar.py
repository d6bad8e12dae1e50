"""VASP's OUTCAR: every ionic step with its labels, whatever the size of the file; VASP 4.6 to 6.

The header (`vasp.outcar_method`) says what all steps share; the steps are read window by window (`vasp.outcar_steps`,
`vasp.outcar_blocks`), so that memory does not grow with the file. Only what DFT printed is read: tables of a
machine-learned force field are counted (pitfall V11). Positions have five decimals: where vasprun.xml lies beside, it
gives the frames (V17).

References:
    VASP's manual, https://vasp.at/wiki/OUTCAR; pitfalls V3 to V19.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress

import numpy as np
from numpy.typing import ArrayLike

from mlpdata.errors import ParseError
from mlpdata.frames import MAX_ATOMS_PER_BLOCK
from mlpdata.readers.archive import Input
from mlpdata.readers.place import Belonging, folder_name
from mlpdata.readers.registry import Ending, Header, Printed, Reader
from mlpdata.readers.text import numbers
from mlpdata.readers.vasp import outcar_blocks as blocks
from mlpdata.readers.vasp import outcar_steps as ionic
from mlpdata.readers.vasp.header import TEXT, Run, run_of
from mlpdata.readers.vasp.outcar_method import run_of_header
from mlpdata.readers.vasp.outcar_steps import Account, Step
from mlpdata.schema.calculation import LeftOut
from mlpdata.units import F64, Quantity

LARGEST_HEADER = 16 << 20
_START = re.compile(rb"\s{0,20}vasp\.\d\.\d[^\n]{0,200}\n(?:[^\n]{0,200}\n){0,6}? executed on ")
_END = b"\n General timing and accounting informations for this job:"
_REFUSED = re.compile(rb"(?:VERY BAD NEWS|I REFUSE TO CONTINUE|ZBRENT: fatal error|LAPACK: Routine)[^\n|]{0,120}")
_POSITIONS = re.compile(rb"\n position of ions in cartesian coordinates {1,4}\(Angst\):[^\n]{0,20}\n")
_NAMES = ("INCAR", "KPOINTS", "POTCAR")


def magic(head: bytes) -> bool:
    """Whether a file begins like an OUTCAR, whatever its name (pitfall V21); VASP's standard output does not."""
    return _START.match(head) is not None


def companions(source: Input) -> Belonging:
    """The inputs beside an OUTCAR whose names are decorated like its own: INCAR.relax1 beside OUTCAR.relax1."""
    name = source.path.name
    return Belonging(tuple(name.replace("OUTCAR", other) for other in _NAMES) if "OUTCAR" in name else ())


def read(source: Input) -> Iterator[Header | Printed | Ending]:
    """The header, blocks of frames, the ending of one OUTCAR.

    Raises:
        ParseError: no atoms in the header.
        LimitExceeded: more atoms than the machine should hold.
    """
    text, begin = _header(source)
    first_step = source.data[begin : begin + ionic.WINDOW]
    run = run_of_header(text, first_step, source.companions, source.limits)
    yield run.header
    account = Account(warnings=list(run.warnings))
    _lost_in_header(source, text, account)
    cell, positions = _initial(text, len(run.atomic_numbers))
    for window, found in ionic.segments(source, begin, account):
        steps = ionic.steps(source, window, found, run, cell, account)
        yield from _blocks(source, window, steps, run, positions, account)
    yield _ending(source, account)


def _header(source: Input) -> tuple[bytes, int]:
    """Everything before the first ionic step, or the first table of a machine-learned force field, and its length."""
    text = source.data[: ionic.WINDOW]
    while True:
        ionic.refuse_long_line(text[-ionic.WINDOW :])
        places = (text.find(ionic.FIRST_ITERATION), text.find(blocks.FORCES + blocks.LEARNED))
        end = min((text.rfind(b"\n", 0, place) + 1 for place in places if place >= 0), default=-1)
        if end >= 0 or len(text) in {len(source.data), LARGEST_HEADER}:
            end = end if end >= 0 else len(text)
            return text[:end], end
        text = source.data[: min(4 * len(text), LARGEST_HEADER)]


def _lost_in_header(source: Input, text: bytes, account: Account) -> None:
    """A step whose first iteration cannot be recognised would be taken for a part of the header."""
    place = text.find(blocks.ENERGIES)
    if place >= 0:
        reason = "expected the first iteration of the step, found none that can be read."
        account.lose(source.line(place + 1), reason, text.count(blocks.ENERGIES))
        account.n_steps = text.count(blocks.ENERGIES)


def _initial(text: bytes, n_atoms: int) -> tuple[F64, F64 | None]:
    """Cell (3, 3) and positions (n_atoms, 3) that the run starts from [angstrom]; NaN and None where damaged."""
    cell = np.full((3, 3), np.nan)
    last = text.rfind(b"\n      direct lattice vectors")
    with suppress(ParseError):
        cell = blocks.cell(text, max(last, 0), len(text))
    heading = _POSITIONS.search(text)
    if heading is None:
        return cell, None
    rows = text[heading.end() : heading.end() + 120 * n_atoms].split(b"\n", n_atoms)[:n_atoms]
    try:
        return cell, np.array([numbers(row, 3) for row in rows]).reshape(n_atoms, 3)
    except (ParseError, ValueError):
        return cell, None


def _blocks(
    source: Input, window: bytes, steps: Sequence[Step], run: Run, initial: F64 | None, account: Account
) -> Iterator[Printed]:
    """The steps of a window as blocks of at most `MAX_ATOMS_PER_BLOCK` atoms."""
    n_atoms = len(run.atomic_numbers)
    size = max(1, MAX_ATOMS_PER_BLOCK // n_atoms)
    image = _image(source, run)
    if steps and steps[0].rows < 0:
        yield from _without_forces(steps[0], run, initial, image, account)
        steps = steps[1:]
    for first in range(0, len(steps), size):
        positions, forces, kept = _tables(window, steps[first : first + size], n_atoms, account)
        if kept:
            arrays = _arrays(kept, run, image)
            arrays["positions"] = Quantity(positions.reshape(-1, 3), "angstrom", blocks.POSITION_DECIMALS)
            arrays["forces"] = Quantity(forces.reshape(-1, 3), "eV/angstrom", blocks.FORCE_DECIMALS)
            yield Printed(np.full(len(kept), n_atoms), arrays)


def _without_forces(step: Step, run: Run, initial: F64 | None, image: int, account: Account) -> Iterator[Printed]:
    """The first step where it prints no forces: its positions are those that the header prints (pitfall V12)."""
    if initial is None:
        account.lose(step.line, "expected positions in the header, found none that can be read.")
        return
    arrays = _arrays([step], run, image)
    arrays["positions"] = Quantity(initial, "angstrom", 8)
    yield Printed([len(initial)], arrays)


def _tables(window: bytes, steps: Sequence[Step], n_atoms: int, account: Account) -> tuple[F64, F64, list[Step]]:
    """Positions and forces of `steps` and those of them that could be read; the common layout all at once."""
    positions, forces, good = blocks.tables(window, [step.rows for step in steps], n_atoms)
    for i in np.flatnonzero(~good).tolist():
        try:
            positions[i], forces[i] = blocks.table(window, steps[i].rows, n_atoms, steps[i].end)
            good[i] = True
        except ParseError as error:
            account.lose(steps[i].line, error.message)
    for i, step in enumerate(steps):
        if good[i] and np.isnan(step.cell).any():
            good[i] = False
            account.lose(step.line, "expected a cell, found none that can be read.")
    return positions[good], forces[good], [step for step, kept in zip(steps, good, strict=True) if kept]


def _image(source: Input, run: Run) -> int:
    """Image of an elastic band, by the folder that VASP names after it (pitfall V14); -1 elsewhere."""
    folder = folder_name(source.path)
    return int(folder) if run.is_elastic_band and re.fullmatch(r"\d\d", folder) else -1


def _arrays(steps: Sequence[Step], run: Run, image: int) -> dict[str, Quantity | ArrayLike]:
    """All that steps print but positions and forces; stress is printed in kB, positive in compression (V18)."""
    n = len(steps)
    stress = np.full((n, 3, 3), np.nan)
    for i, step in enumerate(steps):
        if step.stress:
            xx, yy, zz, xy, yz, zx = map(float, step.stress)
            stress[i] = ((-xx, -xy, -zx), (-xy, -yy, -yz), (-zx, -yz, -zz))
    stress[(stress == 0.0).all(axis=(1, 2))] = np.nan  # pitfall V20: zero-filled is not computed
    decimals = _decimals(step.energy for step in steps)
    arrays: dict[str, Quantity | ArrayLike] = {
        "atomic_numbers": np.tile(run.atomic_numbers, n),
        "cell": Quantity(np.array([step.cell for step in steps]), "angstrom", blocks.CELL_DECIMALS),
        "pbc": np.ones((n, 3), np.int8),
        "stress": Quantity(stress, "kbar", _decimals(one for step in steps for one in step.stress[:1]), sign=-1),
        "energy": Quantity(np.array([float(step.energy) for step in steps]), "eV", decimals),
        "energy_sigma0": Quantity(np.array([step.energy_sigma0 for step in steps]), "eV", decimals),
        "energy_no_entropy": Quantity(np.array([step.energy_no_entropy for step in steps]), "eV", decimals),
        "charge": Quantity(np.full(n, run.charge), "e"),
        "scf_converged": np.array([step.scf_converged for step in steps]),
        "step": np.array([step.ionic for step in steps]),
        "source_line": np.array([step.line for step in steps]),
    }
    if image >= 0:
        arrays["image"] = np.full(n, image)
    return arrays | _further(steps, len(run.atomic_numbers))


def _further(steps: Sequence[Step], n_atoms: int) -> dict[str, Quantity | ArrayLike]:
    """Moments, levels, temperature, Born charges, where any of the steps prints them."""
    single = {
        "total_magnetization": Quantity(np.array([step.total_magnetization for step in steps]), "muB", 7),
        "fermi_energy": Quantity(np.array([step.fermi_energy for step in steps]), "eV", 4),
        "temperature_kinetic": Quantity(np.array([step.temperature for step in steps]), "K", 2),
    }
    found: dict[str, Quantity | ArrayLike] = {
        name: one for name, one in single.items() if not np.isnan(one.values).all()
    }
    for name, width in (("magnetic_moments", 1), ("magnetic_moment_vectors", 3)):
        rows = [one if one is not None and one.shape[1] == width else None for one in (s.moments for s in steps)]
        if any(one is not None for one in rows):
            absent = np.full((n_atoms, width), np.nan)
            values = np.concatenate([absent if one is None else one for one in rows])
            found[name] = Quantity(values[:, 0] if width == 1 else values, "muB", 3)
    if any(step.born_charges is not None for step in steps):
        absent = np.full((n_atoms, 3, 3), np.nan)
        values = np.concatenate([absent if step.born_charges is None else step.born_charges for step in steps])
        found["born_charges"] = Quantity(values, "e", 5)
    return found


def _decimals(printed: Iterator[bytes]) -> int | None:
    """Decimals of numbers as printed, where all have as many; VASP 4 prints fewer."""
    found = {len(one.partition(b".")[2]) for one in printed}
    return found.pop() if len(found) == 1 else None


def _ending(source: Input, account: Account) -> Ending:
    left_out = list(account.left_out)
    once = (
        (account.unplaced, "expected positions and forces, found none: NWRITE keeps them for some steps (V12)."),
        (account.learned, "expected DFT, found tables of a machine-learned force field (V11)."),
    )
    left_out += [LeftOut(line=one[1], reason=reason, frames=one[0]) for one, reason in once if one]
    tail = source.data[max(0, len(source.data) - (1 << 16)) :]
    if _END in tail and not source.cut:
        return Ending("complete", "", tuple(left_out), tuple(account.warnings))
    refused = _REFUSED.search(tail)
    if refused:
        return Ending("failed", refused[0].decode("latin-1").strip(), tuple(left_out), tuple(account.warnings))
    reason = "expected General timing and accounting at the end, found none. The run was killed or is still going."
    return Ending("truncated", reason, tuple(left_out), tuple(account.warnings))


READER = Reader("vasp/outcar", 1, ("*OUTCAR*",), magic, read, run_of, TEXT, companions)
