"""VASP's vasprun.xml: every ionic step with its labels, whatever the size of the file.

The header is read by lxml, the steps window by window (`vasp.steps`), so that memory does not grow with the file.
Only `<calculation>` elements are DFT: steps of a machine-learned force field stand between them and are counted, never
read (pitfall V11). Stress is printed in kB, positive in compression.

References:
    VASP's manual, https://vasp.at/wiki/Vasprun.xml; pitfalls V1 to V21.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from mlpdata.errors import ParseError
from mlpdata.frames import MAX_ATOMS_PER_BLOCK
from mlpdata.readers import xml
from mlpdata.readers.archive import Input
from mlpdata.readers.registry import Ending, Header, Printed, Reader
from mlpdata.readers.vasp.header import XML, Run, run, run_of
from mlpdata.readers.vasp.steps import Loop, Step, Tables, electronic_loop, read_steps, scf_converged
from mlpdata.schema.calculation import LeftOut
from mlpdata.units import F64, Quantity

WINDOW = 4 << 20
"""Bytes of text converted at once; fits the cache, and no block reaches the bound on its atoms."""
LARGEST_STEP = 64 << 20
"""Bytes of one step that are looked at: labels come first, projections of the orbitals after them."""
LARGEST_HEADER = 128 << 20
KBAR_PER_EV_ANGSTROM3 = 1602.17733
"""VASP's own constant (EVTOJ), by which it adds PV to the energy; taking PV off again needs the same."""

SAME_ENERGY = 1e-6
"""Energies printed with eight decimals agree within this [eV]."""

_OPEN, _CLOSE, _END = b"<calculation>", b"</calculation>", b"</modeling>"
_FORCES = b'<varray name="forces"'
_START = re.compile(rb'<modeling>\s*<generator>\s*<i name="program"[^>]*>\s*vasp')


def magic(head: bytes) -> bool:
    """Whether a file begins like vasprun.xml, whatever its name (pitfall V21)."""
    return _START.search(head[:4096]) is not None


def read(source: Input) -> Iterator[Header | Printed | Ending]:
    """The header, blocks of frames, the ending of one vasprun.xml.

    Raises:
        ParseError: no atoms in the header, or several images in one file.
    """
    root, begin = _header(source)
    shared = run(root)
    if shared.is_elastic_band:
        _refuse_interleaved(source)
    yield shared.header
    account = Account()
    for window, steps in _windows(source, begin, account):
        yield from _blocks(window, steps, shared, account)
    yield _ending(source, shared, account)


@dataclass
class Account:
    """What happened on the way through the file."""

    left_out: list[LeftOut] = field(default_factory=list)
    learned: int = 0
    """Steps of a machine-learned force field."""
    learned_line: int = 0
    """Line of the first of them."""
    post_scf: float = 0.0
    """Largest difference between the energy of a step and that of its last iteration [eV]."""
    unclear: dict[str, list[int]] = field(default_factory=dict)
    """What could not be read, with the lines of the steps that lack it."""

    def cut(self, line: int) -> None:
        """A step was begun at `line` and not ended (pitfall V13)."""
        self.left_out.append(LeftOut(line=line, reason="expected </calculation>, found the end. The run was cut."))

    def note(self, steps: Sequence[Step], lacking: Iterable[bool], what: str) -> None:
        """Remember the `steps` that lack `what`."""
        lines = [step.line for step, one in zip(steps, lacking, strict=True) if one]
        if lines:
            self.unclear.setdefault(what, []).extend(lines)


def _header(source: Input) -> tuple[xml.Element, int]:
    """The root of everything before the first step, and the offset where that ends."""
    data = source.data
    bound = min(len(data), LARGEST_HEADER)
    first = data.find(_OPEN, 0, bound)
    end = bound if first < 0 else first
    initial = data.find(b'<structure name="initialpos"', 0, end)
    if initial >= 0:  # steps of a machine-learned force field may come before the first of DFT
        closed = data.find(b"</structure>", initial, end)
        end = closed + len(b"</structure>") if closed >= 0 else end
    text = data[:end]
    if text.count(b"<modeling>") > 1:
        raise ParseError(
            "expected one run, found <modeling> twice. Images share the file; read each image's OUTCAR (V14)."
        )
    try:
        return xml.parse(text + _END), end
    except ParseError:
        whole = text[: text.rfind(b"</")]  # a number that is cut must not be read
        return xml.parse(whole, recover=True), end


def _refuse_interleaved(source: Input) -> None:
    """Images of a nudged elastic band write into one file; unless it is well-formed, frames would be mixtures.

    Raises:
        ParseError: not well-formed (pitfall V14).
    """
    try:
        root = xml.parse(source.data[:])
        mixed = any(len(step.findall("varray[@name='forces']")) > 1 for step in root.iterfind("calculation"))
    except ParseError as error:
        raise ParseError(
            f"{error.message} Images of a band may share this file; read each image's OUTCAR (V14)."
        ) from None
    if mixed:
        raise ParseError("expected one table of forces a step, found several. Read each image's OUTCAR (V14).")


