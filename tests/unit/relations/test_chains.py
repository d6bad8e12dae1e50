"""Chains: restarts are found by what runs hold, never by their names alone."""

from __future__ import annotations

import numpy as np
import pytest
from crystals import (
    ACCELERATION,
    CELL,
    EDGE,
    REST,
    dynamics,
    energies_at,
    forces_at,
    kpoints,
    related,
    run,
    with_settings,
)

from mlpdata.relations import relations

WHOLE = dynamics(121, 300, seed=1)
"""Two minutes of a long run: 120 steps of 1 fs."""


def test_a_restart_from_the_last_configuration_continues_it_and_hides_the_overlap() -> None:
    found = related(
        run("md/run1/OUTCAR", WHOLE.positions[:41]),
        run("md/run2/OUTCAR", WHOLE.positions[40:81]),
        run("md/run10/OUTCAR", WHOLE.positions[80:]),
    )

    assert [(one.continues, one.skip) for one in found.values()] == [
        ("", 0),
        ("md/run1/OUTCAR", 1),
        ("md/run2/OUTCAR", 1),
    ]
    assert len({one.group for one in found.values()}) == 1
    assert found["md/run2"].rests_on["continues"] == (
        "it begins with configuration 41 of md/run1/OUTCAR, at the same energy"
    )
    assert "continues" not in found["md/run1"].rests_on


@pytest.mark.parametrize("steps_back", [1, 7, 39])
def test_a_restart_from_a_checkpoint_some_steps_back_continues_the_run_that_crashed(steps_back: int) -> None:
    found = related(
        run("md/run1/OUTCAR", WHOLE.positions[:41], status="failed"),
        run("md/run2/OUTCAR", WHOLE.positions[40 - steps_back :]),
    )

    assert (found["md/run2"].continues, found["md/run2"].skip) == ("md/run1/OUTCAR", 1)


@pytest.mark.parametrize(("kelvin", "step"), [(100, 1.0), (300, 1.0), (300, 2.0), (1000, 2.0), (300, 4.0)])
def test_a_restart_that_begins_with_the_next_step_continues_it_and_hides_nothing(kelvin: float, step: float) -> None:
    whole = dynamics(60, kelvin, seed=2, step=step).positions

    found = related(run("md/run1/OUTCAR", whole[:30]), run("md/run2/OUTCAR", whole[30:]))

    assert (found["md/run2"].continues, found["md/run2"].skip) == ("md/run1/OUTCAR", 0)
    assert found["md/run2"].rests_on["continues"] == "its first positions are those of md/run1/OUTCAR one step on"
    assert found["md/run1"].continues == ""
    assert found["md/run1"].group == found["md/run2"].group


def test_atoms_that_were_put_back_into_the_cell_are_the_same_atoms() -> None:
    later = (WHOLE.positions[30:] / EDGE % 1.0) * EDGE

    found = related(run("md/run1/OUTCAR", WHOLE.positions[:30]), run("md/run2/OUTCAR", later))

    assert found["md/run2"].continues == "md/run1/OUTCAR"


def test_velocities_say_the_direction_of_the_next_step_and_bad_ones_do_no_harm() -> None:
    whole = dynamics(40, 300, seed=4, step=6.0)
    for velocities in (whole.velocities, -whole.velocities, 0 * whole.velocities):
        first = run("md/run1/OUTCAR", whole.positions[:20], velocities=velocities[:20])
        second = run("md/run2/OUTCAR", whole.positions[20:], velocities=velocities[20:])

        assert related(first, second)["md/run2"].continues == "md/run1/OUTCAR"


def test_the_next_step_after_next_is_not_taken_for_a_restart() -> None:
    found = related(run("md/run1/OUTCAR", WHOLE.positions[:30]), run("md/run2/OUTCAR", WHOLE.positions[32:]))

    assert found["md/run2"].continues == ""
    assert found["md/run2"].group != found["md/run1"].group


