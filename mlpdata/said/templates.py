"""Templates: paths such as `{system}/{temperature}K/{run}`, whose folders say what the files do not.

A template begins at the root of the tree and may end above the run: folders below it do not matter. A field stands for
one part of the path, or for the part of one between literal text. `*` stands for any text, `**` for any number of
folders. The name of the file itself is matched only where the last part of the template has literal text, so that
`{system}/{run}` takes no file for a run, while `{system}_{temperature}K.out` does.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from mlpdata.errors import UsageError
from mlpdata.said.parts import Part, Wild, with_fields
from mlpdata.said.statements import Statement, Statements
from mlpdata.said.words import KINDS, MEANINGS, PREFIXES, field_named, meaning

IGNORED = "run"
"""The field that only names a place."""
NO_TAGS = {*PREFIXES, *PREFIXES.values(), "method"}
"""Words for fields that hold more than a text."""


class Template(NamedTuple):
    """One template."""

    text: str
    above: tuple[Part, ...]
    """One a level, from the root down to `**` or to the end."""
    below: tuple[Part, ...] = ()
    """Those after `**`."""
    floats: bool = False
    """Whether there is a `**`."""

    def fields(self, path: Sequence[str]) -> dict[str, str] | None:
        """The text of each field in the parts of a path, the file last; None where it does not match."""
        found = _fields(self.above, path)
        if found is None or not self.floats:
            return found
        for start in range(len(self.above), len(path) + 1):
            rest = _fields(self.below, path[start:])
            if rest is not None:
                return {**found, **rest}
        return None

    @property
    def named(self) -> list[str]:
        """Its fields in order."""
        pieces = (piece for part in (*self.above, *self.below) for piece in part.pieces)
        return [piece.field for piece in pieces if isinstance(piece, Wild) and piece.field]

    def as_read(self) -> str:
        """How the template was understood, for a message."""
        return f"{self.text!r} reads {', '.join(field + _only(field) for field in self.named)}"


def _only(field: str) -> str:
    """What a field may be."""
    return {"temperature": " (a number)", "kind": f" (one of {', '.join(KINDS)})", IGNORED: " (ignored)"}.get(field, "")


def _fields(levels: Sequence[Part], path: Sequence[str]) -> dict[str, str] | None:
    """The text of each field of levels that begin where the path does."""
    if len(levels) > len(path) or (len(levels) == len(path) and levels and not levels[-1].has_text):
        return None
    found: dict[str, str] = {}
    for level, name in zip(levels, path, strict=False):
        fields = level.fields(name)
        if fields is None:
            return None
        found |= fields
    return found


def template(text: str) -> Template:
    """The template that a text means.

    Raises:
        UsageError: it cannot be understood.
    """
    parts = [part for part in text.strip().split("/") if part not in ("", ".")]
    if text.startswith("/") or ".." in parts or not parts:
        raise UsageError(
            f"expected a template relative to the root, such as {{system}}/{{temperature}}K, found {text!r}."
        )
    if parts.count("**") > 1:
        raise UsageError(f"expected ** once at most, found it more often in {text!r}.")
    split = parts.index("**") if "**" in parts else len(parts)
    read = Template(text, _levels(parts[:split]), _levels(parts[split + 1 :]), split < len(parts))
    if not set(read.named) - {IGNORED}:
        raise UsageError(f"expected a field such as {{system}}, found none in {text!r}.")
    if twice := [field for field in read.named if read.named.count(field) > 1 and field != IGNORED]:
        raise UsageError(f"expected each field once, found {twice[0]!r} again in {text!r}. Write * where it repeats.")
    return read


def _levels(parts: Iterable[str]) -> tuple[Part, ...]:
    return tuple(with_fields(part, _field) for part in parts)


def _field(word: str) -> str:
    """The field that a word of a template names: any that is no field of its own is a tag."""
    if word == IGNORED:
        return word
    if field := field_named(word):
        return field
    if not re.fullmatch(r"[A-Za-z_][\w-]*", word) or word in NO_TAGS:
        raise UsageError(f"expected a field such as {{system}} or {{tag.NAME}}, found {{{word}}}.")
    if near := difflib.get_close_matches(word, MEANINGS, n=1, cutoff=0.8):
        raise UsageError(f"expected {{{near[0]}}}, found {{{word}}}. For a tag of that name write {{tag.{word}}}.")
    return f"tags.{word}"


class Templates:
    """The templates of one source: for each run the first that matches counts. Keeps count of those that none matches."""

    def __init__(self, texts: Iterable[str], place: str) -> None:
        self.place, self.n_matched = place, 0
        self._templates = [template(text) for text in texts]
        self._unmatched: dict[str, tuple[int, str]] = {}

    def statements(self, run: str, path: Sequence[str]) -> Statements:
        """What the path of a run says of it; nothing where no template matches, or a value is none of its field.

        Args:
            run: its name, for the report.
            path: its parts below the folder where the templates begin.
        """
        for one in self._templates:
            found = one.fields(path)
            if found is not None:
                return self._understood(run, found)
        return self._missed(run, self._why_not(path))

    def _why_not(self, path: Sequence[str]) -> str:
        """Why no template matches the parts of a path."""
        if any(one.fields([*path, ""]) is not None for one in self._templates):
            return (
                "the last part of the template stands for a folder and meets the file; leave it out, or add its ending"
            )
        return "no template matches" if len(self._templates) > 1 else "it does not match"

    def _understood(self, run: str, found: dict[str, str]) -> Statements:
        found.pop(IGNORED, None)
        try:
            statements = {field: Statement(meaning(field, text), self.place) for field, text in found.items()}
        except UsageError as error:
            return self._missed(run, error.message.rstrip("."))
        self.n_matched += 1
        return statements

    def _missed(self, run: str, reason: str) -> Statements:
        count, first = self._unmatched.get(reason, (0, run))
        self._unmatched[reason] = (count + 1, first)
        return {}

    def remarks(self) -> list[str]:
        """For each reason why templates say nothing of a run: how often, and the first one."""
        return [
            f"{self.place} says nothing of {count} {'run' if count == 1 else 'runs'}, the first is {first}: {reason}."
            for reason, (count, first) in self._unmatched.items()
        ]

    def raise_if_useless(self) -> None:
        """Templates that say nothing of any run are a mistake.

        Raises:
            UsageError: shows a path, and how the templates were read.
        """
        if self._unmatched and not self.n_matched:
            reason, (_, first) = next(iter(self._unmatched.items()))
            read = "; ".join(one.as_read() for one in self._templates)
            raise UsageError(
                f"{self.place}: expected a template that matches the runs, found none: {first}: {reason}. {read}."
            )
