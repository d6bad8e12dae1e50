"""Kinds and temperatures: what the configurations of a run are there for, and the set point of its thermostat."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mlpdata.relations.runs import Run
from mlpdata.schema.calculation import Kind, RunKind

SAID_BY_RUN: dict[Kind, str] = {
    "aimd": "the run: molecular dynamics",
    "reaction_path": "the run: an image of a reaction path",
    "isolated_atom": "the run: one atom",
    "dimer": "the run: two atoms",
}
"""Why a run is of the kind that it was stored with."""
BY_RUN_KIND: dict[RunKind, tuple[Kind, str]] = {
    "md": ("aimd", "the run: molecular dynamics"),
    "neb": ("reaction_path", "the run: a reaction path"),
    "irc": ("reaction_path", "the run: a reaction path"),
}
"""What runs are that say it themselves."""


def kind(run: Run, series: tuple[Kind, str] | None, relaxed_by: str) -> tuple[Kind, str]:
    """The kind of the configurations of a run, and what it rests on.

    Args:
        run: one that nobody declared a kind of.
        series: the kind of the series that the run is in, and what was done to the parent; None where it is in none.
        relaxed_by: path of a relaxation that ended, with no forces left, with the geometry of this single point.
    """
    stored = run.calculation.kind
    if stored != "unknown":
        return stored, SAID_BY_RUN.get(stored, "the run")
    if run.calculation.run_kind in BY_RUN_KIND:
        return BY_RUN_KIND[run.calculation.run_kind]
    if run.calculation.run_kind == "phonon" and len(run) > 1:
        return "phonon", "the run: finite displacements"
    if series is not None:
        return series
    because = _equilibrium(run, relaxed_by)
    return ("equilibrium", because) if because else ("unknown", "")


def _equilibrium(run: Run, relaxed_by: str) -> str:
    """Why a run holds nothing but relaxed configurations; empty where it does not, or it cannot be told."""
    if run.moves == "md" or len(run) != len(run.ends):
        return ""  # what lies between the ends is not known
    if run.moves == "relax":
        quiet = run.calculation.status == "complete" and run.at_rest.all()
        return "a relaxation that began and ended with no forces" if quiet else ""
    if len(run) != 1:
        return ""
    if relaxed_by:
        return f"its geometry is the one that {relaxed_by} ended with"
    return "no forces" + (" and no stress" if any(run.pbc) else "") if run.at_rest.all() else ""


def temperature(run: Run) -> tuple[float | None, str]:
    """The set point of a run of which nobody declared one, and what it rests on.

    The mean of the kinetic temperature is none: it says what the run was like, not what it was asked for.
    """
    printed = run.calculation.temperature_target
    if printed is not None:
        return printed, "the run: its set point as printed"
    if run.moves != "md":
        return None, ""
    if ramp := _ramp(run.calculation.method.settings_as_printed):
        return None, f"the run: a ramp from {ramp[0]:g} to {ramp[1]:g} K, which is no set point"
    known = run.temperature_kinetic[~np.isnan(run.temperature_kinetic)]
    mean = f"; the mean kinetic temperature is {known.mean():.0f} K, which is no set point" if len(known) else ""
    return None, f"no set point is printed{mean}"


def _ramp(settings: Mapping[str, object]) -> tuple[float, float] | None:
    """First and last temperature of VASP's ramp [K]; None where there is none, or it cannot be read."""
    try:
        start, end = (float(str(settings.get(name, "nan"))) for name in ("TEBEG", "TEEND"))
    except ValueError:
        return None
    return (start, end) if end > 0 and abs(end - start) > 0 else None
