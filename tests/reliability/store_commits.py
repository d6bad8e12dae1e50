"""Commits of five kinds upon a small store, and what must hold after one of them, whatever happened on the way."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mlpdata.errors import NotFound
from mlpdata.frames import Frames
from mlpdata.schema.records import Snapshot
from mlpdata.store.amendments import Amended
from mlpdata.store.commit import Repository
from mlpdata.store.verify import verify
from mlpdata.testing.samples import calculation

TIME = "2026-01-31T12:00:00+00:00"
"""Of all commits, so that the same commit gives the same files."""

Shown = tuple[str | None, tuple[tuple[str, str], ...]]
"""Content of the current snapshot, and of each tag."""


class Commit(NamedTuple):
    """One kind of commit."""

    name: str
    prepare: Callable[[Path], object]
    """Makes the store upon which it is done."""
    act: Callable[[Path], object]
    """Does it; once more changes nothing."""

    def __str__(self) -> str:
        return self.name


def frames(number: int) -> Frames:
    """Two configurations, as few arrays as a run can have."""
    random = np.random.default_rng(number)
    return Frames(
        [2, 1],
        {
            "atomic_numbers": [14, 14, 8],
            "positions": random.normal(size=(3, 3)),
            "pbc": np.zeros((2, 3)),
            "energy": random.normal(size=2),
            "forces": random.normal(size=(3, 3)),
        },
    )


def ingest(store: Path, *numbers: int, amend: bool = False, repository: Repository | None = None) -> Snapshot:
    """One commit of the runs `numbers`; with `amend`, runs 1 and 3 get other attributes in it."""
    repository = repository or Repository.open_or_create(store)
    with repository.stage() as writer:
        for number in numbers:
            writer.begin()
            writer.append(frames(number))
            writer.end(calculation(number))
        staged = repository.adopt(writer)
        assert staged is not None
        changes = amended(repository, staged.segment) if amend else ()
        return repository.commit(staged=[staged], amend=changes, time=TIME)


def amended(repository: Repository, segment: str | None = None) -> list[Amended]:
    """Run 1 with another kind and its first configuration hidden, run 3 with another license.

    Args:
        repository: run 1 is in its first segment.
        segment: that of run 3; the last one by default.
    """
    head = repository.head()
    assert head is not None
    return [
        Amended(head.segments[0], calculation(1).record, calculation(1, kind="random"), 1),
        Amended(segment or head.segments[-1], calculation(3).record, calculation(3, license="CC0-1.0")),
    ]


def two_runs(store: Path) -> None:
    ingest(store, 1, 2)


def hidden_run(store: Path) -> None:
    """Run 1 is retracted."""
    two_runs(store)
    repository = Repository.open(store)
    repository.commit(retract=[_key(repository, 1)], time=TIME)


def retract_and_restore(store: Path) -> None:
    """Hide run 2, show run 1."""
    repository = Repository.open(store)
    (segment, record, _), second = _key(repository, 1), _key(repository, 2)
    repository.commit(retract=[second], restore=[(segment, record)], time=TIME)


def _key(repository: Repository, number: int) -> tuple[str, str, str]:
    head = repository.head()
    assert head is not None
    return head.segments[0], calculation(number).record, "wrong"


def tagged(store: Path) -> None:
    """Two commits; the tag is at the first."""
    two_runs(store)
    Repository.open(store).tag("paper", move=True)
    ingest(store, 3)


COMMITS = (
    Commit("first ingest", lambda _: None, lambda store: ingest(store, 3)),
    Commit("ingest", two_runs, lambda store: ingest(store, 3, 4, 5)),
    Commit("ingest that amends", two_runs, lambda store: ingest(store, 3, amend=True)),
    Commit("retraction", hidden_run, retract_and_restore),
    Commit("tag", tagged, lambda store: Repository.open(store).tag("paper", move=True)),
)
"""What is killed, starved and cut off."""


def shown(store: Path) -> Shown:
    """What a user sees of the store; before the first commit, nothing."""
    try:
        repository = Repository.open(store)
    except NotFound:
        return None, ()
    head = repository.head()
    tags = ((name, repository.read(snapshot).content) for name, snapshot in sorted(repository.tags().items()))
    return head.content if head is not None else None, tuple(tags)


class Ground:
    """A place where one kind of commit is done again and again, each time upon the same store.

    Args:
        commit: the kind.
        folder: where.
    """

    def __init__(self, commit: Commit, folder: Path) -> None:
        self.commit, self.folder = commit, folder
        self.store = folder / "now" / "store"
        commit.prepare(folder / "before" / "store")
        (folder / "before").mkdir(parents=True, exist_ok=True)
        self.renew()
        self.old = shown(self.store)
        self._before = tree_digest(self.folder / "before")
        self.act()
        self.new = shown(self.store)
        assert self.old != self.new
        self._well: dict[str, Shown] = {}
        """What well stores show, by the digest of all their files."""

    def act(self) -> None:
        """Do the commit."""
        self.commit.act(self.store)

    def renew(self) -> None:
        """Go back to the store as it was before the commit."""
        shutil.rmtree(self.folder / "now", ignore_errors=True)
        shutil.copytree(self.folder / "before", self.folder / "now")

    @property
    def is_untouched(self) -> bool:
        """Whether all files are as they were before the commit: nothing that is done from here can differ."""
        return tree_digest(self.folder / "now") == self._before

    def faults(self, *allowed: Shown, store: Path | None = None) -> list[str]:
        """What is wrong with the store: damage, or that it shows nothing of what is `allowed`."""
        place = store or self.store
        name = tree_digest(place)
        if name not in self._well:
            try:
                self._well[name] = shown(place)
                damage = verify(place).faults if self._well[name][0] is not None else []
            except Exception as error:  # noqa: BLE001  whatever a user would see
                damage = [error]
            if damage:
                self._well.pop(name, None)
                return [str(one) for one in damage]
        found = self._well[name]
        return [] if found in allowed else [f"shows {found}, not one of {allowed}"]

    def faults_after_retry(self) -> list[str]:
        """What is wrong when the commit is done again: it must come to its end and leave nothing behind."""
        self.act()
        left = list((self.folder / "now" / "store.work" / "staging").glob("*"))
        return self.faults(self.new) + [f"left {path}" for path in left if self.commit.name != "tag"]


def tree_digest(folder: Path) -> str:
    """Of all names and bytes below a folder, the lock aside, which holds the number of a process."""
    whole = hashlib.sha256()
    for path, content in sorted(_files(os.fspath(folder), "")):
        whole.update(f"{path}\0{len(content)}\0".encode() + content)
    return whole.hexdigest()


def _files(folder: str, above: str) -> Iterator[tuple[str, bytes]]:
    if not Path(folder).is_dir():
        return
    yield f"{above}/", b""
    for entry in os.scandir(folder):
        place = f"{above}/{entry.name}"
        if entry.is_dir(follow_symlinks=False):
            yield from _files(entry.path, place)
        elif entry.name != "lock":
            yield place, Path(entry.path).read_bytes()
