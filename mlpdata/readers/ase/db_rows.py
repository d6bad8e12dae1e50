"""Rows of ASE's databases as mappings of ASE's names, from SQLite or from JSON; hostile files end in our own errors.

References:
    ase.db.sqlite (init_statements, blob), ase.db.core (object_to_bytes), ase.db.jsondb of ASE 3.11 to 3.29.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mlpdata.errors import LimitExceeded, ParseError
from mlpdata.readers.archive import Input
from mlpdata.readers.ase.atoms import decoded
from mlpdata.readers.ulm import array_at, parse_json

SQLITE_MAGIC = b"SQLite format 3\0"
OLDEST, NEWEST = 5, 9
"""Versions of the layout that are known; older ones ASE itself asks to convert."""
MAX_VALUE = 256 << 20
"""Bytes of one value: forces of ten million atoms."""
MAX_JSON_FILE = 256 << 20
"""Bytes of a JSON database: ASE rewrites the whole file for every row, so that real ones are small."""
MAX_IN_MEMORY = 1 << 30
"""Bytes of a compressed SQLite file, which has to be held in memory once it is expanded."""

_BLOBS = {
    "numbers": "<i4", "positions": "<f8", "cell": "<f8", "initial_magmoms": "<f8", "initial_charges": "<f8",
    "masses": "<f8", "tags": "<i4", "momenta": "<f8", "forces": "<f8", "stress": "<f8", "dipole": "<f8",
    "magmoms": "<f8", "charges": "<f8",
}  # fmt: skip
"""Columns that hold the bytes of an array, little-endian, and its type."""
_PLAIN = (
    "unique_id", "pbc", "constraints", "calculator", "energy", "free_energy", "magmom", "key_value_pairs", "data",
)  # fmt: skip
_OF_VECTORS = ("positions", "momenta", "forces")
"""Arrays of three numbers an atom."""
_READABLE = {"systems": {"id", *_BLOBS, *_PLAIN}, "information": {"name", "value"}}
"""Tables, and their columns, that a statement may read."""


class Row(NamedTuple):
    """One row, or why it cannot be read."""

    number: int
    """Its id."""
    values: Mapping[str, Any]
    """By ASE's names; arrays in ASE's shapes."""
    fault: str = ""


class Database(NamedTuple):
    """An opened database."""

    calculators: tuple[str, ...]
    """Names of the calculators that gave its numbers, sorted."""
    rows: Iterator[Row]
    """In the order of their ids."""


@contextmanager
def opened(source: Input) -> Iterator[Database]:
    """The database in a file; its rows can be drawn as long as it is open.

    Raises:
        ParseError: no database of ASE, or one whose structure is damaged; also while rows are drawn.
    """
    if is_sqlite(source.head):
        with _sqlite_faults_as_ours(), _connection(source) as connection:
            yield _sqlite_database(connection)
    else:
        yield _json_database(source)


def is_sqlite(head: bytes) -> bool:
    """Whether an SQLite file begins with `head`."""
    return head.startswith(SQLITE_MAGIC)


# -- SQLite


def is_cut(source: Input) -> bool:
    """Whether an SQLite file holds fewer pages than its header counts.

    References:
        https://www.sqlite.org/fileformat.html, 1.3: the count is valid where the numbers at 24 and 92 agree.
    """
    head = source.data[:100]
    size, count = int.from_bytes(head[16:18], "big"), int.from_bytes(head[28:32], "big")
    return head[24:28] == head[92:96] and len(source.data) < (1 << 16 if size == 1 else size) * count


_SQLITE_FAULTS = (sqlite3.Error, sqlite3.Warning, UnicodeDecodeError, MemoryError)
"""What comes of a damaged database: its message may quote damaged names, and lengths may be beyond all memory."""


@contextmanager
def _sqlite_faults_as_ours() -> Iterator[None]:
    try:
        yield
    except _SQLITE_FAULTS as error:
        found = str(error) or "lengths beyond all memory"
        raise ParseError(f"expected a whole SQLite database, found: {found}. The file is damaged or cut.") from error


@contextmanager
def _connection(source: Input) -> Iterator[sqlite3.Connection]:
    """A connection that reads the known columns of known tables and can do nothing else.

    The file is taken as it is: one that a writer is at, or has left behind with a journal, is refused.
    """
    if source.compression is None and isinstance(source.path, Path):
        path = source.path.resolve()
        for left in (Path(f"{path}-journal"), Path(f"{path}-wal")):
            if left.exists() and left.stat().st_size:
                raise ParseError(f"expected a database at rest, found {left.name} beside it. Wait, or let ASE open it.")
        connection = sqlite3.connect(f"{path.as_uri()}?mode=ro&immutable=1", uri=True)
    elif len(source.data) > MAX_IN_MEMORY:
        raise LimitExceeded(
            f"expected at most {MAX_IN_MEMORY} bytes of a compressed or archived database, found more. Expand it first."
        )
    else:
        connection = sqlite3.connect(":memory:")
        connection.deserialize(bytes(source.data[:]))
    with closing(connection):
        connection.text_factory = lambda text: text.decode("utf-8", "replace")
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_VALUE)
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA cell_size_check = ON")
        yield connection


def _sqlite_database(connection: sqlite3.Connection) -> Database:
    """What the tables hold, once they are found to be plain tables of a known version."""
    columns = _columns(connection)
    connection.set_authorizer(_authorize)
    version = connection.execute("SELECT value FROM information WHERE name = 'version'").fetchone()
    if version is None or str(version[0]) not in map(str, range(OLDEST, NEWEST + 1)):
        raise ParseError(f"expected version {OLDEST} to {NEWEST} of a database of ASE, found {str(version)[:40]}.")
    names = connection.execute("SELECT DISTINCT calculator FROM systems").fetchall()
    return Database(
        tuple(sorted(str(name) for (name,) in names if name)),
        _sqlite_rows(connection, columns),
    )


def _columns(connection: sqlite3.Connection) -> list[str]:
    """The known columns that there are.

    Raises:
        ParseError: `systems` or `information` is no plain table; a view or a computed column could be anything.
    """
    found: list[str] = []
    for table, known in _READABLE.items():
        made = connection.execute("SELECT type, sql FROM sqlite_master WHERE name = ?", (table,)).fetchone()
        if made is None or made[0] != "table" or "VIRTUAL" in str(made[1])[:20].upper():
            raise ParseError(f"expected the table {table!r} of a database of ASE, found none.")
        described = connection.execute(f"PRAGMA table_xinfo({table})").fetchall()  # column: id, name, ..., hidden
        if any(column[6] for column in described):
            raise ParseError(f"expected plain columns in {table!r}, found computed ones.")
        found += [column[1] for column in described if table == "systems" and column[1] in known - {"id"}]
    return found


def _authorize(action: int, first: str | None, second: str | None, _database: str | None, within: str | None) -> int:
    """Allow plain reading of known columns of tables: no functions, pragmas, views, triggers, writes."""
    reads = action == sqlite3.SQLITE_READ and second in _READABLE.get(first or "", ())
    allowed = within is None and (reads or action == sqlite3.SQLITE_SELECT)
    return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY


def _sqlite_rows(connection: sqlite3.Connection, columns: list[str]) -> Iterator[Row]:
    """The rows; ids grow, so that pages that point at each other in a circle come to an end."""
    last = None
    with _sqlite_faults_as_ours():
        for number, *values in connection.execute(f"SELECT id, {', '.join(columns)} FROM systems"):  # noqa: S608  known names
            if not isinstance(number, int) or (last is not None and number <= last):
                raise ParseError(f"expected ids that grow, found {str(number)[:20]} after {last}. The file is damaged.")
            last = number
            try:
                row = Row(number, _from_columns(dict(zip(columns, values, strict=True))))
            except ParseError as error:
                row = Row(number, {}, error.message)
            yield row


def _from_columns(columns: Mapping[str, Any]) -> dict[str, Any]:
    """A row as ASE would give it."""
    values = {name: value for name, value in columns.items() if value is not None}
    for name, kind in _BLOBS.items():
        if name in values:
            values[name] = _array(name, values[name], kind)
    if isinstance(bits := values.get("pbc"), int):
        values["pbc"] = [bits >> axis & 1 for axis in range(3)]
    numbers, magmoms = values.get("numbers"), values.get("magmoms")
    if numbers is not None and magmoms is not None and magmoms.size == 3 * numbers.size:
        values["magmoms"] = magmoms.reshape(-1, 3)
    for name in ("key_value_pairs", "data"):
        values[name] = _named(values.get(name))
    return values


def _array(name: str, blob: Any, kind: str) -> NDArray[Any]:
    """The numbers of a column."""
    size = np.dtype(kind).itemsize
    rows = 3 if name in (*_OF_VECTORS, "cell") else 1
    if not isinstance(blob, bytes) or len(blob) % (rows * size) or (name == "cell" and len(blob) != 9 * size):
        raise ParseError(f"expected the bytes of {name}, found {type(blob).__name__} of another length.")
    numbers = np.frombuffer(blob, kind)
    return numbers.reshape(-1, 3) if rows == 3 else numbers


def _named(value: Any) -> dict[str, Any]:
    """Named numbers of a row: JSON, or (from version 9 on) arrays followed by a JSON that points at them.

    Raises:
        ParseError: neither.
    """
    if isinstance(value, bytes):
        offset = int.from_bytes(value[:8], "little", signed=True)
        if not 8 <= offset <= len(value):
            raise ParseError("expected named numbers of a row, found bytes that point beyond their end.")
        found = parse_json(value[offset:])
        return {name: _pointed(one, value) for name, one in found.items()} if isinstance(found, dict) else {}
    found = parse_json(value) if isinstance(value, str) else value
    return {str(name): decoded(one) for name, one in found.items()} if isinstance(found, Mapping) else {}


def _pointed(value: Any, buffer: bytes) -> Any:
    """The array that `{"__ndarray__": [shape, dtype, offset]}` points at; any other value as it is."""
    match value:
        case {"__ndarray__": [list() as shape, str() as dtype, int() as offset]}:
            return array_at("data", [shape, dtype, offset], buffer)
    return value


# -- JSON


def _json_database(source: Input) -> Database:
    """A JSON file; the names of calculators are looked for in its text."""
    if len(source.data) > MAX_JSON_FILE:
        raise LimitExceeded(f"expected at most {MAX_JSON_FILE} bytes of a JSON database, found {len(source.data)}.")
    names = {name.decode("utf-8", "replace") for name in _CALCULATOR.findall(source.data)}
    return Database(tuple(sorted(names)), _json_rows(bytes(source.data[:]).decode("utf-8", "replace")))


_CALCULATOR = re.compile(rb'"calculator": {0,4}"([^"\n]{1,60})"')
_BESIDE_ROWS = {"ids", "nextid", "metadata"}
_SPACE = re.compile(r"\s*+")
_ROW = re.compile(r'[{,]\s{0,100}"(\w{1,40})"\s{0,100}:\s{0,100}')


def _json_rows(text: str) -> Iterator[Row]:
    """The rows, decoded one by one, so that a file that is cut gives those before the cut."""
    decoder = json.JSONDecoder()
    place = 0
    while match := _ROW.match(text, place):
        try:
            found, place = decoder.raw_decode(text, match.end())
        except (ValueError, RecursionError) as error:
            raise ParseError(f"expected a whole row {match[1]!r}, found {str(error)[:80]}. The file is cut.") from error
        if not match[1].isdecimal():
            if match[1] not in _BESIDE_ROWS:
                yield Row(-1, {}, f"expected the number of a row, found {match[1]!r}.")
        elif isinstance(found, dict):
            values = {name: decoded(value) for name, value in found.items()}
            for name in ("key_value_pairs", "data"):
                values[name] = _named(found.get(name))
            yield Row(int(match[1]), values)
        place = _after_space(text, place)
    if text[place : place + 2].strip() != "}":
        raise ParseError("expected the end of the database, found something else. The file is cut or damaged.")


def _after_space(text: str, place: int) -> int:
    """The first place from `place` on that holds no white space."""
    match = _SPACE.match(text, place)
    return match.end() if match else place
