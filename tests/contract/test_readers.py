"""The contract of readers, for each built-in one on all of its fixtures."""

from __future__ import annotations

import pytest
from specimens import DATA, FOUND, contract

from mlpdata.readers.registry import own_readers

pytestmark = pytest.mark.no_cover  # thousands of readings: traced they would take minutes

READS = 4_000
"""Damaged copies that are read in all, in the quick suite; tests/reliability/test_damage_readers.py reads the rest."""
SORTS = 5
N_FIXTURES = sum(map(len, FOUND.fixtures.values()))
LIMIT = max(20, READS // (SORTS * max(1, N_FIXTURES)))

CONTRACTS = [contract(reader, LIMIT) for reader in own_readers()]
for _one in CONTRACTS:
    _one.__module__ = __name__
    globals()[_one.__name__] = _one


@pytest.mark.parametrize("reader", [reader.name for reader in own_readers()])
def test_every_reader_has_a_fixture(reader: str) -> None:
    assert FOUND.fixtures[reader], f"nothing in tests/data/ is read by {reader}"


def test_every_fixture_is_read_by_a_reader_of_its_folder() -> None:
    for reader, paths in FOUND.fixtures.items():
        for path in paths:
            assert path.relative_to(DATA).parts[0] == FOLDERS.get(reader, reader.partition("/")[0]), path


def test_every_file_beside_the_fixtures_is_one_or_its_companion() -> None:
    assert not FOUND.strays


def test_fixtures_are_small() -> None:
    for paths in FOUND.fixtures.values():
        assert all(path.stat().st_size < 100_000 for path in paths)


FOLDERS = {"vasp/taskdoc": "atomate2"}
"""Folder of a reader's fixtures, where it is not named like its code."""
