"""Damage a store in every way that a disk can, and read it in every way that a user can.

What is read must be what was written, or an error of ours: never another number, and never silence of `verify`.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import numpy as np
from store_commits import TIME, amended, ingest

from mlpdata.errors import CorruptError
from mlpdata.frames import Frames
from mlpdata.query import run_sql
from mlpdata.store.commit import Repository
from mlpdata.store.snapshot import OpenSnapshot
from mlpdata.store.verify import verify
from mlpdata.testing.samples import ingest as ingest_many

NUMBERS = ("positions", "energy", "forces")
Read = Callable[[OpenSnapshot], Any]


def everything(store: Path) -> None:
    """A small store with a file of every kind: a segment, an amendment, snapshots, a tag."""
    ingest(store, 1, 3)
    repository = Repository.open(store)
    repository.tag("paper")
    repository.commit(amend=amended(repository), time=TIME)


def many(store: Path) -> None:
    """A larger one: arrays of several blocks, five segments."""
    for number in range(4):
        ingest_many(store, range(5 * number, 5 * number + 5), 40, time=TIME)
    ingest_many(store, range(100, 104), 3000, time=TIME)


def plain(frames: Frames) -> dict[str, bytes]:
    """All bytes of frames."""
    arrays = {name: np.asarray(frames.arrays[name]).tobytes() for name in sorted(frames.arrays)}
    return {"n_atoms": frames.n_atoms.tobytes(), **arrays}


READS: dict[str, Read] = {
    "frames": lambda snapshot: plain(snapshot.read(snapshot.ids())),
    "ids": lambda snapshot: snapshot.ids().tobytes(),
    "gather": lambda snapshot: {
        name: values.tobytes()
        for name, values in snapshot.mapped.gather_many(NUMBERS, snapshot.visible_rows()[::-1]).items()
    },
    "calculations": lambda snapshot: [one.as_json() for one in snapshot.calculations()],
    "sql": lambda snapshot: run_sql(snapshot, "SELECT * FROM configurations ORDER BY id").to_pydict(),
    "atoms": lambda snapshot: run_sql(snapshot, "SELECT * FROM atoms ORDER BY ALL").to_pydict(),
}
"""Ways to read a snapshot, each with a result that can be compared."""
TURNS = (*["frames", "ids", "gather", "calculations"] * 5, "sql", "atoms")
"""How often each has its turn: a query takes ten times as long, and rests on the same checks of the same files."""


class Damage(NamedTuple):
    """What is done to one file."""

    kind: str
    path: Path
    at: int = 0
    """Byte."""
    bit: int = 0
    other: Path | None = None
    """Takes its place."""

    def __str__(self) -> str:
        return f"{self.kind} {self.path} at {self.at}"


class Damaged:
    """A store that is damaged and restored again and again.

    Args:
        make: makes it.
        folder: where.
        seed: of what is drawn.
    """

    def __init__(self, make: Callable[[Path], object], folder: Path, seed: int = 0) -> None:
        self.store = folder / "store"
        make(self.store)
        shutil.rmtree(folder / "store.work")
        self.files = sorted(path for path in self.store.rglob("*") if path.is_file())
        self.random = Random(seed)
        assert verify(self.store).ok
        self.right = {name: self._read(name) for name in READS}
        self._turn = itertools.cycle(itertools.product(TURNS, (False, True)))

    def _read(self, name: str) -> Any:
        snapshot = self._open()
        try:
            return READS[name](snapshot)
        finally:
            snapshot.close()

    def _open(self) -> OpenSnapshot:
        return Repository.open(self.store).snapshot()

    def flips(self, number: int) -> Iterator[Damage]:
        """Single bits: half of them drawn by file, so that small files are hit as well, half by byte."""
        sizes = [path.stat().st_size for path in self.files]
        for by_size in itertools.islice(itertools.cycle((True, False)), number):
            path = self.random.choices(self.files, sizes if by_size else None)[0]
            yield Damage("flip", path, self.random.randrange(path.stat().st_size), self.random.randrange(8))

    def losses(self) -> Iterator[Damage]:
        """Every file missing, empty, shorter by a byte, cut in half, longer by a byte, and another in its place."""
        for path in self.files:
            size = path.stat().st_size
            yield Damage("missing", path)
            yield from (Damage("cut", path, at) for at in sorted({0, size // 2, size - 1}))
            yield Damage("longer", path)
            alike = self._alike(path)
            yield from (Damage("swapped", path, other=other) for other in self.random.sample(alike, min(2, len(alike))))

    def _alike(self, path: Path) -> list[Path]:
        """Files that could be taken for another: one that names a snapshot is no damage where another one did."""
        if not path.suffix:
            return []
        return [one for one in self.files if one.suffix == path.suffix and one.read_bytes() != path.read_bytes()]

    def faults(self, damage: Damage, *, all_reads: bool = False) -> list[str]:
        """Do the damage: what `verify` keeps silent of, and what is read wrong, also by who had opened the store before.

        Args:
            damage: what is done; the file is as it was afterwards.
            all_reads: try every way to read instead of the one whose turn it is.
        """
        faults = []
        before = self._open()
        before.mapped  # noqa: B018  all is mapped, and nothing read yet
        with done(damage):
            faults += [f"verify is silent of {damage}"] if verify(self.store).ok else []
            for name, is_open in itertools.product(READS, (False, True)) if all_reads else [next(self._turn)]:
                faults += self._compared(name, before if is_open else None, damage)
        before.close()
        return faults

    def _compared(self, name: str, before: OpenSnapshot | None, damage: Damage) -> list[str]:
        where = f"{damage}{' once open' if before else ''}, read {name}"
        try:
            found = self._read(name) if before is None else READS[name](before)
        except CorruptError:
            return []
        except Exception as error:  # noqa: BLE001  what no user should see, and what he should not
            return [f"{where}: {type(error).__name__}: {error}"]
        return [] if found == self.right[name] else [f"{where}: other numbers"]


@contextmanager
def done(damage: Damage) -> Iterator[None]:
    """The damage is there while the block runs.

    A flip changes the file in place, under any mapping; the others put another file there, because the kernel kills
    whoever reads what was cut off under a mapping.
    """
    content = damage.path.read_bytes()
    if damage.kind == "flip":
        _put(damage.path, damage.at, content[damage.at] ^ 1 << damage.bit)
        try:
            yield
        finally:
            _put(damage.path, damage.at, content[damage.at])
        return
    changed = {
        "cut": content[: damage.at],
        "longer": content + b"\0",
        "swapped": damage.other.read_bytes() if damage.other is not None else b"",
    }
    damage.path.unlink()
    try:
        if damage.kind in changed:
            damage.path.write_bytes(changed[damage.kind])
        yield
    finally:
        with suppress(FileNotFoundError):
            damage.path.unlink()
        damage.path.write_bytes(content)


def _put(path: Path, at: int, value: int) -> None:
    with path.open("r+b", buffering=0) as file:
        file.seek(at)
        file.write(bytes([value]))
