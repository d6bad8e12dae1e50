"""A store in a bucket is read as one on disk, and only what is asked for comes across."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from object_store import CUT, Bucket
from tiny import Verb, refused

from mlpdata.api import Store
from mlpdata.errors import CorruptError, NotFound, StoreError, UsageError
from mlpdata.frames import Frames, concatenate
from mlpdata.store.commit import Repository
from mlpdata.store.index import Ids
from mlpdata.store.keeper import keeper, opened
from mlpdata.store.layout import BLOCK
from mlpdata.testing.samples import calculation, frames, ingest

Machine = Callable[[str], Path]


N_LARGE, N_ATOMS = 2048, 85
"""Of the large store: 4 MiB of positions and as much of forces."""


def clusters() -> Frames:
    """Atoms on a grid of 5 angstrom: too far apart for a search of neighbours to take long."""
    random = np.random.default_rng(1)
    total = N_LARGE * N_ATOMS
    grid = np.array(list(np.ndindex(5, 5, 4)))[:N_ATOMS] * 5.0
    return Frames(
        np.full(N_LARGE, N_ATOMS),
        {
            "atomic_numbers": np.full(total, 14),
            "positions": np.tile(grid, (N_LARGE, 1)),
            "forces": random.normal(size=(total, 3)),
            "pbc": np.zeros((N_LARGE, 3), bool),
            "energy": random.normal(size=N_LARGE),
        },
    )


_large: list[tuple[str, Frames]] = []


@pytest.fixture
def large(bucket: Bucket, machine: Machine) -> tuple[str, Frames]:
    """Address of a store that was written once, on another machine, and what is in it."""
    if not _large:
        machine("writer")
        store, whole = bucket.fresh(), clusters()
        repository = Repository.create(store)
        with repository.stage() as writer:
            writer.begin()
            writer.append(whole)
            writer.end(calculation(1))
            repository.commit(writer)
        _large.append((store, whole))
        machine("reader")
    return _large[0]


def read_all(store: str, ids: Ids) -> None:
    """Read configurations and records of a store."""
    snapshot = Store(store).snapshot()
    snapshot.read(ids)
    snapshot.calculations()


def shards(bucket: Bucket, array: str = "") -> list[int]:
    """Bytes of the answers to requests for shards."""
    return [one.n_bytes for one in bucket.requests if f"/arrays/{array}" in one.path]


def test_a_store_in_a_bucket_is_read_back_on_another_machine(bucket: Bucket, machine: Machine) -> None:
    store = bucket.fresh()
    ingest(store, [1, 2], n_configurations=5)
    ingest(store, [3], n_configurations=5)

    machine("another")
    snapshot = Store(store).snapshot()
    whole = concatenate([frames(5, number) for number in (1, 2, 3)])
    read = snapshot.read(whole.ids())
    for name, values in whole.arrays.items():
        np.testing.assert_array_equal(read.get(name), values)
    assert snapshot.calculations() == [calculation(1), calculation(2), calculation(3)]
    assert snapshot.sql("SELECT count(*) AS n FROM configurations").to_pylist() == [{"n": 15}]


def test_content_is_the_same_in_a_bucket_and_on_disk(bucket: Bucket, tmp_path: Path) -> None:
    there, here = ingest(bucket.fresh(), [1, 2]), ingest(tmp_path / "store", [1, 2])

    assert (there.content, there.segments) == (here.content, here.segments)


def test_a_bucket_holds_the_files_of_a_store_on_disk(bucket: Bucket, tmp_path: Path) -> None:
    store = bucket.fresh()
    ingest(store, [1, 2], time="2026-01-01T00:00:00+00:00")
    ingest(tmp_path / "store", [1, 2], time="2026-01-01T00:00:00+00:00")

    files = [path.relative_to(tmp_path / "store") for path in (tmp_path / "store").rglob("*") if path.is_file()]
    assert len(files) > 20
    for name in files:
        assert bucket.object(store, str(name)) == (tmp_path / "store" / name).read_bytes()


def test_a_batch_costs_the_blocks_that_it_touches_and_once(bucket: Bucket, large: tuple[str, Frames]) -> None:
    store, whole = large
    mapped = Store(store).snapshot().opened.mapped
    bucket.begin()

    # 64 configurations of 85 atoms of 24 bytes: 130,560 bytes from byte 2040 * 1000 on, in the blocks 1 and 2
    rows = np.arange(1000, 1064)
    np.testing.assert_array_equal(mapped.gather("forces", rows), whole.select(rows).forces)
    assert sum(shards(bucket, "forces")) == pytest.approx(2 * BLOCK, abs=2000)
    places = [*shards(bucket, "n_atoms"), *shards(bucket, "atom_start")]
    assert sorted(shards(bucket)) == sorted([*shards(bucket, "forces"), *places])

    bucket.begin()
    mapped.gather("forces", rows)
    mapped.gather("forces", rows[:5])
    assert bucket.requests == []

    again = Store(store).snapshot().opened.mapped
    bucket.begin()
    np.testing.assert_array_equal(again.gather("forces", rows), whole.select(rows).forces)
    assert bucket.requests == []


def test_opening_asks_for_no_array_but_those_that_are_read(bucket: Bucket, large: tuple[str, Frames]) -> None:
    bucket.begin()

    Store(large[0]).snapshot().opened.mapped.gather("energy", [5])

    places = {path.split("/arrays/")[1].split("/")[0] for _, path, _ in bucket.requests if "/arrays/" in path}
    assert places <= {"n_atoms", "atom_start", "energy"}


def test_many_configurations_from_everywhere_are_fetched_whole_blocks_at_a_time(
    bucket: Bucket, large: tuple[str, Frames]
) -> None:
    store, whole = large
    mapped = Store(store).snapshot().opened.mapped
    rows = np.random.default_rng(0).permutation(N_LARGE)[:64]
    bucket.begin()

    np.testing.assert_array_equal(mapped.gather("positions", rows), whole.select(rows).positions)

    assert sum(shards(bucket, "positions")) <= 4 * BLOCK + 2000 * len(bucket.requests)
    assert len(bucket.requests) <= 4


def damaged(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def kept_files(cache: Path) -> list[Path]:
    """What stands for the store on this machine, work folder left out."""
    (store,) = cache.glob("*/store")
    found = [path for path in sorted(store.rglob("*")) if path.is_file()]
    assert {"segment.json", "ids.bin", "configurations.parquet", "c.0", "c.0.0"} <= {path.name for path in found}
    return found


@pytest.mark.parametrize("damage", ["flipped", "cut", "emptied", "gone"])
def test_what_is_damaged_on_this_machine_is_fetched_again(bucket: Bucket, damage: str) -> None:
    store = bucket.fresh()
    ingest(store, [1])
    ids = Store(store).snapshot().ids()
    for path in kept_files(Path(os.environ["MLPDATA_CACHE"])):
        content = path.read_bytes()
        path.unlink()
        if damage != "gone":
            path.write_bytes({"flipped": damaged(content), "cut": content[:-9], "emptied": b""}[damage])

    snapshot = Store(store).snapshot()
    np.testing.assert_array_equal(snapshot.read(ids).energy, frames(3, 1).energy)
    assert len(snapshot.sql("SELECT path FROM calculations")) == 1


@pytest.mark.parametrize("damage", ["flipped", "cut", "gone"])
def test_what_is_damaged_in_the_bucket_is_an_error_that_names_the_object(
    bucket: Bucket, machine: Machine, damage: str
) -> None:
    store = bucket.fresh()
    record = ingest(store, [1])
    ids = frames(3, 1).ids()
    segment = f"segments/{record.segments[0]}"
    for name in (
        f"snapshots/{record.id}.json", f"{segment}/segment.json", f"{segment}/calculations.parquet", f"{segment}/ids.bin",
        f"{segment}/arrays/forces/c.0.0",
    ):  # fmt: skip
        content = bucket.object(store, name)
        bucket.delete(store, name)
        if damage != "gone":
            bucket.put(store, name, damaged(content) if damage == "flipped" else content[: len(content) // 3])
        machine(name.replace("/", "-"))

        with pytest.raises(CorruptError) as error:
            read_all(store, ids)
        assert str(error.value).startswith(f"{store}/{name}: ")

        bucket.put(store, name, content)
    assert Store(store).verify().ok


def test_damaged_bytes_of_a_bucket_never_come_to_lie_where_another_process_reads(
    bucket: Bucket, machine: Machine
) -> None:
    store = bucket.fresh()
    record = ingest(store, [1])
    name = f"segments/{record.segments[0]}/arrays/forces/c.0.0"
    content = bucket.object(store, name)
    bucket.put(store, name, damaged(content))
    machine("another")

    with pytest.raises(CorruptError):
        Store(store).snapshot().read(frames(3, 1).ids())

    here = (opened(store) / name).read_bytes()
    assert len(here) == len(content)
    assert set(here[: len(content) // 2]) == {0}


def test_a_damaged_bucket_does_not_spoil_what_was_read_before(bucket: Bucket) -> None:
    store = bucket.fresh()
    record = ingest(store, [1])
    name = f"segments/{record.segments[0]}/arrays/forces/c.0.0"
    bucket.put(store, name, damaged(bucket.object(store, name)))

    read = Store(store).snapshot().read(frames(3, 1).ids())

    np.testing.assert_array_equal(read.forces, frames(3, 1).forces)


@pytest.mark.parametrize("damage", ["flipped", "cut", "gone", "stranger"])
def test_verify_looks_at_the_bucket_not_at_the_copy(bucket: Bucket, damage: str) -> None:
    store = bucket.fresh()
    record = ingest(store, [1, 2])
    assert Store(store).verify().ok
    name = f"segments/{record.segments[0]}/arrays/energy/c.0"
    content = bucket.object(store, name)
    if damage == "stranger":
        bucket.put(store, name.replace("c.0", "c.7"), content)
    elif damage == "gone":
        bucket.delete(store, name)
    else:
        bucket.put(store, name, damaged(content) if damage == "flipped" else content[:-8])

    faults = Store(store).verify().faults

    assert [fault.path.split("/segments/")[1] for fault in faults] == [
        name.removeprefix("segments/").replace("c.0", "c.7" if damage == "stranger" else "c.0")
    ]
    assert Store(store).verify(quick=True).ok == (damage == "flipped")


def test_tags_are_in_the_bucket_and_name_snapshots_on_every_machine(bucket: Bucket, machine: Machine) -> None:
    store = bucket.fresh()
    first = ingest(store, [1])
    Repository.open(store).tag("paper")
    second = ingest(store, [2])

    machine("another")
    repository = Repository.open(store)
    assert repository.snapshot("paper").record == first
    assert repository.snapshot(second.id[:8]).record == second
    repository.tag("paper", move=True)
    assert repository.tags() == {"paper": second.id}
    assert [one.id for one in repository.log()] == [second.id, first.id]


def test_a_bucket_without_a_store_and_one_that_is_not_there_are_told_apart(bucket: Bucket) -> None:
    with pytest.raises(NotFound, match="mlpdata ingest"):
        Store(bucket.fresh())
    with pytest.raises(StoreError, match="expected the bucket nowhere, found none"):
        Store("s3://nowhere/store")


def test_a_bucket_that_lost_its_head_is_not_taken_for_an_empty_one(bucket: Bucket) -> None:
    store = bucket.fresh()
    ingest(store, [1])
    bucket.delete(store, "HEAD")

    with pytest.raises(CorruptError, match="expected HEAD beside the snapshots"):
        Repository.open_or_create(store)


def test_wrong_credentials_are_one_line_that_says_what_to_set(bucket: Bucket, verb: Verb) -> None:
    store = bucket.fresh()
    bucket.ask("POST", "/moto-api/reset-auth", b"0")
    try:
        refused(verb("log", "--store", store), 4, store, "AWS_ACCESS_KEY_ID")
    finally:
        bucket.ask("POST", "/moto-api/reset-auth", b"inf")


def test_a_network_that_is_down_is_one_line(bucket: Bucket, verb: Verb) -> None:
    store = bucket.fresh()
    bucket.begin(lambda *_: CUT)

    refused(verb("log", "--store", store), 4, f"{store}/HEAD", "AWS_ENDPOINT_URL")


@pytest.mark.parametrize("address", ["s3://", "gs://bucket/store", "https://s3.example.org/bucket"])
def test_an_address_of_no_bucket_of_this_kind_is_refused(verb: Verb, address: str) -> None:
    refused(verb("log", "--store", address), 2, "s3://bucket/path")


def test_an_endpoint_that_is_no_address_is_refused(bucket: Bucket, verb: Verb, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "s3.example.org")

    refused(verb("log", "--store", bucket.fresh()), 2, "AWS_ENDPOINT_URL", "https://")


def test_without_obstore_the_error_names_the_extra(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "obstore", None)
    monkeypatch.setitem(sys.modules, "obstore.store", None)
    monkeypatch.setitem(sys.modules, "obstore.exceptions", None)

    with pytest.raises(UsageError, match=r"mlpdata\[s3\]"):
        Store("s3://bucket/store")


def test_a_forked_process_is_told_to_be_spawned_instead_of_waiting_for_ever(bucket: Bucket, machine: Machine) -> None:
    store = bucket.fresh()
    ingest(store, [1])
    machine("another")
    repository = Repository.open(store)

    child = os.fork()
    if child == 0:
        try:
            repository.snapshot()
        except StoreError as error:
            os._exit(7 if "spawn" in str(error) else 1)
        os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_splits_of_a_store_in_a_bucket_stand_in_the_working_folder(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = opened(bucket.fresh())

    assert keeper(store).beside(store) == tmp_path


def test_verbs_take_the_address_of_a_bucket(bucket: Bucket, verb: Verb, raw: Path) -> None:
    store = bucket.fresh()

    assert verb("ingest", "raw", "--store", store).code == 0
    assert "5" in verb("sql", "SELECT count(*) FROM calculations", "--store", store).out
    assert verb("verify", "--store", store).code == 0
    assert "0 configurations of 0 calculations entered" in verb("ingest", "raw", "--store", store).out
    assert verb("status", "raw", "--store", store).code == 0
    assert not (raw.parent / "s3:").exists()
