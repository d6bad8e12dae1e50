"""Loss: what of a selection a format does not hold, counted before anything is written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from mlpdata.frames import Frames
from mlpdata.interop.names import EXPORTED, FOREIGN, SUPERSEDED
from mlpdata.interop.selection import Selection
from mlpdata.schema.calculation import Calculation
from mlpdata.schema.properties import ATOM, CONFIGURATION, PAIR, PROPERTIES

Mask = NDArray[np.bool_]
REPEATED = "named or stored twice: written once"
PARTLY = "known of some of the atoms only"
ATTRIBUTES = (
    "method", "sources", "license", "citation", "status", "run_kind", "kind", "energy_kind", "forces_are", "group",
    "system", "temperature_target", "continues", "tags",
)  # fmt: skip
"""What is known of the calculation of a configuration."""


DROPPED, CHANGED = "dropped", "changed"
Difference = tuple[str, str, str]
"""DROPPED or CHANGED, what, and why or how."""


class Holder(Protocol):
    """What a format can hold."""

    HELD: frozenset[str]
    """Properties beyond geometry."""
    HELD_PARTLY: bool
    """Whether a property may be known of some atoms of a configuration and not of others."""
    ATTRIBUTES: frozenset[str]
    """What it says of calculations."""
    WHY: str
    """Why it has no place for the rest."""

    def differences(self, frames: Frames) -> Mapping[Difference, Mask]:
        """Configurations of which something that it holds is not written after all, or otherwise than it is stored."""
        ...

    def unfit(self, frames: Frames) -> Mapping[str, Mask]:
        """By reason: the configurations that the format cannot hold at all."""
        ...


class Note(NamedTuple):
    """One line of the report."""

    what: str
    """Property, or what else is meant."""
    configurations: int
    """Of how many configurations."""
    why: str


class Loss(NamedTuple):
    """What an export does not say as the store does."""

    dropped: tuple[Note, ...] = ()
    """Known, but not written."""
    changed: tuple[Note, ...] = ()
    """Written otherwise than it is stored."""
    left_out: tuple[Note, ...] = ()
    """Configurations that are not there, or not again."""
    beside: tuple[Note, ...] = ()
    """What is known of calculations and stands in the sidecar alone."""
    caution: tuple[Note, ...] = ()
    """Labels that are there and are not what a model learns from."""

    def as_json(self) -> dict[str, Any]:
        """The report as JSON values."""
        return {name: [note._asdict() for note in notes] for name, notes in self._asdict().items()}


class Weighed(NamedTuple):
    """What became of a selection when it was held against a format."""

    selection: Selection
    """What the format can hold of it."""
    loss: Loss
    present: dict[str, int]
    """Configurations that have it, by property."""
    left_out: dict[str, list[str]]
    """Ids that are not exported, by reason."""


def weigh(selection: Selection, holder: Holder) -> Weighed:
    """What a format can hold of a selection, and what is lost; all of it is read, and so verified, once."""
    dropped: Counter[tuple[str, str]] = Counter()
    changed: Counter[tuple[str, str]] = Counter()
    present: Counter[str] = Counter()
    left_out: dict[str, list[str]] = {}
    fits = np.ones(len(selection), bool)
    for part, whole in selection.blocks():
        for why, mask in holder.unfit(whole).items():
            new = mask & fits[part]
            left_out.setdefault(why, []).extend(one.tobytes().hex() for one in selection.ids[part][new])
            fits[part] &= ~mask
        frames = whole if fits[part].all() else whole.select(fits[part])
        masks = {name: presence(frames, name) for name in EXPORTED if name in frames}
        present.update({name: int(one.somewhere.sum()) for name, one in masks.items()})
        dropped.update({(name, why): int(mask.sum()) for name, why, mask in _dropped(masks, holder)})
        for (kind, what, why), mask in holder.differences(frames).items():
            (dropped if kind == DROPPED else changed).update({(what, why): int(mask.sum())})
    kept = selection if fits.all() else selection.take(fits)
    absent = Counter({("configuration", why): len(ids) for why, ids in left_out.items()})
    absent["configuration", REPEATED] = selection.n_repeated
    loss = Loss(_notes(dropped), _notes(changed), _notes(absent), _beside(kept, holder), _cautions(kept))
    found = {name: count for name, count in present.items() if count}
    return Weighed(kept, loss, found, {why: ids for why, ids in left_out.items() if ids})


class Presence(NamedTuple):
    """Of which configurations something is known, each shape (n_configurations,)."""

    somewhere: Mask
    """Of one atom at least."""
    everywhere: Mask
    """Of all atoms."""


def presence(frames: Frames, name: str) -> Presence:
    """Of which configurations the property `name` is known."""
    row = PROPERTIES[name]
    values = frames.get(name)
    flat = values.reshape(len(values), -1)
    known = ~np.isnan(flat[:, 0]) if flat.dtype.kind == "f" else (flat != row.absent).any(axis=1)
    if row.level == CONFIGURATION:
        return Presence(known, known)
    sizes = {ATOM: frames.n_atoms, PAIR: frames.n_atoms**2}[row.level]
    count = np.bincount(np.repeat(np.arange(len(frames)), sizes), known, len(frames))
    return Presence(count > 0, (count == sizes) & (count > 0))


def uneven_stress(frames: Frames) -> Mask:
    """Configurations whose stress is known and not symmetric."""
    stress = frames.stress
    return np.asarray((stress != stress.transpose(0, 2, 1)).any(axis=(1, 2)) & ~np.isnan(stress[:, 0, 0]))


def written(frames: Frames, name: str) -> Mask:
    """Configurations whose property `name` a format writes that holds whole properties under ASE's names."""
    mask = presence(frames, name).everywhere
    vectors = SUPERSEDED.get(name)
    return mask if vectors is None else mask & ~presence(frames, vectors).everywhere


