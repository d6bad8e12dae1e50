"""Cut the power at every durable operation: in states that are worked out, and on a real ext4 file system."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Set
from pathlib import Path

from store_commits import Commit, Ground, Shown

from mlpdata.testing.crash_states import Record, State, recorded_folder, recorded_until_killed, write_tree
from mlpdata.testing.disks import ext4, mounted
from mlpdata.testing.faults import hooked, without_sync

STORE = "store"


def record_of(ground: Ground) -> Record:
    """The moments of the commit."""
    ground.renew()
    return recorded_folder(ground.folder / "now", ground.act)


def records_of_retries(ground: Ground, record: Record) -> Iterator[tuple[str, Record]]:
    """The moments of the commit done again after one that was killed at an operation on the store itself.

    While only scratch files are written, a kill leaves nothing that a retry could take for durable.
    """
    for nth, moment in enumerate(record.moments[:-1], 1):
        if not moment.path.startswith(f"{STORE}.work"):
            ground.renew()
            killed = recorded_until_killed(ground.folder / "now", ground.act, nth)
            again = recorded_folder(ground.folder / "now", ground.act, killed)
            yield f"killed before {moment.operation} {moment.path}, then done again", again


def violations(
    ground: Ground, record: Record, moments: Iterable[int] | None = None, left_out: Set[int] = frozenset()
) -> Iterator[str]:
    """What is wrong after a power cut at each of the moments, all by default, in every state that a disk may be in."""
    for number in range(record.end + 1) if moments is None else moments:
        moment, allowed = record.moments[number], allowed_at(ground, number, record.end)
        judged: set[frozenset[tuple[str, bytes | None]]] = set()
        for state in record.crash_states(number, STORE, left_out):
            part = _part(state)
            if part not in judged:
                judged.add(part)
                write_tree(dict(sorted(part)), ground.folder / "cut")
                for fault in ground.faults(*allowed, store=ground.folder / "cut" / STORE):
                    yield f"before {moment.operation or 'the end'} {moment.path}: {fault}"


def allowed_at(ground: Ground, number: int, end: int) -> tuple[Shown, ...]:
    """What may be shown: the old version or the new one; after the end, when the commit is acknowledged, the new one."""
    return (ground.new,) if number == end else (ground.old, ground.new)


def _part(state: State) -> frozenset[tuple[str, bytes | None]]:
    return frozenset((path, content) for path, content in state.items() if path.split("/", 1)[0] == STORE)


def is_noticed(ground: Ground, record: Record, left_out: Set[int]) -> bool:
    """Whether some power cut shows that these syncs are missing; the end is tried first."""
    return any(violations(ground, record, [record.end, *range(min(left_out), record.end)], left_out))


def cut_on_ext4(commit: Commit, folder: Path, options: str, nth: Iterable[int]) -> Iterator[tuple[int, list[str]]]:
    """Do the commit on ext4 and cut the power before its operations `nth`: the number of each, and what was wrong.

    A number beyond the last operation is a cut after the end, when the commit is acknowledged.
    """
    ground, wanted, images = Ground(commit, folder), set(nth), []
    with ext4(folder, options) as disk:
        commit.prepare(disk.folder / STORE)
        count = 0

        def copy(*_: object) -> None:
            nonlocal count
            count += 1
            if count in wanted:
                images.append((count, folder / f"{count}.img"))
                disk.copy(images[-1][1])

        with hooked(copy):
            commit.act(disk.folder / STORE)
        end = count + 1
        disk.copy(folder / "end.img")
    for number, image in [*images, (end, folder / "end.img")]:
        yield number, _faults_of(ground, image, allowed_at(ground, number, end))
        image.unlink()


def is_noticed_on_ext4(commit: Commit, folder: Path, options: str, sync: int) -> bool:
    """Whether a power cut after the end shows that the operation `sync` was left out."""
    ground = Ground(commit, folder)
    with ext4(folder, options) as disk:
        commit.prepare(disk.folder / STORE)
        with without_sync(sync):
            commit.act(disk.folder / STORE)
        disk.copy(folder / "end.img")
    return bool(_faults_of(ground, folder / "end.img", (ground.new,)))


def _faults_of(ground: Ground, image: Path, allowed: tuple[Shown, ...]) -> list[str]:
    with mounted(image, ground.folder / "after") as disk:
        return ground.faults(*allowed, store=disk.folder / STORE)
