"""Hostile files for every reader: patterns driven to go back, endless lines, huge counts, bombs, links, pickles.

Each is refused, or read in part, with our own errors, within a second of processor time and 200 MB of memory.
"""

from __future__ import annotations

import bz2
import gzip
import io
import itertools
import lzma
import os
import pickle
import random
import re
import resource
import signal
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import pytest
import zstandard
from specimens import DECLARED, FOUND

from mlpdata.errors import LimitExceeded, MlpdataError
from mlpdata.readers.archive import Limits, open_input
from mlpdata.readers.registry import Reader, open_run, readers
from mlpdata.testing import damage
from mlpdata.testing.readings import Reading, Specimen, difference, read

SECONDS = 1.0
MEMORY = 200 << 20
READERS = {reader.name: reader for reader in readers()}


class TooSlow(BaseException):
    """Raised out of whatever runs too long; no reader catches it."""


def seconds(action: Callable[[], object], limit: float) -> float:
    """Processor time of `action`, which is stopped at `limit`."""

    def stop(*_: object) -> None:
        raise TooSlow

    before = signal.signal(signal.SIGPROF, stop)
    started = time.process_time()
    signal.setitimer(signal.ITIMER_PROF, limit)
    try:
        action()
    except TooSlow:
        return limit
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
    return time.process_time() - started


