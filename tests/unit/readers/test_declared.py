"""What is declared of numbers without units gives them units and meaning; what is not clear is never guessed (X3)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mlpdata.errors import InputError, UnitError, UsageError
from mlpdata.readers.declared import Meaning, Named
from mlpdata.readers.registry import Printed, Undeclared
from mlpdata.schema.sidecar import Declared
from mlpdata.units import Quantity

UNITS = {"energy": "eV", "length": "angstrom", "stress": "kbar"}


def named(of_atoms: dict[str, Any] | None = None, **of_configurations: Any) -> Named:
    """One cell of 2 x 3 x 4 with one atom."""
    return Named(
        np.array([1]),
        {
            "atomic_numbers": [29],
            "positions": np.zeros((1, 3)),
            "pbc": np.ones((1, 3)),
            "cell": np.diag([2.0, 3.0, 4.0])[None],
        },
        {name: np.array(values, float) for name, values in (of_atoms or {}).items()},
        {name: np.array(values, float).reshape(1, -1) for name, values in of_configurations.items()},
    )


def printed(block: Named, **said: Any) -> dict[str, Any]:
    found = Meaning(Declared(**{"units": UNITS, **said})).block(block)
    assert isinstance(found, Printed)
    return dict(found.arrays)


def test_with_nothing_declared_numbers_are_shown_as_they_are_with_the_names_of_the_file() -> None:
    found = Meaning(None).block(named({"forces": [[1, 2, 3]]}, energy=-1.5, virial=[1] * 9))

    assert isinstance(found, Undeclared)
    assert found.keys == {"energy": "energy", "forces": "forces", "virial": "virial"}
    assert not any(isinstance(array, Quantity) for array in found.arrays.values())
    assert np.array_equal(found.arrays["forces"], [[1, 2, 3]])


def test_with_nothing_declared_an_unusual_name_is_named_and_not_believed() -> None:
    found = Meaning(None).block(named(REF_energy=-1.5))

    assert isinstance(found, Undeclared)
    assert found.keys == {"energy": "REF_energy"}
    assert "energy" not in found.arrays


def test_what_is_declared_becomes_the_unit_and_force_follows_from_energy_and_length() -> None:
    arrays = printed(named({"forces": [[1, 2, 3]]}, energy=-1.5), units={"energy": "kcal/mol", "length": "bohr"})

    assert arrays["energy"].unit == "kcal/mol"
    assert arrays["positions"].unit == arrays["cell"].unit == "bohr"
    assert arrays["forces"].unit == "(kcal/mol)/(bohr)"


def test_a_force_of_another_unit_can_be_declared() -> None:
    arrays = printed(named({"forces": [[1, 2, 3]]}), units={**UNITS, "force": "hartree/bohr"})

    assert arrays["forces"].unit == "hartree/bohr"


def test_two_names_for_one_label_are_refused_with_both() -> None:
    with pytest.raises(InputError, match=r"'energy', 'free_energy', which differ\. Say which: --energy-key"):
        printed(named(energy=-1.5, free_energy=-1.6))


def test_two_names_with_the_same_numbers_are_one() -> None:
    assert printed(named(energy=-1.5, free_energy=-1.5))["energy"].values.tolist() == [-1.5]


def test_the_declared_name_is_taken_whatever_else_is_there() -> None:
    arrays = printed(named(energy=-1.5, free_energy=-1.6, mine=-1.7), names={"energy": "mine"})

    assert arrays["energy"].values.tolist() == [-1.7]


def test_a_declared_name_that_no_frame_has_is_an_error_that_lists_those_there_are() -> None:
    meaning = Meaning(Declared(units=UNITS, names={"energy": "mine"}))
    meaning.block(named(energy=-1.5))

    with pytest.raises(InputError, match="expected 'mine', found only 'energy'"):
        meaning.ending("complete")


def test_a_stress_and_a_virial_are_refused_until_one_is_named() -> None:
    block = named(stress=[1, 2, 3, 4, 5, 6], virial=[6] * 9)
    with pytest.raises(InputError, match="--stress-key stress or --virial-key virial"):
        printed(block)

    assert printed(block, names={"stress": "stress"})["stress"].unit == "kbar"
    assert printed(block, names={"virial": "virial"})["stress"].unit == "eV/angstrom^3"


def test_a_virial_becomes_minus_itself_over_the_volume() -> None:
    stress = printed(named(virial=[24, 0, 0, 0, 48, 0, 0, 0, 72]))["stress"]

    assert np.allclose(stress.values, [np.diag([-1.0, -2.0, -3.0])], rtol=1e-14)


def test_six_numbers_are_xx_yy_zz_yz_xz_xy() -> None:
    stress = printed(named(stress=[1, 2, 3, 4, 5, 6]))["stress"]

    assert stress.values.tolist() == [[[1, 6, 5], [6, 2, 4], [5, 4, 3]]]


def test_a_stress_positive_in_compression_changes_its_sign_and_a_virial_does_not() -> None:
    said = {"stress_sign": "compression"}

    assert printed(named(stress=[1, 2, 3, 4, 5, 6]), **said)["stress"].values[0, 0, 0] == -1
    assert printed(named(virial=[24] * 9), **said)["stress"].values[0, 0, 0] == pytest.approx(-1)


def test_a_stress_without_a_declared_unit_is_refused_with_the_cure() -> None:
    with pytest.raises(UnitError, match=r"--units stress=eV/angstrom\^3"):
        printed(named(stress=[1] * 9), units={"energy": "eV", "length": "angstrom"})


def test_none_as_a_name_leaves_a_property_out() -> None:
    assert "stress" not in printed(named(stress=[1] * 9), names={"stress": "none"})


def test_what_has_no_declared_unit_and_is_no_label_is_left_out_with_a_warning() -> None:
    meaning = Meaning(Declared(units=UNITS))
    found = meaning.block(named({"magmoms": [1.5]}, energy=-1.5))

    assert isinstance(found, Printed)
    assert "magnetic_moments" not in found.arrays
    assert "--units magnetic_moment=muB" in meaning.ending("complete").warnings[0]


def test_moments_of_one_and_of_three_components_are_two_properties() -> None:
    units = {**UNITS, "magnetic_moment": "muB"}

    assert "magnetic_moments" in printed(named({"magmoms": [1.5]}), units=units)
    assert "magnetic_moment_vectors" in printed(named({"magmoms": [[1.5, 0, 0]]}), units=units)


def test_a_multiplicity_that_is_no_whole_number_is_left_out_with_a_warning() -> None:
    meaning = Meaning(Declared(units=UNITS))
    found = meaning.block(named(multiplicity=1.5))

    assert isinstance(found, Printed)
    assert "multiplicity" not in found.arrays
    assert "multiplicity" in meaning.ending("complete").warnings[0]


@pytest.mark.parametrize(
    ("dimension", "stated"),
    [("energy", "hartree"), ("energy", "nonsense"), ("force", "hartree/bohr"), ("stress", "GPa")],
)
def test_a_unit_of_the_file_that_contradicts_the_declared_one_is_an_error(dimension: str, stated: str) -> None:
    with pytest.raises(InputError, match=f"found the unit '{stated}'"):
        Meaning(Declared(units=UNITS)).agree(dimension, stated)


@pytest.mark.parametrize(("unit", "stated"), [("eV", "ev"), ("hartree", "a.u."), ("kcal/mol", "kcal_mol")])
def test_another_spelling_of_the_declared_unit_is_none(unit: str, stated: str) -> None:
    Meaning(Declared(units={**UNITS, "energy": unit})).agree("energy", stated)


@pytest.mark.parametrize(
    "said", [{"units": {"energy": "angstrom"}}, {"units": {"time_of_day": "h"}}, {"names": {"enrgy": "E"}}]
)
def test_units_and_names_that_there_are_none_of_are_refused(said: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="expected"):
        Meaning(Declared(**said))
