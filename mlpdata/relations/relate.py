"""Relate: the relations of all runs of a snapshot, put together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mlpdata.relations.chains import chains
from mlpdata.relations.groups import because, groups, own_name
from mlpdata.relations.kinds import kind, temperature
from mlpdata.relations.likeness import Likeness
from mlpdata.relations.runs import Relation, Run
from mlpdata.relations.series import find_series
from mlpdata.relations.shared import Shared

Answer = tuple[Any, str]
"""A value and what it rests on; empty where nothing is known."""
DECLARED = "declared"
"""What a field rests on that a user fixed without saying where."""


def relations(runs: Sequence[Run]) -> list[Relation]:
    """The relation of each run, in the order given; it depends on which runs there are, never on their order.

    What users declared of a run (the fields named in `calculation.declared`) stays as it is stored.
    """
    order = sorted(range(len(runs)), key=lambda number: runs[number].order)
    found = _in_path_order([runs[number] for number in order])
    by_number = dict(zip(order, found, strict=True))
    return [by_number[number] for number in range(len(runs))]


def alone(run: Run) -> Relation:
    """What `relations` says of a run where no other is related to it; quick, since it is asked of every run."""
    answers: dict[str, Answer] = {
        "continues": ("", ""),
        "group": (own_name(run), because(run, set())),
        "system": _system(run),
        "kind": kind(run, None, ""),
        "temperature_target": temperature(run),
    }
    return _relation(run, answers, 0)


def _in_path_order(runs: Sequence[Run]) -> list[Relation]:
    shared, alike = Shared(runs), Likeness(runs)
    linked = chains(runs, shared, alike)
    series = list(find_series(runs, shared, alike))
    varied = {member: one for one in series for member in one.variation.told}
    relaxed = _relaxed(runs, shared)
    found = []
    for number, (run, group) in enumerate(zip(runs, groups(runs, shared, linked, series), strict=True)):
        link = linked.links.get(number)
        one = varied.get(number)
        varies = None if one is None else (one.variation.kind, one.because(number))
        answers: dict[str, Answer] = {
            "continues": ("", "") if link is None else (runs[link.earlier].path, link.because),
            "group": group,
            "system": _system(run),
            "kind": kind(run, varies, relaxed.get(shared.first(number), "")),
            "temperature_target": temperature(run),
        }
        found.append(_relation(run, answers, link.skip if link else 0))
    return found


def _relation(run: Run, answers: Mapping[str, Answer], skip: int) -> Relation:
    """What is said of a run: what was worked out, where no user fixed it."""
    stored = run.calculation
    fixed = {
        name: (getattr(stored, name), stored.rests_on.get(name, DECLARED)) for name in answers if run.declared(name)
    }
    said = {**answers, **fixed}
    rests_on = {name: because for name, (_, because) in said.items() if because}
    return Relation(**{name: value for name, (value, _) in said.items()}, skip=skip, rests_on=rests_on)


def _system(run: Run) -> tuple[str, str]:
    """Name of what was calculated."""
    if not run.species:
        return "", "its configurations have several compositions" if len(run) else ""
    return run.formula, "formula and periodic directions of its configurations"


def _relaxed(runs: Sequence[Run], shared: Shared) -> dict[int, str]:
    """By the number of a geometry: the first relaxation that ended with it, complete and with no forces left."""
    found: dict[int, str] = {}
    for number, run in enumerate(runs):
        if run.moves == "relax" and run.calculation.status == "complete" and len(run) and run.at_rest[-1]:
            found.setdefault(int(shared.of(number)[-1]), run.path)
    return found
