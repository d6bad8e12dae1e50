"""Units: pinned constants against other sources, the door in and out, what it refuses."""

from __future__ import annotations

import ast
import math
from pathlib import Path
from typing import Any

import numpy as np
import pint
import pytest
import scipy.constants as codata
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import mlpdata
from mlpdata import units
from mlpdata.errors import UnitError
from mlpdata.units import CANONICAL, Quantity, as_pint, convert, factor, ratio, scalar, to_canonical

SCIPY = {
    "HARTREE": codata.value("Hartree energy in eV"),
    "RYDBERG": codata.value("Rydberg constant times hc in eV"),
    "BOHR": codata.value("Bohr radius") * 1e10,
    "ATOMIC_TIME": codata.value("atomic unit of time") * 1e15,
    "ATOMIC_MASS": codata.value("atomic mass constant"),
    "ELEMENTARY_CHARGE": codata.e,
    "BOLTZMANN": codata.value("Boltzmann constant in eV/K"),
    "AVOGADRO": codata.N_A,
    "BOHR_MAGNETON": codata.value("Bohr magneton in eV/T"),
}


@pytest.mark.parametrize("name", SCIPY)
def test_constants_are_those_of_scipy(name: str) -> None:
    assert getattr(units, name) == pytest.approx(SCIPY[name], rel=1e-11)


@pytest.mark.parametrize(
    ("name", "unit", "target"),
    [
        ("HARTREE", "hartree", "eV"),
        ("RYDBERG", "rydberg", "eV"),
        ("BOHR", "bohr", "angstrom"),
        ("ATOMIC_TIME", "atomic_unit_of_time", "fs"),
        ("ATOMIC_MASS", "unified_atomic_mass_unit", "kg"),
        ("BOLTZMANN", "boltzmann_constant", "eV/K"),
        ("EV_PER_ANGSTROM3", "eV/angstrom^3", "kbar"),
        ("BOHR_MAGNETON", "bohr_magneton", "eV/tesla"),
    ],
)
def test_constants_are_near_those_that_pint_derives_itself(name: str, unit: str, target: str) -> None:
    # pint follows CODATA 2018 or 2022 by its version; they differ by up to 1e-9
    own = pint.UnitRegistry().Quantity(1.0, unit).to(target).magnitude

    assert getattr(units, name) == pytest.approx(own, rel=2e-9)


@pytest.mark.parametrize(
    ("unit", "target", "constant"),
    [
        ("hartree", "eV", "HARTREE"),
        ("bohr", "angstrom", "BOHR"),
        ("rydberg", "eV", "RYDBERG"),
        ("aut", "fs", "ATOMIC_TIME"),
    ],
)
def test_pint_is_told_the_pinned_constants(unit: str, target: str, constant: str) -> None:
    assert as_pint(1.0, unit).to(target).magnitude == pytest.approx(getattr(units, constant), rel=1e-11)


@pytest.mark.parametrize(
    ("value", "unit", "target", "printed"),
    [
        (1, "hartree", "eV", "27.211386245981"),
        (1, "eV", "kcal/mol", "23.061"),
        (1, "eV", "kJ/mol", "96.485"),
        (1, "eV", "hartree", "0.036749"),
        (1, "eV/angstrom", "kcal/mol/angstrom", "23.061"),
        (1, "eV/angstrom", "hartree/bohr", "0.019447"),
        (1, "hartree/bohr", "eV/angstrom", "51.422"),
        (1, "hartree/bohr", "kcal/mol/angstrom", "1185.8"),
        (1, "eV/angstrom^3", "kbar", "1602.176634"),
        (1, "eV/angstrom^3", "GPa", "160.2176634"),
        (1, "Ry/bohr^3", "kbar", "147105.08"),
        (1, "debye", "e*angstrom", "0.20819"),
        (1, "hartree/bohr^3", "GPa", "29421.0"),
    ],
)
def test_check_values(value: float, unit: str, target: str, printed: str) -> None:
    decimals = len(printed.partition(".")[2])

    assert f"{convert(value, unit, target):.{decimals}f}" == printed


def test_the_time_steps_of_two_codes() -> None:
    assert round(units.RYDBERG_TIME, 4) == 0.0484
    assert round(units.ATOMIC_TIME, 4) == 0.0242


def test_room_temperature_is_26_mev_and_0_6_kcal_per_mol() -> None:
    energy = 300 * units.BOLTZMANN

    assert round(energy * 1000, 2) == 25.85
    assert round(convert(energy, "eV", "kcal/mol"), 3) == 0.596


def test_velocities_masses_and_energies_fit() -> None:
    joule = 0.5 * units.ATOMIC_MASS * (units.VELOCITY * 1e5) ** 2

    assert joule == pytest.approx(0.5 * units.ELEMENTARY_CHARGE, rel=1e-12)


@pytest.mark.parametrize("dimension", CANONICAL)
def test_canonical_units_are_their_own(dimension: str) -> None:
    assert factor(CANONICAL[dimension], dimension) == 1.0
    assert ratio(CANONICAL[dimension], CANONICAL[dimension]) == pytest.approx(1.0)


@pytest.mark.parametrize(("unit", "dimension"), units.USUAL)
def test_factors_of_usual_units_are_those_of_pint_bit_for_bit(unit: str, dimension: str) -> None:
    assert factor(unit, dimension) == ratio(unit, CANONICAL[dimension])


