"""Kill `mlpdata.ingest` and an exact sync of real outputs at every durable operation."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tiny import write_outputs

import mlpdata
from mlpdata.errors import NotFound
from mlpdata.store.verify import verify
from mlpdata.testing.faults import kill_at, recorded

PARTS = 4
"""The operations are shared out over this many tests, so that they may run beside each other."""


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_outputs(tmp_path_factory.mktemp("kill") / "raw")


def shown(store: Path) -> str | None:
    """Content of the current snapshot; None before the first."""
    try:
        return mlpdata.Store(store).snapshot().content
    except NotFound:
        return None


@pytest.mark.parametrize("part", range(PARTS))
def test_a_killed_ingest_leaves_the_old_snapshot_or_the_new_and_a_retry_completes(
    raw: Path, tmp_path: Path, part: int
) -> None:
    def ingest() -> mlpdata.IngestReport:
        return mlpdata.ingest(raw, tmp_path / "store", license="CC0-1.0")

    operations = recorded(ingest)
    new = shown(tmp_path / "store")
    for nth in range(1 + part, len(operations) + 1, PARTS):
        for folder in ("store", "store.work"):
            shutil.rmtree(tmp_path / folder)
        assert kill_at(nth, ingest), f"operation {nth} of {len(operations)} was not reached"
        assert shown(tmp_path / "store") in (None, new), operations[nth - 1]
        ingest()
        assert shown(tmp_path / "store") == new
        assert verify(tmp_path / "store").ok


@pytest.mark.parametrize("part", range(PARTS))
def test_a_killed_sync_shows_the_old_tree_or_the_new(raw: Path, tmp_path: Path, part: int) -> None:
    tree = Path(shutil.copytree(raw, tmp_path / "raw"))
    mlpdata.sync(tree, tmp_path / "kept", exact=True)
    old = shown(tmp_path / "kept")
    shutil.rmtree(tree / "md")

    def sync() -> mlpdata.IngestReport:
        return mlpdata.sync(tree, tmp_path / "store", exact=True)

    def fresh() -> None:
        for folder in ("store", "store.work"):
            shutil.rmtree(tmp_path / folder, ignore_errors=True)
        shutil.copytree(tmp_path / "kept", tmp_path / "store")

    fresh()
    operations = recorded(sync)
    new = shown(tmp_path / "store")
    assert new != old
    for nth in range(1 + part, len(operations) + 1, PARTS):
        fresh()
        assert kill_at(nth, sync)
        assert shown(tmp_path / "store") in (old, new), operations[nth - 1]
        sync()
        assert shown(tmp_path / "store") == new
        assert verify(tmp_path / "store").ok
