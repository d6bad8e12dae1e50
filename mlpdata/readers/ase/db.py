"""ASE's databases: SQLite files (.db) and JSON (.json), each row an Atoms object with a calculator's results.

As with trajectories the file states neither units nor meaning, so that both are declared (pitfall X3). Named numbers of a
row, its key-value pairs and data, can be declared to be labels.

References:
    https://wiki.fysik.dtu.dk/ase/ase/db/db.html.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain

import numpy as np

from mlpdata.digest import sha256_json
from mlpdata.errors import ParseError
from mlpdata.readers.archive import Input
from mlpdata.readers.ase.atoms import Image, blocks, image, zeroed
from mlpdata.readers.ase.db_rows import Row, is_cut, is_sqlite, opened
from mlpdata.readers.declared import Meaning
from mlpdata.readers.registry import Ending, Header, Printed, Reader, Undeclared
from mlpdata.schema.calculation import LeftOut

_ATOMS = ("numbers", "positions", "cell", "pbc", "momenta", "masses", "tags", "constraints")
_RESULTS = ("energy", "free_energy", "energies", "forces", "stress", "dipole", "magmom", "magmoms", "charges")
_JSON_DATABASE = re.compile(rb'\s{0,20}\{\s{0,20}"\d{1,9}":\s{0,20}\{\s{0,20}"\w{1,40}":')


class _Seen:
    """What has been noticed while rows were drawn."""

    def __init__(self) -> None:
        self.first: object = None
        """Name of the first row, which no other row of the world has."""
        self.left_out: list[LeftOut] = []
        self.fault = ""
        """Why no further row could be read."""


def read(source: Input) -> Iterator[Header | Printed | Undeclared | Ending]:
    """The rows of a database as one run.

    Raises:
        ParseError: no database of ASE.
    """
    meaning, seen = Meaning(source.declared), _Seen()
    with opened(source) as database:
        found = blocks(_images(database.rows, source.limits.atoms, seen), meaning, seen.left_out, "row")
        block = next(found, None)
        code = ", ".join(database.calculators) or "unknown"
        header = meaning.header(sha256_json({"first": str(seen.first)}), code)
        yield header._replace(forces_are="zeroed_on_fixed" if block and zeroed(block) else "physical")
        yield from chain([block] if block else [], found)
    if len(database.calculators) > 1:
        meaning.warn(f"rows of several calculators: {code}")
    if not seen.fault and is_sqlite(source.head) and is_cut(source):
        seen.fault = "expected as many pages as the database counts, found fewer. The file is cut."
    yield meaning.ending("truncated" if seen.fault else "complete", seen.fault, tuple(seen.left_out))


def _images(rows: Iterator[Row], limit: int, seen: _Seen) -> Iterator[Image]:
    """The images of the rows that can be read."""
    try:
        for row in rows:
            seen.first = seen.first or row.values.get("unique_id")
            try:
                yield _image(row, limit)
            except ParseError as error:
                seen.left_out.append(LeftOut(line=max(row.number, 0), reason=f"row {row.number}: {error.message}"))
    except ParseError as error:
        seen.fault = error.message
        seen.left_out.append(LeftOut(line=0, reason=f"this row and those behind it: {error.message}"))


def _image(row: Row, limit: int) -> Image:
    """The image of a row; named numbers that are called as a result is are no result."""
    if row.fault:
        raise ParseError(row.fault)
    atoms = {name: row.values.get(name) for name in _ATOMS}
    atoms["magmoms"] = row.values.get("initial_magmoms")
    atoms["cell"] = np.zeros((3, 3)) if atoms["cell"] is None else atoms["cell"]
    atoms["pbc"] = np.zeros(3) if atoms["pbc"] is None else atoms["pbc"]
    named = {**row.values.get("data", {}), **row.values.get("key_value_pairs", {})}
    results = {name: row.values[name] for name in _RESULTS if row.values.get(name) is not None}
    for name, value in (*atoms.items(), *results.items(), *named.items()):
        if _is_undecoded(value):
            raise ParseError(f"expected an array as {name}, found one whose shape or numbers are damaged.")
    return image(row.number, atoms, {**named, **results}, limit)


def _is_undecoded(value: object) -> bool:
    """Whether a value spells an array of numbers that does not make one."""
    match value:
        case {"__ndarray__": [_, str() as kind, *_]}:
            return kind.startswith(("float", "int", "uint", "bool"))
    return isinstance(value, dict) and "__ndarray__" in value


def _is_database(head: bytes) -> bool:
    """Whether a database of ASE begins with `head`."""
    if is_sqlite(head):
        return b"CREATE TABLE systems" in head
    return _JSON_DATABASE.match(head) is not None and b'"numbers"' in head


READER = Reader("ase/db", 1, ("*.db",), _is_database, read)
