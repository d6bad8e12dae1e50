"""Extended XYZ, every number with as many digits as bring it back exactly; whole blocks become text at once.

Labels have ASE's names: energy and free_energy (the one that forces derive from), forces, stress (positive in tension,
nine numbers). With a prefix such as REF_ they are REF_energy, REF_forces and REF_stress, which ASE does not take for
results of a calculator. Atoms that were held are `fixed`, not `move_mask`: ASE would set their forces to zero.

References:
    https://github.com/libAtoms/extxyz; ase.io.extxyz of ASE 3.29.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mlpdata import durable
from mlpdata.elements import SYMBOLS
from mlpdata.frames import Frames
from mlpdata.interop.loss import CHANGED, Difference, Mask, uneven_stress, written
from mlpdata.interop.names import EXPORTED, foreign
from mlpdata.interop.selection import Selection, Terms
from mlpdata.schema.properties import ATOM, CONFIGURATION, PAIR, PROPERTIES

HELD = frozenset(name for name in EXPORTED if PROPERTIES[name].level != PAIR)
HELD_PARTLY = False
ATTRIBUTES = frozenset({"kind", "forces_are", "energy_kind"})
WHY = "extended XYZ has rows of atoms, none of pairs"
PREFIXED = ("energy", "forces", "stress")
"""Labels that take a prefix."""
ID = "mlpdata_id"
"""Key of the id, which begins with `id-`: ASE would read 32 digits as a number."""
_TEXT = pa.large_string()  # a block may hold one configuration of more than 2 GB of text
_SKIP = pc.JoinOptions(null_handling="skip")
_FLAGS = {"scf_converged"}


def differences(frames: Frames) -> Mapping[Difference, Mask]:
    """A stress that is not symmetric is written whole, but ASE reads one triangle of it."""
    return {
        (CHANGED, "stress", "not symmetric: all nine numbers are there, ASE reads one triangle"): uneven_stress(frames)
    }


def unfit(frames: Frames) -> Mapping[str, Mask]:  # noqa: ARG001  it holds any
    """None: it holds any configuration."""
    return {}


def write(selection: Selection, path: Path, terms: Terms) -> None:
    """Write a new file.

    Raises:
        StoreError: the disk refused.
    """
    said = [
        " ".join(
            f"{key}={_quoted(value)}"
            for key, value in (
                ("kind", one.kind),
                ("config_type", one.tags.get("config_type", "")),
                ("energy_kind", one.energy_kind),
                ("forces_are", one.forces_are),
            )
            if value
        )
        for one in selection.calculations
    ]
    of_calculations = pa.array(said, _TEXT)
    names = list(dict.fromkeys([*_GEOMETRY, *(name for name in terms.present if name in HELD)]))
    with durable.Stream(path) as stream:
        for part, frames in selection.blocks(names):
            ids = pa.array([f"{ID}=id-{one.tobytes().hex()}" for one in selection.ids[part]], _TEXT)
            last = [ids, of_calculations.take(pa.array(selection.of_row[part]))]
            stream.write(text(frames, terms.prefix, last))


_GEOMETRY = ("atomic_numbers", "positions", "pbc", "cell")


def text(frames: Frames, prefix: str = "", last: list[pa.Array] | None = None) -> memoryview:
    """A block as extended XYZ.

    Args:
        frames: the configurations.
        prefix: put before the names of energy, forces and stress.
        last: further pairs of each comment, one array of text each.
    """
    held = {name: written(frames, name) for name in frames.arrays if name in HELD}
    of_atoms = {name: mask for name, mask in held.items() if PROPERTIES[name].level == ATOM}
    rows = _with_end(_rows(frames, of_atoms))
    comments = _with_end([*_comments(frames, held, prefix), *(last or [])])
    counts = _with_end([pc.cast(pa.array(frames.n_atoms), _TEXT)])
    lines = pa.concat_arrays([counts, comments, rows]).take(pa.array(_order(frames)))
    _, offsets, characters = lines.buffers()
    return memoryview(characters)[: int(np.frombuffer(offsets, np.int64)[len(lines)])]


def _order(frames: Frames) -> NDArray[np.int64]:
    """Places of the lines of a file among all counts, all comments, all rows."""
    n, starts = len(frames), frames.atom_start[:-1] + 2 * np.arange(len(frames))
    order = np.full(int(frames.atom_start[-1]) + 2 * n, -1)
    order[starts], order[starts + 1] = np.arange(n), np.arange(n, 2 * n)
    order[order < 0] = 2 * n + np.arange(int(frames.atom_start[-1]))
    return order


def _with_end(parts: list[pa.Array]) -> pa.Array:
    """Lines of what is there of `parts`, spaces between."""
    line = pc.binary_join_element_wise(*parts, pa.scalar(" ", _TEXT), options=_SKIP)
    return pc.binary_join_element_wise(line, pa.scalar("", _TEXT), pa.scalar("\n", _TEXT))


def _rows(frames: Frames, held: Mapping[str, Mask]) -> list[pa.Array]:
    """The columns of the atoms, null where a configuration does not have them."""
    columns = [pa.array(SYMBOLS, _TEXT).take(pa.array(frames.atomic_numbers))]
    columns += _columns(frames.positions, None)
    for name, mask in held.items():
        columns += _columns(frames.get(name), ~np.repeat(mask, frames.n_atoms))
    return columns


def _columns(values: NDArray[Any], absent: Mask | None) -> list[pa.Array]:
    """The numbers of each column as text, in as few digits as bring them back."""
    flat = values.reshape(len(values), -1)
    return [pc.cast(pa.array(np.ascontiguousarray(column), mask=absent), _TEXT) for column in flat.T]


def _comments(frames: Frames, held: Mapping[str, Mask], prefix: str) -> list[pa.Array]:
    """The pairs of the comments, null where a configuration does not have them."""
    of_atoms = {name: mask for name, mask in held.items() if PROPERTIES[name].level == ATOM}
    pairs = [_properties(of_atoms, prefix, len(frames)), _pbc(frames)]
    for name, mask in held.items():
        if PROPERTIES[name].level == CONFIGURATION:
            key = "Lattice" if name == "cell" else _name(name, prefix)
            pairs.append(_pair(key, _value(frames, name, ~mask)))
            if name == "energy" and not prefix:
                pairs.append(_pair("free_energy", _value(frames, name, ~mask)))
    return pairs


def _pair(key: str, value: pa.Array) -> pa.Array:
    return pc.binary_join_element_wise(pa.scalar(key, _TEXT), value, pa.scalar("=", _TEXT))


def _value(frames: Frames, name: str, absent: Mask) -> pa.Array:
    """Numbers of each configuration; several of them in quotes."""
    values = frames.get(name)
    if name in _FLAGS:
        return pc.if_else(pa.array(values == 1, mask=absent), pa.scalar("T", _TEXT), pa.scalar("F", _TEXT))
    columns = _columns(values, absent)
    if len(columns) > 1:
        numbers = pc.binary_join_element_wise(*columns, pa.scalar(" ", _TEXT))
        return pc.binary_join_element_wise(pa.scalar("", _TEXT), numbers, pa.scalar("", _TEXT), pa.scalar('"', _TEXT))
    if values.dtype.kind != "f":
        return columns[0]
    # ASE takes a number without a point for an integer
    point = pc.match_substring_regex(columns[0], "[.e]")
    return pc.if_else(
        point, columns[0], pc.binary_join_element_wise(columns[0], pa.scalar(".0", _TEXT), pa.scalar("", _TEXT))
    )


def _properties(held: Mapping[str, Mask], prefix: str, n: int) -> pa.Array:
    """What the rows of each configuration hold; few combinations are distinct."""
    have = np.array(list(held.values()), bool).reshape(len(held), n).T
    distinct, which = np.unique(have, axis=0, return_inverse=True)
    texts = []
    for one in distinct:
        entries = ["species:S:1:pos:R:3"]
        for name, there in zip(held, one, strict=True):
            row = PROPERTIES[name]
            kind = "R" if row.dtype.startswith("float") else "I"
            entries += [f"{_name(name, prefix)}:{kind}:{int(np.prod(row.shape, dtype=int))}"] if there else []
        texts.append("Properties=" + ":".join(entries))
    return pa.array(texts, _TEXT).take(pa.array(which.reshape(-1)))


def _pbc(frames: Frames) -> pa.Array:
    flags = ["".join("FT"[number >> axis & 1] + " " for axis in range(3)).strip() for number in range(8)]
    return pa.array([f'pbc="{one}"' for one in flags], _TEXT).take(pa.array(frames.pbc @ np.array([1, 2, 4])))


def _name(name: str, prefix: str) -> str:
    return prefix + name if name in PREFIXED else foreign(name)


def _quoted(value: str) -> str:
    """Text in quotes, on one line."""
    return json.dumps(value, ensure_ascii=False)
