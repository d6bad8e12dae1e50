"""Atoms objects of ASE as its files hold them: one image becomes arrays by name, many images blocks of frames.

Shared by ASE's trajectories and databases and by GPAW's files, which hold an Atoms object in the same layout. What a
calculator of ASE stored are its own results: constraints act on them only when they are asked for, so that frozen atoms
keep their true forces unless whoever wrote the file stored constrained ones.

References:
    ase.io.trajectory (write_atoms), ase.db.row (atoms2dict), ase.constraints (todict) of ASE 3.9 to 3.29.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mlpdata.elements import MASSES
from mlpdata.errors import LimitExceeded, ParseError
from mlpdata.frames import by_block
from mlpdata.readers.declared import Meaning, Named, level
from mlpdata.readers.registry import Printed, Undeclared
from mlpdata.readers.ulm import parse_json
from mlpdata.schema.calculation import LeftOut
from mlpdata.schema.properties import ATOM, NO, YES
from mlpdata.units import F64, Quantity

Arrays = dict[str, NDArray[Any]]
_MUST_BE_FINITE = ("energy", "forces")
"""Labels without which a frame is none; another one that is damaged is dropped with a warning."""
_RESULTS_OF_ATOMS = ("forces", "energies", "stresses", "charges", "magmoms")
"""Results of a calculator that are of atoms, however many atoms there are."""
_OF_ATOMS_OBJECT = {"initial_magmoms": "magmoms", "tags": "tags", "masses": "masses"}
"""Arrays of an Atoms object that are no results: the names by which they are offered, and their names in it."""


class Image(NamedTuple):
    """One Atoms object with the results of its calculator."""

    number: int
    """Image of a trajectory or row of a database, from 1."""
    known: Arrays
    """By name of the registry: what ASE says of geometry and constraints."""
    of_atoms: Arrays
    """Rows of atoms by the names that the file uses."""
    of_configuration: Arrays
    """Numbers of the configuration by the names that the file uses."""
    notes: tuple[str, ...] = ()
    """What is to be said of it."""

    @property
    def n_atoms(self) -> int:
        """Atoms of the image."""
        return len(self.known["atomic_numbers"])


def image(number: int, atoms: Mapping[str, Any], results: Mapping[str, Any], limit: int) -> Image:
    """The image that `atoms` and `results` describe, both by ASE's names.

    Args:
        number: its place in the file, from 1.
        atoms: numbers, positions, cell, pbc and what else an Atoms object has.
        results: of the calculator, and named numbers beside them.
        limit: most atoms.

    Raises:
        ParseError: no geometry, or one that cannot be.
        LimitExceeded: more atoms than `limit`.
    """
    known = geometry(atoms, limit)
    n_atoms = len(known["atomic_numbers"])
    known["source_line"] = np.array(number)
    fixed, others = held(atoms.get("constraints"), n_atoms)
    if fixed is not None:
        known["fixed"] = fixed
    one = Image(number, known, {}, {}, others)
    for name, value in results.items():
        values = as_numbers(value)
        if values is None or (name in ("magmom", "magmoms") and not values.any()):
            continue  # calculators fill moments with zeros where spins are paired
        if values.ndim and len(values) == n_atoms:
            one.of_atoms[name] = values
        if name == "magmom" and values.ndim == 0 and np.isfinite(values):
            known["total_magnetization"] = values
        elif name not in _RESULTS_OF_ATOMS:
            one.of_configuration[name] = values
    for shown, name in _OF_ATOMS_OBJECT.items():
        values = as_numbers(atoms.get(name))
        if values is not None and values.shape[:1] == (n_atoms,):
            one.of_atoms[shown] = values
    return one


def geometry(atoms: Mapping[str, Any], limit: int) -> Arrays:
    """Arrays of one geometry by name of the registry, in ASE's units.

    A geometry that is periodic nowhere has no cell, whatever box it was put into (pitfall X4).

    Raises:
        ParseError: something is missing, of another shape, not finite, or no element.
        LimitExceeded: more atoms than `limit`.
    """
    numbers = required(atoms, "numbers", (None,))
    n_atoms = len(numbers)
    if n_atoms > limit:
        raise LimitExceeded(f"expected at most {limit} atoms, found {n_atoms}.")
    if not n_atoms or (numbers != np.floor(numbers)).any() or numbers.min() < 1 or numbers.max() >= len(MASSES):
        raise ParseError("expected atomic numbers of elements, found none or others. Dummy atoms (Z = 0) are no atoms.")
    periodic = required(atoms, "pbc", None) != 0
    if periodic.shape not in ((), (3,)):
        raise ParseError(f"expected pbc of shape (3,), found {periodic.shape}.")
    arrays: Arrays = {
        "atomic_numbers": numbers.astype(np.uint8),
        "positions": required(atoms, "positions", (n_atoms, 3)),
        "pbc": np.broadcast_to(periodic, 3).astype(np.int8),
    }
    if periodic.any():
        arrays["cell"] = required(atoms, "cell", (3, 3))
    if atoms.get("momenta") is not None:
        momenta = required(atoms, "momenta", (n_atoms, 3))
        with np.errstate(over="ignore"):  # an infinity is refused at the door
            arrays["velocities"] = momenta / _masses(atoms, arrays["atomic_numbers"])[:, None]
    return arrays


def _masses(atoms: Mapping[str, Any], numbers: NDArray[np.uint8]) -> F64:
    """Masses [u]; those of the elements where the file has none, as ASE takes them."""
    if atoms.get("masses") is None:
        return MASSES[numbers]
    masses = required(atoms, "masses", (len(numbers),))
    if (masses <= 0).any():
        raise ParseError("expected positive masses beside momenta, found others.")
    return masses


def required(values: Mapping[str, Any], name: str, shape: tuple[int | None, ...] | None) -> F64:
    """The finite numbers called `name`.

    Args:
        values: by name.
        name: which.
        shape: what they must have; None in it stands for any length, and instead of it for any shape.

    Raises:
        ParseError: missing, of another shape, or not finite.
    """
    numbers = as_numbers(values.get(name))
    if numbers is None:
        raise ParseError(f"expected {name} as numbers, found {str(values.get(name))[:40]!r}.")
    if shape is not None and (
        numbers.ndim != len(shape) or any(n not in (None, m) for n, m in zip(shape, numbers.shape, strict=True))
    ):
        raise ParseError(f"expected {name} of shape {shape}, found {numbers.shape}.")
    if not np.isfinite(numbers).all():
        raise ParseError(f"expected finite {name}, found NaN or infinity.")
    return numbers


def as_numbers(value: Any) -> F64 | None:
    """Real numbers as an array of float64; None where `value` is none."""
    if isinstance(value, str | bytes | Mapping) or value is None:
        return None
    try:
        numbers = np.asarray(value)
    except (ValueError, OverflowError):
        return None
    return numbers.astype(np.float64) if numbers.dtype.kind in "biuf" else None


def held(constraints: Any, n_atoms: int) -> tuple[NDArray[np.int8] | None, tuple[str, ...]]:
    """Which coordinates are held, shape (n_atoms, 3), None where none is; and a note on constraints of other kinds.

    Args:
        constraints: JSON, or what it spells: of each its name and arguments, or (of old) all in one object.
        n_atoms: atoms of the image.

    Raises:
        ParseError: no list of constraints, or one of an atom that is not there.
    """
    if not constraints or constraints == "[]":
        return None, ()
    return _held_by_text(constraints, n_atoms) if isinstance(constraints, str) else _held(constraints, n_atoms)


@lru_cache(maxsize=4)
def _held_by_text(text: str, n_atoms: int) -> tuple[NDArray[np.int8] | None, tuple[str, ...]]:
    """The same constraints hold for all images of a trajectory: they are read once."""
    return _held(parse_json(text), n_atoms)


def _held(constraints: Any, n_atoms: int) -> tuple[NDArray[np.int8] | None, tuple[str, ...]]:
    if not isinstance(constraints, list):
        raise ParseError(f"expected a list of constraints, found {type(constraints).__name__}.")
    fixed = np.full((n_atoms, 3), NO, np.int8)
    others = set()
    for one in constraints:
        if not isinstance(one, Mapping) or not isinstance(arguments := one.get("kwargs", one), Mapping):
            raise ParseError(f"expected a constraint, found {str(one)[:40]!r}.")
        name = str(one.get("name", one.get("__name__", ""))).rpartition(".")[2]
        if name == "FixAtoms":
            _hold(fixed, name, arguments.get("indices"), [1, 1, 1])
        elif name == "FixCartesian":
            _hold(fixed, name, arguments.get("a"), arguments.get("mask", [1, 1, 1]))
        else:
            others.add(name[:40])
    notes = tuple(f"constraint {name!r} is no matter of single coordinates and was not read" for name in sorted(others))
    return (fixed if (fixed == YES).any() else None), notes


def _hold(fixed: NDArray[np.int8], name: str, atoms: Any, components: Any) -> None:
    """Mark Cartesian components of some atoms as held."""
    index, mask = as_numbers(decoded(atoms)), as_numbers(decoded(components))
    if index is None or mask is None or mask.shape != (3,) or (index != np.floor(index)).any():
        raise ParseError(
            f"expected atoms and components of {name}, found {str(atoms)[:40]} and {str(components)[:40]}."
        )
    if index.size and (index.min() < -len(fixed) or index.max() >= len(fixed)):
        raise ParseError(f"expected at most {len(fixed)} atoms in {name}, found atom {index.max():g}.")
    fixed[index.astype(np.int64).ravel()] |= (mask != 0).astype(np.int8)


def decoded(value: Any) -> Any:
    """The value that ASE's JSON stands for: an array where it is `{"__ndarray__": [shape, dtype, numbers]}`."""
    match value:
        case {"__ndarray__": [list() as shape, _, spelled]} if all(type(n) is int and n >= 0 for n in shape):
            numbers = as_numbers(spelled)
            if numbers is not None and len(shape) < 9 and numbers.size == math.prod(shape):
                return numbers.reshape(shape)
        case {"__ase_objtype__": "cell"}:
            return decoded(value.get("array", value.get("cell")))
    return value


