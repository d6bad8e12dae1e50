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


def test_batches_bounded_by_edges_fill_up_to_the_bound() -> None:
    n_edges = np.array([30.0, 30, 20, 90, 10, 10, 10, 10])

    batches = sampler(range(8), 3, shuffle=False, n_edges=n_edges, max_edges=80).batches(0)

    assert lists(batches) == [[0, 1, 2], [3], [4, 5, 6], [7]]


def test_the_tightest_of_three_bounds_counts() -> None:
    options = {"n_atoms": np.array([1, 1, 9, 1, 1, 1]), "n_edges": np.array([1.0, 1, 1, 9, 1, 1])}

    batches = sampler(range(6), 3, shuffle=False, max_atoms=10, max_edges=10, **options).batches(0)

    assert lists(batches) == [[0, 1], [2, 3], [4, 5]]


@given(count=st.integers(0, 70_000), epoch=st.integers(0, 2))
def test_block_shuffling_gives_every_row_once(count: int, epoch: int) -> None:
    batches = sampler(range(count), 64, order="block").batches(epoch)

    assert (np.sort(np.concatenate([np.empty(0, np.int64), *batches])) == np.arange(count)).all()


def test_a_pool_holds_64_blocks_of_256_neighbours_in_any_order() -> None:
    count = 3 * 64 * 256
    rows = np.random.default_rng(0).permutation(count) + 7  # as a split gives them, in no order of the files

    (order,) = sampler(rows, count, order="block").batches(0)

    for pool in (order - 7).reshape(3, 64 * 256):
        blocks, sizes = np.unique(pool // 256, return_counts=True)
        assert len(blocks) == 64
        assert (sizes == 256).all()
        assert len(np.unique(pool[:64] // 256)) > 32, "configurations of a batch come from all over the pool"
        assert np.diff(np.sort(blocks)).max() > 1, "a pool is no range of the files"


def test_block_shuffling_depends_on_seed_and_epoch_alone() -> None:
    once, again = (sampler(range(2000), 64, order="block") for _ in range(2))

    assert lists(once.batches(3)) == lists(again.batches(3))
    assert lists(once.batches(3)) != lists(once.batches(4))


@given(
    n_atoms=st.lists(st.integers(1, 20), min_size=1, max_size=60),
    batch_size=st.integers(1, 9),
    max_atoms=st.none() | st.integers(1, 30),
    world_size=st.integers(1, 9),
    order=st.sampled_from(["global", "block"]),
)
def test_ranks_have_equally_many_batches_that_share_the_epoch(
    n_atoms: list[int], batch_size: int, max_atoms: int | None, world_size: int, order: str
) -> None:
    sizes = np.array(n_atoms, np.int64)
    one = sampler(range(len(sizes)), batch_size, n_atoms=sizes, max_atoms=max_atoms, order=order)

    ranks = [lists(one.batches(0, rank, world_size)) for rank in range(world_size)]

    assert len({len(batches) for batches in ranks}) == 1
    flat = [row for batches in ranks for batch in batches for row in batch]
    assert set(flat) == set(range(len(sizes)))
    assert len(flat) - len(sizes) < world_size, "only what fills the last round comes twice"
    for batch in (batch for batches in ranks for batch in batches):
        assert 1 <= len(batch) <= batch_size
        assert max_atoms is None or sizes[batch].sum() <= max_atoms or len(batch) == 1


def test_the_last_round_is_divided_among_all_ranks_before_anything_comes_twice() -> None:
    one = sampler(range(4 * 8 + 5), 8, shuffle=False)

    ranks = [lists(one.batches(0, rank, 4)) for rank in range(4)]

    assert [len(batches) for batches in ranks] == [2, 2, 2, 2]
    assert sorted(row for batches in ranks for row in batches[1]) == list(range(32, 37))
    assert [len(batches[1]) for batches in ranks] == [1, 1, 1, 2]


def test_where_fewer_configurations_than_ranks_are_left_the_first_come_again() -> None:
    one = sampler(range(9), 2, shuffle=False)

    ranks = [lists(one.batches(0, rank, 4)) for rank in range(4)]

    assert [batches[1] for batches in ranks] == [[8], [0], [1], [2]]


def test_a_round_that_does_not_reach_all_ranks_may_be_left_out() -> None:
    one = sampler(range(9), 2, shuffle=False, drop_last=True)

    assert [lists(one.batches(0, rank, 3)) for rank in range(3)] == [[[0, 1]], [[2, 3]], [[4, 5]]]


def test_an_order_that_does_not_exist_is_refused() -> None:
    with pytest.raises(UsageError, match="global, block"):
        sampler([1], order="sorted")


def test_a_plan_can_be_cut() -> None:
    plan = sampler(range(10), 3, shuffle=False).batches(0)

    assert len(plan) == 4
    assert plan[1].tolist() == [3, 4, 5]
    assert lists(plan[2:]) == [[6, 7, 8], [9]]
