"""The damages are what they say, and the contract finds each fault that a reader can have."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from mlpdata.readers.archive import Input
from mlpdata.readers.place import Belonging
from mlpdata.readers.registry import Ending, Header, Printed, Reader
from mlpdata.schema.calculation import LeftOut
from mlpdata.schema.method import Method
from mlpdata.testing import ReaderContract, damage
from mlpdata.testing.readings import Specimen
from mlpdata.units import Quantity

TEXT = b"RUN\nSTEP 1\nH  0.0 0.5  1.25\nE  -1.5 eV\nSTEP 2\nH  0.1 0.5  1.25\nE  -2.5 eV\nSTEP 3\nH  0.2 0.5 1.25\nE  -3.5 eV\nEND\n"


def damaged(kind: str, content: bytes = TEXT) -> list[bytes]:
    return [edit.of(content) for edit in damage.spoiled_numbers(content) if edit.kind == kind]


def test_a_number_becomes_stars_of_its_width() -> None:
    assert damaged(damage.STARS, b"x  -1.50 2\n") == [b"x  ***** 2\n", b"x  -1.50 *\n"]


def test_a_number_becomes_nan_or_infinite_in_its_columns_where_they_are_wide_enough() -> None:
    assert damaged(damage.NAN, b" -12.50 2 ") == [b"    NaN 2 ", b" -12.50 NaN "]
    assert damaged(damage.OVERFLOW, b" -12.50 2 ") == [b"  1E400 2 ", b" -12.50 1E400 "]


def test_neighbours_touch_with_and_without_the_width_of_the_line() -> None:
    assert damaged(damage.GLUED, b" 1.5  2.5 eV") == [b" 1.52.5 eV"]
    assert damaged(damage.SHIFTED, b" 1.5  2.5 eV") == [b"   1.52.5 eV"]


@pytest.mark.parametrize("word", [b"6.3.0", b"Si1", b"e_0", b"a1b", b"bohr**3", b"1.2.3", b"x86_64"])
def test_what_is_part_of_a_word_is_no_number(word: bytes) -> None:
    assert not damage.spoiled_numbers(word)


@pytest.mark.parametrize("word", [b"-1.5D-03", b".5", b"3.", b"+1e5", b"(1)", b">2<", b'"4"', b"=-5"])
def test_every_form_of_a_number_is_one(word: bytes) -> None:
    assert [edit.kind for edit in damage.spoiled_numbers(word)] == [damage.STARS, damage.NAN, damage.OVERFLOW]


def test_columns_that_touch_already_are_two_numbers() -> None:
    assert damaged(damage.STARS, b"219.870-1030.493") == [b"*******-1030.493", b"219.870*********"]


def test_a_file_is_cut_before_and_after_each_line_end() -> None:
    assert [edit.of(b"a\nbc\nd") for edit in damage.cuts(b"a\nbc\nd")] == [b"a", b"a\n", b"a\nbc", b"a\nbc\n"]
    assert len(damage.cuts_inside_lines(b"a\nbc\nd")) == 5


def test_floats_of_a_binary_file_become_nan_and_infinite_in_either_order() -> None:
    content = b"\0" + np.array([1.5, 2.5], "<f8").tobytes() + np.array([2.5], ">f8").tobytes()
    copies = [edit.of(content) for edit in damage.spoiled_floats(content, [2.5, 0.0, 7.0])]
    assert [np.isfinite(np.frombuffer(copy[1:17], "<f8")).tolist() for copy in copies[:2]] == [[True, False]] * 2
    assert [np.isfinite(np.frombuffer(copy[17:], ">f8")).tolist() for copy in copies[2:]] == [[False]] * 2


def test_flips_change_one_bit_and_the_same_ones_every_time() -> None:
    edits = damage.flips(TEXT, 50)
    assert edits == damage.flips(TEXT, 50) != damage.flips(TEXT, 50, seed=1)
    for edit in edits:
        copy = edit.of(TEXT)
        assert sum((a ^ b).bit_count() for a, b in zip(copy, TEXT, strict=True)) == 1


def test_a_sample_is_drawn_in_order_and_the_same_every_time() -> None:
    assert damage.sampled(range(10), None) == damage.sampled(range(10), 10) == list(range(10))
    drawn = damage.sampled(range(1000), 20)
    assert len(drawn) == 20
    assert drawn == sorted(drawn) == damage.sampled(range(1000), 20)


Fault = Callable[[bytes], float | None]


def honest(field: bytes) -> float | None:
    """The number, None where it is none."""
    return float(field) if re.fullmatch(rb"-?\d+\.\d+", field) else None


def reader(number: Fault = honest, *, report: bool = True, complete: bool = False, twice: bool = False) -> Reader:
    """A reader of `TEXT` with one fault."""

    def read(source: Input) -> Iterator[Header | Printed | Ending]:
        yield Header(Method(code="toy"), "toy")
        left_out = []
        for step in re.finditer(rb"STEP (\S+)\n([^E]*)(?:E ([^\n]*)\n)?", source.data):
            line = source.line(step.start())
            fields = [*step[2].split()[1:], *(step[3] or b"").split()]
            values = [number(field) for field in fields[:4]]
            if fields[4:] != [b"eV"] or None in values:
                left_out.append(LeftOut(line=line, reason="damaged"))
                continue
            block = {
                "atomic_numbers": [1],
                "positions": Quantity(np.array([values[:3]]), "angstrom"),
                "energy": Quantity(np.array(values[3:]), "eV"),
                "pbc": [[0, 0, 0]],
                "source_line": [line],
            }
            yield from [Printed([1], block)] * (2 if twice and left_out else 1)
        whole = source.data.endswith(b"END\n") or complete
        yield Ending("complete" if whole else "truncated", "" if whole else "cut", tuple(left_out) if report else ())

    return Reader("toy/test", 1, (), lambda head: head.startswith(b"RUN"), read)


def zero(field: bytes) -> float | None:
    return honest(field) or 0.0


def crash(field: bytes) -> float | None:
    return float(field)


@pytest.mark.parametrize(
    ("faulty", "kinds"),
    [
        (reader(), set()),
        (reader(zero), {"wrong"}),
        (reader(crash), {"foreign"}),
        (reader(report=False), {"silent"}),
        (reader(complete=True), {"silent"}),
        (reader(twice=True), {"wrong"}),
    ],
    ids=["honest", "zero for stars", "ValueError", "a loss in silence", "always complete", "twice"],
)
def test_the_contract_finds_the_fault(tmp_path: Path, faulty: Reader, kinds: set[str]) -> None:
    path = tmp_path / "run.toy"
    path.write_bytes(TEXT)
    specimen = Specimen(faulty, path)
    assert len(specimen.whole.rows) == 3
    contract = type("Contract", (ReaderContract,), {"reader": faulty, "fixtures": [path], "end_mark": b"END"})

    findings = [*contract.findings_of_cuts(specimen, None), *contract.findings_of_numbers(specimen, None)]

    assert {finding.kind for finding in findings} >= kinds
    assert bool(findings) == bool(kinds), findings


def test_a_meaning_that_changes_without_a_word_is_wrong(tmp_path: Path) -> None:
    """A damaged setting must not turn projected forces into physical ones."""

    def read(source: Input) -> Iterator[Header | Printed | Ending]:
        biased = b"FIELD 0.1" in source.data
        yield Header(Method(code="toy"), "toy", forces_are="with_external" if biased else "physical")
        yield Printed(
            [1], {"atomic_numbers": [1], "positions": Quantity(np.ones((1, 3)), "angstrom"), "pbc": [[0] * 3]}
        )
        yield Ending("complete")

    path = tmp_path / "run.toy"
    path.write_bytes(b"RUN\nFIELD 0.1\nEND\n")
    forgetful = Reader("toy/test", 1, (), lambda head: head.startswith(b"RUN"), read)
    contract = type("Contract", (ReaderContract,), {"reader": forgetful, "fixtures": [path]})

    findings = list(contract.findings_of_numbers(Specimen(forgetful, path), None))

    assert {(finding.kind, finding.what) for finding in findings} == {("wrong", "forces_are became 'physical'")}


def test_a_damaged_companion_is_found_too(tmp_path: Path) -> None:
    """Frames may hang on a file beside the output."""

    def read(source: Input) -> Iterator[Header | Printed | Ending]:
        yield Header(Method(code="toy"), "toy")
        energy = re.search(rb"E +(-?\d+\.\d+) eV", source.companions[0].data) if source.companions else None
        labels = {"energy": Quantity(np.array([float(energy[1])]), "eV")} if energy else {}
        geometry = {"atomic_numbers": [1], "positions": Quantity(np.ones((1, 3)), "angstrom"), "pbc": [[0] * 3]}
        yield Printed([1], {**geometry, **labels})
        yield Ending("complete")

    path, beside = tmp_path / "run.toy", tmp_path / "run.energy"
    path.write_bytes(b"RUN\n")
    beside.write_bytes(b"E  -1.5 eV\n")
    silent = Reader("toy/test", 1, (), lambda _: True, read, companions=lambda _: Belonging((beside.name,)))
    contract = type("Contract", (ReaderContract,), {"reader": silent, "fixtures": [path]})

    findings = list(contract.findings_of_numbers(Specimen(silent, path), None))

    assert {finding.what for finding in findings} == {"energy of frame 0"}
    with pytest.raises(AssertionError, match=r"run\.energy is missing"):
        contract().test_a_companion_that_is_missing_is_missed(path)