def blocks(
    images: Iterable[Image], meaning: Meaning, left_out: list[LeftOut], place: str
) -> Iterator[Printed | Undeclared]:
    """Blocks of frames of the images; what cannot be a frame is added to `left_out`.

    Args:
        images: in order.
        meaning: of the names that the file uses.
        left_out: filled as blocks are drawn.
        place: `image` or `row`, for messages.
    """
    wanted = lru_cache(maxsize=64)(meaning.wanted)  # images mostly hold what the one before holds
    chosen = (
        _finite(one, wanted(tuple(one.of_atoms), tuple(one.of_configuration)), meaning, left_out, place)
        for one in images
    )
    for batch in by_block((one.n_atoms, one) for one in chosen if one):
        for _, alike in groupby(batch, _signature):
            yield _block(list(alike), meaning)


def _finite(
    one: Image, wanted: Mapping[str, tuple[str, ...]], meaning: Meaning, left_out: list[LeftOut], place: str
) -> Image | None:
    """An image with the arrays that mean something, all finite; None where it lost what makes it a frame."""
    kept = one._replace(of_atoms={}, of_configuration={})
    for note in one.notes:
        meaning.warn(note)
    for name, keys in wanted.items():
        of_atoms = level(name) == ATOM
        there = one.of_atoms if of_atoms else one.of_configuration
        into = kept.of_atoms if of_atoms else kept.of_configuration
        for key in keys:
            if np.isfinite(there[key]).all():
                into[key] = there[key]
            elif name in _MUST_BE_FINITE:
                reason = f"{place} {one.number}: expected finite {name}, found NaN or infinity in {key!r}."
                left_out.append(LeftOut(line=one.number, reason=reason))
                return None
            else:
                meaning.warn(f"{place} {one.number}: {key!r} is not finite and was not read.")
    return kept


