"""Mutations that keep a format mostly whole: of lines and numbers, of JSON, of HDF5, SQLite and ULM containers."""

from __future__ import annotations

import io
import json
import re
import sqlite3
import struct
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import h5py
import numpy as np

NUMBER = re.compile(rb"[-+]?\d+(?:\.\d*)?(?:[eEdD][-+]?\d+)?")
WORD = re.compile(rb"[A-Za-z_][\w-]{2,30}")
ODD_NUMBERS = (
    b"0", b"1", b"2", b"-1", b"3", b"9", b"13", b"200", b"99999", b"1000000000", b"99999999999999999999", b"NaN", b"-0.0",
    b"1E400", b"1e308", b"1e-320", b"****", b"**********", b"0.0", b"1.5", b"-76.1234567", b"0.5-0.5", b"1.0D+00", b"",
)  # fmt: skip
ODD_VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 9, 300, 10**12, 10**20, 1e300, -0.5, 0.25, float("nan"), float("inf"), "", "x", "H",
    "PBE", [], {}, [1, 2, 3], [0.0], [[1.0, 2.0, 3.0]], [[1, 0, 0], [0, 1, 0], [0, 0, 1]], {"a": 1}, "\x00", "é", "1.5",
)  # fmt: skip


class Mutator:
    """Draws mutations of one target's inputs.

    Args:
        headings: words of the format, as its reader spells them.
        pool: other inputs of the format, of which lines are taken.
        sound: inputs that are undamaged: HDF5's library may crash at others, here as in a reader.
        any_bytes: a mutation that knows no format, bytes and bound to bytes.
    """

    def __init__(
        self,
        headings: Sequence[bytes],
        pool: Sequence[bytes],
        sound: Sequence[bytes],
        any_bytes: Callable[[bytes, int], bytes],
    ) -> None:
        self.headings, self.any_bytes, self._sound = headings, any_bytes, set(map(hash, sound))
        self.pool = [content.splitlines(keepends=True) for content in pool if content and b"\x00" not in content[:512]]
        self.pool.append([b"\n"])

    def __call__(self, content: bytes, limit: int, seed: int) -> bytes:
        """A mutated copy of `content` of at most `limit` bytes."""
        draw = Random(seed)
        if draw.random() < 0.2:
            return self.any_bytes(content, limit)
        for _ in range(draw.choice((1, 1, 1, 2, 2, 4))):
            content = self._one(content, draw)
        return content[:limit]

    def _one(self, content: bytes, draw: Random) -> bytes:
        try:
            if content.startswith(b"\x89HDF"):
                return self._hdf5(content, draw)
            if content.startswith(b"SQLite format 3"):
                return mutated_sqlite(content, draw)
            if content.startswith((b"- of Ulm", b"AFFormat")):
                return mutated_ulm(content, draw)
            if content[:1] == b"{" and draw.random() < 0.7:
                return mutated_json(content, draw)
        except Exception:  # noqa: BLE001  a container that is damaged already: no format is left to keep
            return self.any_bytes(content, len(content) + 16)
        return self._text(content, draw)

    def _hdf5(self, content: bytes, draw: Random) -> bytes:
        if hash(content) not in self._sound:
            return self.any_bytes(content, len(content) + 16)
        new = mutated_hdf5(content, draw)
        self._sound.add(hash(new))
        return new

    def _text(self, content: bytes, draw: Random) -> bytes:
        if draw.random() < 0.4:
            return self._token(content, draw)
        lines = content.splitlines(keepends=True) or [b"\n"]
        at = draw.randrange(len(lines))
        end = min(len(lines), at + draw.choice((1, 1, 1, 2, 3, 5, 10, 40)))
        to = draw.randrange(len(lines))
        other = draw.choice(self.pool)
        there = draw.randrange(len(other))
        taken = other[there : there + draw.choice((1, 1, 2, 4, 8, 16, 60))]
        edits: tuple[Callable[[], list[bytes]], ...] = (
            lambda: lines[:at] + lines[end:],
            lambda: lines[:end] + lines[at:],
            lambda: lines[:at] + lines[end:to] + lines[at:end] + lines[max(end, to) :],
            lambda: lines[:at],
            lambda: [*lines[:at], lines[at][: draw.randrange(len(lines[at]) + 1)]],
            lambda: lines[:at] + taken + lines[at:],
            lambda: lines[:at] + taken + lines[end:],
            lambda: lines[:at] + other[there:],
            lambda: [*lines[:at], draw.choice(self.headings) + b"\n", *lines[at:]],
            lambda: [*lines[:at], b"\n", *lines[at:]],
        )
        return b"".join(draw.choice(edits)())

    def _token(self, content: bytes, draw: Random) -> bytes:
        numbers = draw.random() < 0.6
        start = draw.randrange(len(content) + 1)
        found = (NUMBER if numbers else WORD).search(content, start) or (NUMBER if numbers else WORD).search(content)
        if found is None:
            return content + draw.choice(self.headings)
        new = draw.choice(ODD_NUMBERS) if numbers else draw.choice(self.headings)
        if numbers and draw.random() < 0.3:
            new = b"%d" % draw.randrange(40)
        if draw.random() < 0.5:
            new = new.rjust(len(found[0]))[: max(len(new), len(found[0]))]
        return content[: found.start()] + new + content[found.end() :]


