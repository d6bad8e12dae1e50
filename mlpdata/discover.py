"""Discover: which files below the given paths are outputs, what sidecars say of them, and their digests."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from mlpdata.checks.licenses import normalise
from mlpdata.digest import sha256_file
from mlpdata.errors import InputError, LicenseError, MlpdataError, NotRecognised, UsageError
from mlpdata.reaction_paths import Images
from mlpdata.readers.registry import recognise_file
from mlpdata.schema.noun import from_yaml
from mlpdata.schema.sidecar import SIDECAR, Sidecar

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Output:
    """One file that is to be read."""

    path: Path
    name: str
    """Root-relative, `/` between parts."""
    sidecar: Sidecar
    """What is said of it."""
    sha256: str = ""
    """Of the stored bytes."""
    run: str = ""
    """What it shares with other files of its run; empty where it stands for itself."""
    precedence: int = 0
    """Of several files of one run the lowest gives the configurations."""
    others: tuple[Output, ...] = ()
    """Further files of the same run, the more precise first."""
    companions: tuple[Path, ...] = ()
    """Files that hold a part of the run and are no outputs of their own."""
    image: int | None = None
    """Its place on a reaction path whose images are in folders of their own."""
    group: str = ""
    """The folder of that path: its images belong together."""
    error: MlpdataError | None = None
    """Why it cannot be read, where that is already known."""

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
    not_outputs: int = 0
    """Files in folders that no reader knows: inputs, scripts, pictures."""


def find_outputs(paths: Sequence[Path], root: Path, said: Sidecar, default: Sidecar) -> Found:
    """Find the outputs among `paths`: a file that is named must be one, in a folder the others are passed over.

    Args:
        paths: files and folders.
        root: names are relative to it; what is outside it is named with the folder that it is in.
        said: holds for all, above every sidecar.
        default: holds where nothing else speaks.

    Raises:
        UsageError: a path that does not exist, or a sidecar that cannot be understood.
    """
    found = Found(", ".join(map(str, paths)))
    sidecars = _Sidecars(said, default)
    seen: set[str] = set()
    for path in paths:
        if not path.exists():
            raise UsageError("expected a file or folder, found nothing there.", path=path)
        top, named_from = (root, root) if _inside(path, root) else _tops(path)

        def unreadable(error: OSError, named_from: Path = named_from) -> None:
            folder = Path(error.filename)
            found.outputs.append(Output(folder, _relative(folder, named_from), said, error=_not_readable(error)))

        for file, named in files_below(path, unreadable):
            real = os.path.realpath(file)  # Path.resolve raises where links run in a circle
            if real in seen:
                continue
            seen.add(real)
            name = _relative(file, named_from)
            output = _recognised(file, name, sidecars.of(file.parent, top), named)
            if output is None:
                logger.info("%s: passed over, no reader knows it", name)
                found.not_outputs += 1
            else:
                found.outputs.append(output)
    images = Images()
    found.outputs = _by_run([_on_path(output, images) for output in found.outputs])
    return found


def _on_path(output: Output, images: Images) -> Output:
    """The output with its place on a reaction path."""
    file = absolute(output.path)
    image = None if output.error else images.of(file)
    if image is None:
        return output
    depth = len(file.relative_to(image.folder).parts)
    return replace(output, image=image.number, group="/".join(PurePosixPath(output.name).parts[:-depth]) or ".")


def _by_run(outputs: Sequence[Output]) -> list[Output]:
    """The outputs sorted by name, those of one run joined behind the most precise one, companions taken out."""
    companions = {os.path.realpath(path) for output in outputs for path in output.companions}
    runs: dict[str, list[Output]] = {}
    for output in sorted(outputs, key=lambda output: output.name):
        if not companions or os.path.realpath(output.path) not in companions:
            runs.setdefault(output.run or f"file {output.name}", []).append(output)
    joined = []
    for files in runs.values():
        first, *others = sorted(files, key=lambda output: (output.precedence, output.name))
        joined.append(replace(first, others=tuple(others)))
    return sorted(joined, key=lambda output: output.name)


def _recognised(file: Path, name: str, sidecar: Sidecar, named: bool) -> Output | None:
    """The output at `file`; None for a file of a folder that no reader knows."""
    if not _is_text(name):
        shown = os.fsencode(name).decode("utf-8", "backslashreplace")
        return Output(file, shown, sidecar, error=InputError("expected a name in UTF-8, found other bytes. Rename it."))
    try:
        known = recognise_file(file)
        run = "" if known.run is None else f"{PurePosixPath(name).parent}/{known.run}"
        precedence, companions = known.reader.precedence, known.companions
        return Output(file, name, sidecar, sha256_file(file), run, precedence, companions=companions)
    except NotRecognised as error:
        return Output(file, name, sidecar, error=error) if named else None
    except InputError as error:
        return Output(file, name, sidecar, error=error)
    except OSError as error:
        return Output(file, name, sidecar, error=_not_readable(error))


def _not_readable(error: OSError) -> InputError:
    return InputError(f"expected to read it, found: {error.strerror}. Check its permissions and the disk.")


def _is_text(name: str) -> bool:
    """Whether a name can be stored; what is no UTF-8 comes from the system as lone surrogates."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _raise_unreadable(error: OSError) -> None:
    raise _not_readable(error).at(error.filename) from error


