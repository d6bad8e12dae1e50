"""Composition: counts of a selection."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from mlpdata.curate.composition import composition

TABLE = pa.table(
    {
        "kind": ["aimd", "aimd", "aimd", "defect"],
        "group": ["a", "a", "b", "c"],
        "formula": ["Si8", "Si8", "Si8", "O2Si7"],
        "reduced_formula": ["Si", "Si", "Si", "O2Si7"],
        "elements": [["Si"], ["Si"], ["Si"], ["O", "Si"]],
        "temperature_target": [300.0, 300.0, 900.0, None],
        "energy_per_atom": [-5.0, -4.97, -3.7, -9.0],
        "license": ["CC0-1.0", "CC0-1.0", "CC0-1.0", None],
    }
)


def test_configurations_are_counted_by_what_they_are() -> None:
    found = composition(TABLE)

    assert found["n_configurations"] == 4
    assert found["kind"] == {"aimd": 3, "defect": 1}
    assert found["groups"] == {"aimd": 2, "defect": 1}
    assert found["formula"] == {"Si8": 3, "O2Si7": 1}
    assert found["elements"] == {"Si": 4, "O": 1}
    assert found["license"] == {"CC0-1.0": 3, "unknown": 1}


def test_temperatures_rise_and_static_runs_have_none() -> None:
    assert list(composition(TABLE)["temperature"].items()) == [("300 K", 2), ("900 K", 1), ("none", 1)]


def test_energies_are_counted_above_the_lowest_of_their_composition() -> None:
    windows = composition(TABLE)["energy_windows"]

    assert {name: n for name, n in windows.items() if n} == {"0 to 0.05 eV/atom": 3, "1 to 2 eV/atom": 1}


def test_columns_that_are_absent_are_left_out() -> None:
    assert composition({"kind": np.array(["aimd"])}) == {"n_configurations": 1, "kind": {"aimd": 1}}


def test_an_empty_table_counts_nothing() -> None:
    found = composition(TABLE.slice(0, 0))

    assert found["n_configurations"] == 0
    assert sum(found["energy_windows"].values()) == 0
