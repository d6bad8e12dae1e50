"""Faults to order: kill a process, or fail the disk, at the nth durable operation of an action.

::

    for nth in range(1, len(recorded(ingest)) + 1):
        kill_at(nth, ingest)
        assert verify(store).ok
"""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from mlpdata import durable

DISK_ERRORS = (errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS, errno.EMFILE)
"""What a disk may answer."""
FEW_BYTES = 7
"""What a disk takes of a write that it cuts short."""


class Operation(NamedTuple):
    """One durable operation."""

    name: str
    """open, write, truncate, fsync, rename, link, mkdir, lock."""
    path: Path
    """What it is done to."""


def recorded(action: Callable[[], object]) -> list[Operation]:
    """The durable operations of `action`, which is carried out."""
    operations: list[Operation] = []
    with hooked(lambda name, path: operations.append(Operation(name, path))):
        action()
    return operations


def kill_at(nth: int, action: Callable[[], object]) -> bool:
    """Carry out `action` in a forked process that gets SIGKILL before its `nth` durable operation, counted from 1.

    Returns:
        Whether it was killed; False where it ended first.
    """
    child = os.fork()
    if child == 0:
        _die_at(nth, action)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def kill_after(seconds: float, action: Callable[[], object]) -> bool:
    """Carry out `action` in a forked process that gets SIGKILL after `seconds`, wherever it is then.

    Returns:
        Whether it was killed; False where it ended first.
    """
    child = os.fork()
    if child == 0:
        _die_at(0, action)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def _die_at(nth: int, action: Callable[[], object]) -> None:
    """In the child: never returns, so that no test framework runs twice."""
    try:
        with hooked(_at(nth, lambda: os.kill(os.getpid(), signal.SIGKILL))):
            action()
    finally:
        os._exit(0)


@contextmanager
def failing_at(nth: int, error: int = errno.ENOSPC, *, lasting: bool = False) -> Iterator[None]:
    """Inside, the `nth` durable operation fails with `error`; with `lasting`, all later ones as well."""

    def fail() -> None:
        raise OSError(error, os.strerror(error))

    with hooked(_at(nth, fail, lasting=lasting)):
        yield


@contextmanager
def full_after(nth: int) -> Iterator[None]:
    """Inside, the disk takes a few bytes of the `nth` durable operation if that is a write, and nothing afterwards."""
    count = 0

    def hook(name: str, path: Path) -> int | None:  # noqa: ARG001  the hook's signature
        nonlocal count
        count += 1
        if count > nth or (count == nth and name != "write"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return FEW_BYTES if count == nth else None

    with hooked(hook):
        yield


@contextmanager
def short_writes() -> Iterator[None]:
    """Inside, the disk takes a few bytes of each write at a time."""
    with hooked(lambda name, _: FEW_BYTES if name == "write" else None):
        yield


@contextmanager
def without_sync(nth: int) -> Iterator[None]:
    """Inside, the `nth` durable operation is left out; it is a sync."""
    with hooked(_at(nth, lambda: 0)):
        yield


def _at(nth: int, act: Callable[[], int | None], *, lasting: bool = False) -> durable.Hook:
    count = 0

    def hook(name: str, path: Path) -> int | None:  # noqa: ARG001  the hook's signature
        nonlocal count
        count += 1
        return act() if count == nth or (lasting and count > nth) else None

    return hook


@contextmanager
def hooked(hook: durable.Hook) -> Iterator[None]:
    """Inside, `hook` is called before each durable operation."""
    durable.set_hook(hook)
    try:
        yield
    finally:
        durable.set_hook(None)
