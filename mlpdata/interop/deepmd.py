"""deepmd/npy: a folder a system, a system being configurations of one formula that have the same labels.

::

    <formula>[.nopbc][.no-energy][.no-force][.no-virial]/
        type.raw  type_map.raw  [nopbc]
        set.000/  coord.npy  [box.npy]  [energy.npy]  [force.npy]  [virial.npy]  [atom_ener.npy]  [atom_order.npy]

All numbers are f64, in eV and angstrom; the virial is -stress * volume. Atoms are sorted by element, as a system has one
order for all; `atom_order.npy`, which DeePMD-kit passes over, has the place of each in the configuration as stored. All
systems share one type_map.raw.

References:
    DeePMD-kit 3.2, Data, System: files, shapes and units.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from mlpdata import durable
from mlpdata.elements import SYMBOLS, hill
from mlpdata.frames import I64, Frames
from mlpdata.interop.loss import CHANGED, DROPPED, Difference, Mask, presence
from mlpdata.interop.selection import Selection, Terms

LABELS = {"energy": "energy", "forces": "force", "stress": "virial", "atomic_energies": "atom_ener"}
"""Files of the labels."""
HELD = frozenset({"cell", *LABELS})
HELD_PARTLY = False
ATTRIBUTES: frozenset[str] = frozenset()
WHY = "deepmd/npy has no place for it"
NO_VOLUME = "deepmd/npy needs three lattice vectors where anything is periodic"


class System(NamedTuple):
    """Configurations of one formula with the same labels."""

    name: str
    elements: NDArray[np.uint8]
    """Z of each atom, sorted."""
    periodic: bool
    labels: tuple[str, ...]
    """Properties that all of them have."""


def unfit(frames: Frames) -> Mapping[str, Mask]:
    """Configurations that are periodic in some direction, but whose cell has no volume."""
    return {NO_VOLUME: _periodic(frames) & np.isnan(frames.volume)}


def differences(frames: Frames) -> Mapping[Difference, Mask]:
    """Periodicity is of all directions or none; atoms are sorted by element; a stress becomes a virial."""
    periodic = _periodic(frames)
    sorted_ = np.ones(len(frames), bool)
    steps = np.flatnonzero(np.diff(frames.atomic_numbers.astype(int)) < 0) + 1
    sorted_[frames.configuration_of_atom[np.setdiff1d(steps, frames.atom_start)]] = False
    virial = presence(frames, "stress").everywhere
    return {
        (CHANGED, "pbc", "periodic in all directions, since it is in some"): periodic & ~frames.pbc.all(axis=1),
        (DROPPED, "cell", "not periodic: there is no box"): ~periodic & presence(frames, "cell").everywhere,
        (CHANGED, "atoms", "sorted by element; atom_order.npy has their places"): ~sorted_,
        (CHANGED, "stress", "written as the virial, -stress * volume [eV]"): virial & periodic,
        (DROPPED, "stress", "not periodic: there is no virial"): virial & ~periodic,
    }


def write(selection: Selection, path: Path, terms: Terms) -> Selection:
    """Write a new folder; `terms.about` gets the systems with their first and end in the order that is returned.

    Raises:
        StoreError: the disk refused.
    """
    systems, of_row = _systems(selection)
    order = np.argsort(of_row, kind="stable")
    ends = np.cumsum(np.bincount(of_row, minlength=len(systems))).tolist()
    known = sorted({int(one) for system in systems for one in np.unique(system.elements)})
    places = terms.about["systems"] = []
    durable.make_scratch(path)
    for system, first, end in zip(systems, [0, *ends], ends, strict=False):
        places.append({"name": system.name, "first": first, "end": end})
        _write_system(path / system.name, system, selection.take(order[first:end]), known)
    return selection.take(order)


def _systems(selection: Selection) -> tuple[list[System], I64]:
    """The systems, sorted by name, and the place of each configuration's one."""
    number: dict[tuple[bytes, bytes], int] = {}
    systems: list[System] = []
    of_row = np.empty(len(selection), np.int64)
    for part, frames in selection.blocks(["atomic_numbers", "positions", "pbc", "cell", *LABELS]):
        flags = np.column_stack([_periodic(frames), *(_has(frames, name) for name in LABELS)])
        counts = np.zeros((len(frames), len(SYMBOLS)), np.int32)
        np.add.at(counts, (frames.configuration_of_atom, frames.atomic_numbers), 1)
        keys = np.concatenate([counts, flags], axis=1, dtype=np.int32)
        distinct, which = np.unique(keys, axis=0, return_inverse=True)
        places = []
        for key in distinct:
            composition, has = key[: len(SYMBOLS)], key[len(SYMBOLS) :].astype(bool)
            name = composition.tobytes(), has.tobytes()
            if name not in number:
                number[name] = len(systems)
                systems.append(_system(composition, bool(has[0]), dict(zip(LABELS, has[1:].tolist(), strict=True))))
            places.append(number[name])
        of_row[part] = np.array(places)[which.reshape(-1)]
    by_name = sorted(range(len(systems)), key=lambda place: systems[place].name)
    return [systems[place] for place in by_name], np.argsort(by_name)[of_row]


