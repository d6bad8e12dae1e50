"""Outcome: what entered a store, what did not and why."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

from mlpdata.errors import MlpdataError
from mlpdata.schema.records import Retraction
from mlpdata.tree import PassedOver


@dataclass(frozen=True)
class Entered:
    """A calculation that entered the store."""

    path: str
    calculation: str
    n_configurations: int
    status: str
    reader: str
    replaced: bool = False
    """Whether it takes the place of an older reading of the same run."""


@dataclass(frozen=True)
class Refused:
    """A file, or a part of one, that did not enter."""

    path: str
    line: int | None
    code: str
    reason: str
    frames: int | None = None
    """Configurations lost; None where that is not known."""


def refusal(name: str, error: MlpdataError) -> Refused:
    """What is noted of a file that could not be read."""
    return Refused(name, error.line, error.code, error.message)


def withheld(name: str, retraction: Retraction) -> Refused:
    """What is noted of a file that holds what a user retracted."""
    return Refused(name, None, "retracted", f"{retraction.reason} (by {retraction.by}, {retraction.time})")


@dataclass
class IngestReport:
    """What entered, what did not and why."""

    snapshot: str | None = None
    content: str | None = None
    n_configurations: int = 0
    """In the store, afterwards."""
    entered: list[Entered] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    retracted: list[str] = field(default_factory=list)
    """Calculations whose files are gone, or among the refused."""
    refused: list[Refused] = field(default_factory=list)
    left_out: list[Refused] = field(default_factory=list)
    """Configurations of files that otherwise entered."""
    changed: list[Refused] = field(default_factory=list)
    """Files under whose name another run was read before."""
    withheld: list[Refused] = field(default_factory=list)
    """Files that were not taken, as a user retracted what was read from them."""
    copies: int = 0
    """How many of the unchanged repeat the bytes of another file."""
    passed_over: list[PassedOver] = field(default_factory=list)
    """Files and folders that were not looked into, and why."""
    amended: int = 0
    """Calculations whose group, kind, temperature or chain is another now, in the light of what entered."""
    conflicts: list[str] = field(default_factory=list)
    """What was said of a run in two ways."""
    notes: list[str] = field(default_factory=list)
    """What was said and met nothing: rows of a map without a run, paths that no template matches."""
    not_outputs: int = 0
    """Files in folders that no reader knows."""
    unknown_license: int = 0
    """Entered calculations whose license nobody stated: they block publishing."""
    seconds: float = 0.0
    dry_run: bool = False

    @property
    def n_entered(self) -> int:
        """Configurations that entered."""
        return sum(one.n_configurations for one in self.entered)

    @property
    def exit_code(self) -> int:
        """0, or 3 where files were given and none gave anything."""
        return 3 if self.damaged and not (self.n_entered or self.unchanged) else 0

    @property
    def damaged(self) -> list[Refused]:
        """Files that could not be read to their end: refused, or cut off."""
        cut = Refused("", None, "truncated", "expected a whole run, found one that was cut off.")
        lost = {one.path: one for one in self.left_out}
        truncated = [one.path for one in self.entered if one.status == "truncated"]
        return [*self.refused, *(lost.get(path, replace(cut, path=path)) for path in truncated)]

    def as_json(self) -> dict[str, Any]:
        """The report as JSON values."""
        passed_over = [one._asdict() for one in self.passed_over]
        return {**asdict(self), "passed_over": passed_over, "n_entered": self.n_entered}
