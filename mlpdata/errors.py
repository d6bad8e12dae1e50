"""The error tree: grouped by what the caller does next, each with a stable code.

::

    MlpdataError
    |- CheckFailed        exit 1  the data are readable, but a check says no
    |- UsageError         exit 2  the command or argument is wrong: change it
    |  |- UnitError               unknown unit, wrong dimension, a bare number
    |  `- LicenseError            not an SPDX expression, or it forbids the purpose
    |- InputError         exit 3  an input file cannot be used: mend or leave the file
    |  |- Unavailable             it cannot be read here and now: try again
    |  |- NotRecognised           no reader knows this content
    |  |- ParseError              a place in the file is not what the format says
    |  |- UnitsUnknown            numbers without units, and nobody said any
    |  `- LimitExceeded           larger than a bound that protects the machine
    |- StoreError         exit 4  the store refuses: free it, update, or try again
    |  |- StoreLocked             another writer holds the lock
    |  |- NewerSchema             written by a newer mlpdata
    |  |- NotFound                no such store, snapshot, tag, split, view
    |  `- CommitUncertain         the disk failed at the last sync: read HEAD, then retry
    `- CorruptError       exit 5  bytes are not those that were written: restore them
"""

from __future__ import annotations

from pathlib import Path
from typing import Any


class MlpdataError(Exception):
    """An error whose message a user can act on.

    Args:
        message: what was expected and what was found, then the cause or the cure.
        path: file that the message speaks of.
        line: line in that file, counted from 1.
    """

    code = "error"
    exit_code = 1

    def __init__(self, message: str, *, path: str | Path | None = None, line: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.path = str(path) if path is not None else None
        self.line = line

    def __str__(self) -> str:
        if self.path is None:
            return self.message
        place = self.path if self.line is None else f"{self.path}:{self.line}"
        return f"{place}: {self.message}"

    def as_json(self) -> dict[str, Any]:
        """The error as a JSON object: code, message, path, line."""
        return {"code": self.code, "message": self.message, "path": self.path, "line": self.line}

    def at(self, path: str | Path, line: int | None = None) -> MlpdataError:
        """The same error with its place filled in where it was unknown."""
        self.path = self.path or str(path)
        self.line = self.line if self.line is not None else line
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.message, self.path, self.line)


def _rebuild(kind: type[MlpdataError], message: str, path: str | None, line: int | None) -> MlpdataError:
    """Worker processes send errors home; keyword arguments need a function to do so."""
    return kind(message, path=path, line=line)


class CheckFailed(MlpdataError):  # noqa: N818  a verdict on the data, not a malfunction
    """A gate, theory or license check found errors."""

    code = "check-failed"
    exit_code = 1


class UsageError(MlpdataError):
    """The call itself is wrong."""

    code = "usage"
    exit_code = 2


class UnitError(UsageError):
    """A unit is unknown, has the wrong dimension, or is missing."""

    code = "unit"


class LicenseError(UsageError):
    """Not a license expression, or one that forbids what was asked."""

    code = "license"


class InputError(MlpdataError):
    """An input file cannot be used."""

    code = "input"
    exit_code = 3


class Unavailable(InputError):  # noqa: N818  reads as the verdict it is
    """It cannot be read here and now, for want of a permission, a disk or a package: nothing is said of what it holds."""

    code = "unavailable"


class NotRecognised(InputError):  # noqa: N818  reads as the verdict it is
    """No reader knows this content."""

    code = "not-recognised"


class ParseError(InputError):
    """A place in the file is not what the format says."""

    code = "parse"


class UnitsUnknown(InputError):  # noqa: N818  reads as the verdict it is
    """Numbers of a file that states no units, and nobody said any."""

    code = "units-unknown"


class LimitExceeded(InputError):  # noqa: N818  reads as the verdict it is
    """The input is larger than a bound that protects the machine."""

    code = "limit"


class StoreError(MlpdataError):
    """The store refuses."""

    code = "store"
    exit_code = 4


class StoreLocked(StoreError):  # noqa: N818  reads as the verdict it is
    """Another writer holds the lock."""

    code = "locked"


class NewerSchema(StoreError):  # noqa: N818  reads as the verdict it is
    """The store was written by a newer version of mlpdata."""

    code = "newer-schema"


class NotFound(StoreError):  # noqa: N818  reads as the verdict it is
    """No such store, snapshot, tag, split or view."""

    code = "not-found"


class CommitUncertain(StoreError):  # noqa: N818  reads as the verdict it is
    """The disk failed after the last rename: the commit may or may not survive a power cut."""

    code = "commit-uncertain"


class CorruptError(MlpdataError):
    """Bytes are not those that were written."""

    code = "corrupt"
    exit_code = 5
