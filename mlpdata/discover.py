"""Discover: which files below the given paths are outputs, what sidecars say of them, and their digests."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from mlpdata.digest import sha256_json
from mlpdata.errors import InputError, MlpdataError
from mlpdata.reaction_paths import Images
from mlpdata.readers.members import Entry
from mlpdata.readers.place import Member, Place
from mlpdata.said.sayings import Said, Sayings
from mlpdata.scan import Cache, Seen
from mlpdata.schema.sidecar import Sidecar
from mlpdata.search import Companion, Once, Sighting, absolute, files_below
from mlpdata.tree import PassedOver

logger = logging.getLogger(__name__)
Progress = Callable[[int, int, str], None]
"""Called with files done, files in all (0: not known), and the last one's name."""
PACE = 256
"""Files between two calls while a tree is searched."""


@dataclass(frozen=True, slots=True)
class Output:
    """One file that is to be read."""

    path: Place
    name: str
    """Root-relative, `/` between parts; a member of an archive follows `!`."""
    sidecar: Sidecar
    """What is said of it."""
    rests_on: Mapping[str, str] = field(default_factory=dict)
    """Who says it, by attribute of the calculation."""
    origin: Mapping[str, str] = field(default_factory=dict)
    """Tags that the workflow tool that ran it gives; those of the sidecar count before them."""
    sha256: str = ""
    """Of the stored bytes."""
    run: str = ""
    """What it shares with other files of its run; empty where it stands for itself."""
    reader: str = ""
    """`vasp/xml`, ..."""
    precedence: int = 0
    """Of several files of one run the lowest gives the configurations."""
    others: tuple[Output, ...] = ()
    """Further files of the same run, the more precise first."""
    companions: tuple[Companion, ...] = ()
    """Files that hold a part of the run and are no outputs of their own."""
    image: int | None = None
    """Its place on a reaction path whose images are in folders of their own."""
    group: str = ""
    """The folder of that path: its images belong together."""
    size: int = 0
    """Stored bytes."""
    entries: tuple[Entry[Seen], ...] = ()
    """In an archive: where it and its companions are. Their bytes are fetched when it is to be read."""
    error: MlpdataError | None = None
    """Why it cannot be read, where that is already known."""

    @property
    def tags(self) -> dict[str, str]:
        """What its calculation is marked with."""
        return {**self.origin, **self.sidecar.tags}

    @property
    def key(self) -> str:
        """Digest of all bytes that reading it depends on, and of what is declared of its numbers."""
        files = [[file.sha256, [one.sha256 for one in file.companions]] for file in self.files]
        declared = self.sidecar.of_numbers
        return sha256_json([files, declared.as_json() if declared is not None else None])

    @property
    def files(self) -> tuple[Output, ...]:
        """This file and the further ones of its run."""
        return (self, *self.others)


@dataclass
class Found:
    """What a search found."""

    where: str
    """The paths that were searched."""
    outputs: list[Output] = field(default_factory=list)
    """Sorted by name."""
    passed_over: list[PassedOver] = field(default_factory=list)
    """What is not read though it might be, and why."""
    not_outputs: int = 0
    """Files in folders that no reader knows: inputs, scripts, pictures."""
    conflicts: list[str] = field(default_factory=list)
    """What is said of a run in two ways."""
    notes: list[str] = field(default_factory=list)
    """What is said and met nothing."""


