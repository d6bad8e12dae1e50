"""Hostile files for every reader: patterns driven to go back, endless lines, huge counts, bombs, pickles.

Each is refused, or read in part, with our own errors, within a second of processor time and 200 MB of memory.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import pickle
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import zstandard
from hostile import SECONDS, Fixture, complaints, fixtures, in_bounds, read_whole, refuse, seconds
from specimens import FOUND

from mlpdata.errors import LimitExceeded
from mlpdata.readers.archive import Limits, open_input
from mlpdata.testing import damage

pytestmark = pytest.mark.no_cover  # thousands of readings: traced they would take minutes

# -- patterns that go back

N_INSERTIONS = max(8, 600 // sum(map(len, FOUND.fixtures.values())))
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
        for complaint in complaints(specimen, path, insertion.of(content), insertion, limit=SECONDS / 2)
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