def mutated_json(content: bytes, draw: Random) -> bytes:
    """JSON with one value replaced, taken away, moved or put in."""
    root = json.loads(content)
    places: list[tuple[Any, Any]] = []
    _collect(root, places)
    holder, key = draw.choice(places) if places else ([root], 0)
    what = draw.random()
    if what < 0.25:
        del holder[key]
    elif what < 0.4:
        other, name = draw.choice(places)
        holder[key] = other[name] if not isinstance(other[name], dict | list) else json.loads(json.dumps(other[name]))
    elif what < 0.55 and isinstance(holder[key], int | float):
        holder[key] = draw.choice((holder[key] + 1, -holder[key], holder[key] * 0.5, holder[key] - 1))
    elif what < 0.65 and isinstance(holder[key], list):
        holder[key] = holder[key] * 2 if draw.random() < 0.5 else [holder[key]]
    elif what < 0.7 and isinstance(holder, dict):
        holder[draw.choice(("energy", "forces", "x", "cell", "."))] = holder[key]
    else:
        holder[key] = draw.choice(ODD_VALUES)
    return json.dumps(root).encode()


def _collect(value: Any, places: list[tuple[Any, Any]]) -> None:
    keys = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in list(keys)[:500]:
        places.append((value, key))
        _collect(value[key], places)


def mutated_ulm(content: bytes, draw: Random) -> bytes:
    """A ULM file with the JSON of one item changed and put behind all else, or a bit of its arrays flipped."""
    _, n_items, table = struct.unpack_from("<3q", content, 24)
    if not 0 < n_items < 1000 or draw.random() < 0.15:
        at = draw.randrange(len(content))
        return content[:at] + bytes([content[at] ^ (1 << draw.randrange(8))]) + content[at + 1 :]
    item = draw.randrange(n_items)
    (offset,) = struct.unpack_from("<q", content, table + 8 * item)
    (length,) = struct.unpack_from("<q", content, offset)
    new = mutated_json(content[offset + 8 : offset + 8 + length], draw)
    record = struct.pack("<q", len(new)) + new
    if offset + 8 + length == len(content):
        return content[:offset] + record
    moved = bytearray(content)
    struct.pack_into("<q", moved, table + 8 * item, len(content))
    return bytes(moved) + record


