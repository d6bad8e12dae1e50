"""Scan: what each file of a tree is, remembered by size, time and inode, so that nothing is read twice.

The memory is an SQLite file beside the store. It may be deleted at any time: it holds only what can be found out again,
and a row whose checksum is wrong is no row. A file that changed within the tick of the clock at which it was looked at
is looked at again.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from mlpdata.digest import sha256_file, sha256_json
from mlpdata.errors import InputError, NotRecognised, Unavailable
from mlpdata.layouts import MAX_MARK_BYTES, is_mark, origin
from mlpdata.outcome import Refused
from mlpdata.reaction_paths import may_state, statement_of
from mlpdata.readers.archive import open_head
from mlpdata.readers.members import Entry, Index, PassedOver, index, is_archive
from mlpdata.readers.place import Belonging, Member, Place
from mlpdata.readers.registry import readers, recognise_file
from mlpdata.tree import Entry as FileEntry
from mlpdata.tree import Folder, not_readable

CACHE = "scan.sqlite"
TICK_NS = 2_000_000_000
"""Coarsest clock of a file system: what is younger may change once more without a trace."""
BATCH = 1000
"""Rows that a killed process may forget."""
_TABLES = """
CREATE TABLE IF NOT EXISTS folders (path TEXT PRIMARY KEY, crc INTEGER NOT NULL, found TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS refusals (key TEXT PRIMARY KEY, crc INTEGER NOT NULL, found TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS made_with (readers TEXT NOT NULL);
"""
_IN_THE_WAY = (
    sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR,
)  # fmt: skip
"""Errors that say nothing against the file: another process, the disk, permissions."""
_FOLDER = "INSERT OR REPLACE INTO folders VALUES (?, ?, ?)"
_REFUSAL = "INSERT OR REPLACE INTO refusals VALUES (?, ?, ?)"


class Seen(NamedTuple):
    """What is known of a file without reading it again."""

    reader: str = ""
    """Empty where no reader knows it."""
    run: str = ""
    """What it shares with the other files of its run; empty where it stands for itself."""
    precedence: int = 0
    belonging: Belonging = Belonging()
    """Which files beside it hold a part of its run."""
    sha256: str = ""
    """Of the stored bytes; empty for files that are neither output nor companion."""
    error: tuple[str, ...] = ()
    """Code and message, where it cannot be opened."""
    tags: Mapping[str, str] = {}
    """What a file of a workflow tool says of all runs in its folder."""
    images: str = ""
    """In an archive: what it says of a reaction path, as `reaction_paths.statement_of` gives it."""

    def refusal(self) -> InputError:
        """The error, as it was raised."""
        code, message = self.error
        error = InputError(message)
        error.code = code
        return error


class Cache:
    """What was found out of files and outputs before.

    Args:
        path: the file; None remembers nothing beyond this object.
        read_only: look up what is there and keep nothing.
    """

    def __init__(self, path: Path | None, *, read_only: bool = False) -> None:
        self._database = _opened_to_read(path) if read_only else _opened(path)
        self._file = None if read_only else path
        self._is_damaged = False
        self._new: dict[str, list[tuple[str, int, str]]] = {_FOLDER: [], _REFUSAL: []}

    def folder(self, path: Path) -> dict[str, Any]:
        """What was found in a folder: entries and `Seen` by name of the file."""
        return self._row("SELECT crc, found FROM folders WHERE path = ?", _key(path))

    def remember_folder(self, path: Path, found: dict[str, Any]) -> None:
        """Keep what was found in a folder."""
        self._write(_FOLDER, _key(path), found)

    def refusal(self, name: str, key: str) -> Refused | None:
        """Why an output could not be read when it was tried; None where it was not.

        Args:
            name: of the output.
            key: digest of all that reading it depends on.
        """
        found = self._row("SELECT crc, found FROM refusals WHERE key = ?", key)
        return Refused(name, found["line"], found["code"], found["reason"]) if found else None

    def remember_refusal(self, key: str, refused: Refused) -> None:
        """Keep why an output cannot be read."""
        found = {"line": refused.line, "code": refused.code, "reason": refused.reason}
        self._write(_REFUSAL, key, found)

    def tree(self) -> Path | None:
        """The tree that was synced last."""
        found = self._row("SELECT crc, found FROM folders WHERE path = ?", "")
        return Path(found["tree"]) if found else None

    def remember_tree(self, path: Path) -> None:
        """Keep which tree is synced."""
        self._write(_FOLDER, "", {"tree": str(path)})

    def keep(self) -> None:
        """Write what is new, in one short transaction: others may use the file while outputs are read.

        A cache that cannot be written costs time only.
        """
        with self._noting_damage(), self._database:
            for statement, rows in self._new.items():
                self._database.executemany(statement, rows)
        for rows in self._new.values():
            rows.clear()

    def close(self) -> None:
        """Keep what is new and end; a damaged file goes, so that the next one is whole."""
        self.keep()
        self._database.close()
        if self._is_damaged and self._file is not None:
            _remove(self._file)

    def _row(self, question: str, key: str) -> dict[str, Any]:
        with self._noting_damage(), suppress(ValueError):
            row = self._database.execute(question, (_text(key),)).fetchone()
            if row is not None and row[0] == zlib.crc32(row[1].encode()):
                found: dict[str, Any] = json.loads(row[1])
                return found
        return {}

    @contextmanager
    def _noting_damage(self) -> Iterator[None]:
        """A file that is locked or may not be written is as good as none for the moment; a damaged one stays damaged."""
        try:
            yield
        except sqlite3.OperationalError:
            pass
        except sqlite3.DatabaseError:
            self._is_damaged = True

    def _write(self, statement: str, key: str, found: dict[str, Any]) -> None:
        text = json.dumps(found, separators=(",", ":"))
        self._new[statement].append((_text(key), zlib.crc32(text.encode()), text))
        if len(self._new[statement]) >= BATCH:
            self.keep()


def _key(path: Path) -> str:
    """The same for a folder whichever way it was named."""
    return os.path.abspath(path)  # noqa: PTH100  Path.absolute keeps ..


def _text(key: str) -> str:
    """A key that SQLite takes: names that are no UTF-8 hold lone surrogates."""
    return key.encode("utf-8", "backslashreplace").decode()


@contextmanager
def cache_at(path: Path | None, *, read_only: bool = False) -> Iterator[Cache]:
    """A cache, closed when the block ends."""
    with closing(Cache(path, read_only=read_only)) as cache:
        yield cache


def _opened(path: Path | None) -> sqlite3.Connection:
    """The database; a new one where the file is damaged or was made with other readers, none on disk where it cannot be."""
    database = None if path is None else _opened_on_disk(path)
    return _prepared(sqlite3.connect(":memory:")) if database is None else database


def _opened_on_disk(path: Path) -> sqlite3.Connection | None:
    """The database in a file, which is made anew where it is damaged; none where it cannot be used for the moment."""
    for _ in range(2):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            return _prepared(sqlite3.connect(path, timeout=5))
        except OSError:
            return None
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in _IN_THE_WAY:
                return None
            _remove(path)
    return None


def _remove(path: Path) -> None:
    """Remove a database and the journal of a transaction that did not end: it would be rolled back into the next one."""
    for file in (path.with_name(f"{path.name}-journal"), path):
        with suppress(OSError):
            file.unlink()


def _opened_to_read(path: Path | None) -> sqlite3.Connection:
    """The database, which refuses to be written; an empty one where there is none that can be used."""
    if path is not None and path.is_file():
        with suppress(sqlite3.Error):
            database = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=5)
            if database.execute("SELECT readers FROM made_with").fetchall() == [(_readers(),)]:
                return database
    return _opened(None)


def _readers() -> str:
    """Digest of the readers that give what is remembered, and of how it is written."""
    form = [_TABLES, Seen._fields, Belonging._fields, _MEMBER]
    return sha256_json([form, *([reader.name, reader.version] for reader in readers())])


def _prepared(database: sqlite3.Connection) -> sqlite3.Connection:
    database.executescript(_TABLES)
    now = _readers()
    if database.execute("SELECT readers FROM made_with").fetchall() != [(now,)]:
        for rows in ("folders WHERE path != ''", "refusals", "made_with"):  # which tree was synced last stays true
            database.execute(f"DELETE FROM {rows}")  # noqa: S608  names of our own
        database.execute("INSERT INTO made_with VALUES (?)", (now,))
        database.commit()
    return database


def seen(folder: Folder, cache: Cache) -> dict[str, Seen]:
    """What each file of a folder is; only what is new or changed since it was last looked at is opened.

    Args:
        folder: from `tree.folders`.
        cache: what was found before.
    """
    before = cache.folder(folder.path)
    found, kept, changed = {}, {}, len(before) != len(folder.entries)
    settled = time.time_ns() - TICK_NS
    for entry in folder.entries:
        place, old = [*entry[1:]], before.get(entry.name)
        if old is not None and old[0] == place:
            found[entry.name] = _read_back(old[1])
        else:
            found[entry.name], changed = look(folder.path / entry.name), True
        if entry.mtime_ns < settled and not found[entry.name].error:  # permissions and disks are mended without a trace
            kept[entry.name] = (place, found[entry.name])
    for name in _companions(found):
        found[name], changed = found[name]._replace(sha256=sha256_of(folder.path / name)), True
        if name in kept:
            kept[name] = (kept[name][0], found[name])
    if changed:
        cache.remember_folder(folder.path, kept)
    return found


def _read_back(row: list[Any]) -> Seen:
    """A row of the cache as it was written."""
    reader, run, precedence, (names, pattern, anchor), sha256, error, tags, images = row
    belonging = Belonging(tuple(names), pattern, anchor)
    return Seen(reader, run, precedence, belonging, sha256, tuple(error), tags, images)


def _companions(found: dict[str, Seen]) -> set[str]:
    """Files that outputs beside them need and whose digest is not known yet."""
    needed = {name for one in found.values() if one.belonging for name in one.belonging.among(found)}
    return {name for name in needed if not found[name].sha256 and not found[name].error}


def look(path: Path) -> Seen:
    """Open a file: its reader, its run, its digest, or what it says of its folder. `members` tells what archives hold."""
    if is_archive(path.name):
        return Seen()  # the head of a compressed one may look like the output that comes first in it
    try:
        if is_mark(path.name) and path.is_file():
            with path.open("rb") as file:
                return Seen(tags=origin([], [], {path.name: file.read(MAX_MARK_BYTES + 1)}))
        known = _recognised(path)
        return known._replace(sha256=sha256_file(path)) if known.reader else known
    except OSError as error:
        return Seen(error=(Unavailable.code, not_readable(error).message))


def _recognised(place: Place) -> Seen:
    """What the first bytes of a file tell."""
    try:
        known = recognise_file(place)
    except NotRecognised:
        return Seen()
    except InputError as error:
        return Seen(error=(error.code, error.message))
    return Seen(known.reader.name, known.run or "", known.reader.precedence, known.belonging)


def _look_at_member(member: Member) -> Seen:
    """What the first bytes of a member tell."""
    if is_mark(member.name) and isinstance(member.content, bytes):
        return Seen(tags=origin([], [], {member.name: member.content}))
    known = _recognised(member)
    if may_state(member.name):
        with suppress(InputError), open_head(member) as source:
            return known._replace(images=statement_of(source.head))
    return known


def members(path: Path, entry: FileEntry, cache: Cache) -> Index[Seen]:
    """What an archive holds; it is read through only where it is new or changed.

    Raises:
        InputError: no archive, or damaged so that nothing can be told.
        LimitExceeded: larger than an archive may be.
    """
    place = [*entry[1:]]
    before = cache.folder(path)
    if before.get("place") == place:
        return _index_read_back(before)
    found = index(path, _look_at_member)
    if entry.mtime_ns < time.time_ns() - TICK_NS:
        rows = [[getattr(one, name) for name in _MEMBER] for one in found.entries.values()]
        cache.remember_folder(
            path, {"place": place, "members": rows, "passed_over": found.passed_over, "fault": found.fault}
        )
    return found


_MEMBER = ("path", "number", "size", "mtime", "sha256", "seen", "cut", "fault", "symlink")


def _index_read_back(before: dict[str, Any]) -> Index[Seen]:
    """What an archive holds, as it was written to the cache."""
    entries = {}
    for row in before["members"]:
        one = dict(zip(_MEMBER, row, strict=True))
        entries[one["path"]] = Entry(**{**one, "seen": None if one["seen"] is None else _read_back(one["seen"])})
    return Index(entries, tuple(PassedOver(*one) for one in before["passed_over"]), before["fault"])


def sha256_of(path: Path) -> str:
    """Digest of a file; empty where it cannot be read."""
    try:
        return sha256_file(path)
    except OSError:
        return ""
