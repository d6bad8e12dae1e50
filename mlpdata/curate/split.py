"""Split: whole groups dealt to named parts, every kind in every part, no geometry in two.

Groups that share a geometry are dealt as one. A split that grows keeps what it has: only new groups are dealt,
towards the deficit, and a new configuration that links groups on two sides is quarantined.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mlpdata.curate.links import I64, Links, Table, column, components, links
from mlpdata.errors import UsageError
from mlpdata.schema.params import SplitParams
from mlpdata.schema.records import Split
from mlpdata.units import F64

NOWHERE, QUARANTINED = -1, -2
"""Not assigned yet; links two sides."""


class Leaks(NamedTuple):
    """What a split must not have: all zero where it is sound."""

    groups: int
    """Groups with configurations in two parts."""
    geometries: int
    """Geometries in two parts."""
    unassigned: int
    """Configurations of the table in no part and not quarantined."""
    unknown: int
    """Ids of the split that the table does not have."""


def split(table: Table, params: SplitParams, content: str, parent: Split | None = None) -> Split:
    """Divide the configurations of a table into parts.

    The result depends on the rows and the parameters, not on the order of the rows.

    Args:
        table: columns id, group, kind, those of `params.stratify`, and geometry_id where there is one.
        params: target fractions and what they hold for.
        content: what the snapshot shows that is divided.
        parent: the split that this one extends; its configurations stay where they are.

    Raises:
        UsageError: a column is missing, fractions do not sum to one, or `parent` has other parts.
    """
    parts = _checked_parts(params, parent)
    rows = links(table)
    strata = _strata(table, params, rows)
    part = _inherited(rows, parts, parent)
    if parent is not None:
        _extend(rows, part)
    always = np.isin(column(table, "kind").astype(str)[rows.first], params.always_train)
    _send(rows, part, always, parts.index(_training(parts)))
    _deal(rows, part, strata, params)
    notes = [*_link_notes(rows), *_target_notes(part, params), *_presence_notes(rows, part, strata, parts)]
    return Split(
        content=content,
        recipe=params.as_json(),
        parent=parent.id if parent is not None else None,
        parts={name: tuple(rows.ids[part == number].tolist()) for number, name in enumerate(parts)},
        quarantined=tuple(rows.ids[part == QUARANTINED].tolist()),
        notes=tuple(notes),
    )


def leaks(table: Table, divided: Split) -> Leaks:
    """Count what the split must not have."""
    rows = links(table)
    part = _inherited(rows, list(divided.parts), divided)
    known = {one for ids in divided.parts.values() for one in ids} | set(divided.quarantined)
    inside = part >= 0
    return Leaks(
        _in_two_parts(rows.group[inside], part[inside]),
        _in_two_parts(rows.geometry[inside], part[inside]),
        int((part == NOWHERE).sum()),
        len(known - set(rows.ids.tolist())),
    )


def _in_two_parts(binding: I64, part: I64) -> int:
    pairs = np.unique(np.stack([binding, part]), axis=1)
    return int((np.bincount(pairs[0]) > 1).sum()) if pairs.size else 0


def _checked_parts(params: SplitParams, parent: Split | None) -> list[str]:
    total = sum(params.fractions.values())
    if abs(total - 1) > 1e-9:
        raise UsageError(f"expected fractions that sum to one, found {total:g}.")
    parts = list(params.fractions)
    if parent is not None and set(parent.parts) != set(parts):
        raise UsageError(f"expected the parts of the parent, {', '.join(parent.parts)}, found {', '.join(parts)}.")
    return parts


def _training(parts: list[str]) -> str:
    return "train" if "train" in parts else parts[0]


def _strata(table: Table, params: SplitParams, rows: Links) -> NDArray[np.str_]:
    """Stratum of each configuration: the values of the stratifying columns, joined; "" for those always in training."""
    columns = [column(table, name).astype(str)[rows.first] for name in params.stratify]
    strata = np.array([" ".join(values) for values in zip(*columns, strict=True)] or [" "] * len(rows.ids))
    always = np.isin(column(table, "kind").astype(str)[rows.first], params.always_train)
    return np.where(always, "", strata)


def _inherited(rows: Links, parts: list[str], parent: Split | None) -> I64:
    """Part of each configuration as the parent has it, shape (n,)."""
    part = np.full(len(rows.ids), NOWHERE)
    if parent is not None:
        for number, name in enumerate(parts):
            part[np.isin(rows.ids, parent.parts[name])] = number
        part[np.isin(rows.ids, parent.quarantined)] = QUARANTINED
    return part


def _extend(rows: Links, part: I64) -> None:
    """Give new configurations the side of their group, then of their geometry; quarantine what links two sides."""
    side = _side(rows.group, part)
    new = part == NOWHERE
    part[new] = side[rows.group[new]]
    claims = _side(rows.geometry, part)
    part[new & (claims[rows.geometry] == QUARANTINED)] = QUARANTINED
    fresh = part == NOWHERE
    cluster = components(rows.group[fresh], rows.geometry[fresh], len(rows.group_names))[rows.group[fresh]]
    claimed = np.where(claims == QUARANTINED, NOWHERE, claims)[rows.geometry[fresh]]
    part[fresh] = _side(cluster, claimed)[cluster]


def _side(binding: I64, part: I64) -> I64:
    """Part in which each group (or geometry) already is; NOWHERE, or QUARANTINED where it is in two."""
    n = int(binding.max(initial=-1)) + 1
    inside = part >= 0
    low, high = np.full(n, np.iinfo(np.int64).max), np.full(n, NOWHERE)
    np.minimum.at(low, binding[inside], part[inside])
    np.maximum.at(high, binding[inside], part[inside])
    return np.where((high >= 0) & (low != high), QUARANTINED, high)


def _send(rows: Links, part: I64, wanted: NDArray[np.bool_], target: int) -> None:
    """Send the unassigned clusters that hold a wanted configuration to one part."""
    free = part == NOWHERE
    cluster = rows.cluster
    part[free & np.isin(cluster, cluster[free & wanted])] = target


def _deal(rows: Links, part: I64, strata: NDArray[np.str_], params: SplitParams) -> None:
    """Deal the unassigned clusters, stratum by stratum, the one with fewest clusters first.

    In each stratum the largest cluster goes where most is missing, until as many are left as parts still lack the
    stratum. What a stratum overfills is carried to the next, so that the whole is as near to the targets as the last
    clusters are small.
    """
    fractions = np.array(list(params.fractions.values()))
    cluster = rows.cluster
    carried = np.zeros(len(fractions))
    for stratum in _rarest_first(strata, cluster):
        inside = strata == stratum
        free = inside & (part == NOWHERE)
        held = np.array([(inside & (part == number)).sum() for number in range(len(fractions))], float)
        missing = fractions * (held.sum() + np.isin(cluster, cluster[free]).sum()) - held + carried
        for one in _largest_first(cluster[free], rows, params.seed):
            chosen = _choice(missing, held, one.clusters_left)
            part[(cluster == one.cluster) & (part == NOWHERE)] = chosen
            held[chosen] += one.size
            missing[chosen] -= one.size
        carried = missing


class _Next(NamedTuple):
    cluster: int
    size: int
    clusters_left: int
    """This one included."""


def _rarest_first(strata: NDArray[np.str_], cluster: I64) -> list[str]:
    names, number = np.unique(strata, return_inverse=True)
    pairs = np.unique(np.stack([number, cluster]), axis=1)
    count = np.bincount(pairs[0], minlength=len(names))
    order = sorted(range(len(names)), key=lambda i: (count[i], names[i]))
    return [str(names[i]) for i in order if names[i]]


def _largest_first(free: I64, rows: Links, seed: int) -> Iterable[_Next]:
    """Clusters by falling size; equal sizes in an order that the seed sets."""
    numbers = np.unique(free)
    sizes = np.bincount(rows.cluster, minlength=len(rows.group_names))[numbers]
    drawn = [hashlib.sha256(f"{seed} {rows.group_names[number]}".encode()).digest() for number in numbers]
    order = sorted(range(len(numbers)), key=lambda i: (-sizes[i], drawn[i]))
    for position, i in enumerate(order):
        yield _Next(int(numbers[i]), int(sizes[i]), len(order) - position)


def _choice(missing: F64, held: F64, clusters_left: int) -> int:
    """The part that lacks most, among those without the stratum once no cluster is to spare."""
    lacking = held == 0
    if lacking.any() and clusters_left <= lacking.sum():
        return int(np.argmax(np.where(lacking, missing, -np.inf)))
    return int(np.argmax(missing))


def _link_notes(rows: Links) -> list[str]:
    """Groups that identical geometries bind."""
    linked = np.unique(rows.group)
    bound = len(linked) - len(np.unique(rows.cluster))
    if not bound:
        return []
    return [f"identical geometries link {len(linked)} groups into {len(linked) - bound}; linked groups stay together"]


def _target_notes(part: I64, params: SplitParams) -> list[str]:
    """Shares that are off their target by more than a hundredth."""
    divided = part[part >= 0]
    notes = []
    for number, (name, fraction) in enumerate(params.fractions.items()):
        found = int((divided == number).sum())
        wanted = fraction * len(divided)
        if len(divided) and abs(found - wanted) > 0.01 * len(divided):
            notes.append(f"{name}: wanted {wanted:.1f} configurations ({fraction:.0%}), whole groups give {found}")
    return notes


def _presence_notes(rows: Links, part: I64, strata: NDArray[np.str_], parts: list[str]) -> list[str]:
    """Strata that are not in every part."""
    notes = []
    for stratum in sorted(set(strata.tolist()) - {""}):
        inside = strata == stratum
        absent = [name for number, name in enumerate(parts) if not (inside & (part == number)).any()]
        if absent:
            groups = len(np.unique(rows.cluster[inside]))
            notes.append(f"{stratum}: not in {', '.join(absent)}; {groups} independent groups")
    return notes
