"""Relations as a whole: a pure function of the set of runs."""

from __future__ import annotations

import random

import numpy as np
import pytest
from crystals import REST, dynamics, kpoints, points, run
from hypothesis import given, settings
from hypothesis import strategies as st

from mlpdata.relations import Relation, Run, relations
from mlpdata.relations.nearness import Grid, clusters, geometries, joined, rms


def campaign() -> list[Run]:
    """Runs of all sorts, bound in many ways."""
    long = dynamics(100, 300, seed=1).positions
    drawn = np.random.default_rng(3).normal(scale=0.05, size=(5, 8, 3))
    down = REST + drawn[0] * np.linspace(1, 0, 12)[:, None, None]
    return [
        *(run(f"md/{i}/OUTCAR", long[20 * i : 20 * i + 21]) for i in range(5)),
        *(run(f"next/{i}/OUTCAR", long[25 * i : 25 * i + 25] + 0.5) for i in range(4)),
        run("md/0 copy/OUTCAR", long[:21]),
        run("md/branch/OUTCAR", dynamics(10, 300, 0, start=(long[40], 0.003 * drawn[1])).positions),
        run("relax/1/OUTCAR", down[:7], "relax"),
        run("relax/2/OUTCAR", down[6:], "relax"),
        *points("random", list(REST + drawn)),
        *points("phonon", [REST + 0.01 * np.eye(24)[i].reshape(8, 3) for i in range(0, 24, 4)]),
        *(run(f"eos/{i}/OUTCAR", REST * a, "single_point", cells=5.431 * a * np.eye(3)) for i, a in enumerate((0.97, 1.0, 1.04))),
        *(run(f"k/{n}/OUTCAR", REST, "single_point", method=kpoints(n)) for n in (2, 4)),
        *(run(f"neb/0{i}/OUTCAR", down[i], "neb", group="neb") for i in range(3)),
        run("said/OUTCAR", long[99:], group="mine", declared={"group": "mine"}),
        run("cycle/a/OUTCAR", [REST + 0.3, REST + 0.4], "relax"),
        run("cycle/b/OUTCAR", [REST + 0.4, REST + 0.3], "relax"),
    ]  # fmt: skip


RUNS = campaign()
FOUND = dict(zip((one.path for one in RUNS), relations(RUNS), strict=True))


def by_path(runs: list[Run]) -> dict[str, Relation]:
    return dict(zip((one.path for one in runs), relations(runs), strict=True))


def test_the_campaign_has_every_sort_of_relation() -> None:
    assert {one.kind for one in FOUND.values()} == {
        "aimd", "random", "phonon", "strained", "equilibrium", "reaction_path", "unknown",
    }  # fmt: skip
    assert {one.skip for one in FOUND.values() if one.continues} == {0, 1}
    assert len({one.group for one in FOUND.values()}) > 6


@settings(max_examples=40, deadline=None)
@given(st.randoms(use_true_random=False))
def test_the_order_of_runs_changes_nothing(shuffle: random.Random) -> None:
    shuffled = RUNS.copy()
    shuffle.shuffle(shuffled)

    assert by_path(shuffled) == FOUND


@settings(max_examples=25, deadline=None)
@given(st.sets(st.sampled_from(range(len(RUNS)))), st.randoms(use_true_random=False))
def test_runs_that_vanish_and_come_back_leave_no_trace(gone: set[int], shuffle: random.Random) -> None:
    left = [one for number, one in enumerate(RUNS) if number not in gone]
    fewer = by_path(left)
    again = [*left, *(RUNS[number] for number in gone)]
    shuffle.shuffle(again)

    assert by_path(again) == FOUND
    for relation in fewer.values():
        assert relation.continues in {"", *fewer}
        assert relation.group in {one.calculation.group for one in left}


@settings(max_examples=25, deadline=None)
@given(st.sets(st.sampled_from(range(len(RUNS))), min_size=1))
def test_following_what_runs_continue_comes_to_an_end(which: set[int]) -> None:
    found = by_path([RUNS[number] for number in which])

    for path in found:
        at, steps = path, 0
        while at := found[at].continues:
            steps += 1
            assert steps <= len(found)
        assert steps == 0 or found[path].group


