"""Charts of the report: rows in, SVG out. Drawn once, here, so that the page needs no network and no script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import vl_convert

Rows = Sequence[Mapping[str, Any]]

KINDS = ("equilibrium", "aimd", "reaction_path", "random", "defect", "isolated_atom", "dimer", "strained", "phonon",
         "liquid_amorphous", "unknown")  # fmt: skip
COLOURS = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#e69f00",
    "#56b4e9",
    "#7f7f7f",
    "#8c6d31",
    "#5254a3",
    "#637939",
    "#999999",
)
"""Okabe and Ito's palette first: told apart by colour-blind readers. A kind has the same colour in every chart."""
PARTS = ("train", "valid", "test")
MOST_POINTS = 4000
"""Points of a scatter plot; past it every k-th is drawn, since more only make ink and bytes."""


def svg(chart: Any) -> str:
    """A chart as SVG text."""
    return str(vl_convert.vegalite_to_svg(chart.to_dict()))


def _kind_colour() -> Any:
    return alt.Color("kind:N", scale=alt.Scale(domain=list(KINDS), range=list(COLOURS)), legend=None)


def _rows(rows: Rows) -> Any:
    return alt.InlineData(values=[dict(row) for row in rows])


def bars_by_kind(rows: Rows) -> str:
    """Configurations by kind and part: rows of kind, part, configurations."""
    dealt = [{**row, "dealt": PARTS.index(row["part"]) if row["part"] in PARTS else len(PARTS)} for row in rows]
    chart = (
        alt.Chart(_rows(dealt), width=420, height=alt.Step(24))
        .mark_bar()
        .encode(
            x=alt.X("configurations:Q", title="configurations"),
            y=alt.Y("kind:N", title=None, sort=list(KINDS)),
            color=alt.Color(
                "part:N", title="part", scale=alt.Scale(domain=[*PARTS, "none"], range=[*COLOURS[:3], "#bbbbbb"])
            ),
            order=alt.Order("dealt:Q"),
        )
    )
    return svg(chart)


def distribution(rows: Rows, column: str, title: str) -> str:
    """How a number is distributed within each kind, by temperature where there is one: rows of kind, label, column."""
    chart = (
        alt.Chart(_rows(rows), width=420, height=alt.Step(24))
        .mark_boxplot(extent="min-max", size=12)
        .encode(
            x=alt.X(f"{column}:Q", title=title, scale=alt.Scale(zero=False)),
            y=alt.Y("label:N", title=None),
            color=_kind_colour(),
        )
    )
    return svg(chart)


def learning_curves(rows: Rows) -> str:
    """Errors of the validation part by epoch: rows of epoch, label, value; one panel a label."""
    chart = (
        alt.Chart(_rows(rows), width=260, height=200)
        .mark_line(color=COLOURS[0])
        .encode(
            x=alt.X("epoch:Q"),
            y=alt.Y("value:Q", title=None, scale=alt.Scale(type="log")),
            facet=alt.Facet("label:N", columns=3, title=None),
        )
        .resolve_scale(y="independent")
    )
    return svg(chart)


def parity(rows: Rows, unit: str) -> str:
    """Predicted against reference: rows of kind, reference, predicted; the line is perfection."""
    thin = list(rows)[:: max(1, -(-len(rows) // MOST_POINTS))]
    values = [float(row[side]) for row in thin for side in ("reference", "predicted")] or [0.0, 1.0]
    ends = [{"reference": end, "predicted": end} for end in (min(values), max(values))]
    line = alt.Chart(_rows(ends)).mark_line(color="#999999", strokeWidth=1).encode(x="reference:Q", y="predicted:Q")
    points = (
        alt.Chart(_rows(thin), width=300, height=300)
        .mark_circle(size=14, opacity=0.6)
        .encode(
            x=alt.X("reference:Q", title=f"reference [{unit}]", scale=alt.Scale(zero=False)),
            y=alt.Y("predicted:Q", title=f"predicted [{unit}]", scale=alt.Scale(zero=False)),
            color=alt.Color(
                "kind:N",
                scale=alt.Scale(domain=list(KINDS), range=list(COLOURS)),
                legend=alt.Legend(values=sorted({str(r["kind"]) for r in thin}), title=None),
            ),
        )
    )
    return svg(line + points)


def traces(rows: Rows, title: str) -> str:
    """A quantity along time: rows of time [ps], value, run."""
    chart = (
        alt.Chart(_rows(rows), width=520, height=180)
        .mark_line(strokeWidth=1)
        .encode(
            x=alt.X("time:Q", title="time [ps]"),
            y=alt.Y("value:Q", title=title, scale=alt.Scale(zero=False)),
            color=alt.Color("run:N", title=None),
        )
    )
    return svg(chart)
