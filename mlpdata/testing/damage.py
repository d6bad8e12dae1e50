"""Damage to order: every way in which a file of a code is cut short, or a number of it comes to be none.

Fortran prints stars where a number does not fit its field, NaN and infinity where the physics failed, and lets columns
touch; disks and copies cut files and flip bits. Each damage is one `Edit`, so that thousands can be drawn at random
and made one at a time, in memory.
"""

from __future__ import annotations

import itertools
import random
import re
import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, TypeVar

CUT, FLIP = "cut", "flip"
STARS, NAN, OVERFLOW = "stars", "nan", "overflow"
GLUED, SHIFTED = "glued", "shifted"

_NUMBER = re.compile(
    rb"(?<![\w.+*^-])[+-]?(?:\d+\.?\d*|\.\d+)(?:[eEdD][+-]?\d+)?(?![\w.])"
    rb"|(?<=\d)[+-]\d+\.\d+(?:[eEdD][+-]?\d+)?(?![\w.])"  # columns that touch already
)
_BLANKS = b" \t"
T = TypeVar("T")


class Edit(NamedTuple):
    """One damage: the bytes from `start` to `end` become `new`."""

    kind: str
    """cut, flip, stars, nan, overflow, glued (columns touch), shifted (they touch, and the line keeps its width)."""
    start: int
    end: int
    new: bytes

    def of(self, content: bytes) -> bytes:
        """The damaged copy."""
        return content[: self.start] + self.new + content[self.end :]

    def at(self, content: bytes) -> str:
        """Where it is and what it does, for a message."""
        line = content.count(b"\n", 0, self.start) + 1
        was = content[self.start : self.end][:40]
        return f"line {line}, {self.kind}" + ("" if self.kind == CUT else f": {was!r} became {self.new[:40]!r}")


def is_text(content: bytes) -> bool:
    """Whether a file is text, whose lines and printed numbers can be damaged one by one."""
    return b"\0" not in content


def cuts(content: bytes) -> list[Edit]:
    """The file ends after each of its lines but the last, and before each; binary files at each 16th byte."""
    places = (
        [match.end() - before for match in re.finditer(rb"\n", content) for before in (1, 0)]
        if is_text(content)
        else list(range(1, len(content), 16))
    )
    return [Edit(CUT, place, len(content), b"") for place in places if 0 < place < len(content)]


def cuts_inside_lines(content: bytes) -> list[Edit]:
    """The file ends at each of its bytes: a number that is cut is another number."""
    return [Edit(CUT, place, len(content), b"") for place in range(1, len(content))]


def spoiled_numbers(content: bytes) -> list[Edit]:
    """Each printed number becomes stars, NaN, beyond all floats, or touches the next one on its line."""
    found = [match.span() for match in _NUMBER.finditer(content)]
    edits = [edit for start, end in found for edit in _instead(start, end)]
    for (start, end), (following, _) in itertools.pairwise(found):
        between = content[end:following]
        if between and not between.strip(_BLANKS):
            edits.append(Edit(GLUED, end, following, b""))
            edits.append(Edit(SHIFTED, start, following, between + content[start:end]))
    return edits


def _instead(start: int, end: int) -> Iterator[Edit]:
    width = end - start
    yield Edit(STARS, start, end, b"*" * width)
    yield Edit(NAN, start, end, b"NaN".rjust(width))
    yield Edit(OVERFLOW, start, end, b"1E400".rjust(width))


def spoiled_floats(content: bytes, values: Iterable[float]) -> list[Edit]:
    """Each of `values` that a binary file holds as eight bytes, of either order, becomes NaN or infinite."""
    edits = []
    for value in dict.fromkeys(value for value in values if value):
        for order in "<>":
            stored = struct.pack(f"{order}d", value)
            for match in re.finditer(re.escape(stored), content):
                for kind, new in ((NAN, float("nan")), (OVERFLOW, float("inf"))):
                    edits.append(Edit(kind, *match.span(), struct.pack(f"{order}d", new)))
    return edits


def flips(content: bytes, count: int, seed: int = 0) -> list[Edit]:
    """`count` single bits flipped at random."""
    random_ = random.Random(seed)  # noqa: S311  the same damage every time
    places = (random_.randrange(len(content)) for _ in range(count))
    return [Edit(FLIP, place, place + 1, bytes([content[place] ^ 1 << random_.randrange(8)])) for place in places]


def sampled(edits: Sequence[T], limit: int | None, seed: int = 0) -> list[T]:
    """`limit` of them, drawn the same way every time, in order; all where there are no more or `limit` is None."""
    if limit is None or len(edits) <= limit:
        return list(edits)
    chosen = random.Random(seed).sample(range(len(edits)), limit)  # noqa: S311
    return [edits[index] for index in sorted(chosen)]
