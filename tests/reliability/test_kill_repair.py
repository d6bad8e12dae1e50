"""Kill a repair, or fail its disk, at every durable operation: nothing is worse than it was, and a second one completes."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from mlpdata.errors import MlpdataError, StoreError
from mlpdata.store.commit import Repository
from mlpdata.store.repair import RepairReport, repair
from mlpdata.store.verify import verify
from mlpdata.testing.faults import DISK_ERRORS, failing_at, kill_at, recorded
from mlpdata.testing.samples import ingest


@pytest.fixture
def pristine(tmp_path: Path) -> Path:
    """Two segments; tests copy it."""
    ingest(tmp_path / "pristine" / "store", [1, 2], 2)
    ingest(tmp_path / "pristine" / "store", [3], 2)
    return tmp_path / "pristine" / "store"


def damaged(pristine: Path, places: tuple[str, ...]) -> Path:
    """A copy in which files are damaged: sixteen bytes at their beginning, or all of a HEAD."""
    folder = pristine.parent.with_name("copy")
    shutil.rmtree(folder, ignore_errors=True)
    store = Path(shutil.copytree(pristine, folder / "store"))
    segment = Repository.open(store).snapshot().record.segments[0]
    for place in places:
        path = store / place.format(segment=segment)
        content = bytearray(path.read_bytes())
        content[:16] = bytes(255 - one for one in content[:16])
        path.write_bytes(content)
    return store


def shown(store: Path) -> str:
    """What the store shows as far as that can be told."""
    try:
        return Repository.open(store).snapshot().content
    except MlpdataError:
        return ""


def contents(store: Path) -> dict[str, bytes]:
    return {path.relative_to(store).as_posix(): path.read_bytes() for path in store.rglob("*") if path.is_file()}


CASES: dict[str, tuple[tuple[str, ...], Callable[[Path, Path], RepairReport]]] = {
    "from a copy": (
        ("HEAD", "segments/{segment}/segment.json", "segments/{segment}/arrays/positions/c.0.0"),
        repair,
    ),
    "from the rest": (
        ("segments/{segment}/ids.bin", "segments/{segment}/configurations.parquet"),
        lambda store, _: repair(store),
    ),
    "by giving up": (
        ("segments/{segment}/arrays/positions/c.0.0",),
        lambda store, _: repair(store, drop=True),
    ),
}


@pytest.mark.parametrize("points", [5, pytest.param(1000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("fails", ["killed", "disk"])
@pytest.mark.parametrize("case", CASES)
def test_a_repair_that_does_not_end_makes_nothing_worse(pristine: Path, case: str, fails: str, points: int) -> None:
    places, mend = CASES[case]
    store = damaged(pristine, places)
    whole, broken, before = contents(pristine), contents(store), shown(store)
    operations = recorded(lambda: mend(store, pristine))
    after = shown(store)
    assert verify(store).ok

    n = len(operations)
    for nth in sorted({*range(1, n + 1, max(1, n // points)), *range(n - 3, n + 1)}):
        store = damaged(pristine, places)
        if fails == "killed":
            assert kill_at(nth, lambda store=store: mend(store, pristine))
        else:
            with failing_at(nth, DISK_ERRORS[nth % len(DISK_ERRORS)]), suppress(StoreError):
                mend(store, pristine)
        for name, content in contents(store).items():
            assert name == "HEAD" or content in (broken.get(name, content), whole.get(name)), operations[nth - 1]
        assert broken.keys() <= contents(store).keys(), operations[nth - 1]
        assert shown(store) in (before, after, shown(pristine)), operations[nth - 1]
        mend(store, pristine)
        assert verify(store).faults == [], operations[nth - 1]
        assert shown(store) == after, operations[nth - 1]
        assert list((store.with_name("store.work") / "staging").iterdir()) == [], operations[nth - 1]
