"""A rehearsal in a process of its own, for files that a library in C must read.

The HDF5 library crashes or circles at some damaged files; an exception handler is no help against either. So such a file
is read by a child process first. The price is reading twice and some ms.
"""

from __future__ import annotations

import faulthandler
import functools
import os
import resource
import signal
import sys
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from typing import TypeVar

from mlpdata.errors import ParseError
from mlpdata.readers.archive import Input

Item = TypeVar("Item")
SECONDS, BYTES_PER_SECOND = 1, 20_000_000
"""CPU time that a child has, and what it must read beyond that."""
PATIENCE = 60
"""By how much it may wait longer than it works."""
MEMORY = 1 << 30
"""Bytes that it may take beyond four times the size of the file."""


def rehearsed(read: Callable[[Input], Iterator[Item]]) -> Callable[[Input], Iterator[Item]]:
    """The same reader, which refuses a file that a child process does not survive."""

    @functools.wraps(read)
    def after_rehearsal(source: Input) -> Iterator[Item]:
        if sys.platform == "linux":  # elsewhere a process may not go on after a fork
            _rehearse(lambda: deque(read(source), maxlen=0), len(source.data))
        yield from read(source)

    return after_rehearsal


def _rehearse(read: Callable[[], object], size: int) -> None:
    """Call `read` in a child process.

    Raises:
        ParseError: it did not come to an end.
    """
    with warnings.catch_warnings():  # threads of this process do not matter: the child runs none of their code
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        _read_and_exit(read, size)
    _, status = os.waitpid(child, 0)
    if status:
        raise ParseError(
            f"expected a file that its library can read, found one that ended it (status {status}). "
            "The file is damaged, or made to do harm."
        )


def _read_and_exit(read: Callable[[], object], size: int) -> None:
    """Read within bounds of time and memory and end the process, at once and without a word."""
    code = 1
    try:
        faulthandler.disable()
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        seconds = SECONDS + size // BYTES_PER_SECOND
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(PATIENCE + 2 * seconds)
        _bound(resource.RLIMIT_CPU, seconds)
        _bound(resource.RLIMIT_AS, _address_space() + MEMORY + 4 * size)
        _bound(resource.RLIMIT_CORE, 0)
        read()
        code = 0
    except MemoryError:
        code = 2
    except Exception:  # noqa: BLE001  the parent comes to the same end and reports it
        code = 0
    finally:
        os._exit(code)


def _bound(what: int, most: int) -> None:
    _, hard = resource.getrlimit(what)
    resource.setrlimit(what, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def _address_space() -> int:
    """Bytes of memory that this process has mapped."""
    with open("/proc/self/statm", "rb") as file:  # noqa: PTH123
        return int(file.read().split()[0]) * resource.getpagesize()
