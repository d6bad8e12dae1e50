"""Gaussian's formatted checkpoint file: the last geometry of a run, with gradient and second derivatives.

Coordinates, gradient and force constants are in the same axes; `Cartesian Gradient` is a gradient, so forces are its
negative. Single points fill it with zeros, which is absence. Q-Chem writes files of the same look; they are not read.

References:
    Gaussian, Formatted checkpoint files, https://gaussian.com/interfacing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from mlpdata.digest import sha256_json
from mlpdata.errors import ParseError
from mlpdata.readers.archive import Buffer, Input
from mlpdata.readers.gaussian.energies import level
from mlpdata.readers.gaussian.frames import RELATIVE_TORQUE, TORQUE, WRONG_AXES, torque
from mlpdata.readers.gaussian.log import run_of
from mlpdata.readers.gaussian.method import SPINS, external, functional_named, method, run_kind, state
from mlpdata.readers.gaussian.route import Route, parse
from mlpdata.readers.registry import Ending, Header, Printed, Reader
from mlpdata.readers.text import number, numbers
from mlpdata.schema.calculation import ForcesAre, LeftOut, Status
from mlpdata.schema.method import Method
from mlpdata.units import BOHR, F64, Quantity

_NAME_WIDTH = 43
"""Characters of the name of a section, with the spaces behind it."""
_FIELD = re.compile(rb"[IRC](?:   N= *(\d{1,12})| +(\S{1,40})) *\r?\n")
_NEXT = re.compile(rb"(?m)^(?=[A-Z])")
_TITLE = re.compile(rb"[^\n]{0,200}\n(\S{1,10}) +(\S(?:[^\n]{0,28}?\S)?)(?: {2,}(\S[^\n]{0,60}?))? *\r?\n")
_MAGIC = re.compile(
    rb"[^\n]{0,200}\n[^\n]{0,200}\nNumber of atoms {28}I +\d+ *\r?\n"
    rb"(?:Info1-9 |(?:(?!Atomic numbers)[A-Z][^\n]{0,100}\n){1,9}Number of basis functions )"
)
"""Q-Chem's files have neither of the two sections before the atomic numbers."""
_CHARGES = {
    b"Mulliken Charges": "charges_mulliken",
    b"ESP Charges": "charges_esp",
    b"NPA Charges": "charges_natural",
}
_REFERENCE = re.compile(r"(RO|R|U)(?=\w)(.*?)(?:-(?:FC|FU|RW|Full))?$")
_JOBS = {
    "FOpt": "opt", "POpt": "opt", "FTS": "opt", "PTS": "opt", "Freq": "freq", "Scan": "opt", "Force": "force",
}  # fmt: skip
"""Keyword of a route that asks for what the second line names."""


class Job(NamedTuple):
    """What the file says of its own method."""

    route: Route
    method: Method
    excited: bool
    """Whether the total energy is of an excited state."""
    external: frozenset[str]


def read(source: Input) -> Iterator[Header | Printed | Ending]:
    """The one frame of the file.

    Raises:
        ParseError: no formatted checkpoint file.
    """
    data = source.data
    job = _job(data)
    warnings: list[str] = []
    left_out: tuple[LeftOut, ...] = ()
    printed = None
    try:
        printed = _frame(source, job, warnings)
    except ParseError as error:
        left_out = (LeftOut(line=error.line or 0, reason=error.message),)
    forces: ForcesAre = "absent"
    if printed is not None and "forces" in printed.arrays:
        forces = "with_external" if job.external else "physical"
    excited = job.excited and forces != "absent"
    yield Header(
        method=job.method.model_copy(update={"excited": excited, "state": state(job.route) if excited else None}),
        identity=sha256_json({"file": "fchk", "sha256": source.sha256}),
        run_kind=run_kind(job.route),
        energy_kind="total",
        forces_are=forces,
    )
    if printed is not None:
        yield printed
    yield Ending(*_status(data), left_out, tuple(warnings))


