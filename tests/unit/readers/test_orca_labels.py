"""What ORCA prints beside energies and gradients: charges, dipole; and what damage to it costs."""

from __future__ import annotations

import numpy as np
import pytest
from orca_output import (
    CHARGES,
    CONVERGED,
    DIPOLE,
    STEPS,
    charges,
    dipole,
    dynamics,
    final,
    gradient,
    opening,
    read,
    settings,
    single_point,
)

from mlpdata.units import BOHR


@pytest.mark.parametrize("scheme", list(CHARGES))
def test_charges_are_those_of_the_table_of_their_scheme(scheme: str) -> None:
    frames = read(dynamics()).frames

    assert frames.get(f"charges_{scheme.lower()}").tolist() == [*CHARGES[scheme]] * 2


def test_the_dipole_is_converted_and_absent_where_it_is_not_printed() -> None:
    dipoles = read(dynamics()).frames.get("dipole")

    assert np.isnan(dipoles[0]).all()
    assert dipoles[1] == pytest.approx(np.array(DIPOLE) * BOHR)


def test_the_dipole_of_an_ion_is_left_out() -> None:
    """It is about the centre of mass, and that of an ion depends on the origin."""
    text = dynamics().replace(settings(), settings(charge=1, multiplicity=2))

    assert "dipole" not in read(text).frames


def test_spins_beside_charges_are_no_charges() -> None:
    table = charges("MULLIKEN", CHARGES["MULLIKEN"]).replace("ATOMIC CHARGES", "ATOMIC CHARGES AND SPIN POPULATIONS")
    for value in CHARGES["MULLIKEN"]:
        table = table.replace(f"{value:12.6f}\n", f"{value:12.6f}    0.996827\n")

    frames = read(single_point(table + final(-76.0))).frames

    assert frames.get("charges_mulliken").tolist() == [*CHARGES["MULLIKEN"]]
    assert "magnetic_moments" not in frames


def test_charges_of_a_density_that_is_not_the_methods_are_left_out() -> None:
    """Under MP2, coupled cluster and excited states the SCF density is analysed, or several."""
    table = charges("MULLIKEN", CHARGES["MULLIKEN"]) + dipole(*DIPOLE)
    correlated = "\nMP2 TOTAL ENERGY:      -76.300000000 Eh\n" + final(-76.3)

    frames = read(single_point(table + correlated)).frames
    twice = read(single_point(table + CONVERGED + table + final(-76.0))).frames

    assert not {"charges_mulliken", "dipole"} & {*frames.arrays, *twice.arrays}


def test_a_charge_that_cannot_be_read_costs_the_charges_of_its_frame_only() -> None:
    run = read(dynamics().replace("   -0.610000", "   *********", 1))

    assert len(run.frames) == 2
    assert np.isnan(run.frames.get("charges_mulliken")).tolist() == [True] * 3 + [False] * 3
    (warning,) = run.ending.warnings
    assert warning.startswith("line 7")
    assert "mulliken charges left out" in warning


def test_a_dipole_that_cannot_be_read_costs_itself_only() -> None:
    run = read(dynamics().replace("      -0.75000", "      ********"))

    assert "dipole" not in run.frames
    assert "the dipole left out" in run.ending.warnings[0]


def test_a_total_charge_that_cannot_be_read_is_unknown_and_said_so() -> None:
    run = read(dynamics().replace("Charge          ....    0", "Charge          ....    *"))

    assert np.isnan(run.frames.get("charge")).all()
    assert "the charge left out" in run.ending.warnings[0]


def test_ghosts_have_no_charges() -> None:
    table = charges("LOEWDIN", (-0.4, 0.2, 0.2, 0.01), "OHHH").replace("   3 H :", "   3 H : :")
    atoms = (("O", 0.0, 0.0, 0.1), ("H", 0.0, 0.75, -0.45), ("H", 0.0, -0.75, -0.5), ("H:", 3.0, 0.0, 0.0))

    frames = read(single_point(table + final(-76.0), atoms=atoms)).frames

    assert frames.get("charges_loewdin").tolist() == [-0.4, 0.2, 0.2]


def test_the_set_point_of_a_thermostat_is_known() -> None:
    text = opening("PBE0 MD", "Molecular Dynamics Simulation").replace(
        "|  2>", "|  2> %md Thermostat CSVR, 350_K end\n| 21>"
    )

    assert read(text + final(-76.0) + gradient(STEPS[0][2])).header.temperature_target == 350
