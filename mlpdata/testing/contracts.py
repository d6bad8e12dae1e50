"""The contract of readers: what every one of them must prove on its own files.

::

    class TestToy(ReaderContract):
        reader = READER
        fixtures = [Path("tests/data/toy/run.out")]
"""

from __future__ import annotations

import gzip
import lzma
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from mlpdata.frames import MAX_ATOMS_PER_BLOCK, Frames
from mlpdata.readers.archive import open_input
from mlpdata.readers.place import beside
from mlpdata.readers.registry import Ending, Header, Opened, Reader, Undeclared, Unplaced, readers
from mlpdata.schema.sidecar import Declared
from mlpdata.testing.damage import (
    Edit,
    cuts,
    cuts_inside_lines,
    flips,
    is_text,
    sampled,
    spoiled_floats,
    spoiled_numbers,
)
from mlpdata.testing.readings import Reading, Specimen, difference

if TYPE_CHECKING:
    import pytest

TAIL = 1024
"""Bytes after which a file that lost them cannot be complete, where a contract names no end mark."""


class Finding(NamedTuple):
    """One damage that a reader did not stand."""

    kind: str
    """wrong (a number that the whole file does not have), silent (a loss without a word), foreign (not our error)."""
    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.kind}: {self.what}"


class ReaderContract:
    """What a reader promises, proved on small files: subclass it with `reader` and `fixtures`.

    Recognition by content; one Header, blocks of frames, one Ending for each run; the same ids twice and from a
    compressed copy; and of damaged copies no wrong number, no silent loss, no exception but ours.
    """

    reader: ClassVar[Reader]
    """The row of the table that is proved."""
    fixtures: ClassVar[Sequence[Path]]
    """Whole files, small: a few kB each."""
    end_mark: ClassVar[bytes | None] = None
    """What the program prints at its end: a copy without it is not complete. None: one that lacks 1 kB is not."""
    has_end: ClassVar[bool] = True
    """False for a format in which a file that ends between two frames is whole."""
    declared: ClassVar[Declared | None] = None
    """What is said of numbers whose file states no units."""
    limit: ClassVar[int | None] = 150
    """Damages of each sort that are drawn for each file; None: all."""

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Each test runs once for each fixture."""
        if "fixture" in metafunc.fixturenames:
            metafunc.parametrize("fixture", self.fixtures, ids=[path.name for path in self.fixtures])

    def test_its_files_are_known_by_content_and_no_other_reader_claims_them(self, fixture: Path) -> None:
        """A name is no guide (pitfall V21)."""
        head = Specimen(self.reader, fixture).source(fixture, fixture.read_bytes()).head
        claims = [reader.name for reader in readers() if reader.magic(head)]
        assert self.reader.magic(head), f"{fixture.name} is not known by its content"
        assert set(claims) <= {self.reader.name}, f"{fixture.name} is claimed by {', '.join(claims)}"

    def test_each_run_is_a_header_then_blocks_of_frames_then_an_ending(self, fixture: Path) -> None:
        """Arrays pass the door of units, and no block holds more atoms than one should."""
        specimen = Specimen(self.reader, fixture, self.declared)
        assert specimen.whole.error is None, f"{fixture.name}: {specimen.whole.error!r}"
        assert specimen.whole.rows, f"{fixture.name}: no frame came out"
        assert all(run.ending is not None for run in specimen.whole.runs), f"{fixture.name}: a run without Ending"
        for run in specimen.whole.runs:
            for block in run.blocks:
                atoms = int(block.n_atoms.sum())
                assert len(block) == 1 or atoms <= MAX_ATOMS_PER_BLOCK, f"a block of {atoms} atoms"
        self._check_order(specimen)

    def _check_order(self, specimen: Specimen) -> None:
        inside = False
        for item in self._items(specimen.path):
            assert isinstance(item, Header | Frames | Undeclared | Unplaced | Ending), f"{item!r} is no item of a run"
            assert inside is not isinstance(item, Header), "expected one Header and one Ending a run"
            inside = not isinstance(item, Ending)
        assert not inside, "expected an Ending after the last frame"

    def test_reading_twice_gives_the_same(self, fixture: Path) -> None:
        """Nothing is remembered from one reading to the next."""
        assert self._ids(fixture) == self._ids(fixture)

    def test_a_compressed_copy_reads_the_same(self, fixture: Path, tmp_path: Path) -> None:
        """Whatever its compression, with its companions beside it."""
        for path in Specimen(self.reader, fixture, self.declared).files:
            if path != fixture:
                shutil.copy(path, tmp_path / path.name)
        for suffix, compress in _COMPRESSIONS:
            copy = tmp_path / (fixture.name + suffix)
            copy.write_bytes(compress(fixture.read_bytes()))
            assert self._ids(copy) == self._ids(fixture), f"{copy.name} reads differently"
            copy.unlink()

    def test_a_copy_that_is_cut_gives_its_whole_frames_and_is_not_complete(self, fixture: Path) -> None:
        """After each line, and inside lines."""
        specimen = Specimen(self.reader, fixture, self.declared)
        _assert_none(self.findings_of_cuts(specimen, self.limit))

    def test_a_number_that_is_none_costs_its_frame_and_is_reported(self, fixture: Path) -> None:
        """Stars, NaN, overflow, columns that touch."""
        specimen = Specimen(self.reader, fixture, self.declared)
        _assert_none(self.findings_of_numbers(specimen, self.limit))

    def test_flipped_bits_raise_nothing_but_our_errors(self, fixture: Path) -> None:
        """A bit may make another number, which nobody can tell; it must not crash."""
        specimen = Specimen(self.reader, fixture, self.declared)
        _assert_none(self.findings_of_flips(specimen, self.limit or 1000))

    def test_a_companion_that_is_missing_is_missed(self, fixture: Path) -> None:
        """Frames that hang on another file are not lost without a word."""
        specimen = Specimen(self.reader, fixture, self.declared)
        for path in specimen.files:
            if path != fixture:
                _assert_none(_findings(specimen.whole, specimen.read(path, None), f"{path.name} is missing"))

    @classmethod
    def findings_of_cuts(cls, specimen: Specimen, limit: int | None) -> Iterator[Finding]:
        """What goes wrong with files that are cut."""
        whole_at: dict[int, list[int]] = {}
        for path, content in specimen.files.items():
            edits = sampled(cuts(content), limit)
            edits += sampled(cuts_inside_lines(content), limit or 1000)
            for edit in edits:
                copy = specimen.read(path, edit.of(content))
                where = f"{path.name}, {edit.at(content)}"
                unremarkable = copy.is_complete and not copy.reports - specimen.whole.reports
                open_end = not cls.has_end and path == specimen.path and unremarkable
                yield from _findings(_begun(specimen.whole, copy), copy, where, open_end=open_end)
                if open_end:
                    whole_at.setdefault(len(copy.rows), []).append(edit.start)
                elif path == specimen.path and cls.has_end:
                    yield from cls._findings_of_status(specimen, copy, content, edit, where)
        yield from _findings_between(specimen, whole_at)

    @classmethod
    def _findings_of_status(
        cls, specimen: Specimen, copy: Reading, content: bytes, edit: Edit, where: str
    ) -> Iterator[Finding]:
        """A run of a cut copy is complete only where all of it and the end mark are there."""
        for number, (before, after) in enumerate(zip(specimen.whole.runs, copy.runs, strict=False)):
            if after.ending is None or after.ending.status != "complete":
                continue
            last = number == len(specimen.whole.runs) - 1
            ended = (
                len(content[edit.start :].strip()) <= TAIL or not last
                if cls.end_mark is None
                else cls.end_mark in content[: edit.start]
            )
            if not ended or len(after.rows) < len(before.rows):
                yield Finding("silent", where, "the status is complete")

    @classmethod
    def findings_of_numbers(cls, specimen: Specimen, limit: int | None) -> Iterator[Finding]:
        """What goes wrong with numbers that are none."""
        for path, content in specimen.files.items():
            edits = spoiled_numbers(content) if is_text(content) else spoiled_floats(content, specimen.printed_floats())
            for edit in sampled(edits, limit and 2 * limit):
                copy = specimen.read(path, edit.of(content))
                yield from _findings(specimen.whole, copy, f"{path.name}, {edit.at(content)}")

    @classmethod
    def findings_of_flips(cls, specimen: Specimen, count: int) -> Iterator[Finding]:
        """What goes wrong with flipped bits."""
        for path, content in specimen.files.items():
            for edit in flips(content, count):
                copy = specimen.read(path, edit.of(content))
                if copy.is_foreign:
                    yield Finding("foreign", f"{path.name}, {edit.at(content)}", repr(copy.error))

    def _items(self, path: Path) -> Iterator[object]:
        with ExitStack() as stack:
            source = stack.enter_context(open_input(path))
            source.declared = self.declared
            companions = beside(path, self.reader.companions(source))
            source.companions = tuple(stack.enter_context(open_input(one)) for one in companions)
            yield from Opened(source, self.reader).items()

    def _ids(self, path: Path) -> list[str]:
        """What names each frame by its numbers, and how each run ended."""
        found = []
        for item in self._items(path):
            if isinstance(item, Undeclared):
                item = Frames(item.n_atoms, item.arrays)  # noqa: PLW2901
            if isinstance(item, Frames):
                found += [row.tobytes().hex() for row in item.ids()]
            elif isinstance(item, Ending):
                found.append(item.status)
        return found


def _gzipped(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)


_COMPRESSIONS: tuple[tuple[str, Callable[[bytes], bytes]], ...] = ((".gz", _gzipped), (".xz", lzma.compress))


def _begun(whole: Reading, copy: Reading) -> Reading:
    """The runs of the whole file that a cut copy begins: one cut between two runs does not know of the second."""
    return whole if copy.error else Reading(whole.runs[: max(1, len(copy.runs))])


def _findings_between(specimen: Specimen, whole_at: dict[int, list[int]]) -> Iterator[Finding]:
    """Without an end mark a file that ends between two frames is whole: only blanks are lost from one such place on."""
    content = specimen.files[specimen.path]
    for n_frames, places in whole_at.items():
        if content[min(places) : max(places)].strip() and n_frames < len(specimen.whole.rows):
            where = f"{specimen.path.name}, cut at bytes {min(places)} to {max(places)}"
            yield Finding("silent", where, f"complete with {n_frames} frames and a part of the next")


def _findings(whole: Reading, copy: Reading, where: str, *, open_end: bool = False) -> Iterator[Finding]:
    """Wrong numbers, silent losses and foreign exceptions of one damaged copy."""
    if copy.is_foreign:
        yield Finding("foreign", where, repr(copy.error))
    found = difference(whole, copy, open_end=open_end)
    for kind, said in (("wrong", found.wrong), ("silent", found.silent)):
        if said:
            yield Finding(kind, where, "; ".join(said[:5]))


def _assert_none(findings: Iterable[Finding]) -> None:
    first = [str(finding) for _, finding in zip(range(12), findings, strict=False)]
    assert not first, "\n".join(["the reader does not stand this damage:", *first])
