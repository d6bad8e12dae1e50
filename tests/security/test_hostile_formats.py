"""Hostile XML, HDF5 and SQLite: entities, depth, links to other files, arrays that swell, code in a database."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
from hostile import SECONDS, SECRET, Fixture, complaints, fixtures, in_bounds, read_whole, refuse, seconds

from mlpdata.readers.archive import open_input
from mlpdata.testing import damage
from mlpdata.testing.readings import difference, read

pytestmark = pytest.mark.no_cover  # thousands of readings: traced they would take minutes

# -- XML

XML_TRICKS: dict[str, Callable[[str], str]] = {
    "a file": lambda path: f'<!DOCTYPE a [<!ENTITY x SYSTEM "file://{path}">]>',
    "a network address": lambda _: '<!DOCTYPE a [<!ENTITY x SYSTEM "http://127.0.0.1:9/x">]>',
    "a parameter": lambda path: f'<!DOCTYPE a [<!ENTITY % p SYSTEM "file://{path}"> %p; <!ENTITY x "1.0">]>',
    "laughter": lambda _: (
        "<!DOCTYPE a [<!ENTITY a '" + "1 " * 50 + "'>"
        + "".join(f"<!ENTITY {chr(98 + n)} '{f'&{chr(97 + n)};' * 50}'>" for n in range(8)) + "<!ENTITY x '&i;'>]>"
    ),
    "growth": lambda _: f"<!DOCTYPE a [<!ENTITY x '{'1 ' * 100_000}'>]>",
    "a definition elsewhere": lambda path: f'<!DOCTYPE a SYSTEM "{path}">',
}  # fmt: skip
XML_READERS = ("vasp/xml", "espresso/xml")


@pytest.mark.parametrize("trick", XML_TRICKS)
@pytest.mark.parametrize("fixture", fixtures(of=XML_READERS))
def test_entities_in_any_element_are_never_resolved(fixture: Fixture, trick: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(SECRET)
    specimen = fixture.specimen()
    text = specimen.files[fixture.path].decode("latin-1")
    end = text.index("?>") + 2
    elements = [match.start(1) for match in re.finditer(r">([^<>]*\d[^<>]*)<", text)]

    def tried() -> Iterator[str]:
        for place in damage.sampled(elements, 12):
            copy = text[:end] + XML_TRICKS[trick](str(tmp_path / "secret")) + text[end:place] + "&x;" + text[place:]
            yield from complaints(specimen, fixture.path, copy.encode("latin-1"), place, from_elsewhere=True)

    refuse(in_bounds(tried))


@pytest.mark.parametrize("what", [b"<a>" * 300_000, b"<a " + b" ".join(b'b%d="1"' % n for n in range(100_000)) + b">"])
@pytest.mark.parametrize("fixture", fixtures(of=XML_READERS, first=True))
def test_xml_of_many_levels_or_attributes_is_refused(fixture: Fixture, what: bytes) -> None:
    specimen = fixture.specimen()
    content = specimen.files[fixture.path]
    places = [match.end() for match in re.finditer(rb">\s*\n", content)]

    def tried() -> Iterator[str]:
        for place in damage.sampled(places, 8):
            yield from complaints(specimen, fixture.path, content[:place] + what + content[place:], place)

    refuse(in_bounds(tried))


# -- HDF5

Trick = Callable[[h5py.File, str, Path], None]


def _replaced(make: Callable[[h5py.File, str, Path, np.ndarray], None]) -> Trick:
    def trick(file: h5py.File, name: str, elsewhere: Path) -> None:
        values = np.asarray(file[name][()])
        with h5py.File(elsewhere, "w") as other:
            other["x"] = values + 1 if values.dtype.kind in "fi" else file[name][()]
        del file[name]
        make(file, name, elsewhere, values)

    return trick


def _raw(file: h5py.File, name: str, elsewhere: Path, values: np.ndarray) -> None:
    raw = elsewhere.with_suffix(".raw")
    raw.write_bytes((values + 1).tobytes() if values.dtype.kind in "fi" else b"\0" * max(1, values.nbytes))
    file.create_dataset(name, values.shape, values.dtype, external=[(str(raw), 0, raw.stat().st_size)])


def _virtual(file: h5py.File, name: str, elsewhere: Path, values: np.ndarray) -> None:
    layout = h5py.VirtualLayout(values.shape, values.dtype)
    layout[...] = h5py.VirtualSource(str(elsewhere), "x", values.shape)
    file.create_virtual_dataset(name, layout)


H5_TRICKS: dict[str, Trick] = {
    "a link to another file": _replaced(lambda f, n, e, _: f.__setitem__(n, h5py.ExternalLink(str(e), "x"))),
    "a link to itself": _replaced(lambda f, n, _, __: f.__setitem__(n, h5py.SoftLink(f"/{n}"))),
    "numbers in another file": _replaced(lambda f, n, e, v: _raw(f, n, e, v) if v.shape else None),
    "a view of another file": _replaced(lambda f, n, e, v: _virtual(f, n, e, v) if v.shape else None),
    "10^12 rows": _replaced(lambda f, n, _, __: f.create_dataset(n, (10**12, 3), "f8", chunks=(1000, 3)) and None),
    "10^12 numbers": _replaced(lambda f, n, _, __: f.create_dataset(n, (10**12,), "f8", chunks=(1000,)) and None),
    "a bomb": _replaced(
        lambda f, n, _, __: (
            f.create_dataset(n, (1 << 22,), "f8", chunks=(1 << 20,), compression="gzip", data=np.zeros(1 << 22))
            and None
        )
    ),
    "a group": _replaced(lambda f, n, _, __: f.create_group(n) and None),
    "a group in a circle": _replaced(lambda f, n, _, __: f.__setitem__(n, f["/"])),
    "strings": _replaced(lambda f, n, _, v: f.create_dataset(n, data=np.full(v.shape or (1,), b"x" * 100)) and None),
    "one number": _replaced(lambda f, n, _, __: f.create_dataset(n, data=1.0) and None),
    "no number": _replaced(lambda f, n, _, __: f.create_dataset(n, (0,), "f8") and None),
    "nothing": _replaced(lambda f, n, _, __: f.create_dataset(n, data=h5py.Empty("f8")) and None),
    "complex numbers": _replaced(lambda f, n, _, v: f.create_dataset(n, data=np.full(v.shape or (1,), 1j)) and None),
    "records": _replaced(lambda f, n, _, v: f.create_dataset(n, data=np.zeros(v.shape or (1,), "i4,f8")) and None),
}


def _paths(file: h5py.File) -> list[str]:
    found: list[str] = []
    file.visititems(lambda name, one: found.append(name) if isinstance(one, h5py.Dataset) else None)
    return found


@pytest.mark.parametrize("trick", H5_TRICKS)
@pytest.mark.parametrize("fixture", fixtures(text=False, of=("vasp/h5", "pyscf/chk")))
def test_hdf5_that_reaches_out_or_swells_is_refused(fixture: Fixture, trick: str, tmp_path: Path) -> None:
    specimen = fixture.specimen()
    reaches_out = "another file" in trick
    copies = {}
    with h5py.File(fixture.path) as file:
        names = _paths(file)
    for number, name in enumerate(damage.sampled(names, 6)):
        path = tmp_path / "copy.h5"
        path.write_bytes(specimen.files[fixture.path])
        with h5py.File(path, "r+") as file:
            H5_TRICKS[trick](file, name, tmp_path / f"elsewhere{number}.h5")
        copies[name] = path.read_bytes()

    def tried() -> Iterator[str]:
        for name, copy in copies.items():
            yield from complaints(specimen, fixture.path, copy, name, from_elsewhere=reaches_out)
            stored = tmp_path / "stored"
            stored.write_bytes(copy)
            with open_input(stored) as source:  # a reader may take another way to a file that is not compressed
                if difference(specimen.whole, read(fixture.reader, source)).wrong and reaches_out:
                    yield f"{name}: read from elsewhere"

    refuse(in_bounds(tried))


# -- SQLite

ENDLESS = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c)"
SQL_TRICKS = {
    "an endless view": "ALTER TABLE systems RENAME TO hidden; CREATE VIEW systems AS "
    f"{ENDLESS} SELECT hidden.* FROM hidden, c",
    "a view": "ALTER TABLE systems RENAME TO hidden; CREATE VIEW systems AS SELECT * FROM hidden",
    "a virtual table": "ALTER TABLE systems RENAME TO hidden; CREATE VIRTUAL TABLE systems USING fts5(numbers, positions)",
    "a computed column": "ALTER TABLE systems ADD COLUMN swollen AS (zeroblob(1000000000))",
    "an index of a function": "CREATE INDEX odd ON systems(hex(zeroblob(length(numbers) * 1000)))",
    "a trigger": "CREATE TRIGGER odd AFTER INSERT ON systems BEGIN SELECT hex(zeroblob(1000000000)); END",
}


@pytest.mark.parametrize("trick", SQL_TRICKS)
@pytest.mark.parametrize("fixture", fixtures(text=False, of=["ase/db"], first=True))
def test_a_database_with_code_in_it_runs_none(fixture: Fixture, trick: str, tmp_path: Path) -> None:
    path = tmp_path / "copy.db"
    path.write_bytes(fixture.path.read_bytes())
    connection = sqlite3.connect(path)
    connection.executescript(SQL_TRICKS[trick])
    connection.commit()
    connection.close()

    def tried() -> Iterator[str]:
        taken = seconds(lambda: read_whole(path), SECONDS)
        if taken >= SECONDS:
            yield f"{taken:.2f} s"

    refuse(in_bounds(tried))


VALUES = (None, "x", -1, 10**18, 1e308, b"", b"1234567", b"\xff" * 24, "[" * 100_000, '{"a": ' * 50_000, b"\0" * 4096)


@pytest.mark.parametrize("fixture", fixtures(text=False, of=["ase/db"], first=True))
def test_any_value_in_any_column_is_read_or_refused(fixture: Fixture, tmp_path: Path) -> None:
    specimen = fixture.specimen()
    path = tmp_path / "copy.db"
    copies = []
    with sqlite3.connect(fixture.path) as connection:
        columns = [row[1] for row in connection.execute("PRAGMA table_info(systems)") if row[1] != "id"]
    connection.close()
    for column in columns:
        for value in VALUES:
            path.write_bytes(fixture.path.read_bytes())
            connection = sqlite3.connect(path)
            connection.execute(f"UPDATE systems SET {column} = ? WHERE id = 1", (value,))
            connection.commit()
            connection.close()
            copies.append((f"{column} = {value!r:.20}", path.read_bytes()))

    def tried() -> Iterator[str]:
        for where, copy in copies:
            yield from complaints(specimen, fixture.path, copy, where)

    refuse(in_bounds(tried))