def _job(data: Buffer) -> Job:
    """Method and job of the second line, route where Gaussian 16 repeats it.

    Raises:
        ParseError: there is no such line.
    """
    title = _TITLE.match(data[:1000])
    if title is None:
        raise ParseError("expected a formatted checkpoint file, found no line of job, method and basis.")
    kind, name = title[1].decode("latin-1"), title[2].decode("latin-1")
    printed = _text(data, b"Route")
    match = _REFERENCE.match(name)
    spin, bare = (match[1], match[2]) if match else (None, name)
    bare = re.sub(r"MP4(SDTQ|SDQ|DQ)", r"MP4(\1)", bare)
    words = re.split(r"[ -]+(?=TD|CIS|EOM)|(?<=TD)-", bare)  # `RTD-B3LYP-FC` of Gaussian 09, `RB3LYP TD-FC` of 16
    route = parse(printed or f"# {_JOBS.get(kind, 'sp')} {' '.join(words)}")
    known = level(route)
    described = method(b"", route, _text(data, b"Gaussian Version") or None, known, excited=False)
    functional = next((found for found in map(functional_named, map(str.lower, words)) if found[0]), ("HF", 1.0))
    if described.functional is None:
        described = described.model_copy(update={"functional": functional[0], "exact_exchange": functional[1]})
    outside = {*external(route), *_external(data)}
    described = described.model_copy(
        update={
            "functional_as_printed": name,
            "spin": SPINS.get(spin or ""),
            "basis": title[3].decode("latin-1").strip() if title[3] else described.basis,
            "external": tuple(sorted(outside)),
        }
    )
    return Job(route, described, known.excited, frozenset(outside))


def _external(data: Buffer) -> set[str]:
    """What acts on the electrons, by its own sections."""
    found = set()
    if (_scalar(data, b"Number of point charges in /Mol/") or 0) > 0:
        found.add("point charges")
    field = _optional(data, b"External E-field", [])
    if field is not None and field.any():
        found.add("electric field")
    return found


