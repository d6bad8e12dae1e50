"""Split: whole groups dealt to named parts, every kind in every part, no geometry in two.

Groups that share a geometry are dealt as one. A split that grows keeps what it has: only new groups are dealt,
towards the deficit, and a new configuration that links groups on two sides is quarantined.
"""

from __future__ import annotations

import hashlib
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
ALWAYS = ""
"""Stratum of configurations that are never held out."""


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
    _deal(rows, part, strata, params)
    notes = [
        *_link_notes(rows),
        *_gone_notes(rows, parent),
        *_target_notes(part, params),
        *_presence_notes(rows, part, strata, parts),
    ]
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


def _strata(table: Table, params: SplitParams, rows: Links) -> NDArray[np.str_]:
    """Stratum of each configuration: values of the stratifying columns; `ALWAYS` for kinds that are always training."""
    columns = [column(table, name).astype(str)[rows.first] for name in params.stratify]
    strata = np.array([" ".join(values) for values in zip(*columns, strict=True)] or ["all"] * len(rows.ids), str)
    always = np.isin(column(table, "kind").astype(str)[rows.first], params.always_train)
    return np.where(always, ALWAYS, strata)


def _inherited(rows: Links, parts: list[str], parent: Split | None) -> I64:
    """Part of each configuration as the parent has it, shape (n,)."""
    part = np.full(len(rows.ids), NOWHERE)
    if parent is not None:
        for number, name in enumerate(parts):
            part[np.isin(rows.ids, np.array(parent.parts[name], str))] = number
        part[np.isin(rows.ids, np.array(parent.quarantined, str))] = QUARANTINED
    return part


def _extend(rows: Links, part: I64) -> None:
    """Give new configurations the side of their group, then of their geometry; quarantine what links two sides."""
    side = _side(rows.group, part)
    new = part == NOWHERE
    part[new] = side[rows.group[new]]
    claims = _side(rows.geometry, part)[rows.geometry]
    part[new & (claims == QUARANTINED)] = QUARANTINED
    fresh = part == NOWHERE
    cluster = _clusters(rows, fresh)
    part[fresh] = _side(cluster, claims[fresh])[cluster]


def _side(binding: I64, part: I64) -> I64:
    """Part in which each group (or geometry) already is; NOWHERE, or QUARANTINED where it is in two."""
    n = int(binding.max(initial=-1)) + 1
    inside = part >= 0
    low, high = np.full(n, np.iinfo(np.int64).max), np.full(n, NOWHERE)
    np.minimum.at(low, binding[inside], part[inside])
    np.maximum.at(high, binding[inside], part[inside])
    return np.where((high >= 0) & (low != high), QUARANTINED, high)


def _clusters(rows: Links, which: NDArray[np.bool_]) -> I64:
    """Set of linked groups of each configuration in `which`, by the number of its first group."""
    group = rows.group[which]
    return components(group, rows.geometry[which], len(rows.group_names))[group]


def _deal(rows: Links, part: I64, strata: NDArray[np.str_], params: SplitParams) -> None:
    """Deal the unassigned clusters, each in the rarest of its strata, the rarest stratum first.

    In each stratum the largest cluster goes where most is missing, until as many are left as parts still lack the
    stratum. What a stratum overfills is carried to the next, so that the whole is as near to the targets as the
    clusters of the commonest stratum are small.
    """
    fractions = np.array(list(params.fractions.values()))
    free = part == NOWHERE
    numbers, cluster = np.unique(_clusters(rows, free), return_inverse=True)
    size = np.bincount(cluster, minlength=len(numbers))
    rank, names = _ranks(strata, free, cluster)
    home = np.full(len(numbers), len(names))
    np.minimum.at(home, cluster, rank[free])
    held = np.zeros((len(names), len(fractions)), np.int64)
    np.add.at(held, (rank[part >= 0], part[part >= 0]), 1)
    order = _largest_first(size, rows.group_names[numbers], params.seed)
    dealt = np.full(len(numbers), NOWHERE)
    carried = np.zeros(len(fractions))
    for number, name in enumerate(names):
        mine = order[home[order] == number]
        missing = fractions * (held[number].sum() + size[mine].sum()) - held[number] + carried
        guests = dealt[np.unique(cluster[rank[free] == number])]
        present = (held[number] > 0) | np.isin(np.arange(len(fractions)), guests)
        for position, one in enumerate(mine):
            chosen = _training(params) if name == ALWAYS else _choice(missing, present, len(mine) - position)
            dealt[one] = chosen
            present[chosen] = True
            missing[chosen] -= size[one]
        carried = missing
    part[free] = dealt[cluster]


def _ranks(strata: NDArray[np.str_], free: NDArray[np.bool_], cluster: I64) -> tuple[I64, list[str]]:
    """Strata by rising number of clusters to deal, `ALWAYS` first: rank of each configuration, names in that order."""
    names, number = np.unique(strata, return_inverse=True)
    pairs = np.unique(np.stack([number[free], cluster]), axis=1)
    count = np.bincount(pairs[0], minlength=len(names))
    order = sorted(range(len(names)), key=lambda i: (names[i] != ALWAYS, count[i], names[i]))
    rank = np.empty(len(names), np.int64)
    rank[order] = np.arange(len(names))
    return rank[number], [str(names[i]) for i in order]


def _largest_first(size: I64, names: NDArray[np.str_], seed: int) -> I64:
    """Clusters by falling size; equal sizes in an order that the seed sets."""
    drawn = [hashlib.sha256(f"{seed} {name}".encode()).digest() for name in names]
    return np.array(sorted(range(len(size)), key=lambda i: (-size[i], drawn[i])), np.int64)


def _training(params: SplitParams) -> int:
    """Number of the part in which configurations that are never held out go."""
    parts = list(params.fractions)
    return parts.index("train") if "train" in parts else 0


def _choice(missing: F64, present: NDArray[np.bool_], clusters_left: int) -> int:
    """The part that lacks most, among those without the stratum once no cluster is to spare."""
    lacking = ~present
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


def _gone_notes(rows: Links, parent: Split | None) -> list[str]:
    """Configurations of the parent that the table no longer has."""
    known = set() if parent is None else {one for ids in parent.parts.values() for one in ids}
    gone = len(known - set(rows.ids.tolist()))
    return [f"{gone} configurations of the parent are gone"] if gone else []


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
    for stratum in sorted(set(strata.tolist()) - {ALWAYS}):
        inside = strata == stratum
        absent = [name for number, name in enumerate(parts) if not (inside & (part == number)).any()]
        if absent:
            groups = len(np.unique(rows.cluster[inside]))
            notes.append(f"{stratum}: not in {', '.join(absent)}; {groups} independent groups")
    return notes
