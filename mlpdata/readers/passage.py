"""A passage through an archive: its members in order, their bytes in pieces, nothing of it on any disk.

What an archive says of itself is believed only as far as the bytes come, and what comes out of it is bounded.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from mlpdata.errors import LimitExceeded
from mlpdata.readers.archive import IN_MEMORY, Limits

Kind = Literal["file", "hard link", "symbolic link", "device or pipe"]


@dataclass
class Part:
    """A member as it passes."""

    number: int
    """Place in the archive, folders included."""
    name: str
    """As the archive has it."""
    kind: Kind
    size: int
    """As the archive announces it [bytes]."""
    mtime: float
    """As the archive has it [s]; a zip keeps no time zone."""
    target: str = ""
    """What a link names."""
    fault: str = ""
    """Why it cannot be read; of some faults known only after its pieces."""
    cut: bool = False
    """Whether the archive ended before the pieces did; known after them."""
    source: Callable[[Part], Iterator[bytes]] = field(default=lambda _: iter(()), repr=False)

    def pieces(self) -> Iterator[bytes]:
        """The bytes of a file, at most 1 MiB at a time: once, and before the next member is asked for."""
        return iter(()) if self.fault else self.source(self)


class Ended(NamedTuple):
    """How a passage ended."""

    fault: str = ""
    """What keeps it from having been whole; empty where it was."""
    doubtful: bool = False
    """Whether any byte that came may be wrong: the compressed stream is damaged, and one checksum covers all of it."""


Passage = Generator[Part, None, Ended]


@dataclass
class Meter:
    """Counts what an archive gives, and stops it at the limits.

    Args:
        archive: the file.
        limits: bounds of size.
        stored: its size [bytes].
    """

    archive: Path
    limits: Limits
    stored: int
    given: int = 0
    members: int = 0

    def give(self, size: int) -> None:
        """Count `size` bytes.

        Raises:
            LimitExceeded: too many by now.
        """
        self.given += size
        bound = min(self.limits.archive_bytes, max(IN_MEMORY, self.limits.ratio * self.stored))
        if self.given > bound:
            raise LimitExceeded(
                f"expected at most {bound} bytes in the archive, found more. "
                "No outputs of a code shrink so much; this looks like a decompression bomb.",
                path=self.archive,
            )

    def member(self) -> int:
        """Count a member and give its number.

        Raises:
            LimitExceeded: too many by now.
        """
        self.members += 1
        if self.members > self.limits.members:
            raise LimitExceeded(f"expected at most {self.limits.members} members, found more.", path=self.archive)
        return self.members - 1

    def too_large(self, size: int) -> str:
        """What to say of a member of an announced size; nothing where it may be read."""
        if 0 <= size <= self.limits.expanded_bytes:
            return ""
        return f"expected a member of at most {self.limits.expanded_bytes} bytes, found one of {size}."


def sane_time(mtime: float) -> float:
    """A time that an archive states; 0 where it is none."""
    return float(mtime) if math.isfinite(mtime) and abs(mtime) < 1e11 else 0.0