def _dropped(masks: Mapping[str, Presence], holder: Holder) -> list[tuple[str, str, Mask]]:
    found = []
    for name, one in masks.items():
        if name not in holder.HELD:
            found.append((name, holder.WHY, one.somewhere))
            continue
        if not holder.HELD_PARTLY:
            found.append((name, PARTLY, one.somewhere & ~one.everywhere))
            vectors = masks.get(SUPERSEDED.get(name, ""))
            if vectors is not None:
                why = f"{FOREIGN[name]} are the vectors"
                found.append((name, why, one.everywhere & vectors.everywhere))
    return found


def _beside(selection: Selection, holder: Holder) -> tuple[Note, ...]:
    """What is known of calculations, and of how many configurations, where the format itself does not say it."""
    sizes = np.bincount(selection.of_row, minlength=len(selection.calculations)).tolist()
    count: Counter[tuple[str, str]] = Counter()
    for calculation, size in zip(selection.calculations, sizes, strict=True):
        for name in ATTRIBUTES:
            if name not in holder.ATTRIBUTES and _says(calculation, name):
                count[name, "of the calculation"] += size
    return _notes(count)


def _cautions(selection: Selection) -> tuple[Note, ...]:
    """Labels that no format tells from those of the potential-energy surface itself."""
    sizes = np.bincount(selection.of_row, minlength=len(selection.calculations)).tolist()
    count: Counter[tuple[str, str]] = Counter()
    for one, size in zip(selection.calculations, sizes, strict=True):
        if one.forces_are not in ("physical", "absent"):
            count["forces", f"forces_are = '{one.forces_are}', not 'physical'"] += size
        if one.energy_kind not in ("free", "total"):
            count["energy", f"energy_kind = '{one.energy_kind}', neither 'free' nor 'total'"] += size
    return _notes(count)


def _says(calculation: Calculation, name: str) -> bool:
    return getattr(calculation, name) not in (None, "", "unknown", {}, ())


def _notes(count: Counter[tuple[str, str]]) -> tuple[Note, ...]:
    return tuple(Note(what, number, why) for (what, why), number in count.items() if number)
