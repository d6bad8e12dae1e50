"""Statements: a value with the place that states it, joined by rank; where two places contradict, both are named."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple


class Statement(NamedTuple):
    """A value and who states it."""

    value: Any
    """As the field of a sidecar holds it."""
    place: str
    """An option, or a file by its root-relative name with the line: the same however the tree was reached."""

    def __str__(self) -> str:
        return f"{self.value} ({self.place})"


Statements = dict[str, Statement]
"""By field, named as `Sidecar.fields` names them."""


class Conflict(NamedTuple):
    """Two places that state different values of one field of one run."""

    run: str
    """Root-relative."""
    field: str
    winner: Statement
    """The one that counts."""
    loser: Statement

    def __str__(self) -> str:
        return f"{self.run}: {self.field}: {self.winner} counts, not {self.loser}"

    def as_json(self) -> dict[str, Any]:
        """The conflict as a JSON object."""
        return {
            "run": self.run,
            "field": self.field,
            "winner": {"value": str(self.winner.value), "place": self.winner.place},
            "loser": {"value": str(self.loser.value), "place": self.loser.place},
        }


class Layer(NamedTuple):
    """What one source states of a run."""

    source: str
    """Layers of one source yield to each other by design, as a sidecar does to one below it."""
    statements: Statements
    rank: Any = None
    """Where layers of one source have the same rank, none was meant to yield."""


DEFAULT = "default"
"""The source that yields to all others by design."""


def join(run: str, layers: Iterable[Layer]) -> tuple[Statements, list[Conflict]]:
    """What holds of a run, and what contradicts it.

    Args:
        run: its name.
        layers: the highest first.
    """
    joined: Statements = {}
    stated_by: dict[str, Layer] = {}
    conflicts = []
    for layer in layers:
        for field, statement in layer.statements.items():
            if field not in joined:
                joined[field], stated_by[field] = statement, layer
            elif statement.value != joined[field].value and not _yields(layer, stated_by[field]):
                conflicts.append(Conflict(run, field, joined[field], statement))
    return joined, conflicts


def _yields(layer: Layer, higher: Layer) -> bool:
    """Whether a layer gives way to a higher one without contradicting it."""
    return layer.source == DEFAULT or (layer.source == higher.source and layer.rank != higher.rank)