def _windows(source: Input, begin: int, account: Account) -> Iterator[tuple[bytes, list[Step]]]:
    """Windows of text from `begin` on, with the whole steps that each holds."""
    data, index = source.data, 0
    while begin < len(data):
        window = data[begin : begin + WINDOW]
        steps: list[Step] = []
        done = 0
        while (start := window.find(_OPEN, done)) >= 0:
            _count_learned(source, window[done:start], begin + done, account)
            end = window.find(_CLOSE, start)
            if end < 0:
                done = start
                break
            steps.append(Step(start, end, source.line(begin + start), index + len(steps)))
            done = end
        else:
            whole_lines = window.rfind(b"\n") + 1 or len(window) - len(_FORCES)
            rest = len(window) if begin + len(window) == len(data) else max(whole_lines, done)
            _count_learned(source, window[done:rest], begin + done, account)
            done = rest
        if steps:
            yield window, steps
        index += len(steps)
        if done == 0:  # a step longer than the window, or one that does not end
            end = data.find(_CLOSE, begin)
            if end < 0:
                account.cut(source.line(begin))
                return
            yield _long_step(source, begin, end, index)
            index, done = index + 1, end - begin
        begin += done


def _long_step(source: Input, begin: int, end: int, index: int) -> tuple[bytes, list[Step]]:
    """A window for one step alone; beyond `LARGEST_STEP` it ends after the last whole number."""
    text = source.data[begin : min(end, begin + LARGEST_STEP)]
    if end - begin > LARGEST_STEP:
        text = text[: text.rfind(b"</")]
    return text + _CLOSE, [Step(0, len(text), source.line(begin), index)]


def _count_learned(source: Input, between: bytes, offset: int, account: Account) -> None:
    """Count the force tables between two `<calculation>`: steps of a machine-learned force field (pitfall V11)."""
    first = between.find(_FORCES)
    if first >= 0:
        account.learned_line = account.learned_line or source.line(offset + first)
        account.learned += between.count(_FORCES)