def mutated_sqlite(content: bytes, draw: Random) -> bytes:
    """A database with one value of its table of systems changed, a row or a table gone."""
    database = sqlite3.connect(":memory:")
    try:
        database.deserialize(content)
        tables = [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        table = "systems" if draw.random() < 0.8 else draw.choice(tables)
        columns = [row[1] for row in database.execute(f"PRAGMA table_info({table})")]
        column = draw.choice(columns)
        what = draw.random()
        if what < 0.06:
            database.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
        elif what < 0.1:
            database.execute(f"DROP TABLE {table}")
        elif what < 0.15:
            database.execute(f"DELETE FROM {table} WHERE rowid = 1")
        else:
            (old,) = database.execute(f"SELECT {column} FROM {table}").fetchone() or (None,)
            database.execute(f"UPDATE {table} SET {column} = ?", (_odd_cell(old, draw),))
        database.commit()
        return database.serialize()
    finally:
        database.close()


def _odd_cell(old: Any, draw: Random) -> Any:
    if isinstance(old, str) and old[:1] in "{[" and draw.random() < 0.8:
        return mutated_json(old.encode(), draw).decode()
    if isinstance(old, bytes) and old and draw.random() < 0.8:
        if draw.random() < 0.5:
            return old[: draw.randrange(len(old))]
        values = bytearray(old)
        values[draw.randrange(len(values))] = draw.randrange(256)
        return bytes(values)
    return draw.choice((None, 0, 1, -1, 3, 1e300, 0.5, "", "x", "{}", "[]", '{"a": 1}', b"", b"\x00" * 24, b"x"))


def mutated_hdf5(content: bytes, draw: Random) -> bytes:
    """An HDF5 file with one dataset, group or attribute changed."""
    file = io.BytesIO(content)
    with h5py.File(file, "r+") as root:
        names: list[str] = []
        root.visit(names.append)
        name = draw.choice(names)
        what, old = draw.random(), root[name]
        if what < 0.2:
            del root[name]
        elif what < 0.3:
            root.copy(draw.choice(names), draw.choice(names) + "x" * draw.randrange(2))
        elif isinstance(old, h5py.Dataset):
            value = _odd_dataset(old, draw)
            del root[name]
            root[name] = value
        else:
            del root[name]
            root[name] = draw.choice((1, 1.5, b"x", [1.0, 2.0]))
    repacked = io.BytesIO()
    with h5py.File(file, "r") as root, h5py.File(repacked, "w", libver="latest") as fresh:
        for name in root:
            root.copy(name, fresh)
    return repacked.getvalue()


def _odd_dataset(old: h5py.Dataset, draw: Random) -> Any:
    value = old[()]
    if isinstance(value, bytes | str):
        return _odd_text(value if isinstance(value, bytes) else value.encode(), draw)
    return _odd_array(np.array(value), draw)


def _odd_text(text: bytes, draw: Random) -> Any:
    what = draw.random()
    if text[:1] == b"{" and what < 0.6:
        return mutated_json(text, draw)
    if what < 0.8 and (found := NUMBER.search(text, draw.randrange(len(text) + 1)) or NUMBER.search(text)):
        return text[: found.start()] + draw.choice(ODD_NUMBERS) + text[found.end() :]
    return draw.choice((b"", b"x", b"PE", b"PBE", b"\xff", 1, 2.5, text[: draw.randrange(len(text) + 1)]))


def _odd_array(array: np.ndarray[Any, Any], draw: Random) -> Any:
    what = draw.random()
    if array.dtype.kind in "fiu" and array.size and what < 0.65:
        odd = (0, 1, 2, 3, 5, 13, 100, 120) if what < 0.5 or array.dtype.kind != "f" else (np.nan, np.inf, 1e300, -1.0)
        array.reshape(-1)[draw.randrange(array.size)] = draw.choice(odd)
        return array
    if array.ndim and what < 0.85:
        axis = draw.randrange(array.ndim)
        return draw.choice((array[:0], array[:1], array[:-1], array[0], np.repeat(array, 2, axis), array[None]))
    return draw.choice((array.astype("S8"), b"text", 0, -1, 7, 1.5, array.T if array.ndim else 3, np.zeros((2, 3)), []))
