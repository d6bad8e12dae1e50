"""ORCA's `job.engrad`: the last energy and gradient of a run with their geometry, and nothing of the method.

After an optimisation it may hold another gradient than the one that the standard output prints last, so that it is a
frame of its own, with the energy that stands in it. The gradient is no force: its sign is turned (pitfall O1). xtb writes
the same format; the file names no program.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike

from mlpdata.digest import sha256_json
from mlpdata.elements import ATOMIC_NUMBERS
from mlpdata.errors import LimitExceeded, ParseError
from mlpdata.readers.archive import Input
from mlpdata.readers.orca import files as orca_files
from mlpdata.readers.registry import Ending, Header, Printed, Reader
from mlpdata.readers.text import number, numbers
from mlpdata.schema.calculation import LeftOut
from mlpdata.schema.method import Method
from mlpdata.units import Quantity

_TITLES = (
    rb"# Number of atoms",
    rb"# The current total energy in Eh\b",
    rb"# The current gradient in Eh/bohr\b",
    rb"# The atomic numbers and current coordinates in Bohr\b",
)
_TITLE = re.compile(rb"(?m)^(?:" + b"|".join(_TITLES) + rb")[^\n]{0,200}\n(?:#[ \t\r]*\n)?")
_MAGIC = re.compile(rb"(?:\s|#[ \t]*\r?\n)*+# Number of atoms[^\n]{0,200}\n")
_BYTES_AN_ATOM = 400
DECIMALS = 12


def read(source: Input) -> Iterator[Header | Printed | Ending]:
    """The one frame of the file."""
    try:
        printed = _frame(source)
    except ParseError as error:
        lost = LeftOut(line=error.line or 0, reason=error.message)
        yield _header("")
        yield Ending("truncated", "the file is cut or damaged", (lost,))
        return
    yield _header(sha256_json(np.asarray(printed.arrays["energy"].values).tolist()))  # type: ignore[union-attr]
    yield printed
    yield Ending("complete", warnings=("the file names neither program nor method",))


def _header(identity: str) -> Header:
    return Header(Method(code="orca"), identity, energy_kind="total", forces_are="physical")


def _frame(source: Input) -> Printed:
    """The frame.

    Raises:
        ParseError: a part is missing, another unit, or something else than numbers.
        LimitExceeded: more atoms than a file may have.
    """
    titles = [match.span() for match in _TITLE.finditer(source.data[: 1 << 16])]
    n_atoms = _count(source, titles)
    if n_atoms > source.limits.atoms:
        raise LimitExceeded(f"expected at most {source.limits.atoms} atoms, found {n_atoms}.")
    text = source.data[: (1 << 16) + n_atoms * _BYTES_AN_ATOM]
    titles = [match.span() for match in _TITLE.finditer(text)]
    if len(titles) != len(_TITLES) or not all(
        re.match(title, text[start:]) for title, (start, _) in zip(_TITLES, titles, strict=True)
    ):
        raise ParseError(f"expected {len(_TITLES)} titled parts in order, found others. The file is cut or damaged.")
    if not text.endswith(b"\n"):
        raise ParseError("expected whole lines, found the last one cut.", line=source.line(len(text) - 1))
    ends = [start for start, _ in titles[1:]] + [len(text)]
    _, energy, gradient, atoms = (
        _without_comments(text[start:end]) for (_, start), end in zip(titles, ends, strict=True)
    )
    line = source.line(titles[1][1])
    try:
        labels = [row.split(maxsplit=1) for row in atoms.splitlines()]
        if {len(row) for row in labels} != {2}:
            raise ParseError("expected an atom and its coordinates on a line, found something else.")
        rows = {len(row[1].split()) for row in labels}
        positions = numbers(b" ".join(row[1] for row in labels), 3 * n_atoms).reshape(-1, 3)
        if rows != {3}:
            raise ParseError("expected three coordinates a line, found another count.")
        values: dict[str, Quantity | ArrayLike] = {
            "atomic_numbers": [_atomic_number(row[0]) for row in labels],
            "positions": Quantity(positions, "bohr"),
            "forces": Quantity(-numbers(gradient, 3 * n_atoms).reshape(-1, 3), "hartree/bohr", DECIMALS, sign=-1),
            "energy": Quantity(np.array([number(energy)]), "hartree", DECIMALS),
            "pbc": np.zeros((1, 3), np.int8),
            "source_line": [line],
        }
    except ParseError as error:
        error.line = error.line or line
        raise
    return Printed([n_atoms], values)


def _count(source: Input, titles: list[tuple[int, int]]) -> int:
    """The number of atoms that the file announces."""
    token = source.data[titles[0][1] : titles[0][1] + 200].split(b"#")[0].strip() if titles else b""
    if not re.fullmatch(rb"[1-9]\d{0,8}", token):
        raise ParseError("expected the number of atoms, found none. The file is cut or damaged.", line=1)
    return int(token)


def _without_comments(text: bytes) -> bytes:
    return re.sub(rb"(?m)^[ \t]*#[^\n]*", b"", text).strip()


def _atomic_number(label: bytes) -> int:
    """Z of `8` or `O`."""
    text = label.decode("latin-1")
    known = int(text) if label.isdigit() and len(text) < 4 else ATOMIC_NUMBERS.get(text, 0)
    if not 0 < known < len(ATOMIC_NUMBERS):
        raise ParseError(f"expected an atomic number or a symbol, found {text[:20]!r}.")
    return known


READER = Reader(
    "orca/engrad",
    1,
    ("*.engrad",),
    lambda head: _MAGIC.match(head) is not None,
    read,
    run_of=orca_files.run_of,
    precedence=orca_files.ENGRAD,
)