def _frame(source: Input, job: Job, warnings: list[str]) -> Printed:
    """The frame of the file.

    Raises:
        ParseError: geometry, energy or gradient are missing or damaged.
    """
    data = source.data
    atomic_numbers, positions = _geometry(data)
    is_atom = atomic_numbers > 0
    periodic = _optional(data, b"Translation vectors", warnings)
    forces = _forces(data, positions.size)
    arrays: dict[str, Quantity | ArrayLike] = {
        "atomic_numbers": atomic_numbers[is_atom].astype(np.uint8),
        "positions": Quantity(positions[is_atom], "bohr"),
        "pbc": np.zeros((1, 3), np.int8),
        "energy": Quantity(np.array([_energy(data, job, forces is not None)]), "hartree"),
        "charge": Quantity(np.array([_required(data, b"Charge")]), "e"),
        "multiplicity": [int(_required(data, b"Multiplicity"))],
        "step": [0],
        "source_line": [source.line(_find(data, b"Total Energy"))],
    }
    if periodic is not None and periodic.size in (3, 6, 9):
        cell = np.zeros((1, 3, 3))
        cell[0, : periodic.size // 3] = periodic.reshape(-1, 3)
        arrays["cell"] = Quantity(cell, "bohr")
        arrays["pbc"] = (np.arange(3) < periodic.size // 3).astype(np.int8)[None]
    if forces is not None and not job.external and periodic is None and _turns(positions[is_atom], forces[is_atom]):
        warnings.append(WRONG_AXES)
    elif forces is not None:
        arrays["forces"] = Quantity(forces[is_atom], "hartree/bohr")
    for name, charges in _CHARGES.items():
        values = _optional(data, name, warnings)
        if values is not None and values.size == is_atom.size and values.any():
            arrays[charges] = Quantity(values[is_atom], "e")
    hessian = _optional(data, b"Cartesian Force Constants", warnings)
    if hessian is not None and hessian.any() and is_atom.all():
        arrays["hessian"] = Quantity(_pairs(hessian, len(is_atom)), "hartree/bohr^2")
    return Printed([int(is_atom.sum())], arrays)


def _geometry(data: Buffer) -> tuple[F64, F64]:
    """Atomic numbers, shape (n_rows,), and coordinates [bohr], shape (n_rows, 3); dummies and ghosts included.

    Raises:
        ParseError: they are missing, damaged, or of different sizes.
    """
    atomic_numbers, positions = _array(data, b"Atomic numbers"), _array(data, b"Current cartesian coordinates")
    if atomic_numbers is None or positions is None or positions.size != 3 * atomic_numbers.size:
        raise ParseError("expected three coordinates for each atom, found others. The file is cut or damaged.")
    whole = (atomic_numbers == np.floor(atomic_numbers)).all() and (atomic_numbers <= 118).all()
    if not whole or not (atomic_numbers > 0).any():
        raise ParseError("expected atomic numbers from 1 to 118, found others.")
    return atomic_numbers, positions.reshape(-1, 3)


def _forces(data: Buffer, size: int) -> F64 | None:
    """Minus the gradient [hartree/bohr], shape (n_rows, 3); None where it was not computed, which zeros say.

    Raises:
        ParseError: it is damaged.
    """
    gradient = _array(data, b"Cartesian Gradient")
    if gradient is None or not gradient.any():
        return None
    if gradient.size != size:
        raise ParseError(f"expected a gradient of {size} numbers, found {gradient.size}.")
    forces: F64 = -gradient.reshape(-1, 3)
    return forces


def _energy(data: Buffer, job: Job, forced: bool) -> float:
    """The total energy; without a gradient that of the ground state where excited states were asked for (G6) [hartree].

    Raises:
        ParseError: there is none, or it cannot be told.
    """
    if job.excited and not forced:
        if job.method.correlation is not None:
            raise ParseError("expected the ground state's energy, found that of an excited state only.")
        return _required(data, b"SCF Energy")
    return _required(data, b"Total Energy")


def _turns(positions: F64, forces: F64) -> bool:
    """Whether forces [hartree/bohr] exert a torque at positions [bohr], so that their axes differ (G1)."""
    total, bound = torque(positions[None] * BOHR, forces[None])
    return bool(total[0] > TORQUE and total[0] > RELATIVE_TORQUE * bound[0])


def _pairs(lower: F64, n_atoms: int) -> F64:
    """The blocks of all pairs of atoms, (n_atoms^2, 3, 3), of the lower triangle of a symmetric matrix.

    Raises:
        ParseError: it has another size.
    """
    size = 3 * n_atoms
    if lower.size != size * (size + 1) // 2:
        raise ParseError(f"expected force constants of {n_atoms} atoms, found {lower.size} numbers.")
    matrix = np.zeros((size, size))
    matrix[np.tril_indices(size)] = lower
    matrix += np.tril(matrix, -1).T
    return np.ascontiguousarray(matrix.reshape(n_atoms, 3, n_atoms, 3).transpose(0, 2, 1, 3)).reshape(-1, 3, 3)


def _status(data: Buffer) -> tuple[Status, str]:
    """Gaussian 16 states how the job ended and closes the file with its version; older versions do neither."""
    status = _scalar(data, b"Job Status")
    if status is not None and status != 1:
        return "failed", f"Job Status is {status:g}"
    if status == 1 and _find(data, b"Gaussian Version") >= 0:
        return "complete", ""
    return "truncated", "the file has no end mark: it is cut, or of Gaussian 09 and before"


def _find(data: Buffer, name: bytes) -> int:
    """Offset of the line of a section; -1 where there is none."""
    place = data.find(b"\n" + name.ljust(_NAME_WIDTH))
    return place + 1 if place >= 0 else -1


def _section(data: Buffer, name: bytes) -> tuple[re.Match[bytes], int] | None:
    """The end of the line of a section, and the offset behind that line; None where there is none.

    Raises:
        ParseError: the line is damaged.
    """
    start = _find(data, name)
    if start < 0:
        return None
    line = data[start + _NAME_WIDTH : start + 200]
    match = _FIELD.match(line)
    if match is None:
        raise ParseError(f"expected the type and size of {name.decode()!r}, found something else. The file is damaged.")
    return match, start + _NAME_WIDTH + match.end()


def _array(data: Buffer, name: bytes) -> F64 | None:
    """The numbers of a section; None where there is none.

    Raises:
        ParseError: fewer than announced, or one that is no number.
    """
    found = _section(data, name)
    if found is None or found[0][1] is None:
        return None
    count = int(found[0][1])
    text = data[found[1] : found[1] + 18 * count + 2 * (count // 5 + 2)]
    after = _NEXT.search(text)
    if after is None and not text.endswith(b"\n"):
        raise ParseError(f"expected {count} numbers in {name.decode()!r}, found the end of the file within one.")
    return numbers(text[: after.start()] if after else text, count)


def _optional(data: Buffer, name: bytes, warnings: list[str]) -> F64 | None:
    """The numbers of a section that may be damaged, with a warning."""
    try:
        return _array(data, name)
    except ParseError as error:
        warnings.append(f"{name.decode()} dropped: {error.message}")
        return None


def _scalar(data: Buffer, name: bytes) -> float | None:
    found = _section(data, name)
    return None if found is None or found[0][2] is None else number(found[0][2])


def _required(data: Buffer, name: bytes) -> float:
    value = _scalar(data, name)
    if value is None:
        raise ParseError(f"expected {name.decode()!r}, found none. The file is cut or damaged.")
    return value


def _text(data: Buffer, name: bytes) -> str:
    """The lines of a section of characters, joined; empty where there is none."""
    found = _section(data, name)
    if found is None or found[0][1] is None:
        return ""
    n_lines = (min(int(found[0][1]), 5000) + 4) // 5  # of five pieces of twelve characters
    lines = data[found[1] : found[1] + 62 * n_lines].decode("latin-1").splitlines()[:n_lines]
    return "".join(line.ljust(60) for line in lines).strip()


def _is_fchk(head: bytes) -> bool:
    """Whether a file begins as formatted checkpoint files of Gaussian do."""
    return _MAGIC.match(head) is not None


READER = Reader("gaussian/fchk", 1, ("*.gaussianfchk",), _is_fchk, read, run_of=run_of, precedence=1)
