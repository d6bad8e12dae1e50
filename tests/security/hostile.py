"""Bounds for tests with hostile files: processor time, memory, and what a reading of a copy may not do."""

from __future__ import annotations

import itertools
import os
import re
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from specimens import DECLARED, FOUND

from mlpdata.errors import MlpdataError
from mlpdata.readers.registry import Reader, open_run, readers
from mlpdata.testing import damage
from mlpdata.testing.readings import Reading, Specimen, difference

SECRET = "123456.78901234"
"""What another file holds."""
SECONDS = 1.0 if sys.gettrace() is None else 5.0
MEMORY = 200 << 20
READERS = {reader.name: reader for reader in readers()}


class TooSlow(BaseException):
    """Raised out of whatever runs too long; no reader catches it."""


def seconds(action: Callable[[], object], limit: float) -> float:
    """Processor time of `action`, which is stopped at `limit`."""

    def stop(*_: object) -> None:
        raise TooSlow

    before = signal.signal(signal.SIGPROF, stop)
    started = time.process_time()
    signal.setitimer(signal.ITIMER_PROF, limit)
    try:
        action()
    except TooSlow:
        return limit
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
    return time.process_time() - started


def in_bounds(action: Callable[[], Iterable[str]]) -> list[str]:
    """What `action` complains of in a process that may take 200 MB more than this one has now."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        _die_with_complaints(action, writing)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        said = pipe.read()
    _, status = os.waitpid(child, 0)
    return [*said.splitlines(), *([] if status == 0 else [f"ended with status {status}"])]


def _die_with_complaints(action: Callable[[], Iterable[str]], pipe: int) -> None:
    """In the child: never returns, so that no test framework runs twice."""
    status = 1
    try:
        held = int(re.search(r"VmData:\s+(\d+)", Path("/proc/self/status").read_text())[1]) << 10
        resource.setrlimit(resource.RLIMIT_DATA, (held + MEMORY, held + MEMORY))
        for complaint in action():
            os.write(pipe, f"{complaint[:400]}\n".encode())
        status = 0
    except BaseException as error:  # noqa: BLE001  whatever it is, the parent is to know
        os.write(pipe, f"{type(error).__name__}: {error}"[:400].encode())
    finally:
        os._exit(status)


class Fixture(NamedTuple):
    """One fixture and the reader of it."""

    reader: Reader
    path: Path

    def specimen(self) -> Specimen:
        return Specimen(self.reader, self.path, DECLARED.get(self.reader.name))


def fixtures(*, text: bool = True, of: Iterable[str] | None = None, first: bool = False) -> list[Any]:
    """Fixtures of text or of binary formats; of some readers; the first of each reader only."""
    found = []
    for name, paths in FOUND.fixtures.items():
        chosen = [path for path in paths if damage.is_text(path.read_bytes()) == text and (of is None or name in of)]
        found += [
            pytest.param(Fixture(READERS[name], path), id=f"{name}-{path.name}")
            for path in chosen[: 1 if first else None]
        ]
    return found


def complaints(
    specimen: Specimen, path: Path, copy: bytes, where: object, limit: float = SECONDS, *, from_elsewhere: bool = False
) -> Iterator[str]:
    """Whether reading a copy takes too long, ends with an error that is not ours, or gives numbers from elsewhere."""
    seen: list[Reading] = []
    taken = seconds(lambda: seen.append(specimen.read(path, copy)), limit)
    if taken >= limit:
        yield f"{where}: {taken:.2f} s"
    for one in seen:
        if one.is_foreign:
            yield f"{where}: {one.error!r}"
        if from_elsewhere and (SECRET in repr(one) or difference(specimen.whole, one).wrong):
            yield f"{where}: read from elsewhere"


def refuse(said: Iterable[str]) -> None:
    """Fail with the first complaints, where there are any."""
    first = list(itertools.islice(said, 12))
    assert not first, "\n".join(first)


def read_whole(path: Path, *expected: type[Exception]) -> None:
    """Read a file as every verb does; it must be refused with one of `expected` where some are given."""
    try:
        with open_run(path) as opened:
            list(opened.items())
    except MlpdataError as error:
        if not expected or isinstance(error, expected):
            return
        raise
    assert not expected, "expected it to be refused"