def test_chains_are_in_one_group() -> None:
    for relation in FOUND.values():
        if relation.continues:
            assert relation.group == FOUND[relation.continues].group


@pytest.mark.parametrize("pbc", [(1, 1, 1), (1, 1, 0), (0, 0, 0)])
@pytest.mark.parametrize("radius", [0.3, 1.5])
def test_a_grid_finds_all_that_a_comparison_of_all_with_all_finds(pbc: tuple[int, ...], radius: float) -> None:
    draw = np.random.default_rng(5)
    cell = np.array([[4.0, 0.0, 0.0], [3.5, 2.0, 0.0], [0.5, 0.7, 5.0]])
    centres = draw.uniform(-9, 9, size=(20, 3, 3))
    places = [centres[i % 20] + draw.normal(scale=radius / 6, size=(3, 3)) + draw.integers(-1, 2, (3, 1)) * pbc @ cell for i in range(200)]  # fmt: skip
    some = geometries(places, [cell] * 200, pbc)
    grid = Grid(some, radius)

    n_found = 0
    for one in range(200):
        away = rms(some.steps_to(some.at(np.array([one])))) * 3**0.5
        expected = set(np.flatnonzero(away <= radius).tolist())
        assert expected <= set(grid.near(one).tolist())
        n_found += len(expected)
    assert n_found > 1000


def test_clusters_are_disjoint_and_within_the_radius_of_their_first() -> None:
    draw = np.random.default_rng(6)
    places = list(np.repeat(draw.uniform(0, 30, size=(6, 4, 3)), 5, axis=0) + draw.normal(scale=0.05, size=(30, 4, 3)))
    some = geometries(places, [np.full((3, 3), np.nan)] * 30, (0, 0, 0))

    found = [members.tolist() for members in clusters(some, 0.5, 3)]

    assert sorted(found) == [list(range(5 * i, 5 * i + 5)) for i in range(6)]
    assert list(clusters(some, 0.5, 6)) == []
    assert len(joined([some, some]).fractional) == 60


def test_in_a_crowd_sets_that_stand_together_by_name_are_found_as_by_comparing_all() -> None:
    draw = np.random.default_rng(7)
    sets = [centre + draw.normal(scale=0.05, size=(n, 6, 3)) for n in (1, 150, 3, 70, 2) for centre in draw.uniform(0, 5, (1, 6, 3))]  # fmt: skip
    crowd = [one[None] for one in draw.uniform(0, 5, size=(120, 6, 3))]
    places = np.concatenate([*crowd, *sets])
    some = geometries(list(places), [5.0 * np.eye(3)] * len(places), (1, 1, 1))

    found = [members.tolist() for members in clusters(some, 0.5, 3)]

    assert found == [list(range(121, 271)), list(range(271, 274)), list(range(274, 344))]


def test_a_periodic_direction_without_a_lattice_vector_is_no_cell() -> None:
    flat = np.array([[3.0, 0, 0], [6.0, 0, 0], [0, 0, 4.0]])

    assert np.isfinite(geometries([REST], [flat], (1, 1, 1)).fractional).all()


def test_an_atom_that_a_damaged_file_puts_far_away_does_no_harm() -> None:
    far = REST.copy()
    far[3, 0] = 1e20
    molecules = {"pbc": np.zeros((1, 3)), "cell": np.full((1, 3, 3), np.nan), "energy": [-43.0]}
    runs = [
        run(f"a/{i}/OUTCAR", one, "single_point", labels=molecules)
        for i, one in enumerate([REST, far, REST + 0.3, -far])
    ]

    assert {one.kind for one in relations(runs)} <= {"unknown", "equilibrium"}


def test_cells_turned_upside_down_have_no_mean_cell() -> None:
    fractional = REST / 5.431
    cells = [sign * size * 5.431 * np.eye(3) for size in (1.0, 1.03) for sign in (1, -1)]
    runs = [
        run(f"a/{i}/OUTCAR", fractional @ cell, "single_point", cells=cell, energies=np.array([np.nan]))
        for i, cell in enumerate(cells)
    ]

    assert {one.kind for one in relations(runs)} == {"unknown"}