def _blocks(window: bytes, steps: Sequence[Step], shared: Run, account: Account) -> Iterator[Printed]:
    """The steps of a window as blocks of at most `MAX_ATOMS_PER_BLOCK` atoms."""
    size = max(1, MAX_ATOMS_PER_BLOCK // len(shared.atomic_numbers))
    for first in range(0, len(steps), size):
        kept, tables, left_out = read_steps(window, steps[first : first + size], shared)
        account.left_out += left_out
        loops = [electronic_loop(window, step, shared.max_electronic_steps) for step in kept]
        yield from block(kept, tables, loops, shared, account)


def block(steps: list[Step], tables: Tables, loops: list[Loop], shared: Run, account: Account) -> Iterator[Printed]:
    """The block of frames that DFT made of `steps`, if any.

    Args:
        steps: where they stand.
        tables: their numbers as vasprun.xml prints them.
        loops: their electronic iterations.
        shared: what all steps of the run share.
        account: takes down what could not be read.
    """
    if shared.learns and any(loop.n_iterations == 0 for loop in loops):
        steps, tables, loops = _of_electrons(steps, tables, loops, account)
    if steps:
        yield _printed(steps, tables, loops, shared, account)


def _of_electrons(
    steps: list[Step], tables: Tables, loops: list[Loop], account: Account
) -> tuple[list[Step], Tables, list[Loop]]:
    """The steps with electronic iterations: in a run with a machine-learned force field others are its own (V11)."""
    of_electrons = np.array([loop.n_iterations > 0 for loop in loops])
    learned = [step.line for step, own in zip(steps, of_electrons, strict=True) if not own]
    account.learned_line = account.learned_line or learned[0]
    account.learned += len(learned)
    return (
        [step for step, own in zip(steps, of_electrons, strict=True) if own],
        tables.take(of_electrons),
        [loop for loop in loops if loop.n_iterations > 0],
    )


def _printed(steps: Sequence[Step], tables: Tables, loops: Sequence[Loop], shared: Run, account: Account) -> Printed:
    """One block as the file prints it, with energies that are energies, and zeros that mean nothing made absent."""
    n, n_atoms = len(steps), len(shared.atomic_numbers)
    free, sigma0, no_entropy = _energies(tables, loops, shared)
    account.note(steps, np.isnan(free), "no energy: expected an enthalpy, which differs from the last iteration (V3)")
    account.note(steps, np.isnan(sigma0) & ~np.isnan(free), "no readable e_wo_entrp and e_0_energy")
    if shared.max_electronic_steps is not None and not shared.is_response:
        unknown = (loop.n_iterations == shared.max_electronic_steps > 1 and np.isnan(loop.change) for loop in loops)
        account.note(steps, unknown, "convergence is unknown, as the last iterations cannot be read")
    if not shared.is_response:
        difference = np.abs(free - [loop.energies[0] for loop in loops])
        account.post_scf = max(account.post_scf, float(np.nanmax(difference, initial=0.0)))
    stress = -tables.stress
    stress[(stress == 0.0).all(axis=(1, 2))] = np.nan  # pitfall V20: zero-filled is not computed
    decimals = None if shared.external_pressure else 8
    arrays: dict[str, Quantity | ArrayLike] = {
        "atomic_numbers": np.tile(shared.atomic_numbers, n),
        "positions": Quantity(_cartesian(tables).reshape(-1, 3), "angstrom", 8, basis="fractional"),
        "cell": Quantity(tables.cells, "angstrom", 8),
        "pbc": np.ones((n, 3), np.int8),
        "forces": Quantity(tables.forces.reshape(-1, 3), "eV/angstrom", 8),
        "stress": Quantity(stress, "kbar", 8, sign=-1),
        "energy": Quantity(free, "eV", decimals),
        "energy_sigma0": Quantity(sigma0, "eV", decimals),
        "energy_no_entropy": Quantity(no_entropy, "eV", decimals),
        "charge": Quantity(np.full(n, shared.charge), "e"),
        "scf_converged": scf_converged(loops, shared),
        "step": np.array([step.ionic for step in steps]),
        "source_line": np.array([step.line for step in steps]),
    }
    if shared.fixed is not None:
        arrays["fixed"] = np.tile(shared.fixed, (n, 1))
    return Printed(np.full(n, n_atoms), arrays)


def _cartesian(tables: Tables) -> F64:
    """Positions [angstrom], (n, n_atoms, 3); summed in a fixed order, so that no library's choice changes an id."""
    x, y, z = (tables.fractional[..., axis, None] for axis in range(3))
    a, b, c = (tables.cells[:, None, axis] for axis in range(3))
    positions: F64 = x * a + y * b + z * c
    return positions


def _energies(tables: Tables, loops: Sequence[Loop], shared: Run) -> tuple[F64, F64, F64]:
    """Free energy, energy extrapolated to zero smearing, energy without entropy [eV], each (n,).

    VASP before 6 shifts the tags of <calculation><energy> by one: e_wo_entrp holds the extrapolated energy,
    e_0_energy the entropy term (pitfall V1). Whichever reading agrees with E_0 - F of the last iteration is taken;
    response iterations (V4) do not know it, zero is near enough there. The numbers then come from the tags, since
    the iteration lacks DFT-D (V2). With PSTRESS all three are enthalpies and PV comes off (V3).
    """
    free, no_entropy, sigma0 = tables.energies.T
    last = np.array([loop.energies for loop in loops])
    known = np.zeros(len(free)) if shared.is_response else np.nan_to_num(last[:, 2] - last[:, 0])
    shifted = np.abs(no_entropy - free - known) < np.abs(sigma0 - free - known)
    sigma0, no_entropy = (
        np.where(shifted, no_entropy, sigma0),
        np.where(shifted, np.round(free - sigma0, 8), no_entropy),
    )
    unclear = np.isnan(sigma0) | np.isnan(no_entropy)
    sigma0[unclear] = no_entropy[unclear] = np.nan
    if not shared.external_pressure:
        return free, sigma0, no_entropy
    work = shared.external_pressure * _volume(tables.cells) / KBAR_PER_EV_ANGSTROM3
    if not shared.is_response:  # the iterations never hold PV: only where the step differs from them it is an enthalpy
        work[(np.abs(work) > SAME_ENERGY) & ~(np.abs(free - last[:, 0]) >= SAME_ENERGY)] = np.nan
    return free - work, sigma0 - work, no_entropy - work


def _volume(cells: F64) -> F64:
    """Volume of each cell [angstrom^3]."""
    volume: F64 = np.abs(np.sum(cells[:, 0] * np.cross(cells[:, 1], cells[:, 2]), axis=-1))
    return volume


def _ending(source: Input, shared: Run, account: Account) -> Ending:
    left_out, warnings = told(shared, account)
    whole = _END in source.data[max(0, len(source.data) - 4096) :] and not source.cut
    reason = "" if whole else "expected </modeling> at the end, found none. The run was killed or is still going."
    return Ending("complete" if whole else "truncated", reason, left_out, warnings)


def told(shared: Run, account: Account) -> tuple[tuple[LeftOut, ...], tuple[str, ...]]:
    """What was left out on the way through the file, and what there is to say of the rest."""
    left_out = list(account.left_out)
    if account.learned:
        reason = "expected DFT, found steps of a machine-learned force field (V11)."
        left_out.append(LeftOut(line=account.learned_line, reason=reason, frames=account.learned))
    warnings = list(shared.warnings)
    if account.post_scf > SAME_ENERGY:
        warnings.append(
            f"energies differ from the last iteration's by up to {account.post_scf:.6f} eV: "
            "dispersion or another term added after the SCF, which vasprun.xml may not name (V2)."
        )
    for what, lines in account.unclear.items():
        warnings.append(f"line {', '.join(map(str, lines[:5]))}{' ...' if len(lines) > 5 else ''}: {what}.")
    return tuple(left_out), tuple(warnings)


READER = Reader("vasp/xml", 1, ("vasprun*.xml*", "*vasprun*"), magic, read, run_of, XML)
