"""Bits flip, files vanish, shrink and change places: verify reports it, and nobody reads a wrong number."""

from __future__ import annotations

from pathlib import Path

import pytest
from rot import Damage, Damaged, everything, many

from mlpdata.store.verify import verify

FLIPS = 2000
"""Bits flipped in a small store."""
PARTS = 4
"""They are shared out over this many tests, so that they may run beside each other."""


@pytest.mark.parametrize("part", range(PARTS))
def test_a_flipped_bit_is_reported_and_never_read(part: int, tmp_path: Path) -> None:
    damaged = Damaged(everything, tmp_path, seed=part)
    for damage in damaged.flips(FLIPS // PARTS):
        assert damaged.faults(damage) == []


def test_a_file_that_is_missing_cut_longer_or_another_is_reported_and_never_read(tmp_path: Path) -> None:
    damaged = Damaged(everything, tmp_path)
    faults = [fault for damage in damaged.losses() for fault in damaged.faults(damage)]

    # nothing tells a tag that was lost from one that was never there
    assert faults == [f"verify is silent of {Damage('missing', damaged.store / 'refs' / 'paper')}"]


def test_a_flipped_bit_in_a_store_of_many_blocks_is_reported_and_never_read(tmp_path: Path) -> None:
    damaged = Damaged(many, tmp_path)
    for damage in damaged.flips(10):
        assert damaged.faults(damage) == []


def test_the_damages_are_undone(tmp_path: Path) -> None:
    damaged = Damaged(everything, tmp_path)
    for damage in [*damaged.losses()][::17]:
        damaged.faults(damage)
        assert verify(damaged.store).ok
