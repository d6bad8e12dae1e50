"""Portions: a long ingest in parts that need not be read again after a crash.

What is to be read is cut into portions by content: names, digests, attributes and readers give a portion its name, so
that the same portion is met again after a restart. Each becomes a segment in its place, which no snapshot names until
all are there; a note beside the store says which segment a portion became.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from mlpdata import durable
from mlpdata.digest import canonical_json, sha256_json
from mlpdata.discover import Output
from mlpdata.errors import MlpdataError
from mlpdata.known import File, Reading
from mlpdata.outcome import Entered, Refused
from mlpdata.readers.registry import readers
from mlpdata.store.commit import Repository, Staged
from mlpdata.store.segment import read_segment

SMALLEST, MEAN, LARGEST = 1024, 4096, 16_384
"""Outputs of a portion. Portions end where a digest says so, not by count, so that one new output moves one border."""


@dataclass
class Taken:
    """What came of reading the outputs of a portion."""

    staged: Staged | None = None
    """None where nothing is to be stored."""
    entered: list[Entered] = field(default_factory=list)
    readings: list[Reading] = field(default_factory=list)
    """Of the calculations that entered, in the same order."""
    refused: list[Refused] = field(default_factory=list)
    left_out: list[Refused] = field(default_factory=list)
    changed: list[Refused] = field(default_factory=list)
    withheld: list[Refused] = field(default_factory=list)
    """What a user retracted, of files that hold something else, too."""
    conflicts: list[str] = field(default_factory=list)
    """What is declared and contradicts an output."""
    unknown_license: int = 0


def portions(outputs: Sequence[Output]) -> Iterator[list[Output]]:
    """The outputs in order, cut into portions."""
    portion: list[Output] = []
    for output in outputs:
        portion.append(output)
        ends = zlib.crc32(output.name.encode()) % (MEAN - SMALLEST) == 0
        if (ends and len(portion) >= SMALLEST) or len(portion) >= LARGEST:
            yield portion
            portion = []
    if portion:
        yield portion


def name_of(portion: Sequence[Output], *, replaces: bool) -> str:
    """Digest of all that the outcome of a portion depends on."""
    return sha256_json(
        [
            replaces,
            [[reader.name, reader.version] for reader in readers()],
            *(
                [
                    [[file.name, file.sha256, [one.sha256 for one in file.companions]] for file in output.files],
                    [file.sidecar.declared() for file in output.files],
                    [output.tags, output.rests_on, output.image, output.group],
                ]
                for output in portion
            ),
        ]
    )


class Notes:
    """What became of portions: notes beside the store, kept until the commit.

    Args:
        repository: the store.
    """

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._folder = repository.work / "portions"

    def read(self, name: str) -> Taken | None:
        """What came of a portion in an attempt that died; None where nothing of it is left."""
        try:
            note = json.loads((self._folder / f"{name}.json").read_bytes())
            taken = _taken(note)
            if taken.staged is not None and taken.staged.segment is not None:
                read_segment(self._repository.path, taken.staged.segment)
        except (OSError, ValueError, KeyError, TypeError, MlpdataError):
            return None
        return taken

    def write(self, name: str, taken: Taken) -> None:
        """Note what came of a portion.

        Raises:
            StoreError: the disk refused.
        """
        durable.make_folder(self._folder)
        durable.replace(self._folder / f"{name}.json", canonical_json(_note(taken)))

    def clear(self) -> None:
        """The commit is there: the notes are no longer needed."""
        if self._folder.is_dir():
            with suppress(MlpdataError):
                durable.remove_tree(self._folder)


def _note(taken: Taken) -> dict[str, Any]:
    return {
        **{
            name: [asdict(one) for one in getattr(taken, name)]
            for name in ("entered", "refused", "left_out", "changed", "withheld")
        },
        "readings": [{one.name: getattr(reading, one.name) for one in fields(reading)} for reading in taken.readings],
        "conflicts": taken.conflicts,
        "unknown_license": taken.unknown_license,
        "segment": taken.staged and taken.staged.segment,
        "wanted": taken.staged and [[f"{content:x}", record] for content, record in taken.staged.wanted.items()],
    }


def _taken(note: dict[str, Any]) -> Taken:
    wanted = note["wanted"]
    return Taken(
        staged=None if wanted is None else Staged(note["segment"], {int(content, 16): one for content, one in wanted}),
        entered=[Entered(**one) for one in note["entered"]],
        readings=[
            Reading(**{**one, "sources": tuple(File(*source) for source in one["sources"])}) for one in note["readings"]
        ],
        conflicts=note["conflicts"],
        unknown_license=note["unknown_license"],
        **{name: [Refused(**one) for one in note[name]] for name in ("refused", "left_out", "changed", "withheld")},
    )
