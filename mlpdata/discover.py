"""Discover: which files below the given paths are outputs, what sidecars say of them, and their digests."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from mlpdata.checks.licenses import normalise
from mlpdata.digest import sha256_file
from mlpdata.errors import InputError, MlpdataError, NotRecognised, UsageError
from mlpdata.readers.registry import recognise_file
from mlpdata.schema.noun import from_user
from mlpdata.schema.sidecar import SIDECAR, Sidecar


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
    error: MlpdataError | None = None
    """Why it cannot be read, where that is already known."""


@dataclass
class Found:
    """What a search found."""

    outputs: list[Output] = field(default_factory=list)
    """Sorted by name."""
    not_outputs: int = 0
    """Files in folders that no reader knows: inputs, scripts, pictures."""


def find_outputs(paths: Sequence[Path], root: Path, said: Sidecar, default: Sidecar) -> Found:
    """Find the outputs among `paths`: a file that is named must be one, in a folder the others are passed over.

    Args:
        paths: files and folders.
        root: names are relative to it; a path outside it is named from its own folder.
        said: holds for all, above every sidecar.
        default: holds where nothing else speaks.

    Raises:
        UsageError: a path that does not exist, or a sidecar that cannot be understood.
    """
    found = Found()
    sidecars = _Sidecars(default)
    seen: set[Path] = set()
    for path in paths:
        if not path.exists():
            raise UsageError("expected a file or folder, found nothing there.", path=path)
        top = root if _inside(path, root) else path if path.is_dir() else path.parent
        for file, named in files_below(path):
            real = file.resolve()
            if real in seen:
                continue
            seen.add(real)
            output = _recognised(file, _relative(file, top), said.over(sidecars.of(file.parent, top)), named)
            if output is None:
                found.not_outputs += 1
            else:
                found.outputs.append(output)
    found.outputs.sort(key=lambda output: output.name)
    return found


def _recognised(file: Path, name: str, sidecar: Sidecar, named: bool) -> Output | None:
    """The output at `file`; None for a file of a folder that no reader knows."""
    try:
        recognise_file(file)
        return Output(file, name, sidecar, sha256_file(file))
    except NotRecognised as error:
        return Output(file, name, sidecar, error=error) if named else None
    except InputError as error:
        return Output(file, name, sidecar, error=error)


def files_below(path: Path) -> Iterator[tuple[Path, bool]]:
    """The files at or below `path` in order of name, hidden ones passed over, and whether each was named itself."""
    if path.is_file():
        yield path, True
        return
    for folder, folders, files in os.walk(path):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith(".") and name != SIDECAR:
                yield Path(folder, name), False


def _inside(path: Path, root: Path) -> bool:
    return path.resolve().is_relative_to(root.resolve())


def _relative(file: Path, top: Path) -> str:
    """Name of `file` below `top`, the same on every machine; what is linked from outside keeps its own place."""
    return (
        file.absolute().relative_to(top.absolute()).as_posix()
        if file.absolute().is_relative_to(top.absolute())
        else file.name
    )


class _Sidecars:
    """Sidecars by folder, each on top of those above it."""

    def __init__(self, default: Sidecar) -> None:
        self._default = default
        self._of: dict[Path, Sidecar] = {}

    def of(self, folder: Path, top: Path) -> Sidecar:
        """What is said of the files of `folder`, inherited from `top` downwards."""
        folder = folder.absolute()
        if folder not in self._of:
            above = folder.parent
            inherits = folder != top.absolute() and above.is_relative_to(top.absolute())
            inherited = self.of(above, top) if inherits else self._default
            self._of[folder] = _read_sidecar(folder / SIDECAR).over(inherited)
        return self._of[folder]


def _read_sidecar(path: Path) -> Sidecar:
    if not path.is_file():
        return Sidecar()
    try:
        sidecar = from_user(Sidecar, yaml.safe_load(path.read_text()) or {}, str(path))
    except (yaml.YAMLError, UnicodeError) as error:
        line = getattr(getattr(error, "problem_mark", None), "line", None)
        raise UsageError(
            "expected YAML, found something else.", path=path, line=None if line is None else line + 1
        ) from error
    return sidecar if sidecar.license is None else sidecar.replace(license=normalise(sidecar.license))