def in_bounds(action: Callable[[], Iterable[str]]) -> list[str]:
    """What `action` complains of in a process that may take 200 MB more than this one has now."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        _die_with_complaints(action, writing)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        said = pipe.read()
    _, status = os.waitpid(child, 0)
    return [*said.splitlines(), *([] if status == 0 else [f"ended with status {status}"])]


def _die_with_complaints(action: Callable[[], Iterable[str]], pipe: int) -> None:
    """In the child: never returns, so that no test framework runs twice."""
    status = 1
    try:
        held = int(re.search(r"VmData:\s+(\d+)", Path("/proc/self/status").read_text())[1]) << 10
        resource.setrlimit(resource.RLIMIT_DATA, (held + MEMORY, held + MEMORY))
        for complaint in action():
            os.write(pipe, f"{complaint[:400]}\n".encode())
        status = 0
    except BaseException as error:  # noqa: BLE001  whatever it is, the parent is to know
        os.write(pipe, f"{type(error).__name__}: {error}"[:400].encode())
    finally:
        os._exit(status)


class Fixture(NamedTuple):
    """One fixture and the reader of it."""

    reader: Reader
    path: Path

    def specimen(self) -> Specimen:
        return Specimen(self.reader, self.path, DECLARED.get(self.reader.name))


def fixtures(*, text: bool = True, of: Iterable[str] | None = None, first: bool = False) -> list[Any]:
    """Fixtures of text or of binary formats; of some readers; the first of each reader only."""
    found = []
    for name, paths in FOUND.fixtures.items():
        chosen = [path for path in paths if damage.is_text(path.read_bytes()) == text and (of is None or name in of)]
        found += [
            pytest.param(Fixture(READERS[name], path), id=f"{name}-{path.name}")
            for path in chosen[: 1 if first else None]
        ]
    return found


def complaints(
    specimen: Specimen, path: Path, copy: bytes, where: object, limit: float = SECONDS, *, from_elsewhere: bool = False
) -> Iterator[str]:
    """Whether reading a copy takes too long, ends with an error that is not ours, or gives numbers from elsewhere."""
    seen: list[Reading] = []
    taken = seconds(lambda: seen.append(specimen.read(path, copy)), limit)
    if taken >= limit:
        yield f"{where}: {taken:.2f} s"
    for one in seen:
        if one.is_foreign:
            yield f"{where}: {one.error!r}"
        if from_elsewhere and (SECRET in repr(one) or difference(specimen.whole, one).wrong):
            yield f"{where}: read from elsewhere"


def refuse(said: Iterable[str]) -> None:
    """Fail with the first complaints, where there are any."""
    first = list(itertools.islice(said, 12))
    assert not first, "\n".join(first)


# -- patterns that go back

N_INSERTIONS = max(20, 1500 // sum(map(len, FOUND.fixtures.values())))
"""Those that are drawn for each fixture in the quick suite."""
LENGTH = 30_000
"""A pattern that takes time as the square of this needs seconds, a linear one a millisecond."""
FILLERS = (
    b" ", b"\t", b"1", b"-", b".", b"*", b"a", b"A", b"=", b"(", b"|", b"[", b"<", b"%", b"\\", b'"', b"1 ", b"a ", b"1.0 ",
    b"\n", b" \n", b"-\n", b"1\n", b"a\n", b"1.0 1.0 1.0\n", b"<a>", b'{"a":', b"a=", b"a,",
)  # fmt: skip
_NUMBERS, _BLANKS = re.compile(rb"[-+]?[\d.]+"), re.compile(rb"\s+")


class Insertion(NamedTuple):
    """A text that is put into a fixture many times over."""

    place: int
    text: bytes
    line: bytes

    def of(self, content: bytes) -> bytes:
        return content[: self.place] + self.text * (LENGTH // len(self.text) + 1) + content[self.place :]

    def __str__(self) -> str:
        return f"{self.text[:40]!r} at {self.place} in {self.line[:60]!r}"


def insertions(content: bytes) -> list[Insertion]:
    """Every filler at the ends and between the words of each line that is unlike those before, and the line itself."""
    found, seen, offset = [], set(), 0
    for line in content.splitlines(keepends=True):
        shape = _BLANKS.sub(b" ", _NUMBERS.sub(b"0", line))
        if shape not in seen:
            seen.add(shape)
            words = [match.span() for match in re.finditer(rb"\S+", line)] or [(0, 0)]
            places = {0, words[0][1], words[len(words) // 2][0], words[-1][0], len(line.rstrip(b"\r\n"))}
            found += [Insertion(offset + place, filler, line) for place in sorted(places) for filler in FILLERS]
            found.append(Insertion(offset, line, line))
        offset += len(line)
    return found


@pytest.mark.parametrize("fixture", fixtures())
def test_a_text_that_drives_patterns_back_takes_no_longer_than_its_length(fixture: Fixture) -> None:
    specimen = fixture.specimen()
    refuse(
        complaint
        for path, content in specimen.files.items()
        for insertion in damage.sampled(insertions(content), N_INSERTIONS)
        for complaint in complaints(specimen, path, insertion.of(content), insertion, limit=0.5)
    )


@pytest.mark.slow
@pytest.mark.parametrize("fixture", fixtures())
def test_a_thousand_texts_that_drive_patterns_back_take_no_longer_than_their_length(fixture: Fixture) -> None:
    specimen = fixture.specimen()
    refuse(
        complaint
        for path, content in specimen.files.items()
        for insertion in damage.sampled(insertions(content), 1000, seed=1)
        for complaint in complaints(specimen, path, insertion.of(content), insertion)
    )


# -- long lines


@pytest.mark.parametrize("filler", [b" ", b"1", b"-"])
@pytest.mark.parametrize("fixture", fixtures(first=True))
def test_a_line_of_megabytes_takes_time_as_its_length(fixture: Fixture, filler: bytes) -> None:
    """8 MB in a quarter of a second, so that the longest line that is let in takes a second."""
    specimen = fixture.specimen()
    content = specimen.files[fixture.path]
    middle = content.find(b"\n", len(content) // 2)
    long = content[:middle] + filler * (8 << 20) + content[middle:]
    refuse(complaints(specimen, fixture.path, long, f"{filler!r} in the middle", limit=SECONDS / 4))


@pytest.mark.parametrize("fixture", fixtures(first=True))
def test_a_line_of_a_gigabyte_is_refused_before_anything_reads_it(fixture: Fixture, tmp_path: Path) -> None:
    path = tmp_path / fixture.path.name
    content = fixture.path.read_bytes()
    with path.open("wb") as file:  # the rest of it is a hole, which reads as zeros and takes no disk
        file.write(content.rstrip(b"\n") + b" " * (1 << 16))
        file.truncate(1 << 30)

    def refused() -> Iterator[str]:
        taken = seconds(lambda: read_whole(path, LimitExceeded), SECONDS)
        if taken >= SECONDS:
            yield f"{taken:.2f} s"

    refuse(in_bounds(refused))


def read_whole(path: Path, *expected: type[Exception]) -> None:
    """Read a file as every verb does; it must be refused with one of `expected` where some are given."""
    try:
        with open_run(path) as opened:
            list(opened.items())
    except MlpdataError as error:
        if not expected or isinstance(error, expected):
            return
        raise
    assert not expected, "expected it to be refused"


def test_a_line_that_is_long_but_not_too_long_is_let_in(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_bytes(b"a" * 999 + b"\n" + b"a" * 999 + b"\n" + b"a" * 999)
    with open_input(path, Limits(line_bytes=1000)) as source:
        assert len(source.data) == 2999
    path.write_bytes(b"a" * 999 + b"\n" + b"a" * 2000 + b"\n")
    with pytest.raises(LimitExceeded, match="lines of at most 1000 bytes"), open_input(path, Limits(line_bytes=1000)):
        pass


# -- counts that no machine holds

WHOLE = re.compile(rb"(?<![\w.+-])\d+(?![\w.])")
HUGE = (b"1000000000", b"999999999", b"9223372036854775808", b"-1", b"0", b"9" * 5000)


@pytest.mark.parametrize("fixture", fixtures())
def test_a_count_that_no_machine_holds_costs_no_memory(fixture: Fixture) -> None:
    """Whatever a format announces by a whole number - atoms, steps, columns, types - is never believed."""
    specimen = fixture.specimen()

    def announced() -> Iterator[str]:
        for path, content in specimen.files.items():
            places = [match.span() for match in WHOLE.finditer(content)]
            for (start, end), huge in damage.sampled([(span, huge) for span in places for huge in HUGE], 60):
                copy = content[:start] + huge + content[end:]
                where = f"{path.name}: {content[max(0, start - 40) : start]!r} {huge[:20]!r}"
                yield from complaints(specimen, path, copy, where)

    refuse(in_bounds(announced))


@pytest.mark.parametrize("fixture", fixtures(text=False))
def test_a_binary_count_that_no_machine_holds_costs_no_memory(fixture: Fixture) -> None:
    """Small whole numbers of a binary file, wherever they stand, become huge ones."""
    specimen = fixture.specimen()
    content = specimen.files[fixture.path]
    random_ = random.Random(0)
    places = [
        place
        for place in range(0, len(content) - 8, 4)
        if 0 < int.from_bytes(content[place : place + 4], "little") < 1000
    ]

    def announced() -> Iterator[str]:
        for place in random_.sample(places, min(len(places), 30)):
            for huge in (10**9).to_bytes(4, "little"), b"\xff" * 4, (1 << 40).to_bytes(8, "little"):
                copy = content[:place] + huge + content[place + len(huge) :]
                yield from complaints(specimen, fixture.path, copy, f"{huge!r} at {place}")

    refuse(in_bounds(announced))


# -- bombs


class Repeated(io.RawIOBase):
    """A stream of a prefix, then of blank lines."""

    def __init__(self, prefix: bytes, size: int) -> None:
        self.pieces = iter([prefix, *[b"\n" * (1 << 20)] * (size >> 20)])


def bomb(codec: str, prefix: bytes, size: int) -> bytes:
    new = {
        "gz": _Gzip,
        "bz2": bz2.BZ2Compressor,
        "xz": lzma.LZMACompressor,
        "zst": lambda: zstandard.ZstdCompressor().compressobj(),
    }[codec]()
    return b"".join([new.compress(piece) for piece in Repeated(prefix, size).pieces] + [new.flush()])


class _Gzip:
    def __init__(self) -> None:
        self.whole = io.BytesIO()
        self.file = gzip.GzipFile(fileobj=self.whole, mode="wb")

    def compress(self, piece: bytes) -> bytes:
        self.file.write(piece)
        return b""

    def flush(self) -> bytes:
        self.file.close()
        return self.whole.getvalue()


@pytest.mark.parametrize("codec", ["gz", "bz2", "xz", "zst"])
def test_a_bomb_is_refused_within_a_second_and_200_megabytes(codec: str, tmp_path: Path) -> None:
    """The same for every reader: nothing is read before it is known how much there is."""
    path = tmp_path / f"run.out.{codec}"
    path.write_bytes(bomb(codec, FOUND.fixtures["orca/out"][0].read_bytes(), 80 << 20))

    def refused() -> Iterator[str]:
        taken = seconds(lambda: read_whole(path, LimitExceeded), 3 * SECONDS)
        if taken >= (3 if codec == "bz2" else 1) * SECONDS:  # bzip2 gives 30 MB a second
            yield f"{taken:.2f} s"

    refuse(in_bounds(refused))


# -- XML

SECRET = "123456.78901234"
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


# -- pickles


class Canary:
    """Made from a pickle it leaves a folder behind."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("fixture", [*fixtures(first=True), *fixtures(text=False, first=True)])
def test_a_pickle_in_place_of_a_file_or_inside_it_makes_nothing(fixture: Fixture, tmp_path: Path) -> None:
    specimen = fixture.specimen()
    canary = pickle.dumps(Canary(tmp_path / "pwned"))
    content = specimen.files[fixture.path]
    for start in (0, len(content) // 2):
        copy = specimen.read(fixture.path, content[:start] + canary + content[start + len(canary) :])
        assert not copy.is_foreign, copy.error
    path = tmp_path / fixture.path.name
    path.write_bytes(canary)
    read_whole(path)
    assert not (tmp_path / "pwned").exists()
