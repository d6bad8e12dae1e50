"""The report: complete, of one file, and what stands in the data is text, never markup."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from mlpdata.report import build, charts

ROWS = [
    {
        "kind": kind,
        "part": part,
        "group": f"{kind}{part}",
        "temperature_target": kelvin,
        "energy_per_atom": -1.0 - n,
        "max_force": 0.5 * n,
    }
    for n, (kind, part, kelvin) in enumerate(
        [("aimd", "train", 300.0), ("aimd", "test", 600.0), ("defect", "train", None), ("defect", "none", None)]
    )
]


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


def test_bars_name_every_kind_and_part() -> None:
    drawn = texts(charts.bars_by_kind(build.counted(ROWS)))
    assert {"aimd", "defect", "train", "test", "configurations"} <= set(drawn)


def test_a_distribution_has_a_row_for_each_temperature() -> None:
    drawn = texts(charts.distribution(build.labelled(ROWS), "max_force", "largest force [eV/angstrom]"))
    assert {"aimd 300 K", "aimd 600 K", "defect", "largest force [eV/angstrom]"} <= set(drawn)


def test_a_name_with_markup_stays_text_in_a_chart() -> None:
    rows = [{"kind": "<script>alert(1)</script>", "part": "train", "configurations": 3}]
    assert "<script" not in charts.bars_by_kind(rows)


def test_a_scatter_plot_of_many_points_is_thinned() -> None:
    rows = [{"kind": "aimd", "reference": float(n), "predicted": float(n)} for n in range(3 * charts.MOST_POINTS)]
    assert charts.parity(rows, "eV").count("<path") < charts.MOST_POINTS + 100


def test_learning_curves_are_in_milli_electronvolt() -> None:
    history = [{"epoch": 1, "valid_energy_mae": 0.004, "valid_force_mae": None}]
    assert build.learning_rows(history) == [{"epoch": 1, "label": "energy MAE [meV/atom]", "value": 4.0}]


def test_parity_rows_pair_components_with_the_kind_of_their_configuration() -> None:
    predictions = {
        "kinds": ["aimd", "defect"],
        "n_atoms": [1, 2],
        "energy": [[-1.0, None], [-1.5, -2.0]],
        "forces": [[[1, 2, 3], [4, 5, 6], [7, 8, 9]], [[0, 0, 0], [1, 1, 1], [2, 2, 2]]],
    }
    energies, forces = build.parity_rows(predictions)
    assert energies == [{"kind": "aimd", "reference": -1.0, "predicted": -1.5}]
    assert [row["kind"] for row in forces] == ["aimd"] * 3 + ["defect"] * 6
    assert forces[-1] == {"kind": "defect", "reference": 9.0, "predicted": 2.0}


def test_composition_counts_groups_and_names_temperatures() -> None:
    assert build.composition_rows(ROWS) == [("aimd", 2, 2, "300, 600"), ("defect", 2, 2, "static")]


def test_parts_stand_in_the_order_of_learning() -> None:
    assert [row[0] for row in build.part_rows(ROWS)] == ["train", "test", "none"]


@pytest.mark.parametrize(("value", "text"), [(None, "not available"), (0.123456, "0.1235"), ("a", "a"), (7, "7")])
def test_a_cell_says_what_is_not_there(value: object, text: str) -> None:
    assert build.shown(value) == text