def files_below(path: Path, unreadable: Callable[[OSError], None] = _raise_unreadable) -> Iterator[tuple[Path, bool]]:
    """The files at or below `path` in order of name, and whether each was named itself.

    Hidden files are passed over, and so are links to folders, which may lead out of the tree or in a circle.

    Args:
        path: a folder, or whatever else was named.
        unreadable: called with the error of a folder that cannot be read; by default it is raised.
    """
    if not path.is_dir():
        yield path, True
        return
    for folder, folders, files in os.walk(path, onerror=unreadable):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in folders:
            if Path(folder, name).is_symlink():
                logger.warning("%s: passed over, a link to a folder; name it itself to read it", Path(folder, name))
        for name in sorted(files):
            if not name.startswith(".") and name != SIDECAR:
                yield Path(folder, name), False


def _inside(path: Path, root: Path) -> bool:
    return path.resolve().is_relative_to(root.resolve())


def _tops(path: Path) -> tuple[Path, Path]:
    """For a path outside the project: the folder where sidecars begin, and the one that names are relative to.

    Names begin with the folder that was named, or that the file is in, so that runs of several folders are told
    apart; home folders keep their names to themselves.
    """
    folder = absolute(path if path.is_dir() else path.parent)
    return folder, folder if folder == Path.home() else folder.parent


def _relative(file: Path, top: Path) -> str:
    """Name of `file` below `top`, the same on every machine, whichever way leads to it."""
    for path, above in ((absolute(file), absolute(top)), (Path(os.path.realpath(file)), top.resolve())):
        if path.is_relative_to(above):
            return path.relative_to(above).as_posix()
    return file.name


def absolute(path: Path) -> Path:
    """`path` from the root, without `..`; links are kept, since they are names that the user chose."""
    return Path(os.path.abspath(path))  # noqa: PTH100  Path.absolute keeps ..


class _Sidecars:
    """Sidecars by folder, each on top of those above it, what was said of all files on top of all."""

    def __init__(self, said: Sidecar, default: Sidecar) -> None:
        self._said, self._default = said, default
        self._below: dict[tuple[Path, Path], Sidecar] = {}
        self._of: dict[tuple[Path, Path], Sidecar] = {}

    def of(self, folder: Path, top: Path) -> Sidecar:
        """What is said of the files of `folder`; the same object for all of them."""
        if (folder, top) not in self._of:
            self._of[folder, top] = self._said.over(self._inherited(absolute(folder), absolute(top)))
        return self._of[folder, top]

    def _inherited(self, folder: Path, top: Path) -> Sidecar:
        """What sidecars say of the files of `folder`, from `top` downwards."""
        if (folder, top) not in self._below:
            above = folder.parent
            inherits = folder != top and above.is_relative_to(top)
            inherited = self._inherited(above, top) if inherits else self._default
            self._below[folder, top] = _read_sidecar(folder / SIDECAR).over(inherited)
        return self._below[folder, top]


def _read_sidecar(path: Path) -> Sidecar:
    if not path.is_file():
        return Sidecar()
    sidecar = from_yaml(Sidecar, path)
    try:
        return sidecar if sidecar.license is None else sidecar.replace(license=normalise(sidecar.license))
    except LicenseError as error:
        raise error.at(path) from error.__cause__
