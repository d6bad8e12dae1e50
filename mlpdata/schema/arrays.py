"""The annotated array type: unit, shape and dtype as data in the field.

``positions: Annotated[F64, Array("angstrom", "n_atoms", 3)]`` is an array to the type checker, a checked field to
pydantic, and the one statement from which JSON Schema, Zarr attributes and Parquet metadata are made.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

Dimension = int | str


def exact(value: Any, dtype: str) -> NDArray[Any]:
    """`value` as a contiguous array of `dtype`, the same array where it is one already.

    numpy alone would turn an atomic number of 300 into 44, and 1.5 into 1.

    Raises:
        ValueError: not numbers, or integers that `dtype` cannot hold.
    """
    given = np.asarray(value, order="C")
    if given.dtype.kind not in "biuf":
        raise ValueError(f"expected numbers, found {given.dtype.name}")
    if given.dtype == dtype or np.dtype(dtype).kind == "f":
        return np.asarray(given, dtype)
    with np.errstate(invalid="ignore"):
        array = given.astype(dtype)
    if not np.array_equal(array, given):
        raise ValueError(f"expected numbers that {dtype} can hold, found others")
    return array


@dataclass(frozen=True, init=False)
class Array:
    """Unit, shape and dtype of an array field.

    Args:
        unit: canonical unit, "1" for a plain number.
        shape: lengths, a string where the length is a name shared by the fields of one noun.
        dtype: numpy's name of the element type.
    """

    unit: str
    shape: tuple[Dimension, ...]
    dtype: str

    def __init__(self, unit: str, *shape: Dimension, dtype: str = "float64") -> None:
        object.__setattr__(self, "unit", unit)
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "dtype", dtype)

    def metadata(self) -> dict[str, Any]:
        """The annotation as JSON: goes into JSON Schema, Zarr attributes and Parquet metadata alike."""
        return {"unit": self.unit, "shape": list(self.shape), "dtype": self.dtype}

    def check(self, value: Any) -> NDArray[Any]:
        """`value` as a read-only array of this type; numbers must be finite, since absence is None."""
        array = np.array(exact(value, self.dtype))
        if array.ndim != len(self.shape):
            raise ValueError(f"expected {len(self.shape)} dimensions {self.shape}, found shape {array.shape}")
        for found, wanted in zip(array.shape, self.shape, strict=True):
            if isinstance(wanted, int) and found != wanted:
                raise ValueError(f"expected shape {self.shape}, found {array.shape}")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ValueError("expected finite numbers, found NaN or infinity")
        array.flags.writeable = False
        return array

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """How pydantic validates and serialises the field."""
        return core_schema.no_info_plain_validator_function(
            self.check, serialization=core_schema.plain_serializer_function_ser_schema(np.ndarray.tolist)
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Nested arrays of numbers, with unit and shape beside them."""
        kinds = {"f": "number", "i": "integer", "u": "integer", "b": "boolean"}
        nested: JsonSchemaValue = {"type": kinds[np.dtype(self.dtype).kind]}
        for length in reversed(self.shape):
            bounds = {"minItems": length, "maxItems": length} if isinstance(length, int) else {}
            nested = {"type": "array", "items": nested, **bounds}
        return {**nested, "unit": self.unit, "shape": list(self.shape)}
