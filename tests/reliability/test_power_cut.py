"""The power is cut at every durable operation; what is there afterwards is the old version or the new one, and whole.

Two tests look at it from both sides. States worked out from what was synced lose all that may be lost, so each sync that is left
out shows. A real ext4 proves that a real file system keeps what the syncs promise.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from power import cut_on_ext4, is_noticed, is_noticed_on_ext4, record_of, records_of_retries, violations
from store_commits import COMMITS, Commit, Ground

from mlpdata.testing.disks import EXT4_OPTIONS, why_no_mounts
from mlpdata.testing.faults import recorded

CUTS = 16
"""Of each commit on ext4."""
LAZY = "data=writeback,noauto_da_alloc"
"""The options under which ext4 does the least unasked."""
commits = pytest.mark.parametrize("commit", COMMITS, ids=lambda commit: commit.name)
on_ext4 = pytest.mark.skipif(bool(why_no_mounts()), reason=why_no_mounts())


@pytest.fixture
def ground(commit: Commit, tmp_path: Path) -> Ground:
    return Ground(commit, tmp_path)


@commits
def test_a_power_cut_leaves_the_old_snapshot_or_the_new(ground: Ground) -> None:
    assert list(violations(ground, record_of(ground))) == []


@commits
def test_a_power_cut_after_a_retry_loses_nothing_though_the_first_attempt_was_killed(ground: Ground) -> None:
    for what, record in records_of_retries(ground, record_of(ground)):
        assert list(violations(ground, record, [record.end])) == [], what


@commits
def test_each_sync_that_is_left_out_is_noticed(ground: Ground) -> None:
    record = record_of(ground)

    unnoticed = {record.moments[sync].path for sync in record.syncs if not is_noticed(ground, record, {sync})}

    # where a store is made, several new names lie in one folder, and the last of its syncs makes all of them durable;
    # what a power cut leaves of the folder of scratch files does not count
    repeated = {".", "store"} if ground.old[0] is None else set()
    assert unnoticed == repeated | ({"store.work"} if repeated else set())
    for path in repeated:
        assert is_noticed(ground, record, {sync for sync in record.syncs if record.moments[sync].path == path})


@on_ext4
@pytest.mark.parametrize(("commit", "options"), list(zip(COMMITS, EXT4_OPTIONS, strict=True)), ids=str)
def test_a_power_cut_on_ext4_leaves_the_old_snapshot_or_the_new(
    commit: Commit, ground: Ground, options: str, tmp_path: Path
) -> None:
    ground.renew()
    n_operations = len(recorded(ground.act))
    last = range(n_operations - CUTS // 2, n_operations + 1)  # from here on the store changes
    earlier = range(1, last.start, max(1, last.start * 2 // CUTS))

    for number, faults in cut_on_ext4(commit, tmp_path / "ext4", options, [*earlier, *last]):
        assert faults == [], f"{number} of {n_operations}"


@on_ext4
@pytest.mark.parametrize(
    "name", ["c.0.0", "zarr.json", "segment.json", "calculations.parquet", ".json.tmp", "HEAD.tmp", "store"]
)
def test_a_sync_that_is_left_out_is_noticed_on_ext4(name: str, tmp_path: Path) -> None:
    """The journal of ext4 carries names along with any later sync, but no bytes, and nothing after the last one."""
    commit = COMMITS[1]
    ground = Ground(commit, tmp_path / "count")
    ground.renew()
    syncs = [
        number
        for number, one in enumerate(recorded(ground.act), 1)
        if one.name == "fsync" and one.path.name.endswith(name)
    ]

    assert is_noticed_on_ext4(commit, tmp_path / "ext4", LAZY, syncs[-1])