def _signature(one: Image) -> tuple[Any, ...]:
    """What images of one block have in common: which arrays they hold, and of which shape."""
    return (
        tuple(one.known),
        tuple((name, value.shape[1:]) for name, value in one.of_atoms.items()),
        tuple((name, value.shape) for name, value in one.of_configuration.items()),
    )


def _block(images: Sequence[Image], meaning: Meaning) -> Printed | Undeclared:
    """One block of images that hold the same arrays."""
    known: dict[str, Any] = {}
    for name in images[0].known:
        join = np.concatenate if level(name) == ATOM else np.stack
        known[name] = join([one.known[name] for one in images])
    if "velocities" in known and (energy := meaning.unit("energy")):
        known["velocities"] = Quantity(known["velocities"], f"(({energy})/u)^0.5")  # momenta are in sqrt(energy u)
    first = images[0]
    block = meaning.block(
        Named(
            np.array([one.n_atoms for one in images]),
            known,
            {name: np.concatenate([one.of_atoms[name] for one in images]) for name in first.of_atoms},
            {name: np.stack([one.of_configuration[name] for one in images]) for name in first.of_configuration},
        )
    )
    arrays: dict[str, Any] = {**block.arrays}
    if "fixed" in arrays and "forces" in arrays:
        arrays["force_mask"] = _force_mask(arrays["forces"], arrays["fixed"])
    return block._replace(arrays=arrays)


def _force_mask(forces: Quantity | NDArray[Any], fixed: NDArray[np.int8]) -> NDArray[np.int8]:
    """0 for atoms that are held and whose force is exactly zero where they are: a constraint was put on it."""
    zero = (forces.values if isinstance(forces, Quantity) else forces) == 0
    return np.where((zero & (fixed == YES)).any(axis=1), NO, YES).astype(np.int8)


def zeroed(block: Printed | Undeclared) -> bool:
    """Whether constraints were put on the forces of a block."""
    return bool((np.asarray(block.arrays.get("force_mask", YES)) == NO).any())
