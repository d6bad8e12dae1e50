"""The annotated array: unit, shape and dtype checked, and stated in the JSON Schema."""

from __future__ import annotations

from typing import Annotated, Any

import jsonschema
import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from mlpdata.schema.arrays import Array
from mlpdata.schema.noun import Noun


class Sample(Noun):
    """An array of each kind."""

    positions: Annotated[NDArray[np.float64], Array("angstrom", "n_atoms", 3)]
    numbers: Annotated[NDArray[np.uint8], Array("1", "n_atoms", dtype="uint8")] | None = None


def test_lists_become_read_only_arrays_of_the_stated_type() -> None:
    sample = Sample(positions=[[0, 0, 1]], numbers=[8])  # type: ignore[arg-type]

    assert sample.positions.dtype == np.float64
    assert sample.numbers is not None
    assert sample.numbers.dtype == np.uint8
    with pytest.raises(ValueError, match="read-only"):
        sample.positions[0, 0] = 1


def test_the_array_of_the_caller_is_copied() -> None:
    mine = np.zeros((1, 3))
    sample = Sample(positions=mine)
    mine[0, 0] = 7

    assert sample.positions[0, 0] == 0


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([0.0, 0.0, 0.0], "expected 2 dimensions"),
        ([[0.0, 0.0]], "expected shape"),
        ([[0.0, float("nan"), 0.0]], "found NaN or infinity"),
        ([[0.0, float("inf"), 0.0]], "found NaN or infinity"),
        ([["a", 0.0, 0.0]], "expected numbers"),
        ([[0.0], [0.0, 1.0]], "inhomogeneous"),
    ],
)
def test_wrong_shapes_and_numbers_are_refused(value: Any, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Sample(positions=value)


@pytest.mark.parametrize("value", [[300], [-1], [1.5], np.array([300]), [None], ["8"], [float("nan")]])
def test_what_the_type_cannot_hold_are_refused(value: Any) -> None:
    with pytest.raises(ValidationError):
        Sample(positions=[[0, 0, 0]], numbers=value)  # type: ignore[arg-type]


def test_json_there_and_back_is_the_same_noun() -> None:
    sample = Sample(positions=[[0.1, 1 / 3, -2e-300]], numbers=[1])  # type: ignore[arg-type]

    assert Sample.model_validate_json(sample.model_dump_json()) == sample


def test_the_json_schema_states_unit_and_shape_and_accepts_the_json() -> None:
    schema = Sample.model_json_schema()

    assert schema["properties"]["positions"]["unit"] == "angstrom"
    assert schema["properties"]["positions"]["shape"] == ["n_atoms", 3]
    jsonschema.validate({"positions": [[0, 1, 2]]}, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"positions": [[0, 1]]}, schema)


def test_one_statement_serves_all_formats() -> None:
    assert Array("eV", 3, 3).metadata() == {"unit": "eV", "shape": [3, 3], "dtype": "float64"}
