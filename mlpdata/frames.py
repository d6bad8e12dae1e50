"""Frames: a block of configurations as concatenated arrays, the one shape from reader to GPU."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mlpdata.digest import geometry_ids, row_ids
from mlpdata.errors import InputError, UsageError
from mlpdata.neighbors import Closest, closest_pairs
from mlpdata.schema.arrays import exact
from mlpdata.schema.properties import ATOM, CONFIGURATION, PAIR, PROPERTIES, REQUIRED
from mlpdata.units import F64, Conversion, Quantity, as_pint, to_canonical

if TYPE_CHECKING:
    import ase
    import pint

I64 = NDArray[np.int64]
MAX_ATOMS_PER_BLOCK = 65_536
"""Readers yield blocks of at most this many atoms (or one configuration), so that memory does not grow with the file."""


class Frames:
    """A block of configurations with their labels, in canonical units.

    Args:
        n_atoms: atoms of each configuration, shape (n_configurations,).
        arrays: by name of the registry of properties; per atom concatenated over configurations (n, ...), per
            configuration (n_configurations, ...). What is missing is absent everywhere.

    Raises:
        InputError: shapes that disagree, an unknown name, infinite numbers, or a vector that is partly NaN.
    """

    __slots__ = ("_arrays", "_closest", "_ids", "atom_start", "n_atoms")

    def __init__(self, n_atoms: ArrayLike, arrays: Mapping[str, ArrayLike]) -> None:
        self.n_atoms: I64 = np.ascontiguousarray(n_atoms, np.int64)
        self.atom_start: I64 = np.concatenate(([0], np.cumsum(self.n_atoms)))
        """First atom of each configuration, and the end, shape (n_configurations + 1,)."""
        checked = {name: self._checked(name, value) for name, value in arrays.items()}
        for name in REQUIRED:
            if name not in checked:
                raise InputError(f"expected {name} in every block, found {', '.join(sorted(checked)) or 'nothing'}.")
        self._arrays = checked
        self._closest: Closest | None = None
        self._ids: NDArray[np.uint8] | None = None

    @classmethod
    def _of_rows(cls, n_atoms: I64, arrays: dict[str, NDArray[Any]]) -> Frames:
        """A block of whole rows of other blocks, which were checked when those were made."""
        frames = cls.__new__(cls)
        frames.n_atoms = n_atoms
        frames.atom_start = np.concatenate(([0], np.cumsum(n_atoms)))
        frames._arrays = arrays
        frames._closest = frames._ids = None
        return frames

    def _checked(self, name: str, value: ArrayLike) -> NDArray[Any]:
        row = PROPERTIES.get(name)
        if row is None:
            raise InputError(f"expected a property of the registry, found {name!r}.")
        try:
            array = exact(value, row.dtype)
        except (TypeError, ValueError) as error:
            raise InputError(f"expected {name} as {row.dtype}, found something else: {error}.") from error
        length = self.rows(row.level)
        if array.shape != (length, *row.shape):
            raise InputError(f"expected {name} of shape {(length, *row.shape)}, found {array.shape}.")
        if array.dtype.kind == "f":
            _refuse_infinite_and_partial(name, array)
        return array

    def __len__(self) -> int:
        return len(self.n_atoms)

    def rows(self, level: str) -> int:
        """Rows of an array of this level: atoms, pairs of atoms, or configurations."""
        return {ATOM: int(self.atom_start[-1]), PAIR: int(self.n_atoms @ self.n_atoms), CONFIGURATION: len(self)}[level]

    def __repr__(self) -> str:
        lines = [f"Frames: {len(self)} configurations, {int(self.atom_start[-1])} atoms"]
        for name, array in self._arrays.items():
            lines.append(f"  {name:20s} {array.shape!s:14s} [{PROPERTIES[name].unit}]")
        return "\n".join(lines)

    @property
    def arrays(self) -> Mapping[str, NDArray[Any]]:
        """The arrays that are present, by name; read-only."""
        return MappingProxyType(self._arrays)

    def __contains__(self, name: str) -> bool:
        return name in self._arrays

    def get(self, name: str) -> NDArray[Any]:
        """The array `name`; where absent, rows of its sentinel.

        Raises:
            UsageError: no such property.
        """
        if name in self._arrays:
            return self._arrays[name]
        if name not in PROPERTIES:
            raise UsageError(f"expected one of {', '.join(PROPERTIES)}, found {name!r}.")
        row = PROPERTIES[name]
        return row.blank(self.rows(row.level))

    @property
    def atomic_numbers(self) -> NDArray[np.uint8]:
        """Z of each atom, shape (n,)."""
        return self._arrays["atomic_numbers"]

    @property
    def positions(self) -> F64:
        """Cartesian coordinates [angstrom], shape (n, 3)."""
        return self._arrays["positions"]

    @property
    def forces(self) -> F64:
        """Minus the gradient of `energy` [eV/angstrom], shape (n, 3); NaN where absent."""
        return self.get("forces")

    @property
    def energy(self) -> F64:
        """The energy that the forces derive from [eV], shape (n_configurations,); NaN where absent."""
        return self.get("energy")

    @property
    def cell(self) -> F64:
        """Lattice vectors as rows [angstrom], shape (n_configurations, 3, 3); NaN for molecules."""
        return self.get("cell")

    @property
    def pbc(self) -> NDArray[np.int8]:
        """1 along periodic directions, shape (n_configurations, 3)."""
        return self._arrays["pbc"]

    @property
    def stress(self) -> F64:
        """Stress, positive in tension [eV/angstrom^3], shape (n_configurations, 3, 3); NaN where absent."""
        return self.get("stress")

    @property
    def configuration_of_atom(self) -> I64:
        """Index of the configuration of each atom, shape (n,)."""
        return np.repeat(np.arange(len(self)), self.n_atoms)

    @property
    def volume(self) -> F64:
        """Cell volume [angstrom^3], shape (n_configurations,); NaN without a cell, or where the cell is a chain or layer."""
        with np.errstate(invalid="ignore"):  # the cell of a molecule is NaN
            volume: F64 = np.abs(np.linalg.det(self.cell))
        volume[volume == 0] = np.nan
        return volume

    @property
    def closest(self) -> Closest:
        """The closest two atoms of each configuration within 2.5 angstrom.

        Searched once: gates and tables both ask for it, and the search costs more than all they do besides.

        Raises:
            InputError, LimitExceeded: as `neighbors.closest_pairs`.
        """
        if self._closest is None:
            self._closest = closest_pairs(self)
        return self._closest

    def ids(self) -> NDArray[np.uint8]:
        """The `id` of each configuration, shape (n_configurations, 16); worked out once."""
        if self._ids is None:
            self._ids = row_ids(self._arrays, self.n_atoms)
        return self._ids

    def geometry_ids(self) -> NDArray[np.uint8]:
        """The `geometry_id` of each configuration, shape (n_configurations, 16)."""
        return geometry_ids(self._arrays, self.n_atoms)

    def quantity(self, name: str) -> pint.Quantity[F64]:
        """The array `name` as a pint Quantity, to be converted by `.to("hartree/bohr")`."""
        return as_pint(self.get(name), PROPERTIES[name].unit)

    def select(self, which: ArrayLike) -> Frames:
        """The configurations at `which` (indices or a mask), in that order."""
        chosen = np.asarray(which)
        index = np.arange(len(self))[chosen if chosen.size else chosen.astype(np.int64)]
        rows = {CONFIGURATION: index, ATOM: ragged_index(self.atom_start[index], self.n_atoms[index])}
        if any(PROPERTIES[name].level == PAIR for name in self._arrays):
            squares = self.n_atoms**2
            rows[PAIR] = ragged_index((squares.cumsum() - squares)[index], squares[index])
        return Frames._of_rows(
            self.n_atoms[index], {name: array[rows[PROPERTIES[name].level]] for name, array in self._arrays.items()}
        )

    def with_arrays(self, **arrays: ArrayLike) -> Frames:
        """A copy with some arrays added or replaced."""
        return Frames(self.n_atoms, {**self._arrays, **arrays})

    def without(self, *names: str) -> Frames:
        """A copy in which `names` are absent."""
        return Frames(self.n_atoms, {name: array for name, array in self._arrays.items() if name not in names})

    def to_ase(self) -> list[ase.Atoms]:
        """The configurations as ASE Atoms, each with a SinglePointCalculator.

        The force-consistent energy is both `energy` and `free_energy`: a model is trained on what its forces derive
        from. A molecule has no cell and pbc False.
        """
        from ase import Atoms  # noqa: PLC0415  an extra
        from ase.calculators.singlepoint import SinglePointCalculator  # noqa: PLC0415

        out = []
        for i in range(len(self)):
            atoms = slice(int(self.atom_start[i]), int(self.atom_start[i + 1]))
            cell = None if np.isnan(self.cell[i]).any() else self.cell[i]
            one = Atoms(self.atomic_numbers[atoms], self.positions[atoms], cell=cell, pbc=self.pbc[i].astype(bool))
            labels: dict[str, Any] = {}
            if not np.isnan(self.energy[i]):
                labels["energy"] = labels["free_energy"] = float(self.energy[i])
            if "forces" in self and not np.isnan(self.forces[atoms]).any():
                labels["forces"] = self.forces[atoms]
            if "stress" in self and not np.isnan(self.stress[i]).any():
                labels["stress"] = self.stress[i][[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
            one.calc = SinglePointCalculator(one, **labels)
            out.append(one)
        return out


def _refuse_infinite_and_partial(name: str, array: F64) -> None:
    """NaN is absence of a whole row; anything else that is not finite is a fault."""
    if np.isfinite(array).all():
        return
    if np.isinf(array).any():
        raise InputError(f"expected finite {name}, found infinity.")
    missing = np.isnan(array).reshape(len(array), -1)
    if (missing.any(axis=1) != missing.all(axis=1)).any():
        raise InputError(f"expected {name} whole or absent, found a row that is partly NaN.")


def ragged_index(starts: I64, lengths: I64) -> I64:
    """Indices of several ranges one after the other: starts[0], starts[0] + 1, ..., starts[1], ..."""
    ends = lengths.cumsum()
    index: I64 = (starts - ends + lengths).repeat(lengths)
    index += np.arange(len(index))
    return index


def concatenate(blocks: Sequence[Frames]) -> Frames:
    """One block of several, in order; an array that only some have is absent (sentinel) in the others."""
    if not blocks:
        raise UsageError("expected at least one block of configurations, found none.")
    if len(blocks) == 1:
        return blocks[0]
    names = list(dict.fromkeys(name for block in blocks for name in block.arrays))
    return Frames._of_rows(
        np.concatenate([block.n_atoms for block in blocks]),
        {name: np.concatenate([block.get(name) for block in blocks]) for name in names},
    )


def from_printed(n_atoms: ArrayLike, printed: Mapping[str, Quantity | ArrayLike]) -> tuple[Frames, list[Conversion]]:
    """Frames from what a file prints: each number with a dimension passes the door once, the ledger says how.

    Args:
        n_atoms: atoms of each configuration.
        printed: by property; a `Quantity` wherever the registry names a dimension.

    Raises:
        UnitError: a bare number where a unit is needed, a wrong dimension, NaN or infinity.
        InputError: shapes that disagree.
    """
    arrays: dict[str, ArrayLike] = {}
    ledger: list[Conversion] = []
    for name, value in printed.items():
        row = PROPERTIES.get(name)
        if row is None:
            raise InputError(f"expected a property of the registry, found {name!r}.")
        if row.dimension is None:
            arrays[name] = value.values if isinstance(value, Quantity) else value
        else:
            arrays[name], entry = _through_the_door(value, row.dimension, name)
            ledger.append(entry)
    return Frames(n_atoms, arrays), ledger


def _through_the_door(value: Quantity | ArrayLike, dimension: str, name: str) -> tuple[F64, Conversion]:
    """Convert `value`; rows that a reader marks as absent (all NaN) stay absent, any other NaN is refused there."""
    if not isinstance(value, Quantity) or not np.isnan(value.values).any():
        return to_canonical(value, dimension, name)  # type: ignore[arg-type]
    absent = np.isnan(value.values.reshape(len(value.values), -1)).all(axis=1)
    present, entry = to_canonical(value._replace(values=value.values[~absent]), dimension, name)
    out = np.full(value.values.shape, np.nan)
    out[~absent] = present
    return out, entry


def by_block(configurations: Iterable[tuple[int, Any]], limit: int = MAX_ATOMS_PER_BLOCK) -> Iterable[list[Any]]:
    """Group (n_atoms, item) pairs into lists of at most `limit` atoms, at least one item each."""
    block: list[Any] = []
    atoms = 0
    for n_atoms, item in configurations:
        if block and atoms + n_atoms > limit:
            yield block
            block, atoms = [], 0
        block.append(item)
        atoms += n_atoms
    if block:
        yield block