def test_dynamics_at_changing_volume_are_continued_too() -> None:
    growth = np.linspace(1.0, 1.02, 60)[:, None, None]
    cells, positions = growth * CELL, growth * dynamics(60, 300, seed=5).positions
    energies = energies_at(positions / growth)

    found = related(
        run("npt/1/OUTCAR", positions[:30], cells=cells[:30], energies=energies[:30]),
        run("npt/2/OUTCAR", positions[30:], cells=cells[30:], energies=energies[30:]),
    )

    assert found["npt/2"].continues == "npt/1/OUTCAR"


def test_two_runs_from_one_start_at_two_temperatures_continue_nothing() -> None:
    for steps in (2, 3, 10, 200):
        cold, warm = dynamics(steps, 300, seed=6), dynamics(steps, 500, seed=7)

        found = related(run("T300/md/OUTCAR", cold.positions), run("T300/warm/OUTCAR", warm.positions))

        assert [one.continues for one in found.values()] == ["", ""], steps
        assert len({one.group for one in found.values()}) == 1, "they share the first configuration"


def test_a_run_that_prints_its_start_twice_is_not_continued_by_others_from_that_start() -> None:
    cold, warm = dynamics(20, 300, seed=6).positions, dynamics(20, 500, seed=7).positions

    found = related(run("a/cold/OUTCAR", np.concatenate([cold[:1], cold])), run("a/warm/OUTCAR", warm))

    assert {one.continues for one in found.values()} == {""}


def test_an_identical_copy_continues_nothing_and_shares_the_group() -> None:
    found = related(*(run(f"{folder}/OUTCAR", WHOLE.positions[:20]) for folder in ("a/md", "backup/md")))

    assert {(one.continues, one.skip) for one in found.values()} == {("", 0)}
    assert len({one.group for one in found.values()}) == 1


def test_of_a_run_and_its_copy_elsewhere_the_one_nearby_is_continued() -> None:
    found = related(
        run("b/run1/OUTCAR", WHOLE.positions[:41]),
        run("b/run1/backup/OUTCAR", WHOLE.positions[:41]),
        run("b/run2/OUTCAR", WHOLE.positions[40:]),
    )

    assert found["b/run2"].continues == "b/run1/OUTCAR"


def test_of_copies_side_by_side_the_nearest_before_it_by_name_is_continued() -> None:
    stages = (2, 9, 10, 12, 13)
    parts = [WHOLE.positions[:41]] * 3 + [WHOLE.positions[40:80], WHOLE.positions[:41]]

    found = related(*(run(f"a/OUTCAR.{stage}", part) for stage, part in zip(stages, parts, strict=True)))

    assert found["a/OUTCAR.12"].continues == "a/OUTCAR.10"


def test_a_run_that_ends_where_another_begins_is_likelier_than_one_that_passes_by() -> None:
    found = related(
        run("a/OUTCAR.1", WHOLE.positions[:41]),
        run("a/OUTCAR.2", WHOLE.positions[:61]),
        run("a/OUTCAR.3", WHOLE.positions[40:]),
    )

    assert found["a/OUTCAR.3"].continues == "a/OUTCAR.1"


def test_stages_in_one_folder_follow_in_natural_order() -> None:
    names = [f"a/OUTCAR.{stage}" for stage in (1, 2, 9, 10)]
    parts = [WHOLE.positions[start : start + 31] for start in (0, 30, 60, 90)]

    found = related(*(run(name, part) for name, part in zip(names, parts, strict=True)))

    assert [found[name].continues for name in names] == ["", *names[:-1]]


