"""Chains: which run continues the trajectory of which, so that the configuration that both hold is shown once.

A restart begins with a configuration that the run before it holds, mostly its last one; after a crash one a few steps
back. Where a code leaves the positions of the *next* step behind, as VASP's CONTCAR of molecular dynamics does, nothing
is held twice: the new run begins one step on. Names never prove a restart; of several runs that it may continue they
choose one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mlpdata.relations.likeness import Likeness
from mlpdata.relations.onward import SAME_ENERGY, Candidate, onward
from mlpdata.relations.runs import Run
from mlpdata.relations.shared import I64, Places, Shared

MOST_LOOKED_AT = 64
"""Configurations of one geometry that are looked at on either side, the nearest by name; more say nothing new."""


class Chains(NamedTuple):
    """What was found of all runs."""

    links: dict[int, Candidate]
    """The run that each continues; those that begin a chain have none."""
    touching: list[tuple[int, int]]
    """Runs one of which begins where the other ends, whether it continues it or starts anew with other settings."""


def chains(runs: Sequence[Run], shared: Shared, alike: Likeness) -> Chains:
    """The links of runs that are in natural path order.

    A run continues at most one other; two may continue the same. Where configurations recur, links could run in a
    circle: of each circle the earliest run by name begins the chain.
    """
    links = _declared(runs, shared)
    said = {number for number, run in enumerate(runs) if run.declared("continues")}
    later = shared.places(_may_be_overlap(runs, shared))
    for number, run in enumerate(runs):
        if run.moves and run.species and number not in said:
            _choose(links, runs, number, _overlaps(runs, shared, later, alike, number))
    waiting = [number for number, run in enumerate(runs) if run.moves and number not in links and number not in said]
    touching: dict[int, list[Candidate]] = {}
    for number, candidate in onward(runs, shared, waiting):
        touching.setdefault(number, []).append(candidate)
    for number, candidates in touching.items():
        _choose(links, runs, number, [one for one in candidates if alike.one_trajectory(number, one.earlier)])
    _break_circles(links, said)
    return Chains(links, [(number, one.earlier) for number, found in touching.items() for one in found])


def _declared(runs: Sequence[Run], shared: Shared) -> dict[int, Candidate]:
    """The links that users named, among runs that are there."""
    by_path = {run.path: number for number, run in reversed(list(enumerate(runs)))}
    links = {}
    for number, run in enumerate(runs):
        earlier = by_path.get(run.calculation.continues, number) if run.declared("continues") else number
        if earlier != number:
            held = shared.first(number) in shared.of(earlier)
            links[number] = Candidate(earlier, int(held), "")
    return links


def _may_be_overlap(runs: Sequence[Run], shared: Shared) -> NDArray[np.bool_]:
    """Configurations that a restart may begin with: what a run that moves has come to, not what it started from."""
    moves = np.array([run.moves != "" for run in runs], bool)[shared.run]
    began = shared.start[:-1][shared.run]
    later: NDArray[np.bool_] = moves & (shared.geometry != shared.geometry[began])
    return later


def _overlaps(runs: Sequence[Run], shared: Shared, later: Places, alike: Likeness, number: int) -> list[Candidate]:
    """Runs that hold, after their first one, the configuration that a run begins with, with the same energy."""
    run = runs[number]
    places = _nearest(later.of(shared.first(number)), shared.run, number)
    found: dict[int, Candidate] = {}
    for place in places.tolist():
        earlier = int(shared.run[place])
        index = place - int(shared.start[earlier])
        one = runs[earlier]
        same = abs(one.energies[index] - run.energies[0]) <= SAME_ENERGY * run.n_atoms
        if same and earlier != number and alike.one_trajectory(number, earlier):
            last = index == len(one) - 1
            because = f"it begins with configuration {index + 1} of {one.path}, at the same energy"
            found[earlier] = Candidate(earlier, 1, because, last=last)
    return list(found.values())


def _nearest(places: I64, run_of: I64, number: int) -> I64:
    """Of many places those of the nearest runs by name."""
    middle = int(np.searchsorted(run_of[places], number))
    return places[max(0, middle - MOST_LOOKED_AT) : middle + MOST_LOOKED_AT]


def _choose(links: dict[int, Candidate], runs: Sequence[Run], number: int, candidates: Iterable[Candidate]) -> None:
    """Link a run to the likeliest one: of its folder, then a sibling's, at its end, and before it by name."""
    run = runs[number]

    def unlikely(one: Candidate) -> tuple[int, bool, bool, int]:
        earlier = runs[one.earlier]
        distance = 0 if earlier.folder == run.folder else 1 if earlier.campaign == run.campaign else 2
        after = one.earlier > number
        return distance, not one.last, after, one.earlier if after else -one.earlier

    chosen = min(candidates, key=unlikely, default=None)
    if chosen is not None:
        links[number] = chosen


def _break_circles(links: dict[int, Candidate], said: set[int]) -> None:
    """Take out of each circle the link of its earliest run by name; what users said stays, unless they say circles."""
    seen: set[int] = set()
    for start in sorted(links):
        trail: dict[int, None] = {}
        at = start
        while at in links and at not in seen:
            seen.add(at)
            trail[at] = None
            at = links[at].earlier
        if at in trail:
            circle = list(trail)[list(trail).index(at) :]
            del links[min(circle, key=lambda one: (one in said, one))]
