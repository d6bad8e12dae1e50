"""Parts: one part of a path, such as `{system}_{temperature}K` or `run_*`, matched against a name in linear time.

A set of places in a name is the set of bits of a whole number. From the end of the pattern to its beginning, each
piece turns the places where what follows it may start into those where it may start itself: there is no backtracking.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from mlpdata.errors import UsageError
from mlpdata.said.words import KINDS

LONGEST = 1024
"""Characters of a name that is matched; file systems allow 255 bytes."""
_NUMBER = re.compile(r"([0-9]{1,9})(?:\.[0-9]{1,9})?")
_TOKEN = re.compile(r"\{([^{}]*)\}|(\*)|([^{}*]+)|([{}])")


class Wild(NamedTuple):
    """A piece that stands for any text, or for any that a field may hold."""

    field: str = ""
    """Empty for `*`, which may stand for nothing."""

    @property
    def is_free(self) -> bool:
        """Whether it may stand for any text."""
        return self.field not in ("temperature", "kind")

    def ends(self, name: str, start: int) -> list[int]:
        """Where a text of a field that is not free may end when it begins at `start`."""
        if self.field == "kind":
            return [start + len(kind) for kind in KINDS if name.startswith(kind, start)]
        number = _NUMBER.match(name, start)
        return [number.end(1), number.end()] if number else []

    def starts(self, name: str, after: int) -> int:
        """The places where it may start so that it ends at one of `after`."""
        if not after:
            return 0
        last = after.bit_length() - 1
        if self.is_free:
            return (1 << last) - 1 if self.field else (1 << last + 1) - 1
        return sum(1 << at for at in range(last) if any(after >> end & 1 for end in self.ends(name, at)))

    def end(self, name: str, start: int, after: int) -> int:
        """The last of the places `after` at which it may end."""
        if self.is_free:
            return after.bit_length() - 1
        return max(end for end in self.ends(name, start) if after >> end & 1)


Piece = str | Wild


class Part(NamedTuple):
    """A pattern for one part of a path."""

    pieces: tuple[Piece, ...]
    """No two wild ones stand side by side."""

    @property
    def has_text(self) -> bool:
        """Whether some of it is to be met literally."""
        return any(isinstance(piece, str) for piece in self.pieces)

    def fields(self, name: str) -> dict[str, str] | None:
        """The text of each field in `name`; None where it does not match.

        Of several ways to match, an earlier field takes as much as it can.
        """
        first, last = self.pieces[0], self.pieces[-1]
        if len(self.pieces) == 1 and isinstance(first, Wild) and first.is_free:
            return {first.field: name} if first.field else {}
        begins = not isinstance(first, str) or name.startswith(first)
        if not begins or (isinstance(last, str) and not name.endswith(last)) or len(name) > LONGEST:
            return None
        after = [1 << len(name)]
        for piece in reversed(self.pieces):
            after.append(
                _text_starts(piece, name, after[-1]) if isinstance(piece, str) else piece.starts(name, after[-1])
            )
        if not after.pop() & 1:
            return None
        return self._read(name, after)

    def _read(self, name: str, after: list[int]) -> dict[str, str]:
        found, start = {}, 0
        for piece in self.pieces:
            allowed = after.pop()
            end = start + len(piece) if isinstance(piece, str) else piece.end(name, start, allowed)
            if isinstance(piece, Wild) and piece.field:
                found[piece.field] = name[start:end]
            start = end
        return found


def _text_starts(text: str, name: str, after: int) -> int:
    """The places where `text` stands in `name` so that it ends at one of `after`."""
    found, at = 0, name.find(text)
    while at >= 0:
        found |= 1 << at
        at = name.find(text, at + 1)
    return found & (after >> len(text))


def with_wildcards(text: str) -> Part:
    """The part that `text` means, in which `*` stands for any text."""
    pieces: list[Piece] = []
    for number, literal in enumerate(re.split(r"\*+", text)):
        pieces += [Wild()] if number else []
        pieces += [literal] if literal else []
    return Part(tuple(pieces))


def with_fields(text: str, field_of: Callable[[str], str]) -> Part:
    """The part that `text` means, in which `{word}` is a field and `*` stands for any text.

    Args:
        text: without `/`.
        field_of: the field that a word names.

    Raises:
        UsageError: a brace alone, or two fields with no text between them.
    """
    pieces: list[Piece] = []
    for piece in _pieces(text, field_of):
        if isinstance(piece, Wild) and pieces and isinstance(pieces[-1], Wild):
            raise UsageError(f"expected text between two fields, found none in {text!r}.")
        pieces.append(piece)
    return Part(tuple(pieces))


def _pieces(text: str, field_of: Callable[[str], str]) -> Iterator[Piece]:
    for token in _TOKEN.finditer(text):
        word, star, literal, brace = token.groups()
        if brace:
            raise UsageError(f"expected {{field}}, found a brace alone in {text!r}.")
        yield literal or Wild("" if star else field_of(word))