def test_two_runs_may_continue_one() -> None:
    branch = dynamics(20, 300, 0, start=(WHOLE.positions[40], -WHOLE.velocities[40])).positions

    found = related(
        run("md/run1/OUTCAR", WHOLE.positions[:41]),
        run("md/run2/OUTCAR", WHOLE.positions[40:]),
        run("md/run3/OUTCAR", branch),
    )

    assert found["md/run2"].continues == found["md/run3"].continues == "md/run1/OUTCAR"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"method": with_settings(functional="PBEsol")}, "another theory"),
        ({"method": with_settings(cutoff_energy=500.0)}, "other settings"),
        ({"method": with_settings(functional=None)}, "a theory that is not stated"),
        ({"labels": {"charge": np.ones(81)}}, "another charge"),
        ({"labels": {"charge": np.full(81, np.nan)}}, "a charge that is not stated"),
        ({"labels": {"multiplicity": np.full(81, 3)}}, "another multiplicity"),
        ({"energies": energies_at(WHOLE.positions[40:]) + 8 * 0.0011}, "another energy, by 1.1 meV/atom"),
        ({"energies": np.full(81, np.nan)}, "an energy that is not known"),
        ({"run_kind": "relax"}, "another sort of motion"),
        ({"run_kind": "single_point"}, "no motion"),
    ],
)
def test_what_is_not_the_same_surface_and_motion_continues_nothing(change: dict, why: str) -> None:
    before, after = run("md/run1/OUTCAR", WHOLE.positions[:41]), run("md/run2/OUTCAR", WHOLE.positions[40:], **change)

    found = related(before, after)

    assert found["md/run2"].continues == "", why
    assert found["md/run2"].group == found["md/run1"].group, "a geometry is shared all the same"


def test_wave_functions_that_converge_anew_give_the_same_energy() -> None:
    energies = energies_at(WHOLE.positions[40:]) + 8 * 0.0009

    found = related(
        run("md/run1/OUTCAR", WHOLE.positions[:41]), run("md/run2/OUTCAR", WHOLE.positions[40:], energies=energies)
    )

    assert found["md/run2"].continues == "md/run1/OUTCAR"


def test_heating_further_with_the_next_step_is_another_run_of_the_same_group() -> None:
    hotter = with_settings(settings_as_printed={"TEBEG": "500"})

    found = related(
        run("md/300K/OUTCAR", WHOLE.positions[:40]), run("md/500K/OUTCAR", WHOLE.positions[40:], method=hotter)
    )

    assert found["md/500K"].continues == ""
    assert found["md/500K"].group == found["md/300K"].group


def test_the_next_step_is_looked_for_among_sibling_folders_only() -> None:
    found = related(run("a/x/OUTCAR", WHOLE.positions[:40]), run("b/x/OUTCAR", WHOLE.positions[40:]))

    assert found["b/x"].continues == ""


def relaxation(start: np.ndarray, steps: int) -> np.ndarray:
    """Steepest descent."""
    path = [start]
    for _ in range(steps - 1):
        path.append(path[-1] + 0.02 * forces_at(path[-1][None])[0])
    return np.array(path)


START = REST + np.random.default_rng(8).normal(scale=0.1, size=(8, 3))


def test_relaxations_continue_relaxations() -> None:
    path = relaxation(START, 30)

    found = related(
        run("a/OUTCAR.relax1", path[:12], "relax"),
        run("a/OUTCAR.relax2", path[11:], "vc-relax"),
        run("a/OUTCAR.static", path[-1:], "single_point"),
        run("a/md/OUTCAR", dynamics(5, 300, 3, start=(path[-1], WHOLE.velocities[0])).positions),
    )

    assert [one.continues for one in found.values()] == ["", "a/OUTCAR.relax1", "", ""]
    assert len({one.group for one in found.values()}) == 1


def test_a_restart_whose_last_digits_are_printed_otherwise_is_found() -> None:
    path = relaxation(START, 20)
    printed_in_units_of_the_cell = np.round(path[9:] / EDGE, 5) * EDGE

    found = related(run("a/1/pw.out", path[:10], "relax"), run("a/2/pw.out", printed_in_units_of_the_cell, "relax"))

    assert (found["a/2"].continues, found["a/2"].skip) == ("a/1/pw.out", 1)
    assert found["a/1"].group == found["a/2"].group