@pytest.mark.parametrize(
    ("first", "second"),
    [("kB", "kbar"), ("muB", "bohr_magneton"), ("Eh", "hartree"), ("Å", "angstrom"), ("A", "angstrom"), ("a0", "bohr")],
)
def test_spellings_of_the_field_mean_what_the_field_means(first: str, second: str) -> None:
    assert ratio(first, second) == 1.0


@pytest.mark.parametrize("bare", [np.array([1.0, 2.0]), 1.0, [1.0], None])
def test_bare_numbers_are_refused(bare: Any) -> None:
    with pytest.raises(UnitError, match="expected energy with a unit, found a bare"):
        to_canonical(bare, "energy", "energy")


@pytest.mark.parametrize("unit", ["", " ", None, 7])
def test_a_missing_unit_is_refused(unit: Any) -> None:
    with pytest.raises(UnitError, match="no meaning"):
        to_canonical(Quantity(np.ones(2), unit), "energy")


@pytest.mark.parametrize(
    ("unit", "dimension"),
    [
        ("eV", "force"),
        ("eV/angstrom", "energy"),
        ("angstrom^2", "length"),
        ("kbar", "energy"),
        ("1", "energy"),
        ("K", "energy"),
    ],
)
def test_a_wrong_dimension_is_refused(unit: str, dimension: str) -> None:
    with pytest.raises(UnitError, match="expected a unit of the dimension"):
        to_canonical(Quantity(np.ones(2), unit), dimension)


@pytest.mark.parametrize(
    "unit", ["flurbs", "eV/", "import os", "__import__('os')", "eV; eV", "e" * 200, "eV**99999999", "9" * 70, "eV/0"]
)
def test_what_is_no_unit_is_refused(unit: str) -> None:
    with pytest.raises(UnitError):
        factor(unit, "energy")


def test_a_scale_with_an_offset_is_refused() -> None:
    with pytest.raises(UnitError, match="multiple of another"):
        ratio("degC", "K")


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_nan_and_infinity_are_refused(bad: float) -> None:
    with pytest.raises(UnitError, match="expected finite numbers for forces"):
        to_canonical(Quantity(np.array([[0.0, bad, 0.0]]), "eV/angstrom"), "force", "forces")
    with pytest.raises(UnitError, match="finite"):
        convert(bad, "eV", "hartree")
    with pytest.raises(UnitError, match="finite"):
        scalar(bad, "eV", "energy")


def test_an_unknown_dimension_is_refused() -> None:
    with pytest.raises(UnitError, match="found the dimension 'warmth'"):
        factor("eV", "warmth")


def test_numbers_in_canonical_units_stay_as_printed() -> None:
    values = np.array([-1.23456789012345678, 0.1])

    converted, entry = to_canonical(Quantity(values, "eV"), "energy", "energy")

    assert converted is values
    assert entry.factor == 1.0


ENERGY_UNITS = st.sampled_from(["hartree", "rydberg", "kcal/mol", "kJ/mol", "meV", "joule", "eV"])
FINITE = st.floats(-1e12, 1e12, allow_subnormal=False)


@given(FINITE, ENERGY_UNITS, ENERGY_UNITS)
def test_there_and_back_is_the_same_number(value: float, first: str, second: str) -> None:
    assert convert(convert(value, first, second), second, first) == pytest.approx(value, rel=1e-14, abs=1e-300)


@given(ENERGY_UNITS, ENERGY_UNITS, ENERGY_UNITS)
def test_a_detour_changes_nothing(first: str, second: str, third: str) -> None:
    assert ratio(first, second) * ratio(second, third) == pytest.approx(ratio(first, third), rel=1e-14)


@settings(max_examples=200)
@given(
    st.integers(-(10**14), 10**14),
    st.integers(0, 8),
    st.sampled_from([("hartree", "energy"), ("rydberg/bohr", "force"), ("kbar", "stress"), ("bohr", "length")]),
)
def test_the_ledger_recovers_the_printed_number(digits: int, decimals: int, unit: tuple[str, str]) -> None:
    printed = f"{digits}e-{decimals}"
    assume(len(str(abs(digits))) <= 14)

    converted, entry = to_canonical(Quantity(np.array([float(printed)]), unit[0], decimals), unit[1])

    assert entry.printed(converted)[0] == float(printed)


def test_the_ledger_says_how() -> None:
    _, entry = to_canonical(Quantity(np.array([1.0]), "Ha/bohr", 8), "force", "forces")

    assert (entry.name, entry.unit, entry.canonical, entry.decimals) == ("forces", "Ha/bohr", "eV/angstrom", 8)
    assert entry.factor == pytest.approx(51.42206747, rel=1e-9)


def test_pint_is_imported_at_the_door_and_nowhere_else() -> None:
    root = Path(mlpdata.__file__).parent
    importing = {
        path.relative_to(root).as_posix()
        for path in root.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Import) and any(alias.name.split(".")[0] == "pint" for alias in node.names)
    }

    assert importing <= {"units.py", "frames.py"}  # frames.py for its annotations


def test_arrays_leave_as_pint_quantities() -> None:
    forces = as_pint(np.ones((2, 3)), "eV/angstrom")

    np.testing.assert_allclose(forces.to("hartree/bohr").magnitude, 0.01944690, rtol=1e-6)
    assert as_pint(np.ones(2), "1").dimensionless