def _periodic(frames: Frames) -> Mask:
    """Whether anything is periodic."""
    return np.asarray(frames.pbc.any(axis=1))


def _has(frames: Frames, name: str) -> Mask:
    there = presence(frames, name).everywhere
    return there & _periodic(frames) if name == "stress" else there


def _system(composition: NDArray[np.int32], periodic: bool, has: Mapping[str, bool]) -> System:
    elements = np.repeat(np.arange(len(SYMBOLS)), composition).astype(np.uint8)
    formula = hill({SYMBOLS[z]: int(composition[z]) for z in np.flatnonzero(composition).tolist()})
    marks = [] if periodic else ["nopbc"]
    marks += [f"no-{LABELS[name]}" for name in ("energy", "forces") if not has[name]]
    marks += ["no-virial"] if periodic and not has["stress"] else []
    marks += ["atom_ener"] if has["atomic_energies"] else []
    labels = tuple(name for name, there in has.items() if there)
    return System(".".join([formula, *marks]), elements, periodic, labels)


def _write_system(folder: Path, system: System, selection: Selection, known: list[int]) -> None:
    durable.make_scratch(folder)
    durable.make_scratch(folder / "set.000")
    types = np.searchsorted(known, system.elements)
    durable.stage(folder / "type.raw", "".join(f"{one}\n" for one in types.tolist()).encode())
    durable.stage(folder / "type_map.raw", "".join(f"{SYMBOLS[one]}\n" for one in known).encode())
    if not system.periodic:
        durable.stage(folder / "nopbc", b"")
    with ExitStack() as stack:
        files: dict[str, durable.Stream] = {}
        for block in selection.blocks(["atomic_numbers", "positions", "pbc", "cell", *system.labels]):
            for name, values in _arrays(block.frames, system):
                if name not in files:
                    files[name] = stack.enter_context(durable.Stream(folder / "set.000" / f"{name}.npy"))
                    files[name].write(_header(values, len(selection)))
                files[name].write(np.ascontiguousarray(values).data.cast("B"))


def _arrays(frames: Frames, system: System) -> Iterator[tuple[str, NDArray[Any]]]:
    """The arrays of some configurations of one system, a row each."""
    n = len(frames)
    places = np.argsort(frames.atomic_numbers.reshape(n, -1), axis=1, kind="stable")
    for name, file in {"positions": "coord", **{one: LABELS[one] for one in system.labels}}.items():
        values = frames.get(name)
        if name == "stress":
            values = -values * frames.volume[:, None, None]
        elif name != "energy":
            values = values.reshape(n, places.shape[1], -1)[np.arange(n)[:, None], places]
        yield file, values if name == "energy" else values.reshape(n, -1)
    if system.periodic:
        yield "box", frames.cell.reshape(n, 9)
    yield "atom_order", places.astype(np.int32)


def _header(values: NDArray[Any], rows: int) -> bytes:
    """The beginning of a file of `rows` rows such as those of `values`."""
    header = io.BytesIO()
    shape = (rows, *values.shape[1:])
    npy.write_array_header_1_0(
        header, {"descr": npy.dtype_to_descr(values.dtype), "fortran_order": False, "shape": shape}
    )
    return header.getvalue()