def test_slow_dynamics_one_step_on_hide_nothing_though_atoms_hardly_moved() -> None:
    cold = dynamics(40, 1.0, seed=9, step=0.5).positions
    assert np.abs(cold[20] - cold[19]).max() < 1e-3

    found = related(run("md/1/OUTCAR", cold[:20]), run("md/2/OUTCAR", cold[20:]))

    assert (found["md/2"].continues, found["md/2"].skip) == ("md/1/OUTCAR", 0)


def test_two_relaxations_of_an_almost_relaxed_structure_continue_nothing() -> None:
    nearly = REST + 1e-4 * START
    found = related(
        run("a/1/OUTCAR", relaxation(nearly, 3), "relax"), run("a/2/OUTCAR", relaxation(nearly, 4) + 1e-5, "relax")
    )

    assert {one.continues for one in found.values()} == {""}


def test_settings_series_from_one_geometry_share_a_group_and_continue_nothing() -> None:
    found = related(*(run(f"k/{n}/OUTCAR", REST, "single_point", method=kpoints(n)) for n in (2, 4, 6, 8)))

    assert {one.continues for one in found.values()} == {""}
    assert len({one.group for one in found.values()}) == 1
    assert {one.kind for one in found.values()} == {"unknown"}


@pytest.mark.parametrize("n", [2, 3, 7])
def test_where_configurations_recur_the_earliest_run_begins_the_chain(n: int) -> None:
    """Each run ends with the start of the next one, the last one with the start of the first: a circle of links."""
    starts = [REST + np.random.default_rng(i).normal(scale=0.1, size=(8, 3)) for i in range(n)]
    runs = [run(f"a/{i}/OUTCAR", np.array([starts[i], starts[(i + 1) % n]]), "relax") for i in range(n)]

    found = relations(runs)

    assert [one.continues for one in found] == ["", *(f"a/{i}/OUTCAR" for i in range(n - 1))]
    assert [one.skip for one in found] == [0] + [1] * (n - 1)


def test_a_declared_predecessor_stays_whatever_the_runs_hold() -> None:
    said = {"continues": "by hand/OUTCAR", "rests_on": {"continues": "annotated by A"}, "declared": {"continues": "x"}}
    found = related(
        run("md/run1/OUTCAR", WHOLE.positions[:41]),
        run("md/run2/OUTCAR", WHOLE.positions[40:], **said),
        run("by hand/OUTCAR", dynamics(10, 300, 12).positions + 0.3),
    )

    assert (found["md/run2"].continues, found["md/run2"].skip) == ("by hand/OUTCAR", 0)
    assert found["md/run2"].rests_on["continues"] == "annotated by A"
    assert found["md/run2"].group == found["by hand"].group


def test_a_run_declared_to_continue_none_does_not() -> None:
    found = related(
        run("md/run1/OUTCAR", WHOLE.positions[:41]),
        run("md/run2/OUTCAR", WHOLE.positions[40:], declared={"continues": ""}),
    )

    assert (found["md/run2"].continues, found["md/run2"].skip) == ("", 0)


def test_the_springs_of_these_tests_are_a_crystal() -> None:
    moved = REST + 0.01
    numerical = [
        -(energies_at((moved + d)[None])[0] - energies_at((moved - d)[None])[0]) / 2e-4
        for d in 1e-4 * np.eye(24).reshape(24, 8, 3)
    ]
    assert np.allclose(forces_at(moved[None]).ravel(), numerical, atol=1e-6)
    kinetic = 0.5 * (WHOLE.velocities**2).sum(axis=(1, 2)) / ACCELERATION
    total = energies_at(WHOLE.positions) + kinetic
    assert np.ptp(total) < 0.01 * kinetic.max()
