"""Patterns of what a walk leaves out: `.mlpdataignore` in any folder, in the syntax of .gitignore, inherited downwards."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern

from mlpdata.errors import UsageError

IGNORE = ".mlpdataignore"
"""Name of the file of patterns."""
MAX_BYTES = 1 << 20


class _Row(NamedTuple):
    """One pattern."""

    regex: re.Pattern[str]
    """Of the way from the folder of the patterns to what is asked about; folders end in `/`."""
    leaves_out: bool
    """False for a pattern that takes back."""
    where: str
    """File, line and text."""


class _Level(NamedTuple):
    """The patterns of one folder, and the way from there to the folder that is asked about."""

    below: str
    """Empty, or folders that each end in `/`."""
    rows: tuple[_Row, ...]
    """The last of them first: it decides."""


class Ignore:
    """What the files of patterns in a folder and those above it leave out.

    ::

        here = Ignore.read(folder).over(above)
        here.reason("old", is_folder=True)   # '.mlpdataignore:3: old/'
    """

    def __init__(self, folder: str = "", levels: tuple[_Level, ...] = ()) -> None:
        """The patterns of a folder without any of its own.

        Args:
            folder: its name; needed for `over` only.
            levels: patterns, the deepest folder's first.
        """
        self._folder, self._levels = folder, levels

    @classmethod
    def read(cls, folder: Path) -> Ignore:
        """The patterns of one folder; none where it has no such file.

        Raises:
            UsageError: a pattern that is none, or a file that cannot be read.
        """
        file = folder / IGNORE
        try:
            with file.open("rb") as opened:
                text = opened.read(MAX_BYTES + 1)
        except FileNotFoundError:
            return cls(folder.name)
        except OSError as error:
            raise UsageError(f"expected patterns, found: {error.strerror}.", path=file) from error
        if len(text) > MAX_BYTES:
            raise UsageError(f"expected at most {MAX_BYTES} bytes of patterns, found more.", path=file)
        rows = tuple(_rows(text, file))
        return cls(folder.name, (_Level("", rows[::-1]),) if rows else ())

    def over(self, above: Ignore) -> Ignore:
        """These patterns and those of the folder above, which hold unless one of these says otherwise."""
        inherited = tuple(level._replace(below=f"{level.below}{self._folder}/") for level in above._levels)
        return Ignore(self._folder, self._levels + inherited)

    def reason(self, name: str, *, is_folder: bool) -> str | None:
        """File, line and text of the pattern that leaves out what `name` is in this folder; None: nothing does."""
        for level in self._levels:
            path = f"{level.below}{name}{'/' if is_folder else ''}"
            for row in level.rows:
                if row.regex.search(path):
                    return row.where if row.leaves_out else None
        return None


def _rows(text: bytes, file: Path) -> Iterator[_Row]:
    """The patterns of a file in order, without comments."""
    for number, line in enumerate(text.removeprefix(b"\xef\xbb\xbf").splitlines(), start=1):
        try:
            pattern = GitIgnoreSpecPattern(line.decode())
        except (ValueError, re.error) as error:
            shown = line.decode("utf-8", "backslashreplace")
            raise UsageError(
                f"expected a pattern as in .gitignore, found {shown!r}. Escape its characters with a backslash.",
                path=file,
                line=number,
            ) from error
        if pattern.regex is not None:
            yield _Row(_of_one(pattern.regex), bool(pattern.include), f"{file}:{number}: {line.decode().strip()}")


def _of_one(regex: re.Pattern[str]) -> re.Pattern[str]:
    """The expression for a name that is asked about on its own.

    pathspec's also holds for all that lies in a folder that it names, so that a pattern above would overrule those
    below; and that of `folder/**` holds for the folder itself, which git enters.
    """
    if "ps_d" in regex.groupindex:
        return re.compile(rf"(?:{regex.pattern})\Z")
    return re.compile(f"{regex.pattern}.") if regex.pattern.endswith("/") else regex
