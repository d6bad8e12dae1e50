"""Several processes write one store at once, while others read it."""

from __future__ import annotations

from pathlib import Path

from crowd import Crowd, read_whole
from store_commits import ingest


def test_four_writers_of_25_ingests_each_lose_nothing_and_readers_see_whole_snapshots(tmp_path: Path) -> None:
    outcome = Crowd(tmp_path / "store", n_writers=4, n_ingests=25).outcome()

    assert outcome.faults == []
    assert outcome.n_present == 100
    assert outcome.n_reads >= 4


def test_a_reader_tells_a_snapshot_that_is_not_whole(tmp_path: Path) -> None:
    """What the readers look at would show a mixture."""
    ingest(tmp_path / "store", 0)
    ingest(tmp_path / "store", 1)
    assert read_whole(tmp_path / "store") == (2, [])
    folders = sorted((tmp_path / "store" / "segments").iterdir())
    shard = folders[0] / "arrays" / "energy" / "c.0"
    other = folders[1] / "arrays" / "energy" / "c.0"
    shard.write_bytes(other.read_bytes())

    try:
        _, faults = read_whole(tmp_path / "store")
    except Exception:  # noqa: BLE001  reported by the store itself
        faults = ["reported"]

    assert faults
