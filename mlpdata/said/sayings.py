"""Sayings: what options, maps, path templates and sidecars say of each run, with who says it and who contradicts.

From high to low: options, `--map`, `map:` of sidecars, `--from-path`, `from_path:` of sidecars, the sidecar of the
folder (what its `runs:` say of some runs above what it says of all), those of the folders above, the project's
default. A sidecar below another, a row more specific than another and whatever speaks above the default are there to
be different; any other difference is a conflict, in which the higher counts and both are named.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from mlpdata.checks.licenses import normalise
from mlpdata.said.maps import Map
from mlpdata.said.sidecars import SIDECARS, Rules, read_sidecar
from mlpdata.said.statements import DEFAULT, Conflict, Layer, Statement, Statements, join
from mlpdata.said.tables import rows_of
from mlpdata.said.templates import Templates
from mlpdata.schema.calculation import RunKind
from mlpdata.schema.sidecar import SIDECAR, Sidecar

ATTRIBUTES = {"kind": "kind", "temperature": "temperature_target", "group": "group", "system": "system"}
"""Fields of a sidecar that become attributes of a calculation, and their names there."""
REMEMBERED = 1 << 15
"""Answers that are kept, for runs of which the same is said."""
TOLERANCE = 1.0
"""Difference of a declared temperature from the printed one that is worth a word [K]."""
CONTRADICTED = {
    "md": {"equilibrium", "isolated_atom"},
    "relax": {"aimd"},
    "vc-relax": {"aimd"},
    "neb": {"equilibrium", "aimd", "isolated_atom", "phonon", "strained"},
    "irc": {"equilibrium", "aimd", "isolated_atom", "phonon", "strained"},
}
"""Kinds that no run of a kind gives. Single points of any kind exist: frames of a trajectory are computed anew."""


@dataclass(frozen=True)
class Said:
    """What is said of one run."""

    sidecar: Sidecar
    """All of it joined."""
    places: dict[str, str] = field(default_factory=dict)
    """Who says it, by field as `Sidecar.declared` names them: `--kind`, `a/mlpdata.yaml:3`, `runs.csv:7`."""
    conflicts: tuple[Conflict, ...] = ()
    """Where two places say different things."""

    @functools.cached_property
    def rests_on(self) -> dict[str, str]:
        """Who declared an attribute of the calculation, for its record.

        Without the line: a row put in at the top of a map would otherwise change the record of every run.
        """
        return {
            attribute: f"declared by {place}"
            if place.startswith("--")
            else f"declared in {place.rpartition(':')[0] or place}"
            for name, attribute in ATTRIBUTES.items()
            if (place := self.places.get(name))
        }


def against_output(run: str, said: Said, run_kind: RunKind, temperature: float | None) -> tuple[Conflict, ...]:
    """What is declared of a run and contradicts what its output prints; the declared counts.

    Args:
        run: its name.
        said: what is declared.
        run_kind: what the program was asked to do.
        temperature: set point that it prints [K].
    """
    printed: dict[str, float | str] = {}
    declared = said.sidecar.temperature
    if declared is not None and temperature is not None and abs(declared - temperature) > TOLERANCE:
        printed["temperature"] = temperature
    if said.sidecar.kind in CONTRADICTED.get(run_kind, ()):
        printed["kind"] = f"a run of kind {run_kind}"
    return tuple(
        Conflict(
            run, name, Statement(getattr(said.sidecar, name), said.places.get(name, "")), Statement(value, "output")
        )
        for name, value in printed.items()
    )


class _Folder(NamedTuple):
    """What sidecars say of a folder."""

    rules: tuple[Rules, ...]
    """Those that say something, the nearest first."""
    statements: Statements
    """What they say of all runs, joined."""
    single: bool
    """Whether they have rules for single runs."""


NOTHING = _Folder((), {}, single=False)


class Sayings:
    """What is said of the runs of trees.

    Args:
        said: options, which hold for all runs.
        default: what holds where nothing else speaks.
        templates: of paths below the tree; the first that matches counts.
        maps: CSV files, whose column `path` is relative to the tree.
        default_place: who says the default.
        has_sidecar: whether a folder, an absolute path, has a sidecar, where the caller knows; else each is asked once.

    Raises:
        UsageError: a template or a map that cannot be understood.
    """

    def __init__(
        self,
        said: Sidecar | None = None,
        default: Sidecar | None = None,
        *,
        templates: Sequence[str] = (),
        maps: Sequence[Path] = (),
        default_place: str = "params.yaml",
        has_sidecar: Callable[[str], bool] | None = None,
    ) -> None:
        self._options = Layer("options", _stated(said or Sidecar(), _option))
        self._default = Layer(DEFAULT, _stated(default or Sidecar(), lambda _: default_place))
        self._templates = Templates(templates, "--from-path") if templates else None
        self._map = Map((row for file in maps for row in rows_of(file, file.name)), "--map") if maps else None
        self._has_sidecar = has_sidecar or _has_sidecar
        self._folders: dict[tuple[str, str], _Folder] = {}
        self._rules: list[Rules] = []
        self._asked: dict[tuple[str, str], _Folder] = {}
        self._joined: dict[tuple[object, ...], Said] = {}
        self._sidecars: dict[tuple[object, ...], Sidecar] = {}

    def of(self, name: str, folder: Path, top: Path, *, tree: str = "", member: str = "") -> Said:
        """What is said of a run.

        Args:
            name: root-relative name of its file, or of the archive that it is in.
            folder: where that file is.
            top: the folder where sidecars begin.
            tree: name of the folder in which templates and maps begin; the root where it is empty.
            member: path in the archive, which stands for a folder.

        Raises:
            UsageError: a sidecar that cannot be understood.
        """
        path = name.split("/")
        sidecars = self._of_folder(folder, top, path[:-1])
        begin = len(tree.split("/")) if tree else 0
        if member:
            path += [part for part in member.split("/") if part]
            name = f"{name}!{member}"
        name = name.encode("utf-8", "backslashreplace").decode()  # messages name it; what is no UTF-8 cannot be printed
        layers = [self._options, *self._of_single_runs(name, path, begin, sidecars.rules if sidecars.single else ())]
        layers += [*self._of_sidecars(path, sidecars), self._default]
        return self._joined_once(name, sidecars, layers)

    def conclude(self) -> list[str]:
        """What is to be said when all runs were asked for: rows that match no run, paths that no template matches.

        Raises:
            UsageError: templates that were given and match no run at all.
        """
        if self._templates is not None:
            self._templates.raise_if_useless()
        sources: list[Map | Templates | None] = [self._map, self._templates]
        for rules in self._rules:
            sources += [rules.map, rules.templates, rules.runs]
        return [remark for source in sources if source is not None for remark in source.remarks()]

    def _of_folder(self, folder: Path, top: Path, name: Sequence[str]) -> _Folder:
        """What sidecars say of a folder, whose name has the parts `name`."""
        asked = str(folder), str(top)
        if asked not in self._asked:
            here, begin = map(os.path.abspath, asked)
            self._asked[asked] = self._below(here, begin, name)
        return self._asked[asked]

    def _below(self, folder: str, top: str, name: Sequence[str]) -> _Folder:
        """What sidecars say from `top` down to `folder`, both absolute; without recursion, since trees may be deep."""
        unknown = []
        while (folder, top) not in self._folders:
            unknown.append((folder, name))
            above = folder.rpartition("/")[0] or "/"
            if folder == top or not f"{above}/".startswith(f"{top.rstrip('/')}/"):
                break
            folder, name = above, name[:-1]
        found = self._folders.get((folder, top), NOTHING)
        for below, named in reversed(unknown):
            found = self._folders[below, top] = self._read(below, named, found)
        return found

    def _read(self, folder: str, name: Sequence[str], inherited: _Folder) -> _Folder:
        if not self._has_sidecar(folder):
            return inherited
        rules = read_sidecar(Path(folder), name)
        self._rules.append(rules)
        single = inherited.single or bool(rules.runs or rules.map or rules.templates)
        return _Folder((rules, *inherited.rules), {**inherited.statements, **rules.statements}, single)

    def _of_single_runs(self, name: str, path: Sequence[str], begin: int, above: Sequence[Rules]) -> Iterator[Layer]:
        """What maps and templates say, the highest first."""
        if self._map is not None:
            yield from self._map.layers(path[begin:])
        for rules in above:
            if rules.map is not None:
                yield from rules.map.layers(path[rules.depth :])
        if self._templates is not None:
            yield Layer("--from-path", self._templates.statements(name, path[begin:]))
        for rules in above:
            if rules.templates is not None:
                statements = rules.templates.statements(name, path[rules.depth :])
                yield Layer("from_path of a sidecar", statements, rules.depth)

    @staticmethod
    def _of_sidecars(path: Sequence[str], sidecars: _Folder) -> Iterator[Layer]:
        """What sidecars say, the nearest first; of one sidecar what it says of some runs before what it says of all."""
        if not sidecars.single:
            yield Layer(SIDECARS, sidecars.statements)
            return
        for rules in sidecars.rules:
            if rules.runs is not None:
                yield from rules.runs.layers(path[rules.depth :])
            yield Layer(SIDECARS, rules.statements, (rules.depth,))

    def _joined_once(self, name: str, sidecars: _Folder, layers: Sequence[Layer]) -> Said:
        """The layers joined; runs of which the same is said share one answer, unless they are named in a conflict."""
        own = [layer.statements for layer in layers[1:-1] if layer.statements is not sidecars.statements]
        key = (id(sidecars), *(item for statements in own for item in statements.items()))
        if key in self._joined:
            return self._joined[key]
        statements, conflicts = join(name, layers)
        if len(self._joined) + len(self._sidecars) > REMEMBERED:  # a map may say something else of each run
            self._joined.clear()
            self._sidecars.clear()
        values = (id(sidecars), *((field, one.value) for stated in own for field, one in stated.items()))
        if values not in self._sidecars:
            self._sidecars[values] = Sidecar.from_fields({field: one.value for field, one in statements.items()})
        places = {field: one.place for field, one in statements.items()}
        said = Said(self._sidecars[values], places, tuple(conflicts))
        if not conflicts:
            self._joined[key] = said
        return said


def _has_sidecar(folder: str) -> bool:
    return os.path.isfile(f"{folder}/{SIDECAR}")  # noqa: PTH113  a Path of each of many folders costs more than to ask


def _stated(said: Sidecar, place_of: Callable[[str], str]) -> Statements:
    """What a sidecar says, with the license as SPDX writes it."""
    plain = said if said.license is None else said.replace(license=normalise(said.license))
    return {name: Statement(value, place_of(name)) for name, value in plain.fields().items()}


def _option(name: str) -> str:
    """The option that gives a field."""
    field, _, key = name.partition(".")
    if field == "names":
        return f"--{key}-key"
    return {"tags": "--tag"}.get(field, f"--{field.replace('_', '-')}")