def find_outputs(
    paths: Sequence[Path],
    root: Path,
    sayings: Sayings,
    *,
    cache: Cache | None = None,
    follow_links: bool = False,
    progress: Progress | None = None,
) -> Found:
    """Find the outputs among `paths`: a file that is named must be one, in a folder the others are passed over.

    Args:
        paths: files and folders.
        root: names are relative to it; what is outside it is named with the folder that it is in.
        sayings: what the files themselves do not say.
        cache: what was found of the same files before.
        follow_links: whether links to folders are followed.
        progress: called now and then.

    Raises:
        UsageError: a path that does not exist, or a sidecar that cannot be understood.
    """
    found = Found(", ".join(map(str, paths)))
    images, once, n_files = Images(), Once(several=len(paths) > 1), 0
    outputs: list[Output] = []

    def take(file: Sighting) -> None:
        said = sayings.of(file.on_disk, file.folder, file.top, tree=file.tree, member=file.member)
        found.conflicts.extend(map(str, said.conflicts))
        outputs.append(_on_path(_output(file, said), file, images))

    for path in paths:
        for file in files_below(path, root, cache or Cache(None), follow_links, found.passed_over):
            n_files += 1
            if progress and n_files % PACE == 0:
                progress(n_files, 0, file.name)
            if file.seen.reader or file.seen.error:
                if once.is_new(file):
                    take(file)
            elif not file.is_part:
                logger.info("%s: passed over, no reader knows it", file.name)
                found.not_outputs += 1
    for file in once.links():
        take(file)
    found.outputs = _by_run(outputs)
    found.notes = sayings.conclude()
    return found


def _output(file: Sighting, said: Said) -> Output:
    """A file as an output that is to be read, or that cannot be."""
    if not _is_text(file.name):
        shown = os.fsencode(file.name).decode("utf-8", "backslashreplace")
        error = InputError("expected a name in UTF-8, found other bytes. Rename it.")
        return Output(file.path, shown, said.sidecar, error=error)
    known = file.seen
    if known.error:
        return Output(file.path, file.name, said.sidecar, error=known.refusal())
    return Output(
        file.path,
        file.name,
        said.sidecar,
        said.rests_on,
        file.tags,
        known.sha256,
        f"{folder_of(file.name)}/{known.run}" if known.run else "",
        known.reader,
        known.precedence,
        companions=file.companions,
        size=file.size,
        entries=file.entries,
    )


def folder_of(name: str) -> str:
    """The folder that a root-relative name is in; an archive is a folder too."""
    folder, _, last = name.rpartition("/")
    archive = f"{folder}/" if folder else ""
    return f"{archive}{last.partition('!')[0]}!" if "!" in last else folder or "."


def _on_path(output: Output, file: Sighting, images: Images) -> Output:
    """The output with its place on a reaction path."""
    if output.error:
        return output
    if file.image is not None:
        return replace(output, image=file.image.number, group=f"{file.on_disk}!{file.image.folder.as_posix()}")
    if not isinstance(output.path, Path) or (image := images.of(absolute(output.path))) is None:
        return output
    depth = len(absolute(output.path).relative_to(image.folder).parts)
    return replace(output, image=image.number, group="/".join(PurePosixPath(output.name).parts[:-depth]) or ".")


def _by_run(outputs: Sequence[Output]) -> list[Output]:
    """The outputs sorted by name, those of one run joined behind the most precise one, companions taken out."""
    places = _Places()
    companions = {places.of(one.path) for output in outputs for one in output.companions}
    runs: dict[str, list[Output]] = {}
    for output in sorted(outputs, key=lambda output: output.name):
        if not companions or places.of(output.path) not in companions:
            runs.setdefault(output.run or f"file {output.name}", []).append(output)
    joined = []
    for files in runs.values():
        first, *others = sorted(files, key=lambda output: (output.precedence, output.name))
        joined.append(replace(first, others=tuple(others)))
    return sorted(joined, key=lambda output: output.name)


class _Places:
    """One name for each file, whichever way leads to it; links are followed once a folder."""

    def __init__(self) -> None:
        self._folders: dict[Path, str] = {}

    def of(self, place: Place) -> tuple[str, str]:
        """Folder and name."""
        if isinstance(place, Member):
            return str(place), ""
        if place.parent not in self._folders:
            self._folders[place.parent] = os.path.realpath(place.parent)
        return self._folders[place.parent], place.name


def _is_text(name: str) -> bool:
    """Whether a name can be stored; what is no UTF-8 comes from the system as lone surrogates."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
