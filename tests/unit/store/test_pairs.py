"""Arrays of pairs of atoms, such as Hessians: written where they are known, read back by configuration."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import zarr

from mlpdata.errors import CorruptError
from mlpdata.frames import Frames, concatenate
from mlpdata.store.arrays import ArrayWriter, write_arrays
from mlpdata.store.mapping import Mapped
from mlpdata.testing.samples import frames


def with_hessians(block: Frames, present: list[int], seed: int = 0) -> Frames:
    """`block` with random Hessians in the configurations `present`."""
    hessian = np.full((int(block.n_atoms @ block.n_atoms), 3, 3), np.nan)
    start = np.cumsum(block.n_atoms**2) - block.n_atoms**2
    for one in present:
        rows = slice(int(start[one]), int(start[one] + block.n_atoms[one] ** 2))
        hessian[rows] = np.random.default_rng(seed + one).normal(size=hessian[rows].shape)
    return block.with_arrays(hessian=hessian)


def test_selecting_configurations_takes_their_pairs_along() -> None:
    block = with_hessians(frames(6, 1), [0, 2, 5])

    chosen = block.select([5, 0])

    n_first, n_last = int(block.n_atoms[0]), int(block.n_atoms[5])
    assert chosen.get("hessian").shape == (n_last**2 + n_first**2, 3, 3)
    np.testing.assert_array_equal(chosen.get("hessian")[n_last**2 :], block.get("hessian")[: n_first**2])


@pytest.mark.parametrize("reserve", [True, False])
def test_what_is_written_is_read_back_in_any_order_from_several_folders(tmp_path: Path, *, reserve: bool) -> None:
    blocks = [with_hessians(frames(9, 1), [1, 7]), frames(5, 2), with_hessians(frames(4, 3), [0, 3])]
    parts = [(tmp_path / str(i), write_arrays(tmp_path / str(i), [block])) for i, block in enumerate(blocks)]
    whole = concatenate(blocks)
    order = np.random.default_rng(0).permutation(len(whole))

    with Mapped(parts, reserve=reserve) as mapped:
        read = mapped.frames(order)

    np.testing.assert_array_equal(read.get("hessian"), whole.select(order).get("hessian"))


def test_only_those_present_take_space(tmp_path: Path) -> None:
    block = with_hessians(frames(50, 1), [20])

    manifest = write_arrays(tmp_path / "group", [block])

    assert manifest.arrays["hessian"].rows == block.n_atoms[20] ** 2
    starts = zarr.open_group(str(tmp_path / "group"), mode="r")["hessian_start"][:]
    assert starts.tolist() == [0 if i == 20 else -1 for i in range(50)]


def test_pairs_of_an_abandoned_calculation_are_cut_off_again(tmp_path: Path) -> None:
    kept, lost = with_hessians(frames(5, 1), [2]), with_hessians(frames(6, 2), [0, 1])
    writer = ArrayWriter(tmp_path / "group")
    writer.append(kept)
    position = writer.n_configurations, writer.n_atoms, writer.pairs
    writer.append(lost)

    writer.cut(*position)
    manifest = writer.finish()

    with Mapped([(tmp_path / "group", manifest)]) as mapped:
        np.testing.assert_array_equal(mapped.frames(np.arange(5)).get("hessian"), kept.get("hessian"))


def test_a_flipped_bit_under_a_hessian_is_noticed(tmp_path: Path) -> None:
    manifest = write_arrays(tmp_path / "group", [with_hessians(frames(5, 1), [2])])
    shard = tmp_path / "group" / "hessian" / "c.0.0.0"
    text = bytearray(shard.read_bytes())
    text[100] ^= 1
    shard.write_bytes(text)

    with Mapped([(tmp_path / "group", manifest)]) as mapped:
        mapped.gather("hessian", [0, 1])  # these have none
        with pytest.raises(CorruptError):
            mapped.gather("hessian", [2])
