"""Groups: which runs hold configurations that must stay on one side of a split."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from mlpdata.relations.chains import Chains
from mlpdata.relations.runs import Run
from mlpdata.relations.series import Series
from mlpdata.relations.shared import I64, Shared

BONDS = (
    "restarts",
    "one begins where another ends",
    "the same geometries",
    "copies of one parent that hardly differ from it",
    "one group by name or by folder",
)
"""What holds the runs of a group together, in the order in which it is told."""


def groups(runs: Sequence[Run], shared: Shared, chains: Chains, series: Sequence[Series]) -> list[tuple[str, str]]:
    """Name of the group of each run, and what it rests on.

    Runs that are bound in any way, directly or through others, are one group. Its name is the one that a user gave to
    one of them, else the own name of its earliest run in natural path order; what a user declared of a run stays.

    Args:
        runs: in natural path order.
        shared: their geometries.
        chains: their links.
        series: the series among them.
    """
    kinds = [
        _rows((number, one.earlier) for number, one in chains.links.items()),
        _rows(chains.touching),
        shared.pairs(),
        _rows(pair for one in series for pair in one.near_pairs()),
        _rows(_of_one_name(runs)),
    ]
    root = _components(len(runs), np.concatenate(kinds))
    bonds: dict[int, set[int]] = {}
    for kind, pairs in enumerate(kinds):
        for one in np.unique(root[pairs[:, 0]]).tolist():
            bonds.setdefault(one, set()).add(kind)
    names: dict[int, str] = {}
    for number, run in enumerate(runs):
        if run.declared("group"):
            names.setdefault(int(root[number]), run.calculation.group)
    found = []
    for number, run in enumerate(runs):
        first = int(root[number])
        name = own_name(run) if run.declared("group") else names.get(first, own_name(runs[first]))
        found.append((name, because(runs[first], bonds.get(first, set()))))
    return found


def own_name(run: Run) -> str:
    """What a run is called where nothing binds it: its path with the first digits of its id, or what it said itself."""
    return run.calculation.group or f"{run.path} {run.calculation.id[:8]}"


def because(first: Run, bonds: set[int]) -> str:
    """What the group rests on whose earliest run is `first`, by the numbers of its bonds."""
    if not bonds:
        return "the run by itself"
    return f"bound to {first.path}: {', '.join(BONDS[kind] for kind in sorted(bonds))}"


def _of_one_name(runs: Sequence[Run]) -> Iterator[tuple[int, int]]:
    """Runs that have the same group already: images of a reaction path, and what users declared.

    What has the name of a group stays in it anyway; so that what is said of a run rests on runs of its own composition
    alone, those of others are not named as its reason.
    """
    named: dict[tuple[str, str], int] = {}
    for number, run in enumerate(runs):
        first = named.setdefault((own_name(run), run.formula), number)
        if first != number:
            yield first, number


def _rows(pairs: Iterable[tuple[int, int]]) -> I64:
    return np.array(list(pairs), np.int64).reshape(-1, 2)


def _components(n: int, pairs: I64) -> I64:
    """The lowest number that each of n numbers is bound to, shape (n,)."""
    root = list(range(n))

    def top(one: int) -> int:
        while root[one] != one:
            root[one] = root[root[one]]
            one = root[one]
        return one

    for one, other in pairs.tolist():
        low, high = sorted((top(one), top(other)))
        root[high] = low
    return np.array([top(one) for one in range(n)], np.int64)
