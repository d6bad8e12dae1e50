"""Sidecars: `mlpdata.yaml` with the line of each thing that it says."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import yaml
from pydantic import ValidationError

from mlpdata.checks.licenses import normalise
from mlpdata.errors import UsageError
from mlpdata.said.maps import Map, Row, normal
from mlpdata.said.statements import Statement, Statements
from mlpdata.said.tables import rows_of
from mlpdata.said.templates import Templates
from mlpdata.schema.noun import from_yaml
from mlpdata.schema.sidecar import SIDECAR, Sidecar, SidecarFile

SIDECARS = "sidecars"
"""The source of what sidecars say in so many words, of all runs or of some."""


class Rules(NamedTuple):
    """What one sidecar says: of all runs at and below its folder, and of some of them."""

    depth: int
    """Parts of the name of its folder."""
    statements: Statements
    runs: Map | None = None
    map: Map | None = None
    templates: Templates | None = None


def read_sidecar(folder: Path, name: Sequence[str]) -> Rules:
    """The sidecar of a folder.

    Args:
        folder: where it is.
        name: parts of the root-relative name of the folder.

    Raises:
        UsageError: it cannot be understood; file and line are named.
    """
    return _Reading(folder, name).rules()


class _Reading:
    """One sidecar while it is read."""

    def __init__(self, folder: Path, name: Sequence[str]) -> None:
        self.folder, self.name, self.file = folder, name, folder / SIDECAR
        self.written = self._written()
        self.lines = _Lines(self.file)

    def _written(self) -> SidecarFile:
        try:
            return from_yaml(SidecarFile, self.file)
        except UsageError as error:
            if isinstance(error.__cause__, ValidationError):
                fault = error.__cause__.errors(include_input=False, include_url=False)[0]
                error.line = _Lines(self.file).of(*map(str, fault["loc"]))
            raise

    def rules(self) -> Rules:
        runs = [self._row(path, said) for path, said in self.written.runs.items()]
        mapped = [row for table in _several(self.written.map) for row in self._table(table)]
        depth = len(self.name)
        return Rules(
            depth,
            self._statements(self.written.said),
            Map(runs, SIDECARS, depth) if runs else None,
            Map(mapped, "map of a sidecar", depth) if mapped else None,
            self._templates() if self.written.from_path else None,
        )

    def _place(self, *keys: str) -> str:
        return f"{'/'.join((*self.name, SIDECAR))}:{self.lines.of(*keys)}"

    def _statements(self, said: Sidecar, *above: str) -> Statements:
        """What the keys below `above` say, each with its place; the license as SPDX writes it."""
        try:
            plain = said if said.license is None else said.replace(license=normalise(said.license))
        except UsageError as error:
            raise error.at(self.file, self.lines.of(*above, "license")) from error.__cause__
        return {
            field: Statement(value, self._place(*above, *field.split(".", 1)))
            for field, value in plain.fields().items()
        }

    def _row(self, path: str, said: Sidecar) -> Row:
        try:
            return Row(normal(path), self._place("runs", path), self._statements(said, "runs", path))
        except UsageError as error:
            raise error.at(self.file, self.lines.of("runs", path)) from error.__cause__

    def _templates(self) -> Templates:
        try:
            return Templates(_several(self.written.from_path), self._place("from_path"))
        except UsageError as error:
            raise error.at(self.file, self.lines.of("from_path")) from error.__cause__

    def _table(self, table: str) -> list[Row]:
        """The rows of a table, which must lie in the folder: what comes with a tree reads nothing outside it."""
        try:
            path = normal(table)
            file = self.folder / path
            if not file.resolve().is_relative_to(self.folder.resolve()):
                raise UsageError(
                    f"expected a table in the folder of the sidecar, found {table!r}, which leads out of it."
                )
        except UsageError as error:
            raise error.at(self.file, self.lines.of("map")) from error.__cause__
        return rows_of(file, "/".join((*self.name, path)))


class _Lines:
    """The lines of a YAML file on which keys stand."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._root = yaml.compose(file.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
        self._below: dict[int, dict[str, tuple[int, yaml.Node]]] = {}

    def of(self, *keys: str) -> int:
        """The line of a key, given by those that lead to it; of the last one that is found."""
        line, node = 1, self._root
        for key in keys:
            found = self._keys(node).get(key)
            if found is None:
                break
            line, node = found
        return line

    def _keys(self, node: yaml.Node | None) -> dict[str, tuple[int, yaml.Node]]:
        """The keys of a mapping, each with its line and what it leads to.

        Raises:
            UsageError: a key that stands there twice; YAML would take the last without a word.
        """
        if not isinstance(node, yaml.MappingNode):
            return {}
        if id(node) not in self._below:
            found: dict[str, tuple[int, yaml.Node]] = {}
            for key, value in node.value:
                line = key.start_mark.line + 1
                if str(key.value) in found:
                    raise UsageError(f"expected each key once, found {key.value!r} again.", path=self.file, line=line)
                found[str(key.value)] = line, value
            self._below[id(node)] = found
        return self._below[id(node)]


def _several(said: str | tuple[str, ...]) -> tuple[str, ...]:
    return (said,) if isinstance(said, str) else said
