"""Reading by mapping: what is read is what was written, or an error that names the block."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mlpdata.errors import CorruptError, NotFound, UsageError
from mlpdata.frames import Frames, concatenate
from mlpdata.store.arrays import write_arrays
from mlpdata.store.blocks import Blocks
from mlpdata.store.mapping import Mapped, Part
from mlpdata.store.ranges import Pieces, open_shards
from mlpdata.testing.samples import frames

BLOCKS = [frames(40, 1, forces=False), frames(300, 2), frames(5, 3, periodic=False)]
WHOLE = concatenate(BLOCKS)


@pytest.fixture
def parts(tmp_path: Path) -> list[Part]:
    return [(tmp_path / str(i), write_arrays(tmp_path / str(i), [block])) for i, block in enumerate(BLOCKS)]


@pytest.fixture(params=[True, False], ids=["one range", "a mapping a file"])
def mapped(request: pytest.FixtureRequest, parts: list[Part]) -> Iterator[Mapped]:
    with Mapped(parts, reserve=request.param) as opened:
        yield opened


def test_rows_come_in_the_order_asked_with_repeats(mapped: Mapped) -> None:
    rows = np.array([344, 0, 41, 41, 339, 40, 39])

    read = mapped.frames(rows)

    expected = WHOLE.select(rows)
    np.testing.assert_array_equal(read.n_atoms, expected.n_atoms)
    for name in WHOLE.arrays:
        np.testing.assert_array_equal(read.get(name), expected.get(name))


def test_every_row_of_every_array_is_what_was_written(mapped: Mapped) -> None:
    rows = np.arange(len(WHOLE))

    for name in WHOLE.arrays:
        np.testing.assert_array_equal(mapped.gather(name, rows), WHOLE.get(name))
    np.testing.assert_array_equal(mapped.n_atoms, WHOLE.n_atoms)
    assert mapped.n_configurations == len(WHOLE)


def test_an_array_that_one_part_lacks_reads_as_absent_there(mapped: Mapped) -> None:
    assert np.isnan(mapped.gather("forces", np.arange(40))).all()
    assert not np.isnan(mapped.gather("forces", np.arange(40, 340))).any()
    assert np.isnan(mapped.gather("stress", [344])).all()


def test_a_property_that_no_part_has_reads_as_its_sentinel(mapped: Mapped) -> None:
    np.testing.assert_array_equal(mapped.gather("multiplicity", [1, 2]), [0, 0])
    assert mapped.gather("velocities", [0, 1]).shape == (int(WHOLE.n_atoms[:2].sum()), 3)
    with pytest.raises(UsageError, match="found 'forecs'"):
        mapped.gather("forecs", [0])


def test_an_array_given_is_filled(mapped: Mapped) -> None:
    out = np.empty((int(WHOLE.n_atoms[50:60].sum()), 3))

    assert mapped.gather("positions", np.arange(50, 60), out) is out
    np.testing.assert_array_equal(out, WHOLE.select(np.arange(50, 60)).positions)


@pytest.mark.parametrize("row", [-1, 345, 2**40])
def test_a_row_outside_is_refused(mapped: Mapped, row: int) -> None:
    with pytest.raises(NotFound, match="from 0 to 344"):
        mapped.gather("energy", [row])


def test_a_view_is_one_part_as_it_lies_in_memory(mapped: Mapped) -> None:
    np.testing.assert_array_equal(mapped.view("positions", 1), BLOCKS[1].positions)
    assert mapped.view("forces", 0) is None


def test_a_view_outlives_the_mapping(parts: list[Part]) -> None:
    mapped = Mapped(parts)
    view = mapped.view("positions", 1)
    mapped.close()
    del mapped

    np.testing.assert_array_equal(view, BLOCKS[1].positions)
    with pytest.raises(ValueError, match="read-only"):
        view[0] = 0


def test_a_closed_mapping_says_so(parts: list[Part]) -> None:
    mapped = Mapped(parts)
    mapped.close()

    with pytest.raises(UsageError, match="closed"):
        mapped.gather("energy", [0])


def test_other_element_types_come_as_stored_and_as_doubles_in_frames(tmp_path: Path) -> None:
    manifest = write_arrays(tmp_path / "view", [BLOCKS[1]], {"positions": "float32"})

    with Mapped([(tmp_path / "view", manifest)]) as mapped:
        assert mapped.gather("positions", [3]).dtype == np.float32
        np.testing.assert_array_equal(mapped.frames([3]).positions, np.float32(BLOCKS[1].select([3]).positions))


def test_nothing_at_all_can_be_mapped() -> None:
    with Mapped([]) as mapped:
        assert mapped.n_configurations == 0
        assert mapped.names == ()


def test_configurations_without_atoms_are_read(tmp_path: Path) -> None:
    empty = Frames([0, 2, 0], {"atomic_numbers": [1, 1], "positions": np.zeros((2, 3)), "pbc": np.zeros((3, 3))})
    manifest = write_arrays(tmp_path / "a", [empty])

    with Mapped([(tmp_path / "a", manifest)]) as mapped:
        assert mapped.frames([2, 1, 0]).n_atoms.tolist() == [0, 2, 0]


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def test_a_flipped_bit_is_reported_when_its_block_is_first_read(parts: list[Part]) -> None:
    folder = parts[1][0]
    flip(folder / "forces" / "c.0.0", 5000)

    with Mapped(parts) as mapped:
        np.testing.assert_array_equal(mapped.gather("positions", [100]), WHOLE.select([100]).positions)
        with pytest.raises(CorruptError, match="block 0") as caught:
            mapped.gather("forces", [100])
    assert caught.value.path == str(folder / "forces" / "c.0.0")


def test_only_the_block_that_is_touched_is_verified(tmp_path: Path) -> None:
    block = frames(50_000, 1, most=3)
    manifest = write_arrays(tmp_path / "a", [block])
    flip(tmp_path / "a" / "positions" / "c.0.0", 2**20 + 7)

    with Mapped([(tmp_path / "a", manifest)]) as mapped:
        mapped.gather("positions", np.arange(100))
        with pytest.raises(CorruptError, match="block 1 "):
            mapped.gather("positions", np.arange(30_000))


@pytest.mark.parametrize("name", ["n_atoms", "atom_start"])
def test_a_bit_that_flips_in_the_counts_is_reported_before_they_are_used(parts: list[Part], name: str) -> None:
    flip(parts[0][0] / name / "c.0", 8)

    with Mapped(parts) as mapped:
        for row in (0, mapped.first_row[1] - 1):
            with pytest.raises(CorruptError, match="checksum"):
                mapped.gather("positions", [row])
        mapped.gather("positions", [mapped.first_row[1]])  # of another segment
        with pytest.raises(CorruptError, match="checksum"):
            mapped.check_counts()


@pytest.mark.parametrize("size", [0, 100, -1, -16])
def test_a_truncated_shard_is_refused_at_open(parts: list[Part], size: int) -> None:
    path = parts[1][0] / "energy" / "c.0"
    path.write_bytes(path.read_bytes()[:size])

    with pytest.raises(CorruptError, match="bytes, found") as caught:
        Mapped(parts)
    assert caught.value.path == str(path)


def test_a_shard_index_that_changed_is_refused_at_open(parts: list[Part]) -> None:
    flip(parts[1][0] / "energy" / "c.0", -3)

    with pytest.raises(CorruptError, match="shard index"):
        Mapped(parts)


def test_a_missing_shard_is_refused_at_open(parts: list[Part]) -> None:
    (parts[1][0] / "energy" / "c.0").unlink()

    with pytest.raises(CorruptError, match="No such file"):
        Mapped(parts)


def test_a_block_of_padding_alone_is_not_waited_for(tmp_path: Path) -> None:
    n_atoms = np.full(2150, 20)  # 43,000 positions end in the first MiB, eleven chunks of 4096 in the second
    block = Frames(
        n_atoms,
        {
            "atomic_numbers": np.full(43_000, 14),
            "positions": np.random.default_rng(0).normal(size=(43_000, 3)),
            "pbc": np.zeros((2150, 3)),
        },
    )
    manifest = write_arrays(tmp_path / "arrays", [block])
    record = manifest.arrays["positions"]
    placed = list(open_shards(tmp_path / "arrays", manifest, "positions", 43_000, record, base=0))
    blocks = Blocks(placed, Pieces(placed[0].rows, record, np.nan, placed))
    assert len(placed[0].record.checksums()) == 2

    blocks.check(np.array([0]), np.array([43_000 * record.row_bytes]))

    assert blocks.n_unread == 0


def test_an_array_begins_where_a_huge_page_may(parts: list[Part]) -> None:
    with Mapped(parts) as mapped:
        for name in ("positions", "energy"):
            first = mapped.view(name, 0)
            assert first is not None
            assert first.ctypes.data % (2 << 20) == 0
