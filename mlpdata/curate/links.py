"""Links: configurations that must not be parted, as numbered groups and geometries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mlpdata.errors import UsageError

I64 = NDArray[np.int64]
Table: TypeAlias = "pa.Table | Mapping[str, Any]"
"""Rows of configurations: an Arrow table or arrays by name. `id` and `geometry_id` are 16 bytes each."""


def column(table: Table, name: str) -> NDArray[Any]:
    """The column `name` as an array; ids and geometry ids as 32 hexadecimal digits each.

    Raises:
        UsageError: no such column.
    """
    names = table.column_names if isinstance(table, pa.Table) else list(table)
    if name not in names:
        raise UsageError(f"expected the column {name}, found {', '.join(names)}. Select it in the query.")
    values = table[name]
    if isinstance(values, pa.ChunkedArray | pa.Array):
        values = values.to_pylist() if name in {"id", "geometry_id"} else values.to_numpy(zero_copy_only=False)
    return _hexadecimal(values) if name in {"id", "geometry_id"} else np.asarray(values)


def _hexadecimal(values: Any) -> NDArray[np.str_]:
    """16-byte names as text; text stays as it is."""
    if isinstance(values, np.ndarray) and values.dtype == np.uint8 and values.ndim == 2:
        values = [row.tobytes() for row in values]
    return np.array([value.hex() if isinstance(value, bytes) else str(value) for value in values], dtype="<U32")


@dataclass(frozen=True)
class Links:
    """Configurations, each once, with the groups and the geometries that bind them."""

    ids: NDArray[np.str_]
    """Sorted, shape (n,)."""
    first: I64
    """Row of the table where each id stands first, shape (n,)."""
    group: I64
    """Group of each, by number, shape (n,); the same id in two groups binds these."""
    geometry: I64
    """Geometry of each, by number, shape (n,)."""
    group_names: NDArray[np.str_]
    """Names by number."""

    @property
    def cluster(self) -> I64:
        """Number of the set of linked groups that each belongs to, shape (n,): the lowest group of the set."""
        return components(self.group, self.geometry, len(self.group_names))[self.group]


def links(table: Table) -> Links:
    """The links of a table; without a column `geometry_id`, an id stands for its geometry.

    Raises:
        UsageError: a column is missing, or a configuration has no group.
    """
    ids = column(table, "id")
    names = column(table, "group").astype(str)
    if (names == "").any():
        raise UsageError("expected a group for every configuration, found none for some. Name one at ingest.")
    has_geometry = "geometry_id" in (table.column_names if isinstance(table, pa.Table) else table)
    group_names, group = np.unique(names, return_inverse=True)
    geometry = np.unique(column(table, "geometry_id") if has_geometry else ids, return_inverse=True)[1]
    order = np.lexsort((column(table, "kind").astype(str), names, ids))
    unique, first, same = np.unique(ids[order], return_index=True, return_inverse=True)
    first, same = order[first], same[np.argsort(order)]
    # one id in two groups: the same row was read from two files, and binds the groups of both
    merged = components(group, same, len(group_names))
    return Links(unique, first, merged[group][first], geometry[first], group_names)


def components(group: I64, geometry: I64, n_groups: int) -> I64:
    """Lowest group that each group is linked to by shared geometries, shape (n_groups,)."""
    label = np.arange(n_groups)
    lowest = np.empty(int(geometry.max(initial=-1)) + 1, np.int64)
    while True:
        lowest[:] = n_groups
        np.minimum.at(lowest, geometry, label[group])
        nearer = label.copy()
        np.minimum.at(nearer, group, lowest[geometry])
        nearer = nearer[nearer]
        if (nearer == label).all():
            return label
        label = nearer
