"""The sampler: every row once an epoch, in an order that (seed, epoch) fix."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import ArrayLike

from mlpdata.errors import UsageError
from mlpdata.frames import I64
from mlpdata.loader.sampler import Sampler


def sampler(rows: ArrayLike, batch_size: int = 4, **options: Any) -> Sampler:
    which = np.array(rows, np.int64)
    return Sampler(which, options.pop("n_atoms", np.ones(len(which), np.int64)), batch_size, **options)


def lists(batches: Iterable[I64]) -> list[list[int]]:
    return [batch.tolist() for batch in batches]


@given(count=st.integers(0, 50), batch_size=st.integers(1, 12), epoch=st.integers(0, 3))
def test_every_row_comes_once_an_epoch(count: int, batch_size: int, epoch: int) -> None:
    rows = np.arange(count) * 3 + 100

    batches = sampler(rows, batch_size).batches(epoch)

    assert sorted(row for batch in lists(batches) for row in batch) == rows.tolist()
    assert all(len(batch) == batch_size for batch in batches[:-1])


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    once, again = sampler(range(100)), sampler(range(100))

    assert lists(once.batches(3)) == lists(again.batches(3))
    assert lists(once.batches(3)) != lists(once.batches(4))
    assert lists(once.batches(3)) != lists(sampler(range(100), seed=1).batches(3))


def test_without_shuffling_the_order_is_that_of_the_rows() -> None:
    assert lists(sampler([5, 3, 9, 1, 7], 2, shuffle=False).batches(6)) == [[5, 3], [9, 1], [7]]


def test_a_short_last_batch_may_be_left_out() -> None:
    assert lists(sampler(range(5), 2, shuffle=False, drop_last=True).batches(0)) == [[0, 1], [2, 3]]
    assert lists(sampler(range(4), 2, shuffle=False, drop_last=True).batches(0)) == [[0, 1], [2, 3]]
    assert lists(sampler([], 2, drop_last=True).batches(0)) == []


def test_batches_bounded_by_atoms_fill_up_to_the_bound() -> None:
    n_atoms = np.array([3, 3, 2, 9, 1, 1, 1, 1])

    batches = sampler(range(8), 3, shuffle=False, n_atoms=n_atoms, max_atoms=8).batches(0)

    assert lists(batches) == [[0, 1, 2], [3], [4, 5, 6], [7]]


@given(n_atoms=st.lists(st.integers(1, 20), max_size=40), max_atoms=st.integers(1, 30), batch_size=st.integers(1, 9))
def test_no_batch_exceeds_its_bounds_unless_by_one_large_configuration(
    n_atoms: list[int], max_atoms: int, batch_size: int
) -> None:
    sizes = np.array(n_atoms, np.int64)

    batches = sampler(range(len(sizes)), batch_size, n_atoms=sizes, max_atoms=max_atoms).batches(0)

    assert sorted(row for batch in lists(batches) for row in batch) == list(range(len(sizes)))
    assert all(sizes[batch].sum() <= max_atoms or len(batch) == 1 for batch in batches)
    assert all(1 <= len(batch) <= batch_size for batch in batches)


@pytest.mark.parametrize("bounds", [{"batch_size": 0}, {"batch_size": 2, "max_atoms": 0}])
def test_a_bound_that_is_not_positive_is_refused(bounds: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="at least 1, found 0"):
        sampler([1, 2], **bounds)
