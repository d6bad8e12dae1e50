"""Tables of ORCA outputs: converted many at a time, they are what each of them is by itself."""

from __future__ import annotations

import numpy as np
import pytest
from orca_output import STEPS, WATER, coordinates, gradient, hartree, opening, read, settings
from orca_output import final as final_energy

from mlpdata.readers.orca.tables import fixed_point
from mlpdata.units import BOHR, HARTREE

N_STEPS = 40


def steps(n_steps: int, change: tuple[int, str, str] | None = None) -> str:
    """A run of `n_steps` with energies -76.000, -76.001, ... and gradients that grow with the step."""
    text = opening("PBE0 MD", "Molecular Dynamics Simulation")
    for number in range(n_steps):
        rows = np.array(STEPS[0][2]) * (number + 1)
        one = coordinates(WATER) + ("" if number else settings()) + final_energy(-76 - number / 1000) + gradient(rows)
        text += one.replace(change[1], change[2]) if change and number == change[0] else one
    return text


def printed(values: list[str], width: int) -> np.ndarray:
    return np.frombuffer("".join(value.rjust(width) for value in values).encode(), np.uint8).reshape(-1, width)


def test_digits_become_the_nearest_float() -> None:
    random = np.random.default_rng(0)
    texts = [f"{value:.9f}" for value in random.normal(size=2000) * 10.0 ** random.integers(-6, 4, 2000)]

    values, good = fixed_point(printed(texts, 17), 7)

    assert good
    assert values.tolist() == [float(text) for text in texts]


def test_minus_zero_stays_minus_zero() -> None:
    values, good = fixed_point(printed(["-0.000000", "0.000000"], 12), 5)

    assert good
    assert np.signbit(values).tolist() == [True, False]


@pytest.mark.parametrize(
    "text",
    [
        "1 2.5000",
        "- 2.5000",
        "--2.5000",
        "2-3.5000",
        "   .5000",
        "  -.5000",
        " 2.5 000",
        "  2.50*0",
        "  2x5000",
        "        ",
    ],
)
def test_a_field_of_another_form_is_not_converted(text: str) -> None:
    assert not fixed_point(printed([text], 8), 3)[1]


def test_more_digits_than_a_float_holds_are_not_converted() -> None:
    assert not fixed_point(printed(["12345678901.123456789"], 21), 11)[1]
    assert not fixed_point(printed(["9" * 30 + ".000000000"], 40), 30)[1]


def test_each_of_many_tables_is_its_own() -> None:
    frames = read(steps(N_STEPS)).frames

    assert hartree(frames) == [round(-76 - number / 1000, 9) for number in range(N_STEPS)]
    expected = [-0.03 * (number + 1) * HARTREE / BOHR for number in range(N_STEPS)]
    assert np.allclose(frames.forces[0::3, 2], expected, rtol=1e-12)


@pytest.mark.parametrize("number", [0, 1, 7, N_STEPS - 1])
@pytest.mark.parametrize(
    ("old", "new"),
    [("   2   H   :", "   2   H   : *"), ("0.000000    1.417295", "0.000000-1001.417295"), ("3   H", "3   O")],
)
def test_damage_in_one_of_many_tables_costs_its_frame_only(number: int, old: str, new: str) -> None:
    run = read(steps(N_STEPS, (number, old, new)))

    assert len(run.frames) == N_STEPS - 1
    assert number not in run.frames.get("step").tolist()
    assert len(run.ending.left_out) == 1


def test_a_table_of_another_width_among_others_is_read_all_the_same() -> None:
    run = read(steps(N_STEPS, (5, "   2   H   :", "    2   H   :")))

    assert len(run.frames) == N_STEPS
    assert np.array_equal(run.frames.forces, read(steps(N_STEPS)).frames.forces)
