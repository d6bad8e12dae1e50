"""Kill the process at every durable operation of five kinds of commits, and at any time between them.

Whatever happens where: the store shows the old version or the new one, nothing in it is damaged, and the same commit
completes afterwards.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from store_commits import COMMITS, Commit, Ground, ingest, shown
from trials import after_kills

from mlpdata.store.commit import Repository
from mlpdata.testing.faults import kill_at, recorded

commits = pytest.mark.parametrize("commit", COMMITS, ids=str)


@pytest.fixture
def ground(commit: Commit, tmp_path: Path) -> Ground:
    return Ground(commit, tmp_path)


@commits
def test_a_killed_commit_leaves_the_old_snapshot_or_the_new_and_a_retry_completes(ground: Ground) -> None:
    ground.renew()
    operations = recorded(ground.act)
    assert len(operations) > (80 if "ingest" in ground.commit.name else 4)

    for nth, operation in enumerate(operations, 1):
        assert after_kills(ground, nth) == [], operation


@pytest.mark.parametrize("commit", COMMITS[1:3], ids=str)
def test_a_commit_killed_at_any_time_again_and_again_completes(ground: Ground) -> None:
    for trial in range(20):
        assert after_kills(ground, trial / 1000, 7 * trial, trial / 3000) == [], trial


@pytest.mark.parametrize("commit", COMMITS[1:2], ids=str)
def test_the_snapshot_is_new_only_after_head_was_replaced(ground: Ground) -> None:
    ground.renew()
    operations = recorded(ground.act)
    last = len(operations)
    assert [(one.name, one.path.name) for one in operations[-2:]] == [("rename", "HEAD"), ("fsync", "store")]

    for nth, expected in ((last - 1, ground.old), (last, ground.new)):
        ground.renew()
        assert kill_at(nth, ground.act)
        assert shown(ground.store) == expected


def test_a_kill_while_a_store_is_made_leaves_nothing_in_the_way(tmp_path: Path) -> None:
    operations = recorded(lambda: Repository.create(tmp_path / "count" / "store"))

    for nth in range(1, len(operations) + 1):
        store = tmp_path / str(nth) / "store"
        assert kill_at(nth, lambda store=store: Repository.create(store))
        ingest(store, 3)
        assert shown(store)[0] is not None, operations[nth - 1]
