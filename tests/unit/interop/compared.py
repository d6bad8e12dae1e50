"""What another program read out of an export, held against the store: equal, or missing as the report says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from mlpdata.api import Snapshot
from mlpdata.frames import Frames
from mlpdata.interop.export import Export
from mlpdata.interop.names import EXPORTED
from mlpdata.schema.properties import ATOM, PAIR, PROPERTIES
from mlpdata.schema.sidecar import Sidecar

DECLARED = Sidecar(
    units={
        "energy": "eV",
        "length": "angstrom",
        "stress": "eV/angstrom^3",
        "magnetic_moment": "muB",
        "charge": "e",
        "mass": "u",
        "dipole": "e*angstrom",
        "velocity": "angstrom/fs",
    },
    energy_kind="free",
)
"""What is to be said of files of ASE that were exported, or written by ASE itself."""

GEOMETRY = ("atomic_numbers", "positions", "pbc")
NAMES = (*GEOMETRY, *EXPORTED)


def of_one(frames: Frames, name: str, number: int) -> np.ndarray | None:
    """A property of one configuration as the store has it; None where nothing of it is known."""
    level = PROPERTIES[name].level
    sizes = {ATOM: frames.n_atoms, PAIR: frames.n_atoms**2}.get(level, np.ones(len(frames), int))
    end = int(np.cumsum(sizes)[number])
    values = frames.get(name)[end - int(sizes[number]) : end]
    absent = np.isnan(values) if values.dtype.kind == "f" else values == PROPERTIES[name].absent
    if name not in GEOMETRY and absent.all():
        return None
    return values if level in (ATOM, PAIR) else values[0]


def compare(snapshot: Snapshot, ids: Sequence[str], read: Sequence[dict[str, Any]]) -> Counter[str]:
    """How many configurations lack a property that the store knows; what they have must be equal to the last bit.

    Args:
        snapshot: what was exported.
        ids: of the configurations, in the order in which they were read.
        read: by property of the registry, what the other program found.
    """
    assert len(ids) == len(read) > 0
    frames = snapshot.read(list(ids))
    missing: Counter[str] = Counter()
    for number, found in enumerate(read):
        for name in NAMES:
            stored = of_one(frames, name, number)
            if stored is None:
                assert name not in found, (number, name)
            elif name not in found:
                missing[name] += 1
            else:
                shape = (
                    (-1, *PROPERTIES[name].shape) if PROPERTIES[name].level in (ATOM, PAIR) else PROPERTIES[name].shape
                )
                values = np.asarray(found[name]).reshape(shape)
                np.testing.assert_array_equal(values, stored, err_msg=f"{number} {name}")
    return missing


def dropped(exported: Export) -> Counter[str]:
    """How many configurations lack a property by the report."""
    count: Counter[str] = Counter()
    for note in exported.loss.dropped:
        count[note.what] += note.configurations
    return count


def changed(exported: Export, what: str) -> int:
    return sum(note.configurations for note in exported.loss.changed if note.what == what)
