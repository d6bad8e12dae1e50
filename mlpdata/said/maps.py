"""Maps: rows that say something of the runs at or below a path, or of all whose path matches a pattern.

A row holds for a file, or for a folder with all below it; in a pattern `*` stands for any text of one part and `**` for
any number of folders. Of several rows that match a run the most specific counts, field by field: the one with more
parts, then the one with more literal text. Rows are kept as a tree of their parts, so that a run is looked up in a few
steps, however many rows there are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from mlpdata.errors import UsageError
from mlpdata.said.parts import Part, with_wildcards
from mlpdata.said.statements import Layer, Statements

ANY_FOLDERS = "**"


class Row(NamedTuple):
    """One row."""

    path: str
    """Or a pattern; as `normal` gives it."""
    place: str
    """Where it stands, for messages."""
    statements: Statements

    @property
    def specificity(self) -> tuple[int, int, bool]:
        """Parts, literal characters, whether it is a path rather than a pattern."""
        parts = [part for part in self.path.split("/") if part not in ("", ANY_FOLDERS)]
        return len(parts), sum(len(part.replace("*", "")) for part in parts), "*" not in self.path


def normal(path: str) -> str:
    """A path or pattern of a row as it is looked up; empty for the folder itself.

    Raises:
        UsageError: empty, or not below the folder.
    """
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if not path or path.startswith("/") or ".." in parts:
        raise UsageError(f"expected a path below the folder, such as a/run1 or a/*, found {path!r}.")
    return "/".join(part for at, part in enumerate(parts) if part != ANY_FOLDERS or parts[at - 1 : at] != [ANY_FOLDERS])


@dataclass(eq=False, slots=True)
class _Node:
    """What the rows have in common that begin alike."""

    layers: list[tuple[int, Layer]] = field(default_factory=list)
    """What the rows say that end here, each after minus its number: of equal ones the first counts."""
    met: bool = False
    """Whether a run came here."""
    named: dict[str, _Node] = field(default_factory=dict)
    """By the next part."""
    like: dict[str, tuple[Part, _Node]] = field(default_factory=dict)
    """By the next part, where that is a pattern."""
    anywhere: _Node | None = None
    """After `**`."""
    stays: bool = False
    """Whether it comes after `**` itself: any number of parts may follow."""

    def below(self, part: str) -> _Node:
        """The node that `part` of a row leads to, made where there is none."""
        if part == ANY_FOLDERS:
            self.anywhere = self.anywhere or _Node(stays=True)
            return self.anywhere
        if "*" in part:
            return self.like.setdefault(part, (with_wildcards(part), _Node()))[1]
        return self.named.setdefault(part, _Node())

    def reached(self, name: str) -> Iterable[_Node]:
        """The nodes that a part of the path of a run leads to."""
        if name in self.named:
            yield self.named[name]
        for part, node in self.like.values():
            if part.fields(name) is not None:
                yield node
        if self.stays:
            yield self


class Map:
    """Rows, looked up by the path of a run. Keeps account of the rows that were of use.

    Args:
        rows: of one table, or of several.
        source: of the layers that they make.
        depth: parts of the name of the folder in which they hold.
    """

    def __init__(self, rows: Iterable[Row], source: str, depth: int = 0) -> None:
        self._root = _Node()
        self._rows: list[tuple[Row, _Node]] = []
        for number, row in enumerate(rows):
            node = self._root
            for part in filter(None, row.path.split("/")):
                node = node.below(part)
            node.layers.append((-number, Layer(source, row.statements, (depth, *row.specificity))))
            self._rows.append((row, node))

    def layers(self, path: Sequence[str]) -> list[Layer]:
        """What rows say of a run, the most specific first.

        Args:
            path: parts of the path of the run below the folder in which the map holds, the file last.
        """
        reached = _with_anywhere([self._root])
        met = dict.fromkeys(reached)
        for name in path:
            reached = _with_anywhere(node for one in reached for node in one.reached(name))
            met.update(dict.fromkeys(reached))
        for node in met:
            node.met = True
        found = sorted((layer for node in met for layer in node.layers), key=_rank, reverse=True)
        return [layer for _, layer in found]

    def remarks(self) -> list[str]:
        """The rows that matched no run. What is in an archive is named by `!` everywhere but here."""
        return [
            f"{row.place}: {row.path!r} matches no run.{' After an archive write / for !.' if '!' in row.path else ''}"
            for row, node in self._rows
            if not node.met
        ]


def _rank(numbered: tuple[int, Layer]) -> tuple[Any, int]:
    number, layer = numbered
    return layer.rank, number


def _with_anywhere(nodes: Iterable[_Node]) -> list[_Node]:
    """Nodes, each once, with those that `**` leads to from them without a step."""
    found: dict[_Node, None] = {}
    for node in nodes:
        found[node] = None
        if node.anywhere is not None:
            found[node.anywhere] = None
    return list(found)
