"""Kinds and temperatures: what was declared, then what the run says, then what others say; else unknown."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from crystals import REST, dynamics, related, run, with_settings

from mlpdata.relations import Relation, relations

MD = dynamics(20, 300, seed=1).positions
NO_STRESS = {"stress": np.zeros((1, 3, 3))}
FAR = REST + 0.05 * np.random.default_rng(1).normal(size=(8, 3))


def kind_of(relation: Relation) -> tuple[str, str]:
    return relation.kind, relation.rests_on.get("kind", "")


@pytest.mark.parametrize(
    ("run_kind", "stored", "expected"),
    [
        ("md", "aimd", ("aimd", "the run: molecular dynamics")),
        ("md", "unknown", ("aimd", "the run: molecular dynamics")),
        ("neb", "unknown", ("reaction_path", "the run: a reaction path")),
        ("phonon", "unknown", ("phonon", "the run: finite displacements")),
        ("single_point", "dimer", ("dimer", "the run: two atoms")),
        ("single_point", "isolated_atom", ("isolated_atom", "the run: one atom")),
        ("scan", "unknown", ("unknown", "")),
    ],
)
def test_the_run_itself_says_its_kind(run_kind: str, stored: str, expected: tuple[str, str]) -> None:
    assert kind_of(relations([run("a/OUTCAR", MD, run_kind, kind=stored)])[0]) == expected


def test_a_single_point_without_forces_and_stress_is_an_equilibrium() -> None:
    found = related(
        run("a/OUTCAR", REST, "single_point", labels=NO_STRESS),
        run("b/OUTCAR", FAR, "single_point", labels=NO_STRESS),
        run("c/OUTCAR", REST, "single_point", labels={"stress": np.full((1, 3, 3), 0.01)}),
        run("d/OUTCAR", REST, "single_point"),
    )

    assert kind_of(found["a"]) == ("equilibrium", "no forces and no stress")
    assert kind_of(found["b"])[0] == "unknown"
    assert kind_of(found["c"])[0] == "unknown", "1.6 GPa: forces vanish by symmetry in a strained crystal"
    assert kind_of(found["d"])[0] == "unknown", "the stress is not known"


def test_the_early_steps_of_a_relaxation_are_no_equilibrium() -> None:
    found = related(
        run("a/OUTCAR", [FAR, REST], "relax"),
        run("b/OUTCAR", [REST + 1e-4, REST], "relax"),
        run("c/OUTCAR", [REST + 1e-4, REST], "relax", status="truncated"),
        run("d/OUTCAR", [REST + 1e-4, FAR, REST + 1e-4, REST], "relax"),
        run("e/OUTCAR", FAR, "relax"),
        run("f/OUTCAR", REST, "relax"),
    )

    assert kind_of(found["a"])[0] == "unknown"
    assert kind_of(found["b"]) == ("equilibrium", "a relaxation that began and ended with no forces")
    assert kind_of(found["c"])[0] == "unknown"
    assert kind_of(found["d"])[0] == "unknown", "the second configuration is not among the ends"
    assert kind_of(found["e"])[0] == "unknown", "one step was all that it was allowed"
    assert kind_of(found["f"])[0] == "equilibrium", "it found nothing to relax"


def test_frequencies_at_one_geometry_displace_nothing() -> None:
    found = relations([run("a/OUTCAR", REST, "phonon", labels=NO_STRESS), run("b/OUTCAR", FAR, "phonon")])

    assert [kind_of(one) for one in found] == [("equilibrium", "no forces and no stress"), ("unknown", "")]


def test_a_relaxation_of_the_cell_must_end_without_stress() -> None:
    stress = {"stress": np.full((1, 3, 3), 0.01)}
    runs = [run(f"{kind}/OUTCAR", REST, kind, labels=stress) for kind in ("relax", "vc-relax")]

    assert [one.kind for one in relations(runs)] == ["equilibrium", "unknown"]


def test_forces_on_atoms_that_are_held_do_not_count() -> None:
    far = REST.copy()
    far[0] += 0.1
    others_at_rest = np.zeros((8, 3))
    others_at_rest[0] = 1.5
    held = np.zeros((8, 3))
    held[0] = 1

    for fixed, kind in ((held, "equilibrium"), (0 * held, "unknown")):
        one = run("a/OUTCAR", far, "relax", labels={"forces": others_at_rest, "fixed": fixed})
        assert relations([one])[0].kind == kind


def test_a_single_point_at_the_end_of_a_relaxation_is_an_equilibrium() -> None:
    complete, cut = (
        run("a/relax/OUTCAR", [FAR, REST], "relax"),
        run("b/relax/OUTCAR", [FAR, MD[3]], "relax", status="truncated"),
    )
    found = related(
        complete,
        cut,
        run("a/static/OUTCAR", REST, "single_point", method=with_settings(functional="HSE06")),
        run("b/static/OUTCAR", MD[3], "single_point"),
        run("a/start/OUTCAR", FAR, "single_point"),
        run("c/relax/OUTCAR", [REST, MD[9]], "relax"),
        run("c/static/OUTCAR", MD[9], "single_point"),
    )

    assert kind_of(found["a/static"]) == ("equilibrium", "its geometry is the one that a/relax/OUTCAR ended with")
    assert kind_of(found["b/static"])[0] == "unknown"
    assert kind_of(found["a/start"])[0] == "unknown"
    assert kind_of(found["c/static"])[0] == "unknown", "its relaxation ran out of steps"


def test_a_declared_kind_and_temperature_stay() -> None:
    said = {"kind": "liquid_amorphous", "temperature_target": 1700.0}
    declared = {"kind": "liquid_amorphous", "temperature": "1700"}

    found = relations(
        [run("a/OUTCAR", MD, **said, declared=declared, rests_on={"kind": "declared in a/mlpdata.yaml"})]
    )[0]

    assert (found.kind, found.temperature_target) == ("liquid_amorphous", 1700.0)
    assert found.rests_on["kind"] == "declared in a/mlpdata.yaml"
    assert found.rests_on["temperature_target"] == "declared"


@pytest.mark.parametrize(
    ("settings", "kinetic", "expected"),
    [
        ({}, [np.nan] * 20, (None, "no set point is printed")),
        ({}, [np.nan, *[290.0, 310.2] * 9, np.nan], (None, "no set point is printed; the mean kinetic temperature is 300 K, which is no set point")),
        ({"TEBEG": "300", "TEEND": "900.0"}, [500.0] * 20, (None, "the run: a ramp from 300 to 900 K, which is no set point")),
        ({"TEBEG": "300", "TEEND": "300.0"}, [np.nan] * 20, (None, "no set point is printed")),
        ({"TEBEG": "300", "TEEND": "-1"}, [np.nan] * 20, (None, "no set point is printed")),
        ({"TEBEG": "****", "TEEND": "900"}, [np.nan] * 20, (None, "no set point is printed")),
    ],
)  # fmt: skip
def test_a_mean_temperature_is_no_set_point(settings: dict, kinetic: list[float], expected: tuple) -> None:
    one = replace(
        run("a/OUTCAR", MD, method=with_settings(settings_as_printed=settings)), temperature_kinetic=np.array(kinetic)
    )

    found = relations([one])[0]

    assert (found.temperature_target, found.rests_on["temperature_target"]) == expected


def test_a_printed_set_point_is_taken_and_static_runs_have_none() -> None:
    found = related(run("a/OUTCAR", MD, temperature_target=500.0), run("b/OUTCAR", REST, "single_point"))

    assert found["a"].temperature_target == 500.0
    assert found["a"].rests_on["temperature_target"] == "the run: its set point as printed"
    assert found["b"].temperature_target is None
    assert "temperature_target" not in found["b"].rests_on
