"""Nouns: frozen, nothing unknown, no NaN, and errors that do not repeat their input."""

from __future__ import annotations

import math
from typing import Annotated

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from mlpdata.errors import CorruptError, UsageError
from mlpdata.schema.arrays import Array
from mlpdata.schema.method import Method, Smearing
from mlpdata.schema.noun import Noun, from_stored, from_user
from mlpdata.schema.params import Params, SplitParams


class Pair(Noun):
    """A number and an array."""

    energy: float
    """[eV]"""
    values: Annotated[NDArray[np.float64], Array("1", "n")]
    """Anything."""


def pair(energy: float = 1.0, *values: float) -> Pair:
    return Pair(energy=energy, values=np.array(values))


def test_a_noun_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        pair().energy = 2.0  # type: ignore[misc]


def test_unknown_fields_are_refused() -> None:
    with pytest.raises(ValidationError, match="Extra inputs"):
        Method.model_validate({"code": "vasp", "functionale": "PBE"})


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_nan_and_infinity_are_refused(bad: float) -> None:
    with pytest.raises(ValidationError, match="finite"):
        pair(bad)
    with pytest.raises(ValidationError, match="finite"):
        Smearing(method="gaussian", width=bad)


def test_a_replaced_field_is_validated_anew() -> None:
    assert pair().replace(energy=3).energy == 3.0
    with pytest.raises(ValidationError):
        pair().replace(energy="much")


def test_nouns_are_equal_by_value_arrays_included() -> None:
    assert pair(1.0, 2.0, 3.0) == pair(1.0, 2.0, 3.0)
    assert pair(1.0, 2.0, 3.0) != pair(1.0, 2.0, 4.0)
    assert pair(1.0) != Method(code="vasp")
    assert len({pair(1.0, 2.0), pair(1.0, 2.0), pair(2.0, 2.0)}) == 2


def test_what_a_store_holds_wrongly_is_corrupt_and_names_the_place() -> None:
    with pytest.raises(CorruptError, match=r"methods\.json: expected a Method, found: code: Field required"):
        from_stored(Method, "{}", "methods.json")
    with pytest.raises(CorruptError):
        from_stored(Method, "not json", "methods.json")


def test_what_a_user_wrote_wrongly_names_the_field_and_hides_the_input() -> None:
    with pytest.raises(UsageError, match=r"params\.yaml: split\.seed: .*integer") as caught:
        from_user(Params, {"split": {"seed": "s3cret"}}, "params.yaml")

    assert "s3cret" not in str(caught.value)


def test_the_docstring_under_a_field_is_its_description() -> None:
    assert Pair.model_json_schema()["properties"]["energy"]["description"] == "[eV]"


def test_defaults_are_not_shared() -> None:
    first = SplitParams()
    first.fractions["train"] = 0.5

    assert SplitParams().fractions["train"] == 0.8
