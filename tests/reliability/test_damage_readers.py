"""Every damage of every fixture of every reader, and the table of it; `make test-long` runs this."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from specimens import FOUND, contract

from mlpdata.readers.registry import Reader, readers
from mlpdata.testing.contracts import Finding, ReaderContract
from mlpdata.testing.readings import Specimen

TABLE = Path(__file__).parents[2] / "benchmarks" / "reliability_readers.md"
HEAD = """# Damaged outputs

Each fixture of tests/data/ cut after and before each line end and at up to 1,000 other places, each printed number made
stars, NaN, 1E400 or glued to its neighbour, 1,000 bits flipped; companions likewise. Written by `make test-long`.
A silent loss is a frame or label that is gone without an error, a status, an entry of what was left out, or a
warning; a wrong number is one that the whole file does not have at that place.

| reader | fixtures | damages | silent losses | wrong numbers | foreign exceptions |
| --- | --- | --- | --- | --- | --- |
"""
FLIPS = 1000


class Tally(NamedTuple):
    """What came of one reader's damages."""

    fixtures: int
    damages: int
    findings: list[Finding]

    def row(self, name: str) -> str:
        """A row of the table."""
        kinds = Counter(finding.kind for finding in self.findings)
        return f"| {name} | {self.fixtures} | {self.damages:,} | {kinds['silent']} | {kinds['wrong']} | {kinds['foreign']} |\n"


class Counting(Specimen):
    """A specimen that counts its readings."""

    n_read = -1

    def read(self, path: Path | None = None, content: bytes | None = b""):  # noqa: ANN201
        self.n_read += 1
        return super().read(path, content)


def findings(proof: type[ReaderContract], specimen: Specimen) -> Iterator[Finding]:
    yield from proof.findings_of_cuts(specimen, None)
    yield from proof.findings_of_numbers(specimen, None)
    yield from proof.findings_of_flips(specimen, FLIPS)


def tally(reader: Reader) -> Tally:
    proof = contract(reader, None)
    specimens = [Counting(reader, path, proof.declared) for path in proof.fixtures]
    found = [finding for specimen in specimens for finding in findings(proof, specimen)]
    return Tally(len(specimens), sum(specimen.n_read for specimen in specimens), found)


@pytest.mark.slow
def test_no_damage_of_any_fixture_gives_a_wrong_number_a_silent_loss_or_a_crash() -> None:
    tallies = {reader.name: tally(reader) for reader in readers() if FOUND.fixtures[reader.name]}
    total = Tally(
        sum(one.fixtures for one in tallies.values()),
        sum(one.damages for one in tallies.values()),
        [finding for one in tallies.values() for finding in one.findings],
    )
    rows = [one.row(name) for name, one in sorted(tallies.items())]

    TABLE.write_text(HEAD + "".join(rows) + total.row("all"))

    assert not total.findings, "\n".join(map(str, total.findings[:50]))
