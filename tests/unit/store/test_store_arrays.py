"""The Zarr group that is written: other programs read it, and it is cut as the layout says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import zarr

from mlpdata.errors import UsageError
from mlpdata.frames import Frames, concatenate
from mlpdata.schema.properties import PROPERTIES
from mlpdata.store import layout
from mlpdata.store.arrays import ArrayWriter, write_arrays
from mlpdata.testing.samples import frames

BLOCKS = [frames(30, 1, forces=False), frames(200, 2), frames(7, 3, periodic=False)]


def read_by_zarr(folder: Path, name: str) -> np.ndarray:
    return zarr.open_group(str(folder), mode="r")[name][:]


def test_zarr_python_reads_every_array_back_exactly(tmp_path: Path) -> None:
    manifest = write_arrays(tmp_path / "group", BLOCKS)

    whole = concatenate(BLOCKS)
    assert set(manifest.arrays) == {*whole.arrays, "n_atoms", "atom_start"}
    for name, values in whole.arrays.items():
        read = read_by_zarr(tmp_path / "group", name)
        assert read.dtype == values.dtype
        np.testing.assert_array_equal(read, values)
    np.testing.assert_array_equal(read_by_zarr(tmp_path / "group", "n_atoms"), whole.n_atoms)
    np.testing.assert_array_equal(read_by_zarr(tmp_path / "group", "atom_start"), whole.atom_start[:-1])


def test_zarr_python_reads_an_array_of_several_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "_SHARD", {"atom": 256, "configuration": 64})
    monkeypatch.setattr(layout, "_CHUNK", {"atom": 64, "configuration": 64})
    block = frames(300, 5)

    manifest = write_arrays(tmp_path / "group", [block])

    assert manifest.arrays["positions"].n_shards == -(-len(block.positions) // 256)
    assert manifest.arrays["energy"].n_shards == 5
    for name, values in block.arrays.items():
        np.testing.assert_array_equal(read_by_zarr(tmp_path / "group", name), values)


def test_metadata_name_the_codecs_the_index_and_the_unit(tmp_path: Path) -> None:
    write_arrays(tmp_path / "group", BLOCKS)

    metadata = json.loads((tmp_path / "group" / "forces" / "zarr.json").read_bytes())

    (codec,) = metadata["codecs"]
    assert codec["name"] == "sharding_indexed"
    assert codec["configuration"]["codecs"] == [{"name": "bytes", "configuration": {"endian": "little"}}]
    assert codec["configuration"]["index_location"] == "end"
    assert metadata["fill_value"] == "NaN"
    assert metadata["attributes"] == {
        "unit": "eV/angstrom",
        "shape": ["n_atoms", 3],
        "dtype": "float64",
        "sign": PROPERTIES["forces"].meaning,
    }


def test_the_data_part_of_a_shard_is_the_plain_array(tmp_path: Path) -> None:
    manifest = write_arrays(tmp_path / "group", BLOCKS)
    whole = concatenate(BLOCKS)

    record = manifest.arrays["positions"]
    content = (tmp_path / "group" / record.shard_name("positions", 0)).read_bytes()

    assert content[: whole.positions.nbytes] == whole.positions.tobytes()
    offsets = np.frombuffer(content[-record.grid.index_bytes :], "<u8").reshape(-1, 2)
    present = offsets[:, 0] != 2**64 - 1
    assert offsets[present, 1].tolist() == [record.chunk_rows * 24] * present.sum()
    assert len(content) == present.sum() * record.chunk_rows * 24 + record.grid.index_bytes


def test_chunks_and_shards_of_large_arrays_are_those_of_the_layout() -> None:
    assert layout.grid("atom", 30_000_000, large=False) == (16_384, 1_048_576)
    assert layout.grid("atom", 30_000_000, large=True) == (16_384, 4_194_304)
    assert layout.grid("configuration", 900_000, large=False) == (1_024, 65_536)
    assert layout.grid("configuration", 2_000_000, large=True) == (1_024, 1_048_576)


@pytest.mark.parametrize("rows", [0, 1, 63, 64, 65, 1000, 16_384, 131_073])
def test_padding_of_a_small_array_is_an_eighth_or_one_smallest_chunk(rows: int) -> None:
    grid = layout.grid("atom", rows, large=False)

    assert grid.padded(rows) - rows < max(64, rows // 8 + 1)
    assert grid.shard_rows % grid.chunk_rows == 0
    assert grid.shard_rows >= rows


def test_an_array_that_is_blank_everywhere_is_left_out(tmp_path: Path) -> None:
    block = frames(4, 1).with_arrays(charge=np.full(4, np.nan), multiplicity=np.zeros(4))

    manifest = write_arrays(tmp_path / "group", [block])

    assert "charge" not in manifest.arrays
    assert "multiplicity" not in manifest.arrays
    assert "forces" in manifest.arrays


def test_element_types_may_differ_from_the_registry(tmp_path: Path) -> None:
    block = frames(50, 1)

    manifest = write_arrays(tmp_path / "group", [block], {"positions": "float32", "forces": "float32"})

    read = read_by_zarr(tmp_path / "group", "positions")
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, block.positions.astype(np.float32))
    assert manifest.arrays["energy"].dtype == "float64"


def test_a_number_that_the_type_cannot_hold_is_refused(tmp_path: Path) -> None:
    block = Frames([1], {"atomic_numbers": [1], "positions": [[1e300, 0, 0]], "pbc": np.zeros((1, 3))})

    with pytest.raises(UsageError, match="positions that float32 can hold"):
        write_arrays(tmp_path / "group", [block], {"positions": "float32"})


def test_the_manifest_lists_every_file_with_size_digest_and_blocks(tmp_path: Path) -> None:
    manifest = write_arrays(tmp_path / "group", [frames(60_000, 1, most=2)])

    found = {p.relative_to(tmp_path / "group").as_posix() for p in (tmp_path / "group").rglob("*") if p.is_file()}
    assert set(manifest.files) == found
    record = manifest.arrays["positions"]
    data = record.grid.padded(record.rows) * 24
    assert len(manifest.files["positions/c.0.0"].checksums()) == -(-data // 2**20) > 1


def test_the_same_blocks_give_the_same_manifest_however_they_are_cut(tmp_path: Path) -> None:
    block = frames(100, 1)

    whole = write_arrays(tmp_path / "whole", [block])
    halves = write_arrays(tmp_path / "halves", [block.select(np.arange(37)), block.select(np.arange(37, 100))])

    assert whole == halves


def test_no_configuration_at_all_is_a_group_that_can_be_read(tmp_path: Path) -> None:
    manifest = write_arrays(tmp_path / "group", [])

    assert (manifest.n_configurations, manifest.n_atoms) == (0, 0)
    assert read_by_zarr(tmp_path / "group", "n_atoms").shape == (0,)


def test_rows_that_are_cut_off_leave_no_trace(tmp_path: Path) -> None:
    kept, dropped, later = frames(20, 1, forces=False), frames(30, 2), frames(10, 3)
    writer = ArrayWriter(tmp_path / "cut")
    writer.append(kept)
    writer.append(dropped)
    writer.cut(20, len(kept.positions))
    writer.append(later)

    assert writer.finish() == write_arrays(tmp_path / "plain", [kept, later])
